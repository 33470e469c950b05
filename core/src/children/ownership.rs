//! Ownership: whose object a child is. The operator never touches an object of others.
//!
//! **Architecture invariant:** this module does not compare contents: ownership follows from owner references
//! and labels alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use super::{NAME_LABEL, UID_LABEL};
use crate::api::ApiGateway;

/// The owner of an object with the gateway's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This gateway, or an earlier gateway of its name that left the object without any controller.
    Ours,
    /// An earlier gateway of the same name. Garbage collection takes the object.
    Predecessor,
    /// Somebody else; the text names them.
    Foreign(String),
}

/// Whether an owner reference names an `ApiGateway` of this API group.
pub fn is_gateway(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split_once('/').map(|(group, _)| group);
    owner.kind == ApiGateway::kind(&()) && group == Some(&*ApiGateway::group(&()))
}

/// Whether an object claims to belong to a gateway of its own name, existing or not.
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

/// Returns the owner of an object: by its controller's uid, and without a controller by our labels. An object
/// with labels of an earlier gateway and no controller (`kubectl delete --cascade=orphan`, or a namespace
/// restored without owner references) belongs to nobody: garbage collection never takes it, so the gateway
/// adopts it. Whoever can forge the labels can write in this namespace anyway, and gives away only their own
/// object.
pub fn owner_of(meta: &ObjectMeta, gateway: &ApiGateway) -> Owner {
    let controller = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    match controller {
        Some(owner) if owner.uid == gateway.uid() => Owner::Ours,
        Some(owner) if is_gateway(owner) && owner.name == gateway.name_or_empty() => Owner::Predecessor,
        Some(owner) => Owner::Foreign(format!("{} {:?}", owner.kind, owner.name)),
        None => {
            let label = |name: &str| meta.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
            match (label(UID_LABEL), label(NAME_LABEL)) {
                (Some(uid), _) if uid == gateway.uid() => Owner::Ours,
                (Some(_), Some(name)) if name == gateway.name_or_empty() => Owner::Ours,
                _ => Owner::Foreign("an unknown owner".to_owned()),
            }
        }
    }
}
