//! What is taken out of objects and texts before they are handed to somebody else.
//!
//! Kept is what a diagnosis needs; left out is every place where a value of a user's own may stand: variables,
//! arguments, annotations of others. What is known to be secret by its name is left out of every other text, too.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

/// What stands where something was taken out.
pub const REDACTED: &str = "REDACTED";

/// Prefixes of annotations that say nothing of a user's own.
const OWN_ANNOTATIONS: [&str; 2] = ["phasegate.dev/", "deployment.kubernetes.io/"];

/// A name that is a secret's: whatever it is given to does not appear anywhere.
static SECRET_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(pass(word|wd|phrase)?|secret|token|credential|api[-_.]?key|private[-_.]?key|auth|dsn|conn(ection)?[-_.]?str)").ok()
});

/// What looks like a credential in any text, with what is kept of it.
static CREDENTIALS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // scheme://user:password@host
        (r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@]+@", "${1}REDACTED@"),
        // What follows a password or token by name, in logs, JSON, query strings and command lines.
        (
            r#"(?i)((?:pass(?:word|wd|phrase)?|secret|token|credentials?|api[-_.]?key|private[-_.]?key)["']?\s*[=:]\s*["']?)[^\s"'&,;}]+"#,
            "${1}REDACTED",
        ),
        (r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}", "${1}REDACTED"),
        // JSON web tokens.
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", "REDACTED"),
        (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", "REDACTED"),
    ]
    .into_iter()
    .filter_map(|(pattern, kept)| Some((Regex::new(pattern).ok()?, kept)))
    .collect()
});

/// Takes secrets out, and remembers those that were met, so that they are found in other texts as well.
#[derive(Debug, Default)]
pub struct Redactor {
    met: BTreeSet<String>,
}

impl Redactor {
    /// Remembers the secrets of an object. Called for all objects before the first text is redacted.
    pub fn meet(&mut self, object: &Value) {
        match object {
            Value::Object(fields) => {
                if let (Some(name), Some(value)) = (fields.get("name"), fields.get("value")) {
                    self.meet_value(name, value);
                }
                for (key, value) in fields {
                    if ["args", "command"].contains(&key.as_str()) {
                        self.meet_arguments(value);
                    }
                    self.meet(value);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| self.meet(value)),
            _ => {}
        }
    }

    fn meet_value(&mut self, name: &Value, value: &Value) {
        if let (Some(name), Some(value)) = (name.as_str(), value.as_str())
            && is_secret_name(name)
        {
            self.remember(value);
        }
    }

    fn meet_arguments(&mut self, list: &Value) {
        let arguments: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (number, argument) in arguments.iter().enumerate() {
            match argument.split_once('=') {
                Some((flag, value)) if is_secret_name(flag) => self.remember(value),
                None if argument.starts_with('-') && is_secret_name(argument) => {
                    if let Some(value) = arguments.get(number + 1) {
                        self.remember(value);
                    }
                }
                _ => {}
            }
        }
    }

    /// Shorter ones would take ordinary words out of every text.
    fn remember(&mut self, secret: &str) {
        const SHORTEST: usize = 6;
        if secret.len() >= SHORTEST {
            self.met.insert(secret.to_owned());
        }
    }

    /// An object without what a user's own values may stand in.
    pub fn object(&self, object: &Value) -> Value {
        match object {
            Value::Object(fields) => Value::Object(self.fields(fields)),
            Value::Array(list) => list.iter().map(|value| self.object(value)).collect(),
            Value::String(text) => Value::String(self.text(text)),
            other => other.clone(),
        }
    }

    fn fields(&self, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut kept = Map::new();
        for (key, value) in fields {
            let value = match key.as_str() {
                // Who wrote which field helps nobody here, and names the keys of maps.
                "managedFields" => continue,
                "annotations" => annotations(value, |text| self.text(text)),
                "env" | "httpHeaders" => self.values(value),
                "args" => list_of_arguments(value, 0),
                // The program itself is none of its arguments.
                "command" => list_of_arguments(value, 1),
                _ => self.object(value),
            };
            kept.insert(key.clone(), value);
        }
        kept
    }

    /// A list of names with values, the values left out.
    fn values(&self, list: &Value) -> Value {
        let mut list = self.object(list);
        for entry in list.as_array_mut().into_iter().flatten() {
            if let Some(value) = entry.get_mut("value") {
                *value = Value::from(REDACTED);
            }
        }
        list
    }

    /// A text without what is known to be secret or looks like a credential.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // The longest first: one may be a part of another.
        let mut met: Vec<&String> = self.met.iter().collect();
        met.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in met {
            text = text.replace(secret.as_str(), REDACTED);
        }
        for (pattern, kept) in CREDENTIALS.iter() {
            text = pattern.replace_all(&text, *kept).into_owned();
        }
        text
    }
}

fn is_secret_name(name: &str) -> bool {
    SECRET_NAME.as_ref().is_none_or(|pattern| pattern.is_match(name))
}

fn annotations(map: &Value, text: impl Fn(&str) -> String) -> Value {
    let Some(map) = map.as_object() else { return Value::from(REDACTED) };
    map.iter()
        .map(|(key, value)| {
            let own = OWN_ANNOTATIONS.iter().any(|prefix| key.starts_with(prefix));
            let value = value.as_str().filter(|_| own).map_or_else(|| REDACTED.to_owned(), &text);
            (key.clone(), Value::from(value))
        })
        .collect()
}

/// Arguments of a program: flags keep their names, everything else goes, but for the first `kept` ones.
fn list_of_arguments(list: &Value, kept: usize) -> Value {
    static FLAG: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^(--?[A-Za-z][A-Za-z0-9-]*)(=?)").ok());
    let arguments = list.as_array().into_iter().flatten().enumerate();
    arguments
        .map(|(number, argument)| {
            let argument = argument.as_str().unwrap_or_default();
            if number < kept {
                return Value::from(argument);
            }
            let flag: Option<Captures<'_>> = FLAG.as_ref().and_then(|pattern| pattern.captures(argument));
            let told = match flag {
                Some(flag) if !flag[2].is_empty() => format!("{}={REDACTED}", &flag[1]),
                // `-phunter2` is a flag with its value, `--password` is one without.
                Some(flag) if flag[0] == *argument && (argument.starts_with("--") || argument.len() == 2) => {
                    argument.to_owned()
                }
                _ => REDACTED.to_owned(),
            };
            Value::from(told)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn redacted(object: Value) -> Value {
        let mut redactor = Redactor::default();
        redactor.meet(&object);
        redactor.object(&object)
    }

    #[test]
    fn every_pattern_is_one() {
        assert!(SECRET_NAME.is_some());
        assert_eq!(CREDENTIALS.len(), 5);
        assert!(is_secret_name("DB_PASSWORD") && is_secret_name("--api-key") && !is_secret_name("LOG_LEVEL"));
    }

    #[test]
    fn variables_keep_their_names_and_where_they_come_from() {
        let reference = json!({ "secretKeyRef": { "name": "s", "key": "k" } });
        assert_eq!(
            redacted(json!({ "spec": { "env": [
                { "name": "LEVEL", "value": "debug" },
                { "name": "PASSWORD", "valueFrom": reference },
            ] } })),
            json!({ "spec": { "env": [
                { "name": "LEVEL", "value": "REDACTED" },
                { "name": "PASSWORD", "valueFrom": reference },
            ] } })
        );
    }

    #[test]
    fn arguments_keep_the_names_of_flags() {
        let arguments = json!(["--level=debug", "--token", "s3cr3t-t0ken", "-v", "-phunter2", "serve", "--a b"]);
        let told = json!(["--level=REDACTED", "--token", "REDACTED", "-v", "REDACTED", "REDACTED", "REDACTED"]);
        assert_eq!(redacted(json!({ "args": arguments.clone() })), json!({ "args": told }));
        assert_eq!(
            redacted(json!({ "command": ["/bin/sh", "-c", "curl -u me:pw"] })),
            json!({ "command": ["/bin/sh", "-c", "REDACTED"] })
        );
    }

    #[test]
    fn annotations_of_others_and_the_list_of_managers_are_left_out() {
        let metadata = json!({
            "name": "shop",
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{\"spec\":{}}",
                "phasegate.dev/restart-requested-at": "now",
            },
            "managedFields": [{ "manager": "kubectl" }],
        });
        assert_eq!(
            redacted(json!({ "metadata": metadata })),
            json!({ "metadata": {
                "name": "shop",
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "REDACTED",
                    "phasegate.dev/restart-requested-at": "now",
                },
            } })
        );
    }

    #[test]
    fn a_secret_that_was_met_is_taken_out_of_every_text() {
        let mut redactor = Redactor::default();
        redactor.meet(
            &json!({ "env": [{ "name": "DB_PASSWORD", "value": "correct horse" }, { "name": "TOKEN", "value": "a" }] }),
        );
        redactor.meet(&json!({ "args": ["--token", "battery-staple", "--api-key=horse-battery"] }));

        assert_eq!(
            redactor.text("cannot log in with correct horse, battery-staple and horse-battery at a host"),
            "cannot log in with REDACTED, REDACTED and REDACTED at a host"
        );
    }

    #[test]
    fn what_looks_like_a_credential_is_taken_out_of_every_text() {
        for (text, told) in [
            ("mongodb://me:pw@db.example.com/x", "mongodb://REDACTED@db.example.com/x"),
            ("GET /login?user=me&password=pw&x=1", "GET /login?user=me&password=REDACTED&x=1"),
            ("{\"token\": \"abc\", \"n\": 1}", "{\"token\": \"REDACTED\", \"n\": 1}"),
            ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer REDACTED"),
            ("it was eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln here", "it was REDACTED here"),
            ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "REDACTED"),
            ("secret \"gateway-secret\" not found", "secret \"gateway-secret\" not found"),
            ("http://shop.example.com/", "http://shop.example.com/"),
        ] {
            assert_eq!(Redactor::default().text(text), told);
        }
    }
}
