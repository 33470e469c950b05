//! The state machine: first match wins, from top to bottom, as ARCHITECTURE.md's table has it.

use std::time::Duration;

use super::observed::{Child, EnvironmentFacts, HostVerdict, Moment, Observed, Presence, Settings};
use super::requests::Requests;
use super::{Step, deadline, diagnosis, readiness};
use crate::api::{ApiGateway, Phase, REGISTRY_FINALIZER, Reason, State};

/// Kubernetes' own, while a deletion lets go of what it is to leave behind.
const ORPHAN_FINALIZER: &str = "orphan";

/// A place in the state machine, as the diagram names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Not yet met.
    New,
    /// Seen, not begun.
    Created,
    /// Starting, state Running.
    Starting,
    /// Starting, state Restarting.
    Restarting,
    /// Started, state Running.
    Started,
    /// Started, state Stopped.
    TimedOut,
    /// Stopping.
    Stopping,
    /// Stopped.
    Stopped,
    /// Deleting.
    Deleting,
}

/// Every transition that there is. Anything else in a history is a fault.
pub const EDGES: &[(Place, Place)] = &[
    (Place::New, Place::Created),
    (Place::New, Place::Starting),
    (Place::New, Place::Stopped),
    (Place::Created, Place::Starting),
    (Place::Created, Place::Stopped),
    (Place::Starting, Place::Starting),
    (Place::Starting, Place::Started),
    (Place::Starting, Place::TimedOut),
    (Place::Starting, Place::Stopping),
    (Place::Restarting, Place::Restarting),
    (Place::Restarting, Place::Started),
    (Place::Restarting, Place::TimedOut),
    (Place::Restarting, Place::Stopping),
    (Place::Started, Place::Restarting),
    (Place::Started, Place::Stopping),
    (Place::TimedOut, Place::Starting),
    (Place::TimedOut, Place::Stopping),
    (Place::Stopping, Place::Stopped),
    (Place::Stopped, Place::Starting),
    (Place::New, Place::Deleting),
    (Place::Created, Place::Deleting),
    (Place::Starting, Place::Deleting),
    (Place::Restarting, Place::Deleting),
    (Place::Started, Place::Deleting),
    (Place::TimedOut, Place::Deleting),
    (Place::Stopping, Place::Deleting),
    (Place::Stopped, Place::Deleting),
];

impl Place {
    /// Where a phase and a state are on the diagram; `None` for a phase of another version.
    pub fn of(phase: Option<&Phase>, state: Option<State>) -> Option<Self> {
        match (phase, state) {
            (None, _) => Some(Self::New),
            (Some(Phase::Created), _) => Some(Self::Created),
            (Some(Phase::Starting), Some(State::Restarting)) => Some(Self::Restarting),
            (Some(Phase::Starting), _) => Some(Self::Starting),
            (Some(Phase::Started), Some(State::Stopped)) => Some(Self::TimedOut),
            (Some(Phase::Started), _) => Some(Self::Started),
            (Some(Phase::Stopping), _) => Some(Self::Stopping),
            (Some(Phase::Stopped), _) => Some(Self::Stopped),
            (Some(Phase::Deleting), _) => Some(Self::Deleting),
            (Some(Phase::Unknown(_)), _) => None,
        }
    }
}

/// What the state machine says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The phase stays; carry out `steps`, and look again after `wake`.
    Stay {
        /// Acts on children and environments, in this order.
        steps: Vec<Step>,
        /// When time alone changes the verdict.
        wake: Option<Duration>,
    },
    /// The phase changes; nothing else is done in the same plan.
    Go(Move),
}

/// A change of phase, of state, or of attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The phase after.
    pub phase: Phase,
    /// `status.state` after.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Whether a new attempt begins.
    pub attempt: NextAttempt,
    /// Whether the pods are to be replaced by new ones.
    pub restarts_pods: bool,
}

/// Whether a move begins a new attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAttempt {
    /// It does not.
    None,
    /// It does, with the retries that the spec grants.
    Asked,
    /// It does, and retries left are as they were.
    Resumed,
    /// It does, and is one of the retries.
    Retry,
}

/// A gateway and all that is known about it.
pub struct Situation<'a> {
    /// The object.
    pub gateway: &'a ApiGateway,
    /// What was observed.
    pub observed: &'a Observed,
    /// When.
    pub moment: &'a Moment,
    /// The operator's flags.
    pub settings: &'a Settings,
    /// What the user asked since.
    pub requests: Requests,
}

/// Why a gateway can neither begin nor go on by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Another holds the host.
    HostTaken {
        /// The host.
        host: String,
        /// Who holds it.
        by: String,
    },
    /// The namespace is not allowed to have the host.
    HostNotAllowed {
        /// The host.
        host: String,
        /// What it may have.
        allowed: String,
    },
    /// Gateways are not allowed to name the ingress class.
    IngressClassNotAllowed {
        /// The class.
        class: String,
        /// Those that they may name.
        allowed: String,
    },
    /// A child's name is another's.
    NameTaken {
        /// The child.
        child: Child,
        /// Whose it is.
        by: String,
    },
    /// A child of an earlier gateway of this name is still there.
    WaitingForDeletion {
        /// The child.
        child: Child,
    },
}

impl Situation<'_> {
    /// `status.phase`.
    pub fn phase(&self) -> Option<&Phase> {
        self.gateway.status.as_ref()?.phase.as_ref()
    }

    /// `status.state`.
    pub fn state(&self) -> Option<State> {
        self.gateway.status.as_ref()?.state
    }

    /// Whether the user wants the gateway to serve.
    pub fn asked_to_run(&self) -> bool {
        self.gateway.spec.state.asks_to_run()
    }

    /// Who or what is in the way, if anybody.
    pub fn obstacle(&self) -> Option<Obstacle> {
        for (child, presence) in self.observed.children() {
            match presence {
                Presence::Stranger(by) => return Some(Obstacle::NameTaken { child, by: by.clone() }),
                Presence::Predecessor => return Some(Obstacle::WaitingForDeletion { child }),
                _ => {}
            }
        }
        if let Some(class) = &self.gateway.spec.ingress_class_name
            && !self.settings.allows_ingress_class_of(self.gateway)
        {
            let allowed = self.settings.ingress_classes.join(", ");
            return Some(Obstacle::IngressClassNotAllowed { class: class.clone(), allowed });
        }
        match self.observed.host.clone() {
            HostVerdict::Taken { host, by } => Some(Obstacle::HostTaken { host, by }),
            HostVerdict::NotAllowed { host, allowed } => Some(Obstacle::HostNotAllowed { host, allowed }),
            HostVerdict::Free => None,
        }
    }

    /// Whether the clock of the attempt stands still.
    pub fn clock_is_held(&self) -> bool {
        self.phase() == Some(&Phase::Starting)
            && (self.gateway.spec.suspend || self.obstacle().is_some() || self.observed.registry.unavailable.is_some())
            && !self.gateway.is_being_deleted()
    }

    /// Whether a timeout holds the gateway stopped although the user asked it to run: the
    /// last request taken up was one to run.
    pub fn is_held_stopped(&self) -> bool {
        self.gateway
            .status
            .as_ref()
            .and_then(|status| status.handled.as_ref())
            .is_some_and(|handled| handled.state.asks_to_run())
    }

    /// Whether the claim on the gateway's host is recorded and stands: only then is the
    /// Ingress written, so that two gateways never route one host.
    pub fn may_route(&self) -> bool {
        if matches!(self.obstacle(), Some(Obstacle::IngressClassNotAllowed { .. })) {
            return false;
        }
        let recorded = |host: &String| {
            self.gateway.status.as_ref().is_some_and(|status| status.hosts.iter().any(|claim| claim.host == *host))
        };
        self.observed.host == HostVerdict::Free && self.gateway.spec.host.as_ref().is_none_or(recorded)
    }

    /// Whether what is desired of the Ingress is what is there, less the rules that may not stay
    /// and with those of environments: the gateway may not have what its spec asks.
    fn keeps_routes(&self) -> bool {
        self.observed.host != HostVerdict::Free || !self.settings.allows_ingress_class_of(self.gateway)
    }

    fn ready(&self) -> bool {
        readiness::workload_ready(self.observed)
            && readiness::environments_active(self.observed)
            && !self.observed.registry.to_activate
    }

    /// Whether the gateway stays until it was forgotten in a registry outside Kubernetes.
    pub fn has_finalizer(&self) -> bool {
        self.has(REGISTRY_FINALIZER)
    }

    fn has(&self, finalizer: &str) -> bool {
        self.gateway.metadata.finalizers.iter().flatten().any(|other| other == finalizer)
    }

    fn retries_left(&self) -> i32 {
        let granted = self.gateway.spec.start_retries.as_ref().map_or(0, |retries| retries.limit);
        self.gateway
            .status
            .as_ref()
            .and_then(|status| status.attempt.as_ref())
            .and_then(|attempt| attempt.retries_left)
            .map_or(0, |left| left.min(granted))
    }
}

/// Judges one gateway.
pub fn judge(s: &Situation<'_>) -> Verdict {
    if s.gateway.is_being_deleted() {
        return if s.has_finalizer() { deleting(s) } else { rest() };
    }
    if matches!(s.phase(), Some(Phase::Unknown(_))) {
        return rest();
    }
    if s.observed.registry.answers() && !s.has_finalizer() {
        return at_once(vec![Step::AddFinalizer]);
    }
    let verdict = if s.gateway.spec.suspend { rest() } else { by_phase(s) };
    match verdict {
        Verdict::Stay { mut steps, wake } => {
            let owed = owed(s);
            // What is told unblocks nothing; the rest is looked at again once it is done.
            let wake = if owed.iter().any(|step| *step != Step::Report) { Some(Duration::ZERO) } else { wake };
            steps.extend(owed);
            Verdict::Stay { steps, wake }
        }
        // The platform is to see that its gateway timed out before it sees it being stopped.
        Verdict::Go(_) if is_timed_out(s) && s.observed.registry.answers() && !s.observed.registry.reported => {
            at_once(vec![Step::Report])
        }
        moves => moves,
    }
}

fn by_phase(s: &Situation<'_>) -> Verdict {
    match s.phase() {
        None | Some(Phase::Created) => begin(s),
        Some(Phase::Starting) => starting(s),
        Some(Phase::Started) if is_timed_out(s) => timed_out(s),
        Some(Phase::Started) => started(s),
        Some(Phase::Stopping) => stopping(s),
        Some(Phase::Stopped) => stopped(s),
        Some(Phase::Deleting | Phase::Unknown(_)) => rest(),
    }
}

fn is_timed_out(s: &Situation<'_>) -> bool {
    s.phase() == Some(&Phase::Started) && s.state() == Some(State::Stopped)
}

/// What is to be written to the registry of a gateway whose phase stays. Documents follow the objects: a
/// gateway is recorded first, and told last.
fn owed(s: &Situation<'_>) -> Vec<Step> {
    let registry = &s.observed.registry;
    if !registry.answers() {
        return Vec::new();
    }
    if !registry.recorded {
        return vec![Step::Record];
    }
    [
        (registry.to_activate, Step::ActivateDocuments),
        (registry.to_deactivate, Step::DeactivateDocuments),
        (!registry.reported, Step::Report),
    ]
    .into_iter()
    .filter_map(|(due, step)| due.then_some(step))
    .collect()
}

/// The way of a gateway that carries our finalizer.
fn deleting(s: &Situation<'_>) -> Verdict {
    let registry = &s.observed.registry;
    if !registry.external {
        // Left by an operator with another registry.
        return let_go(Vec::new());
    }
    // `kubectl delete --cascade=orphan`: its children stay, and are let go of first.
    if s.has(ORPHAN_FINALIZER) {
        return rest();
    }
    let unknown = matches!(s.phase(), Some(Phase::Unknown(_)));
    if !unknown {
        if s.phase() != Some(&Phase::Deleting) {
            return go(Phase::Deleting, State::Stopped, Reason::Deleting);
        }
        let pods = &s.observed.pods;
        let children_gone = !s.observed.children().iter().any(|(_, presence)| presence.is_ours());
        if !children_gone || (pods.total > 0 && !is_stuck(s)) {
            let mut steps = teardown(s);
            if !s.observed.ingress.is_ours() {
                steps.extend(owed(s).into_iter().filter(|step| *step != Step::Record));
            }
            let until_stuck = s.settings.cleanup_stuck_after.saturating_sub(s.moment.phase);
            return Verdict::Stay { steps, wake: (!until_stuck.is_zero()).then_some(until_stuck) };
        }
    }
    let left = s.settings.registry_deletion_timeout.saturating_sub(s.moment.deletion);
    match (&registry.unavailable, registry.forgotten) {
        (None, true) => let_go(Vec::new()),
        // What is left behind is removed by intake later.
        (Some(_), _) if left.is_zero() => let_go(Vec::new()),
        (None, false) if left.is_zero() => let_go(vec![Step::Forget]),
        (Some(_), _) => Verdict::Stay { steps: Vec::new(), wake: Some(left) },
        (None, false) => at_once(vec![Step::Forget]),
    }
}

fn begin(s: &Situation<'_>) -> Verdict {
    if !s.asked_to_run() {
        return go(Phase::Stopped, State::Stopped, Reason::StopRequested);
    }
    let held_by = match s.obstacle() {
        Some(obstacle) => Some(obstacle.reason()),
        None => s.observed.registry.unavailable.as_ref().map(|_| Reason::RegistryUnavailable),
    };
    match held_by {
        Some(reason) if s.phase().is_none() => go(Phase::Created, State::Running, reason),
        Some(_) => rest(),
        None if !s.observed.registry.recorded => rest(),
        None => start(State::Running, Reason::StartRequested, NextAttempt::Asked),
    }
}

fn starting(s: &Situation<'_>) -> Verdict {
    let state = s.state().unwrap_or(State::Running);
    if !s.asked_to_run() {
        return go(Phase::Stopping, State::Stopped, Reason::StopRequested);
    }
    if s.ready() {
        return go(Phase::Started, State::Running, Reason::Started);
    }
    if s.requests.start || s.requests.restart {
        let reason = if s.requests.restart { Reason::RestartRequested } else { Reason::StartRequested };
        return Verdict::Go(Move {
            phase: Phase::Starting,
            state,
            reason,
            attempt: NextAttempt::Asked,
            restarts_pods: s.requests.restart,
        });
    }
    if s.obstacle().is_some() {
        return Verdict::Stay { steps: withdraw_routes(s), wake: None };
    }
    if s.observed.registry.unavailable.is_some() {
        return Verdict::Stay { steps: apply(s), wake: None };
    }
    let left = deadline::left(s.gateway, s.moment, s.settings);
    if left.is_zero() {
        if readiness::something_missing(s.observed) && !s.observed.tried {
            return start(state, Reason::Resumed, NextAttempt::Resumed);
        }
        if state == State::Restarting && s.observed.rollout.available >= 1 {
            return go(Phase::Started, State::Running, Reason::RestartDeadlineExceeded);
        }
        return go(Phase::Started, State::Stopped, Reason::StartDeadlineExceeded);
    }
    listening(s, Some(left))
}

fn timed_out(s: &Situation<'_>) -> Verdict {
    if s.requests.start || s.requests.restart {
        return start(State::Running, Reason::StartRequested, NextAttempt::Asked);
    }
    go(Phase::Stopping, State::Stopped, Reason::StartDeadlineExceeded)
}

fn started(s: &Situation<'_>) -> Verdict {
    if !s.asked_to_run() {
        return go(Phase::Stopping, State::Stopped, Reason::StopRequested);
    }
    if s.requests.restart {
        return Verdict::Go(Move {
            phase: Phase::Starting,
            state: State::Restarting,
            reason: Reason::RestartRequested,
            attempt: NextAttempt::Asked,
            restarts_pods: true,
        });
    }
    listening(s, None)
}

/// The children are written where they differ, and pods are listened to that do not say why they are not ready.
fn listening(s: &Situation<'_>, wake: Option<Duration>) -> Verdict {
    let mut steps = apply(s);
    match diagnosis::silence_is_to_be_broken_in(s.observed) {
        Some(Duration::ZERO) => {
            steps.push(Step::ReadEvents);
            at_once(steps)
        }
        later => Verdict::Stay { steps, wake: wake.into_iter().chain(later).min() },
    }
}

fn stopping(s: &Situation<'_>) -> Verdict {
    let children_gone = !s.observed.children().iter().any(|(_, presence)| presence.is_ours());
    let environments_inactive = !s.observed.environments.iter().any(|environment| environment.active);
    if children_gone && environments_inactive && !s.observed.registry.to_deactivate {
        let pods = &s.observed.pods;
        let only_terminating = pods.terminating == pods.total;
        if pods.total == 0 || (only_terminating && is_stuck(s) && s.asked_to_run()) {
            return go(Phase::Stopped, State::Stopped, Reason::Stopped);
        }
    }
    let until_stuck = s.settings.cleanup_stuck_after.saturating_sub(s.moment.phase);
    Verdict::Stay { steps: teardown(s), wake: (!until_stuck.is_zero()).then_some(until_stuck) }
}

/// Whether a stop takes longer than a stop should.
pub fn is_stuck(s: &Situation<'_>) -> bool {
    matches!(s.phase(), Some(Phase::Stopping | Phase::Deleting)) && s.moment.phase >= s.settings.cleanup_stuck_after
}

fn stopped(s: &Situation<'_>) -> Verdict {
    if s.observed.children().iter().any(|(_, presence)| presence.is_ours()) {
        return Verdict::Stay { steps: teardown(s), wake: None };
    }
    let due = match due_start(s) {
        Some(due) => due,
        None => return rest(),
    };
    if s.obstacle().is_some() {
        return rest();
    }
    match due {
        DueStart::Asked => start(State::Running, Reason::StartRequested, NextAttempt::Asked),
        DueStart::Retry { wait } if wait.is_zero() => start(State::Running, Reason::RetryScheduled, NextAttempt::Retry),
        DueStart::Retry { wait } => Verdict::Stay { steps: Vec::new(), wake: Some(wait) },
    }
}

/// Why a stopped gateway is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueStart {
    /// The user asked for it since it was stopped.
    Asked,
    /// The operator tries again, after so long.
    Retry {
        /// What is left of the backoff.
        wait: Duration,
    },
}

/// Whether a gateway that a timeout or the user stopped is to start, and why.
pub fn due_start(s: &Situation<'_>) -> Option<DueStart> {
    if !s.asked_to_run() {
        return None;
    }
    if s.requests.start || s.requests.restart || !s.is_held_stopped() {
        return Some(DueStart::Asked);
    }
    (s.retries_left() > 0)
        .then(|| DueStart::Retry { wait: deadline::backoff(s.gateway).saturating_sub(s.moment.failure) })
}

/// What has to be written so that the children are as desired.
fn apply(s: &Situation<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (child, presence) in s.observed.children() {
        let may_route = child != Child::Ingress || s.may_route();
        match presence {
            Presence::Missing if may_route => steps.push(Step::Create(child)),
            Presence::Different(_) if may_route || s.keeps_routes() => steps.push(Step::Update(child)),
            // It comes back as Missing.
            Presence::Unwanted | Presence::Immutable => steps.push(Step::Delete(child)),
            _ => {}
        }
    }
    // Those of a started gateway are switched on by their own decision.
    let starting = s.phase() == Some(&Phase::Starting);
    if starting
        && readiness::workload_ready(s.observed)
        && s.observed.environments.iter().any(EnvironmentFacts::is_to_be_activated)
    {
        steps.push(Step::ActivateEnvironments);
    }
    steps
}

/// What has to be written so that a gateway that may not have what its spec asks routes nothing
/// that is another's by now.
fn withdraw_routes(s: &Situation<'_>) -> Vec<Step> {
    match &s.observed.ingress {
        Presence::Different(_) if s.keeps_routes() => vec![Step::Update(Child::Ingress)],
        Presence::Unwanted if s.keeps_routes() => vec![Step::Delete(Child::Ingress)],
        _ => Vec::new(),
    }
}

/// What has to be deleted next. Traffic is taken away first, and the rest waits until the
/// Ingress is gone.
fn teardown(s: &Situation<'_>) -> Vec<Step> {
    let deletable =
        |presence: &Presence| presence.is_ours() && !matches!(presence, Presence::Terminating | Presence::Expected);
    if s.observed.ingress.is_ours() {
        return if deletable(&s.observed.ingress) { vec![Step::Delete(Child::Ingress)] } else { Vec::new() };
    }
    let mut steps = Vec::new();
    // Those of a gateway that goes are switched off by their own decision.
    if s.phase() != Some(&Phase::Deleting) && s.observed.environments.iter().any(|environment| environment.active) {
        steps.push(Step::DeactivateEnvironments);
    }
    for (child, presence) in [
        (Child::PodDisruptionBudget, &s.observed.disruption_budget),
        (Child::Service, &s.observed.service),
        (Child::Deployment, &s.observed.deployment),
    ] {
        if deletable(presence) {
            steps.push(Step::Delete(child));
        }
    }
    steps
}

impl Obstacle {
    /// The obstacle as one word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::HostTaken { .. } => Reason::HostTaken,
            Self::HostNotAllowed { .. } => Reason::HostNotAllowed,
            Self::IngressClassNotAllowed { .. } => Reason::IngressClassNotAllowed,
            Self::NameTaken { .. } => Reason::NameTaken,
            Self::WaitingForDeletion { .. } => Reason::WaitingForDeletion,
        }
    }
}

fn rest() -> Verdict {
    Verdict::Stay { steps: Vec::new(), wake: None }
}

/// The last step of a gateway, after which there is nothing to look at.
fn let_go(mut steps: Vec<Step>) -> Verdict {
    steps.push(Step::RemoveFinalizer);
    Verdict::Stay { steps, wake: None }
}

/// These steps, and another look once they are done.
fn at_once(steps: Vec<Step>) -> Verdict {
    Verdict::Stay { steps, wake: Some(Duration::ZERO) }
}

fn go(phase: Phase, state: State, reason: Reason) -> Verdict {
    Verdict::Go(Move { phase, state, reason, attempt: NextAttempt::None, restarts_pods: false })
}

fn start(state: State, reason: Reason, attempt: NextAttempt) -> Verdict {
    Verdict::Go(Move { phase: Phase::Starting, state, reason, attempt, restarts_pods: false })
}
