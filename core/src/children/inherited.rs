//! Labels and annotations that children and pods inherit from the ApiGateway, as the operator's flags allow.
//!
//! Each child lists the keys that it inherited. The list distinguishes a key that the gateway dropped from a
//! key that somebody else added.
//!
//! **Architecture invariant:** this module removes only keys that the child itself lists and that are not
//! desired.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// Annotation of a child: the keys of its inherited labels.
pub const INHERITED_LABELS: &str = "phasegate.dev/inherited-labels";
/// Annotation of a child: the keys of its inherited annotations.
pub const INHERITED_ANNOTATIONS: &str = "phasegate.dev/inherited-annotations";

/// Keys, or prefixes, by which other tools recognize their own objects. They are never inherited, since those
/// tools would take the child for theirs.
const NEVER: &[&str] = &["argocd.argoproj.io/", "meta.helm.sh/", "phasegate.dev/"];

/// Which keys children inherit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inheritance {
    /// Patterns of label keys.
    pub labels: Vec<KeyPattern>,
    /// Patterns of annotation keys.
    pub annotations: Vec<KeyPattern>,
}

/// A key, or a prefix with its `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPattern {
    /// Exactly this key.
    Key(String),
    /// Every key with this prefix.
    Prefix(String),
}

impl KeyPattern {
    /// Parses `key`, `prefix/key` or `prefix/*`. An empty text is no key: an empty environment variable counts
    /// as unset.
    ///
    /// # Errors
    /// A message that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pattern = match text.strip_suffix('*') {
            Some(prefix) if prefix.len() > 1 && prefix.ends_with('/') => Self::Prefix(prefix.to_owned()),
            None => Self::Key(text.to_owned()),
            Some(_) => return Err("must be a key or prefix/*".to_owned()),
        };
        let key = pattern.text();
        if !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) || key.matches('/').count() > 1 {
            return Err("must be a key or prefix/*".to_owned());
        }
        let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
        let kubernetes = ["kubernetes.io", "k8s.io"]
            .iter()
            .any(|domain| prefix == *domain || prefix.strip_suffix(domain).is_some_and(|below| below.ends_with('.')));
        if kubernetes && prefix != "app.kubernetes.io" {
            return Err("keys of Kubernetes and its controllers cannot be inherited".to_owned());
        }
        if key == "pod-template-hash" || NEVER.iter().any(|never| key.starts_with(never)) {
            return Err("other controllers select their objects by it".to_owned());
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

/// What children inherit from one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Inherited {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Inheritance {
    /// What children inherit from a gateway with this metadata.
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

/// Adds inherited labels and annotations to a child, and lists their keys. The child's own keys win.
pub(super) fn add(child: &mut ObjectMeta, inherited: &Inherited) {
    let labels = add_to(&mut child.labels, &inherited.labels);
    let annotations = add_to(&mut child.annotations, &inherited.annotations);
    for (name, keys) in [(INHERITED_LABELS, labels), (INHERITED_ANNOTATIONS, annotations)] {
        if !keys.is_empty() {
            child.annotations.get_or_insert_default().insert(name.to_owned(), keys.join(","));
        }
    }
}

/// The same for the pods. The Deployment lists the keys.
pub(super) fn add_to_pods(deployment: &mut Deployment, inherited: &Inherited) {
    let Some(spec) = &mut deployment.spec else { return };
    // A key of the Deployment's own is not in its list and could later not be removed from the pods.
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

/// Lists a dropped inheritance on the desired child, so that the child differs from what was found and is
/// written.
pub fn notice_what_is_not_inherited_any_more(desired: &mut ObjectMeta, found: &ObjectMeta) {
    for name in [INHERITED_LABELS, INHERITED_ANNOTATIONS] {
        if found.annotations.iter().flatten().any(|(key, _)| key == name) {
            desired.annotations.get_or_insert_default().entry(name.to_owned()).or_default();
        }
    }
}

/// Removes from an update what the child inherited before and does not inherit any more.
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
