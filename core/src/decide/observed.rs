//! The facts that a decision is made from, as plain data. The caller of [`decide`](super::decide) gathers them.
//!
//! **Architecture invariant:** this module decides nothing. It has no access to a cluster, a cache
//! or a clock.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::allowance::{Allowance, Violations};
use super::place::Place;
use crate::api::{Accepted, ParentRef, Phase, StoredChange};
use crate::children::{Inheritance, Parent, accepted_by_all, served_by_all};

/// Everything that a decision reads, other than the `ApiGateway` object itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The Deployment.
    pub deployment: Presence,
    /// The Service.
    pub service: Presence,
    /// The Ingress.
    pub ingress: Presence,
    /// The HTTPRoute.
    pub http_route: Presence,
    /// The PodDisruptionBudget.
    pub disruption_budget: Presence,
    /// Support for HTTPRoutes, and what is reported about this one.
    pub routing: Routing,
    /// Progress of the Deployment's rollout.
    pub rollout: Rollout,
    /// The gateway's pods: how many there are, and which are in trouble or terminating.
    pub pods: Pods,
    /// The environments that reference this gateway.
    pub environments: Vec<EnvironmentFacts>,
    /// Whether the gateway may have its host.
    pub host: HostVerdict,
    /// Policy violations other than the host.
    pub violations: Violations,
    /// Hosts that the gateway must give up: recorded claims that are void, and for a gateway that is left alone
    /// also routed hosts that its namespace may not have.
    pub lost: Vec<String>,
    /// What the registry records about the gateway.
    pub registry: RegistryFacts,
    /// The last write of this attempt that the API server refused, or the last of one of its environments.
    pub refusal: Option<Refusal>,
    /// The last write of this attempt, or of an environment, that failed through no fault of the gateway.
    pub unanswered: Option<Unanswered>,
    /// When this process tried the steps of the current attempt.
    pub tried: Tried,
    /// The results of earlier writes to children.
    pub writes: Writes,
}

/// Support for HTTPRoutes, and the reports of the parents' controllers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// Why the requested HTTPRoute cannot be created.
    pub unsupported: Option<Unsupported>,
    /// The parents of the existing route.
    pub parents: Vec<Parent>,
    /// How long the current route has lacked an answer of a parent, as far as this process saw.
    pub unanswered: Duration,
}

/// Why an HTTPRoute cannot be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// The cluster has no HTTPRoute CRD.
    NoDefinition,
    /// The operator may not read HTTPRoutes or their CRD; the API server's message.
    NotPermitted(String),
    /// Neither the gateway nor the operator's flags name a parent Gateway.
    NoParent,
}

impl Routing {
    /// Whether every parent accepts the current route.
    pub fn is_accepted(&self) -> bool {
        accepted_by_all(&self.parents)
    }

    /// Whether every parent accepted the route in its latest report.
    pub fn serves(&self) -> bool {
        served_by_all(&self.parents)
    }
}

/// The results of earlier writes to children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// The accepted forms of the children.
    pub accepted: Accepted,
    /// Where an accepted form differs from what was written.
    pub changed: Vec<StoredChange>,
    /// Children that were repaired recently.
    pub repaired: Vec<Repaired>,
    /// Repairs without an Event so far.
    pub untold: Vec<Repair>,
    /// Children that were deleted and still exist.
    pub terminating: Vec<TerminatingChild>,
}

/// A child that was deleted and still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminatingChild {
    /// The child.
    pub child: Child,
    /// Time since its deletion.
    pub lasted: Duration,
    /// The finalizers that keep it.
    pub finalizers: Vec<String>,
}

impl Writes {
    /// The backoff before a child is repaired again.
    pub fn wait(&self, child: Child) -> Duration {
        self.of(child).map_or(Duration::ZERO, |repaired| repaired.wait)
    }

    /// Whether somebody changes a child again after each repair.
    pub fn is_contested(&self, child: Child) -> bool {
        self.of(child).is_some_and(Repaired::is_contested)
    }

    fn of(&self, child: Child) -> Option<&Repaired> {
        self.repaired.iter().find(|repaired| repaired.last.child == child)
    }
}

/// A child that was repaired recently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The last repair.
    pub last: Repair,
    /// The number of repairs that count.
    pub times: u32,
    /// The backoff before the next repair.
    pub wait: Duration,
    /// Time until the dispute counts as over, unless the child changes again.
    pub calm_in: Duration,
}

impl Repaired {
    /// One or two repairs are an edit; more are a dispute.
    pub fn is_contested(&self) -> bool {
        self.times > Self::AT_ONCE && !self.calm_in.is_zero()
    }

    /// How many repairs follow each other without backoff.
    pub const AT_ONCE: u32 = 3;
}

/// A repair of drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The child.
    pub child: Child,
    /// The path that differed; empty if the whole child was gone.
    pub path: String,
    /// The last writer of that field, from `managedFields`.
    pub manager: Option<String>,
}

/// What a registry records about a gateway. If Kubernetes is the registry, the object itself is the record:
/// everything is settled and nothing can be unavailable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryFacts {
    /// Whether the registry is outside Kubernetes. A deleted gateway then stays until the registry has
    /// forgotten it.
    pub external: bool,
    /// Why the registry cannot be asked. The other fields are then the last known facts.
    pub unavailable: Option<String>,
    /// Whether the gateway is recorded.
    pub recorded: bool,
    /// Whether the last transition was reported.
    pub reported: bool,
    /// Whether an Active environment has an inactive document.
    pub to_activate: bool,
    /// Whether an inactive environment has an Active document.
    pub to_deactivate: bool,
    /// Whether the registry holds nothing about the gateway any more.
    pub forgotten: bool,
    /// Whether our finalizer can be removed, as far as known. If Kubernetes is the registry, only a tenant or
    /// an earlier operator has set it, and this operator may lack the permission.
    pub may_remove_finalizer: bool,
}

impl RegistryFacts {
    /// Facts of a registry with nothing to do.
    pub const fn settled() -> Self {
        Self {
            external: false,
            unavailable: None,
            recorded: true,
            reported: true,
            to_activate: false,
            to_deactivate: false,
            forgotten: true,
            may_remove_finalizer: true,
        }
    }

    /// Whether something about the gateway is still to be written to the registry.
    pub fn owes(&self) -> bool {
        !self.recorded || !self.reported || self.to_activate || self.to_deactivate
    }

    /// Whether the registry accepts writes.
    pub fn answers(&self) -> bool {
        self.external && self.unavailable.is_none()
    }
}

/// How one child compares with its desired state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Neither desired nor there.
    NotWanted,
    /// Desired and not there.
    Missing,
    /// Created just now; the cache does not have it yet.
    Expected,
    /// As desired.
    Equal,
    /// Differs; the path of the first difference.
    Different(String),
    /// Differs in an immutable field and must be recreated.
    Immutable,
    /// There, but not desired any more.
    Unwanted,
    /// Being deleted.
    Terminating,
    /// Belongs to an earlier gateway of this name; garbage collection will take it.
    Predecessor,
    /// Belongs to somebody else; the text names them.
    Foreign(String),
}

impl Presence {
    /// Whether an object of this gateway exists.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Expected
            | Self::Equal
            | Self::Different(_)
            | Self::Immutable
            | Self::Unwanted
            | Self::Terminating => true,
            Self::NotWanted | Self::Missing | Self::Predecessor | Self::Foreign(_) => false,
        }
    }

    /// Whether nothing needs to change.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Equal | Self::NotWanted)
    }
}

/// When a process last tried the steps of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tried {
    /// It has not.
    #[default]
    Never,
    /// Before the deadline.
    InTime,
    /// After the deadline.
    Late,
}

/// The kinds of children, in creation order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Child {
    /// Runs the pods.
    Deployment,
    /// Gives the pods an address in the cluster.
    Service,
    /// Routes hosts to the pods.
    Ingress,
    /// Routes hosts to the pods through the Gateway API.
    HttpRoute,
    /// Keeps pods during voluntary disruptions.
    PodDisruptionBudget,
}

impl Child {
    /// All kinds, in creation order.
    pub const ALL: [Self; 5] =
        [Self::Deployment, Self::Service, Self::Ingress, Self::HttpRoute, Self::PodDisruptionBudget];

    /// Whether this kind routes hosts.
    pub fn routes(self) -> bool {
        matches!(self, Self::Ingress | Self::HttpRoute)
    }

    /// The kind as Kubernetes spells it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::Ingress => "Ingress",
            Self::HttpRoute => "HTTPRoute",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
        }
    }
}

impl Observed {
    /// The facts about a gateway without a host for which nothing was done yet: no child exists, and nothing keeps it from
    /// starting.
    pub fn nothing() -> Self {
        Self {
            deployment: Presence::Missing,
            service: Presence::Missing,
            ingress: Presence::NotWanted,
            http_route: Presence::NotWanted,
            disruption_budget: Presence::NotWanted,
            routing: Routing::default(),
            rollout: Rollout::default(),
            pods: Pods::default(),
            environments: Vec::new(),
            host: HostVerdict::Free,
            violations: Violations::NONE,
            lost: Vec::new(),
            registry: RegistryFacts::settled(),
            refusal: None,
            unanswered: None,
            tried: Tried::Never,
            writes: Writes::default(),
        }
    }

    /// The children, in creation order.
    pub fn children(&self) -> [(Child, &Presence); 5] {
        Child::ALL.map(|child| (child, self.child(child)))
    }

    /// The troubles of the pods that count: those of the desired template, or of the current one if the desired
    /// one cannot be written. Pods of other templates say nothing about the request. While the Deployment
    /// controller lags behind, the newest template is unknown and no pod counts. If no pod serves, an
    /// unreachable node counts whatever the template.
    pub fn troubles(&self) -> impl Iterator<Item = &PodTrouble> {
        let template = self.rollout.template.as_ref();
        let told = (self.deployment == Presence::Equal || self.deployment_stays_otherwise()) && !self.rollout.behind;
        let newest = move |pod: &&PodTrouble| {
            let of_newest = template.is_none() || pod.template.is_none() || pod.template.as_ref() == template;
            told && (of_newest || (self.rollout.available == 0 && pod.trouble == Trouble::NodeUnreachable))
        };
        self.pods.troubles.iter().filter(newest)
    }

    /// Whether the Deployment differs and will stay so for now: it is contested, in backoff, refused,
    /// unanswered or terminating. Its pods count meanwhile.
    pub(super) fn deployment_stays_otherwise(&self) -> bool {
        let child = Child::Deployment;
        let waits = !self.writes.wait(child).is_zero();
        match self.deployment {
            Presence::Terminating => true,
            Presence::Different(_) | Presence::Immutable => {
                waits || self.is_left_as_it_is(child) || self.is_blocked(&Target::Child(child))
            }
            _ => false,
        }
    }

    /// Whether the last write of a target was refused or unanswered.
    pub(super) fn is_blocked(&self, what: &Target) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.what == *what)
            || self.unanswered.as_ref().is_some_and(|unanswered| unanswered.what == *what)
    }

    /// Whether a route of the gateway exists, terminating ones included.
    pub fn is_routed(&self) -> bool {
        self.ingress.is_ours() || self.http_route.is_ours()
    }

    /// The state of a child.
    pub fn child(&self, child: Child) -> &Presence {
        match child {
            Child::Deployment => &self.deployment,
            Child::Service => &self.service,
            Child::Ingress => &self.ingress,
            Child::HttpRoute => &self.http_route,
            Child::PodDisruptionBudget => &self.disruption_budget,
        }
    }

    /// Whether a child differs and is left alone, since a repair would be undone again. Its stored state
    /// counts.
    pub fn is_left_as_it_is(&self, child: Child) -> bool {
        matches!(self.child(child), Presence::Different(_)) && self.writes.is_contested(child)
    }

    /// The same, mutable, for a newer fact.
    pub fn child_mut(&mut self, child: Child) -> &mut Presence {
        match child {
            Child::Deployment => &mut self.deployment,
            Child::Service => &mut self.service,
            Child::Ingress => &mut self.ingress,
            Child::HttpRoute => &mut self.http_route,
            Child::PodDisruptionBudget => &mut self.disruption_budget,
        }
    }
}

/// Progress of a Deployment's rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Whether every replica has the current template and is available, at the current generation.
    pub complete: bool,
    /// `spec.replicas`.
    pub desired: i32,
    /// `status.replicas`.
    pub replicas: i32,
    /// Ready pods.
    pub ready: i32,
    /// Available pods.
    pub available: i32,
    /// The Deployment's message after its progress deadline passed.
    pub progress_deadline_exceeded: Option<String>,
    /// The Deployment's message if its pods cannot be created.
    pub replica_failure: Option<String>,
    /// Pods of the current template.
    pub updated: i32,
    /// Whether the Deployment controller has not observed the current generation yet.
    pub behind: bool,
    /// The `pod-template-hash` of the current template, if the Deployment names it.
    pub template: Option<String>,
    /// Whether the Deployment is paused. The operator never asks for that, so admission changed it.
    pub paused: bool,
    /// `spec.minReadySeconds`. The operator never sets it either.
    pub min_ready_seconds: i32,
}

/// The pods of the gateway's ReplicaSets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// All of them.
    pub total: usize,
    /// Those that terminate.
    pub terminating: usize,
    /// The troubles of those that do not terminate, sorted by pod name.
    pub troubles: Vec<PodTrouble>,
    /// A pod whose trouble its status does not explain, and what its Events say.
    pub unexplained: Option<UnexplainedWait>,
    /// The first pods by name, for the message of a stop that waits for them.
    pub remaining: Vec<RemainingPod>,
    /// Pods with the gateway's label and without an owner, by name: removed from their ReplicaSet or created by
    /// hand. They block nothing.
    pub unowned: Vec<String>,
}

/// A pod that a stop waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemainingPod {
    /// Its name.
    pub pod: String,
    /// What may keep it, if it terminates.
    pub termination: Option<PodTermination>,
}

/// What may keep a terminating pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodTermination {
    /// Its node.
    pub node: Option<String>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
}

impl Pods {
    /// Drops troubles that mean nothing in this phase. A pod that its node evicted was replaced and stays as
    /// long as its Deployment: it explains a slow start, but nothing after that.
    pub fn seen_in(mut self, phase: Option<&Phase>) -> Self {
        // Starting and Restarting are one phase, so the state does not matter.
        if !Place::of(phase, None).is_some_and(Place::is_attempt) {
            self.troubles.retain(|pod| !matches!(pod.trouble, Trouble::GivenUp { .. }));
        }
        self
    }
}

/// Why one pod is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTrouble {
    /// The pod's name.
    pub pod: String,
    /// Its `pod-template-hash`.
    pub template: Option<String>,
    /// The container, if the pod has several.
    pub container: Option<String>,
    /// The node, if it has one.
    pub node: Option<String>,
    /// What is wrong.
    pub trouble: Trouble,
}

/// The scheduler of pods that name none.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// What can be wrong with a pod, from its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The kubelet cannot pull the image.
    ImagePull {
        /// The image as the pod names it.
        image: String,
        /// The kubelet's message.
        message: String,
    },
    /// The kubelet cannot assemble the container's configuration; its message.
    Config(String),
    /// The kubelet refuses an image that runs as root, or may; its message.
    RunsAsRoot(String),
    /// The container ended.
    Ended {
        /// Its exit code.
        code: i32,
        /// Whether it was killed for lack of memory.
        out_of_memory: bool,
        /// Its termination message; may be empty.
        message: String,
        /// Whether it ran too briefly for a probe to have killed it.
        brief: bool,
    },
    /// The container cannot be started; the kubelet's message.
    CannotStart(String),
    /// The node ended the pod for good: eviction or shutdown.
    GivenUp {
        /// The reason; may be empty.
        reason: String,
        /// The message; may be empty.
        message: String,
    },
    /// The node does not respond.
    NodeUnreachable,
    /// The scheduler found no node; its message.
    Unschedulable(String),
    /// The scheduler failed, and retries; its message.
    SchedulerFailed(String),
    /// Scheduling gates keep the pod from being scheduled.
    Gated(Vec<String>),
    /// The scheduler that the pod names has not considered it.
    NoScheduler(String),
    /// The pod has a node, whose kubelet has not reported about it yet.
    NotTakenUp,
    /// The kubelet is setting the pod up.
    SettingUp,
    /// An init container is running: it has not completed, or a sidecar has not started.
    Initializing {
        /// Whether it is a sidecar.
        sidecar: bool,
        /// When it started.
        since: Option<Timestamp>,
    },
    /// All containers run, and the pod is not ready.
    Unready {
        /// Whether the pod was ready during this run.
        was_ready: bool,
    },
    /// The containers are ready, and a readiness gate is not.
    ReadinessGate {
        /// The condition type.
        gate: String,
        /// The condition's reason and message; `None` if the condition is not set.
        words: Option<String>,
    },
}

impl Trouble {
    /// Whether the status does not explain the trouble, or the trouble may pass.
    pub fn is_unexplained(&self) -> bool {
        match self {
            Self::NotTakenUp
            | Self::SettingUp
            | Self::Initializing { .. }
            | Self::Unready { .. }
            | Self::ReadinessGate { .. }
            | Self::Gated(_)
            | Self::SchedulerFailed(_)
            | Self::NoScheduler(_) => true,
            Self::ImagePull { .. }
            | Self::Config(_)
            | Self::RunsAsRoot(_)
            | Self::Ended { .. }
            | Self::CannotStart(_)
            | Self::GivenUp { .. }
            | Self::NodeUnreachable
            | Self::Unschedulable(_) => false,
        }
    }

    /// Whether a probe may have killed the container. Only the pod's Events tell.
    pub fn may_be_a_probes(&self) -> bool {
        matches!(self, Self::Ended { out_of_memory: false, brief: false, .. })
    }

    /// Whether the trouble is reported only after a while, or after the pod's Events were read.
    pub fn is_followed(&self) -> bool {
        self.is_unexplained() || self.may_be_a_probes()
    }
}

impl PodTrouble {
    /// Whether this is the same trouble as `earlier`, however it is worded now.
    pub fn is_still(&self, earlier: &Self) -> bool {
        let alike = match (&self.trouble, &earlier.trouble) {
            (Trouble::Ended { .. }, _) => self.trouble == earlier.trouble,
            (now, before) => std::mem::discriminant(now) == std::mem::discriminant(before),
        };
        alike && self.pod == earlier.pod && self.container == earlier.container
    }
}

/// A pod that waits without an explanation in its status. Its trouble is reported after a while, or after its
/// Events were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnexplainedWait {
    /// The pod and its trouble.
    pub about: PodTrouble,
    /// How long it has lasted, as far as this process saw.
    pub lasted: Duration,
    /// How long it had lasted when the pod's Events were last read.
    pub read_at: Option<Duration>,
    /// What the Events said.
    pub pod_event: Option<PodEvent>,
}

/// What a pod's Events say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodEvent {
    /// Its probe fails.
    Probe(ProbeResult),
    /// Its probe failed, and the kubelet killed the container for it.
    Killed(ProbeResult),
    /// A mounted Secret or ConfigMap does not exist; the kubelet's message.
    MissingVolume(String),
    /// The node cannot set the pod up; the kubelet's message.
    Node(String),
}

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// The probed container, if known.
    pub container: Option<String>,
    /// The kubelet's message.
    pub words: String,
}

/// An environment of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentFacts {
    /// Its name.
    pub name: String,
    /// Whether it is Active.
    pub active: bool,
    /// Whether its host was refused. It stays Inactive and delays nobody.
    pub refused: bool,
    /// Whether the claim on its host is recorded, or it has no host.
    pub claimed: bool,
}

impl EnvironmentFacts {
    /// Whether a start is incomplete without it.
    pub fn is_awaited(&self) -> bool {
        !self.active && !self.refused
    }

    /// Whether the last step of a start activates it.
    pub fn is_to_be_activated(&self) -> bool {
        self.is_awaited() && self.claimed
    }
}

/// Whether a claimant may have the host in its spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostVerdict {
    /// It may, or its spec has none.
    Free,
    /// Another claimant holds it.
    Taken {
        /// The host.
        host: String,
        /// The holder.
        by: String,
    },
    /// The namespace's annotation does not allow it.
    NotAllowed {
        /// The host.
        host: String,
        /// What the annotation allows.
        allowed: String,
        /// An entry of the annotation that is no valid name and allows nothing.
        no_name: Option<String>,
    },
    /// A wildcard over a single label, which no annotation names.
    TooWide {
        /// The host.
        host: String,
    },
    /// The host looks like an IP address.
    Address {
        /// The host.
        host: String,
    },
    /// Nobody may have it.
    Reserved {
        /// The host.
        host: String,
        /// The reserved name that the host equals, is below of, or covers.
        name: String,
    },
    /// The HTTPRoute of its gateway is full.
    NoRoom {
        /// The host.
        host: String,
        /// The most hosts of an HTTPRoute.
        limit: usize,
    },
    /// The namespace holds as many hosts as it may.
    TooMany {
        /// The host.
        host: String,
        /// The limit of the namespace.
        limit: usize,
    },
}

/// What the operator writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A child.
    Child(Child),
    /// The status of the environment of this name.
    Environment(String),
    /// The finalizers of the gateway itself.
    Finalizers,
    /// The status of the gateway itself. No condition can say what blocks this write.
    Status,
}

impl Target {
    /// The target in words, for messages.
    pub fn in_words(&self) -> String {
        match self {
            Self::Child(child) => format!("the {}", child.kind()),
            Self::Environment(name) => format!("the status of Environment {name:?}"),
            Self::Finalizers => "the finalizers of the ApiGateway".to_owned(),
            Self::Status => "the status of the ApiGateway".to_owned(),
        }
    }
}

/// A write that the API server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was written.
    pub what: Target,
    /// The API server's message.
    pub message: String,
    /// Whether a quota refused it.
    pub quota: bool,
}

/// A write that was neither carried out nor refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// What was written.
    pub what: Target,
    /// What was missing, if known.
    pub by: MissingDependency,
    /// The message of the failure.
    pub words: String,
    /// How long it has failed, as far as this process saw.
    pub lasted: Duration,
}

/// What was missing for a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingDependency {
    /// An admission webhook; its name.
    Webhook(String),
    /// The API server or its storage.
    Cluster,
    /// A permission of the operator.
    Permission,
    /// Unknown; the API server answers other requests.
    Unknown,
}

impl MissingDependency {
    /// Whether the attempt's clock is held: the gateway is known not to be at fault.
    pub fn holds_the_clock(&self) -> bool {
        *self != Self::Unknown
    }
}

/// The moment of a decision: the wall clock for timestamps, and monotonic durations for judgements, which a
/// step of the wall clock does not affect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock.
    pub now: Timestamp,
    /// Since `status.attempt.startedAt`.
    pub attempt: Duration,
    /// Since `status.attempt.heldSince`; zero if the clock is not held.
    pub held: Duration,
    /// Since the last transition.
    pub phase: Duration,
    /// Since `status.lastFailure.at`.
    pub failure: Duration,
    /// Since the deletion was requested; zero if it was not.
    pub deletion: Duration,
    /// How long a missing dependency has kept the status from being written, as far as the status does not
    /// record it.
    pub unrecorded: Duration,
}

impl Moment {
    /// A moment at which no clock has run yet.
    pub const fn at(now: Timestamp) -> Self {
        const NONE: Duration = Duration::ZERO;
        Self { now, attempt: NONE, held: NONE, phase: NONE, failure: NONE, deletion: NONE, unrecorded: NONE }
    }
}

impl Settings {
    /// The settings for gateways of a namespace, whose annotations may restrict them.
    pub fn narrowed_by(&self, namespace: &Allowance) -> Cow<'_, Self> {
        let start_deadline = namespace.start_deadline(self.start_deadline);
        if start_deadline == self.start_deadline {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self { start_deadline, ..self.clone() })
    }
}

/// The operator's flags that affect decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The start deadline of gateways without their own.
    pub start_deadline: Duration,
    /// Whether a partial start is stopped at its deadline, although some pods serve.
    pub stop_partial_starts: bool,
    /// When a stop counts as stuck.
    pub cleanup_stuck_after: Duration,
    /// What gateways may ask for.
    pub allowance: Allowance,
    /// The parents of HTTPRoutes whose gateway names none.
    pub default_parent_refs: Vec<ParentRef>,
    /// Annotations for every Ingress.
    pub ingress_annotations: BTreeMap<String, String>,
    /// Which labels and annotations children inherit.
    pub inheritance: Inheritance,
    /// How long a deleted gateway waits for an unavailable registry.
    pub registry_deletion_timeout: Duration,
}

/// The settings of an operator that runs without flags.
impl Default for Settings {
    fn default() -> Self {
        Self {
            start_deadline: Duration::from_secs(300),
            stop_partial_starts: false,
            cleanup_stuck_after: Duration::from_secs(300),
            allowance: Allowance::ANYTHING,
            default_parent_refs: Vec::new(),
            ingress_annotations: BTreeMap::new(),
            inheritance: Inheritance::default(),
            registry_deletion_timeout: Duration::from_secs(600),
        }
    }
}
