//! Host ownership. The oldest claim wins, not the oldest object. Gateways and environments compete in one
//! space, and a wildcard competes with the hosts that it covers in other namespaces.
//!
//! `names` compares hosts, `policy` lists forbidden hosts, `host_request` describes a claimant, [`Claims`] is
//! the host space, `batches` schedules freed hosts, and `waiters` chooses whom to requeue.
//!
//! **Architecture invariant:** this module is plain data with the time as an argument. It never writes a claim:
//! a claim counts once an object's status records it.

mod batches;
mod claims;
mod host_request;
mod names;
mod policy;
mod waiters;

pub use claims::Claims;
pub use host_request::{Claimant, ClaimantKind, HostRequest};
pub use names::is_allowed;
pub use policy::Policy;

use super::observed::HostVerdict;
use super::words::say;
use crate::api::Reason;

/// Why a claimant may not have a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRefusal {
    /// In one word.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl HostVerdict {
    /// The refusal, unless the host is free.
    pub fn refusal(&self) -> Option<HostRefusal> {
        let refused = |reason, message, hint| Some(HostRefusal { reason, message, hint });
        match self {
            Self::Free => None,
            // This text stays true while anybody holds the host, so it is not rewritten when the host changes
            // hands.
            Self::Taken { host, by } => refused(
                Reason::HostTaken,
                format!("host {host:?} is claimed by {} or a later claimant", say(by)),
                "Choose another spec.host, or wait until it is released.",
            ),
            Self::NotAllowed { host, allowed, no_name: _ } if allowed.is_empty() => refused(
                Reason::HostNotAllowed,
                format!("host {host:?} is not allowed: the namespace may claim no hosts"),
                "Ask the cluster administrator to set the namespace's annotation phasegate.dev/allowed-hosts.",
            ),
            Self::NotAllowed { host, allowed, no_name: None } => refused(
                Reason::HostNotAllowed,
                format!("host {host:?} is not covered by the namespace's allowed hosts: {}", say(allowed)),
                "Choose another spec.host, or ask the cluster administrator about the annotation \
                 phasegate.dev/allowed-hosts.",
            ),
            Self::NotAllowed { host, allowed, no_name: Some(entry) } => refused(
                Reason::HostNotAllowed,
                format!(
                    "host {host:?} is not covered by the namespace's allowed hosts: {}; the entry {:?} is invalid and \
                     allows nothing",
                    say(allowed),
                    say(entry)
                ),
                "Choose another spec.host, or ask the cluster administrator to correct the namespace's annotation \
                 phasegate.dev/allowed-hosts (names such as example.com, or *).",
            ),
            Self::TooWide { host } => refused(
                Reason::HostNotAllowed,
                format!("host {host:?} is a wildcard over a top-level domain, which is not allowed by default"),
                "Choose another spec.host, or ask the cluster administrator to list that domain in the namespace's \
                 annotation phasegate.dev/allowed-hosts.",
            ),
            Self::Address { host } => refused(
                Reason::HostNotAllowed,
                format!("host {host:?} ends with a number, so clients parse it as an IP address"),
                "Choose a DNS name as spec.host.",
            ),
            Self::Reserved { host, name } => refused(
                Reason::HostNotAllowed,
                format!("host {host:?} is reserved: {name:?} is for local and cluster names"),
                "Choose another spec.host.",
            ),
            Self::NoRoom { host, limit } => refused(
                Reason::HostLimitReached,
                format!(
                    "host {host:?} exceeds the limit: the gateway's HTTPRoute already has {limit} hosts, the maximum"
                ),
                "Remove a host, move it to another gateway, or use an Ingress (spec.exposure).",
            ),
            Self::TooMany { host, limit } => refused(
                Reason::HostLimitReached,
                format!("host {host:?} exceeds the limit: the namespace already holds {limit} hosts, the maximum"),
                "Remove a host, or ask the cluster administrator about --max-hosts-per-namespace.",
            ),
        }
    }
}
