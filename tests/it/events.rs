//! Transitions arrive at an HTTP sink as CloudEvents: in order for each gateway, at least once, signed.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use phasegate::api::{ApiGateway, Phase};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{
    EventSink, Fleet, Health, ReceivedEvent, SinkAnswer, TcpMode, TcpProxy, World, eventually, gateway, scratch,
};

/// The secret of these tests, as a file has it.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn plain() -> Value {
    json!({ "image": "acme/gateway:1" })
}

/// HMAC-SHA256 as RFC 2104 defines it, for keys that are shorter than a block.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let padded =
        |byte: u8| -> Vec<u8> { (0..64).map(|index| key.get(index).copied().unwrap_or_default() ^ byte).collect() };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

/// Verifies a signature as the text of Standard Webhooks says.
fn is_signed(received: &ReceivedEvent, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let (id, timestamp) = (received.header("webhook-id"), received.header("webhook-timestamp"));
    let content = [format!("{id}.{timestamp}.").as_bytes(), &received.body].concat();
    let expected = format!("v1,{}", STANDARD.encode(hmac(&key, &content)));
    received.header("webhook-signature").split(' ').any(|signature| signature == expected)
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["id"].as_str().unwrap()).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    let types = events.iter().map(|event| event["type"].as_str().unwrap());
    types.map(|type_| type_.strip_prefix("dev.phasegate.apigateway.").unwrap()).collect()
}

async fn uid(world: &World, name: &str) -> String {
    world.gateway(name).await.metadata.uid.unwrap()
}

#[tokio::test]
async fn a_start_arrives_in_order_with_ids_and_a_valid_signature() {
    let world = World::new("events").await;
    let sink = EventSink::start().await;
    let file = scratch("events").unwrap().join(format!("{}.secret", world.namespace));
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let _operator = world.sender(sink.url(), &["--events-sink-secret-file", file.to_str().unwrap()]);

    world.apply(&gateway("shop", plain())).await;
    let shop = world.until_started("shop").await;

    let events = sink.until_taken("shop", 2).await;
    let uid = shop.metadata.uid.unwrap();
    assert_eq!(ids(&events), [format!("{uid}/1"), format!("{uid}/2")]);
    assert_eq!(types(&events), ["starting", "started"]);
    let [began, started] = &shop.status.unwrap().history[..] else { panic!("two transitions") };
    let source = format!("/apis/phasegate.dev/v1alpha1/namespaces/{}/apigateways/shop", world.namespace);
    for (event, transition) in events.iter().zip([began, started]) {
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["source"], source);
        assert_eq!(event["datacontenttype"], "application/json");
        let time: k8s_openapi::jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(time, transition.at.0);
    }
    let data = json!({
        "apiVersion": "phasegate.dev/v1alpha1",
        "kind": "ApiGateway",
        "namespace": world.namespace,
        "name": "shop",
        "uid": uid,
        "from": "Starting",
        "phase": "Started",
        "state": "Running",
        "reason": "Started",
        "message": "attempt 1 succeeded",
        "attempt": 1,
        "seconds": started.seconds,
    });
    assert_eq!(events[1]["data"], data);
    assert_eq!((&events[1]["sequence"], &events[1]["missed"]), (&json!("0000000002"), &Value::Null));
    for received in sink.received() {
        assert_eq!(received.target, "/events?from=phasegate");
        assert_eq!(received.header("content-type"), "application/cloudevents+json; charset=UTF-8");
        assert_eq!(received.header("webhook-id"), received.event()["id"]);
        assert!(is_signed(&received, SECRET), "{received:?}");
    }

    // Secrets are rotated without a restart: meanwhile both sign.
    let next = format!("whsec_{}", STANDARD.encode([7; 32]));
    std::fs::write(&file, format!("{SECRET}\n{next}\n")).unwrap();
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    let stopped = sink.until_taken("shop", 4).await;
    assert_eq!(types(&stopped[2..]), ["stopping", "stopped"]);
    let last = sink.received().pop().unwrap();
    assert!(is_signed(&last, SECRET) && is_signed(&last, &next), "{last:?}");
    assert!(!world.operator_log().contains("whsec_") && !world.operator_log().contains("from=phasegate"));
}

#[tokio::test]
async fn what_happens_while_the_sink_is_down_arrives_when_it_is_back() {
    let world = World::new("sink-down").await;
    let sink = EventSink::start().await;
    let address = sink.url().trim_start_matches("http://").split('/').next().unwrap().parse().unwrap();
    let proxy = TcpProxy::start(address).await;
    proxy.set(TcpMode::Refuse).await;
    let health = Health::reserve();
    let url = format!("http://{}/", proxy.address());
    let _operator = world.sender(&url, &["--http-bind", &health.address()]);
    let fleet = Fleet::apply(&world, "gw", 5, json!({})).await;
    fleet.until_all_started_once().await;
    world.apply(&gateway("gone", plain())).await;
    world.until_started("gone").await;
    world.delete("gone").await;
    health.until("/metrics", 200, &["phasegate_events_waiting 12\n"]).await;
    let metrics = health.until("/metrics", 200, &["phasegate_events_delivered_total 0\n"]).await;
    let lag = metrics.lines().find_map(|line| line.strip_prefix("phasegate_events_lag_seconds ")).unwrap();
    assert!(lag.parse::<f64>().unwrap() > 0.0, "{lag}");

    proxy.set(TcpMode::Pass).await;

    for name in fleet.names().iter().map(String::as_str).chain(["gone"]) {
        assert_eq!(types(&sink.until_taken(name, 2).await), ["starting", "started"], "{name}");
    }
    let healed =
        ["phasegate_events_waiting 0\n", "phasegate_events_lag_seconds 0", "phasegate_events_delivered_total 12\n"];
    health.until("/metrics", 200, &healed).await;
    assert_eq!(sink.received().len(), 12);
}

#[tokio::test]
async fn an_operator_killed_in_between_sends_duplicates_only_with_the_same_id() {
    let world = World::new("events-killed").await;
    let sink = EventSink::start().await;
    let mut operator = world.sender(sink.url(), &[]);
    world.apply(&gateway("before", plain())).await;
    sink.until_taken("before", 2).await;

    operator.kill();
    world.patch("before", json!({ "spec": { "state": "Stopped" } })).await;
    world.apply(&gateway("after", plain())).await;
    let _operator = world.sender(sink.url(), &[]);

    sink.until_taken("after", 2).await;
    sink.until("the stop", |received| {
        received.iter().any(|one| one.event()["type"] == "dev.phasegate.apigateway.stopped")
    })
    .await;
    assert_complete(&world, &sink).await;
}

/// Checks that each gateway's events arrived once or more, first in order, and duplicates with the same content.
/// Returns the number of duplicates.
async fn assert_complete(world: &World, sink: &EventSink) -> usize {
    let gateways = world.api::<ApiGateway>().list(&Default::default()).await.unwrap();
    let mut first: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut bodies: BTreeMap<String, Value> = BTreeMap::new();
    let mut duplicates = 0;
    for received in sink.taken() {
        let event = received.event();
        let id = event["id"].as_str().unwrap().to_owned();
        if let Some(earlier) = bodies.get(&id) {
            assert_eq!(*earlier, event);
            duplicates += 1;
            continue;
        }
        let (uid, sequence) = id.split_once('/').unwrap();
        first.entry(uid.to_owned()).or_default().push(sequence.parse().unwrap());
        bodies.insert(id, event);
    }
    for gateway in gateways {
        let (uid, count) = (gateway.metadata.uid.unwrap(), gateway.status.unwrap().transitions);
        let arrived = first.get(&uid).cloned().unwrap_or_default();
        assert_eq!(arrived, (1..=count).collect::<Vec<_>>(), "{uid}");
    }
    duplicates
}

#[tokio::test]
async fn a_sink_that_answers_anything_but_success_gets_the_event_again_and_no_redirect_is_followed() {
    let world = World::new("events-codes").await;
    let (sink, elsewhere) = (EventSink::start().await, EventSink::start().await);
    let location: &'static str = Box::leak(elsewhere.url().to_owned().into_boxed_str());
    let health = Health::reserve();
    let _operator = world.sender(sink.url(), &["--http-bind", &health.address()]);

    for (code, header, class) in [
        (307, Some(("location", location)), "redirect"),
        (401, None, "unauthorized"),
        (404, None, "client_error"),
        (410, None, "client_error"),
        (429, Some(("retry-after", "1")), "throttled"),
        (500, None, "server_error"),
    ] {
        let (name, before) = (format!("gw-{code}"), sink.received().len());
        sink.answers(SinkAnswer::Answers(code, header));
        world.apply(&gateway(&name, plain())).await;
        sink.until("another attempt", |received| received.len() > before + 1).await;
        let failed = format!("phasegate_events_failures_total{{class=\"{class}\"}}");
        let metrics = health.until("/metrics", 200, &[&failed]).await;
        assert!(!metrics.contains(&format!("{failed} 0\n")), "{code}: {metrics}");
        sink.answers(SinkAnswer::Takes);
        assert_eq!(types(&sink.until_taken(&name, 2).await), ["starting", "started"], "{code}");
    }
    assert_eq!(elsewhere.received().len(), 0);
}

#[tokio::test]
async fn an_event_that_the_sink_refuses_is_skipped_and_counted_in_the_next_one() {
    let world = World::new("events-refused").await;
    let sink = EventSink::start().await;
    sink.answers(SinkAnswer::Answers(400, None));
    let health = Health::reserve();
    let _operator = world.sender(sink.url(), &["--http-bind", &health.address()]);
    world.apply(&gateway("shop", plain())).await;
    world.until_started("shop").await;
    sink.until("two events", |received| received.len() == 2).await;
    health
        .until("/metrics", 200, &["phasegate_events_missed_total 2\n", "failures_total{class=\"refused\"} 2\n"])
        .await;

    sink.answers(SinkAnswer::Takes);
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;

    let events = sink.until_taken("shop", 2).await;
    assert_eq!(types(&events), ["stopping", "stopped"]);
    assert_eq!([&events[0]["missed"], &events[1]["missed"]], [&json!(2), &Value::Null]);
}

/// Nobody but an operator may write a status. Its messages quote others.
#[tokio::test]
async fn a_hostile_message_is_a_bounded_value_and_a_gap_of_the_history_is_told() {
    let world = World::new("events-hostile").await;
    let sink = EventSink::start().await;
    let mut operator = world.sender(sink.url(), &[]);
    world.apply(&gateway("first", plain())).await;
    sink.until_taken("first", 2).await;
    operator.end();
    world.apply(&gateway("hostile", plain())).await;
    let message = format!("\",\"id\":\"forged\"\u{1b}[2J\u{202e}\r\n\r\nHTTP/1.1 {}", "a".repeat(8_000));
    let entry = |number: i64| {
        let at = format!("2026-01-01T00:00:{number:02}.000000Z");
        json!({ "at": at, "to": "Levitating", "state": "Running", "reason": "Started", "message": message, "seconds": 1 })
    };
    let history: Vec<Value> = (11..=30).map(entry).collect();
    let status = json!({ "phase": "Levitating", "state": "Running", "transitions": 30, "history": history });
    world.patch_status("hostile", json!({ "status": status })).await;

    let _operator = world.sender(sink.url(), &[]);

    let events = sink.until_taken("hostile", 20).await;
    let uid = uid(&world, "hostile").await;
    assert_eq!(ids(&events), (11..=30).map(|number| format!("{uid}/{number}")).collect::<Vec<_>>());
    assert_eq!(events[0]["missed"], 10);
    for event in &events {
        assert_eq!(event["type"], "dev.phasegate.apigateway.changed");
        let message = event["data"]["message"].as_str().unwrap();
        assert!(message.starts_with("\",\"id\":\"forged\"[2J HTTP/1.1 aaa"), "{message:?}");
        assert!(message.chars().count() <= 2_049, "{} characters", message.chars().count());
    }
    assert!(world.operator_log().contains("transitions are not delivered"));
}

#[tokio::test]
async fn a_sink_that_hangs_delays_no_start_and_gets_the_events_later() {
    let world = World::new("sink-hangs").await;
    let sink = EventSink::start().await;
    sink.answers(SinkAnswer::Hangs);
    let health = Health::reserve();
    let _operator = world.sender(sink.url(), &["--events-sink-timeout", "1s", "--http-bind", &health.address()]);
    let fleet = Fleet::apply(&world, "gw", 10, json!({})).await;
    fleet.until_all_started_once().await;
    let metrics = eventually(Duration::from_millis(100), async || {
        let (_, metrics) = health.get("/metrics").await?;
        let failed = metrics
            .lines()
            .find_map(|line| line.strip_prefix("phasegate_events_failures_total{class=\"timed_out\"} "))?;
        (failed != "0").then_some(())
    });
    assert!(metrics.await.is_some(), "no attempt times out");
    health.until("/livez", 200, &["ok"]).await;

    sink.answers(SinkAnswer::Takes);

    for name in fleet.names() {
        sink.until_taken(name, 2).await;
    }
    assert_complete(&world, &sink).await;
}

#[tokio::test]
async fn of_two_operators_only_the_leader_sends() {
    let world = World::new("events-leader").await;
    let sink = EventSink::start().await;
    let flags = ["--lease-duration", "6s", "--leader-election"];
    let mut first = world.sender(sink.url(), &flags);
    world.apply(&gateway("one", plain())).await;
    sink.until_taken("one", 2).await;
    let _second = world.sender(sink.url(), &flags);
    world.apply(&gateway("two", plain())).await;
    sink.until_taken("two", 2).await;
    assert_eq!(sink.received().len(), 4);

    first.end();
    world.apply(&gateway("three", plain())).await;

    sink.until_taken("three", 2).await;
    assert_eq!(assert_complete(&world, &sink).await, 0);
}

#[tokio::test]
async fn what_happened_before_there_was_a_sink_is_not_sent() {
    let world = World::new("events-begin").await;
    let mut operator = world.operator();
    world.apply(&gateway("old", plain())).await;
    world.until_started("old").await;
    operator.end();
    let sink = EventSink::start().await;

    let _operator = world.sender(sink.url(), &[]);
    world.apply(&gateway("new", plain())).await;
    sink.until_taken("new", 2).await;
    world.patch("old", json!({ "spec": { "state": "Stopped" } })).await;

    let events = sink.until_taken("old", 2).await;
    let uid = uid(&world, "old").await;
    assert_eq!(ids(&events), [format!("{uid}/3"), format!("{uid}/4")]);
    assert_eq!(events[0].get("missed"), None);
}

/// `PHASEGATE_TRANSITIONS` asks for more than a sample. Each gateway starts and stops four times, so that its history
/// holds all of its transitions. The sink is down for 3 s for each hundred transitions, and the operator is killed
/// twice meanwhile.
#[tokio::test]
async fn of_many_transitions_with_the_sink_down_and_the_operator_killed_twice_every_event_arrives() {
    const EACH: usize = 16;
    let transitions = std::env::var("PHASEGATE_TRANSITIONS").map_or(64, |number| number.parse::<usize>().unwrap());
    let gateways = transitions.div_ceil(EACH);
    let down = Duration::from_secs(u64::try_from(transitions * 3 / 100).unwrap());
    let world = World::new("events-many").await;
    let sink = EventSink::start().await;
    let address = sink.url().trim_start_matches("http://").split('/').next().unwrap().parse().unwrap();
    let proxy = TcpProxy::start(address).await;
    let url = format!("http://{}/", proxy.address());
    let mut operator = world.sender(&url, &[]);
    let mut peak = 0;
    let fleet = Fleet::apply(&world, "gw", gateways, json!({})).await;
    let began = tokio::time::Instant::now();
    let mut outage = began;
    for round in 0..EACH / 4 {
        if round > 0 {
            all_to(&world, &fleet, "Running").await;
        }
        if round == 1 {
            proxy.set(TcpMode::Refuse).await;
            outage = tokio::time::Instant::now();
        }
        let half = i64::try_from(gateways * (4 * round + 1)).unwrap();
        if round == 1 || round == 2 {
            fleet.until_transitions(half).await;
            peak = peak.max(operator.peak_memory());
            operator.kill();
            operator = world.sender(&url, &[]);
        }
        until_all(&world, &Phase::Started).await;
        all_to(&world, &fleet, "Stopped").await;
        until_all(&world, &Phase::Stopped).await;
        if round == 2 {
            tokio::time::sleep_until(outage + down).await;
            proxy.set(TcpMode::Pass).await;
        }
    }
    let wanted = i64::try_from(gateways * EACH).unwrap();
    assert_eq!(fleet.transitions().await, wanted);
    let wanted = gateways * EACH;
    sink.until(&format!("{wanted} events"), |received| received.len() >= wanted).await;
    let duplicates = eventually(Duration::from_secs(1), async || {
        let different =
            sink.taken().iter().map(|one| one.event()["id"].to_string()).collect::<std::collections::BTreeSet<_>>();
        (different.len() >= wanted).then_some(())
    });
    assert!(duplicates.await.is_some(), "events are missing");
    let duplicates = assert_complete(&world, &sink).await;
    peak = peak.max(operator.peak_memory());
    println!("{wanted} events, {duplicates} duplicates, {} s, {} MB", began.elapsed().as_secs(), peak >> 20);
    assert!(peak < 200 << 20, "{peak} bytes");
}

/// Requests a state of every gateway.
async fn all_to(world: &World, fleet: &Fleet<'_>, state: &str) {
    for name in fleet.names() {
        world.patch(name, json!({ "spec": { "state": state } })).await;
    }
}

/// Waits until every gateway is in a phase. `Started` has to be a success.
async fn until_all(world: &World, phase: &Phase) {
    let reached = eventually(Duration::from_millis(500), async || {
        let gateways = world.api::<ApiGateway>().list(&Default::default()).await.unwrap();
        let is_there = |gateway: &ApiGateway| {
            gateway
                .status
                .as_ref()
                .is_some_and(|status| status.phase.as_ref() == Some(phase) && status.last_failure.is_none())
        };
        gateways.iter().all(is_there).then_some(())
    });
    assert!(reached.await.is_some(), "not every gateway comes to {phase}");
}
