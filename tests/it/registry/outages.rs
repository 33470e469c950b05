//! In a database outage no gateway times out because of it, none waits without need, nothing is lost, and the operator
//! catches up automatically.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Service;
use kube::api::DeleteParams;
use mongodb::bson::doc;
use phasegate::api::{ApiGateway, Phase, condition};
use serde_json::json;

use super::{Platform, ancestor, asking, number, whole};
use crate::harness::{Changes, Database, Health, Storage, TcpMode, TcpProxy, eventually, gateway, path};

const UP: &str = "phasegate_registry_up{registry=\"mongodb\"} 1";
const AWAY: &str = "phasegate_registry_up{registry=\"mongodb\"} 0";

/// Short enough that a start fails if an outage counts against its deadline.
const DEADLINE: &str = "20s";

/// A platform whose operators reach the database through a proxy.
struct Behind {
    platform: Platform,
    proxy: TcpProxy,
    health: Health,
}

impl Behind {
    async fn new(test: &str) -> Self {
        let database = Database::local(test, Storage::Memory, Changes::Streamed).await;
        let proxy = TcpProxy::start(database.address()).await;
        Self { platform: Platform::with(test, database).await, proxy, health: Health::reserve() }
    }

    fn operator(&self) -> crate::harness::Operator {
        let uri = self.platform.database.uri_through(&self.proxy);
        let flags = ["--http-bind", &self.health.address(), "--start-deadline", DEADLINE, "--registry-timeout", "1s"];
        self.platform.operator_at(&uri, &flags)
    }

    /// Deletes a gateway's Service, and waits until it is recreated.
    async fn is_repaired(&self, name: &str) {
        let world = &self.platform.world;
        let before: Service = world.api().get(name).await.unwrap();
        world.api::<Service>().delete(name, &DeleteParams::default()).await.unwrap();
        let again = |service: &Service| service.metadata.uid != before.metadata.uid;
        world.until(name, "a new Service", again).await;
    }
}

#[tokio::test]
async fn an_operator_that_is_there_before_the_database_serves_kubernetes_and_begins_when_it_appears() {
    let behind = Behind::new("absent").await;
    let (platform, health) = (&behind.platform, &behind.health);
    let world = &platform.world;
    {
        let mut before = behind.operator();
        world.apply(&gateway("served", json!({ "image": "acme/gateway:1" }))).await;
        world.until_started("served").await;
        before.kill();
    }
    behind.proxy.set(TcpMode::Refuse).await;

    let _operator = behind.operator();

    health.until("/readyz", 200, &["ok"]).await;
    health.until("/metrics", 200, &[AWAY]).await;
    behind.is_repaired("served").await;
    platform.insert(ancestor("shop")).await;
    world.apply(&gateway("mine", json!({ "image": "acme/gateway:1" }))).await;
    let mine = world.until_condition("mine", condition::READY, "False", "RegistryUnavailable").await;
    let status = mine.status.unwrap();
    assert_eq!((status.phase, status.attempt), (Some(Phase::Created), None));
    let message = &status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap().message;
    assert!(message.contains("the registry is unavailable"), "{message}");
    health.until("/readyz", 200, &["ok"]).await;

    behind.proxy.set(TcpMode::Pass).await;

    platform.until_started("shop").await;
    let mine = world.until_started("mine").await;
    assert_eq!(
        path(&mine),
        ["Created/Running RegistryUnavailable", "Starting/Running StartRequested", "Started/Running Started"]
    );
    platform.until_said(&format!("{}.mine", world.namespace), "Started", "Running").await;
    health.until("/metrics", 200, &[UP]).await;
}

/// `PHASEGATE_BURST` sets the number of gateways, and `PHASEGATE_OUTAGE` the outage's duration in seconds.
#[tokio::test]
async fn a_database_killed_in_the_middle_of_a_burst_costs_no_gateway_its_start_and_no_document_its_order() {
    let (count, outage) = (number("PHASEGATE_BURST", 20), number("PHASEGATE_OUTAGE", 6));
    let database = Database::local("burst", Storage::File, Changes::Streamed).await;
    let mut platform = Platform::with("burst", database).await;
    let health = Health::reserve();
    let flags = ["--http-bind", &health.address(), "--registry-timeout", "2s"];
    let _operator = platform.operator_with(&flags);
    health.until("/metrics", 200, &[UP]).await;
    let mut history = platform.history().await;
    platform.insert(ancestor("first")).await;
    platform.until_started("first").await;
    let ids: Vec<String> = (0..count).map(|number| format!("gw-{number}")).collect();
    let environments = ids.iter().map(|id| super::environment(id, "dev"));
    platform.environments().insert_many(environments).await.unwrap();
    platform.gateways().insert_many(ids.iter().map(|id| ancestor(id))).await.unwrap();
    // Some gateways serve, some are starting, some wait.
    let served = || doc! { "phase": "Started" };
    let part = u64::try_from(count / 4).unwrap();
    let waited = eventually(Duration::from_millis(20), async || {
        (platform.gateways().count_documents(served()).await.unwrap() >= part).then_some(())
    });
    waited.await.expect("a part of them starts");

    platform.database.kill();
    let since = Instant::now();
    health.until("/metrics", 200, &[AWAY]).await;
    while since.elapsed() < Duration::from_secs(u64::try_from(outage).unwrap()) {
        health.until("/readyz", 200, &["ok"]).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    platform.database.start_again().await;

    platform.until_all_started(&ids).await;
    for id in &ids {
        let transitions = platform.world.gateway(id).await.status.unwrap().transitions;
        assert_eq!(whole(&platform.document(id).await, "seq"), Some(transitions), "{id}");
        // One more write recorded the object.
        history.assert_only_forward(id, transitions, 1).await;
    }
    health.until("/metrics", 200, &[UP]).await;
    health.until("/readyz", 200, &["ok"]).await;
}

/// Breaks the connection to the database during a burst, for longer than the start deadline.
async fn a_burst_meets(test: &str, way: TcpMode) {
    const GATEWAYS: usize = 6;
    let behind = Behind::new(test).await;
    let (platform, health, world) = (&behind.platform, &behind.health, &behind.platform.world);
    let _operator = behind.operator();
    world.apply(&gateway("served", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("served").await;
    let ids: Vec<String> = (0..GATEWAYS).map(|number| format!("gw-{number}")).collect();
    // This start is in progress when the outage begins.
    platform.insert(asking("slow", doc! { "image": "acme/never-ready:1" })).await;
    platform.until_said("slow", "Starting", "Running").await;

    behind.proxy.set(way).await;
    let since = Instant::now();
    for id in &ids {
        platform.insert_environments(id, &["dev"]).await;
        platform.insert(ancestor(id)).await;
        world.apply(&gateway(&format!("own-{id}"), json!({ "image": "acme/gateway:1" }))).await;
    }
    behind.is_repaired("served").await;
    if !matches!(way, TcpMode::Slow(_)) {
        health.until("/metrics", 200, &[AWAY]).await;
        let held = world.until_condition("own-gw-0", condition::READY, "False", "RegistryUnavailable").await;
        assert_eq!(held.status.unwrap().phase, Some(Phase::Created));
        world.until_condition("slow", condition::RECONCILING, "True", "RegistryUnavailable").await;
        while since.elapsed() < Duration::from_secs(23) {
            health.until("/readyz", 200, &["ok"]).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    health.until("/readyz", 200, &["ok"]).await;
    if matches!(way, TcpMode::Slow(_)) {
        world.set_ready("slow", true).await;
        platform.until_all_started(&ids).await;
    }
    behind.proxy.set(TcpMode::Pass).await;

    // Most of its start deadline is left.
    world.set_ready("slow", true).await;
    platform.until_all_started(&["slow".to_owned()]).await;
    platform.until_all_started(&ids).await;
    for id in &ids {
        let own = world.until_started(&format!("own-{id}")).await;
        assert_eq!(own.status.unwrap().last_failure, None);
        platform.until_said(&format!("{}.own-{id}", world.namespace), "Started", "Running").await;
    }
    health.until("/metrics", 200, &[UP]).await;
}

#[tokio::test]
async fn a_database_that_refuses_connections_holds_clocks_and_nothing_else() {
    a_burst_meets("refuses", TcpMode::Refuse).await;
}

#[tokio::test]
async fn a_database_that_hangs_holds_clocks_and_nothing_else() {
    a_burst_meets("hangs", TcpMode::Hang).await;
}

#[tokio::test]
async fn a_database_that_is_slow_is_waited_for_by_nobody_else() {
    a_burst_meets("slow", TcpMode::Slow(Duration::from_millis(300))).await;
}

#[tokio::test]
async fn connections_that_break_again_and_again_lose_nothing() {
    let behind = Behind::new("breaks").await;
    let platform = &behind.platform;
    let _operator = behind.operator();
    let ids: Vec<String> = (0..6).map(|number| format!("gw-{number}")).collect();
    let breaking = async {
        loop {
            tokio::time::sleep(Duration::from_millis(700)).await;
            behind.proxy.cut();
        }
    };
    let working = async {
        for id in &ids {
            platform.insert_environments(id, &["dev"]).await;
            platform.insert(ancestor(id)).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        platform.until_all_started(&ids).await;
        for id in &ids {
            platform.write(id, doc! { "state": "Stopped" }).await;
        }
        for id in &ids {
            platform.until_said(id, "Stopped", "Stopped").await;
            platform.until_environments(id, "Inactive").await;
        }
    };
    tokio::select! {
        never = breaking => never,
        () = working => {}
    }
}

/// A stop does not wait for the database. Only the update of its documents does.
#[tokio::test]
async fn a_stop_while_the_database_is_away_removes_all_and_is_told_when_it_is_back() {
    let behind = Behind::new("stop").await;
    let (platform, world) = (&behind.platform, &behind.platform.world);
    let _operator = behind.operator();
    world.create::<phasegate::api::Environment>(crate::harness::environment("dev", "shop", None)).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let id = format!("{}.shop", world.namespace);
    platform.until_said(&id, "Started", "Running").await;
    platform.until_environments(&id, "Active").await;

    behind.proxy.set(TcpMode::Refuse).await;
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;

    world.until_condition("shop", condition::RECONCILING, "True", "RegistryUnavailable").await;
    world.until_nothing_is_left().await;
    behind.proxy.set(TcpMode::Pass).await;
    platform.until_said(&id, "Stopped", "Stopped").await;
    platform.until_environments(&id, "Inactive").await;
}

/// The change stream no longer has the changes that the operator missed.
#[tokio::test]
async fn where_the_stream_cannot_go_on_everything_is_read_again() {
    let database = Database::local("tokens", Storage::File, Changes::Streamed).await;
    let mut platform = Platform::with("tokens", database).await;
    let proxy = TcpProxy::start(platform.database.address()).await;
    let _operator = platform.operator_at(&platform.database.uri_through(&proxy), &["--registry-timeout", "1s"]);
    for id in ["changed", "gone", "same"] {
        platform.insert(ancestor(id)).await;
    }
    for id in ["changed", "gone", "same"] {
        platform.until_started(id).await;
    }
    // The operator has stored a resume token.
    platform.database.until("phasegate", doc! { "_id": "resume-ApiGateway" }, "kept", |_| true).await;

    proxy.set(TcpMode::Refuse).await;
    platform.write("changed", doc! { "state": "Stopped" }).await;
    platform.write("gone", doc! { "state": "Deleted" }).await;
    platform.insert(ancestor("new")).await;
    platform.database.kill();
    platform.database.start_again_without_history().await;
    proxy.set(TcpMode::Pass).await;

    platform.until_said("changed", "Stopped", "Stopped").await;
    platform.until_forgotten("gone").await;
    platform.world.until_gone::<ApiGateway>("gone").await;
    platform.until_started("new").await;
    // The operator follows the new stream.
    platform.write("same", doc! { "state": "Stopped" }).await;
    platform.until_said("same", "Stopped", "Stopped").await;
}
