//! Chart and kustomize produce the same objects for each row of the table in the chart's README.md.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{read, rendered, yaml};
use crate::deploy::overlay;
use crate::harness::cluster::kustomized;

const NAMESPACE: &str = "phasegate-system";

/// Objects by kind, namespace and name.
type Objects = BTreeMap<[String; 3], Value>;

fn by_name(objects: Vec<Value>) -> Objects {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let key = |object: &Value| {
        let metadata = &object["metadata"];
        [text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"])]
    };
    let all: Objects = objects.iter().map(|object| (key(object), object.clone())).collect();
    assert_eq!(all.len(), objects.len(), "no object is there twice");
    all
}

/// The rows of the table: the folders of deploy, and the chart's flags that produce the same objects.
fn variants() -> Vec<(Vec<String>, Vec<String>)> {
    let readme = read("deploy/chart/README.md");
    let table = readme.lines().skip_while(|line| !line.starts_with("| kustomize |")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|')).map(|row| {
        let [folders, flags] = row.trim_matches('|').split(" | ").collect::<Vec<_>>()[..] else { panic!("{row}") };
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<String>>();
        // As in a shell, text in apostrophes is one word.
        let words = quoted(flags)
            .into_iter()
            .flat_map(|text| text.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect::<Vec<_>>());
        (quoted(folders), words.collect())
    });
    rows.collect()
}

/// The objects that kustomize builds from these folders together.
fn kustomized_together(name: &str, folders: &[String]) -> Vec<Value> {
    let overlay = overlay(name, folders);
    serde_saphyr::from_multiple(&kustomized(overlay.to_str().unwrap()).unwrap()).unwrap()
}

fn container(objects: &mut Objects) -> &mut Value {
    let key = ["Deployment", NAMESPACE, "phasegate"].map(str::to_owned);
    &mut objects.get_mut(&key).unwrap()["spec"]["template"]["spec"]["containers"][0]
}

/// Sorts the variables by name.
fn sort_variables(objects: &mut Objects) {
    let variables = container(objects)["env"].as_array_mut().unwrap();
    variables.sort_by_key(|variable| variable["name"].as_str().unwrap().to_owned());
}

/// Removes a label from objects, pods and selectors.
fn without_label(value: &mut Value, label: &str) {
    match value {
        Value::Object(map) => {
            map.remove(label);
            map.values_mut().for_each(|value| without_label(value, label));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without_label(item, label)),
        _ => {}
    }
}

/// Kustomize writes an empty line before indented lines of a folded text. It has no meaning in an expression.
fn without_empty_lines(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(without_empty_lines),
        Value::Array(items) => items.iter_mut().for_each(without_empty_lines),
        Value::String(text) => *text = text.replace("\n\n", "\n"),
        _ => {}
    }
}

/// Removes the differences that are intended.
fn but_for_what_differs_on_purpose(ours: &mut Objects, theirs: &mut Objects) {
    // Helm creates the namespace itself (--create-namespace).
    theirs.remove(&["Namespace", "", NAMESPACE].map(str::to_owned)).unwrap();
    // With kustomize, the CRDs are applied separately. Another test compares them.
    ours.retain(|[kind, ..], _| kind != "CustomResourceDefinition");
    // With several releases, each has its own pods.
    ours.values_mut().for_each(|object| without_label(object, "app.kubernetes.io/instance"));
    // The chart writes a registry's settings as variables. Kustomize puts them in a ConfigMap.
    if let Some(from) = container(theirs).as_object_mut().unwrap().remove("envFrom") {
        assert_eq!(from, json!([{ "configMapRef": { "name": "phasegate-mongodb" } }]));
        let of_registry = ["PHASEGATE_GATEWAY_NAMESPACE", "PHASEGATE_MONGODB_DATABASE"];
        let variables = container(ours)["env"].as_array_mut().unwrap();
        variables.retain(|variable| !of_registry.contains(&variable["name"].as_str().unwrap()));
    }
    theirs
        .iter_mut()
        .filter(|([kind, ..], _)| kind == "ValidatingAdmissionPolicy")
        .for_each(|(_, policy)| without_empty_lines(policy));
    sort_variables(ours);
    sort_variables(theirs);
}

#[test]
fn the_chart_gives_the_objects_that_each_variant_of_kustomize_gives() {
    let variants = variants();
    let named = |folder: &str| variants.iter().any(|(folders, _)| folders.iter().any(|name| name == folder));
    for folder in ["base", "namespaced", "hardened", "tenants", "mongodb", "policy", "monitoring"] {
        assert!(named(&format!("deploy/{folder}")), "deploy/{folder} is in no row");
    }
    for (row, (folders, flags)) in variants.iter().enumerate() {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mut ours = by_name(rendered(NAMESPACE, &flags).unwrap());
        let mut theirs = by_name(kustomized_together(&format!("chart-like-{row}"), folders));
        but_for_what_differs_on_purpose(&mut ours, &mut theirs);
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{folders:?}");
        for (key, object) in &ours {
            assert!(
                object == &theirs[key],
                "{folders:?}: {key:?} is\n{object:#}\nand kustomize's is\n{:#}",
                theirs[key]
            );
        }
    }
}

#[test]
fn the_charts_definitions_are_those_of_crds_and_survive_an_uninstall() {
    for mut object in rendered(NAMESPACE, &[]).unwrap() {
        if object["kind"] != "CustomResourceDefinition" {
            continue;
        }
        let annotations = object["metadata"].as_object_mut().unwrap().remove("annotations").unwrap();
        assert_eq!(annotations, json!({ "helm.sh/resource-policy": "keep" }));
        let plural = object["spec"]["names"]["plural"].as_str().unwrap();
        assert_eq!(object, yaml(&format!("crds/{plural}.yaml")));
    }
    let kinds = |flags: &[&str]| {
        let objects = rendered(NAMESPACE, flags).unwrap();
        objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition").count()
    };
    assert_eq!((kinds(&[]), kinds(&["--set", "crds.install=false"])), (2, 0));
}

/// A component adds its rules to the existing role.
#[test]
fn the_operator_of_one_namespace_with_a_registry_is_granted_nothing_in_the_cluster_but_that_namespace() {
    let folders = ["deploy/namespaced", "deploy/mongodb"].map(str::to_owned);
    let objects = by_name(kustomized_together("namespaced-with-a-registry", &folders));
    let granted: Vec<(&[String; 3], &Value)> = objects
        .iter()
        .filter(|([kind, ..], _)| kind == "ClusterRole")
        .map(|(key, role)| (key, &role["rules"]))
        .collect();
    let only = json!([
        { "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["gateways"], "verbs": ["list", "watch"] },
        {
            "apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
            "resourceNames": ["httproutes.gateway.networking.k8s.io"], "verbs": ["list", "watch"],
        },
    ]);
    assert_eq!(granted, [(&["ClusterRole", "", "phasegate-namespaces"].map(str::to_owned), &only)]);
    let role = &objects[&["Role", "gateways", "phasegate"].map(str::to_owned)];
    let creates = |rule: &&Value| rule["verbs"].as_array().unwrap().iter().any(|verb| verb == "create");
    let created: Vec<&Value> =
        role["rules"].as_array().unwrap().iter().filter(creates).map(|rule| &rule["resources"][0]).collect();
    assert!(created.contains(&&json!("apigateways")) && created.contains(&&json!("environments")), "{created:?}");
}
