//! Gateways of the Gateway API: the parents that an HTTPRoute may have, and its default parents.
//!
//! **Architecture invariant:** for one gateway, an entry covers Gateways of a single namespace.

use super::Entry;
use crate::api::ParentRef;

/// The gateway's own namespace.
const OWN: &str = ".";
/// Every Gateway of a namespace.
const ANY: &str = "*";

/// A Gateway or all of a namespace: `NAMESPACE/NAME`, `NAMESPACE/*`, or `./NAME` and `./*` for the gateway's
/// own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedParent {
    text: String,
    namespace: String,
    name: String,
}

impl Entry for AllowedParent {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "must be NAMESPACE/NAME or NAMESPACE/*, where . is the gateway's namespace".to_owned();
        let (namespace, name) = text.split_once('/').ok_or_else(wrong)?;
        if (namespace != OWN && !is_name(namespace)) || (name != ANY && !is_name(name)) {
            return Err(wrong());
        }
        Ok(Self { text: text.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() })
    }

    fn text(&self) -> &str {
        &self.text
    }
}

impl AllowedParent {
    /// Whether a gateway in the namespace `own` may name this Gateway.
    pub fn covers(&self, namespace: &str, name: &str, own: &str) -> bool {
        let of_namespace = if self.namespace == OWN { own } else { &self.namespace };
        of_namespace == namespace && (self.name == ANY || self.name == name)
    }
}

/// Parses a default parent: `NAMESPACE/NAME` or `NAMESPACE/NAME/LISTENER`.
///
/// # Errors
/// A message that says what is wrong with it.
pub fn default_parent(text: &str) -> Result<ParentRef, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (namespace, name, section_name) = match parts.as_slice() {
        [namespace, name] => (namespace, name, None),
        [namespace, name, listener] => (namespace, name, Some(*listener)),
        _ => return Err("must be NAMESPACE/NAME or NAMESPACE/NAME/LISTENER".to_owned()),
    };
    match parts.iter().find(|part| !is_name(part)) {
        Some(part) => Err(format!("{part:?} is not a valid name")),
        None => Ok(ParentRef {
            namespace: Some((*namespace).to_owned()),
            name: (*name).to_owned(),
            section_name: section_name.map(str::to_owned),
        }),
    }
}

fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !text.is_empty()
        && text.len() <= 253
        && text.chars().all(|c| is_letter(c) || c == '-' || c == '.')
        && text.starts_with(is_letter)
        && text.ends_with(is_letter)
}
