//! The conditions that a decision leads to, in the sense of kstatus.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::allowance::Breaches;
use super::cleanup::Remaining;
use super::diagnosis::{self, Cause};
use super::observed::{Child, Presence, Target};
use super::place::Place;
use super::situation::{DueStart, Situation};
use super::words::{ended, human, plain, say};
use super::{cleanup, deadline, readiness};
use crate::api::{ApiGatewayStatus, Reason, Serving, StoredChange, Subject, condition};

/// One condition's new status, reason and message.
#[derive(Clone, Debug, PartialEq)]
struct Claim {
    is: bool,
    reason: Reason,
    message: String,
    // What may be added to the message, and stays there once it was: whether it is known is lost with a pod.
    detail: Option<String>,
}

/// What is said of a gateway, before it is written as conditions.
pub(super) struct Outlook {
    ready: Claim,
    available: Claim,
    reconciling: Claim,
    stalled: Claim,
    cleanup_stuck: Option<Claim>,
    /// What the messages are about that quote others.
    pub(super) subject: Option<Subject>,
}

impl Outlook {
    /// The conditions, keeping the times of those that do not turn; and the words of those that say the same,
    /// where `keeps_words`.
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
        .filter_map(|(type_, claim)| Some((type_, claim?)))
        .map(|(type_, claim)| claim.render(s, type_, find(before, type_), keeps(claim.reason)))
        .chain(of_other_versions(before).cloned())
        .collect()
    }
}

impl Claim {
    /// Whether it says that something is on its way with which nothing is known to be wrong.
    fn is_on_its_way(&self) -> bool {
        matches!(self.reason, Reason::Starting | Reason::Restarting | Reason::RollingOut)
    }

    fn render(&self, s: &Situation<'_>, type_: &str, before: Option<&Condition>, keeps_words: bool) -> Condition {
        let generation = s.gateway.metadata.generation;
        let unturned = before.filter(|before| (before.status == "True") == self.is);
        // The same cause seen through another pod, or in newer words, is not news: rewriting
        // it would be a write per pod. Of another spec it is.
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

/// What stands between a message and its detail.
const BEFORE_DETAIL: &str = "; not ready yet: ";

/// What a gateway waits for that is on its way, as far as its condition says.
pub fn waits_for(condition: &Condition) -> Option<&str> {
    condition.message.split_once(BEFORE_DETAIL).map(|(_, what)| what)
}

/// Conditions of types that this version does not know: they are kept for the version that does.
pub(super) fn of_other_versions(before: &[Condition]) -> impl Iterator<Item = &Condition> {
    before.iter().filter(|found| !condition::ALL.contains(&found.type_.as_str()))
}

/// A moment as conditions carry it: in whole seconds.
pub fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether a condition was said for the same reason of the same spec.
pub(super) fn says_still(before: &Condition, reason: Reason, generation: Option<i64>) -> bool {
    before.reason == reason.as_str() && before.observed_generation == generation
}

/// Whether a reason was found by diagnosis.
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
            | Reason::QuotaExceeded
            | Reason::AdmissionRefused
            | Reason::Contested
            | Reason::WebhookUnavailable
            | Reason::ClusterUnavailable
            | Reason::OperatorNotPermitted
            | Reason::WriteUnanswered
    )
}

/// What a condition of a type says is wrong, where it is one that somebody is told of.
pub fn trouble<'a>(status: &'a ApiGatewayStatus, type_: &str) -> Option<(Reason, &'a str)> {
    let found = find(&status.conditions, type_).filter(|found| found.status == "True")?;
    let reason = *Reason::ALL.iter().find(|reason| reason.as_str() == found.reason)?;
    // A registry that is away heals by waiting, but not by itself.
    let told = type_ == condition::STALLED || is_cause(reason) || reason == Reason::RegistryUnavailable;
    told.then_some((reason, found.message.as_str()))
}

/// Why a gateway is not as asked, where that is known: of one that was given up, the cause and not that it was.
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

/// Who serves while pods do not come up.
fn serving(s: &Situation<'_>) -> Serving {
    let rollout = &s.observed.rollout;
    match rollout.available {
        ..=0 => Serving::NoPod,
        // No ReplicaSet of the newest template was made.
        _ if rollout.replicas > rollout.updated || rollout.behind => Serving::OldPods,
        _ => Serving::OtherPods,
    }
}

fn who_serves(serving: Serving) -> &'static str {
    match serving {
        Serving::OldPods => "the last good pods go on serving",
        Serving::OtherPods => "other pods go on serving",
        Serving::NoPod => "no pod serves",
    }
}

/// Whether the message of a reason quotes the kubelet, the scheduler or a Deployment, who say the
/// Whether the message of a reason quotes the kubelet, the scheduler or a Deployment, who say the
/// same thing in changing words; or names who holds a host, or pods, of which others may be next.
fn has_others_words(reason: Reason) -> bool {
    is_cause(reason) || matches!(reason, Reason::ProgressDeadlineExceeded | Reason::HostTaken | Reason::CleanupStuck)
}

fn yes(reason: Reason, message: impl Into<String>) -> Claim {
    Claim { is: true, reason, message: message.into(), detail: None }
}

fn no(reason: Reason, message: impl Into<String>) -> Claim {
    Claim { is: false, reason, message: message.into(), detail: None }
}

/// What is said of a gateway whose status will be `status`.
pub(super) fn outlook(s: &Situation<'_>, status: &ApiGatewayStatus) -> Outlook {
    let place = Place::of_status(status);
    let mut outlook = match place {
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
        if !outlook.stalled.is {
            outlook.reconciling = yes(Reason::RegistryUnavailable, &message);
        }
        // What is known to be wrong is told all the same.
        let nothing_wrong = matches!(outlook.ready.reason, Reason::Starting | Reason::Restarting | Reason::Stopping);
        if outlook.ready.is || nothing_wrong {
            outlook.ready = no(Reason::RegistryUnavailable, message);
        }
    }
    if s.gateway.spec.suspend && !matches!(place, None | Some(Place::Deleting)) {
        let message = "suspended: nothing is written and the clock is held until spec.suspend is false";
        outlook.reconciling = no(Reason::Suspended, message);
        outlook.stalled = match obstacle(s).filter(|cause| cause.reason == Reason::HostNotAllowed) {
            // Its route goes all the same.
            Some(cause) => yes(cause.reason, sentence(&cause)),
            None => no(Reason::Suspended, message),
        };
        outlook.subject = None;
        outlook.ready = Claim { is: outlook.ready.is, ..no(Reason::Suspended, message) };
    }
    if let (Some((field, word)), false) = (s.gateway.spec.unknown_word(), matches!(place, None | Some(Place::Deleting)))
    {
        return Outlook { available: outlook.available, ..unknown_word(field, word) };
    }
    outlook
}

/// What a registry said that does not answer, where something of a gateway waits for it.
fn registry_away<'a>(s: &Situation<'a>, place: Option<Place>) -> Option<&'a String> {
    let registry = &s.observed.registry;
    let waits = match place {
        None | Some(Place::New | Place::Created | Place::Deleting) => false,
        Some(Place::Starting | Place::Restarting) => s.obstacle().is_none(),
        Some(Place::Started | Place::TimedOut | Place::Stopping | Place::Stopped) => registry.owes(),
    };
    registry.unavailable.as_ref().filter(|_| waits)
}

fn registry_does_not_answer(words: &str) -> String {
    format!("the registry does not answer: {}", say(words))
}

fn deleting(s: &Situation<'_>) -> Outlook {
    let left = s.observed.children().iter().any(|(_, presence)| presence.is_ours()) || s.observed.pods.total > 0;
    let mut outlook = match &s.observed.registry.unavailable {
        Some(words) if !left => {
            let limit = human(s.settings.registry_deletion_timeout);
            let message = format!(
                "{}. The gateway is gone but for its record; it goes without it {limit} after its deletion",
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
    let held =
        (!left && !s.has_finalizer() && !others.is_empty()).then(|| format!("finalizers of others: {}", say(&others)));
    if let Some(held) = &held {
        let message = format!("nothing of the gateway runs any more; it waits for {held}");
        outlook = heals_by_waiting(Reason::Deleting, &message);
    }
    if (left || held.is_some()) && s.is_stuck() {
        let remaining = match held {
            Some(message) => Remaining { kept_by: message.clone(), message },
            None => cleanup::remaining(s),
        };
        stuck(&mut outlook, "deletion", remaining);
    }
    outlook
}

/// A stop or a deletion takes longer than it should.
fn stuck(outlook: &mut Outlook, what: &str, remaining: Remaining) {
    let message = format!("the {what} waits for {}", remaining.message);
    outlook.cleanup_stuck = Some(yes(Reason::CleanupStuck, message.clone()));
    outlook.stalled = yes(Reason::CleanupStuck, message);
    outlook.subject = Some(Subject { beside: Some(plain(&remaining.kept_by)), ..Subject::default() });
}

fn unknown_phase(status: &ApiGatewayStatus) -> Outlook {
    let phase = status.phase.as_ref().map(ToString::to_string).unwrap_or_default();
    let what = match status.state.filter(|state| !state.is_known()) {
        Some(state) => format!("status.state {:?}", state.as_str()),
        None => format!("phase {phase:?}"),
    };
    let message = format!(
        "{what} is not known to this version of the operator: nothing is done. \
         Run the version that wrote it, or delete the gateway."
    );
    waits_for_somebody(Reason::UnknownPhase, &message)
}

fn unknown_word(field: &str, word: &str) -> Outlook {
    let message = format!(
        "{field} is {word:?}, which this version of the operator does not know: nothing is started, stopped or changed, \
         and the clock is held. Run the version that knows it, or change the field."
    );
    waits_for_somebody(Reason::UnknownWord, &message)
}

fn waits_for_somebody(reason: Reason, message: &str) -> Outlook {
    Outlook {
        ready: no(reason, message),
        available: no(reason, message),
        reconciling: no(reason, message),
        stalled: yes(reason, message),
        cleanup_stuck: None,
        subject: None,
    }
}

fn heals_by_waiting(reason: Reason, message: &str) -> Outlook {
    Outlook {
        ready: no(reason, message),
        available: no(reason, message),
        reconciling: yes(reason, message),
        stalled: no(reason, ""),
        cleanup_stuck: None,
        subject: None,
    }
}

/// Nothing is known to be wrong, and it may be known what is waited for.
fn on_its_way(s: &Situation<'_>, reason: Reason, message: &str) -> Outlook {
    let mut outlook = heals_by_waiting(reason, message);
    let detail = diagnosis::not_ready_yet(s);
    outlook.reconciling.detail.clone_from(&detail);
    outlook.ready.detail = detail;
    outlook
}

fn obstructed(s: &Situation<'_>, cause: &Cause) -> Outlook {
    let message = sentence(cause);
    match s.collection_is_late_in() {
        Some(left) if !left.is_zero() => heals_by_waiting(cause.reason, &message),
        _ => waits_for_somebody(cause.reason, &message),
    }
}

/// A visible cause, and who serves meanwhile. What somebody has to end does not pass by itself.
fn visible(cause: Cause, serving: Option<Serving>) -> Outlook {
    let serving = serving.filter(|_| cause.reason != Reason::WaitingForDeletion);
    let meanwhile = serving.map_or_else(String::new, |serving| format!("; {}", who_serves(serving)));
    let message = format!("{}{meanwhile}. {}", cause.message.trim_end_matches('.'), cause.hint);
    let outlook = match cause.reason {
        Reason::WaitingForDeletion => waits_for_somebody(cause.reason, &message),
        _ => heals_by_waiting(cause.reason, &message),
    };
    Outlook { subject: subject(cause, serving), ..outlook }
}

fn subject(cause: Cause, serving: Option<Serving>) -> Option<Subject> {
    let serving = serving.map(|serving| serving.as_str().to_owned());
    let beside = cause.beside.map(|reason| reason.to_string());
    let subject = Subject { image: cause.image.map(|image| say(&image)), serving, beside };
    (subject != Subject::default()).then_some(subject)
}

pub(super) fn sentence(cause: &Cause) -> String {
    format!("{}. {}", cause.message.trim_end_matches('.'), cause.hint)
}

fn obstacle(s: &Situation<'_>) -> Option<Cause> {
    s.obstacle().map(|obstacle| diagnosis::obstacle_cause(s, &obstacle))
}

fn pending(s: &Situation<'_>) -> Outlook {
    if let Some(cause) = obstacle(s) {
        return obstructed(s, &cause);
    }
    if let Some(cause) = diagnosis::cause_of(s.observed, |what| *what == Target::Finalizers) {
        return visible(cause, None);
    }
    match &s.observed.registry.unavailable {
        Some(words) => heals_by_waiting(Reason::RegistryUnavailable, &registry_does_not_answer(words)),
        None => heals_by_waiting(Reason::Pending, "about to be started"),
    }
}

fn starting(s: &Situation<'_>, status: &ApiGatewayStatus, reason: Reason) -> Outlook {
    let mut outlook = if let Some(cause) = obstacle(s) {
        obstructed(s, &cause)
    } else if let Some(cause) = diagnosis::visible_cause(s) {
        visible(cause, (reason == Reason::Restarting).then(|| serving(s)))
    } else {
        let limit = deadline::limit(s.gateway, s.settings);
        let number = status.attempt.as_ref().map_or(1, |attempt| attempt.number);
        on_its_way(s, reason, &format!("attempt {number} is on its way; it may take {}", human(limit)))
    };
    // The first pods of a start are not announced one by one; a gateway that is being
    // restarted serves all the while.
    outlook.available = if reason == Reason::Restarting { available(s) } else { no(reason, "not started yet") };
    outlook
}

fn available(s: &Situation<'_>) -> Claim {
    if readiness::serves(s.observed) {
        yes(Reason::Started, "at least one pod is available")
    } else if let Some(why) = scaled_to_zero(s) {
        no(Reason::ScaledToZero, why)
    } else {
        no(Reason::Unavailable, "no pod is available")
    }
}

/// Who scaled a gateway to zero, and who is to be asked.
fn scaled_to_zero(s: &Situation<'_>) -> Option<&'static str> {
    let observed = s.observed;
    let asked = s.gateway.spec.replicas == Some(0);
    if !observed.deployment.is_ours() || observed.rollout.desired > 0 {
        return None;
    }
    Some(match observed.deployment {
        _ if asked => {
            "spec.replicas is 0, and no pod runs. Whoever scales the ApiGateway (kubectl scale, an autoscaler) is to be asked"
        }
        Presence::Equal if observed.writes.changed.iter().any(is_of_count) => {
            "what is written of the Deployment is changed on the way in, and /spec/replicas is stored as 0: ask who runs the \
             cluster what does that"
        }
        Presence::Equal => {
            "somebody scaled the Deployment to 0, whose count is not the spec's: ask who scales it (an autoscaler on the \
             Deployment, which belongs on the ApiGateway), or scale it up"
        }
        _ => "somebody scaled the Deployment to 0: it is put back to spec.replicas",
    })
}

fn is_of_count(change: &StoredChange) -> bool {
    change.child == Child::Deployment.kind() && change.path == "/spec/replicas"
}

fn started(s: &Situation<'_>, status: &ApiGatewayStatus) -> Outlook {
    let available = available(s);
    let contested = diagnosis::visible_cause(s).filter(|cause| cause.reason == Reason::Contested);
    let is_allowed = s.observed.breaches == Breaches::default();
    if readiness::workload_ready(s.observed) && contested.is_none() && is_allowed {
        if let Some(cause) = diagnosis::cause_beside(s) {
            return Outlook { available, ..visible(cause, None) };
        }
        return Outlook {
            ready: yes(Reason::Started, scaled_to_zero(s).unwrap_or("the gateway is as asked")),
            reconciling: no(Reason::Started, ""),
            stalled: no(Reason::Started, ""),
            cleanup_stuck: None,
            subject: None,
            available,
        };
    }
    let outlook = if let Some(cause) = obstacle(s) {
        obstructed(s, &cause)
    } else if let Some(incomplete) = incomplete(s, status) {
        incomplete
    } else if let Some(words) = &s.observed.rollout.progress_deadline_exceeded {
        no_progress(s, words)
    } else if let Some(cause) = contested {
        waits_for_somebody(Reason::Contested, &sentence(&cause))
    } else if let Some(cause) = diagnosis::visible_cause(s) {
        visible(cause, Some(serving(s)))
    } else {
        on_its_way(s, Reason::RollingOut, "a change is being rolled out or repaired")
    };
    Outlook { available, ..outlook }
}

/// An attempt was given up at its deadline, and what serves was left serving. It stays so until the workload is ready
/// or the user asks for something new: either clears the failure.
fn incomplete(s: &Situation<'_>, status: &ApiGatewayStatus) -> Option<Outlook> {
    let (failure, last) = (status.last_failure.as_ref()?, status.history.last()?);
    let serves = readiness::serves(s.observed);
    let (what, meanwhile) = match last.reason {
        Reason::RestartDeadlineExceeded if serves => ("restart", "the old pods go on serving"),
        Reason::StartDeadlineExceeded if serves => ("start", "the pods that are available go on serving"),
        Reason::RestartDeadlineExceeded => ("restart", "no pod serves any more"),
        Reason::StartDeadlineExceeded => ("start", "no pod serves any more"),
        _ => return None,
    };
    let hint = match last.reason {
        Reason::StartDeadlineExceeded => {
            format!(". {} It goes on by itself once that is mended.", ended(&failure.hint))
        }
        _ => String::new(),
    };
    let cause = failure.message.trim_end_matches('.');
    let message = format!("the {what} did not finish in time and {meanwhile}: {cause}{hint}");
    Some(waits_for_somebody(last.reason, &message))
}

/// The Deployment gave up its rollout, in its own words unless a cause is visible.
fn no_progress(s: &Situation<'_>, words: &str) -> Outlook {
    let (cause, serving) = (diagnosis::known_cause(s), serving(s));
    let why = cause.as_ref().map_or_else(|| words.to_owned(), sentence);
    let message = format!("the rollout makes no progress; {}: {why}", who_serves(serving));
    let subject = match cause {
        Some(cause) => subject(cause, Some(serving)),
        None => Some(Subject { serving: Some(serving.as_str().to_owned()), ..Subject::default() }),
    };
    Outlook { subject, ..waits_for_somebody(Reason::ProgressDeadlineExceeded, &message) }
}

fn stopping_or_stopped(s: &Situation<'_>, status: &ApiGatewayStatus, place: Option<Place>) -> Outlook {
    let stopped = place == Some(Place::Stopped);
    let due = stopped && s.due_start().is_some();
    let late = stopped && s.observed.children().iter().any(|(_, presence)| presence.is_ours());
    let mut outlook = if let (true, Some(cause)) = (due, obstacle(s)) {
        obstructed(s, &cause)
    } else if let (true, Some(cause)) = (late, diagnosis::child_going(s)) {
        waits_for_somebody(cause.reason, &sentence(&cause))
    } else if s.asked_to_run() && s.was_asked_to_run() {
        timed_out(s, status, stopped)
    } else if let (Some(Place::Stopping), Some(cause)) = (s.place(), cleanup::hindrance(s)) {
        visible(cause, None)
    } else if stopped && !late && !s.asked_to_run() {
        Outlook {
            ready: yes(Reason::Stopped, "stopped, as asked"),
            available: no(Reason::Stopped, "stopped, as asked"),
            reconciling: no(Reason::Stopped, ""),
            stalled: no(Reason::Stopped, ""),
            cleanup_stuck: None,
            subject: None,
        }
    } else {
        heals_by_waiting(if stopped { Reason::Pending } else { Reason::Stopping }, "the gateway is being stopped")
    };
    if !stopped && s.is_stuck() {
        stuck(&mut outlook, "stop", cleanup::remaining(s));
    }
    outlook
}

fn timed_out(s: &Situation<'_>, status: &ApiGatewayStatus, stopped: bool) -> Outlook {
    let limit = human(deadline::limit(s.gateway, s.settings));
    let cause = status
        .last_failure
        .as_ref()
        .map_or_else(String::new, |failure| format!(": {}. {}", failure.message.trim_end_matches('.'), failure.hint));
    let failed = format!("the gateway did not start within {limit}{cause}");
    let due = s.due_start();
    let next = match due {
        Some(DueStart::Retry { .. }) => "The operator tries again by itself.".to_owned(),
        Some(DueStart::Asked) => "The next attempt begins once this is cleaned up.".to_owned(),
        None => diagnosis::how_to_retry(),
    };
    let message = format!("{} {next}", ended(&failed));
    Outlook {
        ready: no(Reason::StartDeadlineExceeded, message.clone()),
        available: no(Reason::StartDeadlineExceeded, "stopped after a timeout"),
        reconciling: match (stopped, due) {
            (false, _) => yes(Reason::Stopping, "what was created is being removed"),
            (true, Some(_)) => yes(Reason::RetryScheduled, "the operator tries again by itself"),
            (true, None) => no(Reason::Stopped, ""),
        },
        stalled: Claim { is: due.is_none(), ..no(Reason::StartDeadlineExceeded, message) },
        cleanup_stuck: None,
        subject: None,
    }
}
