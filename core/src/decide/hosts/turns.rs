//! Whom to wake when a host can be had. Of those who wait only a few are woken at once, those who have waited longest, and more
//! of them for as long as it is still to be had: whoever is woken may not want it any more, and nobody waits for ever.

use std::collections::BTreeSet;
use std::time::Instant;

use super::claims::{Claims, Host};
use super::offers::{Offer, PACE, Topic, Waiter};
use super::stake::Claimant;

impl Claims {
    /// When [`Self::due`] has somebody to wake although nothing happens before.
    pub fn next_due(&self) -> Option<Instant> {
        self.offers.next_due()
    }

    /// Those whose turn it is by now to take what can be had.
    pub fn due(&mut self, now: Instant) -> BTreeSet<Claimant> {
        let mut wake = BTreeSet::new();
        while let Some((topic, offer)) = self.offers.take_due(now) {
            if let Topic::Host(host) = &topic {
                self.end_keeping(host, now);
            }
            let mut takers = self.takers(&topic, &offer);
            let more = takers.len() > offer.count;
            takers.truncate(offer.count);
            let after = takers.last().cloned();
            wake.extend(takers.into_iter().map(|(_, claimant)| claimant));
            if let (true, Some(at)) = (more, now.checked_add(PACE)) {
                self.offers.set(topic, Offer { at, count: 2 * offer.count, after });
            } else if let Topic::Host(host) = &topic
                && let Some(until) = self.host(host).and_then(|at| at.kept.as_ref()).map(|kept| kept.until)
            {
                self.offers.make(topic, until);
            }
        }
        wake
    }

    /// The next of those who wait and may take what is on offer, one more than are to be woken.
    fn takers(&self, topic: &Topic, offer: &Offer) -> Vec<Waiter> {
        let waiting = |at: &Host| at.waiting.iter().cloned().collect::<Vec<_>>();
        let mut line: Vec<Waiter> = match topic {
            Topic::Host(host) => self.host(host).into_iter().chain(self.overlapping(host)).flat_map(waiting).collect(),
            Topic::Namespace(name) => {
                self.namespaces.get(name).map(|there| there.waiting.iter().cloned().collect()).unwrap_or_default()
            }
        };
        line.sort();
        let next = line.into_iter().filter(|waiter| offer.after.as_ref().is_none_or(|after| waiter > after));
        let may_take = |(_, claimant): &Waiter| self.stakes.get(claimant).is_some_and(|stake| self.may_take(stake));
        next.filter(may_take).take(offer.count + 1).collect()
    }
}
