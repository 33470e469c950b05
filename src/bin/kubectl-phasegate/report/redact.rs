//! What is taken out of objects and texts before they are handed to somebody else.
//!
//! Kept is what a diagnosis needs; left out is every place where a value of a user's own may stand: variables, arguments,
//! labels and annotations of others, paths that are asked. Values that were met there are left out of every other text,
//! too (`met`), and so is what looks like a credential (`shapes`).

use std::sync::LazyLock;

use phasegate::{api, children};
use regex::{Captures, Regex};
use serde_json::{Map, Value};

use super::met::{Met, REDACTED};
use super::shapes;

/// Annotations that say nothing of a user's own.
const OWN_ANNOTATIONS: [&str; 16] = [
    api::ADOPT_ANNOTATION,
    api::GATEWAY_ID_ANNOTATION,
    api::INTENT_ANNOTATION,
    api::RESTART_ANNOTATION,
    api::RETRY_ANNOTATION,
    children::COUNT_ANNOTATION,
    children::DESIRED_ANNOTATION,
    children::INHERITED_ANNOTATIONS,
    children::INHERITED_LABELS,
    children::INPUTS_ANNOTATION,
    children::RENDERER_ANNOTATION,
    children::STARTUP_ANNOTATION,
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deployment.kubernetes.io/revision",
    "phasegate.dev/restart",
];

/// Labels that say nothing of a user's own.
const OWN_LABELS: [&str; 7] = [
    api::REGISTRY_LABEL,
    children::NAME_LABEL,
    children::UID_LABEL,
    "app.kubernetes.io/component",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/name",
    "pod-template-hash",
];

/// Prefixes of the labels by which nodes are chosen everywhere.
const NODES_LABELS: [&str; 4] =
    ["kubernetes.io/", "node.kubernetes.io/", "node-role.kubernetes.io/", "topology.kubernetes.io/"];

/// Fields that hold an object together, whatever values others have: of the text of these only credentials are taken out.
const STRUCTURE: [&str; 17] = [
    "apiVersion",
    "controller",
    "fieldPath",
    "generateName",
    "host",
    "image",
    "kind",
    "name",
    "namespace",
    "nodeName",
    "phase",
    "reason",
    "reportingController",
    "resourceVersion",
    "state",
    "type",
    "uid",
];

/// Programs that many images begin with.
const PROGRAMS: [&str; 14] = [
    "ash",
    "bash",
    "caddy",
    "dash",
    "dumb-init",
    "env",
    "envoy",
    "haproxy",
    "java",
    "nginx",
    "node",
    "python3",
    "sh",
    "tini",
];

/// What the segments of a path are called by which it is asked whether a program is well.
const HEALTH: [&str; 23] = [
    "",
    "-",
    "_health",
    "actuator",
    "alive",
    "api",
    "check",
    "health",
    "health-check",
    "healthcheck",
    "healthy",
    "healthz",
    "internal",
    "live",
    "liveness",
    "livez",
    "ok",
    "ping",
    "readiness",
    "ready",
    "readyz",
    "status",
    "up",
];

/// A name that is a secret's: whatever it is given to does not appear anywhere, however short it is.
static SECRET_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(pass(word|wd|phrase|code)?|pwd|pin|secret|token|credential|api[-_.]?key|private[-_.]?key|auth|cookie|session|dsn|conn(ection)?[-_.]?str)").ok()
});

/// A flag, and the sign before its value. What is no few words may be a value itself.
static FLAG: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(--?[A-Za-z]{1,16}(?:-[A-Za-z]{1,16}){0,2})(=|$)").ok());

/// Takes secrets out, and remembers those that were met, so that they are found in other texts as well.
#[derive(Debug, Default)]
pub struct Redactor {
    met: Met,
}

impl Redactor {
    /// Remembers the values of an object. Called for all objects before the first text is redacted.
    pub fn meet(&mut self, object: &Value) {
        match object {
            Value::Object(fields) => {
                if let (Some(name), Some(value)) = (string(fields, "name"), string(fields, "value")) {
                    self.remember(is_secret_name(name), value);
                }
                for (key, value) in fields {
                    match key.as_str() {
                        "args" => self.meet_arguments(value),
                        "command" => {
                            self.meet_arguments(value);
                            self.meet_program(&value[0]);
                        }
                        "readinessPath" => self.meet_path(value),
                        "httpGet" => self.meet_path(&value["path"]),
                        _ => {}
                    }
                    self.meet(value);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| self.meet(value)),
            _ => {}
        }
    }

    fn remember(&mut self, is_secret: bool, value: &str) {
        if is_secret { self.met.remember_secret(value) } else { self.met.remember(value) }
    }

    fn meet_arguments(&mut self, list: &Value) {
        let arguments: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (number, argument) in arguments.iter().enumerate() {
            match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with('-') => self.remember(is_secret_name(flag), value),
                None if argument.starts_with('-') => {
                    if let Some(value) = arguments.get(number + 1).filter(|value| !value.starts_with('-')) {
                        self.remember(is_secret_name(argument), value);
                    }
                }
                // A word alone is what the program is to do.
                _ if argument.bytes().all(|byte| byte.is_ascii_alphabetic()) => {}
                _ => self.met.remember(argument),
            }
            if argument.starts_with('-') && flag_of(argument).is_none() {
                self.met.remember(argument.trim_start_matches('-'));
            }
        }
    }

    fn meet_program(&mut self, program: &Value) {
        if let Some(program) = program.as_str().filter(|program| !is_program(program)) {
            self.met.remember(program);
        }
    }

    fn meet_path(&mut self, path: &Value) {
        let Some(path) = path.as_str() else { return };
        let (before, query) = path.split_once('?').unwrap_or((path, ""));
        self.met.remember(query);
        if !is_health_path(before) {
            self.met.remember(before);
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
            let value = match (key.as_str(), value) {
                // Who wrote which field helps nobody here, and names the keys of maps.
                ("managedFields", _) => continue,
                ("annotations", _) => of_keys(value, |key| OWN_ANNOTATIONS.contains(&key), |text| self.text(text)),
                ("labels" | "matchLabels" | "nodeSelector" | "selector", Value::Object(labels))
                    if labels.values().all(Value::is_string) =>
                {
                    of_keys(value, is_own_label, shapes::taken_out)
                }
                ("env" | "httpHeaders", _) => self.values(value),
                ("args", _) => arguments(value),
                ("command", _) => command(value),
                ("readinessPath", Value::String(path)) => Value::from(health_path(path)),
                ("httpGet", Value::Object(fields)) => {
                    let mut fields = self.fields(fields);
                    if let Some(Value::String(path)) = fields.get_mut("path") {
                        *path = health_path(path);
                    }
                    Value::Object(fields)
                }
                (key, Value::String(text)) if STRUCTURE.contains(&key) => Value::from(shapes::taken_out(text)),
                _ => self.object(value),
            };
            kept.insert(shapes::taken_out(key), value);
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

    /// A text without what is known to be somebody's or looks like a credential.
    pub fn text(&self, text: &str) -> String {
        shapes::taken_out(&self.met.taken_out(text))
    }
}

fn string<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    fields.get(key)?.as_str()
}

fn is_secret_name(name: &str) -> bool {
    SECRET_NAME.as_ref().is_none_or(|pattern| pattern.is_match(name))
}

fn is_own_label(key: &str) -> bool {
    OWN_LABELS.contains(&key) || NODES_LABELS.iter().any(|prefix| key.starts_with(prefix))
}

/// A map whose values stay where they are nobody's own.
fn of_keys(map: &Value, is_own: impl Fn(&str) -> bool, text: impl Fn(&str) -> String) -> Value {
    let Some(map) = map.as_object() else { return Value::from(REDACTED) };
    map.iter()
        .map(|(key, value)| {
            let value = value.as_str().filter(|_| is_own(key)).map_or_else(|| REDACTED.to_owned(), &text);
            (shapes::taken_out(key), Value::from(value))
        })
        .collect()
}

/// Arguments of a program: flags keep their names, everything else goes.
fn arguments(list: &Value) -> Value {
    let arguments = list.as_array().into_iter().flatten();
    arguments.map(|argument| Value::from(told(argument.as_str().unwrap_or_default()))).collect()
}

fn told(argument: &str) -> String {
    match flag_of(argument) {
        Some((flag, true)) => format!("{flag}={REDACTED}"),
        Some((flag, false)) => flag.to_owned(),
        None => REDACTED.to_owned(),
    }
}

/// The name of a flag, and whether its value follows. `-phunter2` is a flag with its value, and so may be a long one.
fn flag_of(argument: &str) -> Option<(&str, bool)> {
    let found: Captures<'_> = FLAG.as_ref()?.captures(argument)?;
    let (flag, has_value) = (found.get(1)?.as_str(), !found[2].is_empty());
    let is_flag = has_value || flag.starts_with("--") || flag.len() == 2;
    (is_flag && flag.len() <= 28 && shapes::taken_out(flag) == flag).then_some((flag, has_value))
}

/// What is started, and its arguments. What it is called stays where many start it.
fn command(list: &Value) -> Value {
    let mut told = arguments(list);
    let program = list.get(0).and_then(Value::as_str).filter(|program| is_program(program));
    if let (Some(program), Some(first)) = (program, told.get_mut(0)) {
        *first = Value::from(program);
    }
    told
}

fn is_program(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let is_usual = matches!(folder, "" | "/bin" | "/sbin" | "/usr/bin" | "/usr/sbin" | "/usr/local/bin");
    is_usual && PROGRAMS.contains(&name)
}

/// The path by which it is asked whether a program is well, without what may be a key.
fn health_path(path: &str) -> String {
    let (before, query) = path.split_once('?').map_or((path, ""), |(before, _)| (before, "?REDACTED"));
    let before = if is_health_path(before) { before } else { "/REDACTED" };
    format!("{before}{query}")
}

fn is_health_path(path: &str) -> bool {
    let is_version = |part: &str| part.strip_prefix('v').is_some_and(|number| number.parse::<u8>().is_ok());
    path.split('/').all(|part| HEALTH.contains(&part) || is_version(part))
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
        assert!(SECRET_NAME.is_some() && FLAG.is_some());
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
    fn arguments_keep_the_names_of_flags_and_no_flag_that_may_be_a_value() {
        for (argument, told) in [
            ("--level=debug", "--level=REDACTED"),
            ("-level=debug", "-level=REDACTED"),
            ("--token", "--token"),
            ("--start-deadline", "--start-deadline"),
            ("-v", "-v"),
            ("s3cr3t-t0ken", "REDACTED"),
            ("-phunter2", "REDACTED"),
            ("--hunter2", "REDACTED"),
            ("--hunter2=on", "REDACTED"),
            ("--correct-horse-battery-staple", "REDACTED"),
            ("--ghp_1234567890abcdefghijABCDEFGHIJ123456", "REDACTED"),
            ("--a b", "REDACTED"),
            ("serve", "REDACTED"),
            ("", "REDACTED"),
        ] {
            assert_eq!(redacted(json!({ "args": [argument] })), json!({ "args": [told] }), "{argument}");
        }
    }

    #[test]
    fn a_command_keeps_the_program_that_many_start() {
        for (program, told) in [
            ("/bin/sh", "/bin/sh"),
            ("java", "java"),
            ("hunter2", "REDACTED"),
            ("/opt/hunter2/sh", "REDACTED"),
            ("/usr/bin/env", "/usr/bin/env"),
            ("--token=hunter2", "--token=REDACTED"),
        ] {
            let command = json!({ "command": [program, "-c", "curl -u me:pw"] });
            assert_eq!(redacted(command), json!({ "command": [told, "-c", "REDACTED"] }), "{program}");
        }
    }

    #[test]
    fn annotations_and_labels_of_others_and_the_list_of_managers_are_left_out() {
        let metadata = json!({
            "name": "shop",
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{\"spec\":{}}",
                "phasegate.dev/restart-requested-at": "now",
                "phasegate.dev/hunter": "hunter2",
                "deployment.kubernetes.io/revision": "3",
                "deployment.kubernetes.io/note": "hunter2",
            },
            "labels": { "phasegate.dev/gateway": "shop", "app.kubernetes.io/name": "phasegate", "team": "hunter2", "phasegate.dev/x": "y" },
            "managedFields": [{ "manager": "kubectl" }],
        });
        assert_eq!(
            redacted(json!({ "metadata": metadata })),
            json!({ "metadata": {
                "name": "shop",
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "REDACTED",
                    "phasegate.dev/restart-requested-at": "now",
                    "phasegate.dev/hunter": "REDACTED",
                    "deployment.kubernetes.io/revision": "3",
                    "deployment.kubernetes.io/note": "REDACTED",
                },
                "labels": { "phasegate.dev/gateway": "shop", "app.kubernetes.io/name": "phasegate", "team": "REDACTED", "phasegate.dev/x": "REDACTED" },
            } })
        );
        assert_eq!(
            redacted(
                json!({ "nodeSelector": { "kubernetes.io/arch": "arm64", "pool": "hunter2" }, "selector": "shop" })
            ),
            json!({ "nodeSelector": { "kubernetes.io/arch": "arm64", "pool": "REDACTED" }, "selector": "shop" })
        );
    }

    #[test]
    fn a_path_that_is_asked_stays_where_it_is_one_of_many_and_its_query_never() {
        for (path, told) in [
            ("/", "/"),
            ("/healthz", "/healthz"),
            ("/actuator/health/readiness", "/actuator/health/readiness"),
            ("/api/v1/ready", "/api/v1/ready"),
            ("/healthz?key=hunter2", "/healthz?REDACTED"),
            ("/hunter2/ready", "/REDACTED"),
            ("/hunter2?x", "/REDACTED?REDACTED"),
        ] {
            let object =
                json!({ "readinessPath": path, "readinessProbe": { "httpGet": { "path": path, "port": 80 } } });
            let expected =
                json!({ "readinessPath": told, "readinessProbe": { "httpGet": { "path": told, "port": 80 } } });
            assert_eq!(redacted(object), expected);
        }
        let object = json!({ "readinessPath": "/hunter2/ready?key=abcde", "message": "Get \"http://10.0.0.1/hunter2/ready?key=abcde\": EOF" });
        assert_eq!(redacted(object)["message"], "Get \"http://10.0.0.1REDACTED?REDACTED\": EOF");
    }

    #[test]
    fn a_value_that_was_met_is_taken_out_of_every_text_and_holds_no_object_together() {
        let object = json!({
            "metadata": { "name": "orders", "namespace": "orders", "uid": "orders" },
            "env": [
                { "name": "DB_PASSWORD", "value": "correct horse" },
                { "name": "PIN", "value": "4711" },
                { "name": "PLAIN", "value": "battery-staple" },
                { "name": "TENANT", "value": "orders" },
                { "name": "LEVEL", "value": "debug" },
            ],
            "args": ["--token", "horse-battery", "--db=staple-horse", "serve", "--hunter2"],
            "message": "debug: correct horse, 4711, battery-staple, orders, horse-battery, staple-horse and hunter2 serve nobody",
        });
        let told = redacted(object);
        assert_eq!(told["metadata"], json!({ "name": "orders", "namespace": "orders", "uid": "orders" }));
        assert_eq!(
            told["message"],
            "debug: REDACTED, REDACTED, REDACTED, REDACTED, REDACTED, REDACTED and REDACTED serve nobody"
        );
    }
}
