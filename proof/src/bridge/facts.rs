//! Facts of the model, and the `Observed` that they stand for.

use phasegate_core::api::Accepted;
use phasegate_core::decide::Learned;
use phasegate_core::decide::observed::{
    EnvironmentFacts, HostVerdict, MissingDependency, Observed, Presence, Refusal, RegistryFacts, Target, Tried,
    Unanswered, Writes,
};

use crate::world::objects::{ENVIRONMENTS, KINDS, Pods, Rollout};
use crate::world::operator::Blocked;

/// How a child compares with its desired state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// `Presence::NotWanted`.
    NotWanted,
    /// `Presence::Missing`.
    Missing,
    /// `Presence::Expected`.
    Expected,
    /// `Presence::Equal`.
    Equal,
    /// `Presence::Different`.
    Different,
    /// `Presence::Terminating`.
    Terminating,
    /// `Presence::Predecessor`.
    Predecessor,
    /// `Presence::Foreign`.
    Foreign,
}

impl From<Seen> for Presence {
    fn from(seen: Seen) -> Self {
        match seen {
            Seen::NotWanted => Self::NotWanted,
            Seen::Missing => Self::Missing,
            Seen::Expected => Self::Expected,
            Seen::Equal => Self::Equal,
            Seen::Different => Self::Different("/spec".to_owned()),
            Seen::Terminating => Self::Terminating,
            Seen::Predecessor => Self::Predecessor,
            Seen::Foreign => Self::Foreign("an unknown owner".to_owned()),
        }
    }
}

/// What an external registry has of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Registered {
    /// Whether the gateway is recorded.
    pub recorded: bool,
    /// Whether its last transition is.
    pub reported: bool,
    /// Whether nothing of it is.
    pub forgotten: bool,
}

/// Everything that a decision reads besides the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The children.
    pub children: [Seen; KINDS.len()],
    /// Progress of the Deployment.
    pub rollout: Rollout,
    /// The pods.
    pub pods: Pods,
    /// Whether each environment is Active.
    pub environments: [Option<bool>; ENVIRONMENTS],
    /// Whether another gateway has the host.
    pub host_taken: bool,
    /// The external registry, if there is one.
    pub registry: Option<Registered>,
    /// What refused the last write.
    pub blocked: Option<Blocked>,
    /// When this process tried the steps of the attempt.
    pub tried: Tried,
    /// The accepted forms of the children.
    pub accepted: [Option<(u8, u8)>; KINDS.len()],
    /// A planted mistake: the deadline is over at once.
    pub rushed: bool,
}

impl Facts {
    /// The facts as the production code has them.
    pub(super) fn observed(&self) -> Observed {
        let [deployment, service, ingress] = self.children.map(Presence::from);
        let mut observed = Observed { deployment, service, ingress, tried: self.tried, ..Observed::nothing() };
        let rollout = &mut observed.rollout;
        rollout.complete = self.rollout.complete;
        rollout.behind = self.rollout.behind;
        rollout.desired = 1;
        rollout.available = i32::from(self.rollout.available);
        rollout.ready = rollout.available;
        rollout.replicas = i32::from(self.pods.running);
        rollout.updated = i32::from(self.pods.running && !self.rollout.behind);
        observed.pods.total = usize::from(self.pods.running) + usize::from(self.pods.terminating);
        observed.pods.terminating = usize::from(self.pods.terminating);
        let environments = self.environments.iter().enumerate();
        observed.environments = environments
            .filter_map(|(number, active)| {
                let name = format!("env-{number}");
                active.map(|active| EnvironmentFacts { name, active, refused: false, claimed: true })
            })
            .collect();
        if self.host_taken {
            let (host, by) = ("shop.example.com".to_owned(), "tenants/other".to_owned());
            observed.host = HostVerdict::Taken { host, by };
        }
        if let Some(Registered { recorded, reported, forgotten }) = self.registry {
            observed.registry =
                RegistryFacts { external: true, recorded, reported, forgotten, ..RegistryFacts::settled() };
        }
        match self.blocked {
            Some(Blocked::Refused(kind)) => observed.refusal = Some(refusal(kind)),
            Some(Blocked::Unavailable(kind)) => observed.unanswered = Some(unanswered(kind)),
            None => {}
        }
        let [deployment, service, ingress] =
            self.accepted.map(|form| form.map(|(desired, stored)| format!("{desired}/{stored}")));
        observed.writes =
            Writes { accepted: Accepted { deployment, service, ingress, ..Accepted::default() }, ..Writes::default() };
        observed
    }
}

/// What a step taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Learnt {
    /// A child is not what the cache shows.
    Surprise(u8, Seen),
    /// Admission refused the write of a child.
    Refused(u8),
    /// A webhook is unavailable for the write of a child.
    Unavailable(u8),
    /// The registry does not answer.
    RegistryFailed,
}

impl From<Learnt> for Learned {
    fn from(learnt: Learnt) -> Self {
        match learnt {
            Learnt::Surprise(kind, seen) => Self::Surprise(KINDS[usize::from(kind)], seen.into()),
            Learnt::Refused(kind) => Self::Refused(refusal(kind)),
            Learnt::Unavailable(kind) => Self::Unanswered(unanswered(kind)),
            Learnt::RegistryFailed => Self::RegistryFailed("no answer".to_owned()),
        }
    }
}

fn refusal(kind: u8) -> Refusal {
    let what = Target::Child(KINDS[usize::from(kind)]);
    Refusal { what, message: "denied".to_owned(), quota: false }
}

fn unanswered(kind: u8) -> Unanswered {
    let what = Target::Child(KINDS[usize::from(kind)]);
    let by = MissingDependency::Webhook("policy.example.com".to_owned());
    Unanswered { what, by, words: "no answer".to_owned(), lasted: std::time::Duration::ZERO }
}
