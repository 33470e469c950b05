//! What the API server made of a gateway's children, and how often they had to be put right since.
//!
//! The answer to a write is what counts from then on: admission, defaulting and rounding may have stored something else than
//! what was sent. It is also newer than a cache that has not shown it yet.

use std::sync::Arc;
use std::time::Duration;

use kube::Resource;
use tokio::time::Instant;

use super::clock::Now;
use crate::api::{Accepted as Hashes, ApiGateway, Phase, StoredChange, uid_of};
use crate::cache::seen::{Found, Part, Seen};
use crate::children::{DESIRED_ANNOTATION, Form};
use crate::decide::observed::{Child, Observed, Presence, Repair, Repaired, Writes};
use crate::decide::{presence, repairs};

/// Of how many fields of a child repairs are counted apart.
const PATHS: usize = 16;
/// How many repairs are told at once.
const UNTOLD: usize = 5;

/// What is remembered of the children of one gateway that were written, or found as desired.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    stored: Found,
    known: [Option<Arc<Known>>; 4],
    repairs: Vec<Repairs>,
    untold: Vec<Repair>,
}

/// The accepted form of a child.
#[derive(Debug)]
struct Known {
    /// The hash of what was desired.
    wanted: Option<String>,
    form: Form,
}

/// How often a child was put right.
#[derive(Clone, Debug)]
struct Repairs {
    last: Repair,
    total: u32,
    /// How often of each path; of few paths, and others count for the child alone.
    paths: Vec<(String, u32)>,
    at: Instant,
}

impl Accepted {
    /// The children as they were found, or as an answer had them that is newer.
    pub fn newest(&self, mut found: Found) -> Found {
        newer(&self.stored.deployment, &mut found.deployment);
        newer(&self.stored.service, &mut found.service);
        newer(&self.stored.ingress, &mut found.ingress);
        newer(&self.stored.disruption_budget, &mut found.disruption_budget);
        found
    }

    /// Compares a child with what is desired of it, and with what was made of that, as far as this process or the one before it
    /// knows.
    pub fn compared<K: Part>(&self, gateway: &ApiGateway, desired: &K, found: &K) -> presence::Looked {
        let hash = match &self.known[index(K::CHILD)] {
            Some(known) => self.is_known(desired).then_some(known.form.hash.as_str()),
            None => recorded(gateway, K::CHILD),
        };
        let stored = || self.stored_as(desired, uid_of(found.meta()));
        let nothing_filled_in = self.nothing_filled_in::<K>(gateway);
        let accepted = hash.map(|hash| presence::Accepted { hash, stored: &stored, nothing_filled_in });
        presence::of(gateway, Some(desired), Some(found), accepted)
    }

    /// Whether the cluster filled in nothing where it may, as far as this process or the one before it knows.
    pub fn nothing_filled_in<K: Part>(&self, gateway: &ApiGateway) -> bool {
        self.filled_in(gateway, K::CHILD) == Some("")
    }

    fn filled_in<'a>(&'a self, gateway: &'a ApiGateway, child: Child) -> Option<&'a str> {
        let recorded = || match child {
            Child::Ingress => recorded_of(gateway)?.ingress_class_name.as_deref(),
            Child::Service => recorded_of(gateway)?.ip_family_policy.as_deref(),
            Child::Deployment | Child::PodDisruptionBudget => None,
        };
        match &self.known[index(child)] {
            Some(known) => known.form.filled_in.as_deref(),
            None => recorded(),
        }
    }

    /// Whether an object was accepted as what is desired, so that another is somebody's edit.
    pub fn is_known<K: Part>(&self, desired: &K) -> bool {
        self.known[index(K::CHILD)].as_ref().is_some_and(|known| known.wanted.as_ref() == wanted(desired))
    }

    /// The object that was accepted as what is desired, where it is the one of this uid.
    pub fn stored_as<K: Part>(&self, desired: &K, uid: &str) -> Option<K> {
        let stored = K::found(&self.stored).filter(|stored| stored.uid == uid && self.is_known(desired))?;
        stored.object().ok()
    }

    /// A child is as desired in this form.
    pub fn accept<K: Part>(&mut self, desired: &K, form: Form) {
        let known = &mut self.known[index(K::CHILD)];
        let wanted = wanted(desired);
        if known.as_ref().is_none_or(|known| known.form != form || known.wanted.as_ref() != wanted) {
            *known = Some(Arc::new(Known { wanted: wanted.cloned(), form }));
        }
    }

    /// This object was stored as the answer to what was written. Whoever changed what was desired before changed another object.
    pub fn answered<K: Part>(&mut self, desired: &K, stored: Seen<K>) {
        if !self.is_known(desired) {
            self.repairs.retain(|repairs| repairs.last.child != K::CHILD);
        }
        let Ok(object) = stored.object() else { return };
        if let (Ok(wanted), Ok(object)) = (serde_json::to_value(desired), serde_json::to_value(object)) {
            self.accept(desired, Form::of(&K::kind(&()), &wanted, &object));
            *K::found_mut(&mut self.stored) = Some(Arc::new(stored));
        }
    }

    /// Children that are as accepted were found again: the newer objects are kept instead.
    pub fn keep(&mut self, found: &Found, observed: &Observed) {
        let is_accepted = |child| self.known[index(child)].is_some() && *observed.child(child) == Presence::Equal;
        let stored = &mut self.stored;
        keep(is_accepted(Child::Deployment), &mut stored.deployment, &found.deployment);
        keep(is_accepted(Child::Service), &mut stored.service, &found.service);
        keep(is_accepted(Child::Ingress), &mut stored.ingress, &found.ingress);
        keep(is_accepted(Child::PodDisruptionBudget), &mut stored.disruption_budget, &found.disruption_budget);
    }

    /// A child was deleted, because it is no longer wanted.
    pub fn forget<K: Part>(&mut self) {
        self.known[index(K::CHILD)] = None;
        *K::found_mut(&mut self.stored) = None;
        self.repairs.retain(|repairs| repairs.last.child != K::CHILD);
    }

    /// A child was put right.
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

    /// So many repairs were told, the oldest ones.
    pub fn told(&mut self, count: usize) {
        self.untold.drain(..count.min(self.untold.len()));
    }

    /// What is known of the writes at a moment. Repairs after which a child stayed as it is are forgotten; those of a child of
    /// which something else is desired by now (`is_as_before`) count for nothing.
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
            // Whoever deletes a child of a gateway that stops changes nothing that was asked.
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
            going: Vec::new(),
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
        Hashes {
            ingress_class_name: filled_in(Child::Ingress),
            ip_family_policy: filled_in(Child::Service),
            deployment: of(Child::Deployment),
            service: of(Child::Service),
            ingress: of(Child::Ingress),
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

    /// How often the same field was put right, of the field of which that was most often.
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
    }
}

fn wanted<K: Resource>(desired: &K) -> Option<&String> {
    desired.meta().annotations.as_ref()?.get(DESIRED_ANNOTATION)
}

/// What the operator that was here before recorded.
pub(super) fn recorded_of(gateway: &ApiGateway) -> Option<&Hashes> {
    gateway.status.as_ref()?.accepted.as_ref()
}

/// The hash of a child's form, as it recorded that.
fn recorded(gateway: &ApiGateway, child: Child) -> Option<&str> {
    let hashes = recorded_of(gateway)?;
    let hash = match child {
        Child::Deployment => &hashes.deployment,
        Child::Service => &hashes.service,
        Child::Ingress => &hashes.ingress,
        Child::PodDisruptionBudget => &hashes.pod_disruption_budget,
    };
    hash.as_deref()
}

fn keep<K>(is_accepted: bool, stored: &mut Option<Arc<Seen<K>>>, found: &Option<Arc<Seen<K>>>)
where
    K: Part,
{
    if is_accepted {
        stored.clone_from(found);
    }
}

/// An answer counts until the cache has shown it. Versions are compared as numbers, which they are in every API server that
/// is supported; of others the cache counts.
fn newer<K: Part>(stored: &Option<Arc<Seen<K>>>, found: &mut Option<Arc<Seen<K>>>) {
    let number = |seen: &Seen<K>| seen.version.as_ref()?.parse::<u64>().ok();
    if let (Some(stored), Some(seen)) = (stored, found.as_ref())
        && stored.uid == seen.uid
        && number(stored) > number(seen)
        && number(seen).is_some()
    {
        *found = Some(Arc::clone(stored));
    }
}
