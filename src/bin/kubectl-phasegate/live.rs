//! Follows gateways by a watch, over outages of the API server.

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

/// After how long without any event a watch is begun anew. A connection that is silently dead is noticed a little later.
const WATCH_SECONDS: u32 = 60;

/// What a watch told.
pub enum News {
    /// A gateway as it is now.
    Is(Box<Guarded<ApiGateway>>),
    /// A gateway is gone.
    Gone(ObjectKey),
    /// All that there are were told.
    Listed,
    /// The API server does not answer, in what words; it is asked again and again.
    Away(String),
    /// It answers again, after so long.
    Back(Duration),
}

type Told = watcher::Result<Event<Guarded<ApiGateway>>>;

/// A watch that goes on whatever becomes of the API server.
pub struct Live {
    events: Pin<Box<dyn Stream<Item = Told>>>,
    backoff: WatchBackoff,
    client: Client,
    server: String,
    /// Those that were told last.
    known: BTreeSet<ObjectKey>,
    /// Those of the list that is being told.
    listing: BTreeSet<ObjectKey>,
    /// Whether there was a whole list.
    listed: bool,
    /// What was learned in one go, and not told yet.
    news: Vec<News>,
    trouble: Option<Trouble>,
}

/// Since when nothing is heard.
struct Trouble {
    since: Instant,
    /// When the watch is polled again.
    until: Instant,
    /// Ends when the API server answers. One broken connection is no news; after a second failure it is told and the
    /// server is asked, since a watch may be silent for long after it was begun anew.
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
    /// Follows the gateways of `api` that `config` asks for.
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

    /// The next piece of news. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the first list cannot be had. Later every failure is an outage: an API server that comes back may for a
    /// moment not know its users or its definitions.
    pub async fn next(&mut self) -> Result<News, Failure> {
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
                    None => return Err(Failure::new(failure::FAILED, "the watch ended", "Start the command again.")),
                },
                () = Trouble::is_over(trouble.as_mut()) => self.answered(),
            }
        }
    }

    fn heard(&mut self, event: Event<Guarded<ApiGateway>>) {
        match event {
            // It is yielded before anything was asked.
            Event::Init => {
                self.listing.clear();
                return;
            }
            Event::InitApply(gateway) => {
                self.listing.insert(ObjectKey::of(&gateway));
                self.news.push(News::Is(Box::new(gateway)));
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listing);
                self.news.push(News::Listed);
                self.news.extend(self.known.difference(&listed).cloned().map(News::Gone));
                self.known = listed;
                self.listed = true;
            }
            Event::Apply(gateway) => {
                self.known.insert(ObjectKey::of(&gateway));
                self.news.push(News::Is(Box::new(gateway)));
            }
            Event::Delete(gateway) => {
                let key = ObjectKey::of(&gateway);
                self.known.remove(&key);
                self.news.push(News::Gone(key));
            }
        }
        self.answered();
    }

    fn answered(&mut self) {
        self.backoff.reset();
        if let Some(Trouble { since, answer: Some(_), .. }) = self.trouble.take() {
            // Taken from the end, so told first.
            self.news.push(News::Back(since.elapsed()));
        }
    }

    fn failed(&mut self, error: &watcher::Error) -> Result<(), Failure> {
        let failure = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => {
                failure::of_request("the ApiGateways cannot be watched", &self.server, error)
            }
            watcher::Error::WatchError(status) => {
                let error = kube::Error::Api(status.clone());
                failure::of_request("the ApiGateways cannot be watched", &self.server, &error)
            }
            error => Failure::new(failure::FAILED, error.to_string(), "Start the command again."),
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
                    self.news.push(News::Away(failure.sentence));
                }
            }
        }
        Ok(())
    }
}
