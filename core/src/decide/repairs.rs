//! How often a child is put right that somebody changes again and again.
//!
//! The first repairs follow each edit at once: a person edits now and then. Whoever comes back to the same field each time is
//! another controller, and a repair only makes it write again; so the waits grow, per child, whatever the calls answer. They grow
//! as well, a third as fast, where each edit is of another field.

use std::time::Duration;

use super::observed::Repaired;

/// The longest wait between two repairs of a child.
const LONGEST: Duration = Duration::from_secs(300);
/// For how long a child is at least to be left alone by others before its repairs are forgotten.
const CALM: Duration = Duration::from_secs(60);

/// How long a child is left alone after so many repairs, `here` of them of the same field.
pub fn wait(total: u32, here: u32) -> Duration {
    match level(total, here).checked_sub(Repaired::AT_ONCE) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(2_u64.saturating_pow(more + 1)).min(LONGEST),
    }
}

/// How often in a row a child counts as put right, after so many repairs, `here` of them of the same field.
pub fn level(total: u32, here: u32) -> u32 {
    here.max(total.div_ceil(3))
}

/// For how long repairs are counted at least: whoever comes back every few minutes is named as well.
const COUNTED: Duration = Duration::from_secs(600);

/// How long after the last of so many repairs they count for nothing any more.
pub fn forgotten(total: u32, here: u32) -> Duration {
    COUNTED.max(calm(total, here))
}

/// How long after the last of so many repairs the child is in nobody's dispute.
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
        assert_eq!(written(|times| wait(times, 1)), [17, 2, 2, 6], "of another field each time");
    }

    #[test]
    fn a_dispute_ends_with_a_calm_and_its_repairs_are_forgotten_later() {
        assert_eq!((calm(1, 1).as_secs(), forgotten(1, 1).as_secs()), (60, 600));
        assert_eq!((calm(8, 8).as_secs(), forgotten(8, 8).as_secs()), (128, 600));
        assert_eq!((calm(11, 11).as_secs(), forgotten(11, 11).as_secs()), (600, 600));
    }
}
