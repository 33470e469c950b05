//! Two tenants of one operator, in two namespaces, cannot take hosts from each other.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use phasegate::api::{ApiGateway, Environment, Phase, State, condition};
use serde_json::{Value, json};

use crate::harness::{
    Operator, World, environment, eventually, file, gateway, is_active, is_true, message, path, root,
};
use crate::plugin::said;

/// Two tenants, and one operator for both.
async fn two(test: &str, flags: &[&str]) -> (World, World, Operator) {
    let one = World::new(test).await;
    let other = one.beside(&format!("{test}-other")).await;
    let operator = serves_both(&one, &other, flags);
    (one, other, operator)
}

fn serves_both(one: &World, other: &World, flags: &[&str]) -> Operator {
    let both = format!("{},{}", one.namespace, other.namespace);
    one.operator_with(&[&["--namespaces", &both], flags].concat())
}

/// A gateway that needs no pod to be Started.
fn on(name: &str, host: &str) -> Value {
    gateway(name, json!({ "image": "acme/gateway:1", "replicas": 0, "host": host }))
}

async fn until_stalled(world: &World, name: &str, reason: &str) -> ApiGateway {
    world.until_condition(name, condition::STALLED, "True", reason).await
}

async fn until_environment(world: &World, name: &str, reason: &str) -> Environment {
    let says = |environment: &Environment| {
        let mut conditions = environment.status.iter().flat_map(|status| &status.conditions);
        conditions.any(|found| found.type_ == condition::READY && found.reason == reason)
    };
    world.until(name, reason, says).await
}

async fn routed(world: &World, name: &str) -> Vec<String> {
    let Some(ingress) = world.api::<Ingress>().get_opt(name).await.unwrap() else { return Vec::new() };
    ingress.spec.unwrap().rules.unwrap().into_iter().filter_map(|rule| rule.host).collect()
}

async fn allow(world: &World, allowed: Option<&str>) {
    let patch = json!({ "metadata": { "annotations": { "phasegate.dev/allowed-hosts": allowed } } });
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.patch(&world.namespace, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn delete_without_waiting<K>(world: &World, name: &str)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    world.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn what_an_admin_forbids_a_namespace_is_not_routed_and_is_others_to_have() {
    let (one, other, _operator) = two("narrowed", &[]).await;
    allow(&one, Some("narrowed.evil.org,narrowed.good.org")).await;
    for (name, host) in [("runs", "runs"), ("stopped", "stopped"), ("suspended", "suspended"), ("owner", "owner")] {
        one.apply(&on(name, &format!("{host}.narrowed.evil.org"))).await;
    }
    one.create::<Environment>(environment("dev", "owner", Some("dev.narrowed.evil.org"))).await;
    for name in ["runs", "stopped", "suspended", "owner"] {
        one.until_started(name).await;
    }
    one.until("dev", "Active", is_active).await;
    one.patch("owner", json!({ "spec": { "host": "owner.narrowed.good.org" } })).await;
    one.patch("stopped", json!({ "spec": { "state": "Stopped" } })).await;
    one.until_phase("stopped", Phase::Stopped, State::Stopped).await;
    one.patch("suspended", json!({ "spec": { "suspend": true } })).await;
    one.until_condition("suspended", condition::READY, "True", "Suspended").await;
    let hosts = ["runs", "stopped", "suspended", "dev"];
    for name in hosts {
        other.apply(&on(name, &format!("{name}.narrowed.evil.org"))).await;
        until_stalled(&other, name, "HostTaken").await;
    }

    allow(&one, Some("narrowed.good.org")).await;

    for name in hosts {
        other.until_started(name).await;
    }
    let runs = until_stalled(&one, "runs", "HostNotAllowed").await;
    assert_eq!(runs.status.as_ref().unwrap().url, None);
    let suspended = until_stalled(&one, "suspended", "HostNotAllowed").await;
    until_environment(&one, "dev", "HostNotAllowed").await;
    one.until_gone::<Ingress>("runs").await;
    one.until_gone::<Ingress>("suspended").await;
    one.until("owner", "only what it may have", |ingress: &Ingress| {
        let rules = ingress.spec.as_ref().unwrap().rules.as_ref().unwrap();
        rules.len() == 1 && rules[0].host.as_deref() == Some("owner.narrowed.good.org")
    })
    .await;
    for claims in [runs, suspended, one.gateway("stopped").await] {
        assert_eq!(claims.status.unwrap().hosts, []);
    }

    // The current holder keeps the host, even if an older claim is allowed again.
    allow(&one, None).await;
    until_stalled(&one, "runs", "HostTaken").await;
    until_environment(&one, "dev", "HostTaken").await;
    for name in hosts {
        assert!(is_true(&other.gateway(name).await, condition::READY), "{name}");
    }
    assert_eq!(routed(&one, "runs").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_wildcard_over_what_another_namespace_has_and_what_is_below_anothers_are_taken() {
    let (one, other, mut operator) = two("covered", &["--keep-released-hosts", "1s"]).await;
    one.apply(&on("bank", "*.covered.bank.example")).await;
    one.apply(&on("shop", "shop.covered.example.com")).await;
    one.apply(&on("hostless", "hostless.covered.example.net")).await;
    one.until_started("bank").await;
    one.until_started("shop").await;
    one.until_started("hostless").await;
    one.create::<Environment>(environment("dev", "hostless", Some("dev.covered.example.org"))).await;
    one.until("dev", "Active", is_active).await;

    other.apply(&on("phish", "login.covered.bank.example")).await;
    other.apply(&on("all", "*.covered.example.com")).await;
    other.apply(&on("org", "*.covered.example.org")).await;
    other.apply(&on("own", "own.covered.example.net")).await;
    other.create::<Environment>(environment("below", "own", Some("a.b.covered.bank.example"))).await;
    for (name, holder) in [
        ("phish", "/bank as \"*.covered.bank.example\""),
        ("all", "/shop as \"shop.covered.example.com\""),
        ("org", "/dev as \"dev.covered.example.org\""),
    ] {
        let taken = until_stalled(&other, name, "HostTaken").await;
        let words = message(&taken, condition::STALLED);
        assert!(words.contains(holder), "{words}");
        assert_eq!(routed(&other, name).await, Vec::<String>::new());
    }
    until_environment(&other, "below", "HostTaken").await;
    assert!(other.api::<Environment>().get("below").await.unwrap().status.unwrap().hosts.is_empty());

    // A new operator reaches the same result.
    operator.end();
    let _operator = serves_both(&one, &other, &["--keep-released-hosts", "1s"]);
    other.patch("all", json!({ "metadata": { "labels": { "seen": "again" } } })).await;
    one.delete("shop").await;
    other.until_started("all").await;
    assert!(is_true(&one.gateway("bank").await, condition::READY));
    until_stalled(&other, "phish", "HostTaken").await;
}

#[tokio::test]
async fn a_gateway_that_is_deleted_and_applied_again_does_not_lose_its_host_to_who_waits_for_it() {
    let (one, other, mut operator) = two("lurker", &["--keep-released-hosts", "8s"]).await;
    let host = "lurker.example.com";
    one.apply(&on("shop", host)).await;
    one.until_started("shop").await;
    other.apply(&on("lurker", host)).await;
    until_stalled(&other, "lurker", "HostTaken").await;

    one.delete("shop").await;
    one.apply(&on("shop", host)).await;
    one.until_started("shop").await;
    assert_eq!(path(&other.gateway("lurker").await), ["Created/Running HostTaken"]);

    // No record shows the earlier holder after a restart of the operator. A gateway with HostTaken comes last.
    operator.end();
    one.delete("shop").await;
    let _operator = serves_both(&one, &other, &["--keep-released-hosts", "8s"]);
    one.apply(&on("shop", host)).await;
    one.until_started("shop").await;

    // The waiting gateway finally claims the host without another change.
    let deleted_at = k8s_openapi::jiff::Timestamp::now();
    one.delete("shop").await;
    let lurker = other.until_started("lurker").await;
    let began = lurker.status.unwrap().attempt.unwrap().started_at.0;
    assert!(began.duration_since(deleted_at).as_secs_f64() >= 7.5, "{deleted_at} to {began}");
}

#[tokio::test]
async fn a_namespace_holds_so_many_hosts_and_no_more_stopped_and_scaled_down_ones_included() {
    let (one, other, _operator) = two("limited", &["--max-hosts-per-namespace", "2"]).await;
    one.apply(&on("first", "first.limited.example.com")).await;
    one.until_started("first").await;
    one.create::<Environment>(environment("dev", "first", Some("dev.limited.example.com"))).await;
    one.until("dev", "Active", is_active).await;
    one.patch("first", json!({ "spec": { "state": "Stopped" } })).await;
    one.until_phase("first", Phase::Stopped, State::Stopped).await;
    one.apply(&on("third", "third.limited.example.com")).await;

    let third = until_stalled(&one, "third", "HostLimitReached").await;
    assert!(message(&third, condition::STALLED).contains("already holds 2"), "{third:?}");
    assert_eq!(path(&third), ["Created/Running HostLimitReached"]);
    assert_eq!(one.until_event("third", "HostLimitReached").await, ["Warning HostLimitReached"]);
    other.apply(&on("third", "third.limited.example.com")).await;
    other.until_started("third").await;
    // A gateway that moves to another host claims no more hosts than before.
    one.patch("first", json!({ "spec": { "state": "Running", "host": "moved.limited.example.com" } })).await;
    one.until("first", "moved", |first: &ApiGateway| {
        first.status.as_ref().unwrap().hosts.iter().any(|claim| claim.host == "moved.limited.example.com")
    })
    .await;

    one.patch("third", json!({ "spec": { "host": "free.limited.example.com" } })).await;
    delete_without_waiting::<Environment>(&one, "dev").await;
    one.until_started("third").await;
}

#[tokio::test]
async fn names_that_the_cluster_uses_itself_are_nobodys_to_have() {
    let world = World::new("reserved").await;
    let _operator = world.operator_with(&["--cluster-domain", "corp.internal"]);
    for host in ["localhost", "a.localhost", "*.localhost", "kubernetes.default.svc", "svc"] {
        let refused = world.apply_as("kubectl", &on("refused", host)).await.unwrap_err().to_string();
        assert!(refused.contains("spec.host: Invalid value") && refused.contains("localhost or svc"), "{refused}");
        let named = serde_json::from_value(environment("refused", "shop", Some(host))).unwrap();
        let refused = world.api::<Environment>().create(&PostParams::default(), &named).await.unwrap_err().to_string();
        assert!(refused.contains("spec.host: Invalid value") && refused.contains("localhost or svc"), "{refused}");
    }
    for (name, host) in [("api", "kubernetes.default.svc.corp.internal"), ("wild", "*.internal")] {
        world.apply(&on(name, host)).await;
        let refused = until_stalled(&world, name, "HostNotAllowed").await;
        assert!(message(&refused, condition::STALLED).contains("\"corp.internal\""), "{refused:?}");
        assert_eq!(refused.status.unwrap().hosts, []);
    }
    world.apply(&on("fine", "svc.reserved.example.com")).await;
    world.until_started("fine").await;
}

#[tokio::test]
async fn a_wildcard_over_a_single_label_waits_until_the_annotation_names_it() {
    let world = World::new("zone").await;
    let zone = world.namespace.clone();
    let _operator = world.operator();
    world.apply(&on("wide", &format!("*.{zone}"))).await;
    world.create::<Environment>(environment("dev", "shop", Some(&format!("*.x{zone}")))).await;
    world.apply(&on("shop", &format!("shop.{zone}"))).await;
    world.until_started("shop").await;
    let refused = until_stalled(&world, "wide", "HostNotAllowed").await;
    assert!(message(&refused, condition::STALLED).contains("top-level domain"), "{refused:?}");
    assert_eq!(refused.status.unwrap().hosts, []);
    let refused = until_environment(&world, "dev", "HostNotAllowed").await;
    assert_eq!(refused.status.unwrap().hosts, []);

    // An entry that is not a host name allows nothing, and the message reports that.
    allow(&world, Some(&format!("*.*, shop.{zone}"))).await;
    let told = |gateway: &ApiGateway| {
        message(gateway, condition::STALLED).contains("the entry \"*.*\" is invalid and allows nothing")
    };
    world.until("wide", "told of the entry", told).await;
    allow(&world, Some(&zone)).await;
    world.until_started("wide").await;
}

#[tokio::test]
async fn where_hosts_need_permission_a_namespace_has_those_that_it_was_given() {
    let world = World::new("permission").await;
    let _operator = world.operator_with(&["--hosts-need-permission"]);
    world.apply(&on("shop", "shop.permission.example.com")).await;
    world.apply(&gateway("hostless", json!({ "image": "acme/gateway:1", "replicas": 0 }))).await;
    world.create::<Environment>(environment("dev", "hostless", Some("dev.permission.example.com"))).await;
    world.until_started("hostless").await;
    let refused = until_stalled(&world, "shop", "HostNotAllowed").await;
    let words = message(&refused, condition::STALLED);
    assert!(words.contains("may claim no hosts") && words.contains("phasegate.dev/allowed-hosts"), "{words}");
    until_environment(&world, "dev", "HostNotAllowed").await;

    allow(&world, Some("permission.example.com")).await;
    world.until_started("shop").await;
    world.until("dev", "Active", is_active).await;
}

#[tokio::test]
async fn a_gateway_that_somebodys_finalizer_holds_is_stopped_and_gives_up_its_host() {
    let (one, other, _operator) = two("held", &["--keep-released-hosts", "1s"]).await;
    let mut held = gateway("held", json!({ "image": "acme/gateway:1", "host": "held.example.com" }));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    one.apply(&held).await;
    let mut dev = environment("dev", "keeps", Some("dev.held.example.com"));
    dev["metadata"]["finalizers"] = json!(["example.com/hold"]);
    one.apply(&on("keeps", "keeps.held.example.com")).await;
    one.create::<Environment>(dev).await;
    one.until_started("held").await;
    one.until("dev", "Active", is_active).await;
    for (name, host) in [("gateways", "held.example.com"), ("environments", "dev.held.example.com")] {
        other.apply(&on(name, host)).await;
        until_stalled(&other, name, "HostTaken").await;
    }

    delete_without_waiting::<ApiGateway>(&one, "held").await;
    delete_without_waiting::<Environment>(&one, "dev").await;

    other.until_started("gateways").await;
    other.until_started("environments").await;
    assert_eq!(routed(&one, "keeps").await, ["keeps.held.example.com"]);
    let waits = |held: &ApiGateway| {
        message(held, condition::READY).contains("finalizers of other controllers: example.com/hold")
    };
    let held = one.until("held", "that it waits for others", waits).await;
    let status = held.status.unwrap();
    assert_eq!((status.phase, status.hosts), (Some(Phase::Deleting), vec![]));
    let children = one.children().await;
    assert!(!children.iter().any(|child| child.ends_with(" held")), "{children:?}");
    until_environment(&one, "dev", "Deleting").await;

    one.patch("held", json!({ "metadata": { "finalizers": null } })).await;
    one.until_gone::<ApiGateway>("held").await;
    let free: Environment = one.patch_object("dev", json!({ "metadata": { "finalizers": null } })).await;
    one.until_gone::<Environment>(&free.name_any()).await;
}

#[tokio::test]
async fn the_samples_role_lets_the_people_of_a_tenant_run_gateways_and_nothing_else() {
    let world = World::new("role").await;
    let _operator = world.operator();
    let sample = std::fs::read_to_string(root().join("deploy/samples/tenant/role.yaml")).unwrap();
    let to_group = "kind: Group\n    name: phasegate-demo-developers";
    assert!(sample.contains(to_group), "{sample}");
    let to_person = sample.replace(to_group, "kind: User\n    name: tina").replace("phasegate-demo", &world.namespace);
    let role = file("tenants", "role.yaml", &to_person).unwrap();
    let applied = world.kubectl(&["apply", "--validate=strict", "-f", role.to_str().unwrap()]);
    assert!(applied.status.success(), "{applied:?}");
    let person = ["--as=tina"];
    let may = |what: &[&str]| world.kubectl(&[&["auth", "can-i"], what, &person].concat()).status.success();
    let granted = async || may(&["create", "apigateways"]).then_some(());
    assert!(eventually(Duration::from_millis(200), granted).await.is_some(), "the role takes no effect");

    let shop = gateway("shop", json!({ "image": "acme/gateway:1" })).to_string();
    let shop = file("tenants", "shop.json", &shop).unwrap();
    let created = world.kubectl(&[&["create", "-f", shop.to_str().unwrap()], &person[..]].concat());
    assert!(created.status.success(), "{created:?}");
    for arguments in [&["wait", "shop", "--for", "available"][..], &["restart", "shop", "--wait"]] {
        said(&world, &[arguments, &person].concat()).await.ok();
    }
    let status = said(&world, &[&["status", "shop"], &person[..]].concat()).await.ok();
    assert!(status.contains("Deployment shop") && !status.contains("may not"), "{status}");
    let scaled = world.kubectl(&[&["scale", "agw", "shop", "--replicas=2"], &person[..]].concat());
    assert!(scaled.status.success(), "{scaled:?}");
    said(&world, &[&["stop", "shop", "--wait"], &person[..]].concat()).await.ok();

    for refused in [
        &["get", "secrets"][..],
        &["create", "pods"],
        &["get", "pods", "--subresource=log"],
        &["create", "pods", "--subresource=exec"],
        &["delete", "deployments"],
        &["update", "apigateways", "--subresource=status"],
        &["update", "ingresses"],
    ] {
        assert!(!may(refused), "{refused:?} is granted");
    }
}
