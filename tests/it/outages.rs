//! The operator reports any failure of the API server, its storage or the connection, retries, and recovers
//! automatically.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt};
use phasegate::api::{ApiGateway, Phase, State, condition};
use serde_json::json;

use crate::harness::cluster::{Cluster, RUN_LABEL, operator_account, run_id};
use crate::harness::components::{Component, compact, until_ready};
use crate::harness::{Fault, Fleet, Health, Operator, Proxy, World, gateway, path, private_world, private_world_on};

/// The number of kinds that the operator watches.
const WATCHES: usize = 8;

/// An operator that reaches the API server through a proxy.
async fn behind_proxy(world: &World, flags: &[&str]) -> (Proxy, Operator) {
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let operator = world.operator_as(proxy.kubeconfig(), flags);
    (proxy, operator)
}

#[tokio::test]
async fn an_operator_that_is_there_before_the_api_server_and_its_definitions_begins_when_they_appear() {
    let world = private_world_on("absent", Cluster::private).await;
    let down = Component::of(&world.cluster, "kube-apiserver").take_down().await;
    let health = Health::reserve();

    let _operator = world.operator_with(&["--http-bind", &health.address()]);

    health.until("/readyz", 503, &["API server"]).await;
    health.until("/livez", 200, &[]).await;

    drop(down);
    until_ready(&world.client).await;
    health.until_only_wrong("/readyz", &["failed to watch apigateways", "failed to watch environments"]).await;
    health.until("/readyz", 503, &["crds"]).await;

    world.cluster.install_crds().unwrap();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let shop = world.until_started("shop").await;
    assert_eq!(path(&shop), ["Starting/Running StartRequested", "Started/Running Started"]);
    health.until("/readyz", 200, &["ok"]).await;
}

#[tokio::test]
async fn an_api_server_that_is_down_for_a_minute_in_a_burst_costs_no_gateway_its_start() {
    const GATEWAYS: usize = 60;
    let world = private_world("minute").await;
    let health = Health::reserve();
    let _operator = world.operator_with(&["--http-bind", &health.address()]);
    health.until("/readyz", 200, &["ok"]).await;
    // The scheduler needs up to a minute longer to recover. With the outage, a start takes two and a half minutes.
    let fleet = Fleet::apply(&world, "gw", GATEWAYS, json!({ "startDeadline": "240s" })).await;
    // Some gateways serve, some are starting, some wait.
    fleet.until_transitions(20).await;

    let down = Component::of(&world.cluster, "kube-apiserver").take_down().await;
    let since = Instant::now();
    health.until("/readyz", 503, &["API server"]).await;
    tokio::time::sleep(Duration::from_secs(60).saturating_sub(since.elapsed())).await;
    health.until("/livez", 200, &[]).await;
    drop(down);
    until_ready(&world.client).await;

    fleet.until_all_started_once().await;
    fleet.assert_children_are_theirs().await;
    health.until("/readyz", 200, &["ok"]).await;
}

/// The storage is unavailable for longer than a start's deadline, in the middle of a burst. The API server stays
/// available and serves requests that need no storage.
async fn a_burst_without_a_store<T>(name: &str, store_away: impl AsyncFnOnce(&Component<'_>) -> T) {
    const GATEWAYS: usize = 40;
    const AWAY: Duration = Duration::from_secs(121);
    let world = private_world(name).await;
    let health = Health::reserve();
    let _operator = world.operator_with(&["--http-bind", &health.address()]);
    health.until("/readyz", 200, &["ok"]).await;
    let fleet = Fleet::apply(&world, "gw", GATEWAYS, json!({ "startDeadline": "120s" })).await;
    fleet.until_transitions(20).await;

    let away = store_away(&Component::of(&world.cluster, "etcd")).await;
    let since = Instant::now();
    health.until("/readyz", 503, &["etcd has been unreachable"]).await;
    tokio::time::sleep(AWAY.saturating_sub(since.elapsed())).await;
    drop(away);
    until_ready(&world.client).await;
    // With leader election, controllers exit when they cannot renew their Lease, and are started again. Those of the
    // tests have none, and would list again after up to a minute, which is half of the deadline. The simulated node may
    // miss pods after an outage, which no kubelet does.
    for name in ["kube-controller-manager", "kube-scheduler", "kwok"] {
        Component::of(&world.cluster, name).restart().await;
    }

    fleet.until_all_started_once().await;
    health.until("/readyz", 200, &["ok"]).await;
    let log = world.operator_log();
    for false_alarm in ["AdmissionRefused", "was refused", "ClusterUnavailable", "WriteUnanswered"] {
        assert!(!log.contains(false_alarm), "the log speaks of {false_alarm}");
    }
    let events = world.kubectl(&["get", "events", "--field-selector", "type=Warning", "-o", "json"]);
    let events: serde_json::Value = serde_json::from_slice(&events.stdout).unwrap();
    let ours = events["items"].as_array().unwrap().iter().filter(|event| event["reportingComponent"] == "phasegate");
    let told: Vec<_> = ours.map(|event| format!("{}: {}", event["reason"], event["message"])).collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[tokio::test]
async fn a_store_that_stands_still_in_a_burst_costs_no_gateway_its_start() {
    a_burst_without_a_store("store-frozen", async |etcd| etcd.freeze()).await;
}

#[tokio::test]
async fn a_store_that_is_down_in_a_burst_costs_no_gateway_its_start() {
    a_burst_without_a_store("store-down", async |etcd| etcd.take_down().await).await;
}

/// Injects a fault this many times into all requests of the operator, from its first list on, and later only into its
/// writes.
async fn a_burst_through(name: &str, fault: Fault) {
    const GATEWAYS: usize = 20;
    let world = World::new(name).await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let mut lists = proxy.when(fault, |asked| !asked.is_write());
    let _operator = world.operator_as(proxy.kubeconfig(), &[]);
    lists.caught(2 * WATCHES).await;
    drop(lists);
    let mut writes = proxy.when(fault, |asked| asked.is_write());
    let fleet = Fleet::apply(&world, "gw", GATEWAYS, json!({})).await;
    writes.caught(2 * GATEWAYS).await;
    drop(writes);

    fleet.until_all_started_once().await;
    fleet.assert_children_are_theirs().await;
}

#[tokio::test]
async fn an_api_server_that_asks_to_be_left_alone_for_a_day_is_asked_again_much_sooner() {
    a_burst_through("busy", Fault::TryAgainAfter(86_400)).await;
}

#[tokio::test]
async fn an_api_server_that_fails_for_a_while_changes_nothing_about_the_end() {
    a_burst_through("fails", Fault::Answer(500)).await;
}

#[tokio::test]
async fn an_api_server_that_is_too_slow_for_a_while_changes_nothing_about_the_end() {
    a_burst_through("slow", Fault::Answer(504)).await;
}

#[tokio::test]
async fn writes_that_were_carried_out_and_reported_as_failed_are_not_done_twice() {
    a_burst_through("afterwards", Fault::AnswerAfterwards(504)).await;
}

#[tokio::test]
async fn connections_that_break_for_a_while_change_nothing_about_the_end() {
    a_burst_through("breaks", Fault::Cut).await;
}

/// The reservation of a host ends when the write of its claim fails. That requeues others, and not the gateway itself.
#[tokio::test]
async fn a_claim_of_a_host_that_cannot_be_written_is_retried_with_backoff() {
    let world = World::new("unwritten").await;
    let (proxy, _operator) = behind_proxy(&world, &[]).await;
    let mut failing =
        proxy.when(Fault::Answer(500), |asked| asked.is_of("apigateways") && asked.subresource == "status");
    let since = Instant::now();
    let host = format!("{}.example.com", world.namespace);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": host }))).await;
    failing.caught(7).await;
    // The six delays between them are 0.1 s and twice as long each time.
    assert!(since.elapsed() >= Duration::from_secs(6), "{:?}", since.elapsed());
    drop(failing);

    world.until_started("shop").await;
}

/// The operator's ServiceAccount lacks one verb, which is granted while the operator runs.
#[tokio::test]
async fn a_permission_that_is_missing_is_named_and_work_begins_when_it_is_granted() {
    let world = World::new("forbidden").await;
    let roles: Api<ClusterRole> = Api::all(world.client.clone());
    let granted = roles.get(&operator_account()).await.unwrap().rules.unwrap();
    let mut missing = granted.clone();
    for rule in &mut missing {
        if rule.resources.iter().flatten().any(|resource| resource == "deployments") {
            rule.verbs.retain(|verb| verb != "list");
        }
    }
    assert_ne!(missing, granted);
    let name = world.namespace.as_str();
    let metadata = json!({ "name": name, "labels": { RUN_LABEL: run_id() } });
    let create = PostParams::default();
    let role = json!({ "metadata": metadata, "rules": missing });
    roles.create(&create, &serde_json::from_value(role).unwrap()).await.unwrap();
    world.create::<ServiceAccount>(json!({ "metadata": { "name": "lacking" } })).await;
    for role in [name.to_owned(), format!("{}-namespaces", operator_account())] {
        let binding = json!({
            "metadata": { "name": format!("{name}-{role}"), "labels": { RUN_LABEL: run_id() } },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": "lacking", "namespace": name }],
        });
        let bindings: Api<ClusterRoleBinding> = Api::all(world.client.clone());
        bindings.create(&create, &serde_json::from_value(binding).unwrap()).await.unwrap();
    }
    let kubeconfig = world.cluster.operator_kubeconfig().with_file_name(format!("{name}.kubeconfig"));
    world.cluster.write_account_kubeconfig(name, "lacking", &kubeconfig).unwrap();
    let health = Health::reserve();

    let _operator = world.operator_as(&kubeconfig, &["--http-bind", &health.address()]);

    health.until_only_wrong("/readyz", &["failed to watch deployments"]).await;
    health.until("/readyz", 503, &["forbidden", "list"]).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;

    let mut role = roles.get(name).await.unwrap();
    role.rules = Some(granted);
    roles.replace(name, &create, &role).await.unwrap();

    world.until_started("shop").await;
    health.until("/readyz", 200, &["ok"]).await;
}

/// The first response of a watch from a revision is 410 Gone.
async fn is_gone<K>(api: &Api<K>, revision: &str) -> bool
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    use futures::StreamExt;
    match api.watch(&WatchParams::default().timeout(5), revision).await {
        Ok(events) => match Box::pin(events).next().await {
            Some(Ok(WatchEvent::Error(status))) => status.code == 410,
            _ => false,
        },
        Err(kube::Error::Api(status)) => status.code == 410,
        Err(_) => false,
    }
}

/// The API server loses its history too: the restart empties its watch cache.
#[tokio::test]
async fn what_happened_while_the_watches_were_away_is_not_lost_with_the_stores_history() {
    let world = private_world("compacted").await;
    let (proxy, _operator) = behind_proxy(&world, &[]).await;
    for name in ["edited", "deleted", "bare"] {
        let host = format!("{name}.compacted.example.com");
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1", "host": host }))).await;
    }
    for name in ["edited", "deleted", "bare"] {
        world.until_started(name).await;
    }
    let before =
        world.api::<ApiGateway>().list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();

    let mut away = proxy.when(Fault::Cut, |asked| matches!(asked.verb, "list" | "watch"));
    away.caught(WATCHES).await;
    world.delete("deleted").await;
    world.api::<Service>().delete("bare", &Default::default()).await.unwrap();
    world.patch("edited", json!({ "spec": { "state": "Stopped" } })).await;
    // The new gateway claims the host of a deleted one.
    let host = "deleted.compacted.example.com";
    let new = world.apply(&gateway("new", json!({ "image": "acme/gateway:1", "host": host }))).await;
    compact(&world.cluster, &new.resource_version().unwrap()).await;
    Component::of(&world.cluster, "kube-apiserver").restart().await;
    until_ready(&world.client).await;
    assert!(is_gone(&world.api::<ApiGateway>(), &before).await, "the past is still served");
    let lists = proxy.count(|asked| asked.verb == "list");
    drop(away);

    let started = world.until_started("new").await;
    assert_eq!(path(&started), ["Starting/Running StartRequested", "Started/Running Started"]);
    world.until_phase("edited", Phase::Stopped, State::Stopped).await;
    world.until::<Service>("bare", "there again", |_| true).await;
    assert!(proxy.count(|asked| asked.verb == "list") > lists, "nothing was listed anew");
}

/// The only sign of such a dead connection is that no data arrives.
#[tokio::test]
async fn watches_that_fall_silent_are_noticed_and_what_happened_meanwhile_is_made_up_for() {
    let world = World::new("half-open").await;
    let (proxy, _operator) = behind_proxy(&world, &[]).await;
    world.apply(&gateway("before", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("before").await;

    let mut silence = proxy.when(Fault::Mute, |asked| asked.verb == "watch");
    silence.caught(WATCHES).await;
    let since = Instant::now();
    drop(silence);
    world.apply(&gateway("meanwhile", json!({ "image": "acme/gateway:1" }))).await;

    world.until_started("meanwhile").await;
    assert!(since.elapsed() < Duration::from_secs(200), "{:?}", since.elapsed());
}

#[tokio::test]
async fn events_that_hang_delay_no_start_and_hold_no_clock() {
    const GATEWAYS: usize = 20;
    let world = World::new("herald").await;
    let (proxy, _operator) = behind_proxy(&world, &[]).await;
    let mut hanging = proxy.when(Fault::Hang, |asked| asked.is_of("events"));
    let fleet = Fleet::apply(&world, "gw", GATEWAYS, json!({})).await;
    fleet.until_all_started_once().await;
    assert!(hanging.count() < GATEWAYS, "the Events do not wait for each other");

    world.apply(&gateway("broken", json!({ "image": "acme/unpullable:1", "startDeadline": "3s" }))).await;

    world.until_condition("broken", condition::STALLED, "True", "StartDeadlineExceeded").await;
    hanging.caught(2).await;
}

#[tokio::test]
async fn events_that_are_refused_delay_no_start() {
    let world = World::new("refused-events").await;
    let (proxy, _operator) = behind_proxy(&world, &[]).await;
    let mut refused = proxy.when(Fault::Answer(500), |asked| asked.is_of("events"));
    let fleet = Fleet::apply(&world, "gw", 5, json!({})).await;
    fleet.until_all_started_once().await;
    refused.caught(5).await;
}
