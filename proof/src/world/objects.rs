//! The objects of a modelled cluster. Versions and uids are small numbers, which `canonical` renames.

use phasegate_core::decide::observed::Child;

/// A status that the [`Bridge`](crate::bridge::Bridge) keeps; 0 is none.
pub type StatusId = u32;

/// The most gateways, environments and kinds of children of a world.
pub const GATEWAYS: usize = 2;
/// Environments, all of the first gateway.
pub const ENVIRONMENTS: usize = 2;
/// The kinds of children. HTTPRoute and PodDisruptionBudget take the same paths as these.
pub const KINDS: [Child; 3] = [Child::Deployment, Child::Service, Child::Ingress];

/// `spec.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Serve.
    Running,
    /// Do not serve.
    Stopped,
    /// Serve, and restart once.
    Restarting,
}

/// An `ApiGateway`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gateway {
    /// `metadata.uid`.
    pub uid: u8,
    /// `metadata.resourceVersion`.
    pub version: u8,
    /// `metadata.generation`.
    pub generation: u8,
    /// `spec.state`.
    pub asked: Asked,
    /// `spec.image`.
    pub image: u8,
    /// `spec.suspend`.
    pub suspended: bool,
    /// The annotation that requests a retry; 0 is none.
    pub retry: u8,
    /// The annotation that requests a restart; 0 is none.
    pub restart: u8,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// Whether it has the operator's finalizer.
    pub ours: bool,
    /// Whether it has a finalizer of another controller.
    pub others: bool,
    /// `status`.
    pub status: StatusId,
}

/// What a child was rendered from, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    /// The image.
    pub image: u8,
    /// `status.restarts`.
    pub restarts: u8,
    /// Whether admission added a field.
    pub admitted: bool,
    /// Whether a client edited a field.
    pub edited: bool,
}

impl Content {
    /// The content as one number, for the hash of an accepted form.
    pub fn code(self) -> u8 {
        self.image | (self.restarts.min(15) << 2) | (u8::from(self.admitted) << 6) | (u8::from(self.edited) << 7)
    }
}

/// The controller of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The gateway with this uid.
    Gateway(u8),
    /// Another client's object.
    Foreign,
}

/// Progress of a Deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rollout {
    /// The Deployment controller has not observed the current generation.
    pub behind: bool,
    /// Every pod has the current template and is available.
    pub complete: bool,
    /// A pod of some template is available.
    pub available: bool,
}

/// A Deployment, Service or Ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChildObject {
    /// `metadata.uid`.
    pub uid: u8,
    /// `metadata.resourceVersion`.
    pub version: u8,
    /// Its controller.
    pub owner: Owner,
    /// Its spec.
    pub content: Content,
    /// Whether it is deleted and kept by a finalizer.
    pub deleting: bool,
    /// Progress, if it is a Deployment.
    pub rollout: Rollout,
}

/// The pods of a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pods {
    /// One runs, or is about to.
    pub running: bool,
    /// One terminates.
    pub terminating: bool,
}

/// An `Environment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Environment {
    /// `metadata.resourceVersion`.
    pub version: u8,
    /// `status.state`.
    pub active: bool,
}

/// A gateway's document in a registry outside Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Document {
    /// The recorded uid.
    pub uid: u8,
    /// The last reported transition.
    pub seq: u8,
}
