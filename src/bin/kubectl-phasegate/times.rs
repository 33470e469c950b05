//! Durations and ages in words.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use phasegate::decide::human;

/// The time since a moment. It is zero for a moment in the future.
pub fn since(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or_default()
}

/// A duration in seconds, as users write it (`2m18s`).
pub fn seconds(seconds: i64) -> String {
    human(Duration::from_secs(seconds.max(0).unsigned_abs()))
}

/// An age in at most two units, as kubectl prints it: `42s`, `5m10s`, `3h`, `2d4h`, `90d`.
pub fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0..=1) => format!("{seconds}s"),
        (0, 0, 2..=9) if !seconds.is_multiple_of(60) => format!("{minutes}m{}s", seconds % 60),
        (0, 0, _) | (0, 1..=2, _) => format!("{minutes}m"),
        (0, 3..=7, _) if !minutes.is_multiple_of(60) => format!("{hours}h{}m", minutes % 60),
        (0, _, _) | (1, _, _) => format!("{hours}h"),
        (2..=7, _, _) if !hours.is_multiple_of(24) => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_as_kubectl_words_it() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (310, "5m10s"),
            (600, "10m"),
            (3_600, "60m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (86_400, "24h"),
            (172_800, "2d"),
            (187_200, "2d4h"),
            (7_776_000, "90d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }
}
