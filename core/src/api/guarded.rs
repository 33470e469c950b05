//! Objects that may not be readable.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::status::HostClaim;

/// An object as the API server has it, or why this version cannot read it: one that another version wrote, or
/// whose schema let something through. It is watched, listed and reported like the others, and the hosts that it holds
/// stay its own; nothing else is done.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Unreadable>, pub Extent);

/// How much of an object is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it that anybody looks at.
    Whole,
    /// Not what only a pass over it needs, which reads it first: it is large.
    InPart,
}

impl<K> Guarded<K> {
    /// An object that can be read, as a whole.
    pub fn whole(object: K) -> Self {
        Self(Ok(object), Extent::Whole)
    }
}

/// What is read of an object that cannot be read as a whole.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Why it cannot be read.
    pub error: String,
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// The host that its spec names, as far as there is one.
    pub host: Option<String>,
    /// The hosts that it holds, as far as its status says so.
    pub claims: Vec<HostClaim>,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        // Nobody looks at it, and it may be the most of an object.
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        match K::deserialize(&object) {
            Ok(read) => Ok(Self::whole(read)),
            Err(error) => Unreadable::of(&object, error.to_string()).map(|object| Self(Err(object), Extent::Whole)),
        }
        .map_err(serde::de::Error::custom)
    }
}

/// How much is kept of why an object cannot be read.
const LONGEST_ERROR: usize = 1000;

impl Unreadable {
    fn of(object: &Value, error: String) -> Result<Self, serde_json::Error> {
        let metadata = object.get("metadata").map_or_else(|| Ok(ObjectMeta::default()), ObjectMeta::deserialize)?;
        let since = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |created| created.0);
        let claims = object.pointer("/status/hosts").and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            claims: claims.filter_map(|claim| claim_of(claim, since)).collect(),
            host: object.pointer("/spec/host").and_then(Value::as_str).map(str::to_owned),
            // It repeats a value of a wrong type, however long.
            error: error.chars().take(LONGEST_ERROR).collect(),
            metadata,
        })
    }
}

/// A claim whose moment cannot be read is as old as its object: it was there before whoever comes now.
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
