//! The arguments of a decision, from what was recorded about it. What was observed is recorded nowhere except in
//! the reason, so the world is one in which the reason is true.
//!
//! **Architecture invariant:** each fact that is not recorded is named in `assumed`. The result of the recorded
//! decision is used for nothing else than to choose among worlds of the same reason.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde_json::json;

use super::super::allowance::NotAllowed;
use super::super::observed::{HostVerdict, Moment, Observed, Presence, Settings, Tried, Unsupported};
use super::super::place::Place;
use super::super::requests::{self, Requests};
use super::super::rows::Row;
use super::recorded::Recorded;
use crate::api::{
    ApiGateway, ApiGatewayStatus, Attempt, DesiredState, Phase, RESTART_ANNOTATION, RETRY_ANNOTATION, Reason,
    StartRetries, State, UnknownFields,
};

/// The arguments of a decision.
pub(super) struct Facts {
    pub(super) gateway: ApiGateway,
    pub(super) observed: Observed,
    pub(super) moment: Moment,
    pub(super) settings: Settings,
    /// Facts that are not recorded.
    pub(super) assumed: Vec<&'static str>,
    /// Whether a fact is a value of another version.
    pub(super) foreign: bool,
}

/// Recorded durations are whole seconds, so a duration may have been up to this much longer.
const ROUNDED_OFF: Duration = Duration::from_millis(999);

/// A time that is longer than any backoff.
const LONG: Duration = Duration::from_secs(u32::MAX as u64);

impl Facts {
    /// The facts of a recorded decision. `before` is the transition before it, if that is recorded.
    pub(super) fn of(recorded: &Recorded, before: Option<&Recorded>) -> serde_json::Result<Self> {
        let spec = serde_json::from_value(json!({ "image": "recorded" }))?;
        let lasted = Duration::from_secs(recorded.seconds.max(0).unsigned_abs());
        let mut facts = Self {
            gateway: ApiGateway::new("recorded", spec),
            observed: Observed { tried: Tried::Late, ..Observed::nothing() },
            moment: Moment { attempt: lasted + ROUNDED_OFF, phase: lasted, ..Moment::at(recorded.at) },
            settings: Settings::default(),
            assumed: Vec::new(),
            foreign: !recorded.reason.is_known() || !recorded.state.is_known(),
        };
        facts.recall(recorded, before);
        facts.ask(recorded);
        facts.observe(recorded)?;
        Ok(facts)
    }

    /// The status before the decision.
    fn recall(&mut self, recorded: &Recorded, before: Option<&Recorded>) {
        let state = match (&recorded.from, before) {
            (None, _) => None,
            (_, Some(before)) => Some(before.state),
            (Some(phase), None) => {
                let (state, is_certain) = state_before(phase, recorded);
                if !is_certain {
                    self.assumed.push("status.state before it");
                }
                Some(state)
            }
        };
        self.foreign |= Place::of(recorded.from.as_ref(), state).is_none();
        let begins = recorded.to == Phase::Starting;
        let number = match before {
            Some(before) => before.attempt,
            None => recorded.attempt.map(|number| number.saturating_sub(i64::from(begins))),
        };
        let attempt = Attempt {
            number: number.unwrap_or_default(),
            started_at: MicroTime(recorded.at.checked_sub(self.moment.attempt).unwrap_or(recorded.at)),
            // Each pause is rounded up.
            held_seconds: recorded.paused.unwrap_or_default().saturating_sub(1).max(0),
            held_since: None,
            retries_left: Some(1),
            others: UnknownFields::new(),
        };
        self.gateway.metadata.generation = Some(1);
        self.gateway.status = Some(ApiGatewayStatus {
            phase: recorded.from.clone(),
            state,
            observed_generation: Some(1),
            attempt: Some(attempt),
            transitions: recorded.number.saturating_sub(1),
            ..ApiGatewayStatus::default()
        });
    }

    /// What the user asks for.
    fn ask(&mut self, recorded: &Recorded) {
        let place = Place::of_gateway(&self.gateway);
        let (state, requests) = match &recorded.asked {
            Some(asked) => (asked.state, asked.requests),
            None => {
                let asked = named(recorded.reason, place);
                if asked != (DesiredState::Running, Requests::default()) {
                    self.assumed.push("the request that the reason names");
                }
                asked
            }
        };
        self.foreign |= !state.is_known();
        let takes_back = recorded.reason == Reason::StartRequested && requests == Requests::default();
        self.gateway.spec.state = state;
        let mut taken_up = requests::tokens(&self.gateway);
        taken_up.state = match state {
            // A stopped gateway that starts without a new request was stopped by its user.
            _ if takes_back && place == Some(Place::Stopped) => DesiredState::Stopped,
            DesiredState::Stopped => DesiredState::Running,
            state => state,
        };
        if let Some(status) = &mut self.gateway.status {
            status.handled = Some(taken_up);
        }
        let annotations = self.gateway.metadata.annotations.get_or_insert_default();
        for (is_new, annotation) in [(requests.start, RETRY_ANNOTATION), (requests.restart, RESTART_ANNOTATION)] {
            if is_new {
                annotations.insert(annotation.to_owned(), "new".to_owned());
            }
        }
    }

    /// The world of the reason, and the deadline.
    fn observe(&mut self, recorded: &Recorded) -> serde_json::Result<()> {
        let judged_late = match recorded.reason {
            Reason::Resumed | Reason::RestartDeadlineExceeded => true,
            Reason::StartDeadlineExceeded => recorded.to == Phase::Started,
            _ => false,
        };
        match recorded.deadline {
            Some(deadline) => self.settings.start_deadline = deadline,
            None if judged_late => {
                self.assumed.push("the deadline, and that it passed");
                self.settings.start_deadline = Duration::ZERO;
            }
            None => self.settings.start_deadline = self.moment.attempt.saturating_add(ROUNDED_OFF),
        }
        let times_out = recorded.reason == Reason::StartDeadlineExceeded && recorded.to == Phase::Started;
        let (assumed, has_pods) = match recorded.reason {
            Reason::Started => {
                self.observed.rollout.complete = true;
                self.observed.rollout.available = 1;
                ("the workload is ready, and its environments are Active", true)
            }
            Reason::RestartDeadlineExceeded => {
                self.observed.rollout.available = 1;
                ("a pod is available", true)
            }
            _ if times_out && recorded.state == State::Running => {
                self.observed.rollout.available = 1;
                ("traffic reaches an available pod", true)
            }
            _ if times_out => ("traffic reaches no available pod", true),
            Reason::Resumed => {
                self.observed.tried = Tried::Never;
                ("a child is missing, and the operator has just been started", false)
            }
            Reason::RetryScheduled => {
                self.gateway.spec.start_retries = Some(StartRetries { limit: 1, backoff: None });
                self.moment.failure = LONG;
                ("a retry is left, and its backoff is over", false)
            }
            Reason::Stopped if recorded.row == Some(Row::OnlyTerminating) => {
                self.observed.pods.total = 1;
                self.observed.pods.terminating = 1;
                self.settings.cleanup_stuck_after = Duration::ZERO;
                ("only terminating pods are left, for too long", false)
            }
            Reason::Stopped => ("no child and no pod is left", false),
            Reason::Deleting => {
                self.gateway.metadata.deletion_timestamp = Some(Time(recorded.at));
                self.gateway.metadata.finalizers = Some(vec!["recorded".to_owned()]);
                ("deletion was requested, and a finalizer keeps the object", false)
            }
            reason if self.block(reason)? => ("the obstacle that the reason names", false),
            // The request is the whole reason, or no row of this version has the reason.
            _ => return Ok(()),
        };
        self.assumed.push(assumed);
        if has_pods {
            self.observed.deployment = Presence::Equal;
            self.observed.service = Presence::Equal;
        }
        Ok(())
    }

    /// Adds the obstacle that a reason names; `false` if it names none.
    fn block(&mut self, reason: Reason) -> serde_json::Result<bool> {
        let text = || "recorded".to_owned();
        let violation = || NotAllowed { field: text(), asked: text(), by: text(), instead: text() };
        let observed = &mut self.observed;
        match reason {
            Reason::HostTaken => observed.host = HostVerdict::Taken { host: text(), by: text() },
            Reason::HostNotAllowed => observed.host = HostVerdict::TooWide { host: text() },
            Reason::HostLimitReached => observed.host = HostVerdict::TooMany { host: text(), limit: 0 },
            Reason::NotAllowed => observed.violations.pods = Some(violation()),
            Reason::IngressClassNotAllowed => observed.violations.ingress_class = Some(violation()),
            Reason::ParentRefNotAllowed => observed.violations.parent_ref = Some(violation()),
            Reason::ExposureUnsupported => observed.routing.unsupported = Some(Unsupported::NoDefinition),
            Reason::NameTaken => observed.service = Presence::Foreign(text()),
            Reason::WaitingForDeletion => observed.service = Presence::Predecessor,
            Reason::RegistryUnavailable => observed.registry.unavailable = Some(text()),
            Reason::InvalidSpec => {
                self.gateway.spec.resources = Some(serde_json::from_value(json!({ "limits": { "cpu": "recorded" } }))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// `status.state` in a phase, and whether it follows from the phase. Otherwise the reason decides.
fn state_before(phase: &Phase, recorded: &Recorded) -> (State, bool) {
    match phase {
        Phase::Created => (State::Running, true),
        Phase::Stopping | Phase::Stopped | Phase::Deleting => (State::Stopped, true),
        Phase::Starting if recorded.reason == Reason::RestartDeadlineExceeded => (State::Restarting, false),
        Phase::Starting if recorded.to == Phase::Starting => (recorded.state, false),
        Phase::Started if matches!(recorded.reason, Reason::StartDeadlineExceeded | Reason::StartRequested) => {
            (State::Stopped, false)
        }
        _ => (State::Running, false),
    }
}

/// What a user asked for, as far as a reason names it.
fn named(reason: Reason, place: Option<Place>) -> (DesiredState, Requests) {
    let has_begun = !matches!(place, Some(Place::New | Place::Created));
    match reason {
        Reason::StopRequested => (DesiredState::Stopped, Requests::default()),
        Reason::StartRequested => (DesiredState::Running, Requests { start: has_begun, restart: false }),
        Reason::RestartRequested => (DesiredState::Running, Requests { start: false, restart: true }),
        _ => (DesiredState::Running, Requests::default()),
    }
}
