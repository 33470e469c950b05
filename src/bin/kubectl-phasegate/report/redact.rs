//! Redacts objects and texts before a user hands them to somebody else.
//!
//! What a diagnosis needs is kept. Every place that may hold a user's own value is emptied: variables,
//! arguments, foreign labels and annotations, request paths. The values found there are removed from every
//! other text as well (`seen_values`), and so is everything that looks like a credential (`shapes`).
//!
//! **Architecture invariant**: [`Redactor::collect`] has seen every object before the first text is redacted. The
//! archive takes [`Redacted`] text only.

use std::sync::LazyLock;

use phasegate::{api, children, secrets};
use regex::{Captures, Regex};
use serde_json::{Map, Value};

use super::seen_values::{REDACTED, SeenValues};
use super::shapes;
use crate::failure::Failure;
use crate::output::Data;
use crate::terminal::Shown;

/// Annotations whose values are not the user's own.
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

/// Labels whose values are not the user's own.
const OWN_LABELS: [&str; 7] = [
    api::REGISTRY_LABEL,
    children::NAME_LABEL,
    children::UID_LABEL,
    "app.kubernetes.io/component",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/name",
    "pod-template-hash",
];

/// What a volume's driver is told. Others' webhooks may add such volumes to pods.
const DRIVERS: [&str; 2] = ["options", "volumeAttributes"];

/// Prefixes of the well-known labels that select nodes.
const NODES_LABELS: [&str; 4] =
    ["kubernetes.io/", "node.kubernetes.io/", "node-role.kubernetes.io/", "topology.kubernetes.io/"];

/// Structural fields. From their text only credentials are removed, whatever values were seen elsewhere.
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

/// Programs that many images start with.
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

/// The usual segments of a health check's path.
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

/// A flag, and the character before its value. Anything that is not a few words may itself be a value.
static FLAG: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(--?[A-Za-z]{1,16}(?:-[A-Za-z]{1,16}){0,2})(=|$)").ok());

/// The password of a user in a URL.
static USER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?:^|/)[^/:@\s]*:([^/@\s]+)@").ok());

/// The maximum length of a word that is taken for a subcommand.
const COMMAND: usize = 8;

/// A text for the report. Only a [`Redactor`] makes one.
pub struct Redacted(Shown);

impl Redacted {
    /// The text in bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Removes secrets, and remembers them so that they are found in other texts as well.
#[derive(Debug, Default)]
pub struct Redactor {
    seen_values: SeenValues,
}

impl Redactor {
    /// Remembers the values of an object. It is called for all objects before the first text is redacted.
    pub fn collect(&mut self, object: &Value) {
        match object {
            Value::Object(fields) => {
                if let (Some(name), Some(value)) = (string(fields, "name"), string(fields, "value")) {
                    self.remember(secrets::is_variables(name), value);
                }
                for (key, value) in fields {
                    match key.as_str() {
                        "args" => self.collect_arguments(value),
                        "command" => {
                            self.collect_arguments(value);
                            self.collect_program(&value[0]);
                        }
                        "readinessPath" => self.collect_path(value),
                        "httpGet" => self.collect_path(&value["path"]),
                        key if DRIVERS.contains(&key) => self.collect_map(value),
                        _ => {}
                    }
                    self.collect(value);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| self.collect(value)),
            _ => {}
        }
    }

    fn remember(&mut self, is_secret: bool, value: &str) {
        if is_secret {
            self.seen_values.remember_secret(value)
        } else {
            self.seen_values.remember(value)
        }
        self.collect_parts(value);
    }

    /// The secret parts of a composite value: `scheme://user:password@host`, `Server=db;Password=…`.
    fn collect_parts(&mut self, value: &str) {
        for found in USER.iter().flat_map(|pattern| pattern.captures_iter(value)) {
            self.seen_values.remember_secret(&found[1]);
        }
        for part in value.split([';', '&', '?', ' ', ',']) {
            if let Some((_, secret)) = part.split_once('=').filter(|(name, _)| secrets::is_variables(name)) {
                self.seen_values.remember_secret(secret.trim_matches(['"', '\'']));
            }
        }
    }

    fn collect_arguments(&mut self, list: &Value) {
        let arguments: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (number, argument) in arguments.iter().enumerate() {
            match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with('-') => self.remember(secrets::is_variables(flag), value),
                None if argument.starts_with('-') => {
                    if let Some(value) = arguments.get(number + 1).filter(|value| !value.starts_with('-')) {
                        self.remember(secrets::is_variables(argument), value);
                    }
                }
                // A single word is a subcommand.
                _ if argument.len() <= COMMAND && argument.bytes().all(|byte| byte.is_ascii_alphabetic()) => {}
                _ => self.remember(false, argument),
            }
            if argument.starts_with('-') && flag_of(argument).is_none() {
                self.seen_values.remember(argument.trim_start_matches('-'));
            }
        }
    }

    fn collect_program(&mut self, program: &Value) {
        if let Some(program) = program.as_str().filter(|program| !is_program(program)) {
            self.seen_values.remember(program);
        }
    }

    fn collect_map(&mut self, map: &Value) {
        for (name, value) in map.as_object().into_iter().flatten() {
            self.remember(secrets::is_variables(name), value.as_str().unwrap_or_default());
        }
    }

    fn collect_path(&mut self, path: &Value) {
        let Some(path) = path.as_str() else { return };
        let (before, query) = path.split_once('?').unwrap_or((path, ""));
        self.seen_values.remember(query);
        if !is_health_path(before) {
            self.seen_values.remember(before);
        }
    }

    /// An object as a YAML document.
    ///
    /// # Errors
    /// It cannot be written as YAML. This is a fault of this program.
    pub fn document(&self, object: &Value) -> Result<Redacted, Failure> {
        let text = Data::Yaml.text(&self.object(object))?;
        Ok(Redacted(Shown::from_iter([Shown::text("---\n"), text])))
    }

    /// A text of several lines.
    pub fn lines(&self, text: &str) -> Redacted {
        Redacted(Shown::text(&self.text(text)))
    }

    /// An object without the places that may hold a user's own values.
    fn object(&self, object: &Value) -> Value {
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
                // Managed fields help nobody here, and contain the keys of maps.
                ("managedFields", _) => continue,
                ("annotations", _) => of_keys(value, |key| OWN_ANNOTATIONS.contains(&key), |text| self.text(text)),
                ("labels" | "matchLabels" | "nodeSelector" | "selector", Value::Object(labels))
                    if labels.values().all(Value::is_string) =>
                {
                    of_keys(value, is_own_label, shapes::taken_out)
                }
                (key, Value::Object(_)) if DRIVERS.contains(&key) => of_keys(value, |_| false, str::to_owned),
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

    /// A list of names with values, without the values.
    fn values(&self, list: &Value) -> Value {
        let mut list = self.object(list);
        for entry in list.as_array_mut().into_iter().flatten() {
            if let Some(value) = entry.get_mut("value") {
                *value = Value::from(REDACTED);
            }
        }
        list
    }

    /// A text without seen values and without anything that looks like a credential.
    pub fn text(&self, text: &str) -> String {
        shapes::taken_out(&self.seen_values.taken_out(text))
    }
}

fn string<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    fields.get(key)?.as_str()
}

fn is_own_label(key: &str) -> bool {
    OWN_LABELS.contains(&key) || NODES_LABELS.iter().any(|prefix| key.starts_with(prefix))
}

/// A map that keeps the values of well-known keys.
fn of_keys(map: &Value, is_own: impl Fn(&str) -> bool, text: impl Fn(&str) -> String) -> Value {
    let Some(map) = map.as_object() else { return Value::from(REDACTED) };
    map.iter()
        .map(|(key, value)| {
            let value = value.as_str().filter(|_| is_own(key)).map_or_else(|| REDACTED.to_owned(), &text);
            (shapes::taken_out(key), Value::from(value))
        })
        .collect()
}

/// A program's arguments: flags keep their names, everything else is removed.
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

/// The name of a flag, and whether its value follows. `-phunter2` is a flag with its value, and a long flag may
/// be one too.
fn flag_of(argument: &str) -> Option<(&str, bool)> {
    let found: Captures<'_> = FLAG.as_ref()?.captures(argument)?;
    let (flag, has_value) = (found.get(1)?.as_str(), !found[2].is_empty());
    let is_flag = has_value || flag.starts_with("--") || flag.len() == 2;
    (is_flag && flag.len() <= 28 && shapes::taken_out(flag) == flag).then_some((flag, has_value))
}

/// A command with its arguments. The program's name is kept if it is a common one.
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

/// The path of a health check, without anything that may be a key.
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
        redactor.collect(&object);
        redactor.object(&object)
    }

    #[test]
    fn every_pattern_is_one() {
        assert!(FLAG.is_some() && USER.is_some());
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
            ("-phunter", "REDACTED"),
            ("--correcthorse-batterystaple-x", "REDACTED"),
            ("--EAAAabcdEFGHij", "REDACTED"),
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
    fn what_the_driver_of_a_volume_is_told_keeps_its_names() {
        let volumes = json!([
            { "csi": { "driver": "files", "volumeAttributes": { "share": "swordfish", "PIN": "0815", "uid": "me" } } },
            { "flexVolume": { "driver": "files", "options": { "share": "horse-battery" } } },
        ]);
        let told = redacted(json!({ "volumes": volumes, "message": "no swordfish, 0815 or horse-battery" }));
        let volumes = json!([
            { "csi": { "driver": "files", "volumeAttributes": { "share": "REDACTED", "PIN": "REDACTED", "uid": "REDACTED" } } },
            { "flexVolume": { "driver": "files", "options": { "share": "REDACTED" } } },
        ]);
        assert_eq!(told, json!({ "volumes": volumes, "message": "no REDACTED, REDACTED or REDACTED" }));
        let dns = json!({ "dnsConfig": { "options": [{ "name": "ndots", "value": "2" }] } });
        assert_eq!(redacted(dns.clone()), dns);
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
        let message = "Get \"http://10.0.0.1/hunter2/ready?key=abcde\": EOF, of key=abcde";
        let told = "Get \"http://10.0.0.1REDACTED?REDACTED\": EOF, of REDACTED";
        let path = "/hunter2/ready?key=abcde";
        for place in [json!({ "readinessPath": path }), json!({ "httpGet": { "path": path } })] {
            assert_eq!(redacted(json!({ "message": message, "place": place }))["message"], told);
        }
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
            "args": ["--token", "horse-battery", "--db=staple-horse", "serve", "--hunter2", "--pin", "0815"],
            "command": ["hunters", "--key=stable-horse"],
            "message": "debug: correct horse, 4711, battery-staple, orders, horse-battery, staple-horse, hunter2, 0815, \
                        hunters and stable-horse serve nobody",
        });
        let told = redacted(object);
        assert_eq!(told["metadata"], json!({ "name": "orders", "namespace": "orders", "uid": "orders" }));
        assert_eq!(
            told["message"],
            "debug: REDACTED, REDACTED, REDACTED, REDACTED, REDACTED, REDACTED, REDACTED, REDACTED, REDACTED and \
             REDACTED serve nobody"
        );
    }

    #[test]
    fn what_is_a_credential_by_its_shape_stays_nowhere() {
        const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
        let object = json!({
            "apiVersion": KEY,
            "name": KEY,
            "message": KEY,
            KEY: { KEY: 1 },
            "annotations": { "phasegate.dev/restart-requested-at": KEY, KEY: "x" },
            "labels": { "app.kubernetes.io/name": KEY, KEY: "x" },
            "list": [KEY, { "message": format!("it says {KEY}") }],
        });
        let told = redacted(object).to_string();
        assert!(!told.contains(KEY) && told.matches("REDACTED").count() == 13, "{told}");
    }

    #[test]
    fn what_is_written_is_redacted_and_shown() {
        let mut redactor = Redactor::default();
        let object = json!({ "env": [{ "name": "A", "value": "swordfish" }], "message": "its swordfish\u{202e}" });
        redactor.collect(&object);
        let written = |text: &Redacted| String::from_utf8(text.as_bytes().to_vec()).unwrap();
        assert_eq!(written(&redactor.lines("log: swordfish\u{202e}\nend\n")), "log: REDACTED \nend\n");
        let document = written(&redactor.document(&object).unwrap());
        assert!(document.starts_with("---\n") && document.contains("its REDACTED"), "{document}");
        assert!(!document.contains("swordfish") && !document.contains('\u{202e}'), "{document}");
    }

    #[test]
    fn of_a_value_that_says_more_what_is_secret_is_met_alone() {
        let object = json!({
            "env": [
                { "name": "DATABASE_URL", "value": "postgres://shop:swordfish@db:5432/shop" },
                { "name": "MYSQL", "value": "me:hunter@tcp(db:3306)/x" },
                { "name": "SQL", "value": "Server=db;User Id=sa;Password=battery staple;Timeout=30" },
            ],
            "args": ["correcthorse"],
            "message": "tried swordfish, hunter, battery and correcthorse at db:5432 for shop",
        });
        assert_eq!(redacted(object)["message"], "tried REDACTED, REDACTED, REDACTED and REDACTED at db:5432 for shop");
    }
}
