//! The operator applies each request of the platform once, whenever it was written, and loses none.

use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use mongodb::bson::{DateTime, Document, doc};
use phasegate::api::{ApiGateway, Phase, State};

use super::{GATEWAYS, Platform, ancestor, answer, asking, number, text, whole};
use crate::harness::{Changes, Database, Random, Storage, TcpMode, TcpProxy, path};

/// A write by the operator that races with the platform's `Stopped`.
#[derive(Clone, Copy, Debug)]
enum Write {
    /// A start ends: only the phase and the number are written.
    Started,
    /// A restart ends: `state` is written too.
    Restarted,
    /// A start times out: `state` is written too, with the same value as the platform's.
    TimedOut,
}

impl Write {
    /// Waits for the status that the operator is about to report.
    async fn is_due(self, platform: &Platform, id: &str) {
        let wanted = |object: &ApiGateway| {
            let Some(status) = &object.status else { return false };
            let attempt = status.attempt.as_ref().map_or(0, |attempt| attempt.number);
            let is = (status.phase.clone(), status.state);
            match self {
                Self::Started => is == (Some(Phase::Started), Some(State::Running)),
                Self::Restarted => attempt == 2 && is == (Some(Phase::Started), Some(State::Running)),
                // A stop may follow immediately.
                Self::TimedOut => status.last_failure.is_some(),
            }
        };
        platform.world.until(id, &format!("{self:?}"), wanted).await;
    }
}

/// Writes the platform's `Stopped` this long after the operator's write became due.
async fn meet(platform: &Platform, id: &str, write: Write, after: Duration) {
    let spec = match write {
        Write::Started => doc! {},
        Write::Restarted => doc! { "replicas": 2 },
        Write::TimedOut => doc! { "image": "acme/unpullable:1", "startDeadline": "2s" },
    };
    platform.insert(asking(id, spec)).await;
    if matches!(write, Write::Restarted) {
        platform.until_started(id).await;
        platform.write(id, doc! { "state": "Restarting" }).await;
    }
    write.is_due(platform, id).await;
    tokio::time::sleep(after).await;
    // If both write `Stopped` in the same millisecond, the documents are equal and the test cannot distinguish them. So
    // the platform's times are ahead.
    let ahead = DateTime::from_millis(DateTime::now().timestamp_millis() + 3_600_000);
    platform.write(id, doc! { "state": "Stopped", "updatedAt": ahead }).await;

    let asked = |object: &ApiGateway| !object.spec.state.asks_to_run();
    platform.world.until(id, "asked to stop", asked).await;
    let object = platform.world.until_phase(id, Phase::Stopped, State::Stopped).await;
    let transitions = object.status.unwrap().transitions;
    let told = |document: &Document| whole(document, "seq") == Some(transitions);
    let document = platform.database.until(GATEWAYS, doc! { "gatewayId": id }, "its last transition", told).await;
    assert_eq!((text(&document, "phase"), text(&document, "state")), ("Stopped", "Stopped"), "{id}: {document}");
}

/// `PHASEGATE_RACES` sets the number of races.
#[tokio::test]
async fn a_stop_written_in_the_same_instant_as_the_operator_writes_is_never_lost() {
    let races = number("PHASEGATE_RACES", 20);
    let platform = Platform::new("race").await;
    let _operator = platform.operator();
    let mut random = Random::new(u64::try_from(races).unwrap());
    let platform = &platform;
    let meetings = (0..races).map(|number| {
        let write = [Write::TimedOut, Write::Restarted, Write::Started][number % 3];
        // About as long as the operator takes from the status to the document.
        let after = Duration::from_millis(u64::try_from(random.below(25)).unwrap());
        async move { meet(platform, &format!("gw-{number}"), write, after).await }
    });
    stream::iter(meetings).buffer_unordered(8).collect::<Vec<()>>().await;
}

/// The operator has sent its write, and the proxy holds it.
#[tokio::test]
async fn a_report_that_is_on_its_way_when_the_platform_writes_does_not_overwrite_its_word() {
    let database = Database::local("held", Storage::Memory, Changes::Streamed).await;
    let platform = Platform::with("held", database).await;
    let proxy = TcpProxy::start(platform.database.address()).await;
    let _operator = platform.operator_at(&platform.database.uri_through(&proxy), &["--registry-timeout", "60s"]);
    for (id, write) in [("late", Write::TimedOut), ("again", Write::Restarted)] {
        let spec = match write {
            Write::TimedOut => doc! { "image": "acme/unpullable:1", "startDeadline": "8s" },
            Write::Started | Write::Restarted => doc! {},
        };
        platform.insert(asking(id, spec)).await;
        if matches!(write, Write::Restarted) {
            platform.until_started(id).await;
            platform.write(id, doc! { "state": "Restarting" }).await;
        }
        let begun = |document: &Document| text(document, "phase") == "Starting";
        platform.database.until(GATEWAYS, doc! { "gatewayId": id }, "Starting", begun).await;
        // Once another document has been reported, the response to this report has arrived.
        let next = format!("{id}-next");
        platform.insert(doc! { "gatewayId": &next, "state": "Stopped" }).await;
        platform.until_said(&next, "Stopped", "Stopped").await;
        proxy.set(TcpMode::Hang).await;
        write.is_due(&platform, id).await;

        platform.write(id, doc! { "state": "Stopped" }).await;
        proxy.set(TcpMode::Pass).await;

        let asked = |object: &ApiGateway| !object.spec.state.asks_to_run();
        platform.world.until(id, "asked to stop", asked).await;
        platform.until_said(id, "Stopped", "Stopped").await;
        platform.world.until_phase(id, Phase::Stopped, State::Stopped).await;
    }
}

#[tokio::test]
async fn what_a_document_became_while_the_operator_was_away_is_done_once() {
    let platform = Platform::new("away").await;
    let mut operator = platform.operator();
    platform.insert(ancestor("shop")).await;
    let (before, _) = platform.until_started("shop").await;
    operator.kill();

    for number in 1..=10 {
        let state = ["Stopped", "Restarting", "Running"][number % 3];
        let image = format!("acme/gateway:{number}");
        let replicas = i32::try_from(number % 4).unwrap();
        platform.write("shop", doc! { "state": state, "spec": { "image": image, "replicas": replicas } }).await;
    }
    // The last write is a restart with the tenth image.
    let _operator = platform.operator();

    let restarted = |object: &ApiGateway| {
        object
            .status
            .as_ref()
            .is_some_and(|status| status.attempt.as_ref().unwrap().number == 2 && status.phase == Some(Phase::Started))
    };
    let object = platform.world.until("shop", "restarted", restarted).await;
    platform.until_said("shop", "Started", "Running").await;
    assert_eq!((object.spec.image.as_str(), object.spec.replicas), ("acme/gateway:10", Some(2)));
    // The spec is applied once, and causes one restart.
    assert_eq!(object.metadata.generation, before.metadata.generation.map(|generation| generation + 1));
    let restarts: Vec<String> = path(&object).split_off(path(&before).len());
    assert_eq!(restarts, ["Starting/Restarting RestartRequested", "Started/Running Started"]);
    let deployment: Deployment = platform.world.api().get("shop").await.unwrap();
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.containers[0].image.as_deref(), Some("acme/gateway:10"));
}

#[tokio::test]
async fn a_heartbeat_in_a_document_asks_nothing() {
    let platform = Platform::new("heartbeat").await;
    let _operator = platform.operator();
    platform.insert(asking("typo", doc! { "image": "acme/unpullable:1", "startDeadline": "6s" })).await;
    platform.insert(ancestor("shop")).await;
    platform.until_said("typo", "Stopped", "Stopped").await;
    platform.until_started("shop").await;
    platform.world.until_event("typo", "Stopped").await;
    let version = platform.world.gateway("shop").await.metadata.resource_version;
    let transitions = |object: ApiGateway| object.status.unwrap().transitions;
    let failed = transitions(platform.world.gateway("typo").await);

    for _ in 0..10 {
        for id in ["shop", "typo"] {
            let beat = doc! { "$set": { "updatedAt": DateTime::now(), "heartbeat": DateTime::now() } };
            platform.gateways().update_one(doc! { "gatewayId": id }, beat).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The operator sees a later document after the earlier ones.
    platform.insert(ancestor("next")).await;
    platform.until_started("next").await;

    assert_eq!(platform.world.gateway("shop").await.metadata.resource_version, version);
    assert_eq!(transitions(platform.world.gateway("typo").await), failed);
    let typo = platform.until_said("typo", "Stopped", "Stopped").await;
    assert_eq!(answer(&typo).0, "ImagePullFailed");
}
