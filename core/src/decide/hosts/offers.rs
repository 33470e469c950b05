//! What is on offer, and since when.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use super::stake::Claimant;

/// One who waits for a host, in the order of their turns.
pub(super) type Waiter = (Timestamp, Claimant);

/// So many are woken first, and twice as many each time after that.
const FIRST: usize = 4;

/// How long those who were woken have to take it before others are.
pub(super) const PACE: Duration = Duration::from_secs(1);

/// What somebody may have by now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Topic {
    /// A host.
    Host(String),
    /// One more host in a namespace.
    Namespace(String),
}

/// What is on offer.
#[derive(Debug, Default)]
pub(super) struct Offers {
    open: HashMap<Topic, Offer>,
    due: BTreeSet<(Instant, Topic)>,
}

#[derive(Debug)]
pub(super) struct Offer {
    pub(super) at: Instant,
    pub(super) count: usize,
    pub(super) after: Option<Waiter>,
}

impl Offers {
    /// Something is on offer from a moment on, to everybody anew.
    pub(super) fn make(&mut self, topic: Topic, at: Instant) {
        self.set(topic, Offer { at, count: FIRST, after: None });
    }

    pub(super) fn set(&mut self, topic: Topic, offer: Offer) {
        let at = offer.at;
        if let Some(before) = self.open.insert(topic.clone(), offer) {
            self.due.remove(&(before.at, topic.clone()));
        }
        self.due.insert((at, topic));
    }

    /// The next that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Topic, Offer)> {
        let (at, topic) = self.due.first().filter(|(at, _)| *at <= now)?.clone();
        self.due.remove(&(at, topic.clone()));
        let offer = self.open.remove(&topic)?;
        Some((topic, offer))
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}
