//! The backoff of repairs, for a child that somebody changes again and again.
//!
//! The first repairs follow each edit at once: a person edits now and then. An edit of the same field after
//! each repair comes from another controller, and a further repair only makes it write again. So the backoff
//! grows, per child, whatever the API calls answer. It grows a third as fast if each edit is of another field.
//!
//! **Architecture invariant:** this module decides when a child may be repaired, not how.

use std::time::Duration;

use super::observed::Repaired;

/// The longest backoff between two repairs of a child.
const LONGEST: Duration = Duration::from_secs(300);
/// The least time without a change before repairs of a child are forgotten.
const CALM: Duration = Duration::from_secs(60);

/// The backoff after `total` repairs, `here` of them of the same field.
pub fn wait(total: u32, here: u32) -> Duration {
    match level(total, here).checked_sub(Repaired::AT_ONCE) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(2_u64.saturating_pow(more + 1)).min(LONGEST),
    }
}

/// The number of repairs in a row that count, after `total` repairs, `here` of them of the same field.
pub fn level(total: u32, here: u32) -> u32 {
    here.max(total.div_ceil(3))
}

/// The least time for which repairs count, so that a controller that returns every few minutes is reported as
/// well.
const COUNTED: Duration = Duration::from_secs(600);

/// The time after the last of `total` repairs when they do not count any more.
pub fn forgotten(total: u32, here: u32) -> Duration {
    COUNTED.max(calm(total, here))
}

/// The time after the last of `total` repairs when the dispute counts as over.
pub fn calm(total: u32, here: u32) -> Duration {
    CALM.max(2 * wait(total, here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_repairs_follow_at_once_and_then_they_come_ever_more_seldom() {
        let waits: Vec<u64> = (1..=13).map(|times| wait(times, times).as_secs()).collect();
        assert_eq!(waits, [0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(wait(u32::MAX, 1), LONGEST);
        let of_other_fields: Vec<u64> = (1..=13).map(|times| wait(times, 1).as_secs()).collect();
        assert_eq!(of_other_fields, [0, 0, 0, 0, 0, 0, 2, 2, 2, 4, 4, 4, 8]);
    }

    /// A second controller that answers each repair at once.
    #[test]
    fn a_child_that_is_changed_each_time_is_written_few_times() {
        let written = |wait: fn(u32) -> Duration| {
            let (mut now, mut times, mut written) = (Duration::ZERO, 0, Vec::new());
            while now < Duration::from_secs(3600) {
                times += 1;
                written.push(now.as_secs());
                now += wait(times);
            }
            [(0, 60), (60, 120), (120, 180), (1800, 3600)]
                .map(|(from, to)| written.iter().filter(|at| (from..to).contains(*at)).count())
        };
        assert_eq!(written(|times| wait(times, times)), [7, 1, 1, 6]);
        assert_eq!(written(|times| wait(times, 1)), [17, 2, 2, 6], "a different field each time");
    }

    #[test]
    fn a_dispute_ends_with_a_calm_and_its_repairs_are_forgotten_later() {
        assert_eq!((calm(1, 1).as_secs(), forgotten(1, 1).as_secs()), (60, 600));
        assert_eq!((calm(8, 8).as_secs(), forgotten(8, 8).as_secs()), (128, 600));
        assert_eq!((calm(11, 11).as_secs(), forgotten(11, 11).as_secs()), (600, 600));
    }
}
