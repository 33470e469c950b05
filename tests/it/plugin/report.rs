//! `report` writes the expected files into the zip file, and no secrets.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde_json::json;

use super::{assert_snapshot, bare, file, plugin, run};
use crate::harness::{World, environment, gateway};
use crate::pods::{pod_of, says};

/// Values that must not be in a report: of a variable with a secret name and of another variable, of an argument, a
/// flag, a program, a foreign annotation, an annotation that looks like ours, a label, a path and a query.
const SECRETS: [&str; 10] = [
    "correct-horse-battery",
    "plain-horse",
    "staple-9876543",
    "--flag-9876543",
    "program-9876543",
    "kept-in-an-annotation",
    "kept-in-ours",
    "kept-in-a-label",
    "kept-in-a-path",
    "kept-in-a-query",
];

/// A path where no file exists yet.
fn fresh(name: &str) -> PathBuf {
    let path = file(name, "");
    std::fs::remove_file(&path).unwrap();
    path
}

/// The files of a report, by name.
pub fn unzipped(path: &Path) -> BTreeMap<String, String> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let mut read = |name: &String| {
        let mut text = String::new();
        archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        text
    };
    names.iter().map(|name| (name.clone(), read(name))).collect()
}

/// A namespace with a gateway that fails and contains secrets, and with a pod like the operator's.
async fn troubled(test: &str) -> World {
    let world = World::new(test).await;
    let mut shop = gateway(
        "shop",
        json!({
            "image": "acme/unpullable:1",
            "env": [{ "name": "DB_PASSWORD", "value": SECRETS[0] }, { "name": "PLAIN", "value": SECRETS[1] }],
            "args": ["--verbose", format!("--token={}", SECRETS[2]), SECRETS[3]],
            "command": [SECRETS[4]],
            "readinessPath": format!("/{}?key={}", SECRETS[8], SECRETS[9]),
        }),
    );
    shop["metadata"]["annotations"] = json!({ "example.com/note": SECRETS[5], "phasegate.dev/note": SECRETS[6] });
    shop["metadata"]["labels"] = json!({ "team": SECRETS[7] });
    let applied = world.kubectl(&["apply", "-f", file(&format!("{test}.yaml"), &shop.to_string()).to_str().unwrap()]);
    assert!(applied.status.success(), "{applied:?}");
    world.apply(&gateway("bank", json!({ "image": "acme/gateway:1" }))).await;
    world.create::<phasegate::api::Environment>(environment("dev", "shop", None)).await;
    let labels = json!({ "app.kubernetes.io/name": "phasegate" });
    let restricted = json!({
        "allowPrivilegeEscalation": false,
        "runAsNonRoot": true,
        "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    let container = json!({ "name": "phasegate", "image": "phasegate", "securityContext": restricted });
    // The pod is on no node, so its log is empty.
    let spec = json!({ "containers": [container], "nodeSelector": { "nowhere": "true" } });
    world.create::<Pod>(json!({ "metadata": { "name": "phasegate-0", "labels": labels }, "spec": spec })).await;
    let template = json!({ "metadata": { "labels": labels }, "spec": spec });
    let spec = json!({ "replicas": 0, "selector": { "matchLabels": labels }, "template": template });
    world.create::<Deployment>(json!({ "metadata": { "name": "phasegate", "labels": labels }, "spec": spec })).await;
    world
}

#[tokio::test]
async fn a_report_holds_what_helps_and_no_secret() {
    let world = troubled("report").await;
    let _operator = world.operator();
    // The report has the Event too: it quotes the registry.
    world.until_condition("shop", "Reconciling", "True", "ImagePullFailed").await;
    world.until_event("shop", "ImagePullFailed").await;
    world.until_started("bank").await;
    let pod = pod_of(&world, "shop", "acme/unpullable:1").await;
    let said =
        format!("cannot log in with {} at {}, password is hunter2, AKIAIOSFODNN7EXAMPLE", SECRETS[0], SECRETS[1]);
    says(&world, &pod, json!({ "message": said })).await;
    let path = fresh("report.zip");
    let path_text = path.to_str().unwrap();
    let arguments = ["report", "-o", path_text, "--operator-namespace", &world.namespace];

    let said = run(plugin(&world, &arguments)).await;

    assert_eq!((said.code, said.stdout), (0, format!("{path_text}\n")), "{}", said.stderr);
    let files = unzipped(&path);
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        [
            "apigateways.yaml",
            "deployments.yaml",
            "environments.yaml",
            "events.yaml",
            "ingresses.yaml",
            "operator/deployments.yaml",
            "operator/phasegate-0-phasegate.log",
            "operator/pods.yaml",
            "poddisruptionbudgets.yaml",
            "pods.yaml",
            "replicasets.yaml",
            "report.txt",
            "services.yaml",
        ]
    );
    for (name, text) in &files {
        for secret in SECRETS.into_iter().chain(["hunter2", "AKIAIOSFODNN7EXAMPLE"]) {
            assert!(!text.contains(secret), "{name}: {text}");
        }
    }
    let documents = |name: &str| files[name].matches("---\n").count();
    let counted = ["apigateways", "environments", "deployments", "services", "pods"]
        .map(|name| documents(&format!("{name}.yaml")));
    assert_eq!(counted, [2, 1, 2, 2, 2]);
    assert!(
        files["apigateways.yaml"].contains("name: DB_PASSWORD\n    value: REDACTED"),
        "{}",
        files["apigateways.yaml"]
    );
    for (name, words) in [
        ("apigateways.yaml", "ImagePullFailed"),
        ("pods.yaml", "ImagePullBackOff"),
        ("deployments.yaml", "--token=REDACTED"),
        ("events.yaml", "reason: ImagePullFailed"),
        ("pods.yaml", "cannot log in with REDACTED at REDACTED, password is REDACTED, REDACTED"),
        ("report.txt", "apigateways.yaml: 2\n"),
        ("operator/pods.yaml", "name: phasegate-0\n"),
    ] {
        assert!(files[name].contains(words), "{name} has no {words}: {}", files[name]);
    }

    let again = run(plugin(&world, &arguments)).await.failed(1);
    assert_snapshot("report-errors", &again.replace(path_text, "report.zip"));
    let one = fresh("report-one.zip");
    run(plugin(&world, &["report", "bank", "--no-logs", "-o", one.to_str().unwrap()])).await.ok();
    let files = unzipped(&one);
    assert!(files["apigateways.yaml"].contains("name: bank\n") && !files["apigateways.yaml"].contains("name: shop\n"));
    assert!(files["environments.yaml"].is_empty() && !files.values().any(|text| text.contains("unpullable")));
    let nobody = run(plugin(&world, &["report", "nobody", "-o", fresh("report-nobody.zip").to_str().unwrap()])).await;
    assert!(nobody.failed(4).contains("ApiGateway nobody not found in namespace"));
}

#[tokio::test]
async fn what_may_not_be_read_is_listed_in_the_report() {
    let world = troubled("unread").await;
    world.create::<ServiceAccount>(json!({ "metadata": { "name": "visitor" } })).await;
    let rule = json!({ "apiGroups": ["phasegate.dev"], "resources": ["apigateways"], "verbs": ["get", "list"] });
    world.create::<Role>(json!({ "metadata": { "name": "visitor" }, "rules": [rule] })).await;
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "visitor" });
    let subject = json!({ "kind": "ServiceAccount", "name": "visitor", "namespace": world.namespace });
    world
        .create::<RoleBinding>(json!({ "metadata": { "name": "visitor" }, "roleRef": role, "subjects": [subject] }))
        .await;
    let user = format!("system:serviceaccount:{}:visitor", world.namespace);
    let asked = json!({
        "namespace": world.namespace, "group": "phasegate.dev", "resource": "apigateways", "verb": "list",
    });
    world.until_allowed(&user, &["system:serviceaccounts", "system:authenticated"], asked).await;
    let kubeconfig = fresh("visitor.kubeconfig");
    world.cluster.write_account_kubeconfig(&world.namespace, "visitor", &kubeconfig).unwrap();
    let path = fresh("unread.zip");

    let mut command = bare(&["report", "shop", "-o", path.to_str().unwrap()]);
    command.env("KUBECONFIG", &kubeconfig);
    let said = run(command).await;

    assert_eq!(said.code, 0, "{said:?}");
    let files = unzipped(&path);
    assert_eq!(files["apigateways.yaml"].matches("---\n").count(), 1);
    let unread: Vec<&str> =
        files["not-read.txt"].lines().map(|line| line.split(" of namespace ").next().unwrap()).collect();
    let children = ["deployments", "replicasets", "pods", "services", "ingresses", "poddisruptionbudgets"];
    let mut expected = vec!["environments"];
    expected.extend(children);
    expected.extend(["events", "deployments", "pods"]);
    assert_eq!(unread, expected, "{}", files["not-read.txt"]);
    let noted = said.stderr.lines().filter(|line| line.starts_with("note: not in the report: ")).count();
    assert_eq!(noted, expected.len(), "{}", said.stderr);
}

#[test]
fn a_report_without_a_cluster_is_a_failure_and_leaves_no_file() {
    let path = fresh("report-nowhere.zip");
    let said: super::RouteVerdict = bare(&["report", "-o", path.to_str().unwrap()]).output().unwrap().into();
    said.failed(1);
    assert!(!path.exists());
}
