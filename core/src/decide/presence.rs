//! How one child compares with what is desired of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;

use super::observed::Presence;
use crate::api::{ADOPT_ANNOTATION, ApiGateway};
use crate::children::{self, Form, Owner};

/// A child compared with what is desired of it, and its form where it is as desired.
pub type Looked = (Presence, Option<Form>);

/// What is known of the form in which a child was accepted.
pub struct Accepted<'a, K> {
    /// Its hash.
    pub hash: &'a str,
    /// The object itself, where this process has seen it.
    pub stored: &'a dyn Fn() -> Option<K>,
    /// Whether the cluster filled in nothing where it may.
    pub nothing_filled_in: bool,
}

/// Compares one child with what is desired of it. What has the accepted form, that of the answer to a write, is as desired,
/// whatever admission made of it; and nothing else is.
pub fn of<K: Resource<DynamicType = ()> + Serialize>(
    gateway: &ApiGateway,
    desired: Option<&K>,
    found: Option<&K>,
    accepted: Option<Accepted<'_, K>>,
) -> Looked {
    let (Some(wanted), Some(there)) = (desired, found) else { return (owned(gateway, desired, found), None) };
    match owned(gateway, desired, found) {
        Presence::Equal => compared(wanted, there, accepted),
        // A Deployment with another selector cannot be taken over.
        Presence::Different(_) if compared(wanted, there, None).0 == Presence::Immutable => (Presence::Immutable, None),
        other => (other, None),
    }
}

/// Whose a child is. One of ours counts as equal here.
fn owned<K: Resource<DynamicType = ()>>(gateway: &ApiGateway, desired: Option<&K>, found: Option<&K>) -> Presence {
    let Some(found) = found else {
        return if desired.is_some() { Presence::Missing } else { Presence::NotWanted };
    };
    match (children::owner_of(found.meta(), gateway), desired) {
        // What nobody desires is in nobody's way.
        (Owner::Stranger(_) | Owner::Predecessor, None) => Presence::NotWanted,
        (Owner::Stranger(who), Some(_)) => Presence::Stranger(who),
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
    accepted: Option<Accepted<'_, K>>,
) -> Looked {
    let (Ok(desired), Ok(found)) = (serde_json::to_value(desired), serde_json::to_value(found)) else {
        // An object that came as JSON can be written as JSON.
        return (Presence::Different("/".to_owned()), None);
    };
    let kind = K::kind(&());
    let hash = children::form_hash(&desired, &found);
    let path = match &accepted {
        Some(accepted) if accepted.hash == hash => None,
        // Of one that this process has not seen it is not known what another value was: what is desired counts.
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

/// Whether a child names the gateway as an owner.
pub fn names_its_owner(child: &ObjectMeta, gateway: &ApiGateway) -> bool {
    child.owner_references.iter().flatten().any(|owner| owner.uid == gateway.uid())
}

/// Whether a gateway takes over the children of an earlier one of its name.
fn adopts(gateway: &ApiGateway) -> bool {
    gateway.annotation(ADOPT_ANNOTATION) == Some("true")
}
