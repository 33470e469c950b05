//! Waiting for a condition, with one deadline for all.

use std::time::Duration;

use futures::TryStreamExt;
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The deadline of every wait. Only a wait that fails takes that long, so that it is generous for a machine that is
/// busy with other tests.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// Waits until an object satisfies `wanted`, and returns it.
pub async fn until<K>(api: Api<K>, name: &str, what: &str, wanted: impl Fn(&K) -> bool) -> K
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug + Send + 'static,
{
    let mut last = None;
    let place = api.resource_url().to_owned();
    let waited = tokio::time::timeout(DEADLINE, async {
        let mut objects = Box::pin(watcher::watch_object(api, name));
        loop {
            match objects.try_next().await {
                Ok(Some(Some(object))) if wanted(&object) => return object,
                Ok(Some(object)) => last = object,
                Ok(None) => panic!("the watch of {name} ended"),
                Err(error) => eprintln!("watching {name}: {error}"),
            }
        }
    })
    .await;
    waited.unwrap_or_else(|_| {
        let last = serde_json::to_string_pretty(&last).unwrap();
        panic!("{place}/{name} did not come to {what} within {DEADLINE:?}; it is {last}")
    })
}

/// Calls `look` at this interval until it returns something. Returns `None` after the deadline.
pub async fn eventually<T>(every: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let seen = async {
        let mut every = tokio::time::interval(every);
        loop {
            every.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.ok()
}
