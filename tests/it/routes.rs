//! Gateways receive traffic through an HTTPRoute of the Gateway API; the tests act as the controllers of the Gateways.

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use phasegate::api::{ApiGateway, Environment, Phase, State, condition};
use phasegate::children::{self, HttpRoute};
use serde_json::{Value, json};

use crate::harness::gateway_api::{self, ACCEPTED};
use crate::harness::{STARTED, World, audit_entries, environment, gateway, is_active, is_true, message, path};

/// A gateway with this exposure and the parent Gateway `public` in its namespace.
fn exposed(name: &str, host: &str, exposure: &str) -> Value {
    let spec = json!({
        "image": "acme/gateway:1", "host": host, "startDeadline": "2m", "exposure": exposure, "parentRefs": [{ "name": "public" }],
    });
    gateway(name, spec)
}

fn expose(exposure: &str) -> Value {
    json!({ "spec": { "exposure": exposure } })
}

fn hosts(route: &HttpRoute) -> Vec<&str> {
    children::hostnames(route).collect()
}

async fn until_routed(world: &World, name: &str, host: &str) -> HttpRoute {
    world.until(name, "there with its host", |route: &HttpRoute| hosts(route).contains(&host)).await
}

#[tokio::test]
async fn a_gateway_that_asks_for_a_route_waits_for_the_gateway_api_and_goes_on_when_it_appears() {
    let _held = gateway_api::of_audited_cluster().await;
    let world = World::audited("unsupported").await;
    world.remove_gateway_api().await;
    let began = k8s_openapi::jiff::Timestamp::now();
    let _operator = world.operator();
    world.apply(&exposed("shop", "shop.unsupported.example.com", "HTTPRoute")).await;
    let plain = json!({ "image": "acme/gateway:1", "host": "plain.unsupported.example.com" });
    world.apply(&gateway("plain", plain)).await;

    let held = world.until_condition("shop", condition::STALLED, "True", "ExposureUnsupported").await;
    assert_eq!(path(&held), ["Created/Running ExposureUnsupported"]);
    let told = message(&held, condition::READY);
    assert!(
        told.contains("httproutes.gateway.networking.k8s.io") && told.contains("install the Gateway API"),
        "{told}"
    );
    assert_eq!(world.until_event("shop", "ExposureUnsupported").await, ["Warning ExposureUnsupported"]);
    world.until_started("plain").await;
    let asked: Vec<_> = audit_entries(&world.cluster, "httproutes")
        .into_iter()
        .filter(|noted| noted.at >= began && !noted.operator.is_empty() && noted.resource == "httproutes")
        .collect();
    assert!(asked.is_empty(), "nobody asks for what is not there: {asked:?}");

    world.install_gateway_api().await;
    let _controller = world.accepts_routes();
    assert_eq!(path(&world.until_started("shop").await)[1..], STARTED);
    until_routed(&world, "shop", "shop.unsupported.example.com").await;

    world.remove_gateway_api().await;
    let lost = world.until_condition("shop", condition::STALLED, "True", "ExposureUnsupported").await;
    assert_eq!(lost.status.unwrap().phase, Some(Phase::Started), "its pods serve on");
    world.install_gateway_api().await;
    let _controller = world.accepts_routes();
    world.until_condition("shop", condition::READY, "True", "Started").await;
    until_routed(&world, "shop", "shop.unsupported.example.com").await;
}

#[tokio::test]
async fn a_start_waits_for_every_parent_and_says_what_a_parent_says() {
    let world = World::with_routes("parents").await;
    let host = "shop.parents.example.com";
    world.create::<Environment>(environment("dev", "shop", Some("dev.parents.example.com"))).await;
    let mut shop = exposed("shop", host, "HTTPRoute");
    shop["spec"]["parentRefs"] = json!([{ "name": "public" }, { "name": "private", "sectionName": "https" }]);
    let _operator = world.operator();
    world.apply(&shop).await;
    let route = until_routed(&world, "shop", "dev.parents.example.com").await;
    assert_eq!(hosts(&route), [host, "dev.parents.example.com"]);
    world.set_route_verdicts("shop", &[ACCEPTED, ("False", "True")]).await;

    let told = world.until_condition("shop", condition::RECONCILING, "True", "RouteNotAccepted").await;
    let words = message(&told, condition::READY);
    let parent = format!("Gateway \"{}/private/https\" rejects HTTPRoute \"shop\"", world.namespace);
    assert!(words.contains(&parent) && words.contains("Accepted is False, NotAccepted: Accepted is False"), "{words}");
    assert!(!is_true(&told, condition::AVAILABLE));

    world.set_route_verdicts("shop", &[ACCEPTED, ("True", "False")]).await;
    world
        .until("shop", "told of the other condition", |shop: &ApiGateway| {
            message(shop, condition::READY).contains("ResolvedRefs is False")
        })
        .await;
    let waits: Environment = world.api().get("dev").await.unwrap();
    assert!(!is_active(&waits), "no request comes by this route yet");
    world.set_route_verdicts("shop", &[ACCEPTED, ACCEPTED]).await;
    let started = world.until_started("shop").await;
    assert_eq!(path(&started), STARTED);
    assert!(is_true(&started, condition::AVAILABLE));
    world.until("dev", "Active", is_active).await;
    assert!(world.api::<Ingress>().get_opt("shop").await.unwrap().is_none());
}

#[tokio::test]
async fn a_parent_that_nobody_answers_for_is_the_cause_of_a_failed_start() {
    let world = World::with_routes("silent").await;
    let _operator = world.operator();
    let mut shop = exposed("shop", "shop.silent.example.com", "HTTPRoute");
    shop["spec"]["startDeadline"] = json!("12s");
    world.apply(&shop).await;
    world.until_condition("shop", condition::RECONCILING, "True", "RouteNotAnswered").await;
    let stopped = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    let failure = stopped.status.unwrap().last_failure.unwrap();
    assert_eq!(failure.reason.as_str(), "RouteNotAnswered");
    assert!(failure.message.contains(&format!("{}/public", world.namespace)), "{failure:?}");
}

#[tokio::test]
async fn moving_from_an_ingress_to_a_route_never_leaves_a_moment_without_one_that_leads_to_the_gateway() {
    let world = World::with_routes("moving").await;
    let _operator = world.operator();
    for name in ["slowly", "directly"] {
        let host = format!("{name}.moving.example.com");
        world.apply(&exposed(name, &host, "Ingress")).await;
    }
    for (name, exposures) in [("slowly", &["Both", "HTTPRoute"][..]), ("directly", &["HTTPRoute"])] {
        let host = format!("{name}.moving.example.com");
        world.until_started(name).await;
        let mut ingress = world.record::<Ingress>(name).await;
        let mut route = world.record::<HttpRoute>(name).await;
        let mut gateway = world.record::<ApiGateway>(name).await;
        world.patch(name, expose(exposures[0])).await;
        until_routed(&world, name, &host).await;
        let waits = world.until_condition(name, condition::READY, "False", "RouteNotAnswered").await;
        assert!(is_true(&waits, condition::AVAILABLE), "by its Ingress");
        assert!(world.api::<Ingress>().get_opt(name).await.unwrap().is_some(), "the old one stays");
        world.set_route_verdicts(name, &[ACCEPTED]).await;
        let mut changed = world.until_condition(name, condition::READY, "True", "Started").await;
        for exposure in &exposures[1..] {
            assert!(world.api::<Ingress>().get_opt(name).await.unwrap().is_some());
            changed = world.patch(name, expose(exposure)).await;
        }
        let ready = world.until_ready_again(&changed).await;

        let gone = ingress.first("its end", |version| version.deleted).await.revision();
        let leads = |route: &HttpRoute| {
            hosts(route).contains(&host.as_str())
                && route.parents().iter().all(|parent| parent.verdict == children::Verdict::Accepted)
        };
        let accepted = route.first("accepted", |version| leads(&version.object)).await.revision();
        assert!(accepted < gone, "{name}: the Ingress went at {gone}, and the route was accepted at {accepted}");
        let last = world.api::<HttpRoute>().get(name).await.unwrap();
        let after = route.up_to(&last).await;
        let revision = |route: &HttpRoute| route.metadata.resource_version.as_ref().unwrap().parse::<u64>().unwrap();
        assert!(after.iter().all(|route| revision(route) < accepted || leads(route)), "it led there ever since");
        for version in gateway.up_to(&ready).await {
            assert!(is_true(&version, condition::AVAILABLE), "{:?}", version.status);
        }
    }
    // The move back to an Ingress works, too.
    world.patch("slowly", expose("Ingress")).await;
    world.until_gone::<HttpRoute>("slowly").await;
    assert!(world.api::<Ingress>().get_opt("slowly").await.unwrap().is_some());
}

#[tokio::test]
async fn a_gateway_attaches_its_route_where_operator_and_namespace_allow_it_and_by_default_to_the_operators() {
    let world = World::with_routes("attached").await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let annotate = async |list: Value| {
        let patch = json!({ "metadata": { "annotations": { "phasegate.dev/allowed-parent-refs": list } } });
        namespaces.patch(&world.namespace, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    };
    annotate(json!("infra/public, ./*")).await;
    let flags = ["--default-parent-refs", "infra/public/https", "--allowed-parent-refs", "./public,infra/*"];
    let _operator = world.operator_with(&flags);
    let _controller = world.accepts_routes();
    let named = |name: &str, parents: Value| {
        let mut gateway = exposed(name, &format!("{name}.attached.example.com"), "HTTPRoute");
        gateway["spec"]["parentRefs"] = parents;
        gateway
    };
    world.apply(&named("default", json!([]))).await;
    world.apply(&named("own", json!([{ "name": "public" }]))).await;
    world.apply(&named("flag", json!([{ "namespace": "other", "name": "public" }]))).await;
    world.apply(&named("annotation", json!([{ "namespace": "infra", "name": "private" }]))).await;

    world.until_started("default").await;
    let route: HttpRoute = world.api().get("default").await.unwrap();
    let parent = &route.spec.unwrap()["parentRefs"][0];
    assert_eq!([&parent["namespace"], &parent["name"], &parent["sectionName"]], ["infra", "public", "https"]);
    world.until_started("own").await;
    for (name, words) in [
        (
            "flag",
            "spec.parentRefs[0] \"other/public\" is not allowed: the operator flag --allowed-parent-refs allows only \
             ./public, infra/*",
        ),
        (
            "annotation",
            "spec.parentRefs[0] \"infra/private\" is not allowed: the namespace annotation phasegate.dev/allowed-parent-refs",
        ),
    ] {
        let held = world.until_condition(name, condition::STALLED, "True", "ParentRefNotAllowed").await;
        assert_eq!(path(&held), ["Created/Running ParentRefNotAllowed"]);
        let told = message(&held, condition::STALLED);
        assert!(told.starts_with(words), "{told}");
        assert!(world.api::<HttpRoute>().get_opt(name).await.unwrap().is_none());
    }
    annotate(Value::Null).await;
    world.until_started("annotation").await;
}

#[tokio::test]
async fn a_route_is_put_right_and_goes_first_in_a_stop_and_nothing_of_it_is_left() {
    let world = World::with_routes("upkeep").await;
    let host = "shop.upkeep.example.com";
    let _operator = world.operator();
    let _controller = world.accepts_routes();
    world.apply(&exposed("shop", host, "Both")).await;
    world.until_started("shop").await;

    let edit =
        json!({ "spec": { "hostnames": ["theirs.example.com"], "rules": [{ "timeouts": { "request": "1s" } }] } });
    world.patch_object::<HttpRoute>("shop", edit).await;
    let route = until_routed(&world, "shop", host).await;
    let spec = route.spec.unwrap();
    assert_eq!(spec["rules"][0].get("timeouts"), None, "what nobody desires goes");
    assert_eq!(spec["rules"][0]["backendRefs"][0]["name"], "shop");
    world.until_event("shop", "DriftRepaired").await;
    let before: HttpRoute = world.api().get("shop").await.unwrap();
    world.api::<HttpRoute>().delete("shop", &DeleteParams::default()).await.unwrap();
    world.until("shop", "made anew", |route: &HttpRoute| route.metadata.uid != before.metadata.uid).await;
    world.until_condition("shop", condition::READY, "True", "Started").await;

    let mut route = world.record::<HttpRoute>("shop").await;
    let mut ingress = world.record::<Ingress>("shop").await;
    let mut service = world.record::<Service>("shop").await;
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    let gone = [
        route.first("its end", |version| version.deleted).await.revision(),
        ingress.first("its end", |version| version.deleted).await.revision(),
    ];
    let service = service.first("its end", |version| version.deleted).await.revision();
    assert!(gone.iter().all(|gone| *gone < service), "{gone:?} and the Service at {service}");

    world.patch("shop", json!({ "spec": { "state": "Running" } })).await;
    world.until_started("shop").await;
    world.delete("shop").await;
    world.until_gone::<HttpRoute>("shop").await;
    world.until_nothing_is_left().await;
}

#[tokio::test]
async fn a_route_of_somebody_else_is_not_touched_and_the_name_is_had_when_it_goes() {
    let world = World::with_routes("foreign").await;
    let theirs = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "shop" },
        "spec": { "hostnames": ["theirs.foreign.example.com"], "parentRefs": [{ "name": "public" }] },
    });
    let theirs: HttpRoute = world.create(theirs).await;
    let _operator = world.operator();
    world.apply(&exposed("shop", "shop.foreign.example.com", "HTTPRoute")).await;
    let held = world.until_condition("shop", condition::STALLED, "True", "NameTaken").await;
    assert!(message(&held, condition::STALLED).contains("HTTPRoute \"shop\" already exists and belongs to"));
    let now: HttpRoute = world.api().get("shop").await.unwrap();
    assert_eq!(now.metadata.resource_version, theirs.metadata.resource_version);

    world.api::<HttpRoute>().delete("shop", &DeleteParams::default()).await.unwrap();
    let _controller = world.accepts_routes();
    world.until_started("shop").await;
    assert_eq!(hosts(&world.api().get("shop").await.unwrap()), ["shop.foreign.example.com"]);
}

#[tokio::test]
async fn a_gateway_without_exposure_routes_and_holds_no_host() {
    let world = World::new("unexposed").await;
    let host = "shop.unexposed.example.com";
    world.create::<Environment>(environment("dev", "shop", Some("dev.unexposed.example.com"))).await;
    let _operator = world.operator();
    world.apply(&exposed("shop", host, "Ingress")).await;
    world.until_started("shop").await;
    world.until("dev", "Active", is_active).await;
    world.apply(&exposed("next", host, "Ingress")).await;
    world.until_condition("next", condition::STALLED, "True", "HostTaken").await;

    let changed = world.patch("shop", expose("None")).await;
    let ready = world.until_ready_again(&changed).await;
    let status = ready.status.unwrap();
    assert_eq!((status.url, status.hosts.len()), (None, 0));
    world.until_gone::<Ingress>("shop").await;
    world.until_started("next").await;
    world
        .until("dev", "Active, and without a host", |dev: &Environment| {
            is_active(dev) && dev.status.as_ref().unwrap().hosts.is_empty()
        })
        .await;
}
