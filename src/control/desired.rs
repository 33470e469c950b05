//! What is desired of a gateway, and how its children compare with that.
//!
//! Rendering and comparing are most of a reconcile's work, and most reconciles find that neither the
//! gateway nor a child has changed since everything was last found as desired. So both are done
//! only where that is not known.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::accepted::{Accepted, recorded_of};
use crate::api::{ApiGateway, Environment};
use crate::cache::seen::{Found, Part, Seen};
use crate::children::{self, Children, Owner, Surroundings};
use crate::decide::allowance::Breaches;
use crate::decide::observed::{Child, EnvironmentFacts, HostVerdict, Presence, Settings};
use crate::decide::{deadline, presence};
use crate::registry::report::EnvironmentView;

/// An environment of a gateway, with what a decision looks at.
pub type EnvironmentOf = (Arc<Environment>, EnvironmentFacts);

/// What is desired of a gateway whose children were found as they are here. Rendered when
/// somebody looks.
pub struct Desired<'a> {
    gateway: &'a ApiGateway,
    /// The children that it is compared with.
    pub found: Found,
    /// Whether the gateway may have what it asks for.
    pub may_have: MayHave,
    /// The environments of the gateway that are not being deleted.
    pub environments: Vec<EnvironmentOf>,
    surroundings: Surroundings,
    rendered: OnceLock<Children>,
}

/// Whether a gateway may have what it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct MayHave {
    /// Its host.
    pub host: HostVerdict,
    /// Hosts that it has and may not have.
    pub lost: Vec<String>,
    /// What else it may not have.
    pub breaches: Breaches,
}

impl MayHave {
    /// All of it.
    pub const EVERYTHING: Self =
        Self { host: HostVerdict::Free, lost: Vec::new(), breaches: Breaches { pods: None, ingress_class: None } };

    /// Whether the Ingress of a gateway may be what is asked. Of one that is left alone only what it may not have goes.
    fn routes(&self, gateway: &ApiGateway) -> bool {
        let only_loses = gateway.spec.is_left_alone() && !self.lost.is_empty();
        self.host == HostVerdict::Free && self.breaches.ingress_class.is_none() && !only_loses
    }
}

/// Each child, compared with what is desired of it.
pub struct Compared {
    /// The Deployment.
    pub deployment: Presence,
    /// The Service.
    pub service: Presence,
    /// The Ingress.
    pub ingress: Presence,
    /// The PodDisruptionBudget.
    pub disruption_budget: Presence,
    /// The fingerprint with which everything was found as desired, if it was.
    pub settled: Option<u64>,
}

impl<'a> Desired<'a> {
    /// What is desired of a gateway whose children are `found`.
    pub fn of(
        gateway: &'a ApiGateway,
        found: Found,
        may_have: MayHave,
        environments: Vec<EnvironmentOf>,
        settings: &Settings,
    ) -> Self {
        let mut environment_hosts: Vec<String> = environments
            .iter()
            .filter(|(_, facts)| facts.claimed && !facts.refused)
            .filter_map(|(environment, _)| environment.spec.host.clone())
            .collect();
        environment_hosts.sort();
        environment_hosts.dedup();
        Self {
            gateway,
            found,
            may_have,
            environments,
            surroundings: Surroundings {
                start_deadline: deadline::limit(gateway, settings),
                environment_hosts,
                ingress_annotations: settings.ingress_annotations.clone(),
                inherited: settings.inheritance.of(&gateway.metadata),
            },
            rendered: OnceLock::new(),
        }
    }

    /// The environments of the gateway, as the registry mirrors them.
    pub fn environment_views(&self) -> Vec<EnvironmentView> {
        let views = self.environments.iter().map(|(environment, facts)| EnvironmentView {
            name: facts.name.clone(),
            host: environment.spec.host.clone(),
            active: facts.active,
        });
        views.collect()
    }

    /// The children that are desired.
    pub fn children(&self) -> &Children {
        self.rendered.get_or_init(|| {
            let (deployment, ingress) =
                (object(self.found.deployment.as_deref()), object(self.found.ingress.as_deref()));
            let found = (deployment.as_ref(), ingress.as_ref());
            let mut children = children::desired(self.gateway, &self.surroundings, found);
            self.notice_what_is_not_inherited_any_more(&mut children);
            self.fill_in_as_accepted(&mut children);
            if !self.may_have.routes(self.gateway) {
                self.keep_routed_hosts(&mut children);
            }
            children
        })
    }

    fn notice_what_is_not_inherited_any_more(&self, children: &mut Children) {
        fn notice<K: Part>(desired: Option<&mut K>, found: &Found) {
            if let (Some(desired), Some(found)) = (desired, object(K::found(found))) {
                children::notice_what_is_not_inherited_any_more(desired.meta_mut(), found.meta());
            }
        }
        notice(Some(&mut children.deployment), &self.found);
        notice(Some(&mut children.service), &self.found);
        notice(children.ingress.as_mut(), &self.found);
        notice(children.disruption_budget.as_mut(), &self.found);
    }

    /// What the spec leaves to the cluster is desired as the cluster filled it in: after a restart nothing else tells an edit of
    /// it from that. A child that is made anew is filled in anew.
    fn fill_in_as_accepted(&self, children: &mut Children) {
        let Some(before) = recorded_of(self.gateway) else { return };
        if let (Some(Some(spec)), true) =
            (children.ingress.as_mut().map(|ingress| ingress.spec.as_mut()), self.found.ingress.is_some())
            && spec.ingress_class_name.is_none()
        {
            spec.ingress_class_name = before.ingress_class_name.clone().filter(|class| !class.is_empty());
        }
        if let (Some(spec), true) = (children.service.spec.as_mut(), self.found.service.is_some())
            && spec.ip_family_policy.is_none()
        {
            spec.ip_family_policy.clone_from(&before.ip_family_policy);
        }
    }

    /// A gateway that may not have what its spec asks keeps the Ingress that it has, whatever else
    /// changes, with the rules of those hosts that are its own and its environments'.
    fn keep_routed_hosts(&self, children: &mut Children) {
        let gateway = self.gateway;
        if let Some(ingress) = object(self.found.ingress.as_deref())
            && children::owner_of(&ingress.metadata, gateway) == Owner::Ours
        {
            let claims = gateway.status.iter().flat_map(|status| &status.hosts).map(|claim| claim.host.clone());
            let mut hosts: Vec<String> = claims.filter(|host| !self.may_have.lost.contains(host)).collect();
            hosts.extend_from_slice(&self.surroundings.environment_hosts);
            children.ingress = children::keep_routes(&ingress, children.ingress.as_ref(), &hosts);
        }
    }

    /// Compares the children that were found with those that are desired, or with what the API server made of those. `settled`
    /// is the fingerprint with which everything was found as desired before.
    pub fn compared(&self, accepted: &mut Accepted, settled: Option<u64>) -> Compared {
        let print = self.fingerprint();
        if print.is_some() && print == settled {
            return Compared { settled, ..self.each(Presence::Equal) };
        }
        let compared = self.compare(accepted);
        let is_settled = compared.deployment == Presence::Equal
            && compared.service == Presence::Equal
            && compared.ingress.is_settled()
            && compared.disruption_budget.is_settled();
        Compared { settled: print.filter(|_| is_settled).or(settled), ..compared }
    }

    fn compare(&self, accepted: &mut Accepted) -> Compared {
        if self.found.is_empty() {
            return self.each(Presence::Missing);
        }
        Compared {
            deployment: self.presence::<Deployment>(accepted),
            service: self.presence::<Service>(accepted),
            ingress: self.presence::<Ingress>(accepted),
            disruption_budget: self.presence::<PodDisruptionBudget>(accepted),
            settled: None,
        }
    }

    fn presence<K: Part>(&self, accepted: &mut Accepted) -> Presence {
        let desired = K::desired(self.children());
        let found = match K::found(&self.found).map(Seen::object).transpose() {
            Ok(found) => found,
            // What cannot be read is read once more before it is written.
            Err(_) => return Presence::Different("/".to_owned()),
        };
        let (presence, form) = match (desired, &found) {
            (Some(desired), Some(found)) => accepted.compared(self.gateway, desired, found),
            _ => presence::of(self.gateway, desired, found.as_ref(), None),
        };
        if let (Some(desired), Some(form)) = (desired, form) {
            accepted.accept(desired, form);
        }
        presence
    }

    /// Whether what is desired of a child is what was accepted of it.
    pub fn is_as_before(&self, child: Child, accepted: &Accepted) -> bool {
        let children = self.children();
        match child {
            Child::Deployment => accepted.is_known(&children.deployment),
            Child::Service => accepted.is_known(&children.service),
            Child::Ingress => children.ingress.as_ref().is_some_and(|desired| accepted.is_known(desired)),
            Child::PodDisruptionBudget => {
                children.disruption_budget.as_ref().is_some_and(|desired| accepted.is_known(desired))
            }
        }
    }

    /// Every child that is wanted, found alike.
    fn each(&self, presence: Presence) -> Compared {
        let optional = |wanted: bool| if wanted { presence.clone() } else { Presence::NotWanted };
        Compared {
            ingress: optional(children::wants_ingress(self.gateway, &self.surroundings)),
            disruption_budget: optional(children::wants_disruption_budget(self.gateway)),
            deployment: presence.clone(),
            service: presence,
            settled: None,
        }
    }

    /// A hash of everything that the comparison depends on; `None` where that is more than what is
    /// named here.
    fn fingerprint(&self) -> Option<u64> {
        let generation = self.gateway.metadata.generation?;
        if self.may_have != MayHave::EVERYTHING || self.gateway.is_being_deleted() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        generation.hash(&mut hasher);
        let status = self.gateway.status.as_ref();
        status.map(|status| status.restarts).hash(&mut hasher);
        // A retry takes up a spec that reads differently since.
        status.and_then(|status| status.handled.as_ref()).map(|handled| &handled.spec_hash).hash(&mut hasher);
        self.surroundings.environment_hosts.hash(&mut hasher);
        self.surroundings.start_deadline.hash(&mut hasher);
        self.surroundings.inherited.hash(&mut hasher);
        let Found { deployment, service, ingress, disruption_budget } = &self.found;
        let prints = (
            print(deployment.as_ref()),
            print(service.as_ref()),
            print(ingress.as_ref()),
            print(disruption_budget.as_ref()),
        );
        prints.hash(&mut hasher);
        Some(hasher.finish())
    }
}

fn print<K: Part>(found: Option<&Arc<Seen<K>>>) -> Option<u64> {
    found.map(|seen| seen.print)
}

/// A child, decoded. One that cannot be is another version's, and nothing of it is kept.
fn object<K: Part>(found: Option<&Seen<K>>) -> Option<K> {
    found?.object().ok()
}
