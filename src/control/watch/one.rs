//! One watch: its stream, its heartbeat, and its error messages.
//!
//! **Architecture invariant:** an object without a name or a uid reaches no cache. Every watch of the operator
//! passes here.

use std::fmt::Debug;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures::Stream;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::ResetTimerBackoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::Shared;
use crate::api::ApiGateway;
use crate::cache::scopes::Scope;
use crate::cluster::backoff::{RelistBackoff, STEADY, WatchBackoff};
use crate::cluster::calls::is_out_of_reach;
use crate::cluster::heartbeat::WatchHeartbeat;
use crate::metrics::labels;

/// The watches of one scope.
pub(super) struct Watchers<'a> {
    pub(super) shared: &'a Shared,
    pub(super) scope: &'a Scope,
    pub(super) running: JoinSet<()>,
}

impl Watchers<'_> {
    /// Adds a watch that hands every event to `take_in`, until `running` is dropped.
    pub(super) fn add<K>(
        &mut self,
        api: Api<K>,
        config: watcher::Config,
        prune: impl Fn(&mut K) + Send + 'static,
        take_in: impl FnMut(Event<K>) + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        self.add_with(api, config, prune, take_in, |_| {});
    }

    /// The same; failures go to `fails`.
    pub(super) fn add_with<K>(
        &mut self,
        api: Api<K>,
        config: watcher::Config,
        prune: impl Fn(&mut K) + Send + 'static,
        take_in: impl FnMut(Event<K>) + Send + 'static,
        fails: impl Fn(&kube::Error) + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let what = match self.scope {
            Scope::Cluster => K::plural(&()).into_owned(),
            Scope::Namespace(namespace) => format!("{} of namespace {namespace}", K::plural(&())),
        };
        let heartbeat = Arc::new(WatchHeartbeat::new(what.clone(), api.resource_url().to_owned()));
        let resource = labels::Resource::of(&K::plural(&()));
        self.shared.heartbeats.add(Arc::clone(&heartbeat));
        self.shared.metrics.watches(resource);
        let watch = Watch { shared: self.shared.clone(), heartbeat, what, resource };
        self.running.spawn(watch.follow(api, config, prune, take_in, fails));
    }
}

struct Watch {
    shared: Shared,
    heartbeat: Arc<WatchHeartbeat>,
    what: String,
    resource: labels::Resource,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.heartbeats.remove(&self.heartbeat);
    }
}

impl Watch {
    async fn follow<K>(
        self,
        api: Api<K>,
        config: watcher::Config,
        mut prune: impl Fn(&mut K) + Send + 'static,
        mut take_in: impl FnMut(Event<K>) + Send + 'static,
        mut fails: impl Fn(&kube::Error) + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut relist = RelistBackoff::default();
        loop {
            let expired = self.until_expired(&api, &config, &mut prune, &mut take_in, &mut fails).await;
            let Some(delay) = relist.delay(Instant::now()) else {
                tracing::info!("the resource version of the watch of {} is too old; it lists again", self.what);
                self.shared.metrics.watch_restarted(self.resource);
                continue;
            };
            self.failed::<K>(&expired);
            tokio::time::sleep(delay).await;
        }
    }

    /// Follows the watch until its resource version is too old (410). A new watch begins with a list; the library
    /// repeats some of these requests with the same resource version.
    async fn until_expired<K>(
        &self,
        api: &Api<K>,
        config: &watcher::Config,
        prune: &mut (impl Fn(&mut K) + Send),
        take_in: &mut (impl FnMut(Event<K>) + Send),
        fails: &mut (impl Fn(&kube::Error) + Send),
    ) -> watcher::Error
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let backoff = ResetTimerBackoff::new(WatchBackoff::default(), STEADY);
        let mut events = pin!(watcher(api.clone(), config.clone()).backoff(backoff));
        loop {
            // Bookmarks wake the stream without being events, and count as signs of life. A failure does not: a
            // dead connection ends by a timer.
            let event = poll_fn(|cx| {
                let polled = events.as_mut().poll_next(cx);
                if self.heartbeat.beat() && !matches!(polled, Poll::Ready(Some(Err(_)))) {
                    self.shared.last_contact.now();
                }
                polled
            })
            .await;
            match event {
                Some(Ok(event)) => {
                    self.heartbeat.recovered();
                    let complete = matches!(event, Event::InitDone);
                    if is_admitted(&event) {
                        take_in(event.modify(&*prune));
                    }
                    if complete {
                        self.heartbeat.listed();
                        if K::group(&()) == ApiGateway::group(&()) {
                            self.shared.definitions.look();
                        }
                    }
                }
                Some(Err(error)) if is_expired(&error) => return error,
                Some(Err(error)) => {
                    self.failed::<K>(&error);
                    cause(&error).into_iter().for_each(&*fails);
                }
                // A watch has no end.
                None => pending().await,
            }
        }
    }

    fn failed<K: Resource<DynamicType = ()>>(&self, error: &watcher::Error) {
        let cause = cause(error);
        if cause.is_some_and(is_out_of_reach) {
            self.shared.outages.began();
        }
        self.shared.metrics.watch_restarted(self.resource);
        let trouble = trouble::<K>(&self.what, cause, error);
        if !self.heartbeat.failed(&trouble) {
            tracing::warn!("{trouble}; retrying");
        }
    }
}

/// Admits only objects with a name and a uid, so that readers of the caches need not check.
fn is_admitted<K: Resource<DynamicType = ()>>(event: &Event<K>) -> bool {
    let (Event::Apply(object) | Event::Delete(object) | Event::InitApply(object)) = event else { return true };
    let meta = object.meta();
    let named = meta.name.as_ref().is_some_and(|name| !name.is_empty()) && meta.uid.is_some();
    if !named {
        tracing::error!(kind = %K::kind(&()), name = meta.name, "the API server sent an object without name or uid");
    }
    named
}

/// Whether the API server no longer has the history that a request builds on.
fn is_expired(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status) => status.code == 410,
        error => matches!(cause(error), Some(kube::Error::Api(status)) if status.code == 410),
    }
}

fn cause(error: &watcher::Error) -> Option<&kube::Error> {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => Some(cause),
        _ => None,
    }
}

/// Why a watch failed, and what to do about it if known.
fn trouble<K: Resource<DynamicType = ()>>(what: &str, cause: Option<&kube::Error>, error: &watcher::Error) -> String {
    let words = match cause {
        Some(kube::Error::Api(status)) if status.code == 404 => {
            return format!(
                "failed to watch {what}: the API server does not serve {}: install the CustomResourceDefinitions \
                 (kubectl apply --server-side -f crds)",
                K::api_version(&())
            );
        }
        Some(kube::Error::Api(status)) if status.code == 403 => {
            return format!("failed to watch {what}: {}; grant the operator the roles in deploy/rbac", status.message);
        }
        Some(kube::Error::Api(status)) if !status.message.is_empty() => status.message.clone(),
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    };
    format!("failed to watch {what}: {words}")
}
