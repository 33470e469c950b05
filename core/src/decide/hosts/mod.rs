//! Who holds which host: the oldest claim wins, not the oldest object. Gateways and environments compete in one space, and
//! a wildcard of one namespace competes with what it covers in every other.
//!
//! `names` compares hosts, `policy` says what nobody may have, `stake` is what one wants and holds, [`Claims`] is the space,
//! `offers` what can be had, and `turns` whom that wakes.

mod claims;
mod names;
mod offers;
mod policy;
mod stake;
mod turns;

pub use claims::Claims;
pub use names::is_allowed;
pub use policy::Policy;
pub use stake::{Claimant, ClaimantKind, Stake};

use super::observed::HostVerdict;
use super::words::say;
use crate::api::Reason;

/// Why a host may not be had.
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
    /// Why the host may not be had, if so.
    pub fn refusal(&self) -> Option<HostRefusal> {
        let refused = |reason, message, hint| Some(HostRefusal { reason, message, hint });
        match self {
            Self::Free => None,
            // True for as long as somebody holds it: whoever waits is not told anew each time that it changes hands.
            Self::Taken { host, by } => refused(
                Reason::HostTaken,
                format!("host {host:?} is held by {}, or by whoever was next", say(by)),
                "Choose another spec.host, or wait until its holder drops it.",
            ),
            Self::NotAllowed { host, allowed } if allowed.is_empty() => refused(
                Reason::HostNotAllowed,
                format!("host {host:?} is not allowed: the namespace may have none"),
                "Ask who runs the cluster for the namespace's annotation phasegate.dev/allowed-hosts.",
            ),
            Self::NotAllowed { host, allowed } => refused(
                Reason::HostNotAllowed,
                format!("host {host:?} is not below what the namespace allows: {}", say(allowed)),
                "Choose another spec.host, or ask who runs the cluster about the namespace's allowed hosts.",
            ),
            Self::Reserved { host, name } => refused(
                Reason::HostNotAllowed,
                format!("host {host:?} is nobody's to have: {name:?} is for the machine's or the cluster's own names"),
                "Choose another spec.host.",
            ),
            Self::TooMany { host, limit } => refused(
                Reason::HostLimitReached,
                format!("host {host:?} is one too many: the namespace holds {limit} already, which is all that it may"),
                "Drop a host that is not needed, or ask who runs the cluster about --max-hosts-per-namespace.",
            ),
        }
    }
}
