//! The host space: who claims, keeps and waits for which host.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use super::super::observed::HostVerdict;
use super::batches::{Batches, Freed, Waiter};
use super::host_request::{Claimant, ClaimantKind, HostRequest, Since};
use super::names;
use super::policy::Policy;

/// All hosts that watched objects want or hold.
#[derive(Debug, Default)]
pub struct Claims {
    pub(super) policy: Policy,
    /// Keyed by [`names::sort_key`].
    pub(super) hosts: BTreeMap<String, Host>,
    pub(super) namespaces: HashMap<String, NamespaceUsage>,
    pub(super) requests: HashMap<Claimant, HostRequest>,
    reserved: HashMap<Claimant, String>,
    pub(super) batches: Batches,
}

#[derive(Debug, Default)]
pub(super) struct Host {
    name: String,
    claims: BTreeMap<Claimant, Since>,
    pub(super) kept: Option<ReleasedHost>,
    pub(super) waiting: BTreeSet<Waiter>,
}

#[derive(Debug, Default)]
pub(super) struct NamespaceUsage {
    claims: usize,
    kept: usize,
    pub(super) waiting: BTreeSet<Waiter>,
}

/// A host that was released recently and is kept for a while.
#[derive(Debug)]
pub(super) struct ReleasedHost {
    kept_for: KeptFor,
    since: Since,
    pub(super) until: Instant,
}

/// For whom a host is kept.
#[derive(Debug, PartialEq, Eq)]
enum KeptFor {
    /// For the namespace that had it.
    Namespace(String),
    /// For claimants that were not told that another has it. The former holder is unknown: it released the host
    /// while no operator ran.
    Newcomers,
}

impl ReleasedHost {
    fn is_kept_from(&self, me: &Claimant, told: bool) -> bool {
        match &self.kept_for {
            KeptFor::Namespace(namespace) => namespace != me.namespace(),
            KeptFor::Newcomers => told,
        }
    }

    fn by(&self) -> String {
        match &self.kept_for {
            KeptFor::Namespace(namespace) => format!("namespace {namespace} (released moments ago)"),
            KeptFor::Newcomers => "a claim made while no operator ran".to_owned(),
        }
    }
}

impl Host {
    fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.waiting.is_empty() && self.kept.is_none()
    }

    /// The claimant that precedes `me` on this host or an overlapping one. `told`: the status of `me` says that
    /// another holds the host.
    fn oldest_before(&self, me: &Claimant, told: bool, mine: Option<Since>, is_the_same: bool) -> Option<String> {
        let rivals = self.claims.iter().filter(|(other, _)| is_rival(me, other, is_the_same));
        let oldest = rivals.map(|(other, since)| (*since, other)).min();
        let claim = oldest.filter(|theirs| mine.is_none_or(|mine| *theirs < (mine, me))).map(|(_, by)| by.to_string());
        claim.or_else(|| {
            let kept = self.kept.as_ref().filter(|kept| kept.is_kept_from(me, told))?;
            mine.is_none_or(|mine| kept.since < mine).then(|| kept.by())
        })
    }
}

/// Whether two claimants compete for the same host, or for two overlapping ones. Within a namespace,
/// overlapping hosts and hosts of its Ingresses do not compete.
fn is_rival(me: &Claimant, other: &Claimant, is_the_same: bool) -> bool {
    let compete = is_the_same && !is_ingress(me) && !is_ingress(other);
    other != me && (compete || other.namespace() != me.namespace())
}

fn is_ingress(claimant: &Claimant) -> bool {
    claimant.kind == ClaimantKind::Ingress
}

impl Claims {
    /// An empty host space.
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Updates a claimant. Returns the claimants to requeue because a competing claim changed. Waiting
    /// claimants are requeued through [`Self::due`] once a host is free.
    pub fn learn(&mut self, request: impl Into<HostRequest>, now: Instant) -> BTreeSet<Claimant> {
        let request = request.into();
        let claimant = request.claimant.clone();
        self.replace(&claimant, Some(request), now)
    }

    /// Removes a claimant. Returns the claimants to requeue.
    pub fn forget(&mut self, claimant: &Claimant, now: Instant) -> BTreeSet<Claimant> {
        self.replace(claimant, None, now)
    }

    /// Called once everything was listed. A host that claimants were told is taken, and that nobody holds, was
    /// released by an unknown holder while no operator ran. For a while, those claimants come after all others.
    pub fn begin(&mut self, now: Instant) {
        let Some(until) = now.checked_add(self.policy.kept_for).filter(|until| *until > now) else { return };
        let waiters = self.requests.values().filter(|request| request.was_told());
        let free =
            waiters.filter(|request| request.waits_for().is_some() && self.verdict_of(request) == HostVerdict::Free);
        let hosts: Vec<String> = free.filter_map(|request| request.waits_for().cloned()).collect();
        for host in hosts {
            self.host_mut(&host).kept =
                Some(ReleasedHost { kept_for: KeptFor::Newcomers, since: Since::Routed, until });
            self.batches.start(Freed::Host(host), until);
        }
    }

    fn replace(&mut self, claimant: &Claimant, after: Option<HostRequest>, now: Instant) -> BTreeSet<Claimant> {
        let forbidden = after.as_ref().map(|request| request.forbidden().clone()).unwrap_or_default();
        let after = after.filter(|request| request.wanted.is_some() || !request.claims().is_empty());
        let before = self.requests.remove(claimant);
        let claims = |request: &Option<HostRequest>| request.as_ref().map(HostRequest::claims).unwrap_or_default();
        let (held, holds) = (claims(&before), claims(&after));
        self.set_waiting(before.as_ref(), false);
        self.set_waiting(after.as_ref(), true);
        let waits_for = after.as_ref().and_then(|request| request.waits_for().cloned());
        if let Some(request) = after {
            self.requests.insert(claimant.clone(), request);
        }
        let mut requeue = BTreeSet::new();
        for (host, since) in &holds {
            if held.get(host) != Some(since) {
                self.claim(claimant, host, *since);
                requeue.extend(self.rivals(claimant, host));
            }
        }
        for (host, since) in held.into_iter().filter(|(host, _)| !holds.contains_key(host)) {
            requeue.extend(self.rivals(claimant, &host));
            // An Ingress releases nothing; its gateway may have.
            let is_given_up = !is_ingress(claimant) && !forbidden.contains(&host) && self.stood(claimant, &host, since);
            self.end_claim(claimant, &host, is_given_up.then_some(since), now);
        }
        // The reservation stays for a claim that the watch has not shown yet.
        if self.reserved.get(claimant).is_some_and(|host| waits_for.as_ref() != Some(host)) {
            self.release(claimant, now);
        }
        requeue
    }

    /// Adds or removes a waiting claimant.
    fn set_waiting(&mut self, request: Option<&HostRequest>, waits: bool) {
        let Some((request, host)) = request.and_then(|request| Some((request, request.waits_for()?))) else { return };
        let (priority, namespace) = (request.priority(), request.claimant.namespace());
        let usage = self.namespaces.entry(namespace.to_owned()).or_default();
        if waits {
            usage.waiting.insert(priority.clone());
            self.host_mut(host).waiting.insert(priority);
        } else {
            usage.waiting.remove(&priority);
            self.host_mut(host).waiting.remove(&priority);
            self.forget_if_empty(host, namespace);
        }
    }

    fn claim(&mut self, claimant: &Claimant, host: &str, since: Since) {
        let namespace = claimant.namespace();
        let at = self.host_mut(host);
        let is_new = at.claims.insert(claimant.clone(), since).is_none();
        if is_ingress(claimant) {
            return;
        }
        let ends = at.kept.take_if(|kept| {
            kept.kept_for == KeptFor::Newcomers || kept.kept_for == KeptFor::Namespace(namespace.to_owned())
        });
        let usage = self.namespaces.entry(namespace.to_owned()).or_default();
        usage.claims += usize::from(is_new);
        usage.kept -= usize::from(ends.is_some_and(|kept| kept.kept_for != KeptFor::Newcomers));
    }

    /// Whether a claim preceded all others.
    fn stood(&self, claimant: &Claimant, host: &str, since: Since) -> bool {
        self.in_the_way(claimant, false, host, Some(since)).is_none()
    }

    /// Removes a claim. A released host is kept for its namespace for a while: a gateway that is deleted and
    /// applied again must not lose its host to a claimant that waits for that moment.
    fn end_claim(&mut self, claimant: &Claimant, host: &str, given_up: Option<Since>, now: Instant) {
        let namespace = claimant.namespace();
        let usage = self.namespaces.entry(namespace.to_owned()).or_default();
        let at = self.hosts.entry(names::sort_key(host)).or_default();
        let had = at.claims.remove(claimant).is_some();
        usage.claims -= usize::from(had && !is_ingress(claimant));
        let until = now.checked_add(self.policy.kept_for).filter(|until| *until > now && at.kept.is_none());
        let has_room = self.policy.per_namespace.is_none_or(|limit| usage.kept < limit);
        if let (Some(since), Some(until), true) = (given_up, until, has_room) {
            at.kept = Some(ReleasedHost { kept_for: KeptFor::Namespace(namespace.to_owned()), since, until });
            usage.kept += 1;
        }
        self.freed(host, namespace, now, None);
        self.forget_if_empty(host, namespace);
    }

    /// Schedules batches without this claimant: a host, or capacity of a namespace, may be available.
    fn freed(&mut self, host: &str, namespace: &str, now: Instant, except: Option<&Claimant>) {
        self.batches.start_except(Freed::Host(host.to_owned()), now, except.cloned());
        if self.policy.per_namespace.is_some() {
            self.batches.start_except(Freed::Namespace(namespace.to_owned()), now, except.cloned());
        }
    }

    /// Ends the retention of a host.
    pub(super) fn end_keeping(&mut self, host: &str, now: Instant) {
        let at = self.hosts.get_mut(&names::sort_key(host));
        let Some(kept) = at.and_then(|at| at.kept.take_if(|kept| kept.until <= now)) else { return };
        let namespace = match kept.kept_for {
            KeptFor::Namespace(namespace) => namespace,
            KeptFor::Newcomers => String::new(),
        };
        if let Some(usage) = self.namespaces.get_mut(&namespace) {
            usage.kept -= 1;
        }
        self.forget_if_empty(host, &namespace);
    }

    pub(super) fn forget_if_empty(&mut self, host: &str, namespace: &str) {
        let sort_key = names::sort_key(host);
        if self.hosts.get(&sort_key).is_some_and(Host::is_empty) {
            self.hosts.remove(&sort_key);
        }
        let is_empty = |there: &NamespaceUsage| there.claims == 0 && there.kept == 0 && there.waiting.is_empty();
        if self.namespaces.get(namespace).is_some_and(is_empty) {
            self.namespaces.remove(namespace);
        }
    }

    fn host_mut(&mut self, host: &str) -> &mut Host {
        let at = self.hosts.entry(names::sort_key(host)).or_default();
        if at.name.is_empty() {
            host.clone_into(&mut at.name);
        }
        at
    }

    /// The entry of exactly this host.
    pub(super) fn host(&self, host: &str) -> Option<&Host> {
        self.hosts.get(&names::sort_key(host))
    }

    /// The wildcards that cover a host, and for a wildcard also the hosts that it covers.
    pub(super) fn overlapping(&self, host: &str) -> impl Iterator<Item = &Host> {
        let above = names::wildcards_over(host).filter_map(|wildcard| self.host(&wildcard));
        let below = names::base(host).map(names::sort_key).map(|base| {
            let from = self.hosts.range(base.clone()..);
            // A wildcard covers neither itself nor its base name.
            let others = [names::sort_key(host), base.clone()];
            let covered = from.take_while(move |(sort_key, _)| sort_key.starts_with(&base));
            covered.filter(move |(sort_key, _)| !others.contains(sort_key)).map(|(_, host)| host)
        });
        above.chain(below.into_iter().flatten())
    }

    /// The competitors of a claimant: claims on the same host, or in another namespace on an overlapping one.
    fn rivals(&self, claimant: &Claimant, host: &str) -> Vec<Claimant> {
        let of = |at: &Host, is_the_same: bool| -> Vec<Claimant> {
            at.claims.keys().filter(|other| is_rival(claimant, other, is_the_same)).cloned().collect()
        };
        let same = self.host(host).map(|at| of(at, true)).unwrap_or_default();
        same.into_iter().chain(self.overlapping(host).flat_map(|at| of(at, false))).collect()
    }

    /// Reserves a host for a claim that is about to be written, until the watch shows it. If several claimants
    /// find a host free at once, only the first gets `true`.
    pub fn reserve(&mut self, request: impl Into<HostRequest>) -> bool {
        let request = request.into();
        if !self.may_take(&request) {
            return false;
        }
        let HostRequest { claimant, wanted: Some(host), .. } = request else { return true };
        self.reserved.insert(claimant, host);
        true
    }

    /// Cancels a reservation whose claim was not written. The host is for others. The claimant itself is not requeued,
    /// or a write that fails would be repeated without a backoff.
    pub fn release(&mut self, claimant: &Claimant, now: Instant) {
        if let Some(host) = self.reserved.remove(claimant) {
            self.freed(&host, claimant.namespace(), now, Some(claimant));
        }
    }

    /// Whether a claimant may take the host that it wants, and no other claim is being written.
    pub(super) fn may_take(&self, request: &HostRequest) -> bool {
        if self.verdict_of(request) != HostVerdict::Free {
            return false;
        }
        let Some(host) = &request.wanted else { return true };
        let me = &request.claimant;
        let competes = |(other, theirs): (&Claimant, &String)| {
            is_rival(me, other, theirs == host) && (theirs == host || names::overlap(theirs, host))
        };
        let is_one_more = |other: &&Claimant| *other != me && other.namespace() == me.namespace();
        let coming = self.reserved.keys().filter(is_one_more).count();
        !self.reserved.iter().any(competes) && !self.is_one_too_many(request, coming)
    }

    /// Whether a claimant may have the host in its spec: no competing claim is older. Between two claims of the
    /// same instant, namespace and name decide.
    pub fn verdict(&self, request: impl Into<HostRequest>) -> HostVerdict {
        self.verdict_of(&request.into())
    }

    fn verdict_of(&self, request: &HostRequest) -> HostVerdict {
        let Some(host) = &request.wanted else { return HostVerdict::Free };
        if let Some(by) = self.in_the_way(&request.claimant, request.was_told(), host, request.claimed_since(host)) {
            return HostVerdict::Taken { by, host: host.clone() };
        }
        match self.policy.per_namespace {
            Some(limit) if self.is_one_too_many(request, 0) => HostVerdict::TooMany { host: host.clone(), limit },
            _ => HostVerdict::Free,
        }
    }

    /// Whether a recorded claim is void, since another claim precedes it.
    pub fn is_lost(&self, request: &HostRequest, host: &str) -> bool {
        let host = names::normalized(host);
        let since = request.claimed_since(&host);
        since.is_none_or(|since| !self.stood(&request.claimant, &host, since))
    }

    /// Who precedes a claimant on a host or an overlapping one: an older claim, or a retention.
    fn in_the_way(&self, me: &Claimant, told: bool, host: &str, mine: Option<Since>) -> Option<String> {
        let mine = mine.or_else(|| self.standing(me, host));
        if let Some(by) = self.host(host).and_then(|at| at.oldest_before(me, told, mine, true)) {
            return Some(by);
        }
        let mut others = self.overlapping(host);
        others.find_map(|at| {
            let by = at.oldest_before(me, told, mine, false)?;
            Some(format!("{by} as {:?}", at.name))
        })
    }

    /// Since when an Ingress of the claimant's namespace routes a host. Between two such Ingresses the older
    /// one counts.
    fn standing(&self, me: &Claimant, host: &str) -> Option<Since> {
        let claims = self.host(host)?.claims.iter();
        let own = claims.filter(|(other, _)| is_ingress(other) && other.namespace() == me.namespace());
        own.map(|(_, since)| *since).min()
    }

    /// Whether the namespace is at its limit, without the claimant's own hosts, which a new claim replaces.
    /// `coming` claims are about to be written.
    fn is_one_too_many(&self, request: &HostRequest, coming: usize) -> bool {
        let Some(limit) = self.policy.per_namespace else { return false };
        let is_claimed = request.wanted.as_ref().is_none_or(|host| request.claimed_since(host).is_some());
        let claims = self.namespaces.get(request.claimant.namespace()).map_or(0, |there| there.claims);
        let own = self.requests.get(&request.claimant).map_or(0, |request| request.claims().len());
        !is_claimed && claims.saturating_sub(own) + coming >= limit
    }
}
