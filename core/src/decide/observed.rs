//! What a decision is made from: plain facts. Whoever calls [`decide`](super::decide) gathers them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::allowance::{Allowance, Breaches};
use super::place::Place;
use crate::api::{Accepted, Phase, StoredChange};
use crate::children::Inheritance;

/// Everything outside the `ApiGateway` object that a decision looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The Deployment.
    pub deployment: Presence,
    /// The Service.
    pub service: Presence,
    /// The Ingress.
    pub ingress: Presence,
    /// The PodDisruptionBudget.
    pub disruption_budget: Presence,
    /// How far the Deployment's rollout is.
    pub rollout: Rollout,
    /// The gateway's pods that are in trouble or going away, and how many there are in all.
    pub pods: Pods,
    /// The environments that name this gateway.
    pub environments: Vec<EnvironmentFacts>,
    /// Whether the gateway may have its host.
    pub host: HostVerdict,
    /// What else it asks for and may not have.
    pub breaches: Breaches,
    /// Hosts that it may not have: those of its recorded claims that do not stand, and of a gateway that is left alone also those
    /// that its Ingress routes and its namespace may not have.
    pub lost: Vec<String>,
    /// What the registry has of the gateway.
    pub registry: RegistryFacts,
    /// The last write of this attempt that the API server refused, or the last of an environment of its own.
    pub refusal: Option<Refusal>,
    /// The last write of this attempt, or of an environment, that was not carried out through no fault of the gateway.
    pub unanswered: Option<Unanswered>,
    /// Whether this process has tried the steps of the current attempt.
    pub tried: bool,
    /// What became of the children that were written.
    pub writes: Writes,
}

/// What became of the children that were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// What the API server made of those that are as accepted.
    pub accepted: Accepted,
    /// Where that is something else than what was asked.
    pub changed: Vec<StoredChange>,
    /// The children that were put right of late.
    pub repaired: Vec<Repaired>,
    /// Repairs that were not told yet.
    pub untold: Vec<Repair>,
    /// Those that somebody deleted and that are not gone yet.
    pub going: Vec<Going>,
}

/// A child that was deleted and is not gone yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Going {
    /// The child.
    pub child: Child,
    /// Since when.
    pub lasted: Duration,
    /// What has to be removed of it first.
    pub finalizers: Vec<String>,
}

impl Writes {
    /// How long a child is left alone that differs, or is gone, again.
    pub fn wait(&self, child: Child) -> Duration {
        self.of(child).map_or(Duration::ZERO, |repaired| repaired.wait)
    }

    /// Whether somebody changes a child again each time it is put right.
    pub fn is_contested(&self, child: Child) -> bool {
        self.of(child).is_some_and(Repaired::is_contested)
    }

    fn of(&self, child: Child) -> Option<&Repaired> {
        self.repaired.iter().find(|repaired| repaired.last.child == child)
    }
}

/// A child that was put right of late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The last repair.
    pub last: Repair,
    /// How often it counts as put right.
    pub times: u32,
    /// How long it is left alone if it differs again.
    pub wait: Duration,
    /// When the dispute is over if it does not.
    pub calm_in: Duration,
}

impl Repaired {
    /// One edit, or two, is somebody's hand. Whoever comes back each time wants something else than the gateway does.
    pub fn is_contested(&self) -> bool {
        self.times > Self::AT_ONCE && !self.calm_in.is_zero()
    }

    /// How many repairs follow each other without a wait.
    pub const AT_ONCE: u32 = 3;
}

/// One repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The child.
    pub child: Child,
    /// Where it differed; empty where all of it was gone.
    pub path: String,
    /// Who wrote it last, as the API server records it.
    pub manager: Option<String>,
}

/// What a registry has of a gateway. Where Kubernetes is the registry, the object itself is the record:
/// everything is settled, and it cannot be away while the object is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryFacts {
    /// Whether it is outside Kubernetes. A gateway then goes only once it was forgotten there.
    pub external: bool,
    /// Why it cannot be asked. What else is said here is then what was known last.
    pub unavailable: Option<String>,
    /// Whether the gateway is recorded.
    pub recorded: bool,
    /// Whether its last transition was told.
    pub reported: bool,
    /// Whether an environment is Active and its document is not.
    pub to_activate: bool,
    /// Whether a document is Active and its environment is not.
    pub to_deactivate: bool,
    /// Whether nothing is left there that goes with the gateway.
    pub forgotten: bool,
    /// Whether our finalizer can be removed, as far as it is known. Where Kubernetes is the registry nobody but a tenant, or
    /// an operator that came before, has set it, and this one may lack the permission.
    pub may_let_go: bool,
}

impl RegistryFacts {
    /// Nothing is to be done.
    pub const fn settled() -> Self {
        Self {
            external: false,
            unavailable: None,
            recorded: true,
            reported: true,
            to_activate: false,
            to_deactivate: false,
            forgotten: true,
            may_let_go: true,
        }
    }

    /// Whether something of the gateway is still to be written there.
    pub fn owes(&self) -> bool {
        !self.recorded || !self.reported || self.to_activate || self.to_deactivate
    }

    /// Whether it can be written to.
    pub fn answers(&self) -> bool {
        self.external && self.unavailable.is_none()
    }
}

/// One child object, compared with what is desired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Not desired, and not there.
    NotWanted,
    /// Desired, and not there.
    Missing,
    /// Created a moment ago; the cache does not have it yet.
    Expected,
    /// As desired.
    Equal,
    /// There, and different: the path of the first difference.
    Different(String),
    /// There, and different in a field that cannot be changed.
    Immutable,
    /// There, but no longer desired.
    Unwanted,
    /// Being deleted.
    Terminating,
    /// Of an earlier gateway of this name; garbage collection will take it.
    Predecessor,
    /// Somebody else's: who.
    Stranger(String),
}

impl Presence {
    /// Whether an object of this gateway is there.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Expected
            | Self::Equal
            | Self::Different(_)
            | Self::Immutable
            | Self::Unwanted
            | Self::Terminating => true,
            Self::NotWanted | Self::Missing | Self::Predecessor | Self::Stranger(_) => false,
        }
    }

    /// Whether the object is as desired, its absence included.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Equal | Self::NotWanted)
    }
}

/// The kinds of children, in the order in which they are created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Child {
    /// Runs the pods.
    Deployment,
    /// Gives them an address in the cluster.
    Service,
    /// Gives them a host name.
    Ingress,
    /// Keeps some of them during voluntary disruptions.
    PodDisruptionBudget,
}

impl Child {
    /// All of them, in that order.
    pub const ALL: [Self; 4] = [Self::Deployment, Self::Service, Self::Ingress, Self::PodDisruptionBudget];

    /// The kind as Kubernetes spells it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::Ingress => "Ingress",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
        }
    }
}

impl Observed {
    /// The children, in the order in which they are created.
    pub fn children(&self) -> [(Child, &Presence); 4] {
        Child::ALL.map(|child| (child, self.child(child)))
    }

    /// The troubles of pods of the template that is desired, or of the one that stands where the other cannot be written. What
    /// is wrong with others says nothing about what is asked, nor is it known which these are while the Deployment's controller
    /// is behind. But where no pod serves, a node that does not answer is a cause whatever its pods were made from.
    pub fn troubles(&self) -> impl Iterator<Item = &PodTrouble> {
        let template = self.rollout.template.as_ref();
        let told = (self.deployment == Presence::Equal || self.deployment_stays_otherwise()) && !self.rollout.behind;
        let newest = move |pod: &&PodTrouble| {
            let of_newest = template.is_none() || pod.template.is_none() || pod.template.as_ref() == template;
            told && (of_newest || (self.rollout.available == 0 && pod.trouble == Trouble::NodeIsAway))
        };
        self.pods.troubles.iter().filter(newest)
    }

    /// Whether the Deployment is not as desired and is not about to be: it is contested, it was edited a moment ago, its write is
    /// refused or not answered, or it is being deleted. What its pods say counts meanwhile.
    pub(super) fn deployment_stays_otherwise(&self) -> bool {
        let child = Child::Deployment;
        let waits = !self.writes.wait(child).is_zero();
        match self.deployment {
            Presence::Terminating => true,
            Presence::Different(_) | Presence::Immutable => {
                waits || self.is_left_as_it_is(child) || self.is_hindered(&Target::Child(child))
            }
            _ => false,
        }
    }

    /// Whether the last write of something was refused, or not answered.
    pub(super) fn is_hindered(&self, what: &Target) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.what == *what)
            || self.unanswered.as_ref().is_some_and(|unanswered| unanswered.what == *what)
    }

    /// How a child is.
    pub fn child(&self, child: Child) -> &Presence {
        match child {
            Child::Deployment => &self.deployment,
            Child::Service => &self.service,
            Child::Ingress => &self.ingress,
            Child::PodDisruptionBudget => &self.disruption_budget,
        }
    }

    /// Whether a child differs and is left alone: whoever changed it would do so again. What is stored counts then.
    pub fn is_left_as_it_is(&self, child: Child) -> bool {
        matches!(self.child(child), Presence::Different(_)) && self.writes.is_contested(child)
    }

    /// The same child, to be replaced by a newer fact.
    pub fn child_mut(&mut self, child: Child) -> &mut Presence {
        match child {
            Child::Deployment => &mut self.deployment,
            Child::Service => &mut self.service,
            Child::Ingress => &mut self.ingress,
            Child::PodDisruptionBudget => &mut self.disruption_budget,
        }
    }
}

/// How far a Deployment's rollout is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Every replica is of the current template and available, at the current generation.
    pub complete: bool,
    /// Replicas that the Deployment asks for.
    pub desired: i32,
    /// Pods that it has.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that are available.
    pub available: i32,
    /// What the Deployment says when its progress deadline passed.
    pub progress_deadline_exceeded: Option<String>,
    /// What the Deployment says when its pods cannot be created.
    pub replica_failure: Option<String>,
    /// Pods of the current template.
    pub updated: i32,
    /// Whether the Deployment controller has yet to look at the current generation.
    pub behind: bool,
    /// The `pod-template-hash` of the current template, as far as the Deployment tells it.
    pub template: Option<String>,
}

/// The gateway's pods: those of its ReplicaSets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// All of them.
    pub total: usize,
    /// Those being deleted.
    pub terminating: usize,
    /// The troubles of those that are not being deleted, ordered by pod name.
    pub troubles: Vec<PodTrouble>,
    /// One of them whose trouble is told only after a while or after its Events were read, and what was heard of it.
    pub silence: Option<Silence>,
    /// The first of them by name, as far as a stop that waits for them names them.
    pub left: Vec<PodLeft>,
    /// Pods that carry the gateway's label and that nobody owns, by name: taken out of their ReplicaSet, or made by hand. They
    /// hold up nothing.
    pub unowned: Vec<String>,
}

/// A pod that a stop waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLeft {
    /// Its name.
    pub pod: String,
    /// What may keep it, where it is being deleted.
    pub leaving: Option<Leaving>,
}

/// What may keep a pod that is being deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Its node.
    pub node: Option<String>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
}

impl Pods {
    /// The same pods, as far as they say something in a phase. One that its node gave up was replaced, and stays
    /// as long as its Deployment does: it can explain why a start takes long, but nothing that comes later.
    pub fn seen_in(mut self, phase: Option<&Phase>) -> Self {
        // A start and a restart are one phase: the state does not matter.
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
    /// The container in trouble, where the pod has more than one.
    pub container: Option<String>,
    /// The node that it is on, where it has one.
    pub node: Option<String>,
    /// What is wrong.
    pub trouble: Trouble,
}

/// The scheduler of pods that name none.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// What can be wrong with a pod, as its status tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The kubelet cannot pull `image`.
    ImagePull {
        /// The image as the pod names it.
        image: String,
        /// The kubelet's words.
        message: String,
    },
    /// The kubelet cannot put the container's configuration together; its words.
    Config(String),
    /// The kubelet will not start the container, as its image runs as root or may; its words.
    RunsAsRoot(String),
    /// The container ended.
    Ended {
        /// Its exit code.
        code: i32,
        /// Whether it was ended for want of memory.
        out_of_memory: bool,
        /// Its last words; empty where it left none.
        message: String,
        /// Whether it ran too short for a probe to have ended it.
        brief: bool,
    },
    /// The container cannot be started; the kubelet's words.
    CannotStart(String),
    /// The node ended the pod for good: an eviction, a shutdown.
    GivenUp {
        /// In one word; empty where it gave none.
        reason: String,
        /// Its words; empty where it gave none.
        message: String,
    },
    /// The node does not answer.
    NodeIsAway,
    /// The scheduler found no node; its words.
    Unschedulable(String),
    /// It is not to be scheduled before these gates are removed.
    Gated(Vec<String>),
    /// The scheduler that it names has not looked at it.
    NoScheduler(String),
    /// It has a node, which has said nothing about it yet.
    NotTakenUp,
    /// Its node is setting it up.
    SettingUp,
    /// A container that others have to wait for runs, and has not come to its end or is not started.
    Initializing {
        /// Whether it is to run on beside the others.
        sidecar: bool,
        /// Since when it runs.
        since: Option<Timestamp>,
    },
    /// Everything runs, and it is not ready.
    Unready {
        /// Whether it has been ready in this run.
        was_ready: bool,
    },
    /// Its containers are ready, and a readiness gate is not.
    ReadinessGate {
        /// The type of the condition.
        gate: String,
        /// What the condition says; `None` where it is not set.
        words: Option<String>,
    },
}

impl Trouble {
    /// Whether the status does not say why the pod is not ready, or what it says may pass.
    pub fn is_silent(&self) -> bool {
        match self {
            Self::NotTakenUp
            | Self::SettingUp
            | Self::Initializing { .. }
            | Self::Unready { .. }
            | Self::ReadinessGate { .. }
            | Self::Gated(_)
            | Self::NoScheduler(_) => true,
            Self::ImagePull { .. }
            | Self::Config(_)
            | Self::RunsAsRoot(_)
            | Self::Ended { .. }
            | Self::CannotStart(_)
            | Self::GivenUp { .. }
            | Self::NodeIsAway
            | Self::Unschedulable(_) => false,
        }
    }

    /// Whether it may have been a probe that ended the container: the Events of the pod know.
    pub fn may_be_a_probes(&self) -> bool {
        matches!(self, Self::Ended { out_of_memory: false, brief: false, .. })
    }

    /// Whether it is told only after a while, or after the Events of the pod were read.
    pub fn is_followed(&self) -> bool {
        self.is_silent() || self.may_be_a_probes()
    }
}

impl PodTrouble {
    /// Whether this is still the trouble of `earlier`, however it is worded now.
    pub fn is_still(&self, earlier: &Self) -> bool {
        let alike = match (&self.trouble, &earlier.trouble) {
            (Trouble::Ended { .. }, _) => self.trouble == earlier.trouble,
            (now, before) => std::mem::discriminant(now) == std::mem::discriminant(before),
        };
        alike && self.pod == earlier.pod && self.container == earlier.container
    }
}

/// A pod whose trouble is told only after a while, or after its Events were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The pod, and what is known of it.
    pub about: PodTrouble,
    /// How long it has been so, as far as this process saw.
    pub lasted: Duration,
    /// How long it had been so when its Events were last read.
    pub read_at: Option<Duration>,
    /// What they said.
    pub complaint: Option<Complaint>,
}

/// What the Events of a pod say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// Its probe fails.
    Probe(Answer),
    /// Its probe failed, and its node ended the container for that.
    Killed(Answer),
    /// A Secret or ConfigMap that it mounts is not there; the kubelet's words.
    MissingVolume(String),
    /// Its node cannot set it up; the kubelet's words.
    Node(String),
}

/// What a probe got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The container that was asked, as far as that is known.
    pub container: Option<String>,
    /// The kubelet's words.
    pub words: String,
}

/// An environment of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentFacts {
    /// Its name.
    pub name: String,
    /// Whether it is Active.
    pub active: bool,
    /// Whether its host was refused: it stays Inactive and holds nobody up.
    pub refused: bool,
    /// Whether its claim on its host is recorded, or it has none.
    pub claimed: bool,
}

impl EnvironmentFacts {
    /// Whether the last step of a start is to switch it on.
    pub fn is_to_be_activated(&self) -> bool {
        !self.active && !self.refused && self.claimed
    }
}

/// Whether a gateway may have the host that its spec names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostVerdict {
    /// It may, or it names none.
    Free,
    /// Somebody else holds it.
    Taken {
        /// The host.
        host: String,
        /// Who holds it.
        by: String,
    },
    /// Its namespace is not allowed to have it.
    NotAllowed {
        /// The host.
        host: String,
        /// What the namespace may have.
        allowed: String,
    },
    /// Nobody may have it.
    Reserved {
        /// The host.
        host: String,
        /// The name that it is, is below, or covers.
        name: String,
    },
    /// Its namespace has as many as it may.
    TooMany {
        /// The host.
        host: String,
        /// How many that is.
        limit: usize,
    },
}

/// What is written on a gateway's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A child.
    Child(Child),
    /// The status of an environment: its name.
    Environment(String),
    /// The finalizers of the gateway itself.
    Finalizers,
    /// The status of the gateway itself. What keeps it from being written, no condition can say.
    Status,
}

impl Target {
    /// What it is, in words.
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
    /// What was to be written.
    pub what: Target,
    /// The API server's words.
    pub message: String,
    /// Whether a quota was the cause.
    pub quota: bool,
}

/// A write that was neither carried out nor refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// What was to be written.
    pub what: Target,
    /// Who is away, as far as it is known.
    pub by: Absent,
    /// What was said about it.
    pub words: String,
    /// For how long that has been so, as far as this process saw.
    pub lasted: Duration,
}

/// What was missing for a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// A webhook that the API server has to ask: its name.
    Webhook(String),
    /// The API server, or its storage.
    Cluster,
    /// A permission of the operator.
    Permission,
    /// Nobody knows. The API server answers others.
    Unknown,
}

impl Absent {
    /// Whether it is known to be nobody's fault whose clock runs.
    pub fn holds_the_clock(&self) -> bool {
        *self != Self::Unknown
    }
}

/// When a decision is made: the wall clock for what is written down, and durations that a
/// step of the wall clock does not change for what is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock.
    pub now: Timestamp,
    /// Since `status.attempt.startedAt`.
    pub attempt: Duration,
    /// Since `status.attempt.heldSince`; zero when the clock is not held.
    pub held: Duration,
    /// Since the last transition.
    pub phase: Duration,
    /// Since `status.lastFailure.at`.
    pub failure: Duration,
    /// Since somebody asked for the deletion; zero when nobody did.
    pub deletion: Duration,
    /// For how long somebody was away without whom the status cannot be written, as far as the status does not say it.
    pub unrecorded: Duration,
}

impl Settings {
    /// What they are for the gateways of a namespace, which may narrow them.
    pub fn narrowed_by(&self, namespace: &Allowance) -> Cow<'_, Self> {
        let start_deadline = namespace.start_deadline(self.start_deadline);
        if start_deadline == self.start_deadline {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self { start_deadline, ..self.clone() })
    }
}

/// What the operator's flags say about decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The start deadline of gateways that name none.
    pub start_deadline: Duration,
    /// Whether a start that is not complete at its deadline is stopped, although some of its pods serve.
    pub stop_partial_starts: bool,
    /// After how long a stop is called stuck.
    pub cleanup_stuck_after: Duration,
    /// What gateways may ask for.
    pub allowance: Allowance,
    /// Annotations of every Ingress.
    pub ingress_annotations: BTreeMap<String, String>,
    /// Which labels and annotations of a gateway its children carry.
    pub inheritance: Inheritance,
    /// How long a gateway that is being deleted waits for a registry that does not answer.
    pub registry_deletion_timeout: Duration,
}
