//! The desired state of a gateway's children, and their comparison with what was found.
//!
//! Rendering and comparing take most of the time of a reconcile, and most reconciles find nothing changed since
//! everything was as desired. A fingerprint skips both in that case.
//!
//! **Architecture invariant:** this module makes no API call. The same inputs give the same comparison.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::accepted::{Accepted, FilledIn};
use crate::api::{ApiGateway, Environment, Exposure};
use crate::cache::child::{CachedChild, ChildKind, FoundChildren};
use crate::children::{self, Children, HttpRoute, Owner, RenderContext};
use crate::decide::allowance::Violations;
use crate::decide::observed::{Child, EnvironmentFacts, HostVerdict, Presence, Settings};
use crate::decide::{deadline, presence};
use crate::registry::report::EnvironmentView;

/// An environment of a gateway, with the facts that a decision reads.
pub type EnvironmentOf = (Arc<Environment>, EnvironmentFacts);

/// The desired state of a gateway with these children. Rendered lazily.
pub struct Desired<'a> {
    gateway: &'a ApiGateway,
    /// The children to compare.
    pub found: FoundChildren,
    /// What the gateway may have.
    pub permitted: Permitted,
    /// The environments that are not terminating.
    pub environments: Vec<EnvironmentOf>,
    context: RenderContext,
    retiring: RetiringRoutes,
    filled_in: FilledIn,
    rendered: OnceLock<Rendered>,
}

/// The rendered desired state.
struct Rendered {
    children: Children,
    /// The class that the spec asks for; `None` leaves it to the cluster.
    class: Option<String>,
}

/// Routes that the spec does not ask for any more. Each stays until another way leads to its hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RetiringRoutes {
    ingress: bool,
    http_route: bool,
}

/// Whether a gateway may have what it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Permitted {
    /// Its host.
    pub host: HostVerdict,
    /// Hosts that it has and may not keep.
    pub lost: Vec<String>,
    /// Its policy violations.
    pub violations: Violations,
}

impl Permitted {
    /// No restriction applies.
    pub const EVERYTHING: Self = Self { host: HostVerdict::Free, lost: Vec::new(), violations: Violations::NONE };

    /// Whether the routes may follow the spec. A gateway that is left alone only loses hosts that it may not
    /// have.
    fn routes(&self, gateway: &ApiGateway) -> bool {
        let only_loses = gateway.spec.is_left_alone() && !self.lost.is_empty();
        let Violations { ingress_class, parent_ref, pods: _ } = &self.violations;
        self.host == HostVerdict::Free && ingress_class.is_none() && parent_ref.is_none() && !only_loses
    }
}

/// The comparison of each child.
pub struct Compared {
    /// The Deployment.
    pub deployment: Presence,
    /// The Service.
    pub service: Presence,
    /// The Ingress.
    pub ingress: Presence,
    /// The HTTPRoute.
    pub http_route: Presence,
    /// The PodDisruptionBudget.
    pub disruption_budget: Presence,
    /// The fingerprint under which everything was as desired, if it was.
    pub settled: Option<u64>,
}

impl<'a> Desired<'a> {
    /// The desired state of a gateway with the children `found`.
    pub fn of(
        gateway: &'a ApiGateway,
        found: FoundChildren,
        permitted: Permitted,
        environments: Vec<EnvironmentOf>,
        without_room: Vec<String>,
        filled_in: FilledIn,
        settings: &Settings,
    ) -> Self {
        let mut environment_hosts: Vec<String> = environments
            .iter()
            .filter(|(_, facts)| facts.claimed && !facts.refused)
            .filter_map(|(environment, _)| environment.spec.host.clone())
            .collect();
        environment_hosts.sort();
        environment_hosts.dedup();
        let context = RenderContext {
            start_deadline: deadline::limit(gateway, settings),
            environment_hosts,
            without_room,
            default_parent_refs: settings.default_parent_refs.clone(),
            ingress_annotations: settings.ingress_annotations.clone(),
            inherited: settings.inheritance.of(&gateway.metadata),
        };
        let retiring = RetiringRoutes::of(gateway, &found, &context);
        Self { gateway, found, permitted, environments, context, retiring, filled_in, rendered: OnceLock::new() }
    }

    /// The environments as the registry mirrors them.
    pub fn environment_views(&self) -> Vec<EnvironmentView> {
        let views = self.environments.iter().map(|(environment, facts)| EnvironmentView {
            name: facts.name.clone(),
            host: environment.spec.host.clone(),
            active: facts.active,
        });
        views.collect()
    }

    /// The desired children.
    pub fn children(&self) -> &Children {
        &self.rendered().children
    }

    fn rendered(&self) -> &Rendered {
        self.rendered.get_or_init(|| {
            let (deployment, ingress) =
                (object(self.found.deployment.as_deref()), object(self.found.ingress.as_deref()));
            let found = (deployment.as_ref(), ingress.as_ref());
            let mut children = children::desired(self.gateway, &self.context, found);
            self.notice_what_is_not_inherited_any_more(&mut children);
            let class = children.ingress.as_ref().and_then(class_of).map(str::to_owned);
            self.fill_in_as_accepted(&mut children);
            self.keep_what_leaves(&mut children);
            if !self.permitted.routes(self.gateway) {
                self.keep_routed_hosts(&mut children);
            }
            Rendered { children, class }
        })
    }

    fn notice_what_is_not_inherited_any_more(&self, children: &mut Children) {
        fn notice<K: ChildKind>(desired: Option<&mut K>, found: &FoundChildren) {
            if let (Some(desired), Some(found)) = (desired, object(K::found(found))) {
                children::notice_what_is_not_inherited_any_more(desired.meta_mut(), found.meta());
            }
        }
        notice(Some(&mut children.deployment), &self.found);
        notice(Some(&mut children.service), &self.found);
        notice(children.ingress.as_mut(), &self.found);
        notice(children.http_route.as_mut(), &self.found);
        notice(children.disruption_budget.as_mut(), &self.found);
    }

    /// Desires the cluster's values where the spec is silent, since after a restart nothing else distinguishes
    /// an edit from them. A child that is recreated is filled in anew.
    fn fill_in_as_accepted(&self, children: &mut Children) {
        if let (Some(Some(spec)), true) =
            (children.ingress.as_mut().map(|ingress| ingress.spec.as_mut()), self.found.ingress.is_some())
            && spec.ingress_class_name.is_none()
        {
            spec.ingress_class_name.clone_from(&self.filled_in.ingress_class);
        }
        if let (Some(spec), true) = (children.service.spec.as_mut(), self.found.service.is_some())
            && spec.ip_family_policy.is_none()
        {
            spec.ip_family_policy.clone_from(&self.filled_in.ip_family_policy);
        }
    }

    /// A retiring route gets no new hosts.
    fn keep_what_leaves(&self, children: &mut Children) {
        if let Some(ingress) = self.ours::<Ingress>().filter(|_| self.retiring.ingress) {
            children.ingress = children::keep_routes(&ingress, None, &self.own_hosts());
        }
        if let Some(route) = self.ours::<HttpRoute>().filter(|_| self.retiring.http_route) {
            children.http_route = children::keep_hostnames(&route, None, &self.own_hosts());
        }
    }

    /// A gateway that may not have what its spec asks for keeps its current Ingress and HTTPRoute, reduced to
    /// hosts that are its own or its environments'.
    fn keep_routed_hosts(&self, children: &mut Children) {
        let Violations { ingress_class, parent_ref, pods: _ } = &self.permitted.violations;
        // A controller that is not allowed gets no new hosts.
        if let Some(ingress) = self.ours::<Ingress>() {
            let rendered = children.ingress.as_ref().filter(|_| ingress_class.is_none() && !self.retiring.ingress);
            children.ingress = children::keep_routes(&ingress, rendered, &self.own_hosts());
        }
        if let Some(route) = self.ours::<HttpRoute>() {
            let rendered = children.http_route.as_ref().filter(|_| parent_ref.is_none() && !self.retiring.http_route);
            children.http_route = children::keep_hostnames(&route, rendered, &self.own_hosts());
        }
    }

    /// The hosts that the gateway and its environments hold.
    fn own_hosts(&self) -> Vec<String> {
        let claims = self.gateway.status.iter().flat_map(|status| &status.hosts).map(|claim| claim.host.clone());
        let mut hosts: Vec<String> = claims.filter(|host| !self.permitted.lost.contains(host)).collect();
        hosts.extend_from_slice(&self.context.environment_hosts);
        hosts
    }

    /// A found child, if it is the gateway's own.
    fn ours<K: ChildKind>(&self) -> Option<K> {
        ours(self.gateway, &self.found)
    }

    /// The hosts of the HTTPRoute.
    pub fn route_hosts(&self) -> impl Iterator<Item = &String> {
        self.context.route_hosts(self.gateway)
    }

    /// Compares the found children with their desired state and accepted forms. `settled` is the fingerprint
    /// under which everything was as desired before.
    pub fn compared(&self, accepted: &mut Accepted, settled: Option<u64>) -> Compared {
        let fingerprint = self.fingerprint();
        if fingerprint.is_some() && fingerprint == settled {
            return Compared { settled, ..self.each(Presence::Equal) };
        }
        let compared = self.compare(accepted);
        let is_settled = compared.deployment == Presence::Equal
            && compared.service == Presence::Equal
            && compared.ingress.is_settled()
            && compared.http_route.is_settled()
            && compared.disruption_budget.is_settled();
        Compared { settled: fingerprint.filter(|_| is_settled).or(settled), ..compared }
    }

    fn compare(&self, accepted: &mut Accepted) -> Compared {
        if self.found.is_empty() {
            return self.each(Presence::Missing);
        }
        Compared {
            deployment: self.presence::<Deployment>(accepted),
            service: self.presence::<Service>(accepted),
            ingress: self.ingress(accepted),
            http_route: self.presence::<HttpRoute>(accepted),
            disruption_budget: self.presence::<PodDisruptionBudget>(accepted),
            settled: None,
        }
    }

    fn presence<K: ChildKind>(&self, accepted: &mut Accepted) -> Presence {
        let desired = K::desired(self.children());
        let found = match K::found(&self.found).map(CachedChild::object).transpose() {
            Ok(found) => found,
            // A child that does not decode is read again before it is written.
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

    /// The Ingress. A cluster fills in a default class only on creation. So if the spec named a class and does
    /// not name one any more, the Ingress must be recreated.
    fn ingress(&self, accepted: &mut Accepted) -> Presence {
        let presence = self.presence::<Ingress>(accepted);
        let Some(found) = object::<Ingress>(self.found.ingress.as_deref()) else { return presence };
        let (asked, has) = (self.rendered().class.as_deref(), class_of(&found));
        match presence {
            Presence::Different(_)
                if has.is_some()
                    && has == accepted.named_class(self.gateway)
                    && self.leaves_class_to_cluster(&found) =>
            {
                return Presence::Immutable;
            }
            Presence::Equal if asked.is_none() && self.permitted.routes(self.gateway) => accepted.is_of_class(None),
            Presence::Equal | Presence::Different(_) if asked.is_some() && asked == has => accepted.is_of_class(asked),
            _ => {}
        }
        presence
    }

    /// Whether the spec leaves the class to the cluster, and did not when the Ingress was last written.
    fn leaves_class_to_cluster(&self, found: &Ingress) -> bool {
        let desired = self.children().ingress.as_ref();
        desired.is_some_and(|desired| class_of(desired).is_none() && !children::is_written_as(found, desired))
    }

    /// Whether a child's desired state is the one that was accepted.
    pub fn is_as_before(&self, child: Child, accepted: &Accepted) -> bool {
        let children = self.children();
        match child {
            Child::Deployment => accepted.is_known(&children.deployment),
            Child::Service => accepted.is_known(&children.service),
            Child::Ingress => children.ingress.as_ref().is_some_and(|desired| accepted.is_known(desired)),
            Child::HttpRoute => children.http_route.as_ref().is_some_and(|desired| accepted.is_known(desired)),
            Child::PodDisruptionBudget => {
                children.disruption_budget.as_ref().is_some_and(|desired| accepted.is_known(desired))
            }
        }
    }

    /// Every child that is wanted, with the same result.
    fn each(&self, presence: Presence) -> Compared {
        let optional = |wanted: bool| if wanted { presence.clone() } else { Presence::NotWanted };
        Compared {
            ingress: optional(children::wants_ingress(self.gateway, &self.context)),
            http_route: optional(children::wants_http_route(self.gateway, &self.context)),
            disruption_budget: optional(children::wants_disruption_budget(self.gateway)),
            deployment: presence.clone(),
            service: presence,
            settled: None,
        }
    }

    /// A hash of everything that the comparison depends on; `None` if it depends on more than the inputs hashed
    /// here.
    fn fingerprint(&self) -> Option<u64> {
        let generation = self.gateway.metadata.generation?;
        let is_plain = self.permitted == Permitted::EVERYTHING && self.retiring == RetiringRoutes::default();
        if !is_plain || self.gateway.is_being_deleted() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        generation.hash(&mut hasher);
        let status = self.gateway.status.as_ref();
        status.map(|status| status.restarts).hash(&mut hasher);
        // A retry takes up a spec that reads differently since.
        status.and_then(|status| status.handled.as_ref()).map(|handled| &handled.spec_hash).hash(&mut hasher);
        self.context.environment_hosts.hash(&mut hasher);
        self.context.start_deadline.hash(&mut hasher);
        self.context.inherited.hash(&mut hasher);
        self.context.without_room.hash(&mut hasher);
        let FoundChildren { deployment, service, ingress, http_route, disruption_budget } = &self.found;
        let prints = (
            fingerprint(deployment.as_ref()),
            fingerprint(service.as_ref()),
            fingerprint(ingress.as_ref()),
            fingerprint(http_route.as_ref()),
            fingerprint(disruption_budget.as_ref()),
        );
        prints.hash(&mut hasher);
        Some(hasher.finish())
    }
}

impl RetiringRoutes {
    /// An Ingress retires once the HTTPRoute routes all hosts and is accepted; an HTTPRoute once the Ingress
    /// has all hosts. An HTTPRoute that has no parent any more stays as well.
    fn of(gateway: &ApiGateway, found: &FoundChildren, context: &RenderContext) -> Self {
        if found.http_route.is_none() && gateway.spec.exposure() != Exposure::HTTPRoute {
            return Self::default();
        }
        let (exposure, hosts) = (gateway.spec.exposure(), || context.route_hosts(gateway));
        let has_hosts = hosts().next().is_some();
        let (ingress, route) = (ours::<Ingress>(gateway, found), ours::<HttpRoute>(gateway, found));
        let is_accepted = found.http_route.as_ref().is_some_and(|route| children::accepted_by_all(&route.parents));
        let leads = |route: &HttpRoute| {
            is_accepted
                && route.metadata.deletion_timestamp.is_none()
                && hosts().all(|host| children::hostnames(route).any(|routed| routed == host))
        };
        let stands = |ingress: &Ingress| {
            ingress.metadata.deletion_timestamp.is_none() && hosts().all(|host| children::routes(ingress, host))
        };
        let has_no_parent = children::parent_refs(gateway, &context.default_parent_refs).is_empty();
        Self {
            ingress: has_hosts
                && exposure == Exposure::HTTPRoute
                && ingress.is_some()
                && !route.as_ref().is_some_and(leads),
            http_route: has_hosts
                && route.is_some()
                && match exposure {
                    Exposure::Ingress => !ingress.as_ref().is_some_and(stands),
                    _ => exposure.by_route() && has_no_parent,
                },
        }
    }
}

/// A found child, if it is the gateway's own.
fn ours<K: ChildKind>(gateway: &ApiGateway, found: &FoundChildren) -> Option<K> {
    let object = object::<K>(K::found(found))?;
    (children::owner_of(object.meta(), gateway) == Owner::Ours).then_some(object)
}

fn fingerprint<K: ChildKind>(found: Option<&Arc<CachedChild<K>>>) -> Option<u64> {
    found.map(|seen| seen.fingerprint)
}

/// The decoded child. One that does not decode was written by another version and counts as missing.
fn object<K: ChildKind>(found: Option<&CachedChild<K>>) -> Option<K> {
    found?.object().ok()
}

fn class_of(ingress: &Ingress) -> Option<&str> {
    ingress.spec.as_ref()?.ingress_class_name.as_deref()
}
