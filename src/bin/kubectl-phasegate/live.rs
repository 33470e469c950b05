//! Follows gateways by a watch that survives outages of the API server.
//!
//! **Architecture invariant**: after the first list, no failure ends the watch. Each one becomes
//! [`LiveEvent::Away`], followed by [`LiveEvent::Back`].

use std::collections::BTreeSet;
use std::future::pending;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use phasegate::api::{ApiGateway, Guarded, ObjectKey};
use phasegate::cluster::PAGE;
use phasegate::cluster::backoff::WatchBackoff;

use crate::cluster::Cluster;
use crate::failure::{self, Failure};

/// The server-side timeout of a watch without events. A dead connection is noticed a little later.
const WATCH_SECONDS: u32 = 60;

/// An event of the watch.
pub enum LiveEvent {
    /// A gateway's current state.
    Is(Box<Guarded<ApiGateway>>),
    /// A gateway was deleted.
    Gone(ObjectKey),
    /// The list is complete.
    Listed,
    /// The API server does not answer, with the error. The request is repeated.
    Away(String),
    /// The API server answers again, after this outage.
    Back(Duration),
}

type WatchResult = watcher::Result<Event<Guarded<ApiGateway>>>;

/// A watch that continues through outages of the API server.
pub struct Live {
    events: Pin<Box<dyn Stream<Item = WatchResult>>>,
    backoff: WatchBackoff,
    client: Client,
    server: String,
    /// The gateways of the last list.
    known: BTreeSet<ObjectKey>,
    /// The gateways of the list in progress.
    listing: BTreeSet<ObjectKey>,
    /// Whether a whole list was received.
    listed: bool,
    /// Events that were received together and are not yet returned.
    news: Vec<LiveEvent>,
    trouble: Option<Trouble>,
}

/// An outage, since its beginning.
struct Trouble {
    since: Instant,
    /// When the watch is polled again.
    until: Instant,
    /// Resolves when the API server answers. One broken connection is not reported. After a second failure the
    /// outage is reported and the server is polled, because a new watch may be silent for a long time.
    answer: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Trouble {
    async fn is_over(trouble: Option<&mut Self>) {
        match trouble.and_then(|trouble| trouble.answer.as_mut()) {
            Some(answer) => answer.await,
            None => pending().await,
        }
    }
}

async fn answers(client: Client) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        if client.apiserver_version().await.is_ok() {
            return;
        }
    }
}

impl Live {
    /// Follows the gateways of `api` that `config` selects.
    pub fn follow(cluster: &Cluster, api: Api<Guarded<ApiGateway>>, config: watcher::Config) -> Self {
        Self {
            events: Box::pin(watcher(api, config.timeout(WATCH_SECONDS).page_size(PAGE))),
            backoff: WatchBackoff::default(),
            client: cluster.client.clone(),
            server: cluster.server.clone(),
            known: BTreeSet::new(),
            listing: BTreeSet::new(),
            listed: false,
            news: Vec::new(),
            trouble: None,
        }
    }

    /// The next event. This method is cancel-safe.
    ///
    /// # Errors
    /// The first list fails. Later failures are outages: an API server that restarts may briefly not know its
    /// users or its definitions.
    pub async fn next(&mut self) -> Result<LiveEvent, Failure> {
        loop {
            if let Some(news) = self.news.pop() {
                return Ok(news);
            }
            let Self { events, trouble, .. } = self;
            let until = trouble.as_ref().map(|trouble| trouble.until);
            let event = async {
                if let Some(until) = until {
                    tokio::time::sleep_until(until.into()).await;
                }
                events.next().await
            };
            tokio::select! {
                event = event => match event {
                    Some(Ok(event)) => self.heard(event),
                    Some(Err(error)) => self.failed(&error)?,
                    None => return Err(Failure::new(failure::FAILED, "the watch ended", "Run the command again.")),
                },
                () = Trouble::is_over(trouble.as_mut()) => self.answered(),
            }
        }
    }

    fn heard(&mut self, event: Event<Guarded<ApiGateway>>) {
        match event {
            // The watcher yields it before its first request.
            Event::Init => {
                self.listing.clear();
                return;
            }
            Event::InitApply(gateway) => {
                self.listing.insert(ObjectKey::of(&gateway));
                self.news.push(LiveEvent::Is(Box::new(gateway)));
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listing);
                self.news.push(LiveEvent::Listed);
                self.news.extend(self.known.difference(&listed).cloned().map(LiveEvent::Gone));
                self.known = listed;
                self.listed = true;
            }
            Event::Apply(gateway) => {
                self.known.insert(ObjectKey::of(&gateway));
                self.news.push(LiveEvent::Is(Box::new(gateway)));
            }
            Event::Delete(gateway) => {
                let key = ObjectKey::of(&gateway);
                self.known.remove(&key);
                self.news.push(LiveEvent::Gone(key));
            }
        }
        self.answered();
    }

    fn answered(&mut self) {
        self.backoff.reset();
        if let Some(Trouble { since, answer: Some(_), .. }) = self.trouble.take() {
            // The vector is read from its end, so that this event comes first.
            self.news.push(LiveEvent::Back(since.elapsed()));
        }
    }

    fn failed(&mut self, error: &watcher::Error) -> Result<(), Failure> {
        let failure = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => {
                failure::of_request("failed to watch ApiGateways", &self.server, error)
            }
            watcher::Error::WatchError(status) => {
                let error = kube::Error::Api(status.clone());
                failure::of_request("failed to watch ApiGateways", &self.server, &error)
            }
            error => Failure::new(failure::FAILED, error.to_string(), "Run the command again."),
        };
        if !self.listed {
            return Err(failure);
        }
        let wait = self.backoff.next().unwrap_or_default();
        let until = Instant::now() + wait;
        match &mut self.trouble {
            None => self.trouble = Some(Trouble { since: Instant::now(), until, answer: None }),
            Some(trouble) => {
                trouble.until = until;
                if trouble.answer.is_none() {
                    trouble.answer = Some(Box::pin(answers(self.client.clone())));
                    self.news.push(LiveEvent::Away(failure.sentence));
                }
            }
        }
        Ok(())
    }
}
