//! Whose an object is. What is not ours is never touched.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::UID_LABEL;
use crate::api::ApiGateway;

/// Whose an object of the gateway's name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This gateway's.
    Ours,
    /// That of an earlier gateway of the same name.
    Predecessor,
    /// Somebody else's: who.
    Stranger(String),
}

/// Tells whose an object is: by its controller, and without a controller by the uid label.
pub fn owner_of(meta: &ObjectMeta, gateway: &ApiGateway) -> Owner {
    let controller = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    match controller {
        Some(owner) if owner.uid == gateway.uid() => Owner::Ours,
        Some(owner) if owner.kind == ApiGateway::kind(&()) && owner.name == gateway.name_or_empty() => {
            Owner::Predecessor
        }
        Some(owner) => Owner::Stranger(format!("{} {:?}", owner.kind, owner.name)),
        None => {
            let label = meta.labels.as_ref().and_then(|labels| labels.get(UID_LABEL));
            if label.is_some_and(|uid| uid == gateway.uid()) {
                Owner::Ours
            } else {
                Owner::Stranger("nobody that phasegate knows".to_owned())
            }
        }
    }
}
