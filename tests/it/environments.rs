//! Environments become active with their gateway and inactive with it, and each is routed.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::DeleteParams;
use phasegate::api::{ApiGateway, Environment, Phase, State, condition};
use serde_json::json;

use crate::harness::{World, environment, gateway, is_active, is_true, path};

#[tokio::test]
async fn environments_become_active_when_their_gateway_starts_and_only_after_their_rule_is_stored() {
    let world = World::new("envs").await;
    let _operator = world.operator();
    world.create::<Environment>(environment("dev", "shop", None)).await;
    world.create::<Environment>(environment("prod", "shop", Some("prod.envs.example.com"))).await;
    world.create::<Environment>(environment("test", "shop", Some("test.envs.example.com"))).await;
    // The gateway does not exist yet.
    for name in ["dev", "prod", "test"] {
        until_inactive(&world, name, "GatewayNotFound").await;
    }
    let mut ingresses = world.record::<Ingress>("shop").await;
    let mut prods = world.record::<Environment>("prod").await;
    let mut shops = world.record::<ApiGateway>("shop").await;

    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": "envs.example.com" }))).await;

    let shop = world.until_started("shop").await;
    assert_eq!(path(&shop), ["Starting/Running StartRequested", "Started/Running Started"]);
    assert_eq!(shop.status.as_ref().unwrap().url.as_deref(), Some("http://envs.example.com/"));
    for name in ["dev", "prod", "test"] {
        let one: Environment = world.api().get(name).await.unwrap();
        assert!(is_active(&one), "{one:?}");
        assert!(one.status.unwrap().activated_at.is_some());
    }
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    let hosts = ["envs.example.com", "prod.envs.example.com", "test.envs.example.com"];
    assert_eq!(routed(&ingress), hosts);
    let rule = ingresses.first("with prod's rule", |ingress| routed(&ingress.object).contains(&hosts[1].into())).await;
    let active = prods.first("Active", |prod| is_active(&prod.object)).await;
    let started = shops
        .first("Started", |shop| shop.object.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Started)))
        .await;
    assert!(rule.revision() < active.revision() && active.revision() < started.revision());
    until_counted(&world, "shop", 3, 3).await;
}

#[tokio::test]
async fn an_environment_added_to_a_started_gateway_becomes_active_without_another_attempt() {
    let world = World::new("env-added").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": "env-added.example.com" }))).await;
    let before = world.until_started("shop").await;
    let mut ingresses = world.record::<Ingress>("shop").await;

    world.create::<Environment>(environment("dev", "shop", None)).await;
    world.create::<Environment>(environment("prod", "shop", Some("prod.env-added.example.com"))).await;

    until_active(&world, "dev").await;
    let mut prods = world.record::<Environment>("prod").await;
    until_active(&world, "prod").await;
    let prod = prods.first("Active", |prod| is_active(&prod.object)).await;
    let rule = ingresses.first("routed", |ingress| routed(&ingress.object).len() == 2).await;
    assert!(rule.revision() < prod.revision());
    let shop = until_counted(&world, "shop", 2, 2).await;
    assert_eq!(shop.status.unwrap().history, before.status.unwrap().history);
}

#[tokio::test]
async fn an_environment_added_to_a_stopped_gateway_stays_inactive_until_the_gateway_starts() {
    let world = World::new("env-stopped").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;

    world.create::<Environment>(environment("dev", "shop", Some("dev.env-stopped.example.com"))).await;

    let dev = until_inactive(&world, "dev", "GatewayNotStarted").await;
    assert_eq!(says(&dev, condition::STALLED).0, "False");
    until_counted(&world, "shop", 0, 1).await;
    assert_eq!(world.children().await, Vec::<String>::new());
    world.patch("shop", json!({ "spec": { "state": "Running" } })).await;
    until_active(&world, "dev").await;
}

#[tokio::test]
async fn stopping_the_gateway_makes_environments_inactive_after_the_ingress_is_gone_and_starting_brings_them_back() {
    let world = World::new("env-stop").await;
    let _operator = world.operator();
    world.create::<Environment>(environment("dev", "shop", None)).await;
    world.create::<Environment>(environment("prod", "shop", Some("prod.env-stop.example.com"))).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": "env-stop.example.com" }))).await;
    world.until_started("shop").await;
    all_active(&world, &["dev", "prod"]).await;
    let mut ingresses = world.record::<Ingress>("shop").await;
    let mut devs = world.record::<Environment>("dev").await;
    let mut deployments = world.record::<Deployment>("shop").await;

    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;

    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    for name in ["dev", "prod"] {
        let one = until_inactive(&world, name, "GatewayNotStarted").await;
        assert_eq!(one.status.unwrap().activated_at, None);
    }
    let gone = ingresses.first("deleted", |ingress| ingress.deleted).await;
    let inactive = devs.first("Inactive", |dev| !is_active(&dev.object)).await;
    let removed = deployments.first("deleted", |deployment| deployment.deleted).await;
    assert!(gone.revision() < inactive.revision() && inactive.revision() < removed.revision());
    until_counted(&world, "shop", 0, 2).await;

    world.patch("shop", json!({ "spec": { "state": "Running" } })).await;
    world.until_started("shop").await;
    until_active(&world, "dev").await;
    until_active(&world, "prod").await;
    until_counted(&world, "shop", 2, 2).await;
}

#[tokio::test]
async fn environments_of_a_gateway_that_times_out_were_never_active() {
    let world = World::new("env-timeout").await;
    let _operator = world.operator();
    world.create::<Environment>(environment("dev", "shop", None)).await;
    let mut devs = world.record::<Environment>("dev").await;
    world.apply(&gateway("shop", json!({ "image": "acme/unpullable:1", "startDeadline": "3s" }))).await;

    world.until_phase("shop", Phase::Stopped, State::Stopped).await;

    let dev = until_inactive(&world, "dev", "GatewayNotStarted").await;
    assert!(!devs.up_to(&dev).await.iter().any(is_active));
    world.patch("shop", json!({ "spec": { "image": "acme/gateway:1", "startDeadline": "1m" } })).await;
    until_active(&world, "dev").await;
}

#[tokio::test]
async fn an_environment_whose_host_is_taken_holds_nobody_up_and_becomes_active_when_the_host_frees() {
    let world = World::new("env-taken").await;
    let _operator = world.operator();
    world.apply(&gateway("other", json!({ "image": "acme/gateway:1", "host": "taken.env-taken.example.com" }))).await;
    world.until_started("other").await;
    world.create::<Environment>(environment("good", "shop", Some("good.env-taken.example.com"))).await;
    world.create::<Environment>(environment("late", "shop", Some("taken.env-taken.example.com"))).await;

    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;

    world.until_started("shop").await;
    let late = until_inactive(&world, "late", "HostTaken").await;
    assert_eq!(says(&late, condition::STALLED), ("True".to_owned(), "HostTaken".to_owned()));
    assert_eq!(late.status.unwrap().hosts, []);
    until_active(&world, "good").await;
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(routed(&ingress), ["good.env-taken.example.com"]);
    let shop = until_counted(&world, "shop", 1, 2).await;
    assert!(is_true(&shop, condition::READY) && !is_true(&shop, condition::STALLED));

    world.delete("other").await;
    let late = until_active(&world, "late").await;
    assert_eq!(says(&late, condition::STALLED).0, "False");
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(routed(&ingress), ["good.env-taken.example.com", "taken.env-taken.example.com"]);
    let shop = until_counted(&world, "shop", 2, 2).await;
    assert_eq!(path(&shop), ["Starting/Running StartRequested", "Started/Running Started"]);
}

#[tokio::test]
async fn a_gateway_waits_for_a_host_that_an_environment_holds() {
    let world = World::new("env-holds").await;
    let _operator = world.operator();
    world.create::<Environment>(environment("prod", "shop", Some("one.env-holds.example.com"))).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    until_active(&world, "prod").await;

    world.apply(&gateway("other", json!({ "image": "acme/gateway:1", "host": "one.env-holds.example.com" }))).await;

    world.until_condition("other", condition::STALLED, "True", "HostTaken").await;
    world.api::<Environment>().delete("prod", &DeleteParams::default()).await.unwrap();
    let other = world.until_started("other").await;
    assert_eq!(other.status.unwrap().attempt.unwrap().number, 1);
}

#[tokio::test]
async fn an_environment_that_changes_its_host_is_routed_under_the_new_one_and_frees_the_old_one() {
    let world = World::new("env-moves").await;
    let _operator = world.operator();
    world.create::<Environment>(environment("prod", "shop", Some("old.env-moves.example.com"))).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    until_active(&world, "prod").await;
    world.create::<Environment>(environment("heir", "shop", Some("old.env-moves.example.com"))).await;
    until_inactive(&world, "heir", "HostTaken").await;

    let host = json!({ "spec": { "host": "new.env-moves.example.com" } });
    let moved = world.patch_object::<Environment>("prod", host).await;

    world
        .until("prod", "Active under its new host", |prod: &Environment| {
            let status = prod.status.as_ref().unwrap();
            is_active(prod)
                && status.observed_generation == moved.metadata.generation
                && status.hosts[0].host == "new.env-moves.example.com"
        })
        .await;
    until_active(&world, "heir").await;
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(routed(&ingress), ["new.env-moves.example.com", "old.env-moves.example.com"]);
}

#[tokio::test]
async fn deleting_the_gateway_makes_environments_inactive_and_creating_it_again_brings_them_back() {
    let world = World::new("env-orphan").await;
    let _operator = world.operator();
    let shop = gateway("shop", json!({ "image": "acme/gateway:1", "host": "env-orphan.example.com" }));
    world.create::<Environment>(environment("dev", "shop", None)).await;
    world.create::<Environment>(environment("prod", "shop", Some("prod.env-orphan.example.com"))).await;
    world.apply(&shop).await;
    world.until_started("shop").await;

    world.delete("shop").await;

    for name in ["dev", "prod"] {
        let one = until_inactive(&world, name, "GatewayNotFound").await;
        assert_eq!(one.status.unwrap().activated_at, None);
    }
    world.until_nothing_is_left().await;
    world.apply(&shop).await;
    world.until_started("shop").await;
    until_active(&world, "dev").await;
    until_active(&world, "prod").await;
}

#[tokio::test]
async fn environments_of_a_gateway_deleted_while_the_operator_was_down_become_inactive_when_it_is_back() {
    let world = World::new("env-down").await;
    let mut operator = world.operator();
    world.create::<Environment>(environment("dev", "shop", None)).await;
    world.create::<Environment>(environment("prod", "shop", Some("prod.env-down.example.com"))).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    all_active(&world, &["dev", "prod"]).await;
    operator.kill();
    world.delete("shop").await;
    world.until_nothing_is_left().await;
    let dev: Environment = world.api().get("dev").await.unwrap();
    assert!(is_active(&dev));

    let _operator = world.operator();

    until_inactive(&world, "dev", "GatewayNotFound").await;
    until_inactive(&world, "prod", "GatewayNotFound").await;
}

/// The gateway was recreated with the same name, and its Ingress does not exist yet.
#[tokio::test]
async fn environments_of_a_gateway_made_again_while_the_operator_was_down_serve_with_the_new_one() {
    let world = World::new("env-again").await;
    let mut operator = world.operator();
    let shop = gateway("shop", json!({ "image": "acme/gateway:1" }));
    world.create::<Environment>(environment("prod", "shop", Some("prod.env-again.example.com"))).await;
    world.apply(&shop).await;
    world.until_started("shop").await;
    operator.kill();
    world.delete("shop").await;
    world.until_nothing_is_left().await;
    world.apply(&shop).await;

    let _operator = world.operator();

    let shop = world.until_started("shop").await;
    until_active(&world, "prod").await;
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(routed(&ingress), ["prod.env-again.example.com"]);
    assert_eq!(Some(&ingress.metadata.owner_references.unwrap()[0].uid), shop.metadata.uid.as_ref());
}

#[tokio::test]
async fn deleting_an_environment_removes_its_rule_and_the_last_one_of_a_hostless_gateway_the_ingress() {
    let world = World::new("env-rule").await;
    let _operator = world.operator();
    world.create::<Environment>(environment("dev", "shop", Some("dev.env-rule.example.com"))).await;
    world.create::<Environment>(environment("prod", "shop", Some("prod.env-rule.example.com"))).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let shop = world.until_started("shop").await;
    all_active(&world, &["dev", "prod"]).await;
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(routed(&ingress), ["dev.env-rule.example.com", "prod.env-rule.example.com"]);
    assert_eq!(shop.status.unwrap().url, None);

    world.api::<Environment>().delete("dev", &DeleteParams::default()).await.unwrap();

    world
        .until("shop", "prod's rule alone", |ingress: &Ingress| routed(ingress) == ["prod.env-rule.example.com"])
        .await;
    until_counted(&world, "shop", 1, 1).await;
    world.api::<Environment>().delete("prod", &DeleteParams::default()).await.unwrap();
    world.until_gone::<Ingress>("shop").await;
    world
        .until("shop", "no environments, ready", |shop: &ApiGateway| {
            shop.status.as_ref().unwrap().environments.is_none() && is_true(shop, condition::READY)
        })
        .await;
}

#[tokio::test]
async fn environments_stay_active_during_a_restart() {
    let world = World::new("env-restart").await;
    let _operator = world.operator();
    world.create::<Environment>(environment("dev", "shop", None)).await;
    world.create::<Environment>(environment("prod", "shop", Some("prod.env-restart.example.com"))).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": "env-restart.example.com" }))).await;
    world.until_started("shop").await;
    all_active(&world, &["dev", "prod"]).await;
    let mut devs = world.record::<Environment>("dev").await;
    let mut prods = world.record::<Environment>("prod").await;

    world.patch("shop", json!({ "spec": { "state": "Restarting" } })).await;
    world.until_phase("shop", Phase::Starting, State::Restarting).await;
    let shop = world.until_started("shop").await;

    let counted = shop.status.unwrap().environments.unwrap();
    assert_eq!((counted.active, counted.total), (2, 2));
    for (recording, name) in [(&mut devs, "dev"), (&mut prods, "prod")] {
        let now = world.api::<Environment>().get(name).await.unwrap();
        assert!(recording.up_to(&now).await.iter().all(is_active), "{name}");
    }
}

#[tokio::test]
async fn an_environment_of_a_gateway_that_is_being_started_waits_for_it() {
    let world = World::new("env-waits").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/never-ready:1" }))).await;
    world.until_phase("shop", Phase::Starting, State::Running).await;

    world.create::<Environment>(environment("dev", "shop", Some("dev.env-waits.example.com"))).await;

    let dev = until_inactive(&world, "dev", "GatewayNotStarted").await;
    assert_eq!(says(&dev, condition::STALLED).0, "False");
    // Its rule exists already: the environment waits only for the gateway.
    world.until("shop", "dev's rule", |ingress: &Ingress| routed(ingress) == ["dev.env-waits.example.com"]).await;
    world.patch("shop", json!({ "spec": { "image": "acme/gateway:1" } })).await;
    world.until_started("shop").await;
    until_active(&world, "dev").await;
}

#[tokio::test]
async fn of_two_environments_of_one_gateway_with_one_host_the_first_is_routed_and_the_second_inherits() {
    let world = World::new("env-two").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    world.create::<Environment>(environment("zeta", "shop", Some("one.env-two.example.com"))).await;
    until_active(&world, "zeta").await;
    world.create::<Environment>(environment("alpha", "shop", Some("one.env-two.example.com"))).await;
    until_inactive(&world, "alpha", "HostTaken").await;
    until_counted(&world, "shop", 1, 2).await;

    world.api::<Environment>().delete("zeta", &DeleteParams::default()).await.unwrap();

    until_active(&world, "alpha").await;
    let shop = until_counted(&world, "shop", 1, 1).await;
    assert_eq!(path(&shop), ["Starting/Running StartRequested", "Started/Running Started"]);
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(routed(&ingress), ["one.env-two.example.com"]);
}

/// A time that is valid in the API server's date format, but out of range.
#[tokio::test]
async fn an_undecodable_environment_disturbs_neither_its_gateway_nor_other_environments() {
    let world = World::new("env-garbled").await;
    world.create::<Environment>(environment("bad", "shop", None)).await;
    let bad = json!({ "status": { "state": "Active", "activatedAt": "9999-12-31T23:59:59.000000-23:59" } });
    let written =
        world.kubectl(&["patch", "agwenv", "bad", "--subresource=status", "--type=merge", "-p", &bad.to_string()]);
    assert!(written.status.success(), "{written:?}");
    world.create::<Environment>(environment("good", "shop", Some("good.env-garbled.example.com"))).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;

    let mut operator = world.operator();

    world.until_started("shop").await;
    until_active(&world, "good").await;
    let events = world.until_event_about("Environment", "bad", "Undecodable").await;
    assert_eq!(events, ["Warning Undecodable"]);
    let stalled = "jsonpath={.status.conditions[?(@.type=='Stalled')].reason}";
    let shown = world.kubectl(&["get", "agwenv", "bad", "-o", stalled]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "Undecodable");
    // A corrected status fixes the environment. A deletion while the operator is down has its effect later.
    let good = json!({ "status": { "activatedAt": null } });
    let written =
        world.kubectl(&["patch", "agwenv", "bad", "--subresource=status", "--type=merge", "-p", &good.to_string()]);
    assert!(written.status.success(), "{written:?}");
    until_active(&world, "bad").await;
    until_counted(&world, "shop", 2, 2).await;
    operator.kill();
    world.api::<Environment>().delete("bad", &DeleteParams::default()).await.unwrap();
    let _operator = world.operator();
    until_counted(&world, "shop", 1, 1).await;
}

/// It is unknown whether such a gateway serves, so the operator leaves its environments unchanged.
#[tokio::test]
async fn environments_of_a_gateway_that_cannot_be_read_or_understood_are_left_as_they_are() {
    let world = World::new("env-unread").await;
    let mut operator = world.operator();
    for name in ["garbled", "future"] {
        world.create::<Environment>(environment(&format!("of-{name}"), name, None)).await;
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1" }))).await;
        world.until_started(name).await;
        until_active(&world, &format!("of-{name}")).await;
    }
    operator.kill();
    let good = world.gateway("garbled").await.status.unwrap().attempt.unwrap().started_at;
    let bad = json!({ "status": { "attempt": { "startedAt": "9999-12-31T23:59:59.000000-23:59" } } });
    world.patch_status("garbled", bad).await;
    world.patch_status("future", json!({ "status": { "phase": "Levitating" } })).await;

    let _operator = world.operator();

    world.until_event("garbled", "Undecodable").await;
    world.until_event("future", "UnknownPhase").await;
    world.create::<Environment>(environment("dev", "shop", None)).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    until_active(&world, "dev").await;
    for name in ["of-garbled", "of-future"] {
        let one: Environment = world.api().get(name).await.unwrap();
        assert!(is_active(&one), "{one:?}");
    }
    world.patch_status("garbled", json!({ "status": { "attempt": { "startedAt": good } } })).await;
    world.patch("garbled", json!({ "spec": { "state": "Stopped" } })).await;
    until_inactive(&world, "of-garbled", "GatewayNotStarted").await;
}

/// While another gateway holds its new host, a gateway keeps its old host, and only that one.
#[tokio::test]
async fn environments_come_and_go_while_their_gateways_new_host_is_taken() {
    let world = World::new("env-frozen").await;
    let _operator = world.operator();
    let on = |host: &str| json!({ "image": "acme/gateway:1", "host": host });
    world.create::<Environment>(environment("dev", "shop", Some("dev.env-frozen.example.com"))).await;
    world.apply(&gateway("live", on("live.env-frozen.example.com"))).await;
    world.apply(&gateway("shop", on("shop.env-frozen.example.com"))).await;
    world.until_started("live").await;
    world.until_started("shop").await;
    world.patch("shop", json!({ "spec": { "host": "live.env-frozen.example.com" } })).await;
    world.until_condition("shop", condition::STALLED, "True", "HostTaken").await;

    world.api::<Environment>().delete("dev", &DeleteParams::default()).await.unwrap();
    world.apply(&gateway("heir", on("dev.env-frozen.example.com"))).await;
    world.until_started("heir").await;

    // Only the holder of a host routes it.
    let own = ["shop.env-frozen.example.com"];
    world.until("shop", "its old host alone", |ingress: &Ingress| routed(ingress) == own).await;
    world.create::<Environment>(environment("prod", "shop", Some("prod.env-frozen.example.com"))).await;
    until_active(&world, "prod").await;
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(routed(&ingress), ["shop.env-frozen.example.com", "prod.env-frozen.example.com"]);
    world.delete("live").await;
    let both = ["live.env-frozen.example.com", "prod.env-frozen.example.com"];
    world.until("shop", "its new host", |ingress: &Ingress| routed(ingress) == both).await;
}

/// Waits until an environment is Active, with a Ready condition that matches.
async fn until_active(world: &World, name: &str) -> Environment {
    world
        .until(name, "Active", |one: &Environment| {
            is_active(one) && says(one, condition::READY) == ("True".to_owned(), "Started".to_owned())
        })
        .await
}

/// Waits until each of these is Active. The operator may see an environment after its gateway, which then starts
/// without it.
async fn all_active(world: &World, names: &[&str]) {
    for name in names {
        until_active(world, name).await;
    }
}

/// Waits until an environment is Inactive for a reason.
async fn until_inactive(world: &World, name: &str, reason: &str) -> Environment {
    world
        .until(name, &format!("Inactive: {reason}"), |one: &Environment| {
            one.status.is_some()
                && !is_active(one)
                && says(one, condition::READY) == ("False".to_owned(), reason.to_owned())
        })
        .await
}

/// Waits until a gateway has these counts of environments.
async fn until_counted(world: &World, name: &str, active: i32, total: i32) -> ApiGateway {
    world
        .until(name, &format!("{active} of {total} environments"), |gateway: &ApiGateway| {
            let counted = gateway.status.as_ref().and_then(|status| status.environments.as_ref());
            counted.is_some_and(|counted| (counted.active, counted.total) == (active, total))
        })
        .await
}

/// A condition's status and reason.
fn says(one: &Environment, type_: &str) -> (String, String) {
    let mut conditions = one.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.find(|condition| condition.type_ == type_);
    found.map(|found| (found.status.clone(), found.reason.clone())).unwrap_or_default()
}

/// The hosts of an Ingress.
fn routed(ingress: &Ingress) -> Vec<String> {
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    rules.filter_map(|rule| rule.host.clone()).collect()
}
