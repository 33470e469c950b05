//! Labels and annotations of the ApiGateway that its children and pods carry, as far as whoever runs the operator says so.
//!
//! Which keys a child has from the gateway is written on the child: one that the gateway drops is told by it from others'.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// Annotation of a child with the keys of the labels that it has from the gateway.
pub const INHERITED_LABELS: &str = "phasegate.dev/inherited-labels";
/// Annotation of a child with the keys of the annotations that it has from the gateway.
pub const INHERITED_ANNOTATIONS: &str = "phasegate.dev/inherited-annotations";

/// Keys by which others tell their own objects, or prefixes of such: a child that carried them would be taken for one.
const NEVER: &[&str] = &["argocd.argoproj.io/", "meta.helm.sh/", "phasegate.dev/"];

/// Which keys are inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inheritance {
    /// Of labels.
    pub labels: Vec<KeyPattern>,
    /// Of annotations.
    pub annotations: Vec<KeyPattern>,
}

/// A key, or a prefix and its `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPattern {
    /// This key.
    Key(String),
    /// Every key that begins so.
    Prefix(String),
}

impl KeyPattern {
    /// `key`, `prefix/key` or `prefix/*`. An empty text is no key: a variable that is empty is not set.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pattern = match text.strip_suffix('*') {
            Some(prefix) if prefix.len() > 1 && prefix.ends_with('/') => Self::Prefix(prefix.to_owned()),
            None => Self::Key(text.to_owned()),
            Some(_) => return Err("it is neither a key nor prefix/*".to_owned()),
        };
        let key = pattern.text();
        if !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) || key.matches('/').count() > 1 {
            return Err("it is neither a key nor prefix/*".to_owned());
        }
        let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
        let kubernetes = ["kubernetes.io", "k8s.io"]
            .iter()
            .any(|domain| prefix == *domain || prefix.strip_suffix(domain).is_some_and(|below| below.ends_with('.')));
        if kubernetes && prefix != "app.kubernetes.io" {
            return Err("keys of Kubernetes and its controllers are not inherited".to_owned());
        }
        if key == "pod-template-hash" || NEVER.iter().any(|never| key.starts_with(never)) {
            return Err("others tell their own objects by it".to_owned());
        }
        Ok(pattern)
    }

    fn text(&self) -> &str {
        match self {
            Self::Key(text) | Self::Prefix(text) => text,
        }
    }

    fn matches(&self, key: &str) -> bool {
        match self {
            Self::Key(text) => key == text,
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}

/// What children have from their gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Inherited {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Inheritance {
    /// What children have from a gateway with this metadata.
    pub fn of(&self, gateway: &ObjectMeta) -> Inherited {
        let some = |map: &Option<BTreeMap<String, String>>, patterns: &[KeyPattern]| {
            let wanted = |key: &str| patterns.iter().any(|pattern| pattern.matches(key));
            map.iter()
                .flatten()
                .filter(|(key, _)| wanted(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        Inherited {
            labels: some(&gateway.labels, &self.labels),
            annotations: some(&gateway.annotations, &self.annotations),
        }
    }
}

/// Adds to a child what it has from its gateway, and which keys those are. Its own keys stay as they are.
pub(super) fn add(child: &mut ObjectMeta, inherited: &Inherited) {
    let labels = add_to(&mut child.labels, &inherited.labels);
    let annotations = add_to(&mut child.annotations, &inherited.annotations);
    for (name, keys) in [(INHERITED_LABELS, labels), (INHERITED_ANNOTATIONS, annotations)] {
        if !keys.is_empty() {
            child.annotations.get_or_insert_default().insert(name.to_owned(), keys.join(","));
        }
    }
}

/// The same for the pods, whose keys the Deployment names.
pub(super) fn add_to_pods(deployment: &mut Deployment, inherited: &Inherited) {
    let Some(spec) = &mut deployment.spec else { return };
    // What the Deployment has of its own is not in the list of what it inherits, and could not be taken back from the pods.
    let others = |own: &Option<BTreeMap<String, String>>, inherited: &BTreeMap<String, String>| {
        let own = own.clone().unwrap_or_default();
        inherited
            .iter()
            .filter(|(key, _)| !own.contains_key(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let labels = others(&deployment.metadata.labels, &inherited.labels);
    let annotations = others(&deployment.metadata.annotations, &inherited.annotations);
    let pods = spec.template.metadata.get_or_insert_default();
    add_to(&mut pods.labels, &labels);
    add_to(&mut pods.annotations, &annotations);
}

fn add_to(map: &mut Option<BTreeMap<String, String>>, inherited: &BTreeMap<String, String>) -> Vec<String> {
    let mut added = Vec::new();
    for (key, value) in inherited {
        let map = map.get_or_insert_default();
        if !map.contains_key(key) {
            map.insert(key.clone(), value.clone());
            added.push(key.clone());
        }
    }
    added
}

/// A child that had something from its gateway and has nothing any more says so: by that it differs, and is written.
pub fn notice_what_is_not_inherited_any_more(desired: &mut ObjectMeta, found: &ObjectMeta) {
    for name in [INHERITED_LABELS, INHERITED_ANNOTATIONS] {
        if found.annotations.iter().flatten().any(|(key, _)| key == name) {
            desired.annotations.get_or_insert_default().entry(name.to_owned()).or_default();
        }
    }
}

/// Takes out of an update what the child had from its gateway and is not to have any more.
pub(super) fn take_back(merged: &mut Value, fresh: &Value, desired: &Value) {
    for (name, field) in [(INHERITED_LABELS, "labels"), (INHERITED_ANNOTATIONS, "annotations")] {
        let listed = fresh.pointer("/metadata/annotations").and_then(|annotations| annotations.get(name));
        let keys: BTreeSet<&str> = listed.and_then(Value::as_str).unwrap_or_default().split(',').collect();
        for place in ["/metadata", "/spec/template/metadata"] {
            let pointer = format!("{place}/{field}");
            let wanted = |key: &str| desired.pointer(&pointer).is_some_and(|map| map.get(key).is_some());
            if let Some(Value::Object(map)) = merged.pointer_mut(&pointer) {
                map.retain(|key, _| wanted(key) || !keys.contains(key.as_str()));
            }
        }
    }
}
