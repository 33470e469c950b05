//! What is wrong with an object, in the words of the API server.

use std::fmt;

/// One fault of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field, such as `spec.volumes[0].name`.
    pub field: String,
    /// What is wrong, as the API server says it.
    pub message: String,
    /// Whether the object's rules can still be evaluated.
    pub weight: Weight,
}

/// Whether a fault keeps an object's rules from being evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Rules are evaluated all the same.
    Light,
    /// The object has another shape than the rules are written for.
    Blocking,
}

impl Fault {
    /// A fault of a field.
    pub fn new(field: &str, weight: Weight, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into(), weight }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
