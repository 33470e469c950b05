//! How often a child is put right that somebody changes again and again.
//!
//! The first repairs follow each edit at once: a person edits now and then. Whoever comes back each time is another
//! controller, and a repair only makes it write again; so the waits grow, per child, whatever the calls answer.

use std::time::Duration;

use super::observed::Repaired;

/// The longest wait between two repairs of a child.
const LONGEST: Duration = Duration::from_secs(300);
/// For how long a child is at least to be left alone by others before its repairs are forgotten.
const CALM: Duration = Duration::from_secs(60);

/// How long a child is left alone after so many repairs.
pub fn wait(times: u32) -> Duration {
    match times.checked_sub(Repaired::AT_ONCE) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(2_u64.saturating_pow(more + 1)).min(LONGEST),
    }
}

/// How long after the last of so many repairs they are forgotten.
pub fn calm(times: u32) -> Duration {
    CALM.max(2 * wait(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_repairs_follow_at_once_and_then_they_come_ever_more_seldom() {
        let waits: Vec<u64> = (1..=13).map(|times| wait(times).as_secs()).collect();
        assert_eq!(waits, [0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(wait(u32::MAX), LONGEST);
    }

    /// A second controller that answers each repair at once.
    #[test]
    fn a_child_that_is_changed_each_time_is_written_few_times() {
        let (mut now, mut times, mut written) = (Duration::ZERO, 0, Vec::new());
        while now < Duration::from_secs(3600) {
            times += 1;
            written.push(now.as_secs());
            now += wait(times);
        }
        let within = |from: u64, to: u64| written.iter().filter(|at| (from..to).contains(*at)).count();
        assert_eq!(within(0, 60), 7);
        assert_eq!(within(60, 120), 1);
        assert_eq!(within(120, 180), 1);
        assert_eq!(within(1800, 3600), 6);
    }

    #[test]
    fn repairs_are_forgotten_after_a_calm() {
        assert_eq!(calm(1), Duration::from_secs(60));
        assert_eq!(calm(8), Duration::from_secs(128));
    }
}
