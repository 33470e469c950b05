//! Statuses, each kept once. Their stamps count from a fixed now: time passes by making every stamp older.
//!
//! **Architecture invariant:** what is left out of a status (old history, the number of transitions without a
//! registry, ages that change nothing any more) is read by no decision.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use phasegate_core::api::{ApiGateway, ApiGatewayStatus, Attempt, condition};
use phasegate_core::decide::observed::Moment;
use phasegate_core::decide::{Place, held, requests};

use crate::world::objects::{KINDS, StatusId};

/// The seconds that pass at once: the start deadline.
pub const TICK: u64 = 300;

/// The time of every decision.
pub const NOW: Timestamp = Timestamp::constant(1_750_000_000, 0);

const ONE: SignedDuration = SignedDuration::from_secs(300);
const TWO: SignedDuration = SignedDuration::from_secs(600);

/// What the model reads of a status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The node of the state diagram.
    pub place: Option<Place>,
    /// The number of the attempt.
    pub attempt: u8,
    /// Whether the deadline is paused.
    pub is_held: bool,
    /// Whether there is a `lastFailure`.
    pub failed: bool,
    /// Whether the host is claimed.
    pub hosts: bool,
    /// The number of restarts.
    pub restarts: u8,
    /// The number of transitions, if it counts.
    pub transitions: u8,
    /// The accepted forms.
    pub accepted: [Option<(u8, u8)>; KINDS.len()],
    /// Whether the last request that was taken up asks to run.
    pub was_asked: bool,
    /// Whether the condition Ready is True.
    pub ready: bool,
}

pub(super) struct Statuses {
    has_host: bool,
    counts_transitions: bool,
    kept: Vec<Option<ApiGatewayStatus>>,
    infos: Vec<Info>,
    ids: HashMap<String, StatusId>,
    aged: HashMap<StatusId, StatusId>,
}

impl Statuses {
    pub(super) fn new(has_host: bool, counts_transitions: bool) -> Self {
        let info = Info { place: Some(Place::New), ..Info::default() };
        let (ids, aged) = (HashMap::new(), HashMap::from([(0, 0)]));
        Self { has_host, counts_transitions, kept: vec![None], infos: vec![info], ids, aged }
    }

    pub(super) fn has_host(&self) -> bool {
        self.has_host
    }

    pub(super) fn get(&self, id: StatusId) -> Option<&ApiGatewayStatus> {
        self.kept[id as usize].as_ref()
    }

    pub(super) fn info(&self, id: StatusId) -> &Info {
        &self.infos[id as usize]
    }

    pub(super) fn keep(&mut self, mut status: ApiGatewayStatus) -> StatusId {
        self.normalise(&mut status);
        let text = serde_json::to_string(&status).unwrap_or_default();
        if let Some(id) = self.ids.get(&text) {
            return *id;
        }
        let id = u32::try_from(self.kept.len()).unwrap_or(u32::MAX);
        self.infos.push(info(&status));
        self.kept.push(Some(status));
        self.ids.insert(text, id);
        id
    }

    pub(super) fn aged(&mut self, id: StatusId) -> StatusId {
        if let Some(aged) = self.aged.get(&id) {
            return *aged;
        }
        let Some(mut status) = self.get(id).cloned() else { return id };
        let age = |stamp: &mut MicroTime| stamp.0 -= ONE;
        if let Some(attempt) = &mut status.attempt {
            age(&mut attempt.started_at);
            attempt.held_since.iter_mut().for_each(age);
        }
        status.history.iter_mut().for_each(|transition| age(&mut transition.at));
        status.last_failure.iter_mut().for_each(|failure| age(&mut failure.at));
        let aged = self.keep(status);
        self.aged.insert(id, aged);
        aged
    }

    pub(super) fn taken_up(&mut self, gateway: &ApiGateway, id: StatusId) -> StatusId {
        let Some(mut status) = self.get(id).cloned() else { return id };
        status.handled = Some(requests::tokens(gateway));
        self.keep(status)
    }

    /// The moment of a decision. The model has one clock, from which every stamp counts.
    pub(super) fn moment(&self, gateway: &ApiGateway, rushed: bool) -> Moment {
        let since = |stamp: Option<&MicroTime>| -> Duration {
            stamp.and_then(|stamp| NOW.duration_since(stamp.0).try_into().ok()).unwrap_or_default()
        };
        let status = gateway.status.as_ref();
        let attempt = status.and_then(|status| status.attempt.as_ref());
        let started = attempt.map(|attempt| &attempt.started_at);
        let long = Duration::from_secs(10 * TICK);
        Moment {
            attempt: if rushed { long } else { since(started) },
            held: since(attempt.and_then(|attempt| attempt.held_since.as_ref())),
            phase: since(status.and_then(|status| status.history.last()).map(|last| &last.at)),
            failure: since(status.and_then(|status| status.last_failure.as_ref()).map(|failure| &failure.at)),
            ..Moment::at(NOW)
        }
    }

    fn normalise(&self, status: &mut ApiGatewayStatus) {
        let runs = Place::of_status(status).is_some_and(Place::is_attempt);
        if let Some(attempt) = &mut status.attempt {
            normalise_clock(attempt, runs);
        }
        let surplus = status.history.len().saturating_sub(1);
        status.history.drain(..surplus);
        for transition in &mut status.history {
            transition.seconds = 0;
            transition.at = not_older(&transition.at);
        }
        status.last_failure.iter_mut().for_each(|failure| failure.at = not_older(&failure.at));
        status.conditions.iter_mut().for_each(|condition| condition.last_transition_time = Time(NOW));
        status.hosts.iter_mut().for_each(|claim| claim.since = MicroTime(NOW));
        if !self.counts_transitions {
            status.transitions = 0;
        }
    }
}

/// An age of more than two deadlines changes nothing.
fn not_older(stamp: &MicroTime) -> MicroTime {
    MicroTime(stamp.0.max(NOW - TWO))
}

/// The same running time, without paused time that is over.
fn normalise_clock(attempt: &mut Attempt, runs: bool) {
    if !runs {
        (attempt.started_at, attempt.held_since, attempt.held_seconds) = (MicroTime(NOW), None, 0);
        return;
    }
    attempt.started_at.0 += SignedDuration::from_secs(attempt.held_seconds);
    attempt.held_seconds = 0;
    match &mut attempt.held_since {
        Some(since) => {
            let surplus = NOW.duration_since(since.0) - TWO;
            if surplus > SignedDuration::ZERO {
                since.0 += surplus;
                attempt.started_at.0 += surplus;
            }
        }
        None => attempt.started_at = not_older(&attempt.started_at),
    }
}

fn info(status: &ApiGatewayStatus) -> Info {
    let small = |number: i64| u8::try_from(number).unwrap_or(u8::MAX);
    let code = |text: &Option<String>| {
        let (desired, stored) = text.as_ref()?.split_once('/')?;
        Some((desired.parse().ok()?, stored.parse().ok()?))
    };
    let accepted = status.accepted.clone().unwrap_or_default();
    Info {
        place: Place::of_status(status),
        attempt: status.attempt.as_ref().map_or(0, |attempt| small(attempt.number)),
        is_held: status.attempt.as_ref().is_some_and(|attempt| attempt.held_since.is_some()),
        failed: status.last_failure.is_some(),
        hosts: !status.hosts.is_empty(),
        restarts: small(status.restarts),
        transitions: small(status.transitions),
        accepted: [code(&accepted.deployment), code(&accepted.service), code(&accepted.ingress)],
        was_asked: held::was_asked_to_run(status),
        ready: status.conditions.iter().any(|found| found.type_ == condition::READY && found.status == "True"),
    }
}
