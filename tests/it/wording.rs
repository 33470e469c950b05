//! Texts for users follow the house style (docs/STYLE.md) and contain none of the phrases that it replaces.
//!
//! The texts are the definitions, help, policies, alerts, dashboards and the chart's values. The messages of a status
//! are checked where they are created, in `core/src/decide/tests/words.rs`, and those of metrics where they are
//! scraped.

use std::process::Command;

use phasegate::api;
use serde_json::Value;

use crate::harness::{output, root};
use crate::plugin::bare;

/// Asserts that a text for users contains none of the phrases.
pub fn assert_in_style(place: &str, text: &str) {
    let phrases = include_str!("../../docs/style-words.txt").lines().filter(|line| !line.starts_with('#'));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let found: Vec<&str> = phrases.filter(|phrase| text.contains(phrase)).collect();
    assert!(found.is_empty(), "{place} says {found:?}, see docs/STYLE.md: {text}");
}

/// Checks every text whose key is shown to users.
fn check(place: &str, value: &Value) {
    const SHOWN: [&str; 6] = ["description", "summary", "message", "messageExpression", "expression", "title"];
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let place = format!("{place}.{key}");
                match value.as_str().filter(|_| SHOWN.contains(&key.as_str())) {
                    Some(text) => assert_in_style(&place, text),
                    None => check(&place, value),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check(place, item)),
        _ => {}
    }
}

fn check_yaml(file: &str) {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    assert!(!documents.is_empty(), "{file}");
    documents.iter().for_each(|document| check(file, document));
}

#[test]
fn definitions_speak_as_users_do() {
    for (plural, crd) in api::crds().unwrap() {
        // The descriptions of Kubernetes' own types come from Kubernetes.
        check(&plural, &crd);
    }
}

#[test]
fn help_speaks_as_users_do() {
    for arguments in [&["--help"] as &[&str], &["run", "--help"], &["crds", "--help"]] {
        let mut phasegate = Command::new(env!("CARGO_BIN_EXE_phasegate"));
        assert_in_style("phasegate", &output(phasegate.args(arguments)).unwrap());
    }
    let commands =
        ["status", "get", "wait", "history", "replay", "start", "stop", "restart", "retry", "suspend", "resume"];
    for command in commands.iter().chain(&["render", "validate", "report", "completion"]) {
        assert_in_style(command, &output(&mut bare(&[command, "--help"])).unwrap());
    }
    assert_in_style("kubectl phasegate", &output(&mut bare(&["--help"])).unwrap());
}

#[test]
fn policies_alerts_and_the_charts_values_speak_as_users_do() {
    for file in ["configmaps", "secrets", "reserved"] {
        check_yaml(&format!("deploy/policy/{file}.yaml"));
    }
    check_yaml("deploy/monitoring/rules.yaml");
    for file in ["deploy/monitoring/dashboard.json", "deploy/chart/values.schema.json"] {
        check(file, &serde_json::from_slice(&std::fs::read(root().join(file)).unwrap()).unwrap());
    }
    let notes = std::fs::read_to_string(root().join("deploy/chart/templates/NOTES.txt")).unwrap();
    assert_in_style("NOTES.txt", &notes);
}
