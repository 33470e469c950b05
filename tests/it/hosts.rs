//! Only one gateway or environment holds a host at a time, and only where the operator and the namespace allow the
//! host.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use phasegate::api::{ApiGateway, Environment, EnvironmentState, Phase, State, condition};
use serde_json::{Value, json};

use crate::harness::{Random, World, gateway, is_active, is_true, path};

fn on(host: &str) -> Value {
    json!({ "image": "acme/gateway:1", "host": host, "startDeadline": "1m" })
}

async fn environment(world: &World, name: &str, of: &str, host: &str) -> Environment {
    let spec = json!({ "gatewayRef": { "name": of }, "host": host });
    world.create(json!({ "metadata": { "name": name }, "spec": spec })).await
}

async fn until_active(world: &World, name: &str) -> Environment {
    world.until(name, "Active", is_active).await
}

async fn until_refused(world: &World, name: &str, reason: &str) -> Environment {
    world
        .until(name, reason, |environment: &Environment| {
            environment.status.as_ref().is_some_and(|status| {
                let stalled = status.conditions.iter().find(|condition| condition.type_ == condition::STALLED);
                status.state == EnvironmentState::Inactive
                    && stalled.is_some_and(|stalled| stalled.status == "True" && stalled.reason == reason)
            })
        })
        .await
}

/// The hosts that a gateway's Ingress routes.
async fn routed(world: &World, name: &str) -> Vec<String> {
    let Some(ingress) = world.api::<Ingress>().get_opt(name).await.unwrap() else { return Vec::new() };
    ingress.spec.unwrap().rules.unwrap().into_iter().filter_map(|rule| rule.host).collect()
}

async fn until_held(world: &World, name: &str) -> ApiGateway {
    world.until_condition(name, condition::STALLED, "True", "HostTaken").await
}

#[tokio::test]
async fn a_wildcard_is_a_host_of_its_own() {
    let world = World::new("wildcard").await;
    let _operator = world.operator();
    world.apply(&gateway("all", on("*.wildcard.example.com"))).await;
    world.until_started("all").await;
    world.apply(&gateway("same", on("*.wildcard.example.com"))).await;
    world.apply(&gateway("exact", on("pay.wildcard.example.com"))).await;

    until_held(&world, "same").await;
    world.until_started("exact").await;
    assert_eq!(routed(&world, "all").await, ["*.wildcard.example.com"]);
    assert_eq!(routed(&world, "exact").await, ["pay.wildcard.example.com"]);
    assert_eq!(routed(&world, "same").await, Vec::<String>::new());

    world.delete("all").await;
    world.until_started("same").await;
}

#[tokio::test]
async fn an_environment_on_a_gateways_host_waits_until_the_gateway_drops_it() {
    let world = World::new("envlater").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", on("one.envlater.example.com"))).await;
    world.until_started("shop").await;
    world.apply(&gateway("bank", json!({ "image": "acme/gateway:1" }))).await;
    environment(&world, "dev", "bank", "one.envlater.example.com").await;

    let dev = until_refused(&world, "dev", "HostTaken").await;
    assert_eq!(dev.status.unwrap().hosts, []);
    // The refused environment does not block its gateway, and its host is not routed.
    world.until_started("bank").await;
    assert_eq!(routed(&world, "bank").await, Vec::<String>::new());

    world.patch("shop", json!({ "spec": { "host": "two.envlater.example.com" } })).await;
    until_active(&world, "dev").await;
    assert_eq!(routed(&world, "bank").await, ["one.envlater.example.com"]);
    assert_eq!(routed(&world, "shop").await, ["two.envlater.example.com"]);
}

#[tokio::test]
async fn a_gateway_on_an_environments_host_waits_until_the_environment_goes() {
    let world = World::new("envfirst").await;
    let _operator = world.operator();
    world.apply(&gateway("bank", json!({ "image": "acme/gateway:1" }))).await;
    environment(&world, "dev", "bank", "one.envfirst.example.com").await;
    until_active(&world, "dev").await;
    world.apply(&gateway("shop", on("one.envfirst.example.com"))).await;

    let shop = until_held(&world, "shop").await;
    assert_eq!(path(&shop), ["Created/Running HostTaken"]);

    world.api::<Environment>().delete("dev", &DeleteParams::default()).await.unwrap();
    world.until_started("shop").await;
    assert_eq!(routed(&world, "shop").await, ["one.envfirst.example.com"]);
    world.until_gone::<Ingress>("bank").await;
}

#[tokio::test]
async fn a_stopped_gateway_keeps_its_host_until_its_spec_drops_it() {
    let world = World::new("keeps").await;
    let _operator = world.operator();
    world.apply(&gateway("first", on("one.keeps.example.com"))).await;
    world.until_started("first").await;
    world.patch("first", json!({ "spec": { "state": "Stopped" } })).await;
    let first = world.until_phase("first", Phase::Stopped, State::Stopped).await;
    assert_eq!(first.status.unwrap().hosts[0].host, "one.keeps.example.com");
    world.apply(&gateway("second", on("one.keeps.example.com"))).await;
    until_held(&world, "second").await;

    // A change of the host releases the old claim, even if the gateway does not run.
    world.patch("first", json!({ "spec": { "host": "two.keeps.example.com" } })).await;
    world.until_started("second").await;

    // The gateway that released the host must wait to claim it again.
    world.patch("first", json!({ "spec": { "host": "one.keeps.example.com", "state": "Running" } })).await;
    let first = until_held(&world, "first").await;
    assert_eq!(first.status.as_ref().unwrap().phase, Some(Phase::Stopped));
    assert_eq!(first.status.unwrap().attempt.unwrap().number, 1);
    world.patch("second", json!({ "spec": { "host": null } })).await;
    world.until_started("first").await;
}

#[tokio::test]
async fn a_gateway_edited_onto_a_taken_host_while_it_starts_is_held_without_a_clock() {
    let world = World::new("edited").await;
    let _operator = world.operator();
    world.apply(&gateway("first", on("one.edited.example.com"))).await;
    world.until_started("first").await;
    let slow = json!({ "image": "acme/unpullable:1", "startDeadline": "1m", "host": "two.edited.example.com" });
    world.apply(&gateway("second", slow)).await;
    world.until_condition("second", condition::READY, "False", "ImagePullFailed").await;

    let edit =
        json!({ "spec": { "host": "one.edited.example.com", "image": "acme/gateway:1", "startDeadline": "15s" } });
    world.patch("second", edit).await;

    let second = until_held(&world, "second").await;
    let status = second.status.unwrap();
    assert_eq!((status.phase, status.state), (Some(Phase::Starting), Some(State::Running)));
    // Another gateway starts and times out meanwhile, which takes longer than the deadline.
    world.apply(&gateway("third", json!({ "image": "acme/unpullable:1", "startDeadline": "16s" }))).await;
    world.until_phase("third", Phase::Stopped, State::Stopped).await;
    world.delete("first").await;
    let second = world.until_started("second").await;
    let reasons = path(&second);
    assert!(!reasons.iter().any(|step| step.contains("DeadlineExceeded")), "{reasons:?}");
}

async fn annotate(world: &World, allowed: Option<&str>) {
    let patch = json!({ "metadata": { "annotations": { "phasegate.dev/allowed-hosts": allowed } } });
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.patch(&world.namespace, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

#[tokio::test]
async fn a_namespace_allows_hosts_by_their_suffix() {
    let world = World::new("allowed").await;
    annotate(&world, Some("allowed.example.com, other.org")).await;
    let _operator = world.operator();
    for (name, host) in [
        ("below", "shop.allowed.example.com"),
        ("apex", "other.org"),
        ("wild", "*.other.org"),
        ("outside", "shop.allowed.example.net"),
        ("lookalike", "notother.org"),
    ] {
        world.apply(&gateway(name, on(host))).await;
    }
    for name in ["below", "apex", "wild"] {
        world.until_started(name).await;
    }
    for name in ["outside", "lookalike"] {
        let refused = world.until_condition(name, condition::STALLED, "True", "HostNotAllowed").await;
        assert_eq!(path(&refused), ["Created/Running HostNotAllowed"]);
        assert_eq!(refused.status.unwrap().attempt, None);
        assert_eq!(world.until_event(name, "HostNotAllowed").await, ["Warning HostNotAllowed"]);
    }
    environment(&world, "dev", "below", "dev.shop.allowed.example.net").await;
    until_refused(&world, "dev", "HostNotAllowed").await;

    annotate(&world, Some("allowed.example.com,other.org,.allowed.example.net")).await;
    world.until_started("outside").await;
    until_active(&world, "dev").await;
    annotate(&world, None).await;
    let lookalike = world.until_started("lookalike").await;
    assert_eq!(lookalike.status.unwrap().attempt.unwrap().number, 1);
}

#[tokio::test]
async fn a_gateway_names_only_ingress_classes_that_the_operator_allows() {
    let world = World::new("classes").await;
    let mut operator = world.operator_with(&["--ingress-classes", "nginx,contour"]);
    let classed = |host: &str, class: &str| {
        let mut spec = on(host);
        spec["ingressClassName"] = json!(class);
        spec
    };
    world.apply(&gateway("nginx", classed("nginx.classes.example.com", "nginx"))).await;
    world.apply(&gateway("none", on("none.classes.example.com"))).await;
    world.apply(&gateway("internal", classed("internal.classes.example.com", "internal"))).await;

    world.until_started("none").await;
    world.until_started("nginx").await;
    let ingress: Ingress = world.api().get("nginx").await.unwrap();
    assert_eq!(ingress.spec.unwrap().ingress_class_name.as_deref(), Some("nginx"));
    let refused = world.until_condition("internal", condition::STALLED, "True", "IngressClassNotAllowed").await;
    assert_eq!(path(&refused), ["Created/Running IngressClassNotAllowed"]);
    assert_eq!(refused.status.unwrap().attempt, None);
    assert_eq!(world.until_event("internal", "IngressClassNotAllowed").await, ["Warning IngressClassNotAllowed"]);
    let children = world.children().await;
    assert!(!children.iter().any(|child| child.ends_with(" internal")), "{children:?}");

    // A running gateway whose spec requests another class keeps its current class.
    world.patch("nginx", json!({ "spec": { "ingressClassName": "internal" } })).await;
    let kept = world.until_condition("nginx", condition::STALLED, "True", "IngressClassNotAllowed").await;
    assert!(is_true(&kept, condition::AVAILABLE));
    let ingress: Ingress = world.api().get("nginx").await.unwrap();
    assert_eq!(ingress.spec.unwrap().ingress_class_name.as_deref(), Some("nginx"));

    operator.kill();
    let mut operator = world.operator_with(&["--ingress-classes", "nginx,internal"]);
    world.until_started("internal").await;
    let is_of = |class: Option<&'static str>| {
        move |ingress: &Ingress| ingress.spec.as_ref().unwrap().ingress_class_name.as_deref() == class
    };
    world.until("nginx", "the class that is allowed now", is_of(Some("internal"))).await;
    let allowed = |gateway: &ApiGateway| is_true(gateway, condition::READY);
    world.until("nginx", "allowed", allowed).await;

    // A class that is no longer allowed is removed once the spec does not name it.
    operator.kill();
    let _operator = world.operator_with(&["--ingress-classes", "nginx"]);
    world.until_condition("nginx", condition::STALLED, "True", "IngressClassNotAllowed").await;
    world.patch("nginx", json!({ "spec": { "ingressClassName": null } })).await;
    world.until("nginx", "the cluster's own class", is_of(None)).await;
    let settled = |gateway: &ApiGateway| {
        is_true(gateway, condition::READY)
            && gateway.status.as_ref().unwrap().accepted.as_ref().unwrap().ingress_class_named.is_none()
    };
    let after = world.until("nginx", "settled", settled).await;
    assert_eq!(path(&after), ["Starting/Running StartRequested", "Started/Running Started"]);
}

#[tokio::test]
async fn every_ingress_has_the_operators_annotations_and_the_specs_certificate() {
    let world = World::new("annotated").await;
    let mut operator = world.operator_with(&["--ingress-annotation", "example.com/a=b"]);
    let mut spec = on("annotated.example.com");
    spec["tls"] = json!({ "secretName": "certificate" });
    world.apply(&gateway("shop", spec)).await;

    let shop = world.until_started("shop").await;
    assert_eq!(shop.status.unwrap().url.as_deref(), Some("https://annotated.example.com/"));
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(ingress.annotations()["example.com/a"], "b");
    let tls = &ingress.spec.unwrap().tls.unwrap()[0];
    assert_eq!(tls.secret_name.as_deref(), Some("certificate"));
    assert_eq!(tls.hosts, Some(vec!["annotated.example.com".to_owned()]));

    // The certificate also covers an environment's host.
    environment(&world, "dev", "shop", "dev.annotated.example.com").await;
    until_active(&world, "dev").await;
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(
        ingress.spec.unwrap().tls.unwrap()[0].hosts,
        Some(vec!["annotated.example.com".to_owned(), "dev.annotated.example.com".to_owned()])
    );

    // A change of flags reaches existing Ingresses.
    operator.kill();
    let _operator = world.operator_with(&["--ingress-annotation", "example.com/a=c"]);
    world.until("shop", "the new annotation", |ingress: &Ingress| ingress.annotations()["example.com/a"] == "c").await;
}

/// One operator watches both namespaces. Half of the pairs exist when it starts, so that it lists both gateways at
/// once. The gateways of each other pair are created concurrently.
#[tokio::test]
async fn of_two_gateways_racing_for_a_host_one_wins_and_the_other_starts_when_it_goes() {
    const PAIRS: usize = 50;
    const SEED: u64 = 50;
    let left = World::new("race-left").await;
    let right = World::new("race-right").await;
    let mut random = Random::new(SEED);
    let mut order: Vec<usize> = (0..PAIRS).collect();
    random.shuffle(&mut order);
    let mut racers: Vec<(&World, String)> = Vec::new();
    for pair in order {
        let mut both = [(&left, format!("gw-{pair}")), (&right, format!("gw-{pair}"))];
        random.shuffle(&mut both);
        racers.extend(both);
    }
    let create = async |world: &World, name: &str| {
        let spec =
            json!({ "image": "acme/gateway:1", "host": format!("{name}.race.example.com"), "startDeadline": "2m" });
        world.apply(&gateway(name, spec)).await;
    };
    let (early, late) = racers.split_at(PAIRS);
    join_all(early.iter().map(|(world, name)| create(world, name))).await;
    let _operator = left.operator_with(&["--namespaces", &right.namespace, "--keep-released-hosts", "1s"]);
    left.until(&early[0].1, "seen", |gateway: &ApiGateway| gateway.status.is_some()).await;
    join_all(late.iter().map(|(world, name)| create(world, name))).await;

    let judge = async |pair: usize| {
        let name = format!("gw-{pair}");
        let settled = async |world: &World| {
            world
                .until(&name, "Ready, or refused the host", |gateway: &ApiGateway| {
                    let refused = |condition: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
                        condition.type_ == condition::STALLED
                            && condition.status == "True"
                            && condition.reason == "HostTaken"
                    };
                    is_true(gateway, condition::READY)
                        || gateway.status.iter().flat_map(|status| &status.conditions).any(|one| refused(&one))
                })
                .await
        };
        settled(&left).await;
        settled(&right).await;
        let winner = [&left, &right].into_iter().map(async |world: &World| {
            let gateway = world.gateway(&name).await;
            (is_true(&gateway, condition::READY), !routed(world, &name).await.is_empty())
        });
        let [of_left, of_right] = join_all(winner).await.try_into().unwrap();
        let (winner, loser) = match (of_left, of_right) {
            ((true, true), (false, false)) => (&left, &right),
            ((false, false), (true, true)) => (&right, &left),
            both => panic!("{name}: (ready, routed) is {both:?}"),
        };
        let held = loser.gateway(&name).await;
        winner.delete(&name).await;
        let started = loser.until_started(&name).await;
        assert_eq!(routed(loser, &name).await, [format!("{name}.race.example.com")]);
        for gateway in [held, started] {
            let steps = path(&gateway);
            assert!(!steps.iter().any(|step| step.contains("DeadlineExceeded")), "{name}: {steps:?}");
        }
    };
    join_all((0..PAIRS).map(judge)).await;
}
