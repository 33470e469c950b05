//! Backoff for statuses that somebody else writes as well, as for contested children.
//!
//! **Architecture invariant:** a transition waits only if another client changed the phase.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::decide::observed::Repaired;
use crate::decide::repairs;

/// The last own status of each object, by uid.
#[derive(Default)]
pub struct StatusConflicts(Mutex<HashMap<String, OwnStatus>>);

/// Our last status of an object, and how many times in a row another one was found there.
struct OwnStatus {
    status: Fingerprint,
    times: u32,
    at: Instant,
}

/// Fingerprint of a status.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint {
    all: u64,
    phase: u64,
}

impl Fingerprint {
    fn of(status: &impl Serialize) -> Self {
        // Data that was read as JSON can be written as JSON.
        let status = serde_json::to_value(status).unwrap_or_default();
        Self { all: hash(&status), phase: hash(status.get("phase").unwrap_or(&Value::Null)) }
    }
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl StatusConflicts {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, OwnStatus>> {
        // A single assignment each.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The backoff before a status may be written over the one that was found; `None`: no wait. A transition
    /// waits only if the other writer changes the phase; otherwise somebody who writes conditions could suspend
    /// a deadline.
    pub fn waits(&self, uid: &str, found: &impl Serialize, moves: bool, now: Instant) -> Option<Duration> {
        let ours = self.lock();
        let ours = ours.get(uid).filter(|ours| ours.times > 0)?;
        let found = Fingerprint::of(found);
        if found == ours.status || (moves && found.phase == ours.status.phase) {
            return None;
        }
        let left = repairs::wait(ours.times, ours.times).saturating_sub(now.saturating_duration_since(ours.at));
        (!left.is_zero()).then_some(left)
    }

    /// Whether another writer returned each time, so that it must be reported before the next write.
    pub fn is_contested(&self, uid: &str, found: &impl Serialize) -> bool {
        let ours = self.lock();
        ours.get(uid).is_some_and(|ours| ours.times >= Repaired::AT_ONCE && ours.status != Fingerprint::of(found))
    }

    /// Records a status that was written over the one that was found.
    pub fn wrote(&self, uid: &str, found: &impl Serialize, status: &impl Serialize, now: Instant) {
        let mut all = self.lock();
        let before = all.get(uid);
        let counts =
            |ours: &&OwnStatus| now.saturating_duration_since(ours.at) < repairs::forgotten(ours.times, ours.times);
        let times = before.filter(counts).map_or(0, |ours| ours.times);
        let rewrites = before.is_some_and(|ours| ours.status != Fingerprint::of(found));
        // Our own updates in between say nothing about the other writer.
        let at = before.filter(|_| !rewrites).map_or(now, |ours| ours.at);
        let ours = OwnStatus { status: Fingerprint::of(status), times: times + u32::from(rewrites), at };
        all.insert(uid.to_owned(), ours);
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn status(phase: &str, ready: &str) -> Value {
        json!({ "phase": phase, "conditions": [{ "type": "Ready", "status": ready }] })
    }

    #[test]
    fn a_status_that_is_changed_each_time_is_written_ever_more_seldom_and_a_transition_is_not_held_up() {
        let status_conflicts = StatusConflicts::default();
        let (ours, theirs) = (status("Started", "True"), status("Started", "False"));
        let start = Instant::now();
        let mut now = start;
        status_conflicts.wrote("u", &json!(null), &ours, now);
        let mut written = 0;
        while now < start + 60 * SECOND {
            match status_conflicts.waits("u", &theirs, false, now) {
                Some(wait) => now += wait,
                None => {
                    written += 1;
                    status_conflicts.wrote("u", &theirs, &ours, now);
                }
            }
        }
        assert_eq!(written, 7);
        assert!(status_conflicts.is_contested("u", &theirs));
        assert!(!status_conflicts.is_contested("u", &ours), "nobody was there since");
        assert!(status_conflicts.waits("u", &theirs, false, now - SECOND).is_some());
        assert_eq!(status_conflicts.waits("u", &theirs, true, now - SECOND), None, "its deadline has passed");
        assert!(
            status_conflicts.waits("u", &status("Stopped", "True"), true, now - SECOND).is_some(),
            "they write the phase"
        );
        assert_eq!(status_conflicts.waits("other", &theirs, false, now), None);
        status_conflicts.forget("u");
        assert_eq!(status_conflicts.waits("u", &theirs, false, now), None);
    }

    #[test]
    fn our_own_writes_after_each_other_are_no_dispute_and_an_old_one_is_forgotten() {
        let status_conflicts = StatusConflicts::default();
        let (starting, started) = (status("Starting", "False"), status("Started", "True"));
        let now = Instant::now();
        status_conflicts.wrote("u", &json!(null), &starting, now);
        for _ in 0..10 {
            status_conflicts.wrote("u", &starting, &started, now);
            status_conflicts.wrote("u", &started, &starting, now);
        }
        assert_eq!(status_conflicts.waits("u", &started, false, now), None);
        for _ in 0..5 {
            status_conflicts.wrote("u", &started, &starting, now);
        }
        assert!(status_conflicts.waits("u", &started, false, now).is_some());
        status_conflicts.wrote("u", &started, &starting, now + 601 * SECOND);
        assert_eq!(status_conflicts.waits("u", &started, false, now + 601 * SECOND), None);
    }
}
