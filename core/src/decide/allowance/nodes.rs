//! Nodes: the labels that gateways may select, and the taints that they may tolerate.
//!
//! **Architecture invariant:** an entry covers a toleration only if it covers everything that the toleration
//! tolerates.

use k8s_openapi::api::core::v1::Toleration;

use super::{Entry, quoted};

/// Labels that every node has, with a value per node or zone. Spreading over them selects no particular node.
const ON_EVERY_NODE: &[&str] =
    &["kubernetes.io/hostname", "topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

pub(super) fn is_on_every_node(key: &str) -> bool {
    ON_EVERY_NODE.contains(&key)
}

/// A key or a key prefix, and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    key: String,
    /// `None`: any value.
    value: Option<String>,
}

impl Pair {
    /// Parses `key`, `key=value` or `prefix/*`.
    fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        let name = key.strip_suffix("/*").unwrap_or(key);
        let is_part = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let mut parts = name.split('/');
        let is_key = parts.by_ref().take(2).all(|part| !part.is_empty() && is_part(part)) && parts.next().is_none();
        let is_prefix = key.ends_with("/*");
        if !is_key
            || (is_prefix && (name.contains('/') || value.is_some()))
            || value.is_some_and(|value| !is_part(value))
        {
            return Err("must be key, key=value or prefix/*".to_owned());
        }
        Ok(Self { key: key.to_owned(), value: value.map(str::to_owned) })
    }

    fn covers(&self, key: &str, value: Option<&str>) -> bool {
        let same_key = match self.key.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == self.key,
        };
        same_key && self.value.as_deref().is_none_or(|only| value == Some(only))
    }
}

/// A node label that gateways may select.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLabel {
    text: String,
    label: Pair,
}

impl Entry for NodeLabel {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), label: Pair::parse(text)? })
    }

    fn text(&self) -> &str {
        &self.text
    }
}

impl NodeLabel {
    /// Whether this label may be selected; without a value, whether every value may.
    pub fn covers(&self, key: &str, value: Option<&str>) -> bool {
        self.label.covers(key, value)
    }
}

/// A taint that gateways may tolerate, in the syntax of `kubectl taint`: `key` or `key=value`, optionally with
/// `:Effect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    text: String,
    taint: Pair,
    /// `None`: any effect.
    effect: Option<String>,
}

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl Entry for Taint {
    fn parse(text: &str) -> Result<Self, String> {
        let (taint, effect) = match text.rsplit_once(':') {
            Some((taint, effect)) => (taint, Some(effect)),
            None => (text, None),
        };
        if effect.is_some_and(|effect| !EFFECTS.contains(&effect)) {
            return Err(format!("its effect must be one of {}", EFFECTS.join(", ")));
        }
        Ok(Self { text: text.to_owned(), taint: Pair::parse(taint)?, effect: effect.map(str::to_owned) })
    }

    fn text(&self) -> &str {
        &self.text
    }
}

impl Taint {
    /// Whether the entry covers everything that a toleration tolerates.
    pub fn covers(&self, toleration: &Toleration) -> bool {
        let Some(key) = named(&toleration.key) else { return false };
        // Only the operator `Equal` tolerates a single value.
        let value = match toleration.operator.as_deref() {
            None | Some("" | "Equal") => Some(toleration.value.as_deref().unwrap_or_default()),
            Some(_) => None,
        };
        let effect = named(&toleration.effect);
        self.taint.covers(key, value) && self.effect.as_deref().is_none_or(|only| effect == Some(only))
    }
}

/// An empty field counts as unset.
fn named(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

/// A toleration as text.
pub(super) fn in_words(toleration: &Toleration) -> String {
    let Some(key) = named(&toleration.key) else { return "every taint".to_owned() };
    let value = named(&toleration.value).map(|value| format!("={value}")).unwrap_or_default();
    let effect = named(&toleration.effect).map(|effect| format!(":{effect}")).unwrap_or_default();
    quoted(&format!("{key}{value}{effect}"))
}
