//! Events from the server: an open page learns that it is outdated, and reads itself again.
//!
//! **Architecture invariant**: an event carries no data of the cluster.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use phasegate::children;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::console::Console;

/// The minimum time between two events. Changes of a burst are shown together.
const PAUSE: Duration = Duration::from_millis(200);

/// How often a page is outdated by the time alone: ages, remaining time, and children that are not watched.
const CLOCK: Duration = Duration::from_secs(5);

type Changes = Pin<Box<dyn Stream<Item = ()> + Send>>;

/// The events of a page. The page of a gateway names it: `?gateway=NAMESPACE/NAME`.
pub async fn changes(
    State(console): State<Console>,
    RawQuery(query): RawQuery,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let query = query.unwrap_or_default();
    let gateway = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "gateway");
    let mut all = vec![of_fleet(&console), of_clock()];
    if let Some((namespace, name)) = gateway.as_ref().and_then(|(_, key)| key.split_once('/')) {
        all.extend(of_pods(&console, namespace, name).await);
    }
    let paced = stream::unfold((stream::select_all(all), true), |(mut all, first)| async move {
        if !first {
            sleep(PAUSE).await;
        }
        all.next().await?;
        // Browsers drop an event without data.
        Some((Ok(Event::default().event("change").data("changed")), (all, false)))
    });
    Sse::new(paced).keep_alive(KeepAlive::default())
}

fn of_fleet(console: &Console) -> Changes {
    let mut versions = console.store.changes();
    versions.mark_changed();
    Box::pin(stream::unfold(versions, |mut versions| async move {
        versions.changed().await.ok()?;
        Some(((), versions))
    }))
}

fn of_clock() -> Changes {
    let mut clock = interval(CLOCK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Box::pin(stream::unfold(clock, |mut clock| async move {
        clock.tick().await;
        Some(((), clock))
    }))
}

/// Changes of a gateway's pods, if the user may watch them.
async fn of_pods(console: &Console, namespace: &str, name: &str) -> Option<Changes> {
    let cluster = console.cluster.at(namespace);
    let gateway = cluster.gateway(name).await.ok()?;
    let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(cluster.client.clone(), namespace);
    let config = watcher::Config::default().labels(&children::selector(&gateway));
    let events = watcher(pods, config).default_backoff();
    Some(Box::pin(events.filter_map(async |event| event.ok().map(|_| ()))))
}
