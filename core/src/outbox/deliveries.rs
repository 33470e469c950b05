//! Which gateway's event is sent next. Plain data; the time is an argument.
//!
//! **Architecture invariant:** one event of a gateway is in flight at a time, and the next one follows only a delivered
//! or refused one. So the events of a gateway arrive in order.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use super::due::{Due, due};
use super::positions::{Positions, token};
use crate::api::{ApiGatewayStatus, ObjectKey};

/// How many events are in flight at once, of as many gateways.
const AT_ONCE: usize = 8;

/// The most deleted gateways whose last events are kept.
const MOST_DELETED: usize = 1_000;

/// The backoff after a failure: the first, and the longest of the sink and of one gateway.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST_OF_SINK: Duration = Duration::from_secs(15);
const LONGEST_OF_GATEWAY: Duration = Duration::from_secs(60);

/// The gateways with their positions.
#[derive(Default)]
pub struct Deliveries {
    gateways: HashMap<String, Gateway>,
    /// Gateways with an event to send, and not before when.
    ready: BTreeSet<(Instant, String)>,
    in_flight: usize,
    deleted: usize,
    /// Whether delivered positions are known.
    loaded: bool,
    /// Failures of the sink since its last answer to an event.
    failures: u32,
    paused_until: Option<Instant>,
    changed: bool,
}

struct Gateway {
    key: ObjectKey,
    token: u64,
    /// The number of its transitions.
    seen: i64,
    /// The transitions that were there when this process began to work.
    baseline: i64,
    delivered: i64,
    /// Transitions since the last delivered event that are not delivered.
    skipped: i64,
    /// When the next transition to deliver was recorded.
    recorded: Option<Timestamp>,
    failures: u32,
    stage: Stage,
    /// The last status of a deleted gateway.
    last: Option<Box<ApiGatewayStatus>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Ready(Instant),
    InFlight,
}

/// The gateway whose next event is to be sent.
#[derive(Debug)]
pub struct Next {
    /// Its uid.
    pub uid: String,
    /// Its namespace and name.
    pub key: ObjectKey,
    /// The delivered position.
    pub delivered: i64,
    /// Transitions before that position that were not delivered, since the last event that was.
    pub skipped: i64,
    /// The last status, if the gateway was deleted.
    pub last: Option<Box<ApiGatewayStatus>>,
}

/// How an attempt to send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The sink took the event with this number.
    Delivered(i64),
    /// The sink refused the event with this number. It is not sent again.
    Refused(i64),
    /// The transitions up to this number left the history before they were sent.
    Lost(i64),
    /// There was nothing to send, or nothing to send it from.
    Nothing,
    /// The sink did not take the event. It is sent again, not before this duration.
    Failed {
        /// What the sink asked for.
        retry_after: Duration,
    },
}

impl Deliveries {
    /// Learns of a gateway's status.
    pub fn saw(&mut self, uid: &str, key: &ObjectKey, status: &ApiGatewayStatus, now: Instant) {
        let gateway = self.gateways.entry(uid.to_owned()).or_insert_with(|| Gateway {
            key: key.clone(),
            token: token(uid),
            seen: 0,
            baseline: 0,
            delivered: 0,
            skipped: 0,
            recorded: None,
            failures: 0,
            stage: Stage::Idle,
            last: None,
        });
        gateway.seen = status.transitions;
        gateway.recorded = recorded(status, gateway.delivered);
        if self.loaded && gateway.stage == Stage::Idle && gateway.recorded.is_some() {
            gateway.stage = Stage::Ready(now);
            self.ready.insert((now, uid.to_owned()));
        }
    }

    /// Learns that a gateway was deleted, with its last status if that is known. Returns how many of its events are
    /// lost.
    pub fn gone(&mut self, uid: &str, last: Option<&ApiGatewayStatus>) -> i64 {
        let room = self.deleted < MOST_DELETED;
        let Some(gateway) = self.gateways.get_mut(uid) else { return 0 };
        if gateway.last.is_some() {
            return 0;
        }
        let left = gateway.seen.saturating_sub(gateway.delivered).max(0);
        match last {
            Some(last) if left > 0 && room && self.loaded => {
                gateway.last = Some(Box::new(ApiGatewayStatus {
                    transitions: last.transitions,
                    history: last.history.clone(),
                    attempt: last.attempt.clone(),
                    ..ApiGatewayStatus::default()
                }));
                self.deleted += 1;
                0
            }
            _ => {
                self.forget(uid);
                if self.loaded { left } else { 0 }
            }
        }
    }

    fn forget(&mut self, uid: &str) {
        let Some(gateway) = self.gateways.remove(uid) else { return };
        match gateway.stage {
            Stage::Ready(at) => drop(self.ready.remove(&(at, uid.to_owned()))),
            Stage::InFlight => self.in_flight = self.in_flight.saturating_sub(1),
            Stage::Idle => {}
        }
        self.deleted -= usize::from(gateway.last.is_some());
        self.changed = true;
    }

    /// Takes the transitions that are there now as older than this process.
    pub fn begin(&mut self) {
        self.gateways.values_mut().for_each(|gateway| gateway.baseline = gateway.seen);
    }

    /// Sets the delivered positions. Without stored ones this is the first operator with a sink: older transitions
    /// are not sent. A gateway without a stored position is new: all of its transitions are.
    pub fn load(&mut self, stored: Option<&Positions>, now: Instant) {
        self.loaded = true;
        self.changed = stored.is_none();
        for (uid, gateway) in &mut self.gateways {
            gateway.delivered = stored.map_or(gateway.baseline, |all| all.get(gateway.token).unwrap_or_default());
            if gateway.seen > gateway.delivered {
                gateway.stage = Stage::Ready(now);
                self.ready.insert((now, uid.clone()));
            }
        }
    }

    /// The next gateway to send an event of, if one is due. It counts as in flight.
    pub fn take(&mut self, now: Instant) -> Option<Next> {
        if !self.has_a_place() || self.paused_until.is_some_and(|until| until > now) {
            return None;
        }
        if self.ready.first().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, uid) = self.ready.pop_first()?;
        let gateway = self.gateways.get_mut(&uid)?;
        gateway.stage = Stage::InFlight;
        self.in_flight += 1;
        let Gateway { delivered, skipped, .. } = *gateway;
        Some(Next { key: gateway.key.clone(), delivered, skipped, last: gateway.last.clone(), uid })
    }

    /// A sink that fails gets one event at a time.
    fn has_a_place(&self) -> bool {
        self.in_flight < if self.failures > 0 { 1 } else { AT_ONCE }
    }

    /// When [`Self::take`] has something next, if nothing else happens.
    pub fn next_turn(&self) -> Option<Instant> {
        if !self.has_a_place() {
            return None;
        }
        let (at, _) = self.ready.first()?;
        Some(self.paused_until.map_or(*at, |until| until.max(*at)))
    }

    /// Learns how an attempt to send ended. `status` is the gateway's current one, if it exists; `jitter` are the
    /// percents that its backoff is longer.
    pub fn finished(
        &mut self,
        uid: &str,
        outcome: Finished,
        status: Option<&ApiGatewayStatus>,
        jitter: u32,
        now: Instant,
    ) {
        if matches!(outcome, Finished::Delivered(_) | Finished::Refused(_)) {
            (self.failures, self.paused_until) = (0, None);
        }
        let Some(gateway) = self.gateways.get_mut(uid).filter(|gateway| gateway.stage == Stage::InFlight) else {
            return;
        };
        self.in_flight = self.in_flight.saturating_sub(1);
        gateway.stage = Stage::Idle;
        let mut at = now;
        match outcome {
            Finished::Delivered(sequence) => {
                (gateway.delivered, gateway.skipped, gateway.failures) = (sequence, 0, 0);
                self.changed = true;
            }
            Finished::Refused(sequence) | Finished::Lost(sequence) => {
                let skipped = sequence.saturating_sub(gateway.delivered);
                gateway.skipped = gateway.skipped.saturating_add(skipped);
                (gateway.delivered, gateway.failures) = (sequence, 0);
                self.changed = true;
            }
            Finished::Nothing => gateway.seen = gateway.delivered,
            Finished::Failed { retry_after } => {
                gateway.failures = gateway.failures.saturating_add(1);
                self.failures = self.failures.saturating_add(1);
                let pause = backoff(self.failures, LONGEST_OF_SINK, jitter).max(retry_after);
                self.paused_until = now.checked_add(pause);
                let later = backoff(gateway.failures, LONGEST_OF_GATEWAY, jitter).max(retry_after);
                at = now.checked_add(later).unwrap_or(now);
            }
        }
        let last = gateway.last.take();
        let status = last.as_deref().or(status);
        gateway.recorded = status.and_then(|status| recorded(status, gateway.delivered));
        let is_over = gateway.recorded.is_none();
        let was_deleted = last.is_some();
        gateway.last = last;
        if !is_over {
            gateway.stage = Stage::Ready(at);
            self.ready.insert((at, uid.to_owned()));
        } else if was_deleted {
            self.forget(uid);
        }
    }

    /// The positions to store, and how many do not fit, if they changed since the last call.
    pub fn changed_positions(&mut self) -> Option<(String, usize)> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        Some(Positions::text(self.gateways.values().map(|gateway| (gateway.token, gateway.delivered))))
    }

    /// Notes that positions could not be stored.
    pub fn not_stored(&mut self) {
        self.changed = true;
    }

    /// How many transitions wait, and when the oldest of them was recorded.
    pub fn backlog(&self) -> (i64, Option<Timestamp>) {
        if !self.loaded {
            return (0, None);
        }
        let waiting = self.gateways.values().map(|gateway| gateway.seen.saturating_sub(gateway.delivered).max(0));
        let oldest = self.gateways.values().filter_map(|gateway| gateway.recorded).min();
        (waiting.fold(0, i64::saturating_add), oldest)
    }
}

/// When the next transition to deliver was recorded. `None` if there is none. The time of a transition that left the
/// history is not known, so it counts as the newest.
fn recorded(status: &ApiGatewayStatus, delivered: i64) -> Option<Timestamp> {
    match due(status, delivered) {
        Due::Nothing => None,
        Due::Event(event) => Some(event.transition.at.0),
        Due::Lost { .. } => Some(Timestamp::MAX),
    }
}

fn backoff(failures: u32, longest: Duration, jitter: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    doubled + doubled * jitter / 100
}
