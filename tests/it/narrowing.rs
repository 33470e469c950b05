//! The operator restricts gateways, and a namespace restricts them further: a gateway that is not allowed does not
//! start, and running pods stay unchanged.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use phasegate::api::{ApiGateway, Phase, State, condition};
use serde_json::{Value, json};

use crate::harness::{STARTED, World, gateway, is_true, message, path, restart};

/// Sets these annotations of the test's namespace; `null` removes one.
async fn annotate(world: &World, annotations: Value) {
    let prefixed: serde_json::Map<String, Value> = annotations
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| (format!("phasegate.dev/{key}"), value.clone()))
        .collect();
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let patch = Patch::Merge(json!({ "metadata": { "annotations": prefixed } }));
    namespaces.patch(&world.namespace, &PatchParams::default(), &patch).await.unwrap();
}

async fn until_not_allowed(world: &World, name: &str) -> ApiGateway {
    world.until_condition(name, condition::STALLED, "True", "NotAllowed").await
}

/// Changes the gateway `shop`, and waits until the operator has observed the change.
async fn until_seen(world: &World, patch: Value) -> ApiGateway {
    let generation = world.patch("shop", patch).await.metadata.generation;
    let seen = |shop: &ApiGateway| shop.status.as_ref().unwrap().observed_generation == generation;
    world.until("shop", "looked at", seen).await
}

#[tokio::test]
async fn what_operator_or_namespace_do_not_allow_begins_no_attempt_and_starts_once_it_is_allowed() {
    let world = World::new("narrowed").await;
    let narrowed = json!({
        "allowed-image-prefixes": "docker.io/acme", "allowed-tolerations": "pool,node-role.kubernetes.io/control-plane",
        "max-replicas": "2", "max-start-deadline": "2m", "allowed-ingress-classes": "public",
    });
    annotate(&world, narrowed).await;
    let _operator = world.operator_with(&["--allowed-tolerations", "pool", "--allowed-node-labels", "none"]);
    let image = "acme/gateway:1";
    let spread =
        json!([{ "topologyKey": "node-role.kubernetes.io/control-plane", "whenUnsatisfiable": "DoNotSchedule" }]);
    let cases = [
        (
            "image",
            json!({ "image": "evil/gateway:1" }),
            "spec.image \"evil/gateway:1\" (docker.io/evil/gateway)",
            "only docker.io/acme",
        ),
        ("lookalike", json!({ "image": "acme-evil/gateway:1" }), "spec.image", "only docker.io/acme"),
        (
            "label",
            json!({ "image": image, "nodeSelector": { "node-role.kubernetes.io/control-plane": "" } }),
            "spec.nodeSelector \"node-role.kubernetes.io/control-plane=\"",
            "the operator flag --allowed-node-labels allows none",
        ),
        (
            "spread",
            json!({ "image": image, "topologySpread": spread }),
            "spec.topologySpread[0].topologyKey",
            "--allowed-node-labels",
        ),
        (
            // The namespace allows what the operator does not allow.
            "taint",
            json!({ "image": image, "tolerations": [{ "key": "node-role.kubernetes.io/control-plane", "operator": "Exists" }] }),
            "spec.tolerations[0] \"node-role.kubernetes.io/control-plane\"",
            "the operator flag --allowed-tolerations allows only pool",
        ),
        (
            "all",
            json!({ "image": image, "tolerations": [{ "operator": "Exists" }] }),
            "spec.tolerations[0] every taint",
            "only pool",
        ),
        ("many", json!({ "image": image, "replicas": 3 }), "spec.replicas 3", "at most 2"),
        ("slow", json!({ "image": image, "startDeadline": "3m" }), "spec.startDeadline 3m", "at most 2m"),
    ];
    for (name, spec, _, _) in &cases {
        world.apply(&gateway(name, spec.clone())).await;
    }
    let internal = json!({ "image": image, "host": "a.narrowed.example.com", "ingressClassName": "internal" });
    world.apply(&gateway("class", internal)).await;
    let fits = json!({
        "image": "docker.io/acme/gateway:1", "replicas": 2,
        "tolerations": [{ "key": "pool", "operator": "Exists", "effect": "NoSchedule" }],
    });
    world.apply(&gateway("fits", fits)).await;

    let fits = world.until_started("fits").await;
    let begins = &fits.status.unwrap().history[0];
    assert!(begins.message.contains("its deadline is 2m"), "the default is no longer than what is allowed: {begins:?}");
    for (name, _, asked, allowed) in &cases {
        let held = until_not_allowed(&world, name).await;
        assert_eq!(path(&held), ["Created/Running NotAllowed"], "{name}");
        let told = message(&held, condition::STALLED);
        assert!(
            told.contains(asked) && told.contains(allowed) && told.contains("ask the cluster administrator"),
            "{told}"
        );
        assert_eq!(held.status.unwrap().attempt, None, "{name}");
    }
    let class = world.until_condition("class", condition::STALLED, "True", "IngressClassNotAllowed").await;
    assert!(message(&class, condition::STALLED).contains("phasegate.dev/allowed-ingress-classes"));
    assert_eq!(world.until_event("image", "NotAllowed").await, ["Warning NotAllowed"]);
    let made = world.children().await;
    assert!(made.iter().all(|child| child.contains(" fits")), "{made:?}");

    annotate(&world, json!({ "allowed-image-prefixes": "docker.io", "allowed-ingress-classes": null })).await;
    for name in ["image", "class"] {
        assert_eq!(path(&world.until_started(name).await)[1..], STARTED[..], "{name}");
    }
    // An invalid annotation allows nothing. A corrected one takes effect.
    annotate(&world, json!({ "max-replicas": "three" })).await;
    let told = world
        .until("many", "the annotation's fault", |many: &ApiGateway| {
            message(many, condition::STALLED).contains("is invalid")
        })
        .await;
    assert!(message(&told, condition::STALLED).contains("phasegate.dev/max-replicas"));
    annotate(&world, json!({ "max-replicas": "3" })).await;
    assert_eq!(world.until_started("many").await.status.unwrap().attempt.unwrap().number, 1);
}

async fn pods(world: &World) -> Vec<String> {
    let pods = world.api::<Pod>().list(&ListParams::default()).await.unwrap();
    pods.into_iter().map(|pod| pod.uid().unwrap()).collect()
}

#[tokio::test]
async fn a_gateway_that_serves_keeps_its_pods_when_its_namespace_narrows_and_goes_on_when_it_widens() {
    let world = World::new("narrows").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let before: Deployment = world.api().get("shop").await.unwrap();
    let served = pods(&world).await;

    annotate(&world, json!({ "allowed-image-prefixes": "ghcr.io/acme" })).await;
    let told = until_not_allowed(&world, "shop").await;
    assert!(is_true(&told, condition::AVAILABLE));
    assert!(message(&told, condition::READY).contains("the running pods are unchanged"));

    // A new image, more replicas and a restart are requested, and wait. The repaired Service shows that they were
    // observed.
    world.patch("shop", restart("now")).await;
    until_seen(&world, json!({ "spec": { "image": "acme/gateway:2", "replicas": 2 } })).await;
    world.patch_object::<Service>("shop", json!({ "spec": { "sessionAffinity": "ClientIP" } })).await;
    let repaired = |service: &Service| service.spec.as_ref().unwrap().session_affinity.as_deref() == Some("None");
    world.until("shop", "repaired", repaired).await;
    let kept: Deployment = world.api().get("shop").await.unwrap();
    assert_eq!((kept.uid(), kept.meta().generation), (before.uid(), before.meta().generation));
    assert_eq!(pods(&world).await, served);
    let shop = world.gateway("shop").await;
    assert_eq!(path(&shop), STARTED);
    assert_eq!(shop.status.unwrap().attempt.unwrap().number, 1);

    annotate(&world, json!({ "allowed-image-prefixes": "ghcr.io/acme,docker.io/acme" })).await;
    let restarted = |shop: &ApiGateway| {
        is_true(shop, condition::READY) && shop.status.as_ref().unwrap().attempt.as_ref().unwrap().number == 2
    };
    let shop = world.until("shop", "restarted with what was asked", restarted).await;
    assert_eq!(path(&shop)[STARTED.len()..], ["Starting/Restarting RestartRequested", "Started/Running Started"]);
    let rolled: Deployment = world.api().get("shop").await.unwrap();
    let spec = rolled.spec.unwrap();
    let image = spec.template.spec.unwrap().containers[0].image.clone();
    assert_eq!((spec.replicas, image.as_deref()), (Some(2), Some("acme/gateway:2")));

    // A stop always works, whatever is allowed.
    annotate(&world, json!({ "allowed-image-prefixes": "none" })).await;
    until_not_allowed(&world, "shop").await;
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    let stopped = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    assert!(is_true(&stopped, condition::READY));
}

#[tokio::test]
async fn a_start_that_is_under_way_is_held_when_its_namespace_narrows() {
    let world = World::new("narrowing").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/unpullable:1", "startDeadline": "1m" }))).await;
    world.until_condition("shop", condition::READY, "False", "ImagePullFailed").await;

    annotate(&world, json!({ "allowed-image-prefixes": "ghcr.io" })).await;
    let held = until_not_allowed(&world, "shop").await;
    assert!(held.status.unwrap().attempt.unwrap().held_since.is_some());
    let changed = until_seen(&world, json!({ "spec": { "image": "acme/gateway:1" } })).await;
    assert_eq!(path(&changed), ["Starting/Running StartRequested"]);
    let kept: Deployment = world.api().get("shop").await.unwrap();
    let image = kept.spec.unwrap().template.spec.unwrap().containers[0].image.clone();
    assert_eq!(image.as_deref(), Some("acme/unpullable:1"));

    annotate(&world, json!({ "allowed-image-prefixes": "docker.io/acme" })).await;
    let started = world.until_started("shop").await;
    let steps = ["Starting/Running StartRequested", "Starting/Running StartRequested", "Started/Running Started"];
    assert_eq!(path(&started), steps);
}
