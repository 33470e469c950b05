//! Faults of an object, worded as the API server words them.

use std::fmt;

/// A fault of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field, such as `spec.volumes[0].name`.
    pub field: String,
    /// The API server's message.
    pub message: String,
    /// Whether the object's rules can still be evaluated.
    pub severity: Severity,
}

/// Whether a fault prevents the evaluation of an object's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The rules are evaluated anyway.
    Light,
    /// The object does not have the shape that the rules expect.
    Blocking,
}

impl Fault {
    /// A fault of a field.
    pub fn new(field: &str, severity: Severity, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into(), severity }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
