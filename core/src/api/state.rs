//! What a gateway is asked to do, what it is held to, and what is being done with it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::words::{any_word, known_words, words};

words! {
    /// What the user asks the gateway to do.
    #[derive(Default)]
    DesiredState:

    /// Serve.
    #[default]
    Running,
    /// Do not serve; nothing of the gateway runs.
    Stopped,
    /// Serve, and restart once, without downtime, on the change to this value.
    Restarting,
}

known_words!(DesiredState);

impl DesiredState {
    /// Running and Restarting both ask for a gateway that serves. What a word of another version asks is not known, and
    /// nothing is stopped on account of it.
    pub fn asks_to_run(self) -> bool {
        !matches!(self, Self::Stopped)
    }
}

words! {
    /// What the operator holds a gateway to.
    State:

    /// It serves, or is being started.
    Running,
    /// It does not serve: the user asked so, or its start timed out.
    Stopped,
    /// It serves and is being restarted.
    Restarting,
}

any_word!(State);

/// What the operator is doing with a gateway.
///
/// The schema leaves the set open, so that an object written by another version can be
/// stored and met; such a phase is [`Phase::Unknown`] and nothing is done to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Seen, and not yet begun: something must be free or answer first.
    Created,
    /// Being started, with a deadline.
    Starting,
    /// Started; with `status.state: Stopped`, timed out and about to be stopped.
    Started,
    /// Being stopped.
    Stopping,
    /// Nothing of it runs.
    Stopped,
    /// A finalizer works.
    Deleting,
    /// A phase of another version.
    Unknown(String),
}

impl Phase {
    /// The phase as the API spells it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Created => "Created",
            Self::Starting => "Starting",
            Self::Started => "Started",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::Deleting => "Deleting",
            Self::Unknown(text) => text,
        }
    }
}

impl From<String> for Phase {
    fn from(text: String) -> Self {
        match text.as_str() {
            "Created" => Self::Created,
            "Starting" => Self::Starting,
            "Started" => Self::Started,
            "Stopping" => Self::Stopping,
            "Stopped" => Self::Stopped,
            "Deleting" => Self::Deleting,
            _ => Self::Unknown(text),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Phase {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Phase {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl JsonSchema for Phase {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Phase".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 64 })
    }
}
