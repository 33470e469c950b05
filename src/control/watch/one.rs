//! One watch: its stream, its signs of life, and what it says when it does not go on.

use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

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
use crate::cluster::backoff::WatchBackoff;
use crate::cluster::calls::is_out_of_reach;
use crate::cluster::pulse::Pulse;
use crate::metrics::labels;

/// After how long without a failure a watch's backoff begins anew.
const STEADY: Duration = Duration::from_secs(60);

/// The watches of one scope.
pub(super) struct Watchers<'a> {
    pub(super) shared: &'a Shared,
    pub(super) scope: &'a Scope,
    pub(super) running: JoinSet<()>,
}

impl Watchers<'_> {
    /// Hands every event of a watch to `take_in`, for as long as `running` is kept.
    pub(super) fn add<K>(
        &mut self,
        api: Api<K>,
        config: watcher::Config,
        prune: impl Fn(&mut K) + Send + 'static,
        take_in: impl FnMut(Event<K>) + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let what = match self.scope {
            Scope::Cluster => K::plural(&()).into_owned(),
            Scope::Namespace(namespace) => format!("{} of namespace {namespace}", K::plural(&())),
        };
        let pulse = Arc::new(Pulse::new(what.clone(), api.resource_url().to_owned()));
        let resource = labels::Resource::of(&K::plural(&()));
        self.shared.pulses.add(Arc::clone(&pulse));
        self.shared.metrics.watches(resource);
        let watch = Watch { shared: self.shared.clone(), pulse, what, resource };
        self.running.spawn(watch.follow(api, config, prune, take_in));
    }
}

struct Watch {
    shared: Shared,
    pulse: Arc<Pulse>,
    what: String,
    resource: labels::Resource,
}

impl Watch {
    async fn follow<K>(
        self,
        api: Api<K>,
        config: watcher::Config,
        prune: impl Fn(&mut K) + Send + 'static,
        mut take_in: impl FnMut(Event<K>) + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut events = pin!(watcher(api, config).backoff(ResetTimerBackoff::new(WatchBackoff::default(), STEADY)));
        // Bookmarks wake the watch and are no events; they are signs of life all the same.
        // A failure is none of the API server's: a connection that died in silence ends by a timer.
        while let Some(event) = poll_fn(|cx| {
            let polled = events.as_mut().poll_next(cx);
            if self.pulse.beat() && !matches!(polled, Poll::Ready(Some(Err(_)))) {
                self.shared.heard.now();
            }
            polled
        })
        .await
        {
            match event {
                Ok(event) => {
                    self.pulse.goes_on();
                    let complete = matches!(event, Event::InitDone);
                    if is_admitted(&event) {
                        take_in(event.modify(&prune));
                    }
                    if complete {
                        self.pulse.listed();
                        if K::group(&()) == ApiGateway::group(&()) {
                            self.shared.definitions.look();
                        }
                    }
                }
                Err(error) => self.failed::<K>(&error),
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
        if !self.pulse.fails(&trouble) {
            tracing::warn!("{trouble}; it is tried again");
        }
    }
}

/// The caches' door: nothing without a name and a uid comes in, so that whoever reads a cached object need not ask.
fn is_admitted<K: Resource<DynamicType = ()>>(event: &Event<K>) -> bool {
    let (Event::Apply(object) | Event::Delete(object) | Event::InitApply(object)) = event else { return true };
    let meta = object.meta();
    let named = meta.name.as_ref().is_some_and(|name| !name.is_empty()) && meta.uid.is_some();
    if !named {
        tracing::error!(kind = %K::kind(&()), name = meta.name, "the API server sent an object without a name or a uid");
    }
    named
}

fn cause(error: &watcher::Error) -> Option<&kube::Error> {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => Some(cause),
        _ => None,
    }
}

/// Why a watch does not go on, and what to do about it where that is known.
fn trouble<K: Resource<DynamicType = ()>>(what: &str, cause: Option<&kube::Error>, error: &watcher::Error) -> String {
    let words = match cause {
        Some(kube::Error::Api(status)) if status.code == 404 => {
            return format!(
                "{what} cannot be watched: the API server does not know {}; apply the custom resource definitions \
                 (kubectl apply --server-side -f crds)",
                K::api_version(&())
            );
        }
        Some(kube::Error::Api(status)) if status.code == 403 => {
            return format!("{what} cannot be watched: {}; see the operator's roles in deploy", status.message);
        }
        Some(kube::Error::Api(status)) if !status.message.is_empty() => status.message.clone(),
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    };
    format!("{what} cannot be watched: {words}")
}
