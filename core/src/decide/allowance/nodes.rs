//! Nodes: the labels by which a gateway may choose them, and the taints that it may tolerate.

use k8s_openapi::api::core::v1::Toleration;

use super::{Entry, quoted};

/// Labels that every node has, each with a value of its own or of its zone: to spread over them chooses no node.
const ON_EVERY_NODE: &[&str] =
    &["kubernetes.io/hostname", "topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

pub(super) fn is_on_every_node(key: &str) -> bool {
    ON_EVERY_NODE.contains(&key)
}

/// A key, or all keys below a prefix, and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    key: String,
    /// `None`: any.
    value: Option<String>,
}

impl Pair {
    /// `key`, `key=value` or `prefix/*`.
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
            return Err("it is neither a key nor key=value nor prefix/*".to_owned());
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

/// A label of nodes that gateways may ask for.
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
    /// Whether this label may be asked for; of no value, whether any of its values may.
    pub fn covers(&self, key: &str, value: Option<&str>) -> bool {
        self.label.covers(key, value)
    }
}

/// A taint that gateways may tolerate, as `kubectl taint` has it: `key`, `key=value`, and `:Effect` behind either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    text: String,
    taint: Pair,
    /// `None`: any.
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
            return Err(format!("its effect is none of {}", EFFECTS.join(", ")));
        }
        Ok(Self { text: text.to_owned(), taint: Pair::parse(taint)?, effect: effect.map(str::to_owned) })
    }

    fn text(&self) -> &str {
        &self.text
    }
}

impl Taint {
    /// Whether all that a toleration tolerates is this.
    pub fn covers(&self, toleration: &Toleration) -> bool {
        let Some(key) = named(&toleration.key) else { return false };
        // Only equality tolerates a single value.
        let value = match toleration.operator.as_deref() {
            None | Some("" | "Equal") => Some(toleration.value.as_deref().unwrap_or_default()),
            Some(_) => None,
        };
        let effect = named(&toleration.effect);
        self.taint.covers(key, value) && self.effect.as_deref().is_none_or(|only| effect == Some(only))
    }
}

/// What is empty is not said.
fn named(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

/// What a toleration tolerates.
pub(super) fn in_words(toleration: &Toleration) -> String {
    let Some(key) = named(&toleration.key) else { return "every taint".to_owned() };
    let value = named(&toleration.value).map(|value| format!("={value}")).unwrap_or_default();
    let effect = named(&toleration.effect).map(|effect| format!(":{effect}")).unwrap_or_default();
    quoted(&format!("{key}{value}{effect}"))
}
