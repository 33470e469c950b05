//! Each of the chart's values has a description and working examples, and an invalid value is refused with its path.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::{Value, json};

use super::{CHART, helm_command, read, rendered, yaml};
use crate::contract::generates;
use crate::harness::{World, file, output, root, scratch};

fn schema() -> Value {
    serde_json::from_str(&read("deploy/chart/values.schema.json")).unwrap()
}

/// The schemas of all values with examples, by path. Checks the objects above them.
fn leaves() -> BTreeMap<String, Value> {
    fn walk(path: &str, schema: &Value, leaves: &mut BTreeMap<String, Value>) {
        match schema["properties"].as_object() {
            Some(properties) if schema.get("examples").is_none() => {
                assert_eq!(schema["additionalProperties"], false, "{path}: an unknown key is refused");
                for (name, schema) in properties {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    assert!(schema["description"].as_str().is_some_and(|text| text.ends_with('.')), "{path}");
                    walk(&path, schema, leaves);
                }
            }
            _ => drop(leaves.insert(path.to_owned(), schema.clone())),
        }
    }
    let mut leaves = BTreeMap::new();
    walk("", &schema(), &mut leaves);
    // A parent chart sets these.
    for name in ["enabled", "global"] {
        leaves.remove(name).unwrap();
    }
    leaves
}

/// Values that set only this path.
fn only(path: &str, value: &Value) -> Value {
    path.rsplit('.').fold(value.clone(), |inner, key| json!({ key: inner }))
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// The other values that a value needs to have an effect. The CRDs are off: they take most of the time to parse, and no
/// other value changes them.
fn context(path: &str) -> Value {
    if path == "crds.install" {
        return json!({});
    }
    let of_registry = ["settings.mongodb", "settings.gateway", "settings.registry", "mongodb.secret", "mongodb.port"];
    let needed = match path {
        _ if of_registry.iter().any(|prefix| path.starts_with(prefix)) => {
            json!({ "mongodb": { "enabled": true }, "settings": { "gatewayNamespace": "staging" } })
        }
        "settings.eventsSinkSecretFile" | "settings.eventsSinkCaFile" | "settings.eventsSinkTimeout" => {
            json!({ "settings": { "eventsSink": "https://events.example.com/" } })
        }
        "mongodb.enabled" => json!({ "settings": { "gatewayNamespace": "staging" } }),
        "monitoring.labels" => json!({ "monitoring": { "install": true } }),
        "volumeMounts" => json!({ "volumes": [{ "name": "ca", "emptyDir": {} }] }),
        _ => json!({}),
    };
    let mut beside = json!({ "crds": { "install": false } });
    merge(&mut beside, &needed);
    beside
}

fn rendered_with(namespace: &str, name: &str, values: &Value) -> anyhow::Result<Vec<Value>> {
    let values = file("chart-values", &format!("{name}.json"), &values.to_string()).unwrap();
    rendered(namespace, &["-f", values.to_str().unwrap()])
}

#[test]
fn each_value_is_described_has_an_example_and_its_default_in_the_file() {
    let mut defaults = BTreeSet::new();
    fn walk(path: &str, value: &Value, leaves: &BTreeMap<String, Value>, defaults: &mut BTreeSet<String>) {
        if leaves.contains_key(path) {
            defaults.insert(path.to_owned());
            return;
        }
        for (name, value) in value.as_object().unwrap() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            walk(&path, value, leaves, defaults);
        }
    }
    let leaves = leaves();
    walk("", &yaml("deploy/chart/values.yaml"), &leaves, &mut defaults);
    // values.yaml sets no `settings`: their defaults are those of the operator's flags.
    let expected: BTreeSet<String> = leaves.keys().filter(|path| !path.starts_with("settings.")).cloned().collect();
    assert_eq!(defaults, expected, "values.yaml, and the schema");
    for (path, leaf) in &leaves {
        assert!(leaf["examples"].as_array().is_some_and(|examples| !examples.is_empty()), "{path} has no example");
    }
}

/// Every flag is one of the `settings`, or is set elsewhere in the chart.
#[test]
fn each_flag_of_the_operator_is_a_setting_of_the_chart() {
    let mut flags = variables_of_flags();
    let elsewhere = [
        "PHASEGATE_IDENTITY",
        "PHASEGATE_HTTP_BIND",
        "PHASEGATE_LEADER_ELECTION",
        "PHASEGATE_LOG_FORMAT",
        "PHASEGATE_NAMESPACES",
        // Always the operator's own namespace, where its Role is.
        "PHASEGATE_LEASE_NAMESPACE",
        "PHASEGATE_REGISTRY",
        "MONGODB_URI",
        "PHASEGATE_MONGODB_URI_FILE",
    ];
    for variable in elsewhere {
        assert!(flags.remove(variable), "{variable} is no flag's");
    }
    let variable = |path: &String| {
        let name = path.strip_prefix("settings.")?;
        let snake = name.chars().fold(String::new(), |text, c| {
            text + &(if c.is_uppercase() { format!("_{c}") } else { c.to_uppercase().to_string() })
        });
        Some(format!("PHASEGATE_{snake}"))
    };
    let settings: BTreeSet<String> = leaves().keys().filter_map(variable).collect();
    assert_eq!(settings, flags, "settings, and flags");
}

const BEGIN: &str = "<!-- values -->\n";
const END: &str = "<!-- /values -->";

#[test]
fn the_charts_readme_has_the_values_of_its_schema() {
    let defaults = yaml("deploy/chart/values.yaml");
    let mut table = "| value | default | what it is |\n|---|---|---|\n".to_owned();
    for (path, leaf) in leaves() {
        let pointer = format!("/{}", path.replace('.', "/"));
        let default = defaults.pointer(&pointer).map_or(String::new(), |default| format!("`{default}`"));
        let description = leaf["description"].as_str().unwrap();
        let example = &leaf["examples"][0];
        table += &format!("| `{path}` | {default} | {description} `{example}` |\n");
    }
    let readme = read("deploy/chart/README.md");
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (block, after) = rest.split_once(END).unwrap();
    if generates() {
        std::fs::write(root().join("deploy/chart/README.md"), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(block == table, "deploy/chart/README.md has not the values of the schema: run make generate");
}

/// The environment variables of the operator's flags, from its `--help`.
fn variables_of_flags() -> BTreeSet<String> {
    let help = output(Command::new(env!("CARGO_BIN_EXE_phasegate")).args(["run", "--help"])).unwrap();
    let variables = help.lines().filter_map(|line| line.trim().strip_prefix("[env: "));
    variables.map(|rest| rest.split(['=', ']']).next().unwrap().to_owned()).collect()
}

/// Asserts that the operator accepts the variables and arguments of its pod: it fails only for lack of a cluster.
fn taken_by_the_operator(path: &str, flags: &BTreeSet<String>, container: &Value) {
    let mut operator = Command::new(env!("CARGO_BIN_EXE_phasegate"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    operator.args(container["args"].as_array().unwrap().iter().filter_map(text));
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(flags.contains(name), "{path}: {name} is no flag's");
        let value = match name {
            "MONGODB_URI" => "mongodb://db.example/platform".to_owned(),
            "PHASEGATE_MONGODB_PASSWORD_FILE" => {
                file("chart-values", "password", "secret").unwrap().display().to_string()
            }
            "PHASEGATE_EVENTS_SINK_SECRET_FILE" => {
                let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
                file("chart-values", "events-secret", secret).unwrap().display().to_string()
            }
            "PHASEGATE_EVENTS_SINK_CA_FILE" => {
                let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
                file("chart-values", "events-ca", certificate).unwrap().display().to_string()
            }
            "PHASEGATE_IDENTITY" => "pod".to_owned(),
            _ => text(&variable["value"]).unwrap(),
        };
        operator.env(name, value);
    }
    if path == "settings.mongodbPasswordFile" {
        operator.env("PHASEGATE_MONGODB_USERNAME", "phasegate");
    }
    let ended = operator.args(["--kubeconfig", "/nowhere"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(4), "{path}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// Asserts that the API server accepts an object, as a dry run.
async fn taken_by_the_api_server(world: &World, path: &str, object: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    // The Prometheus Operator's CRDs are not installed here.
    if api_version.starts_with("monitoring.coreos.com/") {
        return;
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    let mut object = object.clone();
    let api: Api<DynamicObject> = match object["metadata"].get_mut("namespace") {
        // The namespaces of the examples do not exist here either.
        Some(namespace) => {
            *namespace = json!(world.namespace);
            Api::namespaced_with(world.client.clone(), &world.namespace, &resource)
        }
        None => Api::all_with(world.client.clone(), &resource),
    };
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("helm").force().dry_run()
    };
    let answer = api.patch(&text(&object["metadata"]["name"]), &params, &Patch::Apply(&object)).await;
    assert!(answer.is_ok(), "{path}: {}", answer.unwrap_err());
}

#[tokio::test]
async fn each_example_changes_the_objects_and_is_taken_by_the_operator_and_the_api_server() {
    let world = World::audited("chart-values").await;
    let mut plain: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let (defaults, flags) = (yaml("deploy/chart/values.yaml"), variables_of_flags());
    for (path, leaf) in leaves() {
        let beside = context(&path);
        let without = plain
            .entry(beside.to_string())
            .or_insert_with(|| rendered_with(&world.namespace, "without", &beside).unwrap());
        for example in leaf["examples"].as_array().unwrap() {
            let mut values = beside.clone();
            merge(&mut values, &only(&path, example));
            let objects = rendered_with(&world.namespace, "with", &values).unwrap();

            let changed: Vec<&Value> = objects.iter().filter(|object| !without.contains(object)).collect();
            let is_default = defaults.pointer(&format!("/{}", path.replace('.', "/"))) == Some(example);
            assert_eq!(changed.is_empty() && objects.len() == without.len(), is_default, "{path}: {example} changes");
            for object in changed {
                taken_by_the_api_server(&world, &path, object).await;
                if object["kind"] == "Deployment" {
                    taken_by_the_operator(&path, &flags, &object["spec"]["template"]["spec"]["containers"][0]);
                }
            }
        }
    }
}

/// A setting's variable has the value in the syntax of its flag.
#[test]
fn settings_become_variables_as_the_flags_are_written() {
    let settings = json!({
        "maxHostsPerNamespace": 1_000_000, "hostsNeedPermission": true, "startDeadline": "1h30m",
        "allowedImagePrefixes": ["ghcr.io/acme", "docker.io/library"], "ingressAnnotations": { "a/b": "1", "c": "x=y, z" },
    });
    let objects = rendered_with("there", "settings", &json!({ "settings": settings })).unwrap();
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let values: Vec<(&str, &str)> = env[1..]
        .iter()
        .map(|variable| (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap()))
        .collect();
    assert_eq!(
        values,
        [
            ("PHASEGATE_ALLOWED_IMAGE_PREFIXES", "ghcr.io/acme,docker.io/library"),
            ("PHASEGATE_HOSTS_NEED_PERMISSION", "true"),
            ("PHASEGATE_INGRESS_ANNOTATIONS", "a/b=1\nc=x=y, z"),
            ("PHASEGATE_MAX_HOSTS_PER_NAMESPACE", "1000000"),
            ("PHASEGATE_START_DEADLINE", "1h30m"),
        ]
    );
}

#[test]
fn a_wrong_value_is_refused_with_its_place_and_taken_without_the_fault() {
    let rows = [
        (
            json!({ "replicaCount": 2 }),
            "at '': additional properties 'replicaCount' not allowed",
            json!({ "replicas": 2 }),
        ),
        (json!({ "replicas": "two" }), "at '/replicas': got string, want integer", json!({ "replicas": 2 })),
        (json!({ "replicas": -1 }), "at '/replicas': minimum: got -1, want 0", json!({ "replicas": 0 })),
        (
            json!({ "replicas": 2, "leaderElection": false }),
            "replicas: 2 replicas need leader election. Set leaderElection: true, or replicas: 1.",
            json!({ "replicas": 1, "leaderElection": false }),
        ),
        (
            json!({ "settings": { "maxReplica": 3 } }),
            "at '/settings': additional properties 'maxReplica' not allowed",
            json!({ "settings": { "maxReplicas": 3 } }),
        ),
        (
            json!({ "settings": { "startDeadline": "5 minutes" } }),
            "at '/settings/startDeadline': '5 minutes' does not match pattern",
            json!({ "settings": { "startDeadline": "5m" } }),
        ),
        (
            json!({ "settings": { "startDeadline": "0s" } }),
            "at '/settings/startDeadline': '0s' does not match pattern",
            json!({ "settings": { "keepReleasedHosts": "0s" } }),
        ),
        (
            json!({ "settings": { "hostsNeedPermission": "true" } }),
            "at '/settings/hostsNeedPermission': got string, want boolean",
            json!({ "settings": { "hostsNeedPermission": true } }),
        ),
        (
            json!({ "settings": { "allowedTolerations": "none" } }),
            "at '/settings/allowedTolerations': got string, want array",
            json!({ "settings": { "allowedTolerations": ["none"] } }),
        ),
        (
            json!({ "settings": { "ingressAnnotations": { "a": "b\nc" } } }),
            "at '/settings/ingressAnnotations/a': 'b\\nc' does not match pattern",
            json!({ "settings": { "ingressAnnotations": { "a": "b" } } }),
        ),
        (
            json!({ "namespaces": ["Gateways"] }),
            "at '/namespaces/0': 'Gateways' does not match pattern",
            json!({ "namespaces": ["gateways"] }),
        ),
        (
            json!({ "image": { "digest": "sha256:abc" } }),
            "at '/image/digest': 'sha256:abc' does not match pattern",
            json!({ "image": { "digest": "" } }),
        ),
        (
            json!({ "image": { "pullPolicy": "Sometimes" } }),
            "at '/image/pullPolicy': value must be one of '', 'Always', 'IfNotPresent', 'Never'",
            json!({ "image": { "pullPolicy": "Never" } }),
        ),
        (
            json!({ "networkPolicy": { "apiServer": ["10.0.0.1"] } }),
            "at '/networkPolicy/apiServer/0': '10.0.0.1' does not match pattern",
            json!({ "networkPolicy": { "apiServer": ["10.0.0.1/32"] } }),
        ),
        (
            json!({ "resources": { "limits": { "memory": "lots" } } }),
            "at '/resources/limits/memory': 'lots' does not match pattern",
            json!({ "resources": { "limits": { "memory": "1Gi" } } }),
        ),
        (
            json!({ "tolerations": [{ "key": "a", "operator": "exists" }] }),
            "at '/tolerations/0/operator': value must be one of 'Exists', 'Equal'",
            json!({ "tolerations": [{ "key": "a", "operator": "Exists" }] }),
        ),
        (
            json!({ "settings": { "allowedTolerations": [] } }),
            "at '/settings/allowedTolerations': minItems: got 0, want 1",
            json!({ "settings": { "allowedTolerations": ["a=b:NoExecute"] } }),
        ),
        (
            json!({ "settings": { "allowedNodeLabels": ["none", "a"] } }),
            "at '/settings/allowedNodeLabels': maxItems: got 2, want 1",
            json!({ "settings": { "allowedNodeLabels": ["b", "a"] } }),
        ),
        (
            json!({ "settings": { "allowedTolerations": ["a:Sometimes"] } }),
            "at '/settings/allowedTolerations/0': 'a:Sometimes' does not match pattern",
            json!({ "settings": { "allowedTolerations": ["a:NoSchedule"] } }),
        ),
        (
            json!({ "settings": { "allowedImagePrefixes": ["ghcr.io", "acme"] } }),
            "at '/settings/allowedImagePrefixes/1': 'acme' does not match pattern",
            json!({ "settings": { "allowedImagePrefixes": ["ghcr.io", "registry:5000/acme"] } }),
        ),
        (
            json!({ "settings": { "maxReplicas": 1001 } }),
            "at '/settings/maxReplicas': maximum: got 1,001, want 1,000",
            json!({ "settings": { "maxReplicas": 1000 } }),
        ),
        (
            json!({ "mongodb": { "enabled": true }, "settings": { "gatewayNamespace": "a", "gatewayAllowedNamespaces": ["b"] } }),
            "settings.gatewayNamespace: a must be one of settings.gatewayAllowedNamespaces (b).",
            json!({ "mongodb": { "enabled": true }, "settings": { "gatewayNamespace": "a", "gatewayAllowedNamespaces": ["b", "a"] } }),
        ),
        (
            json!({ "mongodb": { "enabled": true }, "settings": { "gatewayNamespace": "a" }, "namespaces": ["b"] }),
            "namespaces: a is allowed for documents but not watched.",
            json!({ "mongodb": { "enabled": true }, "settings": { "gatewayNamespace": "a" }, "namespaces": ["b", "a"] }),
        ),
        (
            json!({ "mongodb": { "secret": null } }),
            "at '/mongodb': missing property 'secret'",
            json!({ "mongodb": { "secret": { "name": "db" } } }),
        ),
        (
            json!({ "mongodb": { "enabled": true } }),
            "settings.gatewayNamespace: required by mongodb.enabled",
            json!({ "mongodb": { "enabled": true }, "settings": { "gatewayNamespace": "tenants" } }),
        ),
        (
            json!({ "mongodb": { "enabled": true }, "settings": { "gatewayNamespace": "tenants", "selector": "a=b" } }),
            "settings.selector: cannot be used with mongodb.enabled",
            json!({ "settings": { "selector": "a=b" } }),
        ),
    ];
    for (values, words, mended) in rows {
        let refused = rendered_with("there", "refused", &values).unwrap_err().to_string();
        assert!(refused.contains(words), "{values}: {refused}");
        rendered_with("there", "mended", &mended).unwrap();
    }
}

/// YAML would parse these names as numbers, booleans or null if they were not quoted.
#[test]
fn names_that_look_like_something_else_stay_names() {
    let values = json!({
        "namespaces": ["12", "1e3"], "imagePullSecrets": ["0"], "priorityClassName": "1", "nodeSelector": { "a": "true" },
        "podLabels": { "b": "1" }, "mongodb": { "enabled": true, "secret": { "name": "5", "key": "6" } },
        "settings": { "gatewayNamespace": "12", "leaseName": "7", "mongodbDatabase": "null" },
        "monitoring": { "install": true, "labels": { "release": "8" } },
    });
    let file = file("chart-values", "names.json", &values.to_string()).unwrap();
    let mut command = helm_command();
    let text = output(command.args(["template", "123", CHART, "-n", "456", "-f"]).arg(file)).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();

    fn others(path: &str, value: &Value, found: &mut Vec<String>) {
        let named = ["name", "namespace", "key", "value", "cidr", "priorityClassName"];
        let of_strings = ["labels", "matchLabels", "nodeSelector", "annotations"];
        match value {
            Value::Object(map) => {
                let all = path.rsplit('.').next().is_some_and(|key| of_strings.contains(&key));
                for (key, value) in map {
                    let path = format!("{path}.{key}");
                    if (all || named.contains(&key.as_str())) && !value.is_string() {
                        found.push(path.clone());
                    }
                    others(&path, value, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| others(path, item, found)),
            _ => {}
        }
    }
    for object in objects.iter().filter(|object| object["kind"] != "CustomResourceDefinition") {
        let mut found = Vec::new();
        others("", object, &mut found);
        assert_eq!(found, [""; 0], "{object:#}");
    }
}

/// A parent chart passes `global`, and may set `enabled` as the dependency's condition.
#[test]
fn the_chart_can_be_another_charts_dependency() {
    let platform = scratch("chart-around").unwrap();
    let charts = platform.join("charts");
    std::fs::create_dir_all(&charts).unwrap();
    let chart = json!({
        "apiVersion": "v2", "name": "platform", "version": "1.0.0",
        "dependencies": [{ "name": "phasegate", "version": env!("CARGO_PKG_VERSION"), "condition": "phasegate.enabled" }],
    });
    std::fs::write(platform.join("Chart.yaml"), chart.to_string()).unwrap();
    std::fs::write(
        platform.join("values.yaml"),
        json!({ "global": { "a": 1 }, "phasegate": { "enabled": true } }).to_string(),
    )
    .unwrap();
    output(helm_command().args(["package", CHART, "--destination"]).arg(&charts)).unwrap();
    let text = |flags: &[&str]| output(helm_command().arg("template").arg("shop").arg(&platform).args(flags)).unwrap();
    assert!(text(&[]).contains("name: shop-phasegate\n"));
    assert!(!text(&["--set", "phasegate.enabled=false"]).contains("phasegate"));
}
