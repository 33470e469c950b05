//! Exponential backoff with jitter.
//!
//! **Architecture invariant:** this module does not sleep. It computes delays.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

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
}
