//! What a gateway is asked to do, what it is held to, and what is being done with it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::open_enum::{any_word, known_words, words};

words! {
    /// The desired state of a gateway.
    #[derive(Default)]
    DesiredState:

    /// Serve.
    #[default]
    Running,
    /// Do not serve: no pod runs and no route exists.
    Stopped,
    /// Serve, with one restart without downtime on the change to this value.
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
    /// The state that the operator maintains.
    State:

    /// It serves or is starting.
    Running,
    /// It does not serve: the user stopped it, or its start timed out.
    Stopped,
    /// It serves while it restarts.
    Restarting,
}

any_word!(State);

/// The phase of a gateway's lifecycle.
///
/// The schema leaves the set open, so that an object written by another version can be
/// stored and met; such a phase is [`Phase::Unknown`] and nothing is done to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Seen, and not yet started: a host, a name or the registry must become available first.
    Created,
    /// Starting, with a deadline.
    Starting,
    /// Started; with `status.state: Stopped`, timed out and about to be stopped.
    Started,
    /// Being stopped.
    Stopping,
    /// No pod runs and no route exists.
    Stopped,
    /// Deletion was requested; a finalizer is in progress.
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
