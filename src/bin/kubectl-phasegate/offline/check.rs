//! Checks one object as the API server would check it on creation.

use kube::core::cel::{CompiledSchema, ValidationError, Validator, compile_schema};
use phasegate::api::ApiGateway;
use phasegate::children;
use serde_json::{Value, json};

use super::fault::{Fault, Severity};
use super::schema;

/// The known fields of an object's metadata.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The custom resource definitions that this program was built with.
pub struct Definitions(Vec<Definition>);

struct Definition {
    kind: String,
    group: String,
    version: String,
    schema: Value,
    rules: CompiledSchema,
}

/// The result of a check.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// The object's kind is not one of ours.
    NotOurs {
        /// The kind in the object.
        kind: String,
    },
    /// The object's kind is one of ours.
    Checked {
        /// The object as the API server would store it, with its defaults.
        object: Value,
        /// Its faults. Without a fault it would be accepted.
        faults: Vec<Fault>,
        /// Whether its rules were not evaluated because its shape is wrong.
        rules_left_out: bool,
    },
}

impl Definitions {
    /// The definitions of both kinds.
    ///
    /// # Errors
    /// A definition cannot be written as JSON. This is a fault of this program.
    pub fn new() -> anyhow::Result<Self> {
        let definition = |(_, crd): (String, Value)| {
            let spec = &crd["spec"];
            let mut schema = spec["versions"][0]["schema"]["openAPIV3Schema"].clone();
            let rules = compile_schema(&schema);
            for name in METADATA {
                schema["properties"]["metadata"]["properties"][name] = json!({});
            }
            for name in ["apiVersion", "kind"] {
                schema["properties"][name] = json!({ "type": "string" });
            }
            Definition {
                kind: text(&spec["names"]["kind"]),
                group: text(&spec["group"]),
                version: text(&spec["versions"][0]["name"]),
                schema,
                rules,
            }
        };
        Ok(Self(phasegate::api::crds()?.into_iter().map(definition).collect()))
    }

    /// Checks an object.
    pub fn check(&self, object: &Value) -> Verdict {
        let (api_version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
        let (Some(api_version), Some(kind)) = (api_version, kind) else {
            let missing = ["apiVersion", "kind"].into_iter().filter(|field| !object[*field].is_string());
            let faults = missing.map(|field| Fault::new(field, Severity::Blocking, "Required value"));
            return Verdict::Checked { object: object.clone(), faults: faults.collect(), rules_left_out: false };
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if !self.0.iter().any(|definition| definition.group == group) {
            return Verdict::NotOurs { kind: format!("{kind} of {api_version}") };
        }
        match self.0.iter().find(|definition| definition.kind == kind && definition.version == version) {
            Some(definition) => definition.check(object),
            None => {
                let known: Vec<String> =
                    self.0.iter().map(|known| format!("{} of {}/{}", known.kind, known.group, known.version)).collect();
                let message = format!("no such kind: {kind} of {api_version}; known kinds: {}", known.join(" and "));
                let faults = vec![Fault::new("kind", Severity::Blocking, message)];
                Verdict::Checked { object: object.clone(), faults, rules_left_out: false }
            }
        }
    }

    /// A kind's transition rules, which compare with the stored object.
    pub fn rules_about_changes(&self, kind: &str) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(definition) = self.0.iter().find(|definition| definition.kind == kind) {
            transition_rules(&definition.schema, &mut found);
        }
        found
    }
}

impl Definition {
    fn check(&self, object: &Value) -> Verdict {
        let mut object = object.clone();
        // A created object's status is ignored.
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        let mut faults = schema::unknown_fields(&self.schema, &object);
        let object = schema::defaulted(&self.schema, &object);
        faults.extend(metadata(&object));
        faults.extend(schema::faults(&self.schema, &object));
        let rules_left_out = faults.iter().any(|fault| fault.severity == Severity::Blocking);
        if !rules_left_out {
            let broken = Validator::new().validate_compiled(&self.rules, &with_a_name(&object), None);
            let mut broken: Vec<Fault> =
                broken.err().into_iter().flatten().map(|broken| of_rule(&broken, &object)).collect();
            // The rules are evaluated in any order.
            broken.sort_by(|one, other| one.field.cmp(&other.field));
            faults.extend(broken);
        }
        if faults.is_empty() {
            faults.extend(invalid_field(&object));
        }
        Verdict::Checked { object, faults, rules_left_out }
    }
}

/// A gateway's field that the API server accepts and the operator does not render.
fn invalid_field(object: &Value) -> Option<Fault> {
    let gateway: ApiGateway = serde_json::from_value(object.clone()).ok()?;
    let invalid_field = children::invalid_field(&gateway.spec)?;
    let message = format!("the operator rejects this value: {}", invalid_field.why);
    Some(Fault::new(&invalid_field.field, Severity::Light, message))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The API server appends five characters to a `generateName` before it evaluates the rules.
fn with_a_name(object: &Value) -> Value {
    let mut object = object.clone();
    if let (None, Some(prefix)) = (object["metadata"].get("name"), object["metadata"]["generateName"].as_str()) {
        object["metadata"]["name"] = json!(format!("{prefix}xxxxx"));
    }
    object
}

/// The faults of an object's metadata, which no definition describes.
fn metadata(object: &Value) -> Vec<Fault> {
    const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
        and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let metadata = &object["metadata"];
    let mut faults = Vec::new();
    match metadata["name"].as_str() {
        Some(name) if !name.split('.').all(is_label) => {
            faults.push(Fault::new("metadata.name", Severity::Light, format!("Invalid value: {name:?}: {SUBDOMAIN}")));
        }
        None if metadata["name"].is_null() && metadata["generateName"].is_null() => {
            let message = "Required value: name or generateName is required";
            faults.push(Fault::new("metadata.name", Severity::Blocking, message));
        }
        _ => {}
    }
    for map in ["labels", "annotations"] {
        for (key, value) in metadata[map].as_object().into_iter().flatten().filter(|(_, value)| !value.is_string()) {
            let message = format!("Invalid value: {value}: must be a string: quote it");
            faults.push(Fault::new(&format!("metadata.{map}.{key}"), Severity::Blocking, message));
        }
    }
    faults
}

/// Whether a text consists of lower-case letters, digits and inner dashes.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn of_rule(broken: &ValidationError, object: &Value) -> Fault {
    // A rule of the whole object that points at a field is reported without the field's value.
    let (of_object, field) = match broken.field_path.strip_prefix('.') {
        Some(field) => (true, field),
        None => (false, broken.field_path.as_str()),
    };
    let scalar = |value: &&Value| !of_object && !value.is_object() && !value.is_array();
    let message = match broken.reason.as_deref() {
        Some("FieldValueRequired") => format!("Required value: {}", broken.message),
        Some("FieldValueForbidden") => format!("Forbidden: {}", broken.message),
        _ => match at(object, field).filter(scalar) {
            Some(value) => format!("Invalid value: {value}: {}", broken.message),
            None => format!("Invalid value: {}", broken.message),
        },
    };
    Fault::new(field, Severity::Light, message)
}

/// The value at a path such as `spec.volumes[0].name`.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    object.pointer(&format!("/{}", path.replace(['.', '['], "/").replace(']', "")))
}

fn transition_rules(schema: &Value, found: &mut Vec<String>) {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let about_changes = rules.filter(|rule| rule["rule"].as_str().is_some_and(|rule| rule.contains("oldSelf")));
    found.extend(about_changes.map(|rule| text(&rule["message"])));
    let inner = schema["properties"].as_object().into_iter().flat_map(|properties| properties.values());
    inner
        .chain([&schema["items"], &schema["additionalProperties"]])
        .filter(|schema| schema.is_object())
        .for_each(|schema| transition_rules(schema, found));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]

    use super::*;

    fn check(object: Value) -> Verdict {
        Definitions::new().unwrap().check(&object)
    }

    fn faults(object: Value) -> Vec<String> {
        match check(object) {
            Verdict::Checked { faults, .. } => faults.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn gateway(metadata: Value, spec: Value) -> Value {
        json!({ "apiVersion": "phasegate.dev/v1alpha1", "kind": "ApiGateway", "metadata": metadata, "spec": spec })
    }

    #[test]
    fn an_accepted_object_has_its_defaults_and_no_status() {
        let mut object = gateway(json!({ "name": "shop" }), json!({ "image": "acme/gateway:1", "host": null }));
        object["status"] = json!({ "phase": "Started" });

        let Verdict::Checked { object, faults, rules_left_out } = check(object) else { panic!("it is ours") };

        assert_eq!((faults, rules_left_out), (vec![], false));
        assert_eq!(
            object["spec"],
            json!({ "image": "acme/gateway:1", "port": 8080, "replicas": 1, "state": "Running" })
        );
        assert_eq!(object["status"], Value::Null);
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let spec = json!({ "image": "acme/gateway:1", "port": 8e3, "replicas": 2.0 });
        let Verdict::Checked { object, faults, .. } = check(gateway(json!({ "name": "shop" }), spec)) else {
            panic!("it is ours")
        };
        let spec = json!({ "image": "acme/gateway:1", "port": 8000, "replicas": 2, "state": "Running" });
        assert_eq!((faults, &object["spec"]), (vec![], &spec));
    }

    #[test]
    fn all_faults_are_told_and_rules_wait_for_the_right_shape() {
        let spec = json!({ "image": "Acme", "host": "Shop", "port": 0 });
        assert_eq!(
            faults(gateway(json!({ "name": "1" }), spec)),
            [
                "spec.port: Invalid value: 0: spec.port in body should be greater than or equal to 1",
                "metadata.name: Invalid value: metadata.name must start with a lower-case letter, end with a letter or digit and contain only lower-case letters, digits and '-': the Service has the same name",
                "spec.host: Invalid value: \"Shop\": host must be a lower-case DNS name such as shop.example.com, without scheme, port or path, and not an IP address",
                "spec.image: Invalid value: \"Acme\": image must be an image reference such as ghcr.io/acme/gateway:1.4, with registry and repository in lower case",
            ]
        );
        let misshapen = gateway(json!({ "name": "1" }), json!({ "host": "Shop" }));
        let Verdict::Checked { faults, rules_left_out, .. } = check(misshapen) else { panic!("it is ours") };
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!((told, rules_left_out), (vec!["spec.image: Required value".to_owned()], true));
    }

    #[test]
    fn what_the_operator_would_not_start_is_told_although_the_definitions_take_it() {
        let doubled = |name: &str, of: &str| json!({ "name": name, "value": of.repeat(1000) });
        let spec =
            |second: &str| json!({ "image": "acme/gateway:1", "env": [doubled("A", "x"), doubled("B", second)] });
        let told = faults(gateway(json!({ "name": "shop" }), spec("$(A)")));
        assert_eq!(
            told,
            ["spec.env[1].value: the operator rejects this value: its value with expanded references exceeds what a \
              process can start with: 128 KiB, or 2 MiB for all variables"]
        );
        assert_eq!(faults(gateway(json!({ "name": "shop" }), spec("$$(A)"))), [""; 0]);
    }

    #[test]
    fn metadata_is_checked_although_no_definition_describes_it() {
        let spec = || json!({ "image": "acme/gateway:1" });
        assert_eq!(
            faults(gateway(json!({ "lables": {}, "labels": { "tier": 1 } }), spec())),
            [
                "metadata.lables: unknown field: correct or remove it",
                "metadata.name: Required value: name or generateName is required",
                "metadata.labels.tier: Invalid value: 1: must be a string: quote it",
            ]
        );
        assert_eq!(faults(gateway(json!({ "generateName": "shop-" }), spec())), [""; 0]);
        let long = faults(gateway(json!({ "generateName": "a".repeat(46) }), spec()));
        assert!(
            long[0].ends_with("metadata.name must have at most 50 characters: the pods' names are derived from it")
        );
    }

    #[test]
    fn kinds_of_others_are_left_to_them_and_unknown_ones_of_ours_are_not() {
        assert_eq!(
            check(json!({ "apiVersion": "v1", "kind": "Secret" })),
            Verdict::NotOurs { kind: "Secret of v1".to_owned() }
        );
        assert_eq!(
            faults(json!({ "apiVersion": "phasegate.dev/v2", "kind": "ApiGateway" })),
            [
                "kind: no such kind: ApiGateway of phasegate.dev/v2; known kinds: ApiGateway of phasegate.dev/v1alpha1 and Environment of phasegate.dev/v1alpha1"
            ]
        );
        assert_eq!(faults(json!(["no object"])).len(), 2);
    }

    #[test]
    fn rules_about_changes_are_known_to_be_left_out() {
        let definitions = Definitions::new().unwrap();
        assert_eq!(
            definitions.rules_about_changes("Environment"),
            ["gatewayRef cannot be changed: delete the Environment and create another"]
        );
        assert_eq!(definitions.rules_about_changes("ApiGateway"), [""; 0]);
    }
}
