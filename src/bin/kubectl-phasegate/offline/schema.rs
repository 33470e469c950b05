//! Validates an object against a structural schema, as the API server does before it evaluates rules.

use kube::core::cel;
use regex::Regex;
use serde_json::{Map, Number, Value};

use super::fault::{Fault, Severity};

/// The fields of an object that its schema does not define. The API server drops them, and kubectl refuses
/// them.
pub fn unknown_fields(schema: &Value, object: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    each_field(schema, object, "", &mut |schema, value, path| {
        let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) else { return };
        faults.extend(
            fields
                .keys()
                .filter(|key| !properties.contains_key(*key))
                .map(|key| Fault::new(&join(path, key), Severity::Light, "unknown field: correct or remove it")),
        );
    });
    faults
}

/// The violations of a schema: types, bounds, lengths, missing and duplicate entries.
pub fn faults(schema: &Value, object: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    each_field(schema, object, "", &mut |schema, value, path| {
        if let Some(fault) = wrong_type(schema, value, path) {
            faults.push(fault);
            return;
        }
        match value {
            Value::String(text) => faults.extend(string(schema, text, path)),
            Value::Number(_) => faults.extend(number(schema, value, path)),
            Value::Array(list) => faults.extend(array(schema, list, path)),
            Value::Object(fields) => {
                faults.extend(missing(schema, fields, path));
                faults.extend(too_many(schema, fields, path));
            }
            Value::Null | Value::Bool(_) => {}
        }
    });
    faults
}

/// Removes nulls, normalizes whole numbers and adds defaults, as the API server does before validation.
pub fn defaulted(schema: &Value, object: &Value) -> Value {
    cel::apply_defaults(schema, &without_nulls(object))
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Number(number) => whole(number).map_or_else(|| value.clone(), Value::from),
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect(),
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// `1e2` and `100.0` are stored as `100`.
fn whole(number: &Number) -> Option<i64> {
    // Beyond this value, a double does not represent every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let is_whole = |number: &f64| number.fract() == 0.0 && number.abs() < EXACT;
    #[allow(clippy::cast_possible_truncation)]
    number.as_f64().filter(|_| number.is_f64()).filter(is_whole).map(|number| number as i64)
}

/// Visits each value that the schema defines, outer ones first.
fn each_field<'a>(schema: &'a Value, value: &'a Value, path: &str, visit: &mut impl FnMut(&'a Value, &'a Value, &str)) {
    visit(schema, value, path);
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let of_field = schema["properties"].get(key).or_else(|| schema.get("additionalProperties"));
                if let Some(schema) = of_field {
                    each_field(schema, value, &join(path, key), visit);
                }
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                each_field(&schema["items"], value, &format!("{path}[{index}]"), visit);
            }
        }
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn wrong_type(schema: &Value, value: &Value, path: &str) -> Option<Fault> {
    // A schema without a type constrains nothing.
    let mut wanted = schema["type"].as_str();
    if schema["x-kubernetes-int-or-string"] == true {
        wanted = Some("integer,string");
    }
    let mut wanted = wanted?;
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() != 0.0) => {
            match schema["format"].as_str() {
                Some(format) => {
                    wanted = format;
                    "float64"
                }
                None => "number",
            }
        }
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = wanted.split(',').any(|wanted| wanted == found || (wanted == "number" && found == "integer"));
    (!fits).then(|| {
        let message = format!("Invalid value: {found:?}: {path} in body must be of type {wanted}: {found:?}");
        Fault::new(path, Severity::Blocking, message)
    })
}

fn string(schema: &Value, text: &str, path: &str) -> Vec<Fault> {
    let length = text.chars().count() as u64;
    // The API server reports only the first of these faults.
    let form = if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
        Some((Severity::Blocking, format!("Too long: may not be more than {most} bytes")))
    } else if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
        let message = format!("Invalid value: {text:?}: {path} in body should be at least {least} chars long");
        Some((Severity::Light, message))
    } else {
        let pattern = schema["pattern"].as_str().filter(|pattern| !matches(pattern, text));
        pattern.map(|pattern| {
            (Severity::Light, format!("Invalid value: {text:?}: {path} in body should match '{pattern}'"))
        })
    };
    let values = schema["enum"].as_array().filter(|values| !values.iter().any(|value| value == text));
    let word = values.map(|values| {
        let supported: Vec<String> = values.iter().map(Value::to_string).collect();
        let message = format!("Unsupported value: {text:?}: supported values: {}", supported.join(", "));
        (Severity::Blocking, message)
    });
    form.into_iter().chain(word).map(|(severity, message)| Fault::new(path, severity, message)).collect()
}

/// A pattern that does not compile is not one of the definitions': a test compiles them all.
fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

fn number(schema: &Value, value: &Value, path: &str) -> Vec<Fault> {
    let bound = |name: &str, is_beyond: fn(f64, f64) -> bool, words: &str| {
        let (bound, number) = (schema[name].as_f64()?, value.as_f64()?);
        is_beyond(number, bound).then(|| {
            let message = format!("Invalid value: {value}: {path} in body should be {words} than or equal to {bound}");
            Fault::new(path, Severity::Light, message)
        })
    };
    let low = bound("minimum", |number, bound| number < bound, "greater");
    let high = bound("maximum", |number, bound| number > bound, "less");
    low.into_iter().chain(high).collect()
}

fn array(schema: &Value, list: &[Value], path: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let length = list.len() as u64;
    if let Some(most) = schema["maxItems"].as_u64().filter(|most| length > *most) {
        let message = format!("Too many: {length}: must have at most {most} items");
        faults.push(Fault::new(path, Severity::Blocking, message));
    }
    let keys: Vec<&str> =
        schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if keys.is_empty() {
        return faults;
    }
    let key_of = |item: &Value| -> Map<String, Value> {
        keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(key)?.clone()))).collect()
    };
    for (index, item) in list.iter().enumerate() {
        let key = key_of(item);
        // Only the second occurrence is reported, not the later ones.
        if list[..index].iter().filter(|earlier| key_of(earlier) == key).count() == 1 {
            let message = format!("Duplicate value: {}", Value::Object(key));
            faults.push(Fault::new(&format!("{path}[{index}]"), Severity::Light, message));
        }
    }
    faults
}

fn too_many(schema: &Value, fields: &Map<String, Value>, path: &str) -> Option<Fault> {
    let length = fields.len() as u64;
    let most = schema["maxProperties"].as_u64().filter(|most| length > *most)?;
    let message = format!("Too many: {length}: must have at most {most} items");
    Some(Fault::new(path, Severity::Blocking, message))
}

fn missing(schema: &Value, fields: &Map<String, Value>, path: &str) -> Vec<Fault> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    required
        .filter(|key| !fields.contains_key(*key))
        .map(|key| Fault::new(&join(path, key), Severity::Blocking, "Required value"))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    /// The faults of a value in a field `f` with this schema, as text.
    fn of(schema: Value, value: Value) -> Vec<String> {
        let schema = json!({ "type": "object", "properties": { "f": schema } });
        faults(&schema, &json!({ "f": value })).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_value_of_another_type_is_named_with_both_types() {
        for (schema, value, said) in [
            (
                json!({ "type": "string" }),
                json!(8080),
                "f: Invalid value: \"integer\": f in body must be of type string: \"integer\"",
            ),
            (
                json!({ "type": "integer" }),
                json!("80"),
                "f: Invalid value: \"string\": f in body must be of type integer: \"string\"",
            ),
            (
                json!({ "type": "integer" }),
                json!(1.5),
                "f: Invalid value: \"number\": f in body must be of type integer: \"number\"",
            ),
            (
                json!({ "type": "array" }),
                json!({}),
                "f: Invalid value: \"object\": f in body must be of type array: \"object\"",
            ),
            (
                json!({ "x-kubernetes-int-or-string": true }),
                json!(true),
                "f: Invalid value: \"boolean\": f in body must be of type integer,string: \"boolean\"",
            ),
        ] {
            assert_eq!(of(schema, value), [said]);
        }
        assert!(of(json!({ "type": "integer" }), json!(8080.0)).is_empty(), "it is a whole number");
        assert!(of(json!({ "type": "number" }), json!(1)).is_empty());
        assert!(of(json!({ "x-kubernetes-int-or-string": true }), json!("1Gi")).is_empty());
    }

    #[test]
    fn lengths_count_characters_and_not_bytes() {
        let schema = json!({ "type": "string", "minLength": 2, "maxLength": 3 });
        assert!(of(schema.clone(), json!("äöü")).is_empty());
        assert_eq!(
            of(schema.clone(), json!("ä")),
            ["f: Invalid value: \"ä\": f in body should be at least 2 chars long"]
        );
        assert_eq!(of(schema, json!("abcd")), ["f: Too long: may not be more than 3 bytes"]);
    }

    #[test]
    fn every_fault_of_every_field_is_told() {
        let schema = json!({
            "type": "object",
            "required": ["a", "b"],
            "properties": {
                "a": { "type": "integer", "minimum": 1.0 },
                "b": { "type": "integer" },
                "list": {
                    "type": "array",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": { "type": "object", "properties": { "name": { "type": "string" } } },
                },
                "map": { "type": "object", "additionalProperties": { "type": "string" } },
            },
        });
        let object = json!({
            "a": 0,
            "list": [{ "name": "x" }, { "name": 1 }, { "name": "x" }, { "name": "x" }],
            "map": { "k": [] },
        });

        let mut told: Vec<String> = faults(&schema, &object).iter().map(ToString::to_string).collect();

        told.sort();
        assert_eq!(
            told,
            [
                "a: Invalid value: 0: a in body should be greater than or equal to 1",
                "b: Required value",
                "list[1].name: Invalid value: \"integer\": list[1].name in body must be of type string: \"integer\"",
                "list[2]: Duplicate value: {\"name\":\"x\"}",
                "map.k: Invalid value: \"array\": map.k in body must be of type string: \"array\"",
            ]
        );
    }

    #[test]
    fn a_field_that_nobody_knows_is_found_at_any_depth() {
        let schema = json!({
            "properties": {
                "list": { "items": { "properties": { "name": {} } } },
                "map": { "additionalProperties": { "type": "string" } },
            },
        });
        let object = json!({ "list": [{ "name": 1 }, { "nmae": 1 }], "map": { "anything": "goes" }, "lsit": [] });

        let told: Vec<String> = unknown_fields(&schema, &object).into_iter().map(|fault| fault.field).collect();

        assert_eq!(told, ["lsit", "list[1].nmae"]);
    }

    #[test]
    fn a_null_is_as_good_as_nothing() {
        let schema = json!({ "properties": { "port": { "default": 8080 }, "host": {} } });
        assert_eq!(defaulted(&schema, &json!({ "port": null, "host": null })), json!({ "port": 8080 }));
    }

    /// Whoever brings a new keyword into the definitions teaches it to the walk, too.
    #[test]
    fn the_definitions_use_no_keyword_that_is_not_known_here() {
        const KNOWN: [&str; 20] = [
            "additionalProperties",
            "default",
            "description",
            "enum",
            // Of numbers, which are bounded besides, and of times, which only a status has.
            "format",
            "items",
            "maxItems",
            "maxLength",
            "maxProperties",
            "maximum",
            "minLength",
            "minimum",
            "pattern",
            "properties",
            "required",
            "title",
            "type",
            "x-kubernetes-int-or-string",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-list-type",
        ];
        fn keywords(schema: &Value, found: &mut BTreeSet<String>) {
            let Some(fields) = schema.as_object() else { return };
            if let Some(pattern) = schema["pattern"].as_str() {
                assert!(Regex::new(pattern).is_ok(), "{pattern}");
            }
            found.extend(fields.keys().cloned());
            schema["properties"].as_object().into_iter().flatten().for_each(|(_, schema)| keywords(schema, found));
            keywords(&schema["items"], found);
            keywords(&schema["additionalProperties"], found);
        }
        let mut found = BTreeSet::new();
        for (_, crd) in phasegate::api::crds().unwrap() {
            keywords(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut found);
        }
        // Rules are evaluated by kube.
        assert!(found.remove("x-kubernetes-validations"));
        assert_eq!(found, KNOWN.map(str::to_owned).into());
    }
}
