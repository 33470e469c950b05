//! A modelled cluster: its state, what can happen in it, and what must hold.

pub mod actions;
mod canonical;
mod gather;
pub mod judge;
pub mod objects;
pub mod operator;
mod pass;
pub mod server;
mod steps;

use objects::{ChildObject, Document, ENVIRONMENTS, Environment, GATEWAYS, Gateway, KINDS, Pods};
use operator::Operator;
use server::Write;

/// A state of a world. Everything that matters later is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The stored ApiGateways.
    pub gateways: [Option<Gateway>; GATEWAYS],
    /// Their children, or objects of others with the same names.
    pub children: [[Option<ChildObject>; KINDS.len()]; GATEWAYS],
    /// Their pods.
    pub pods: [Pods; GATEWAYS],
    /// The environments of the first gateway.
    pub environments: [Option<Environment>; ENVIRONMENTS],
    /// The documents of a registry outside Kubernetes.
    pub documents: [Option<Document>; GATEWAYS],
    /// Whether the pods of a gateway cannot become ready.
    pub sick: [bool; GATEWAYS],
    /// How many deadlines the attempt has run for, from outside.
    pub ran: [u8; GATEWAYS],
    /// How often the time of a deadline may still pass. Without an end, attempts would be counted for ever.
    pub ticks: u8,
    /// The process with the claim.
    pub leader: Option<Operator>,
    /// A process that was frozen and does not know that its claim is over.
    pub former: Option<Box<Operator>>,
    /// A request that is carried out later, whoever waits for it.
    pub late: Option<Write>,
    /// What may still happen.
    pub budget: Budget,
}

/// How often each kind of event may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// What users do to gateways.
    pub edits: u8,
    /// Crashes of the operator, and leases that it loses.
    pub crashes: u8,
    /// Answers that are not the usual one.
    pub answers: u8,
    /// What others do to children, and pods that fail.
    pub mishaps: u8,
}

/// What a world consists of.
#[derive(Clone, Debug)]
pub struct World {
    /// Its name.
    pub name: &'static str,
    /// The number of gateways.
    pub gateways: usize,
    /// The number of environments of the first gateway.
    pub environments: usize,
    /// What may happen.
    pub budget: Budget,
    /// What users may do.
    pub edits: &'static [Edit],
    /// The answers that a write may get besides the usual one.
    pub answers: &'static [Answer],
    /// Which watches may be behind.
    pub lag: Lag,
    /// Whether admission changes every child.
    pub admission: bool,
    /// Whether deleted Deployments stay until a finalizer is removed.
    pub finalizers: bool,
    /// Whether the gateways ask for the same host.
    pub host: bool,
    /// Whether the registry is outside Kubernetes.
    pub registry: bool,
    /// Whether an object of others has the name of the first gateway's Service.
    pub foreign: bool,
    /// A mistake of the modelled operator.
    pub planted: Option<Planted>,
}

/// Which watches may be behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    /// That of the gateways.
    pub gateways: bool,
    /// Those of their children.
    pub children: bool,
    /// That of their pods.
    pub pods: bool,
    /// That of the environments.
    pub environments: bool,
}

/// What a user does to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edit {
    /// `spec.state: Running`.
    Run,
    /// `spec.state: Stopped`.
    Stop,
    /// `spec.state: Restarting`.
    Restart,
    /// The annotation that requests a restart.
    RequestRestart,
    /// The annotation that requests a retry.
    Retry,
    /// Another image.
    Image,
    /// `spec.suspend: true`, or false again.
    Suspend,
    /// Deletion.
    Delete,
    /// Creation, after a deletion.
    Create,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It is carried out and answered.
    Given,
    /// It is lost before it arrives.
    Dropped,
    /// It is carried out, and the answer is lost.
    Lost,
    /// It is answered with a timeout, and carried out later.
    Delayed,
    /// It is carried out and answered, and once more later.
    Doubled,
    /// It is answered with a conflict, and not carried out.
    Conflict,
    /// Admission refuses it.
    Refused,
    /// An admission webhook is unavailable.
    Unavailable,
}

/// Mistakes of an operator, one of which a world may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Planted {
    /// Every attempt counts as being past its deadline.
    DeadlineIgnored,
    /// The status is written without a resourceVersion.
    StatusOverwritten,
    /// A child with the gateway's name counts as the gateway's own.
    OwnerIgnored,
    /// The finalizer is removed before the registry has forgotten the gateway.
    FinalizerEarly,
    /// A write is sent without a look at the claim.
    LeaseUnchecked,
    /// An attempt ends at its deadline without a live read.
    CacheTrusted,
    /// What was stored for a child is not remembered, and not recorded.
    AcceptedForgotten,
    /// A start counts as done once its children are written.
    StatusBeforeReady,
    /// Requests count as taken up with any write.
    RequestsDropped,
    /// Children have no owner reference.
    OwnerForgotten,
}

impl World {
    /// A world with one gateway in which nothing goes wrong.
    pub fn named(name: &'static str) -> Self {
        Self {
            name,
            gateways: 1,
            environments: 0,
            budget: Budget::default(),
            edits: &[],
            answers: &[],
            lag: Lag::default(),
            admission: false,
            finalizers: false,
            host: false,
            registry: false,
            foreign: false,
            planted: None,
        }
    }

    /// Whether the modelled operator makes this mistake.
    pub fn plants(&self, mistake: Planted) -> bool {
        self.planted == Some(mistake)
    }
}
