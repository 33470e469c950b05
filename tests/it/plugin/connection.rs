//! The plugin finds its cluster and namespace as kubectl does, and prints a hint where that fails.

use std::time::Duration;

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use super::{assert_snapshot, bare, file, masked, plugin, run, said};
use crate::harness::{World, eventually, gateway};

/// The kubeconfig of a world's administrator, with a second context for another namespace.
fn with_context(world: &World, file_name: &str, namespace: &str) -> std::path::PathBuf {
    let mut kubeconfig = Kubeconfig::read_from(&world.cluster.kubeconfig).unwrap();
    let mut context = kubeconfig.contexts[0].clone();
    context.name = "other".to_owned();
    context.context.as_mut().unwrap().namespace = Some(namespace.to_owned());
    kubeconfig.contexts.push(context);
    file(file_name, &serde_json::to_string(&kubeconfig).unwrap())
}

#[tokio::test]
async fn cluster_and_namespace_are_found_as_kubectl_finds_them() {
    let world = World::new("found").await;
    let beside = world.beside("found-beside").await;
    world.apply(&gateway("here", json!({ "image": "acme/gateway:1", "suspend": true }))).await;
    beside.apply(&gateway("there", json!({ "image": "acme/gateway:1", "suspend": true }))).await;
    let path = with_context(&world, "contexts", &beside.namespace);
    let kubeconfig = path.to_str().unwrap();
    let names = async |arguments: &[&str], variable: bool| {
        let mut command = bare(&["get", "-o", "name"]);
        command.args(arguments);
        if variable {
            command.env("KUBECONFIG", kubeconfig);
        } else {
            command.args(["--kubeconfig", kubeconfig]);
        }
        run(command).await
    };
    let (here, there) = ("apigateway.phasegate.dev/here\n", "apigateway.phasegate.dev/there\n");
    let namespace = world.namespace.as_str();

    assert_eq!(names(&["-n", namespace], true).await.ok(), here);
    assert_eq!(names(&["--context", "other"], true).await.ok(), there);
    assert_eq!(names(&["--context", "other"], false).await.ok(), there);
    assert_eq!(names(&["--context", "other", "-n", namespace], false).await.ok(), here);
    let all = names(&["-A"], true).await.ok();
    assert!(all.contains(here) && all.contains(there), "{all}");
    // The current context has no namespace.
    let nothing = names(&["--context", "other", "-n", "nobodys"], true).await;
    assert_eq!(nothing.code, 0, "{nothing:?}");
    let empty = run({
        let mut command = bare(&["get", "-n", "nobodys"]);
        command.env("KUBECONFIG", kubeconfig);
        command
    })
    .await;
    assert_eq!(
        (empty.code, empty.stdout.as_str(), empty.stderr.as_str()),
        (0, "", "No ApiGateways in namespace nobodys.\n")
    );
    let unknown = names(&["--context", "nobodys"], false).await.failed(1);
    assert_snapshot("error-context", &unknown.replace(kubeconfig, "KUBECONFIG"));
}

#[tokio::test]
async fn a_way_that_leads_nowhere_is_named_with_what_to_do() {
    let none = run(bare(&["get"])).await.failed(1);
    assert_snapshot("error-no-kubeconfig", &none);

    let server = |url: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "nobody", "cluster": { "server": url } }],
            "users": [{ "name": "nobody", "user": {} }],
            "contexts": [{ "name": "nobody", "context": { "cluster": "nobody", "user": "nobody" } }],
            "current-context": "nobody",
        })
    };
    let nobody = file("nobody", &server("http://127.0.0.1:1").to_string());
    let mut answers = Vec::new();
    for arguments in [
        &["get"] as &[&str],
        &["get", "-w"],
        &["status", "shop"],
        &["history", "shop"],
        &["wait", "shop", "--for", "available"],
        &["stop", "shop"],
    ] {
        let mut command = bare(arguments);
        command.env("KUBECONFIG", &nobody);
        answers.push(run(command).await.failed(1));
    }
    assert_snapshot("error-unreachable", &answers.concat());
}

/// Grants a user exactly these rules.
async fn allow(world: &World, user: &str, rules: Value) {
    world.create::<Role>(json!({ "metadata": { "name": user }, "rules": rules })).await;
    world
        .create::<RoleBinding>(json!({
            "metadata": { "name": user },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        }))
        .await;
}

#[tokio::test]
async fn who_may_read_only_gateways_is_told_what_is_missing_and_shown_the_rest() {
    let world = World::new("rights").await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "Started", "message": "the gateway matches its spec",
        "lastTransitionTime": "2026-01-01T10:00:00Z",
    });
    let status = json!({ "phase": "Started", "state": "Running", "observedGeneration": 1, "conditions": [ready] });
    world.patch_status("shop", json!({ "status": status })).await;
    allow(
        &world,
        "reader",
        json!([
            { "apiGroups": ["phasegate.dev"], "resources": ["apigateways"], "verbs": ["get", "list", "watch"] },
        ]),
    )
    .await;
    // A new Role takes effect with a delay.
    let allowed = eventually(Duration::from_millis(100), async || {
        (said(&world, &["get", "--as", "reader"]).await.code == 0).then_some(())
    });
    assert!(allowed.await.is_some(), "the role is not known");

    let status = said(&world, &["status", "shop", "--as", "reader"]).await.ok();
    assert_snapshot("status-forbidden", &masked(&world, &status));
    let mut refused = Vec::new();
    for arguments in [
        &["get", "--as", "nobody"] as &[&str],
        &["get", "-w", "--as", "nobody"],
        &["status", "shop", "--as", "nobody"],
        &["wait", "shop", "--for", "gone", "--as", "nobody"],
        &["suspend", "shop", "--as", "nobody"],
        &["stop", "shop", "--as", "reader"],
    ] {
        refused.push(run(plugin(&world, arguments)).await.failed(1));
    }
    assert_snapshot("error-forbidden", &masked(&world, &refused.concat()));
}
