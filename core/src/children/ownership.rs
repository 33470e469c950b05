//! Whose an object is. What is not ours is never touched.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use super::{NAME_LABEL, UID_LABEL};
use crate::api::ApiGateway;

/// Whose an object of the gateway's name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This gateway's, or left by an earlier one of its name with no owner at all.
    Ours,
    /// That of an earlier gateway of the same name, which garbage collection takes.
    Predecessor,
    /// Somebody else's: who.
    Stranger(String),
}

/// Whether an owner is an `ApiGateway` of ours, and not one of another API group.
pub fn is_gateway(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split_once('/').map(|(group, _)| group);
    owner.kind == ApiGateway::kind(&()) && group == Some(&*ApiGateway::group(&()))
}

/// Whether an object says that it is a gateway's of its own name, whether there is one or not.
pub fn is_marked(meta: &ObjectMeta) -> bool {
    match meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)) {
        Some(owner) => is_gateway(owner),
        None => {
            let labels = meta.labels.as_ref();
            let label = |name: &str| labels.and_then(|labels| labels.get(name));
            label(UID_LABEL).is_some() && label(NAME_LABEL).is_some() && label(NAME_LABEL) == meta.name.as_ref()
        }
    }
}

/// Tells whose an object is: by its controller, and without a controller by our labels. What carries those of an
/// earlier gateway of this name and has no controller is nobody's any more (`kubectl delete --cascade=orphan`, a namespace
/// that was restored without owner references): garbage collection never takes it, so the gateway does. Who could forge
/// the labels writes such objects in this namespace, and gives away only its own.
pub fn owner_of(meta: &ObjectMeta, gateway: &ApiGateway) -> Owner {
    let controller = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    match controller {
        Some(owner) if owner.uid == gateway.uid() => Owner::Ours,
        Some(owner) if is_gateway(owner) && owner.name == gateway.name_or_empty() => Owner::Predecessor,
        Some(owner) => Owner::Stranger(format!("{} {:?}", owner.kind, owner.name)),
        None => {
            let label = |name: &str| meta.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
            match (label(UID_LABEL), label(NAME_LABEL)) {
                (Some(uid), _) if uid == gateway.uid() => Owner::Ours,
                (Some(_), Some(name)) if name == gateway.name_or_empty() => Owner::Ours,
                _ => Owner::Stranger("nobody that phasegate knows".to_owned()),
            }
        }
    }
}
