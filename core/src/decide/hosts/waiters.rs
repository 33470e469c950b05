//! Which waiting claimants to requeue when a host is free. Only a few at once, the oldest first, and more as
//! long as the host stays free: a requeued claimant may not want it any more, and nobody waits for ever.
//!
//! **Architecture invariant:** this module grants no host. It returns claimants to requeue, and each has to
//! claim the host in a pass of its own.

use std::collections::BTreeSet;
use std::time::Instant;

use super::batches::{BATCH_INTERVAL, Batch, Freed, Waiter};
use super::claims::{Claims, Host};
use super::host_request::Claimant;

impl Claims {
    /// When [`Self::due`] has claimants to requeue if nothing changes before.
    pub fn next_due(&self) -> Option<Instant> {
        self.batches.next_due()
    }

    /// The claimants whose turn it is to take a free host.
    pub fn due(&mut self, now: Instant) -> BTreeSet<Claimant> {
        let mut requeue = BTreeSet::new();
        while let Some((freed, batch)) = self.batches.take_due(now) {
            if let Freed::Host(host) = &freed {
                self.end_keeping(host, now);
            }
            let mut takers = self.takers(&freed, &batch);
            let more = takers.len() > batch.count;
            takers.truncate(batch.count);
            let after = takers.last().cloned();
            requeue.extend(takers.into_iter().map(|(_, claimant)| claimant));
            if let (true, Some(at)) = (more, now.checked_add(BATCH_INTERVAL)) {
                self.batches.set(freed, Batch { at, count: 2 * batch.count, after, except: batch.except });
            } else if let Freed::Host(host) = &freed
                && let Some(until) = self.host(host).and_then(|at| at.kept.as_ref()).map(|kept| kept.until)
            {
                self.batches.start(freed, until);
            }
        }
        requeue
    }

    /// The next claimants that wait and may take what was freed, one more than the batch.
    fn takers(&self, freed: &Freed, batch: &Batch) -> Vec<Waiter> {
        let waiting = |at: &Host| at.waiting.iter().cloned().collect::<Vec<_>>();
        let mut line: Vec<Waiter> = match freed {
            Freed::Host(host) => self.host(host).into_iter().chain(self.overlapping(host)).flat_map(waiting).collect(),
            Freed::Namespace(name) => {
                self.namespaces.get(name).map(|there| there.waiting.iter().cloned().collect()).unwrap_or_default()
            }
        };
        line.sort();
        let next = line.into_iter().filter(|waiter| batch.after.as_ref().is_none_or(|after| waiter > after));
        let may_take =
            |(_, claimant): &Waiter| self.requests.get(claimant).is_some_and(|request| self.may_take(request));
        let others = next.filter(|(_, claimant)| batch.except.as_ref() != Some(claimant));
        others.filter(may_take).take(batch.count + 1).collect()
    }
}
