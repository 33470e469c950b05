//! The space of hosts: who claims, keeps and waits for which.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use super::super::observed::HostVerdict;
use super::names;
use super::offers::{Offers, Topic, Waiter};
use super::policy::Policy;
use super::stake::{Claimant, ClaimantKind, Since, Stake};

/// Every host that is wanted or held by somebody who is watched.
#[derive(Debug, Default)]
pub struct Claims {
    pub(super) policy: Policy,
    /// By [`names::place`].
    pub(super) hosts: BTreeMap<String, Host>,
    pub(super) namespaces: HashMap<String, InNamespace>,
    pub(super) stakes: HashMap<Claimant, Stake>,
    reserved: HashMap<Claimant, String>,
    pub(super) offers: Offers,
}

#[derive(Debug, Default)]
pub(super) struct Host {
    name: String,
    claims: BTreeMap<Claimant, Since>,
    pub(super) kept: Option<Kept>,
    pub(super) waiting: BTreeSet<Waiter>,
}

#[derive(Debug, Default)]
pub(super) struct InNamespace {
    claims: usize,
    kept: usize,
    pub(super) waiting: BTreeSet<Waiter>,
}

/// A host that was let go a moment ago.
#[derive(Debug)]
pub(super) struct Kept {
    whom: Whom,
    since: Since,
    pub(super) until: Instant,
}

/// For whom a host is kept.
#[derive(Debug, PartialEq, Eq)]
enum Whom {
    /// Those of the namespace that had it.
    Namespace(String),
    /// Those who were not told that another has it. Who had it is not known: it was let go while no operator ran.
    Newcomers,
}

impl Kept {
    fn is_kept_from(&self, me: &Claimant, told: bool) -> bool {
        match &self.whom {
            Whom::Namespace(namespace) => namespace != me.namespace(),
            Whom::Newcomers => told,
        }
    }

    fn by(&self) -> String {
        match &self.whom {
            Whom::Namespace(namespace) => format!("namespace {namespace}, which had it until a moment ago"),
            Whom::Newcomers => "whoever had it while no operator ran".to_owned(),
        }
    }
}

impl Host {
    fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.waiting.is_empty() && self.kept.is_none()
    }

    /// Whose claim goes before mine, on this host or on one that overlaps it. `told`: whether my status says that mine is
    /// another's.
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

/// Whether two cannot both have a host, or two hosts of which one covers the other: within a namespace that is nobody
/// else's affair, and neither is what an Ingress of it routes.
fn is_rival(me: &Claimant, other: &Claimant, is_the_same: bool) -> bool {
    let compete = is_the_same && !is_ingress(me) && !is_ingress(other);
    other != me && (compete || other.namespace() != me.namespace())
}

fn is_ingress(claimant: &Claimant) -> bool {
    claimant.kind == ClaimantKind::Ingress
}

impl Claims {
    /// An empty space.
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Takes in a claimant as it is now. Returns who is to look again, because a claim that competes with theirs has
    /// changed. Those who only wait are woken by [`Self::due`], when there is something to be had.
    pub fn learn(&mut self, stake: impl Into<Stake>, now: Instant) -> BTreeSet<Claimant> {
        let stake = stake.into();
        let claimant = stake.claimant.clone();
        self.replace(&claimant, Some(stake), now)
    }

    /// Forgets a claimant that is gone. Returns who is to look again.
    pub fn forget(&mut self, claimant: &Claimant, now: Instant) -> BTreeSet<Claimant> {
        self.replace(claimant, None, now)
    }

    /// Everything was listed. What others were told is taken and nobody has was let go while no operator ran, and it is not
    /// known by whom: for a while those who were told so come after those who were not.
    pub fn begin(&mut self, now: Instant) {
        let Some(until) = now.checked_add(self.policy.kept_for).filter(|until| *until > now) else { return };
        let waiters = self.stakes.values().filter(|stake| stake.was_told());
        let free = waiters.filter(|stake| stake.waits_for().is_some() && self.verdict_of(stake) == HostVerdict::Free);
        let hosts: Vec<String> = free.filter_map(|stake| stake.waits_for().cloned()).collect();
        for host in hosts {
            self.host_mut(&host).kept = Some(Kept { whom: Whom::Newcomers, since: Since::Routed, until });
            self.offers.make(Topic::Host(host), until);
        }
    }

    fn replace(&mut self, claimant: &Claimant, after: Option<Stake>, now: Instant) -> BTreeSet<Claimant> {
        let forbidden = after.as_ref().map(|stake| stake.forbidden().clone()).unwrap_or_default();
        let after = after.filter(|stake| stake.wanted.is_some() || !stake.claims().is_empty());
        let before = self.stakes.remove(claimant);
        let claims = |stake: &Option<Stake>| stake.as_ref().map(Stake::claims).unwrap_or_default();
        let (held, holds) = (claims(&before), claims(&after));
        self.stand_in_line(before.as_ref(), false);
        self.stand_in_line(after.as_ref(), true);
        let waits_for = after.as_ref().and_then(|stake| stake.waits_for().cloned());
        if let Some(stake) = after {
            self.stakes.insert(claimant.clone(), stake);
        }
        let mut wake = BTreeSet::new();
        for (host, since) in &holds {
            if held.get(host) != Some(since) {
                self.claim(claimant, host, *since);
                wake.extend(self.rivals(claimant, host));
            }
        }
        for (host, since) in held.into_iter().filter(|(host, _)| !holds.contains_key(host)) {
            wake.extend(self.rivals(claimant, &host));
            // An Ingress gives nothing up: whoever had the host did, if anybody.
            let is_given_up = !is_ingress(claimant) && !forbidden.contains(&host) && self.stood(claimant, &host, since);
            self.let_go(claimant, &host, is_given_up.then_some(since), now);
        }
        // It is kept for a claim that is still to be learned.
        if self.reserved.get(claimant).is_some_and(|host| waits_for.as_ref() != Some(host)) {
            self.release(claimant, now);
        }
        wake
    }

    /// Puts a waiter in line or takes it out.
    fn stand_in_line(&mut self, stake: Option<&Stake>, waits: bool) {
        let Some((stake, host)) = stake.and_then(|stake| Some((stake, stake.waits_for()?))) else { return };
        let (turn, namespace) = (stake.turn(), stake.claimant.namespace());
        let in_namespace = self.namespaces.entry(namespace.to_owned()).or_default();
        if waits {
            in_namespace.waiting.insert(turn.clone());
            self.host_mut(host).waiting.insert(turn);
        } else {
            in_namespace.waiting.remove(&turn);
            self.host_mut(host).waiting.remove(&turn);
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
        let ends =
            at.kept.take_if(|kept| kept.whom == Whom::Newcomers || kept.whom == Whom::Namespace(namespace.to_owned()));
        let in_namespace = self.namespaces.entry(namespace.to_owned()).or_default();
        in_namespace.claims += usize::from(is_new);
        in_namespace.kept -= usize::from(ends.is_some_and(|kept| kept.whom != Whom::Newcomers));
    }

    /// Whether a claim went before all others.
    fn stood(&self, claimant: &Claimant, host: &str, since: Since) -> bool {
        self.in_the_way(claimant, false, host, Some(since)).is_none()
    }

    /// A claim ends. What its holder gives up is kept for its namespace for a while: a gateway that is deleted and applied
    /// again is not to lose its host to whoever waits for that moment.
    fn let_go(&mut self, claimant: &Claimant, host: &str, given_up: Option<Since>, now: Instant) {
        let namespace = claimant.namespace();
        let in_namespace = self.namespaces.entry(namespace.to_owned()).or_default();
        let at = self.hosts.entry(names::place(host)).or_default();
        let had = at.claims.remove(claimant).is_some();
        in_namespace.claims -= usize::from(had && !is_ingress(claimant));
        let until = now.checked_add(self.policy.kept_for).filter(|until| *until > now && at.kept.is_none());
        let has_room = self.policy.per_namespace.is_none_or(|limit| in_namespace.kept < limit);
        if let (Some(since), Some(until), true) = (given_up, until, has_room) {
            at.kept = Some(Kept { whom: Whom::Namespace(namespace.to_owned()), since, until });
            in_namespace.kept += 1;
        }
        self.offer(host, namespace, now);
        self.forget_if_empty(host, namespace);
    }

    /// Somebody may have a host, or one more in a namespace, by now.
    fn offer(&mut self, host: &str, namespace: &str, now: Instant) {
        self.offers.make(Topic::Host(host.to_owned()), now);
        if self.policy.per_namespace.is_some() {
            self.offers.make(Topic::Namespace(namespace.to_owned()), now);
        }
    }

    /// A host is kept for nobody any more.
    pub(super) fn end_keeping(&mut self, host: &str, now: Instant) {
        let at = self.hosts.get_mut(&names::place(host));
        let Some(kept) = at.and_then(|at| at.kept.take_if(|kept| kept.until <= now)) else { return };
        let namespace = match kept.whom {
            Whom::Namespace(namespace) => namespace,
            Whom::Newcomers => String::new(),
        };
        if let Some(in_namespace) = self.namespaces.get_mut(&namespace) {
            in_namespace.kept -= 1;
        }
        self.forget_if_empty(host, &namespace);
    }

    pub(super) fn forget_if_empty(&mut self, host: &str, namespace: &str) {
        let place = names::place(host);
        if self.hosts.get(&place).is_some_and(Host::is_empty) {
            self.hosts.remove(&place);
        }
        let is_empty = |there: &InNamespace| there.claims == 0 && there.kept == 0 && there.waiting.is_empty();
        if self.namespaces.get(namespace).is_some_and(is_empty) {
            self.namespaces.remove(namespace);
        }
    }

    fn host_mut(&mut self, host: &str) -> &mut Host {
        let at = self.hosts.entry(names::place(host)).or_default();
        if at.name.is_empty() {
            host.clone_into(&mut at.name);
        }
        at
    }

    /// The host itself.
    pub(super) fn host(&self, host: &str) -> Option<&Host> {
        self.hosts.get(&names::place(host))
    }

    /// The wildcards that cover a host, and of a wildcard also the hosts that it covers.
    pub(super) fn overlapping(&self, host: &str) -> impl Iterator<Item = &Host> {
        let above = names::wildcards_over(host).filter_map(|wildcard| self.host(&wildcard));
        let below = names::base(host).map(names::place).map(|base| {
            let from = self.hosts.range(base.clone()..);
            // Neither the wildcard itself nor the name that it stands below of is covered.
            let others = [names::place(host), base.clone()];
            let covered = from.take_while(move |(place, _)| place.starts_with(&base));
            covered.filter(move |(place, _)| !others.contains(place)).map(|(_, host)| host)
        });
        above.chain(below.into_iter().flatten())
    }

    /// Those who claim the same host, or in another namespace one that overlaps it.
    fn rivals(&self, claimant: &Claimant, host: &str) -> Vec<Claimant> {
        let of = |at: &Host, is_the_same: bool| -> Vec<Claimant> {
            at.claims.keys().filter(|other| is_rival(claimant, other, is_the_same)).cloned().collect()
        };
        let same = self.host(host).map(|at| of(at, true)).unwrap_or_default();
        same.into_iter().chain(self.overlapping(host).flat_map(|at| of(at, false))).collect()
    }

    /// Keeps a host for a claimant whose claim is about to be written, until it is learned. Of
    /// several that find the same host free at once, only the first is told `true`.
    pub fn reserve(&mut self, stake: impl Into<Stake>) -> bool {
        let stake = stake.into();
        if !self.may_take(&stake) {
            return false;
        }
        let Stake { claimant, wanted: Some(host), .. } = stake else { return true };
        self.reserved.insert(claimant, host);
        true
    }

    /// Gives up what was reserved: the claim was not written.
    pub fn release(&mut self, claimant: &Claimant, now: Instant) {
        if let Some(host) = self.reserved.remove(claimant) {
            self.offer(&host, claimant.namespace(), now);
        }
    }

    /// Whether somebody may take the host that they want, and nobody else is about to.
    pub(super) fn may_take(&self, stake: &Stake) -> bool {
        if self.verdict_of(stake) != HostVerdict::Free {
            return false;
        }
        let Some(host) = &stake.wanted else { return true };
        let me = &stake.claimant;
        let competes = |(other, theirs): (&Claimant, &String)| {
            is_rival(me, other, theirs == host) && (theirs == host || names::overlap(theirs, host))
        };
        let is_one_more = |other: &&Claimant| *other != me && other.namespace() == me.namespace();
        let coming = self.reserved.keys().filter(is_one_more).count();
        !self.reserved.iter().any(competes) && !self.is_one_too_many(stake, coming)
    }

    /// Whether a claimant may have the host that its spec names: nobody else has an older
    /// claim. Of two claims of the same instant, the first by namespace and name wins.
    pub fn verdict(&self, stake: impl Into<Stake>) -> HostVerdict {
        self.verdict_of(&stake.into())
    }

    fn verdict_of(&self, stake: &Stake) -> HostVerdict {
        let Some(host) = &stake.wanted else { return HostVerdict::Free };
        if let Some(by) = self.in_the_way(&stake.claimant, stake.was_told(), host, stake.claimed_since(host)) {
            return HostVerdict::Taken { by, host: host.clone() };
        }
        match self.policy.per_namespace {
            Some(limit) if self.is_one_too_many(stake, 0) => HostVerdict::TooMany { host: host.clone(), limit },
            _ => HostVerdict::Free,
        }
    }

    /// Whether a claim that is recorded is one that another's goes before.
    pub fn is_lost(&self, stake: &Stake, host: &str) -> bool {
        let host = names::normal(host);
        let since = stake.claimed_since(&host);
        since.is_none_or(|since| !self.stood(&stake.claimant, &host, since))
    }

    /// Who has an older claim on a host, or in another namespace on one that overlaps it; or for whom it is kept.
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

    /// Since when an Ingress of somebody's own namespace routes a host: of two that stand, the older one decides whose it is.
    fn standing(&self, me: &Claimant, host: &str) -> Option<Since> {
        let claims = self.host(host)?.claims.iter();
        let own = claims.filter(|(other, _)| is_ingress(other) && other.namespace() == me.namespace());
        own.map(|(_, since)| *since).min()
    }

    /// Whether a namespace has as many hosts as it may, without those of the claimant itself, whose claim would replace
    /// them; `coming` claims are about to be written.
    fn is_one_too_many(&self, stake: &Stake, coming: usize) -> bool {
        let Some(limit) = self.policy.per_namespace else { return false };
        let is_claimed = stake.wanted.as_ref().is_none_or(|host| stake.claimed_since(host).is_some());
        let claims = self.namespaces.get(stake.claimant.namespace()).map_or(0, |there| there.claims);
        let own = self.stakes.get(&stake.claimant).map_or(0, |stake| stake.claims().len());
        !is_claimed && claims.saturating_sub(own) + coming >= limit
    }
}
