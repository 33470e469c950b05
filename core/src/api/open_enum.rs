//! Enums that grow with the versions. Each version reads the values of other versions, keeps them and writes
//! them back.
//!
//! **Architecture invariant:** a process keeps at most 1,024 unknown words of at most 64 bytes each. Any other
//! unknown word fails to decode.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The longest value, in characters.
const LONGEST: usize = 64;
/// The most unknown values that are kept. Other versions have a few; nothing else is ever written where a value
/// is expected.
const MOST: usize = 1024;

/// Interns a value of another version for the lifetime of the process, so that enums stay `Copy`. `None` if the
/// text is no valid value, or too many are kept already.
pub(super) fn foreign(text: &str) -> Option<&'static str> {
    static MET: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    if !is_word(text) {
        return None;
    }
    let mut met = MET.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(word) = met.get(text) {
        return Some(word);
    }
    if met.len() >= MOST {
        return None;
    }
    let word: &'static str = Box::leak(text.to_owned().into_boxed_str());
    met.insert(word);
    Some(word)
}

fn is_word(text: &str) -> bool {
    text.len() <= LONGEST
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// The schema of a value in a status. It is open: a newer version may write values that this version does not
/// know.
pub(super) struct Word;

impl JsonSchema for Word {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": LONGEST, "pattern": "^[A-Za-z][A-Za-z0-9]*$" })
    }
}

/// Defines an enum whose values are spelled like its variants, with one more variant for values of other
/// versions.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident: $($(#[$doc:meta])+ $word:ident,)+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])+ $word,)+
            /// A value of another version.
            Unknown(&'static str),
        }

        impl $name {
            /// Every value that this version knows, in the order of their documentation.
            pub const ALL: &'static [Self] = &[$(Self::$word,)+];

            /// The value as the API spells it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)+
                    Self::Unknown(word) => word,
                }
            }

            /// Whether this version knows the value.
            pub const fn is_known(self) -> bool {
                !matches!(self, Self::Unknown(_))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                if let Some(known) = Self::ALL.iter().find(|word| word.as_str() == text) {
                    return Ok(*known);
                }
                let unknown = crate::api::open_enum::foreign(&text).map(Self::Unknown);
                unknown.ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a valid word")))
            }
        }
    };
}

/// The inline schema of such an enum.
macro_rules! schema_of_words {
    ($name:ident, $schema:expr) => {
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema = $schema;
                schema(generator)
            }
        }
    };
}

/// For values in a status: the schema admits any.
macro_rules! any_word {
    ($name:ident) => {
        crate::api::open_enum::schema_of_words!(
            $name,
            <crate::api::open_enum::Word as schemars::JsonSchema>::json_schema
        );
    };
}

/// For values in a spec: the schema admits those that this version knows, so that the API server refuses a
/// typing error.
macro_rules! known_words {
    ($name:ident) => {
        crate::api::open_enum::schema_of_words!($name, |_| {
            let words: Vec<&str> = $name::ALL.iter().map(|word| word.as_str()).collect();
            schemars::json_schema!({ "type": "string", "enum": words })
        });
    };
}

pub(super) use {any_word, known_words, schema_of_words, words};
