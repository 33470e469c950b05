//! Exponential backoff with jitter.
//!
//! **Architecture invariant:** this module does not sleep. It computes delays.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use kube::runtime::utils::Backoff;

/// The delay after a number of failures in a row: `first`, doubled with each further failure up to `longest`,
/// plus up to a quarter of jitter, so that what failed together does not return together.
pub fn delay(failures: u32, first: Duration, longest: Duration) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let delay = doubled.min(longest);
    // A fresh RandomState is random per process and call: good enough for jitter.
    let percent = u32::try_from(RandomState::new().hash_one(failures) % 25).unwrap_or_default();
    delay + delay * percent / 100
}

/// Time without a failure after which the backoff of a watch is reset.
pub const STEADY: Duration = Duration::from_secs(60);

/// The backoff of watches: from half a second to ten seconds. A person waits for the operator to come back.
#[derive(Default)]
pub struct WatchBackoff {
    failures: u32,
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        Some(delay(self.failures, Duration::from_millis(500), Duration::from_secs(10)))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The delay before a watch whose resource version is too old lists again. This is no failure of the API server, so
/// that the list follows at once. If it occurs again within [`STEADY`], it is asked with backoff.
#[derive(Default)]
pub struct RelistBackoff {
    backoff: WatchBackoff,
    last: Option<Instant>,
}

impl RelistBackoff {
    /// The delay of a list at this time; `None`: at once.
    pub fn delay(&mut self, now: Instant) -> Option<Duration> {
        let last = self.last.replace(now);
        if last.is_some_and(|last| now.duration_since(last) < STEADY) {
            return self.backoff.next();
        }
        self.backoff.reset();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_waits_longer_every_time_and_at_most_a_quarter_more_than_the_longest() {
        let between = |failures, least_ms, most_ms| {
            let delay = delay(failures, Duration::from_millis(100), Duration::from_secs(30)).as_millis();
            assert!((least_ms..=most_ms).contains(&delay), "{failures} failures: {delay} ms");
        };
        between(1, 100, 125);
        between(2, 200, 250);
        between(5, 1_600, 2_000);
        between(60, 30_000, 37_500);
    }

    #[test]
    fn a_watch_that_goes_on_begins_anew() {
        let mut backoff = WatchBackoff::default();
        let longest = backoff.by_ref().take(10).last().map(|delay| delay.as_secs());
        assert!(longest.is_some_and(|seconds| (10..=12).contains(&seconds)), "{longest:?}");
        backoff.reset();
        let first = backoff.next().map(|delay| delay.as_millis());
        assert!(first.is_some_and(|millis| (500..=625).contains(&millis)), "{first:?}");
    }

    #[test]
    fn a_watch_that_is_too_old_lists_at_once_and_with_backoff_if_that_repeats() {
        let mut relist = RelistBackoff::default();
        let first = Instant::now();
        let after = |seconds| first + Duration::from_secs(seconds);
        assert_eq!(relist.delay(first), None);
        let between = |delay: Option<Duration>, least_ms, most_ms| {
            let delay = delay.map(|delay| delay.as_millis());
            assert!(delay.is_some_and(|delay| (least_ms..=most_ms).contains(&delay)), "{delay:?}");
        };
        between(relist.delay(after(1)), 500, 625);
        between(relist.delay(after(2)), 1_000, 1_250);
        between(relist.delay(after(61)), 2_000, 2_500);
        assert_eq!(relist.delay(after(121)), None, "steady for a minute");
        between(relist.delay(after(122)), 500, 625);
    }
}
