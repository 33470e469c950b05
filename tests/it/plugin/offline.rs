//! `validate`, `render` and `completion` work without a cluster, and their results match those of a cluster.

use std::process::{Command, Stdio};

use phasegate::api::Environment;
use serde_json::{Value, json};

use super::{RouteVerdict, assert_snapshot, bare, file};
use crate::harness::{World, environment, gateway};

/// Runs the plugin in the folder of its files, so that it names them without a folder.
fn beside_files(arguments: &[&str]) -> RouteVerdict {
    bare(arguments).current_dir(file("here", "").parent().unwrap()).output().unwrap().into()
}

/// The objects as documents of one file.
fn documents(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object}\n")).collect()
}

fn shop() -> Value {
    gateway("shop", json!({ "image": "acme/gateway:1", "host": "shop.example.com" }))
}

/// A file with valid objects, invalid objects and objects of another kind.
fn mixed() -> String {
    let misshapen = gateway(
        "bank",
        json!({ "prot": 80, "port": "80", "state": "Paused", "env": [{ "name": "A" }, { "name": "A" }] }),
    );
    let ruled_out = gateway("Mill", json!({ "image": "Acme/gateway", "host": "http://mill", "port": 0, "path": "x" }));
    let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" } });
    let newer = json!({ "apiVersion": "phasegate.dev/v2", "kind": "ApiGateway", "metadata": { "name": "soon" } });
    documents(&[shop(), misshapen, ruled_out, config, environment("dev", "shop", None), newer])
}

#[test]
fn every_fault_of_every_object_is_told() {
    file("mixed.yaml", &mixed());

    let table = beside_files(&["validate", "-f", "mixed.yaml"]);
    assert_eq!(table.code, 1);
    assert_snapshot("validate", &format!("{}{}", table.stdout, table.stderr));

    let data = beside_files(&["validate", "-f", "mixed.yaml", "-o", "json"]);
    assert_eq!(data.code, 1);
    let told: Value = serde_json::from_str(&data.stdout).unwrap();
    let valid: Vec<bool> = told.as_array().unwrap().iter().map(|object| object["valid"].as_bool().unwrap()).collect();
    assert_eq!(valid, [true, false, false, true, false]);
    assert_eq!(told[1]["faults"][0], json!({ "field": "spec.prot", "message": "unknown field: correct or remove it" }));
}

#[test]
fn what_is_valid_ends_with_nothing_but_a_line_for_each_object() {
    file("valid.yaml", &documents(&[shop()]));
    assert_eq!(
        beside_files(&["validate", "-f", "valid.yaml"]).ok(),
        "valid.yaml, document 1: ApiGateway shop is valid\n"
    );
}

#[test]
fn what_is_valid_and_will_not_come_out_as_it_is_written_is_noted() {
    let resources = json!({
        "requests": { "cpu": "1.5m", "memory": "2Gi" }, "limits": { "cpu": "1", "memory": "1Gi" },
    });
    let odd = gateway("odd", json!({ "image": "acme/gateway:1", "resources": resources }));
    file("odd.yaml", &documents(&[odd, shop()]));
    let notes = [
        "spec.resources.requests.cpu: the API server rounds 1.5m up to 2m (thousandths)",
        "spec.resources.requests.memory: 2Gi exceeds the limit 1Gi: the API server will reject the Deployment",
    ];
    let lines: String =
        notes.iter().map(|note| format!("note: odd.yaml, document 1: ApiGateway odd: {note}\n")).collect();
    let said = beside_files(&["validate", "-f", "odd.yaml"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, lines.as_str()));
    assert_eq!(beside_files(&["render", "-f", "odd.yaml"]).stderr, lines);
    let data = beside_files(&["validate", "-f", "odd.yaml", "-o", "json"]).ok();
    let told: Value = serde_json::from_str(&data).unwrap();
    assert_eq!((told[0]["notes"].as_array().unwrap().len(), &told[1]["notes"]), (2, &json!([])));
}

#[test]
fn files_that_hold_nothing_to_work_with_are_named() {
    file("mixed.yaml", &mixed());
    file("broken.yaml", "kind: [ApiGateway\n");
    file("others.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n");
    let mut told = String::new();
    for arguments in [
        &["validate"][..],
        &["validate", "-f", "nowhere.yaml"],
        &["validate", "-f", "broken.yaml"],
        &["validate", "-f", "others.yaml"],
        &["render", "-f", "others.yaml"],
        &["render", "-f", "mixed.yaml", "--start-deadline", "soon"],
        &["render", "-f", "mixed.yaml", "--ingress-annotation", "soon"],
        &["completion", "tcsh"],
    ] {
        told.push_str(&format!("$ kubectl phasegate {}\n{}\n", arguments.join(" "), beside_files(arguments).failed(1)));
    }
    let refused = beside_files(&["render", "-f", "mixed.yaml"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    told.push_str(&format!("$ kubectl phasegate render -f mixed.yaml\n{}", refused.stderr));
    assert_snapshot("offline-errors", &told);
}

#[test]
fn what_is_rendered_without_a_cluster_is_printed_in_the_order_of_creation() {
    let stopped = gateway("mill", json!({ "image": "acme/gateway:1", "state": "Stopped" }));
    let suspended = gateway("bank", json!({ "image": "acme/gateway:1", "suspend": true }));
    let second = gateway("shop2", json!({ "image": "acme/gateway:1", "host": "shop.example.com", "replicas": 2 }));
    let lost = environment("lost", "nobody", None);
    let objects = [shop(), environment("dev", "shop", Some("dev.example.com")), stopped, suspended, second, lost];
    file("fleet.yaml", &documents(&objects));

    let said = beside_files(&["render", "-f", "fleet.yaml", "-n", "tenants"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_snapshot("render", &format!("{}{}", said.stdout, said.stderr));

    let list = beside_files(&["render", "-f", "fleet.yaml", "-o", "json"]);
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    let kinds: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|child| child["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Deployment", "Service", "Ingress", "Deployment", "Service", "Ingress", "PodDisruptionBudget"]);
}

/// A gateway that requests everything that `render` can output.
fn everything() -> Value {
    gateway(
        "shop",
        json!({
            "image": "acme/gateway:1",
            "imagePullSecrets": [{ "name": "registry" }],
            "command": ["/gateway"],
            "args": ["--verbose"],
            "replicas": 2,
            "resources": { "requests": { "cpu": "10m" }, "limits": { "memory": "64Mi" } },
            "env": [
                { "name": "LEVEL", "value": "debug" },
                { "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "keys", "key": "key", "optional": true } } },
            ],
            "envFrom": [{ "configMapRef": { "name": "settings", "optional": true }, "prefix": "GW_" }],
            "volumes": [
                { "name": "files", "mountPath": "/files", "configMap": { "name": "settings", "optional": true } },
                { "name": "scratch", "mountPath": "/scratch", "readOnly": true, "emptyDir": { "sizeLimit": "1Mi" } },
            ],
            "readinessPath": "/healthz",
            "terminationGracePeriodSeconds": 3,
            "tolerations": [{ "key": "a", "operator": "Exists", "effect": "NoSchedule" }],
            "topologySpread": [{ "topologyKey": "kubernetes.io/hostname" }],
            "host": "shop.example.com",
            "path": "/api",
            "ingressClassName": "some",
            "tls": { "secretName": "shop-tls" },
            "exposure": "Both",
        }),
    )
}

/// Asserts that the real object has everything that was rendered, with the same values.
fn assert_within(rendered: &Value, real: &Value, path: &str) {
    match (rendered, real) {
        (Value::Object(fields), Value::Object(found)) => {
            for (key, value) in fields {
                let path = format!("{path}.{key}");
                assert_within(value, found.get(key).unwrap_or_else(|| panic!("{path} is not there")), &path);
            }
        }
        (Value::Array(items), Value::Array(found)) => {
            assert_eq!(items.len(), found.len(), "{path}: {rendered} and {real}");
            items.iter().zip(found).for_each(|(item, found)| assert_within(item, found, &format!("{path}[]")));
        }
        _ => assert_eq!(rendered, real, "{path}"),
    }
}

fn objects_of(world: &World, kinds: &str) -> Value {
    let output = world.kubectl(&["get", kinds, "-o", "json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn what_is_rendered_is_what_the_operator_creates() {
    const FLAGS: [&str; 6] = [
        "--start-deadline",
        "7m",
        "--ingress-annotation",
        "example.com/cdn=on",
        "--default-parent-refs",
        "infra/public/https",
    ];
    let world = World::with_routes("rendered").await;
    let _controller = world.accepts_routes();
    let asked = [
        everything(),
        environment("dev", "shop", Some("dev.example.com")),
        environment("beta", "shop", Some("beta.example.com")),
    ];
    for host in &asked[1..] {
        world.create::<Environment>(host.clone()).await;
    }
    let _operator = world.operator_with(&FLAGS);
    world.apply(&asked[0]).await;
    world.until_started("shop").await;
    let real = objects_of(&world, "deployments,services,ingresses,httproutes,poddisruptionbudgets");
    let real = real["items"].as_array().unwrap();
    let stored = objects_of(&world, "apigateways,environments");

    for (what, objects) in [("asked", documents(&asked)), ("stored", stored.to_string())] {
        let file = file(&format!("{what}.yaml"), &objects);
        let mut arguments = vec!["render", "-f", file.to_str().unwrap(), "-n", &world.namespace, "-o", "json"];
        arguments.extend(FLAGS);
        let rendered: Value = serde_json::from_str(&beside_files(&arguments).ok()).unwrap();
        let rendered = rendered["items"].as_array().unwrap();
        assert_eq!(rendered.len(), real.len(), "{rendered:#?}");
        for child in rendered {
            let twin = real.iter().find(|real| real["kind"] == child["kind"]).unwrap();
            assert_within(child, twin, child["kind"].as_str().unwrap());
            // Values that depend on the uid are rendered only if the uid is known.
            let metadata = &child["metadata"];
            let depends = [
                &metadata["ownerReferences"],
                &metadata["labels"]["phasegate.dev/gateway-uid"],
                &metadata["annotations"]["phasegate.dev/desired"],
            ];
            assert!(depends.iter().all(|value| value.is_null() == (what == "asked")), "{what}: {child:#}");
        }
    }
}

#[test]
#[should_panic(expected = ".spec.replicas")]
fn a_child_that_differs_from_what_is_rendered_is_noticed() {
    assert_within(&json!({ "spec": { "replicas": 3 } }), &json!({ "spec": { "replicas": 2, "paused": false } }), "");
}

/// What bash completes after these words.
fn completed(script: &str, words: &[&str]) -> Vec<String> {
    let last = words.len() - 1;
    let ask = format!(
        "{script}\nCOMP_WORDS=({}); COMP_CWORD={last}\n_kubectl_phasegate kubectl-phasegate '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words[last],
        words[last - 1]
    );
    let output = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn shells_are_given_what_they_complete_with() {
    let script = beside_files(&["completion", "bash"]).ok();
    assert_eq!(completed(&script, &["kubectl-phasegate", "val"]), ["validate"]);
    assert_eq!(completed(&script, &["kubectl-phasegate", "render", "--start-d"]), ["--start-deadline"]);
    assert_eq!(completed(&script, &["kubectl-phasegate", "render", "-o", ""]), ["json", "yaml"]);
    for (shell, sign) in [
        ("zsh", "#compdef kubectl-phasegate"),
        ("fish", "complete -c kubectl-phasegate"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = beside_files(&["completion", shell]).ok();
        assert!(script.contains(sign) && script.contains("validate"), "{shell}: {script}");
    }
}

#[tokio::test]
async fn kubectl_completes_the_plugin_as_its_own_command() {
    use std::os::unix::fs::PermissionsExt;

    let world = World::new("completion").await;
    let script = file("kubectl_complete-phasegate", &beside_files(&["completion", "kubectl"]).ok());
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_kubectl-phasegate")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", script.parent().unwrap().display(), programs.display());

    let complete = |words: &[&str]| {
        let mut kubectl = world.cluster.kubectl();
        let output =
            kubectl.args(["__complete", "phasegate"]).args(words).env("PATH", &path).stdin(Stdio::null()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert_eq!(complete(&["val"]), "validate\n:4\n");
    assert_eq!(complete(&["validate", "-o", ""]), "json\nyaml\n:4\n");
    assert_eq!(complete(&["nothing"]), ":0\n");
}
