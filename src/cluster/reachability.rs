//! When the API server was out of reach: time for which no gateway is to blame.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::pulse::Pulses;

/// When the API server was last heard of, by an answer or by a watch.
#[derive(Clone)]
pub struct LastHeard(Arc<Mutex<Instant>>);

impl Default for LastHeard {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl LastHeard {
    /// It was heard of now.
    pub fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn at(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The times at which this process could not reach the API server.
#[derive(Clone)]
pub struct Outages {
    client: Client,
    heard: LastHeard,
    pulses: Pulses,
    periods: Arc<Mutex<Vec<Period>>>,
    noticed: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
struct Period {
    began: Instant,
    ended: Option<Instant>,
}

/// How often it is asked whether the API server is back.
const PROBE: Duration = Duration::from_secs(1);
/// How long the watches are waited for once the API server answers. One may fail for a reason of its own.
const CATCHING_UP: Duration = Duration::from_secs(30);
/// Older periods than the longest deadline that makes sense are forgotten.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

impl Outages {
    /// None yet, and what finds the end of each that is noticed, for as long as somebody runs it.
    pub fn new(client: Client, heard: LastHeard, pulses: Pulses) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let outages = Self { client, heard, pulses, periods: Arc::default(), noticed: Arc::default() };
        (outages.clone(), outages.end_them())
    }

    /// A request was not answered for as long as `waited`. Where something else was heard meanwhile, the API server is
    /// slow and not out of reach.
    pub fn unanswered(&self, waited: Duration) {
        if self.heard.at().elapsed() >= waited {
            self.began();
        }
    }

    /// A request could not be sent or its answer not be read, or a watch broke. From when the API server was last heard of it
    /// counts as out of reach, until it answers a probe and everything is watched again. An API server that hangs is noticed
    /// only by the first request to it, which may come much later.
    pub fn began(&self) {
        let at = self.heard.at();
        let mut periods = self.lock();
        if periods.last().is_some_and(|last| last.ended.is_none()) {
            return;
        }
        periods.retain(|period| period.ended.is_none_or(|ended| at.saturating_duration_since(ended) < MEMORY));
        periods.push(Period { began: at, ended: None });
        drop(periods);
        tracing::warn!("the API server is out of reach; the clocks of all starts are held");
        self.noticed.notify_one();
    }

    async fn end_them(self) {
        loop {
            self.noticed.notified().await;
            while !self.answers().await {
                tokio::time::sleep(PROBE).await;
            }
            // What happened meanwhile is not known before the watches go on.
            let answered = Instant::now();
            while !self.pulses.all_go_well() && answered.elapsed() < CATCHING_UP {
                tokio::time::sleep(PROBE).await;
            }
            if let Some(last) = self.lock().last_mut() {
                last.ended = Some(Instant::now());
                tracing::warn!(seconds = last.began.elapsed().as_secs(), "the API server is back");
            }
        }
    }

    async fn answers(&self) -> bool {
        match tokio::time::timeout(5 * PROBE, self.client.apiserver_version()).await {
            Ok(Ok(_)) => true,
            // Refused is answered; too busy is not.
            Ok(Err(kube::Error::Api(status))) => status.code < 500 && status.code != 429,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Since when the API server has been out of reach, if it is.
    pub fn ongoing(&self) -> Option<Duration> {
        self.lock().last().filter(|last| last.ended.is_none()).map(|last| last.began.elapsed())
    }

    /// How much of the time since `past` before `now` the API server was out of reach.
    pub fn within(&self, past: Duration, now: Instant) -> Duration {
        overlap(&self.lock(), past, now)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Period>> {
        // Periods are added and ended by one assignment each.
        self.periods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn overlap(periods: &[Period], past: Duration, now: Instant) -> Duration {
    periods
        .iter()
        .map(|period| {
            // Counted back from now: the time before may be before this process began.
            let from = now.saturating_duration_since(period.began).min(past);
            let until = period.ended.map_or(Duration::ZERO, |ended| now.saturating_duration_since(ended));
            from.saturating_sub(until)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_request_that_is_not_answered_while_others_are_is_no_outage() {
        let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::convert::Infallible>>()
        });
        let heard = LastHeard::default();
        let (outages, _) = Outages::new(Client::new(nobody, "a"), heard.clone(), Pulses::default());

        heard.now();
        outages.unanswered(3_600 * SECOND);
        assert_eq!(outages.ongoing(), None);
        outages.unanswered(Duration::ZERO);
        assert!(outages.ongoing().is_some());
    }

    #[test]
    fn only_what_falls_into_the_time_asked_for_counts() {
        let start = Instant::now();
        let now = start + 100 * SECOND;
        let periods = [
            Period { began: start + 10 * SECOND, ended: Some(start + 20 * SECOND) },
            Period { began: start + 60 * SECOND, ended: Some(start + 75 * SECOND) },
            Period { began: start + 95 * SECOND, ended: None },
        ];
        assert_eq!(overlap(&periods, 1_000 * SECOND, now), 30 * SECOND);
        assert_eq!(overlap(&periods, 30 * SECOND, now), 10 * SECOND);
        assert_eq!(overlap(&periods, 2 * SECOND, now), 2 * SECOND);
        assert_eq!(overlap(&periods[..2], 20 * SECOND, now), Duration::ZERO);
        assert_eq!(overlap(&[], 20 * SECOND, now), Duration::ZERO);
    }
}
