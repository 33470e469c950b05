//! The operator reverts other clients' edits of a gateway's children, and keeps what they add.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::runtime::watcher;
use phasegate::api::{ApiGateway, condition};
use serde_json::{Value, json};

use crate::harness::{
    CHILDREN, DEADLINE, Random, Requests, SETTLED, World, eventually, gateway, is_true, path, private_world,
};

/// One edit of a gateway's child by another client.
struct Edit {
    kind: &'static str,
    what: &'static str,
    act: Act,
}

enum Act {
    /// A strategic merge patch, the default of `kubectl patch`.
    Strategic(Value),
    /// A merge patch, which replaces lists.
    Merge(Value),
    /// `kubectl scale --replicas`.
    Scale(&'static str),
    Delete,
}

fn edits() -> Vec<Edit> {
    use Act::{Delete, Merge, Scale, Strategic};
    let edit = |kind, what, act| Edit { kind, what, act };
    let pod = |spec: Value| json!({ "spec": { "template": { "spec": spec } } });
    let container = |mut with: Value| {
        with["name"] = json!("gateway");
        pod(json!({ "containers": [with] }))
    };
    let mut edits = vec![
        edit("Deployment", "another image", Strategic(container(json!({ "image": "evil/gateway:1" })))),
        edit(
            "Deployment",
            "an extra container",
            Strategic(pod(json!({ "containers": [{ "name": "miner", "image": "evil/miner:1" }] }))),
        ),
        edit(
            "Deployment",
            "an init container",
            Strategic(pod(json!({ "initContainers": [{ "name": "miner", "image": "evil/miner:1" }] }))),
        ),
        edit(
            "Deployment",
            "an extra env entry",
            Strategic(container(json!({ "env": [{ "name": "DEBUG", "value": "1" }] }))),
        ),
        edit(
            "Deployment",
            "env from a Secret",
            Strategic(container(json!({ "envFrom": [{ "secretRef": { "name": "theirs" } }] }))),
        ),
        edit("Deployment", "an extra port", Strategic(container(json!({ "ports": [{ "containerPort": 9999 }] })))),
        edit("Deployment", "a command", Strategic(container(json!({ "command": ["sleep"], "args": ["infinity"] })))),
        edit("Deployment", "limits", Strategic(container(json!({ "resources": { "limits": { "cpu": "1m" } } })))),
        edit(
            "Deployment",
            "weaker security",
            Strategic(container(json!({ "securityContext": { "readOnlyRootFilesystem": false } }))),
        ),
        edit("Deployment", "a node selector", Strategic(pod(json!({ "nodeSelector": { "disk": "slow" } })))),
        edit("Deployment", "a toleration", Merge(pod(json!({ "tolerations": [{ "operator": "Exists" }] })))),
        edit("Deployment", "a pull secret", Merge(pod(json!({ "imagePullSecrets": [{ "name": "theirs" }] })))),
        edit(
            "Deployment",
            "another strategy",
            Merge(json!({ "spec": { "strategy": { "type": "Recreate", "rollingUpdate": null } } })),
        ),
        edit("Deployment", "another scheduler", Merge(pod(json!({ "schedulerName": "theirs" })))),
        edit("Deployment", "a token", Merge(pod(json!({ "automountServiceAccountToken": null })))),
        edit("Deployment", "a DNS policy", Merge(pod(json!({ "dnsPolicy": "Default" })))),
        edit(
            "Deployment",
            "an alias",
            Merge(pod(json!({ "hostAliases": [{ "ip": "127.0.0.1", "hostnames": ["x"] }] }))),
        ),
        edit(
            "Deployment",
            "a hook",
            Strategic(container(json!({ "lifecycle": { "postStart": { "exec": { "command": ["true"] } } } }))),
        ),
        edit("Deployment", "a pull policy", Strategic(container(json!({ "imagePullPolicy": "Always" })))),
        edit(
            "Deployment",
            "a probe's patience",
            Strategic(container(json!({ "readinessProbe": { "timeoutSeconds": 9 } }))),
        ),
        edit("Deployment", "a pause", Merge(json!({ "spec": { "paused": true } }))),
        edit("Deployment", "a scale", Scale("5")),
        edit("Deployment", "a scale to nothing", Scale("0")),
        edit("Service", "type NodePort", Merge(json!({ "spec": { "type": "NodePort" } }))),
        edit("Service", "type LoadBalancer", Merge(json!({ "spec": { "type": "LoadBalancer" } }))),
        edit(
            "Service",
            "type ExternalName",
            Merge(json!({ "spec": { "type": "ExternalName", "externalName": "evil.example.com" } })),
        ),
        edit("Service", "an outer address", Merge(json!({ "spec": { "externalIPs": ["198.51.100.7"] } }))),
        edit("Service", "affinity", Merge(json!({ "spec": { "sessionAffinity": "ClientIP" } }))),
        edit("Service", "a local policy", Merge(json!({ "spec": { "internalTrafficPolicy": "Local" } }))),
        edit("Service", "two families", Merge(json!({ "spec": { "ipFamilyPolicy": "PreferDualStack" } }))),
        edit("Service", "unready addresses", Merge(json!({ "spec": { "publishNotReadyAddresses": true } }))),
        edit("Service", "an extra port", Strategic(json!({ "spec": { "ports": [{ "name": "more", "port": 9999 }] } }))),
        edit("Service", "an extra selector key", Merge(json!({ "spec": { "selector": { "track": "canary" } } }))),
        edit(
            "Service",
            "another selector",
            Merge(json!({ "spec": { "selector": { "phasegate.dev/gateway": "other" } } })),
        ),
        edit(
            "Ingress",
            "another host",
            Merge(json!({ "spec": { "rules": [{ "host": "evil.example.com", "http": { "paths": [
                { "path": "/", "pathType": "Prefix", "backend": { "service": { "name": "evil", "port": { "number": 80 } } } },
            ] } }] } })),
        ),
        edit(
            "Ingress",
            "a default backend",
            Merge(json!({ "spec": { "defaultBackend": { "service": { "name": "evil", "port": { "number": 80 } } } } })),
        ),
        edit("Ingress", "a certificate", Merge(json!({ "spec": { "tls": [{ "secretName": "evil" }] } }))),
        edit("Ingress", "another class", Merge(json!({ "spec": { "ingressClassName": "theirs" } }))),
        edit(
            "PodDisruptionBudget",
            "minAvailable",
            Merge(json!({ "spec": { "maxUnavailable": null, "minAvailable": 2 } })),
        ),
        edit("PodDisruptionBudget", "maxUnavailable", Merge(json!({ "spec": { "maxUnavailable": "100%" } }))),
        edit(
            "PodDisruptionBudget",
            "an extra selector key",
            Merge(json!({ "spec": { "selector": { "matchLabels": { "track": "canary" } } } })),
        ),
        edit(
            "PodDisruptionBudget",
            "a selector's expression",
            Merge(
                json!({ "spec": { "selector": { "matchExpressions": [{ "key": "track", "operator": "Exists" }] } } }),
            ),
        ),
    ];
    for kind in CHILDREN {
        let labels = json!({ "metadata": { "labels": { "phasegate.dev/gateway-uid": null } } });
        edits.push(edit(kind, "the uid's label removed", Merge(labels)));
        let labels = json!({ "metadata": { "labels": { "phasegate.dev/gateway": "other" } } });
        edits.push(edit(kind, "a label changed", Merge(labels)));
        edits.push(edit(kind, "orphaned", Merge(json!({ "metadata": { "ownerReferences": null } }))));
        let annotations = json!({ "metadata": { "annotations": null } });
        edits.push(edit(kind, "the annotations removed", Merge(annotations)));
        edits.push(edit(kind, "deleted", Delete));
    }
    edits
}

/// The part of a child that phasegate owns. A repair must restore it exactly.
fn shape(child: &DynamicObject) -> Value {
    let ours = |(key, _): &(&String, &String)| key.starts_with("phasegate.dev/");
    let annotations: BTreeMap<&String, &String> = child.annotations().iter().filter(ours).collect();
    let mut spec = child.data["spec"].clone();
    // A Service that was recreated, or had another type in between, has another cluster IP.
    for address in ["clusterIP", "clusterIPs"] {
        if let Some(spec) = spec.as_object_mut() {
            spec.remove(address);
        }
    }
    json!({
        "labels": child.labels(),
        "annotations": annotations,
        "owners": child.metadata.owner_references,
        "spec": spec,
    })
}

async fn shapes(world: &World, name: &str) -> BTreeMap<&'static str, Value> {
    let mut shapes = BTreeMap::new();
    for kind in CHILDREN {
        shapes.insert(kind, shape(&world.of_kind(kind).get(name).await.unwrap()));
    }
    shapes
}

/// Makes an edit. Returns the edited object, but not after a scale or a deletion.
async fn edit_child(world: &World, name: &str, Edit { kind, act, .. }: &Edit) -> Option<DynamicObject> {
    let api = world.of_kind(kind);
    let params = PatchParams::default();
    match act {
        Act::Strategic(patch) => Some(api.patch(name, &params, &Patch::Strategic(patch)).await.unwrap()),
        Act::Merge(patch) => Some(api.patch(name, &params, &Patch::Merge(patch)).await.unwrap()),
        Act::Scale(replicas) => {
            let scaled = world.kubectl(&["scale", "deployment", name, &format!("--replicas={replicas}")]);
            assert!(scaled.status.success(), "{scaled:?}");
            None
        }
        Act::Delete => {
            api.delete(name, &DeleteParams::background()).await.unwrap();
            None
        }
    }
}

/// Makes an edit and waits until the operator has reverted it.
async fn edit_and_await_repair(world: &World, name: &str, edit: &Edit, wanted: &Value) {
    let Edit { kind, what, act } = edit;
    let api = world.of_kind(kind);
    let before = api.get(name).await.unwrap();
    if let Some(edited) = edit_child(world, name, edit).await {
        assert_ne!(shape(&edited), *wanted, "{kind}: {what} is no edit");
    }
    let mut last = None;
    let repaired = tokio::time::timeout(DEADLINE, async {
        let mut versions = Box::pin(watcher::watch_object(api, name));
        loop {
            last = versions.try_next().await.unwrap().unwrap();
            let repaired = last.as_ref().is_some_and(|child| {
                let anew = child.metadata.uid != before.metadata.uid;
                child.metadata.deletion_timestamp.is_none()
                    && shape(child) == *wanted
                    && child.metadata.resource_version != before.metadata.resource_version
                    && (anew || !matches!(act, Act::Delete))
            });
            if repaired {
                return;
            }
        }
    })
    .await;
    let last = last.as_ref().map_or(Value::Null, shape);
    assert!(repaired.is_ok(), "{kind} {name}: {what} is not repaired; wanted {wanted}, is {last}");
}

/// Waits until a gateway is Ready. After edits in quick succession, the Deployment's controller may wait for an event
/// that has already come. Its rollout then stalls, with the newest generation observed and no pod updated, until the
/// Deployment changes again. This function changes a Deployment with an incomplete rollout. With a complete rollout,
/// the gateway must become Ready without that.
async fn until_ready(world: &World, name: &str) -> ApiGateway {
    let deployments = world.api::<Deployment>();
    let began = Instant::now();
    let is_ready = async || {
        let updated = deployments.get(name).await.unwrap().status.and_then(|status| status.updated_replicas);
        if began.elapsed() > Duration::from_secs(20) && updated != Some(2) {
            let nudge = json!({ "metadata": { "annotations": { "example.com/nudge": began.elapsed().as_secs().to_string() } } });
            deployments.patch(name, &PatchParams::default(), &Patch::Merge(nudge)).await.unwrap();
        }
        Some(world.gateway(name).await).filter(|gateway| is_true(gateway, condition::READY))
    };
    if let Some(ready) = eventually(Duration::from_secs(1), is_ready).await {
        return ready;
    }
    let deployment = deployments.get(name).await.unwrap();
    panic!("{name} is not Ready: {:#?} of {:#?}", world.gateway(name).await.status, deployment.status);
}

fn shop(host: &str) -> Value {
    gateway("shop", json!({ "image": "acme/gateway:1", "host": host, "replicas": 2 }))
}

/// Each gateway gets only a few edits: the operator reverts repeated edits of one gateway with increasing backoff.
#[tokio::test]
async fn every_edit_of_every_child_is_undone() {
    let world = World::new("edits").await;
    let _operator = world.operator();
    let edits = edits();
    let chunks: Vec<&[Edit]> = edits.chunks(6).collect();
    let names: Vec<String> = (0..chunks.len()).map(|number| format!("shop-{number}")).collect();
    for name in &names {
        let host = format!("{name}.edits.example.com");
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1", "host": host, "replicas": 2 }))).await;
    }
    let one = async |name: &String, edits: &[Edit]| {
        world.until_started(name).await;
        let wanted = shapes(&world, name).await;
        for edit in edits {
            edit_and_await_repair(&world, name, edit, &wanted[edit.kind]).await;
        }
        assert_eq!(shapes(&world, name).await, wanted);
        let shop = until_ready(&world, name).await;
        assert_eq!(path(&shop), ["Starting/Running StartRequested", "Started/Running Started"]);
    };
    join_all(names.iter().zip(chunks).map(|(name, edits)| one(name, edits))).await;
}

/// Each edit has its own gateway. The next operator detects the edit from the status alone.
#[tokio::test]
async fn every_edit_that_is_made_while_no_operator_runs_is_undone_by_the_next_one() {
    let world = World::new("unseen").await;
    let mut operator = world.operator();
    let edits: Vec<Edit> = edits().into_iter().filter(|edit| !matches!(edit.act, Act::Delete)).collect();
    let names: Vec<String> = (0..edits.len()).map(|number| format!("gw-{number}")).collect();
    for name in &names {
        let host = format!("{name}.unseen.example.com");
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1", "host": host, "replicas": 2 }))).await;
    }
    let mut wanted = Vec::new();
    for name in &names {
        world.until_started(name).await;
        wanted.push(shapes(&world, name).await);
    }
    operator.end();
    for (name, edit) in names.iter().zip(&edits) {
        edit_child(&world, name, edit).await;
    }

    let _operator = world.operator();

    for ((name, edit), wanted) in names.iter().zip(&edits).zip(&wanted) {
        let is_undone = async || (shapes(&world, name).await == *wanted).then_some(());
        let undone = eventually(Duration::from_millis(200), is_undone).await;
        assert!(undone.is_some(), "{name}, {}: {} is {}", edit.what, edit.kind, shapes(&world, name).await[edit.kind]);
    }
}

/// If the cluster has a default IngressClass, the API server sets it in an Ingress without a class.
#[tokio::test]
async fn after_a_hundred_edits_all_is_repaired_and_a_minute_passes_without_a_write() {
    const GATEWAYS: usize = 5;
    const EDITS: usize = 100;
    const SEED: u64 = 4;
    let world = private_world("hundred").await;
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": { "name": "usual", "annotations": { "ingressclass.kubernetes.io/is-default-class": "true" } },
        "spec": { "controller": "example.com/ingress" },
    });
    let classes: Api<k8s_openapi::api::networking::v1::IngressClass> = Api::all(world.client.clone());
    classes.create(&Default::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    let _operator = world.operator();
    let names: Vec<String> = (0..GATEWAYS).map(|number| format!("gw-{number}")).collect();
    for name in &names {
        let host = format!("{name}.example.com");
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1", "host": host, "replicas": 2 }))).await;
    }
    for name in &names {
        world.until_started(name).await;
    }

    let one = async |number: usize, name: &String| {
        let wanted = shapes(&world, name).await;
        assert_eq!(wanted["Ingress"]["spec"]["ingressClassName"], "usual");
        let mut random = Random::new(SEED + u64::try_from(number).unwrap());
        let edits = edits();
        for _ in 0..EDITS / GATEWAYS {
            let edit = random.one_of(&edits);
            edit_and_await_repair(&world, name, edit, &wanted[edit.kind]).await;
        }
        assert_eq!(shapes(&world, name).await, wanted);
        until_ready(&world, name).await;
    };
    join_all(names.iter().enumerate().map(|(number, name)| one(number, name))).await;

    let before = Requests::settle(&world.client).await;
    tokio::time::sleep(Duration::from_secs(60) - SETTLED).await;
    let mut counted = Requests::read(&world.client).await.since(&before);
    // The garbage collector gets the owners of orphaned objects from time to time.
    counted.retain(|(verb, _), _| verb != "GET");
    assert_eq!(counted, BTreeMap::new());
}

#[tokio::test]
async fn what_others_add_to_a_child_stays_theirs() {
    let world = World::new("others").await;
    let _operator = world.operator();
    world.apply(&shop("others.example.com")).await;
    world.until_started("shop").await;
    let friend: ConfigMap = world.create(json!({ "metadata": { "name": "friend" } })).await;
    let second = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "friend", "uid": friend.uid().unwrap() });
    for kind in CHILDREN {
        let api = world.of_kind(kind);
        let owners = api.get("shop").await.unwrap().metadata.owner_references.unwrap();
        let patch = json!({ "metadata": {
            "annotations": { "example.com/theirs": "yes" },
            "labels": { "example.com/theirs": "yes" },
            "ownerReferences": [second.clone(), serde_json::to_value(&owners[0]).unwrap()],
        } });
        api.patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
    let restarted = world.kubectl(&["rollout", "restart", "deployment", "shop"]);
    assert!(restarted.status.success(), "{restarted:?}");

    // The operator writes every child once more, to revert an edit or for a change of the spec.
    for kind in CHILDREN {
        let patch = json!({ "metadata": { "labels": { "phasegate.dev/gateway": "other" } } });
        world.of_kind(kind).patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
    world.patch("shop", json!({ "spec": { "path": "/v2", "env": [{ "name": "A", "value": "b" }] } })).await;
    world
        .until("shop", "the new path", |ingress: &Ingress| {
            ingress.spec.as_ref().unwrap().rules.as_ref().unwrap()[0].http.as_ref().unwrap().paths[0].path.as_deref()
                == Some("/v2")
        })
        .await;
    for kind in CHILDREN {
        until_labelled(&world, kind).await;
    }

    for kind in CHILDREN {
        let child = world.of_kind(kind).get("shop").await.unwrap();
        assert_eq!(child.annotations()["example.com/theirs"], "yes", "{kind}");
        assert_eq!(child.labels()["example.com/theirs"], "yes", "{kind}");
        let owners = child.metadata.owner_references.unwrap();
        assert!(owners.iter().any(|owner| owner.name == "friend"), "{kind}: {owners:?}");
        assert_eq!(owners.len(), 2, "{kind}");
    }
    let deployment = world
        .until("shop", "the new environment", |deployment: &Deployment| {
            let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            pod.containers[0].env.as_ref().is_some_and(|env| env[0].name == "A")
        })
        .await;
    let template = deployment.spec.unwrap().template.metadata.unwrap();
    assert!(template.annotations.unwrap().contains_key("kubectl.kubernetes.io/restartedAt"));
}

/// Waits until the operator has restored a child's label.
async fn until_labelled(world: &World, kind: &str) {
    let labelled = tokio::time::timeout(DEADLINE, async {
        let mut versions = Box::pin(watcher::watch_object(world.of_kind(kind), "shop"));
        while let Some(child) = versions.try_next().await.unwrap() {
            if child.is_some_and(|child| child.labels()["phasegate.dev/gateway"] == "shop") {
                return;
            }
        }
    })
    .await;
    assert!(labelled.is_ok(), "the {kind} has not got its label back");
}

#[tokio::test]
async fn a_disruption_budget_comes_with_the_second_replica_and_goes_with_it() {
    let world = World::new("budget").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    assert_eq!(world.api::<PodDisruptionBudget>().get_opt("shop").await.unwrap(), None);

    for _ in 0..2 {
        let scaled = world.kubectl(&["scale", "agw", "shop", "--replicas=3"]);
        assert!(scaled.status.success(), "{scaled:?}");
        world.until("shop", "a budget", |_: &PodDisruptionBudget| true).await;
        until_replicas(&world, 3).await;
        world.patch("shop", json!({ "spec": { "replicas": 1 } })).await;
        world.until_gone::<PodDisruptionBudget>("shop").await;
        until_replicas(&world, 1).await;
    }
    let shop = until_ready(&world, "shop").await;
    assert_eq!(shop.status.unwrap().attempt.unwrap().number, 1);
}

async fn until_replicas(world: &World, replicas: i32) {
    world
        .until("shop", &format!("{replicas} replicas"), |deployment: &Deployment| {
            deployment.spec.as_ref().unwrap().replicas == Some(replicas)
        })
        .await;
}

#[tokio::test]
async fn the_ingress_goes_with_the_host_and_comes_back_with_it() {
    let world = World::new("hosted").await;
    let _operator = world.operator();
    world.apply(&shop("hosted.example.com")).await;
    world.until_started("shop").await;

    world.patch("shop", json!({ "spec": { "host": null } })).await;

    world.until_gone::<Ingress>("shop").await;
    let plain = world
        .until("shop", "no address", |shop: &ApiGateway| {
            is_true(shop, condition::READY) && shop.status.as_ref().unwrap().url.is_none()
        })
        .await;
    assert_eq!(plain.status.unwrap().hosts, []);
    world.patch("shop", json!({ "spec": { "host": "hosted.example.com" } })).await;
    let again = world
        .until("shop", "its address", |shop: &ApiGateway| {
            is_true(shop, condition::READY) && shop.status.as_ref().unwrap().url.is_some()
        })
        .await;
    assert_eq!(path(&again), ["Starting/Running StartRequested", "Started/Running Started"]);
}

/// A Deployment's selector is immutable: the API server refuses the change, so the operator has to recreate the
/// Deployment.
#[tokio::test]
async fn a_deployment_with_another_selector_is_replaced_and_not_retried_for_ever() {
    let world = World::new("selector").await;
    let mut operator = world.operator();
    world.apply(&shop("selector.example.com")).await;
    let started = world.until_started("shop").await;
    let wanted = shapes(&world, "shop").await;
    operator.kill();
    let mut theirs = serde_json::to_value(world.api::<Deployment>().get("shop").await.unwrap()).unwrap();
    let deleted = world.kubectl(&["delete", "deployment", "shop", "--cascade=foreground", "--wait=true"]);
    assert!(deleted.status.success(), "{deleted:?}");
    let metadata = &theirs["metadata"];
    theirs["metadata"] = json!({
        "name": "shop", "labels": metadata["labels"], "annotations": metadata["annotations"],
        "ownerReferences": metadata["ownerReferences"],
    });
    theirs["spec"]["selector"]["matchLabels"] = json!({ "app": "theirs" });
    theirs["spec"]["template"]["metadata"]["labels"]["app"] = json!("theirs");
    let theirs: Deployment = world.create(theirs).await;
    assert_eq!(theirs.metadata.owner_references.unwrap()[0].uid, started.uid());

    let _operator = world.operator();

    world.until("shop", "another Deployment", |now: &Deployment| now.metadata.uid != theirs.metadata.uid).await;
    until_ready(&world, "shop").await;
    assert_eq!(shapes(&world, "shop").await, wanted);
    // The pods of the replaced Deployment are deleted with it.
    let waited = world.kubectl(&["wait", "pod", "-l", "app=theirs", "--for=delete", "--timeout=300s"]);
    assert!(waited.status.success(), "{waited:?}");
}
