//! When the API server was out of reach: time for which no gateway is to blame.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;

/// The times at which this process could not reach the API server.
#[derive(Clone)]
pub struct Outages {
    client: Client,
    periods: Arc<Mutex<Vec<Period>>>,
}

#[derive(Clone, Copy, Debug)]
struct Period {
    began: Instant,
    ended: Option<Instant>,
}

/// How often it is asked whether the API server is back.
const PROBE: Duration = Duration::from_secs(1);
/// Older periods than the longest deadline that makes sense are forgotten.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

impl Outages {
    /// None yet.
    pub fn new(client: Client) -> Self {
        Self { client, periods: Arc::default() }
    }

    /// A request sent at `at` was not answered. From then on the API server counts as out of
    /// reach, until it answers a probe.
    pub fn began(&self, at: Instant) {
        let mut periods = self.lock();
        if periods.last().is_some_and(|last| last.ended.is_none()) {
            return;
        }
        periods.retain(|period| period.ended.is_none_or(|ended| at.saturating_duration_since(ended) < MEMORY));
        periods.push(Period { began: at, ended: None });
        drop(periods);
        tracing::warn!("the API server is out of reach; the clocks of all starts are held");
        let outages = self.clone();
        tokio::spawn(async move {
            while !matches!(tokio::time::timeout(5 * PROBE, outages.client.apiserver_version()).await, Ok(Ok(_))) {
                tokio::time::sleep(PROBE).await;
            }
            if let Some(last) = outages.lock().last_mut() {
                last.ended = Some(Instant::now());
                tracing::warn!(seconds = last.began.elapsed().as_secs(), "the API server is back");
            }
        });
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
