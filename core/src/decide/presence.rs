//! Compares one child with its desired state.
//!
//! **Architecture invariant:** this module does not decide what happens to a child: it reports what it found,
//! and `phase` plans the step.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;

use super::observed::Presence;
use crate::api::{ADOPT_ANNOTATION, ApiGateway};
use crate::children::{self, Form, Owner};

/// The result of a comparison, and the child's form if it is as desired.
pub type Comparison = (Presence, Option<Form>);

/// What is known about the accepted form of a child.
pub struct AcceptedForm<'a, K> {
    /// Its hash.
    pub hash: &'a str,
    /// The stored object, if this process has seen it.
    pub stored: &'a dyn Fn() -> Option<K>,
    /// Whether the cluster filled in nothing where it may.
    pub nothing_filled_in: bool,
}

/// Compares one child with its desired state. A child in its accepted form (that of the answer to a write) is
/// as desired, whatever admission changed. Nothing else is.
pub fn of<K: Resource<DynamicType = ()> + Serialize>(
    gateway: &ApiGateway,
    desired: Option<&K>,
    found: Option<&K>,
    accepted: Option<AcceptedForm<'_, K>>,
) -> Comparison {
    let (Some(wanted), Some(there)) = (desired, found) else { return (owned(gateway, desired, found), None) };
    match owned(gateway, desired, found) {
        Presence::Equal => compared(wanted, there, accepted),
        // A Deployment with another selector cannot be adopted.
        Presence::Different(_) if compared(wanted, there, None).0 == Presence::Immutable => (Presence::Immutable, None),
        other => (other, None),
    }
}

/// Checks ownership only: a child of ours counts as equal here.
fn owned<K: Resource<DynamicType = ()>>(gateway: &ApiGateway, desired: Option<&K>, found: Option<&K>) -> Presence {
    let Some(found) = found else {
        return if desired.is_some() { Presence::Missing } else { Presence::NotWanted };
    };
    match (children::owner_of(found.meta(), gateway), desired) {
        // An object that nobody desires blocks nobody.
        (Owner::Foreign(_) | Owner::Predecessor, None) => Presence::NotWanted,
        (Owner::Foreign(who), Some(_)) => Presence::Foreign(who),
        (Owner::Predecessor, Some(_)) if adopts(gateway) && found.meta().deletion_timestamp.is_none() => {
            Presence::Different("/metadata/ownerReferences".to_owned())
        }
        (Owner::Predecessor, Some(_)) => Presence::Predecessor,
        // `kubectl delete --cascade=orphan` left it behind.
        (Owner::Ours, _) if gateway.is_being_deleted() && !names_its_owner(found.meta(), gateway) => {
            Presence::NotWanted
        }
        (Owner::Ours, _) if found.meta().deletion_timestamp.is_some() => Presence::Terminating,
        (Owner::Ours, None) => Presence::Unwanted,
        (Owner::Ours, Some(_)) => Presence::Equal,
    }
}

fn compared<K: Resource<DynamicType = ()> + Serialize>(
    desired: &K,
    found: &K,
    accepted: Option<AcceptedForm<'_, K>>,
) -> Comparison {
    let (Ok(desired), Ok(found)) = (serde_json::to_value(desired), serde_json::to_value(found)) else {
        // Data that was read as JSON can be written as JSON.
        return (Presence::Different("/".to_owned()), None);
    };
    let kind = K::kind(&());
    let hash = children::form_hash(&desired, &found);
    let path = match &accepted {
        Some(accepted) if accepted.hash == hash => None,
        // Another process accepted the form, so its values are unknown: compare with the desired state.
        Some(accepted) => {
            let stored = (accepted.stored)().and_then(|stored| serde_json::to_value(stored).ok());
            let put = || children::put_where_nothing_was(&kind, &desired, &found).map(str::to_owned);
            children::drift(&desired, stored.as_ref(), &found).or_else(|| put().filter(|_| accepted.nothing_filled_in))
        }
        None => children::difference(&desired, &found),
    };
    match path {
        None => (Presence::Equal, Some(Form::hashed(hash, &kind, &desired, &found))),
        Some(_) if children::must_be_made_anew(&kind, &desired, &found) => (Presence::Immutable, None),
        Some(path) => (Presence::Different(path), None),
    }
}

/// Whether a child has an owner reference to the gateway.
pub fn names_its_owner(child: &ObjectMeta, gateway: &ApiGateway) -> bool {
    child.owner_references.iter().flatten().any(|owner| owner.uid == gateway.uid())
}

/// Whether a gateway adopts the children of an earlier gateway of its name.
fn adopts(gateway: &ApiGateway) -> bool {
    gateway.annotation(ADOPT_ANNOTATION) == Some("true")
}
