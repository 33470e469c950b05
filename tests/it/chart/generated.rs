//! The chart's copies equal their sources in the repository: a chart's folder must be self-contained.

use std::fmt::Write;

use serde_json::Value;

use super::{read, yaml};
use crate::contract::generates;
use crate::harness::root;

/// A Helm template that renders to this text.
fn literal(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

fn only_if(value: &str, text: &str) -> String {
    format!("{{{{- if .Values.{value}.install }}}}\n{}{{{{- end }}}}\n", literal(text))
}

/// A CRD that `helm uninstall` keeps, because its deletion would delete every gateway.
fn kept(definition: &str) -> String {
    let annotated = "\nmetadata:\n  annotations:\n    helm.sh/resource-policy: keep\n";
    only_if("crds", &definition.replacen("\nmetadata:\n", annotated, 1))
}

/// The rules of a role of deploy/rbac, as a named template.
fn rules(name: &str, rules: &Value) -> String {
    let text = serde_saphyr::to_string(rules).unwrap();
    format!("{{{{- define \"{name}\" }}}}\n{}\n{{{{- end }}}}\n", literal(text.trim_end()))
}

fn all_rules() -> String {
    let roles: Vec<Value> = serde_saphyr::from_multiple(&read("deploy/rbac/roles.yaml")).unwrap();
    let mut text = "{{/* Of deploy/rbac and deploy/mongodb, by make generate. */}}\n".to_owned();
    for (role, name) in roles.iter().zip(["phasegate.rules", "phasegate.rules.namespaces", "phasegate.rules.lease"]) {
        text.push_str(&rules(name, &role["rules"]));
    }
    assert_eq!(roles.len(), 3, "deploy/rbac/roles.yaml has another role: the chart needs it");
    let component = yaml("deploy/mongodb/roles/kustomization.yaml");
    let patch: Value = serde_saphyr::from_str(component["patches"][0]["patch"].as_str().unwrap()).unwrap();
    let added: Vec<Value> = patch.as_array().unwrap().iter().map(|operation| operation["value"].clone()).collect();
    text.push_str(&rules("phasegate.rules.mongodb", &added.into()));
    text
}

fn alerts() -> String {
    let text = read("deploy/monitoring/rules.yaml");
    let (_, spec) = text.split_once("\nspec:\n").unwrap();
    let mut template =
        "{{/* Of deploy/monitoring, by make generate. */}}\n{{- define \"phasegate.alerts\" }}\n".to_owned();
    for line in literal(spec).lines() {
        writeln!(template, "{}", line.strip_prefix("  ").unwrap_or(line)).unwrap();
    }
    template + "{{- end }}\n"
}

/// Each copied file of the chart, and its expected content.
fn copies() -> Vec<(String, String)> {
    let files_of = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.retain(|name| name != "kustomization.yaml");
        names
    };
    let definitions = files_of("crds")
        .into_iter()
        .map(|name| (format!("templates/crds/{name}"), kept(&read(&format!("crds/{name}")))));
    let policies = files_of("deploy/policy")
        .into_iter()
        .map(|name| (format!("templates/policy/{name}"), only_if("policy", &read(&format!("deploy/policy/{name}")))));
    let mut copies: Vec<(String, String)> = definitions.chain(policies).collect();
    copies.push(("templates/_rules.tpl".to_owned(), all_rules()));
    copies.push(("templates/monitoring/_alerts.tpl".to_owned(), alerts()));
    copies.push(("files/dashboard.json".to_owned(), read("deploy/monitoring/dashboard.json")));
    copies
}

#[test]
fn what_the_chart_copies_is_what_it_is_copied_from() {
    for (name, text) in copies() {
        let file = root().join(super::CHART).join(&name);
        if generates() {
            std::fs::write(&file, &text).unwrap();
        }
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(there == text, "{name} of the chart is not what it is a copy of: run make generate");
    }
}
