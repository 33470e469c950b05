//! A modelled operator process: caches, memory and the pass in progress. `pass` moves it, as `src/control` does.

use phasegate_core::decide::observed::Tried;

use super::objects::{ChildObject, Content, ENVIRONMENTS, Environment, GATEWAYS, Gateway, KINDS, Pods, StatusId};
use crate::bridge::Seen;

/// A process that holds the claim, or held it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Operator {
    /// The watched objects. Each may be an old version.
    pub cache: Cache,
    /// What it remembers of each gateway.
    pub memory: [Memory; GATEWAYS],
    /// The pass in progress.
    pub pass: Option<Pass>,
}

/// Watched objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cache {
    /// The ApiGateways.
    pub gateways: [Option<Gateway>; GATEWAYS],
    /// Their children.
    pub children: [[Option<ChildObject>; KINDS.len()]; GATEWAYS],
    /// Their pods.
    pub pods: [Pods; GATEWAYS],
    /// The Environments.
    pub environments: [Option<Environment>; ENVIRONMENTS],
}

/// What a process remembers of one gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// The gateway.
    pub uid: Option<u8>,
    /// Its last write of the gateway, until the cache has caught up.
    pub written: Option<Gateway>,
    /// Whether it has written the claim on the host, until the cache shows it.
    pub reserved: bool,
    /// The attempt whose steps it has tried, and when.
    pub tried: Option<(u8, Tried)>,
    /// Whether a write of a child after the deadline was not answered.
    pub missed: bool,
    /// Effects of its own calls that the cache does not show yet.
    pub expected: [Expected; KINDS.len()],
    /// What refused the last write, and in which attempt.
    pub blocked: Option<(u8, Blocked)>,
    /// The desired content of each child, and what was stored for it.
    pub known: [Option<(Content, Content)>; KINDS.len()],
}

/// The effect of a call that the cache does not show yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Expected {
    /// None.
    #[default]
    Nothing,
    /// The child was created.
    Created,
    /// The child with this uid was deleted.
    Deleted(u8),
}

/// What kept the write of a child from being carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blocked {
    /// Admission refused it.
    Refused(u8),
    /// A webhook was unavailable.
    Unavailable(u8),
}

/// A pass over one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pass {
    /// The gateway's place in the world.
    pub slot: u8,
    /// The gateway as it was read.
    pub base: Gateway,
    /// The arguments of the decision.
    pub input: u32,
    /// Where the pass is.
    pub stage: Stage,
    /// The step that is due.
    pub at: u8,
    /// The environment that is due.
    pub environment: u8,
    /// The child as an update has read it.
    pub fresh: Option<(u8, ChildObject)>,
    /// The uids of the children that were found.
    pub found: [Option<u8>; KINDS.len()],
    /// The environments as they were read.
    pub environments: [Option<Environment>; ENVIRONMENTS],
    /// The result of the steps so far.
    pub worst: Worst,
}

/// Where a pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before the live read that a plan at its deadline needs.
    Confirm,
    /// In its steps.
    Act,
    /// Before the write of the status, which may be a transition.
    Record(StatusId, bool),
}

/// The worst result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Worst {
    /// All were carried out.
    Done,
    /// Admission refused the write of a child.
    Refused(u8),
    /// A webhook that the write of a child needs is unavailable.
    Unavailable(u8),
    /// The registry did not answer.
    RegistryFailed,
    /// The pass yields its turn.
    HalfWay,
    /// The cache is behind.
    Behind,
    /// A child is not what the cache shows.
    Surprise(u8, Seen),
    /// A call was not answered.
    Failed,
}
