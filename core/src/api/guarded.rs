//! Objects that may fail to decode. Like kube's `DeserializeGuard`, with the facts that the operator needs of
//! an unreadable object.
//!
//! **Architecture invariant:** no spec and no status makes decoding fail. Only metadata of a wrong type does.

use std::borrow::Cow;
use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::REGISTRY_FINALIZER;
use super::status::HostClaim;

/// An object, or the reason why this version cannot decode it: another version wrote it, or its schema admitted
/// something unexpected. An unreadable object is watched, listed and reported like others, and keeps the hosts
/// that it claims. The operator does nothing else with it.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Unreadable>, pub Completeness);

/// How much of an object is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// All fields that any decision reads.
    Whole,
    /// Without the fields that only a reconcile of it needs. The object is large; its reconcile reads it first.
    InPart,
}

impl<K> Guarded<K> {
    /// A complete object that decoded.
    pub fn whole(object: K) -> Self {
        Self(Ok(object), Completeness::Whole)
    }
}

/// What is known of an object that does not decode.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Why it does not decode.
    pub error: String,
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// The host in its spec, if there is one.
    pub host: Option<String>,
    /// The hosts that its status claims.
    pub claims: Vec<HostClaim>,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        let completeness = bounded(&mut object);
        match K::deserialize(&object) {
            Ok(read) => Ok(Self(Ok(read), completeness)),
            Err(error) => Unreadable::of(&object, error.to_string()).map(|object| Self(Err(object), completeness)),
        }
        .map_err(serde::de::Error::custom)
    }
}

/// Bounds on the metadata in memory: finalizers, labels and annotations, the operator's own first. The API
/// server bounds none of these by count: an entry that it stores in eight bytes takes a hundred here, and a
/// page has many objects.
const FINALIZERS: usize = 16;
const KEYS: usize = 256;

/// How many owner references to gateways are kept. An environment from a document has one.
const OWNERS: usize = 4;

/// Whether an owner reference may be the one that intake gave to an environment. Intake reads no other.
fn names_a_gateway(owner: &Value) -> bool {
    let field = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
    field("kind") == "ApiGateway" && field("apiVersion").starts_with(OURS) && owner.to_string().len() <= 1024
}

/// Bounds the metadata of an object, since its author may fill it. The object's reconcile reads what is dropped
/// here.
fn bounded(object: &mut Value) -> Completeness {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return Completeness::Whole };
    // Nothing reads managed fields, and they may be most of an object.
    metadata.remove("managedFields");
    if let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") {
        owners.retain(names_a_gateway);
        owners.truncate(OWNERS);
        owners.shrink_to_fit();
    }
    let mut completeness = Completeness::Whole;
    if let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers")
        && finalizers.len() > FINALIZERS
    {
        completeness = Completeness::InPart;
        // The operator's own and Kubernetes' own finalizers affect decisions; each occurs once.
        let decides =
            |name: &Value| name.as_str().is_some_and(|name| name == REGISTRY_FINALIZER || !name.contains('/'));
        let mut met = BTreeSet::new();
        let known: Vec<Value> =
            finalizers.iter().filter(|name| decides(name) && met.insert(name.as_str())).cloned().collect();
        finalizers.retain(|name| !decides(name));
        finalizers.truncate(FINALIZERS.saturating_sub(known.len()));
        finalizers.extend(known.into_iter().take(FINALIZERS));
        finalizers.shrink_to_fit();
    }
    for map in ["labels", "annotations"] {
        if let Some(Value::Object(map)) = metadata.get_mut(map)
            && map.len() > KEYS
        {
            completeness = Completeness::InPart;
            let (ours, others): (Vec<_>, Vec<_>) =
                std::mem::take(map).into_iter().partition(|(key, _)| key.starts_with(OURS));
            *map = ours.into_iter().chain(others).take(KEYS).collect();
        }
    }
    completeness
}

/// The prefix of the operator's own labels and annotations.
const OURS: &str = "phasegate.dev/";

/// The longest decoding error that is kept, in characters.
const LONGEST_ERROR: usize = 1000;

impl Unreadable {
    fn of(object: &Value, error: String) -> Result<Self, serde_json::Error> {
        let metadata = object.get("metadata").map_or_else(|| Ok(ObjectMeta::default()), ObjectMeta::deserialize)?;
        let since = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |created| created.0);
        let claims = object.pointer("/status/hosts").and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            claims: claims.filter_map(|claim| claim_of(claim, since)).collect(),
            host: object.pointer("/spec/host").and_then(Value::as_str).map(str::to_owned),
            // The error may repeat a value of the wrong type, however long.
            error: error.chars().take(LONGEST_ERROR).collect(),
            metadata,
        })
    }
}

/// A claim with an unreadable time is as old as its object, so that it precedes every newcomer.
fn claim_of(claim: &Value, object_since: Timestamp) -> Option<HostClaim> {
    let host = claim.get("host").and_then(Value::as_str).or_else(|| claim.as_str())?.to_owned();
    let since = claim.get("since").and_then(|since| MicroTime::deserialize(since).ok());
    Some(HostClaim { host, since: since.unwrap_or(MicroTime(object_since)) })
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(object) => &object.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(object) => &mut object.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::api::Environment;

    fn read(metadata: Value) -> Guarded<Environment> {
        let spec = json!({ "gatewayRef": { "name": "shop" } });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    #[test]
    fn metadata_without_end_is_taken_in_in_part_and_what_decides_something_is_in_it() {
        let many = |key: &dyn Fn(usize) -> String| -> serde_json::Map<String, Value> {
            (0..1000).map(|number| (key(number), json!(""))).collect()
        };
        let mut labels = many(&|number| format!("a{number}"));
        labels.insert("phasegate.dev/registry".to_owned(), json!("mongodb"));
        let mut finalizers = vec![json!("a.b/c"); 1000];
        finalizers.extend([json!("orphan"), json!("orphan"), json!(REGISTRY_FINALIZER)]);
        let read = read(json!({
            "name": "dev",
            "labels": labels,
            "annotations": many(&|number| format!("phasegate.dev/{number}")),
            "finalizers": finalizers,
            "ownerReferences": vec![json!({ "apiVersion": "v1", "kind": "K".repeat(1000), "name": "n", "uid": "u" }); 1000],
            "managedFields": [{ "manager": "m" }],
        }));
        assert_eq!(read.1, Completeness::InPart);
        let meta = read.meta();
        let (labels, annotations) = (meta.labels.as_ref().unwrap(), meta.annotations.as_ref().unwrap());
        assert_eq!((labels.len(), annotations.len()), (256, 256));
        assert_eq!(labels.get("phasegate.dev/registry").map(String::as_str), Some("mongodb"));
        let finalizers = meta.finalizers.as_ref().unwrap();
        assert_eq!(
            (finalizers.len(), &finalizers[14..]),
            (16, &["orphan".to_owned(), REGISTRY_FINALIZER.to_owned()][..])
        );
        assert_eq!((meta.owner_references.as_deref(), &meta.managed_fields), (Some([].as_slice()), &None));
    }

    #[test]
    fn metadata_of_people_is_taken_in_as_it_is() {
        let labels = json!({ "team": "a", "phasegate.dev/registry": "mongodb" });
        let owner = json!({ "apiVersion": "phasegate.dev/v1alpha1", "kind": "ApiGateway", "name": "shop", "uid": "u" });
        let read = read(json!({
            "name": "dev",
            "labels": labels,
            "finalizers": ["a.b/c", "a.b/c", "orphan"],
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "v" }, owner],
        }));
        assert_eq!(read.1, Completeness::Whole);
        assert_eq!(read.meta().labels.as_ref().map(|labels| labels.len()), Some(2));
        assert_eq!(read.meta().finalizers.as_ref().unwrap(), &["a.b/c", "a.b/c", "orphan"]);
        let owners = read.meta().owner_references.iter().flatten().map(|owner| owner.uid.as_str());
        assert_eq!(owners.collect::<Vec<_>>(), ["u"]);
    }
}
