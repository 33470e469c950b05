//! The conditions of a gateway, following kstatus.
//!
//! **Architecture invariant:** this module finds no cause of a failure: `diagnosis` and `cleanup` do.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::allowance::Violations;
use super::cleanup::Remaining;
use super::diagnosis::{self, Cause};
use super::observed::{Child, Presence, Target};
use super::place::Place;
use super::situation::{DueStart, Situation};
use super::words::{ended, human, plain, say};
use super::{cleanup, deadline, readiness};
use crate::api::{ApiGatewayStatus, Reason, Serving, StoredChange, Subject, condition};

/// The status, reason and message of one condition.
#[derive(Clone, Debug, PartialEq)]
struct ConditionDraft {
    is: bool,
    reason: Reason,
    message: String,
    // An addition to the message. Once it was there it stays: what is known about a pod is lost with the pod.
    detail: Option<String>,
}

/// The conditions of a gateway before they are rendered.
pub(super) struct ConditionSet {
    ready: ConditionDraft,
    available: ConditionDraft,
    reconciling: ConditionDraft,
    stalled: ConditionDraft,
    cleanup_stuck: Option<ConditionDraft>,
    /// What quoted messages are about.
    pub(super) subject: Option<Subject>,
}

impl ConditionSet {
    /// Renders the conditions. A condition that does not change keeps its transition time, and with
    /// `keeps_words` also its message if it means the same.
    pub(super) fn conditions(&self, s: &Situation<'_>, before: &[Condition], keeps_words: bool) -> Vec<Condition> {
        let quotes_more = self.subject.as_ref().is_some_and(|subject| subject.beside.is_some());
        let keeps = |reason| {
            let is_of_several = quotes_more && reason == Reason::WaitingForDeletion;
            keeps_words && (is_of_several || has_others_words(reason))
        };
        [
            (condition::READY, Some(&self.ready)),
            (condition::AVAILABLE, Some(&self.available)),
            (condition::RECONCILING, Some(&self.reconciling)),
            (condition::STALLED, Some(&self.stalled)),
            (condition::CLEANUP_STUCK, self.cleanup_stuck.as_ref()),
        ]
        .into_iter()
        .filter_map(|(type_, draft)| Some((type_, draft?)))
        .map(|(type_, draft)| draft.render(s, type_, find(before, type_), keeps(draft.reason)))
        .chain(of_other_versions(before).cloned())
        .collect()
    }
}

impl ConditionDraft {
    /// Whether it reports progress without a known problem.
    fn is_on_its_way(&self) -> bool {
        matches!(self.reason, Reason::Starting | Reason::Restarting | Reason::RollingOut)
    }

    fn render(&self, s: &Situation<'_>, type_: &str, before: Option<&Condition>, keeps_words: bool) -> Condition {
        let generation = s.gateway.metadata.generation;
        let unturned = before.filter(|before| (before.status == "True") == self.is);
        // The same cause seen in another pod or worded anew is no news; an update would cost a status write per
        // pod. For another spec it is news.
        let same = unturned.filter(|before| keeps_words && says_still(before, self.reason, generation));
        let had_detail = unturned.filter(|before| {
            self.is_on_its_way()
                && says_still(before, self.reason, generation)
                && before.message.strip_prefix(&self.message).is_some_and(|rest| rest.starts_with(BEFORE_DETAIL))
        });
        let message = match &self.detail {
            Some(detail) => format!("{}{BEFORE_DETAIL}{detail}", self.message),
            None => same.or(had_detail).map_or(&self.message, |before| &before.message).clone(),
        };
        Condition {
            type_: type_.to_owned(),
            status: if self.is { "True" } else { "False" }.to_owned(),
            reason: self.reason.to_string(),
            message: plain(&message),
            observed_generation: generation,
            last_transition_time: Time(seconds(unturned.map_or(s.moment.now, |before| before.last_transition_time.0))),
        }
    }
}

/// The separator between a message and its detail.
const BEFORE_DETAIL: &str = "; not ready yet: ";

/// What a gateway in progress waits for, from the detail of its condition.
pub fn waits_for(condition: &Condition) -> Option<&str> {
    condition.message.split_once(BEFORE_DETAIL).map(|(_, what)| what)
}

/// Condition types that this version does not know. They are kept for the version that does.
pub(super) fn of_other_versions(before: &[Condition]) -> impl Iterator<Item = &Condition> {
    before.iter().filter(|found| !condition::ALL.contains(&found.type_.as_str()))
}

/// Truncates a timestamp to whole seconds, as conditions store it.
pub fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether a condition already has this reason for this generation.
pub(super) fn says_still(before: &Condition, reason: Reason, generation: Option<i64>) -> bool {
    before.reason == reason.as_str() && before.observed_generation == generation
}

/// Whether diagnosis yields this reason.
pub fn is_cause(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::CrashLoop
            | Reason::RunsAsRoot
            | Reason::ConfigMissing
            | Reason::ImagePullFailed
            | Reason::ReadinessFailing
            | Reason::ReadinessGatesNotReady
            | Reason::ContainersNotInitialized
            | Reason::NodeFailed
            | Reason::Unschedulable
            | Reason::SchedulingGated
            | Reason::DeploymentPaused
            | Reason::QuotaExceeded
            | Reason::AdmissionRefused
            | Reason::RouteNotAccepted
            | Reason::RouteNotAnswered
            | Reason::Contested
            | Reason::WebhookUnavailable
            | Reason::ClusterUnavailable
            | Reason::OperatorNotPermitted
            | Reason::WriteUnanswered
    )
}

/// The reason and message of a condition that reports trouble.
pub fn trouble<'a>(status: &'a ApiGatewayStatus, type_: &str) -> Option<(Reason, &'a str)> {
    let found = find(&status.conditions, type_).filter(|found| found.status == "True")?;
    let reason = *Reason::ALL.iter().find(|reason| reason.as_str() == found.reason)?;
    // A registry outage passes by waiting, but not by itself.
    let told = type_ == condition::STALLED || is_cause(reason) || reason == Reason::RegistryUnavailable;
    told.then_some((reason, found.message.as_str()))
}

/// Why a gateway differs from its spec, if known. For a failed attempt it is the cause, not the timeout.
pub fn failing(status: &ApiGatewayStatus) -> Option<Reason> {
    let ready = find(&status.conditions, condition::READY)?;
    let given_up = [Reason::StartDeadlineExceeded, Reason::RestartDeadlineExceeded];
    match &status.last_failure {
        Some(failure) if given_up.iter().any(|reason| reason.as_str() == ready.reason) => Some(failure.reason),
        _ => {
            let troubles = [condition::STALLED, condition::RECONCILING].map(|type_| trouble(status, type_));
            troubles.into_iter().flatten().next().map(|(reason, _)| reason)
        }
    }
}

/// Who serves while new pods do not become ready.
fn serving(s: &Situation<'_>) -> Serving {
    let rollout = &s.observed.rollout;
    match rollout.available {
        ..=0 => Serving::NoPod,
        // No ReplicaSet of the newest template was created.
        _ if rollout.replicas > rollout.updated || rollout.behind => Serving::OldPods,
        _ => Serving::OtherPods,
    }
}

fn who_serves(serving: Serving) -> &'static str {
    match serving {
        Serving::OldPods => "the old pods keep serving",
        Serving::OtherPods => "other pods keep serving",
        Serving::NoPod => "no pod serves",
    }
}

/// Whether the message of a reason quotes a kubelet, a scheduler or a Deployment, whose wording varies, or
/// names a host's holder or pods, which may change.
fn has_others_words(reason: Reason) -> bool {
    is_cause(reason) || matches!(reason, Reason::ProgressDeadlineExceeded | Reason::HostTaken | Reason::CleanupStuck)
}

fn yes(reason: Reason, message: impl Into<String>) -> ConditionDraft {
    ConditionDraft { is: true, reason, message: message.into(), detail: None }
}

fn no(reason: Reason, message: impl Into<String>) -> ConditionDraft {
    ConditionDraft { is: false, reason, message: message.into(), detail: None }
}

/// The conditions for a gateway whose status will be `status`.
pub(super) fn condition_set(s: &Situation<'_>, status: &ApiGatewayStatus) -> ConditionSet {
    let place = Place::of_status(status);
    let mut condition_set = match place {
        None => unknown_phase(status),
        Some(Place::New | Place::Created) => pending(s),
        Some(Place::Starting) => starting(s, status, Reason::Starting),
        Some(Place::Restarting) => starting(s, status, Reason::Restarting),
        Some(Place::Started) => started(s, status),
        Some(Place::TimedOut | Place::Stopping | Place::Stopped) => stopping_or_stopped(s, status, place),
        Some(Place::Deleting) => deleting(s),
    };
    if let Some(words) = registry_away(s, place) {
        let message = registry_does_not_answer(words);
        if !condition_set.stalled.is {
            condition_set.reconciling = yes(Reason::RegistryUnavailable, &message);
        }
        // A known problem is reported all the same.
        let nothing_wrong =
            matches!(condition_set.ready.reason, Reason::Starting | Reason::Restarting | Reason::Stopping);
        if condition_set.ready.is || nothing_wrong {
            condition_set.ready = no(Reason::RegistryUnavailable, message);
        }
    }
    if s.gateway.spec.suspend && !matches!(place, None | Some(Place::Deleting)) {
        let message = "reconciliation is suspended and the start deadline is paused; set spec.suspend to false to \
                       resume";
        condition_set.reconciling = no(Reason::Suspended, message);
        condition_set.stalled = match blocker(s).filter(|cause| cause.reason == Reason::HostNotAllowed) {
            // Its route is withdrawn all the same.
            Some(cause) => yes(cause.reason, sentence(&cause)),
            None => no(Reason::Suspended, message),
        };
        condition_set.subject = None;
        condition_set.ready = ConditionDraft { is: condition_set.ready.is, ..no(Reason::Suspended, message) };
    }
    if let (Some((field, word)), false) = (s.gateway.spec.unknown_word(), matches!(place, None | Some(Place::Deleting)))
    {
        return ConditionSet { available: condition_set.available, ..unknown_word(field, word) };
    }
    condition_set
}

/// The registry's error, if something of the gateway waits for the registry.
fn registry_away<'a>(s: &Situation<'a>, place: Option<Place>) -> Option<&'a String> {
    let registry = &s.observed.registry;
    let waits = match place {
        None | Some(Place::New | Place::Created | Place::Deleting) => false,
        Some(Place::Starting | Place::Restarting) => s.blocker().is_none(),
        Some(Place::Started | Place::TimedOut | Place::Stopping | Place::Stopped) => registry.owes(),
    };
    registry.unavailable.as_ref().filter(|_| waits)
}

fn registry_does_not_answer(words: &str) -> String {
    format!("the registry is unavailable: {}", say(words))
}

fn deleting(s: &Situation<'_>) -> ConditionSet {
    let left = s.observed.children().iter().any(|(_, presence)| presence.is_ours()) || s.observed.pods.total > 0;
    let mut condition_set = match &s.observed.registry.unavailable {
        Some(words) if !left => {
            let limit = human(s.settings.registry_deletion_timeout);
            let message = format!(
                "{}. Only the gateway's registry record is left; deletion completes without it {limit} after it was \
                 requested",
                registry_does_not_answer(words)
            );
            heals_by_waiting(Reason::RegistryUnavailable, &message)
        }
        _ => match diagnosis::cause_of(s.observed, |what| *what == Target::Finalizers) {
            Some(cause) if !left => visible(cause, None),
            _ => heals_by_waiting(Reason::Deleting, "the gateway is being deleted"),
        },
    };
    let others = s.others_finalizers().join(", ");
    let held = (!left && !s.has_finalizer() && !others.is_empty())
        .then(|| format!("finalizers of other controllers: {}", say(&others)));
    if let Some(held) = &held {
        let message = format!("all children and their pods are gone; deletion waits for {held}");
        condition_set = heals_by_waiting(Reason::Deleting, &message);
    }
    if (left || held.is_some()) && s.is_stuck() {
        let remaining = match held {
            Some(message) => Remaining { kept_by: message.clone(), message },
            None => cleanup::remaining(s),
        };
        stuck(&mut condition_set, "deletion", remaining);
    }
    condition_set
}

/// A stop or a deletion takes too long.
fn stuck(condition_set: &mut ConditionSet, what: &str, remaining: Remaining) {
    let message = format!("the {what} waits for {}", remaining.message);
    condition_set.cleanup_stuck = Some(yes(Reason::CleanupStuck, message.clone()));
    condition_set.stalled = yes(Reason::CleanupStuck, message);
    condition_set.subject = Some(Subject { beside: Some(plain(&remaining.kept_by)), ..Subject::default() });
}

fn unknown_phase(status: &ApiGatewayStatus) -> ConditionSet {
    let phase = status.phase.as_ref().map(ToString::to_string).unwrap_or_default();
    let what = match status.state.filter(|state| !state.is_known()) {
        Some(state) => format!("status.state {:?}", state.as_str()),
        None => format!("phase {phase:?}"),
    };
    let message = format!(
        "{what} is unknown to this version of the operator; reconciliation is paused. Run the version that wrote it, \
         or delete the gateway."
    );
    waits_for_somebody(Reason::UnknownPhase, &message)
}

fn unknown_word(field: &str, word: &str) -> ConditionSet {
    let message = format!(
        "{field} {word:?} is unknown to this version of the operator; reconciliation and the start deadline are \
         paused. Change the field, or run the version that knows it."
    );
    waits_for_somebody(Reason::UnknownWord, &message)
}

fn waits_for_somebody(reason: Reason, message: &str) -> ConditionSet {
    ConditionSet {
        ready: no(reason, message),
        available: no(reason, message),
        reconciling: no(reason, message),
        stalled: yes(reason, message),
        cleanup_stuck: None,
        subject: None,
    }
}

fn heals_by_waiting(reason: Reason, message: &str) -> ConditionSet {
    ConditionSet {
        ready: no(reason, message),
        available: no(reason, message),
        reconciling: yes(reason, message),
        stalled: no(reason, ""),
        cleanup_stuck: None,
        subject: None,
    }
}

/// Progress without a known problem; the detail says what is awaited.
fn on_its_way(s: &Situation<'_>, reason: Reason, message: &str) -> ConditionSet {
    let mut condition_set = heals_by_waiting(reason, message);
    let detail = diagnosis::not_ready_yet(s);
    condition_set.reconciling.detail.clone_from(&detail);
    condition_set.ready.detail = detail;
    condition_set
}

fn blocked(s: &Situation<'_>, cause: &Cause) -> ConditionSet {
    let message = sentence(cause);
    match s.collection_is_late_in() {
        Some(left) if !left.is_zero() => heals_by_waiting(cause.reason, &message),
        _ => waits_for_somebody(cause.reason, &message),
    }
}

/// A visible cause, and who serves meanwhile. A cause that somebody must fix does not pass by itself.
fn visible(cause: Cause, serving: Option<Serving>) -> ConditionSet {
    let is_of_pods =
        !matches!(cause.reason, Reason::WaitingForDeletion | Reason::RouteNotAccepted | Reason::RouteNotAnswered);
    let serving = serving.filter(|_| is_of_pods);
    let meanwhile = serving.map_or_else(String::new, |serving| format!("; {}", who_serves(serving)));
    let message = format!("{}{meanwhile}. {}", cause.message.trim_end_matches('.'), cause.hint);
    let condition_set = match cause.reason {
        Reason::WaitingForDeletion => waits_for_somebody(cause.reason, &message),
        _ => heals_by_waiting(cause.reason, &message),
    };
    ConditionSet { subject: subject(cause, serving), ..condition_set }
}

fn subject(cause: Cause, serving: Option<Serving>) -> Option<Subject> {
    let serving = serving.map(|serving| serving.as_str().to_owned());
    let beside = cause.beside.map(|reason| reason.to_string()).or(cause.word);
    let subject = Subject { image: cause.image.map(|image| say(&image)), serving, beside };
    (subject != Subject::default()).then_some(subject)
}

pub(super) fn sentence(cause: &Cause) -> String {
    format!("{}. {}", cause.message.trim_end_matches('.'), cause.hint)
}

fn blocker(s: &Situation<'_>) -> Option<Cause> {
    s.blocker().map(|blocker| diagnosis::blocker_cause(s, &blocker))
}

fn pending(s: &Situation<'_>) -> ConditionSet {
    if let Some(cause) = blocker(s) {
        return blocked(s, &cause);
    }
    if let Some(cause) = diagnosis::cause_of(s.observed, |what| *what == Target::Finalizers) {
        return visible(cause, None);
    }
    match &s.observed.registry.unavailable {
        Some(words) => heals_by_waiting(Reason::RegistryUnavailable, &registry_does_not_answer(words)),
        None => heals_by_waiting(Reason::Pending, "the start is pending"),
    }
}

fn starting(s: &Situation<'_>, status: &ApiGatewayStatus, reason: Reason) -> ConditionSet {
    let mut condition_set = if let Some(cause) = blocker(s) {
        blocked(s, &cause)
    } else if let Some(cause) = diagnosis::visible_cause(s) {
        visible(cause, (reason == Reason::Restarting).then(|| serving(s)))
    } else {
        let limit = deadline::limit(s.gateway, s.settings);
        let number = status.attempt.as_ref().map_or(1, |attempt| attempt.number);
        on_its_way(s, reason, &format!("attempt {number} is in progress; its deadline is {}", human(limit)))
    };
    // The first pods of a start are not reported one by one. A gateway that restarts serves all the while.
    condition_set.available = if reason == Reason::Restarting { available(s) } else { no(reason, "not started yet") };
    condition_set
}

fn available(s: &Situation<'_>) -> ConditionDraft {
    if readiness::serves(s.observed) {
        yes(Reason::Started, "at least one pod is available")
    } else if let Some(why) = scaled_to_zero(s) {
        no(Reason::ScaledToZero, why)
    } else {
        no(Reason::Unavailable, "no pod is available")
    }
}

/// Who scaled a gateway to zero, and what to do.
fn scaled_to_zero(s: &Situation<'_>) -> Option<&'static str> {
    let observed = s.observed;
    let asked = s.gateway.spec.replicas == Some(0);
    if !observed.deployment.is_ours() || observed.rollout.desired > 0 {
        return None;
    }
    Some(match observed.deployment {
        _ if asked => {
            "spec.replicas is 0, so no pod runs. To serve, scale the ApiGateway up (kubectl scale, or its autoscaler)"
        }
        Presence::Equal if observed.writes.changed.iter().any(is_of_count) => {
            "admission changes /spec/replicas of the Deployment to 0. Ask the cluster administrator which webhook or \
             policy does that"
        }
        Presence::Equal => {
            "the Deployment was scaled to 0, which the operator keeps while spec.replicas has its default. Point its \
             autoscaler at the ApiGateway, or scale the Deployment up"
        }
        _ => "the Deployment was scaled to 0; the operator reverts it to spec.replicas",
    })
}

fn is_of_count(change: &StoredChange) -> bool {
    change.child == Child::Deployment.kind() && change.path == "/spec/replicas"
}

fn started(s: &Situation<'_>, status: &ApiGatewayStatus) -> ConditionSet {
    let available = available(s);
    let contested = diagnosis::visible_cause(s).filter(|cause| cause.reason == Reason::Contested);
    let is_allowed = s.observed.violations == Violations::default();
    if readiness::workload_ready(s.observed) && contested.is_none() && is_allowed {
        if let Some(cause) = diagnosis::cause_beside(s) {
            return ConditionSet { available, ..visible(cause, None) };
        }
        return ConditionSet {
            ready: yes(Reason::Started, scaled_to_zero(s).unwrap_or("the gateway matches its spec")),
            reconciling: no(Reason::Started, ""),
            stalled: no(Reason::Started, ""),
            cleanup_stuck: None,
            subject: None,
            available,
        };
    }
    let condition_set = if let Some(cause) = blocker(s) {
        blocked(s, &cause)
    } else if let Some(incomplete) = incomplete(s, status) {
        incomplete
    } else if let Some(words) = &s.observed.rollout.progress_deadline_exceeded {
        no_progress(s, words)
    } else if let Some(cause) = contested {
        waits_for_somebody(Reason::Contested, &sentence(&cause))
    } else if let Some(cause) = diagnosis::visible_cause(s) {
        visible(cause, Some(serving(s)))
    } else {
        on_its_way(s, Reason::RollingOut, "a rollout or repair is in progress")
    };
    ConditionSet { available, ..condition_set }
}

/// An attempt ended at its deadline with some pods serving, which go on serving. This lasts until the workload
/// is ready or the user makes a new request; either clears the failure.
fn incomplete(s: &Situation<'_>, status: &ApiGatewayStatus) -> Option<ConditionSet> {
    let (failure, last) = (status.last_failure.as_ref()?, status.history.last()?);
    let serves = readiness::serves(s.observed);
    let (what, meanwhile) = match last.reason {
        Reason::RestartDeadlineExceeded if serves => ("restart", "the old pods keep serving"),
        Reason::StartDeadlineExceeded if serves => ("start", "the available pods keep serving"),
        Reason::RestartDeadlineExceeded => ("restart", "no pod serves"),
        Reason::StartDeadlineExceeded => ("start", "no pod serves"),
        _ => return None,
    };
    let hint = match last.reason {
        Reason::StartDeadlineExceeded => {
            format!(". {} It completes automatically once this is fixed.", ended(&failure.hint))
        }
        _ => String::new(),
    };
    let cause = failure.message.trim_end_matches('.');
    let message = format!("the {what} missed its deadline; {meanwhile}: {cause}{hint}");
    Some(waits_for_somebody(last.reason, &message))
}

/// The Deployment gave up its rollout. A visible cause replaces the Deployment's message.
fn no_progress(s: &Situation<'_>, words: &str) -> ConditionSet {
    let (cause, serving) = (diagnosis::known_cause(s), serving(s));
    let why = cause.as_ref().map_or_else(|| say(words), sentence);
    let message = format!("the rollout is stuck; {}: {why}", who_serves(serving));
    let subject = match cause {
        Some(cause) => subject(cause, Some(serving)),
        None => Some(Subject { serving: Some(serving.as_str().to_owned()), ..Subject::default() }),
    };
    ConditionSet { subject, ..waits_for_somebody(Reason::ProgressDeadlineExceeded, &message) }
}

fn stopping_or_stopped(s: &Situation<'_>, status: &ApiGatewayStatus, place: Option<Place>) -> ConditionSet {
    let stopped = place == Some(Place::Stopped);
    let due = stopped && s.due_start().is_some();
    let late = stopped && s.observed.children().iter().any(|(_, presence)| presence.is_ours());
    let mut condition_set = if let (true, Some(cause)) = (due, blocker(s)) {
        blocked(s, &cause)
    } else if let (true, Some(cause)) = (late, diagnosis::child_terminating(s)) {
        waits_for_somebody(cause.reason, &sentence(&cause))
    } else if s.asked_to_run() && s.was_asked_to_run() {
        timed_out(s, status, stopped)
    } else if let (Some(Place::Stopping), Some(cause)) = (s.place(), cleanup::blocking_cause(s)) {
        visible(cause, None)
    } else if stopped && !late && !s.asked_to_run() {
        ConditionSet {
            ready: yes(Reason::Stopped, "stopped as requested"),
            available: no(Reason::Stopped, "stopped as requested"),
            reconciling: no(Reason::Stopped, ""),
            stalled: no(Reason::Stopped, ""),
            cleanup_stuck: None,
            subject: None,
        }
    } else {
        heals_by_waiting(if stopped { Reason::Pending } else { Reason::Stopping }, "the gateway is being stopped")
    };
    if !stopped && s.is_stuck() {
        stuck(&mut condition_set, "stop", cleanup::remaining(s));
    }
    condition_set
}

fn timed_out(s: &Situation<'_>, status: &ApiGatewayStatus, stopped: bool) -> ConditionSet {
    let limit = human(deadline::limit(s.gateway, s.settings));
    let cause = status
        .last_failure
        .as_ref()
        .map_or_else(String::new, |failure| format!(": {}. {}", failure.message.trim_end_matches('.'), failure.hint));
    let failed = format!("the gateway did not start within {limit}{cause}");
    let due = s.due_start();
    let next = match due {
        Some(DueStart::Retry { .. }) => "The operator retries automatically.".to_owned(),
        Some(DueStart::Asked) => "The next attempt begins after the cleanup.".to_owned(),
        None => diagnosis::how_to_retry(),
    };
    let message = format!("{} {next}", ended(&failed));
    ConditionSet {
        ready: no(Reason::StartDeadlineExceeded, message.clone()),
        available: no(Reason::StartDeadlineExceeded, "stopped after a timeout"),
        reconciling: match (stopped, due) {
            (false, _) => yes(Reason::Stopping, "the children of the failed attempt are being deleted"),
            (true, Some(_)) => yes(Reason::RetryScheduled, "the operator retries automatically"),
            (true, None) => no(Reason::Stopped, ""),
        },
        stalled: ConditionDraft { is: due.is_none(), ..no(Reason::StartDeadlineExceeded, message) },
        cleanup_stuck: None,
        subject: None,
    }
}
