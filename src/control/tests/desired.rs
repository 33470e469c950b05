//! What the comparison of children depends on, and when it need not be made.

use serde_json::{Value, json};

use super::objects::{
    HOST, Rendered, but, children_of, children_with, complete, deletes, edited, environment, json_of, predecessors,
    set, started, strangers, terminating,
};
use super::world::{settings, watched};
use crate::api::{ApiGateway, Environment, EnvironmentState};
use crate::cache::seen::{Found, Part, Seen};
use crate::cache::watched::Watched;
use crate::children::{self, Surroundings};
use crate::control::accepted::Accepted;
use crate::control::desired::{Desired, EnvironmentOf, MayHave};
use crate::decide::allowance::NotAllowed;
use crate::decide::observed::{EnvironmentFacts, HostVerdict, Presence, Settings};

/// A gateway, and the children that were found of it.
#[derive(Clone)]
struct Look {
    gateway: ApiGateway,
    children: [Option<Value>; 4],
    may_have: MayHave,
    environments: Vec<EnvironmentOf>,
    settings: Settings,
}

fn settled() -> Look {
    let Rendered { deployment, service, ingress } = children_of(&started());
    Look {
        gateway: started(),
        children: [Some(deployment), Some(service), Some(ingress), None],
        may_have: MayHave::EVERYTHING,
        environments: Vec::new(),
        settings: settings(),
    }
}

fn seen<K: Part>(child: Option<&Value>) -> Option<std::sync::Arc<Seen<K>>> {
    child.map(|child| std::sync::Arc::new(watched::<Watched<K>>(child).into()))
}

fn environment_of(environment: Environment, facts: EnvironmentFacts) -> EnvironmentOf {
    (std::sync::Arc::new(environment), facts)
}

impl Look {
    fn desired(&self) -> Desired<'_> {
        let [deployment, service, ingress, disruption_budget] = &self.children;
        let found = Found {
            deployment: seen(deployment.as_ref()),
            service: seen(service.as_ref()),
            ingress: seen(ingress.as_ref()),
            disruption_budget: seen(disruption_budget.as_ref()),
        };
        Desired::of(&self.gateway, found, self.may_have.clone(), self.environments.clone(), &self.settings)
    }

    /// The fingerprint with which all children are found as desired, if they are.
    fn print(&self) -> Option<u64> {
        self.desired().compared(&mut Accepted::default(), None).settled
    }

    fn child(&mut self, at: usize, edit: impl FnOnce(Value) -> Value) {
        let child = self.children[at].take().unwrap();
        self.children[at] = Some(edit(child));
    }
}

type Change = (&'static str, fn(&mut Look));

/// Each leaves every child as desired.
const CHANGES: &[Change] = &[
    ("another generation", |look| look.gateway.metadata.generation = Some(2)),
    ("a Deployment of another uid", |look| look.child(0, |child| set(child, "/metadata/uid", "another"))),
    ("a Deployment of another generation", |look| look.child(0, |child| set(child, "/metadata/generation", 2))),
    ("a label on the Deployment", |look| {
        look.child(0, |mut child| {
            child["metadata"]["labels"]["theirs"] = json!("x");
            child
        });
    }),
    ("a Service of another version", |look| look.child(1, |child| set(child, "/metadata/resourceVersion", "2"))),
    ("an Ingress of another version", |look| look.child(2, |child| set(child, "/metadata/resourceVersion", "2"))),
    ("a host of an environment", |look| {
        look.children[2] = Some(children_with(&look.gateway, &["dev.example.com"]).ingress);
        let facts = EnvironmentFacts { name: "shop-dev".to_owned(), active: true, refused: false, claimed: true };
        look.environments = vec![environment_of(environment(EnvironmentState::Active), facts)];
    }),
    ("a restart that was rolled out", |look| {
        look.gateway.status.as_mut().unwrap().restarts = 1;
        look.children[0] = Some(children_of(&look.gateway).deployment);
    }),
];

const NOTHING_NEW: &[Change] = &[
    ("another version of the gateway", |look| look.gateway.metadata.resource_version = Some("2".to_owned())),
    ("another status of the gateway", |look| look.gateway.status.as_mut().unwrap().transitions = 7),
    ("another version of the Deployment", |look| {
        look.child(0, |child| set(child, "/metadata/resourceVersion", "2"));
    }),
    ("another status of the Deployment", |look| look.child(0, complete)),
    ("an environment without a host", |look| {
        let quiet = but(environment(EnvironmentState::Active), |e| e.spec.host = None);
        let facts = EnvironmentFacts { name: "shop-dev".to_owned(), active: true, refused: false, claimed: true };
        look.environments = vec![environment_of(quiet, facts)];
    }),
    ("an environment whose host was refused", |look| {
        let facts = EnvironmentFacts { name: "shop-dev".to_owned(), active: false, refused: true, claimed: true };
        look.environments = vec![environment_of(environment(EnvironmentState::Inactive), facts)];
    }),
    ("an environment that has claimed nothing", |look| {
        let facts = EnvironmentFacts { name: "shop-dev".to_owned(), active: false, refused: false, claimed: false };
        look.environments = vec![environment_of(environment(EnvironmentState::Inactive), facts)];
    }),
];

#[test]
fn the_fingerprint_changes_with_whatever_a_comparison_depends_on_and_with_nothing_else() {
    let before = settled().print().unwrap();
    for (what, change) in CHANGES {
        let after = but(settled(), change).print().unwrap_or_else(|| panic!("{what}: not as desired"));
        assert_ne!(after, before, "{what}");
    }
    for (what, change) in NOTHING_NEW {
        assert_eq!(but(settled(), change).print(), Some(before), "{what}");
    }
}

/// Each is one thing that is not as desired, or of which a fingerprint does not tell enough.
const UNSETTLED: &[Change] = &[
    ("no Deployment", |look| look.children[0] = None),
    ("no Service", |look| look.children[1] = None),
    ("no Ingress", |look| look.children[2] = None),
    ("an edited Deployment", |look| look.child(0, edited)),
    ("an edited Service", |look| look.child(1, edited)),
    ("an edited Ingress", |look| look.child(2, edited)),
    ("an Ingress that nobody wants", |look| look.gateway = but(look.gateway.clone(), |g| g.spec.host = None)),
    ("a PodDisruptionBudget that nobody wants", |look| {
        let several = but(look.gateway.clone(), |g| g.spec.replicas = Some(2));
        look.children[3] = Some(budget(&several));
    }),
    ("no PodDisruptionBudget where one is wanted", |look| {
        look.gateway = but(look.gateway.clone(), |g| g.spec.replicas = Some(2));
        let Rendered { deployment, service, ingress } = children_of(&look.gateway);
        look.children = [Some(deployment), Some(service), Some(ingress), None];
    }),
    ("a Service that is being deleted", |look| look.child(1, terminating)),
    ("a stranger's Service", |look| look.child(1, strangers)),
    ("an earlier gateway's Service", |look| look.child(1, predecessors)),
    ("a Service that cannot be read", |look| look.child(1, |child| set(child, "/spec/ports", "none"))),
    ("a host that another holds", |look| {
        look.may_have.host = HostVerdict::Taken { host: HOST.to_owned(), by: "tenants/other".to_owned() };
    }),
    ("an ingress class that is not allowed", |look| {
        look.gateway = but(look.gateway.clone(), |g| g.spec.ingress_class_name = Some("theirs".to_owned()));
        look.children[2] = Some(children_of(&look.gateway).ingress);
        look.may_have.breaches.ingress_class = Some(breach());
    }),
    ("an image that is not allowed", |look| look.may_have.breaches.pods = Some(breach())),
    ("a gateway that is being deleted", |look| deletes(&mut look.gateway)),
    ("a gateway without a generation", |look| look.gateway.metadata.generation = None),
];

fn breach() -> NotAllowed {
    let some = |text: &str| text.to_owned();
    NotAllowed { field: some("spec"), asked: some("theirs"), by: some("a flag"), instead: some("allows ours") }
}

fn budget(gateway: &ApiGateway) -> Value {
    let around = Surroundings::default();
    json_of(&children::render(gateway, &around).disruption_budget.unwrap())
}

#[test]
fn children_are_settled_only_when_all_of_them_are_as_desired() {
    for (what, change) in UNSETTLED {
        let look = but(settled(), change);
        assert_eq!(look.print(), None, "{what}");
        // What was found before stays what is known: it may be so again.
        assert_eq!(look.desired().compared(&mut Accepted::default(), Some(7)).settled, Some(7), "{what}");
    }
}

#[test]
fn a_gateway_without_children_is_compared_without_rendering_them() {
    let mut look = settled();
    look.children = [None, None, None, None];
    let compared = look.desired().compared(&mut Accepted::default(), None);
    assert_eq!(compared.deployment, Presence::Missing);
    assert_eq!(compared.service, Presence::Missing);
    assert_eq!(compared.ingress, Presence::Missing);
    assert_eq!(compared.disruption_budget, Presence::NotWanted);
}

#[test]
fn what_was_found_settled_by_its_fingerprint_is_not_looked_at_again() {
    let before = settled().print();
    // The same version in other words: nobody reads them.
    let same = but(settled(), |look| look.child(1, edited));
    assert!(matches!(same.desired().compared(&mut Accepted::default(), None).service, Presence::Different(_)));
    let compared = same.desired().compared(&mut Accepted::default(), before);
    assert_eq!((compared.service, compared.settled), (Presence::Equal, before));
    assert_eq!((compared.ingress, compared.disruption_budget), (Presence::Equal, Presence::NotWanted));
}
