//! Measures how long ago a stored moment is, regardless of steps of the wall clock.
//!
//! **Architecture invariant:** a pass reads the clocks once, here. Judgements use the monotonic clock; the wall
//! clock is only written down.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::api::ApiGateway;
use crate::cluster::reachability::Outages;
use crate::decide::observed::Moment;

/// Both clocks, read once per pass.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The wall clock, for timestamps.
    pub wall: Timestamp,
    /// The monotonic clock, for judgements.
    pub monotonic: Instant,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self { wall: Timestamp::now(), monotonic: Instant::now() }
    }
}

/// Remembers when each stored moment of a gateway was first seen, and counts on the monotonic clock from then
/// on.
#[derive(Clone, Debug, Default)]
pub struct Stopwatches {
    met: Vec<Stopwatch>,
}

#[derive(Clone, Debug)]
struct Stopwatch {
    stamp: Timestamp,
    at: Instant,
    elapsed: Duration,
}

impl Stopwatches {
    /// The moment of a decision about a gateway. Outages do not count towards an attempt.
    pub fn moment(&mut self, gateway: &ApiGateway, now: Now, outages: &Outages) -> Moment {
        let status = gateway.status.as_ref();
        let attempt = status.and_then(|status| status.attempt.as_ref());
        let stamps = [
            attempt.map(|attempt| attempt.started_at.0),
            attempt.and_then(|attempt| attempt.held_since.as_ref()).map(|since| since.0),
            status.and_then(|status| status.history.last()).map(|last| last.at.0),
            status.and_then(|status| status.last_failure.as_ref()).map(|failure| failure.at.0),
            gateway.metadata.deletion_timestamp.as_ref().map(|asked| asked.0),
        ];
        let [attempt, held, phase, failure, deletion] = self.read(stamps, now.wall, now.monotonic);
        // An outage during a held clock is subtracted once.
        let [attempt, held] = [attempt, held].map(|time| time.saturating_sub(outages.within(time, now.monotonic)));
        Moment { now: now.wall, attempt, held, phase, failure, deletion, unrecorded: Duration::ZERO }
    }

    /// The age of each of `stamps`; zero if it is absent or in the future. Other moments are forgotten.
    pub fn read<const N: usize>(
        &mut self,
        stamps: [Option<Timestamp>; N],
        wall: Timestamp,
        monotonic: Instant,
    ) -> [Duration; N] {
        self.met.retain(|met| stamps.contains(&Some(met.stamp)));
        stamps.map(|stamp| stamp.map_or(Duration::ZERO, |stamp| self.since(stamp, wall, monotonic)))
    }

    fn since(&mut self, stamp: Timestamp, wall: Timestamp, monotonic: Instant) -> Duration {
        if let Some(met) = self.met.iter().find(|met| met.stamp == stamp) {
            return met.elapsed + monotonic.saturating_duration_since(met.at);
        }
        let elapsed = Duration::try_from(wall.duration_since(stamp)).unwrap_or_default();
        self.met.push(Stopwatch { stamp, at: monotonic, elapsed });
        elapsed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_wall_clock_that_steps_back_or_forth_changes_nothing_once_a_moment_was_met() {
        let mut watches = Stopwatches::default();
        let start = Instant::now();
        assert_eq!(watches.read([Some(at(100))], at(110), start), [10 * SECOND]);
        assert_eq!(watches.read([Some(at(100))], at(9_999), start + 5 * SECOND), [15 * SECOND]);
        assert_eq!(watches.read([Some(at(100))], at(3), start + 6 * SECOND), [16 * SECOND]);
    }

    #[test]
    fn a_moment_in_the_future_is_zero_ago() {
        let mut watches = Stopwatches::default();
        assert_eq!(watches.read([Some(at(200)), None], at(100), Instant::now()), [Duration::ZERO; 2]);
    }

    #[test]
    fn a_moment_that_is_not_asked_for_is_forgotten() {
        let mut watches = Stopwatches::default();
        let start = Instant::now();
        watches.read([Some(at(100))], at(110), start);
        watches.read([Some(at(105))], at(110), start);
        assert_eq!(watches.read([Some(at(100))], at(120), start), [20 * SECOND]);
    }
}
