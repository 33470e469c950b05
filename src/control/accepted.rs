//! The accepted forms of a gateway's children, and how often each was repaired since.
//!
//! The answer to a write becomes the accepted form: admission, defaulting and rounding may have stored
//! something else than what was sent. It is also newer than a cache that has not caught up.
//!
//! **Architecture invariant:** this is plain data of one gateway. It makes no API call and decides no repair.

use std::sync::Arc;
use std::time::Duration;

use kube::Resource;
use tokio::time::Instant;

use super::clock::Now;
use crate::api::{Accepted as Hashes, ApiGateway, Phase, StoredChange, uid_of};
use crate::cache::child::{CachedChild, ChildKind, FoundChildren};
use crate::children::{DESIRED_ANNOTATION, Form};
use crate::decide::observed::{Child, Observed, Presence, Repair, Repaired, Writes};
use crate::decide::{presence, repairs};

/// The most fields of a child whose repairs are counted separately.
const PATHS: usize = 16;
/// The most repairs that are kept for Events.
const UNTOLD: usize = 5;

/// What is remembered of the children of one gateway.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    stored: FoundChildren,
    known: [Option<Arc<Known>>; 5],
    /// The class that the spec named when the Ingress was last as desired; empty if it named none.
    named_class: Option<Arc<str>>,
    repairs: Vec<Repairs>,
    untold: Vec<Repair>,
}

/// Values that the cluster filled in where the spec is silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilledIn {
    /// The class of the Ingress.
    pub ingress_class: Option<String>,
    /// The IP family policy of the Service.
    pub ip_family_policy: Option<String>,
}

/// The accepted form of a child.
#[derive(Debug)]
struct Known {
    /// The hash of the desired state.
    wanted: Option<String>,
    form: Form,
}

/// The repairs of a child.
#[derive(Clone, Debug)]
struct Repairs {
    last: Repair,
    total: u32,
    /// The number of repairs by path. Beyond the first few paths, repairs count only for the child.
    paths: Vec<(String, u32)>,
    at: Instant,
}

impl Accepted {
    /// The newer of the found children and the answers to writes.
    pub fn newest(&self, mut found: FoundChildren) -> FoundChildren {
        newer(&self.stored.deployment, &mut found.deployment);
        newer(&self.stored.service, &mut found.service);
        newer(&self.stored.ingress, &mut found.ingress);
        newer(&self.stored.http_route, &mut found.http_route);
        newer(&self.stored.disruption_budget, &mut found.disruption_budget);
        found
    }

    /// Compares a child with its desired state and its accepted form, as far as this process or its predecessor
    /// knows it.
    pub fn compared<K: ChildKind>(&self, gateway: &ApiGateway, desired: &K, found: &K) -> presence::Comparison {
        let hash = match &self.known[index(K::CHILD)] {
            Some(known) => self.is_known(desired).then_some(known.form.hash.as_str()),
            None => recorded(gateway, K::CHILD),
        };
        let stored = || self.stored_as(desired, uid_of(found.meta()));
        let nothing_filled_in = self.nothing_filled_in::<K>(gateway);
        let accepted = hash.map(|hash| presence::AcceptedForm { hash, stored: &stored, nothing_filled_in });
        presence::of(gateway, Some(desired), Some(found), accepted)
    }

    /// Whether the cluster is known to have filled in nothing where it may.
    pub fn nothing_filled_in<K: ChildKind>(&self, gateway: &ApiGateway) -> bool {
        self.filled_in(gateway, K::CHILD) == Some("")
    }

    fn filled_in<'a>(&'a self, gateway: &'a ApiGateway, child: Child) -> Option<&'a str> {
        let recorded = || match child {
            Child::Ingress => recorded_of(gateway)?.ingress_class_name.as_deref(),
            Child::Service => recorded_of(gateway)?.ip_family_policy.as_deref(),
            Child::Deployment | Child::HttpRoute | Child::PodDisruptionBudget => None,
        };
        match &self.known[index(child)] {
            Some(known) => known.form.filled_in.as_deref(),
            None => recorded(),
        }
    }

    /// The values that the cluster filled in. A class that the spec once named is not among them.
    pub fn filled_in_by_cluster(&self, gateway: &ApiGateway) -> FilledIn {
        let filled_in = |child| self.filled_in(gateway, child).filter(|value| !value.is_empty());
        let class = filled_in(Child::Ingress).filter(|class| self.named_class(gateway) != Some(class));
        FilledIn {
            ingress_class: class.map(str::to_owned),
            ip_family_policy: filled_in(Child::Service).map(str::to_owned),
        }
    }

    /// The class that the spec last named, if known.
    pub fn named_class<'a>(&'a self, gateway: &'a ApiGateway) -> Option<&'a str> {
        let named = match &self.named_class {
            Some(named) => Some(&**named),
            None => recorded_of(gateway).and_then(|recorded| recorded.ingress_class_named.as_deref()),
        };
        named.filter(|named| !named.is_empty())
    }

    /// Records that the Ingress is as desired with this class, or with none.
    pub fn is_of_class(&mut self, named: Option<&str>) {
        let named = named.unwrap_or_default();
        if self.named_class.as_deref() != Some(named) {
            self.named_class = Some(named.into());
        }
    }

    /// Whether the current desired state was accepted before, so that any difference is an edit.
    pub fn is_known<K: ChildKind>(&self, desired: &K) -> bool {
        self.known[index(K::CHILD)].as_ref().is_some_and(|known| known.wanted.as_ref() == wanted(desired))
    }

    /// The object with this uid that was accepted for the desired state.
    pub fn stored_as<K: ChildKind>(&self, desired: &K, uid: &str) -> Option<K> {
        let stored = K::found(&self.stored).filter(|stored| stored.uid == uid && self.is_known(desired))?;
        stored.object().ok()
    }

    /// Records the form of a child that is as desired.
    pub fn accept<K: ChildKind>(&mut self, desired: &K, form: Form) {
        let known = &mut self.known[index(K::CHILD)];
        let wanted = wanted(desired);
        if known.as_ref().is_none_or(|known| known.form != form || known.wanted.as_ref() != wanted) {
            *known = Some(Arc::new(Known { wanted: wanted.cloned(), form }));
        }
    }

    /// Records the object that was stored in answer to a write. If the desired state is new, earlier repairs no
    /// longer count.
    pub fn answered<K: ChildKind>(&mut self, desired: &K, stored: CachedChild<K>) {
        if !self.is_known(desired) {
            self.repairs.retain(|repairs| repairs.last.child != K::CHILD);
        }
        let Ok(object) = stored.object() else { return };
        if let (Ok(wanted), Ok(object)) = (serde_json::to_value(desired), serde_json::to_value(object)) {
            self.accept(desired, Form::of(&K::kind(&()), &wanted, &object));
            *K::found_mut(&mut self.stored) = Some(Arc::new(stored));
        }
    }

    /// Replaces accepted objects by newer ones that are still as accepted.
    pub fn keep(&mut self, found: &FoundChildren, observed: &Observed) {
        let is_accepted = |child| self.known[index(child)].is_some() && *observed.child(child) == Presence::Equal;
        let stored = &mut self.stored;
        keep(is_accepted(Child::Deployment), &mut stored.deployment, &found.deployment);
        keep(is_accepted(Child::Service), &mut stored.service, &found.service);
        keep(is_accepted(Child::Ingress), &mut stored.ingress, &found.ingress);
        keep(is_accepted(Child::HttpRoute), &mut stored.http_route, &found.http_route);
        keep(is_accepted(Child::PodDisruptionBudget), &mut stored.disruption_budget, &found.disruption_budget);
    }

    /// Forgets a child that was deleted because it is not desired any more.
    pub fn forget<K: ChildKind>(&mut self) {
        self.known[index(K::CHILD)] = None;
        *K::found_mut(&mut self.stored) = None;
        self.repairs.retain(|repairs| repairs.last.child != K::CHILD);
    }

    /// Records a repair.
    pub fn repaired(&mut self, repair: Repair) {
        if self.untold.len() < UNTOLD {
            self.untold.push(repair.clone());
        }
        match self.repairs.iter_mut().find(|repairs| repairs.last.child == repair.child) {
            Some(repairs) => repairs.another(repair),
            None => {
                let mut repairs = Repairs { last: repair.clone(), total: 0, paths: Vec::new(), at: Instant::now() };
                repairs.another(repair);
                self.repairs.push(repairs);
            }
        }
    }

    /// Drops the oldest repairs, for which Events were recorded.
    pub fn told(&mut self, count: usize) {
        self.untold.drain(..count.min(self.untold.len()));
    }

    /// The facts about writes at a moment. Repairs that have held for long are forgotten. Repairs of a child
    /// whose desired state has changed since (see `is_as_before`) do not count.
    pub fn facts(
        &mut self,
        gateway: &ApiGateway,
        observed: &Observed,
        is_as_before: impl Fn(&Self, Child) -> bool,
        now: Now,
    ) -> Writes {
        let is_being_stopped = gateway
            .status
            .as_ref()
            .is_some_and(|status| matches!(status.phase, Some(Phase::Stopping | Phase::Stopped)));
        for child in Child::ALL {
            // Deleting a child of a gateway that stops is no edit.
            if is_being_stopped && !observed.child(child).is_ours() {
                self.known[index(child)] = None;
            }
        }
        self.repairs.retain(|repairs| {
            let is_settled = observed.child(repairs.last.child).is_settled();
            !is_settled || since(repairs.at, now) < repairs::forgotten(repairs.total, repairs.here())
        });
        let repaired = self.repairs.iter().filter(|repairs| is_as_before(self, repairs.last.child));
        Writes {
            accepted: self.hashes(gateway, observed),
            changed: Child::ALL.into_iter().flat_map(|child| self.changes(gateway, observed, child)).collect(),
            repaired: repaired.map(|repairs| repairs.at_a_moment(now)).collect(),
            untold: self.untold.clone(),
            terminating: Vec::new(),
        }
    }

    fn hashes(&self, gateway: &ApiGateway, observed: &Observed) -> Hashes {
        let of = |child: Child| {
            let known = self.known[index(child)].as_ref().map(|known| known.form.hash.clone());
            let hash = known.or_else(|| recorded(gateway, child).map(str::to_owned));
            hash.filter(|_| observed.child(child).is_ours())
        };
        let filled_in = |child: Child| {
            self.filled_in(gateway, child).filter(|_| observed.child(child).is_ours()).map(str::to_owned)
        };
        let named = self.named_class(gateway).filter(|_| observed.child(Child::Ingress).is_ours());
        Hashes {
            ingress_class_name: filled_in(Child::Ingress),
            ingress_class_named: named.map(str::to_owned),
            ip_family_policy: filled_in(Child::Service),
            deployment: of(Child::Deployment),
            service: of(Child::Service),
            ingress: of(Child::Ingress),
            http_route: of(Child::HttpRoute),
            pod_disruption_budget: of(Child::PodDisruptionBudget),
        }
    }

    fn changes(&self, gateway: &ApiGateway, observed: &Observed, child: Child) -> Vec<StoredChange> {
        if !observed.child(child).is_ours() {
            return Vec::new();
        }
        match &self.known[index(child)] {
            Some(known) => known.form.changes.clone(),
            None => {
                let before = gateway.status.iter().flat_map(|status| &status.changed);
                before.filter(|change| change.child == child.kind()).cloned().collect()
            }
        }
    }
}

impl Repairs {
    fn another(&mut self, repair: Repair) {
        self.total = self.total.saturating_add(1);
        match self.paths.iter_mut().find(|(path, _)| *path == repair.path) {
            Some((_, times)) => *times = times.saturating_add(1),
            None => {
                if self.paths.len() < PATHS {
                    self.paths.push((repair.path.clone(), 1));
                }
            }
        }
        (self.last, self.at) = (repair, Instant::now());
    }

    /// The number of repairs of the field that was repaired most.
    fn here(&self) -> u32 {
        self.paths.iter().map(|(_, times)| *times).max().unwrap_or(0)
    }

    fn at_a_moment(&self, now: Now) -> Repaired {
        let (passed, here) = (since(self.at, now), self.here());
        Repaired {
            last: self.last.clone(),
            times: repairs::level(self.total, here),
            wait: repairs::wait(self.total, here).saturating_sub(passed),
            calm_in: repairs::calm(self.total, here).saturating_sub(passed),
        }
    }
}

fn since(at: Instant, now: Now) -> Duration {
    now.monotonic.saturating_duration_since(at)
}

fn index(child: Child) -> usize {
    match child {
        Child::Deployment => 0,
        Child::Service => 1,
        Child::Ingress => 2,
        Child::PodDisruptionBudget => 3,
        Child::HttpRoute => 4,
    }
}

fn wanted<K: Resource>(desired: &K) -> Option<&String> {
    desired.meta().annotations.as_ref()?.get(DESIRED_ANNOTATION)
}

/// What the operator before this one recorded.
pub(super) fn recorded_of(gateway: &ApiGateway) -> Option<&Hashes> {
    gateway.status.as_ref()?.accepted.as_ref()
}

/// The recorded hash of a child's form.
fn recorded(gateway: &ApiGateway, child: Child) -> Option<&str> {
    let hashes = recorded_of(gateway)?;
    let hash = match child {
        Child::Deployment => &hashes.deployment,
        Child::Service => &hashes.service,
        Child::Ingress => &hashes.ingress,
        Child::HttpRoute => &hashes.http_route,
        Child::PodDisruptionBudget => &hashes.pod_disruption_budget,
    };
    hash.as_deref()
}

fn keep<K>(is_accepted: bool, stored: &mut Option<Arc<CachedChild<K>>>, found: &Option<Arc<CachedChild<K>>>)
where
    K: ChildKind,
{
    if is_accepted {
        stored.clone_from(found);
    }
}

/// An answer counts until the cache has caught up. Resource versions are compared as numbers, as in every
/// supported API server; if they are none, the cache wins.
fn newer<K: ChildKind>(stored: &Option<Arc<CachedChild<K>>>, found: &mut Option<Arc<CachedChild<K>>>) {
    let number = |seen: &CachedChild<K>| seen.version.as_ref()?.parse::<u64>().ok();
    if let (Some(stored), Some(seen)) = (stored, found.as_ref())
        && stored.uid == seen.uid
        && number(stored) > number(seen)
        && number(seen).is_some()
    {
        *found = Some(Arc::clone(stored));
    }
}
