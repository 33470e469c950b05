//! What the comparison of children depends on, and when it need not be made.

use k8s_openapi::api::networking::v1::Ingress;
use serde_json::{Value, json};

use super::objects::{
    HOST, Rendered, but, children_of, children_with, complete, deletes, edited, environment, foreign_object, json_of,
    predecessors, set, started, terminating,
};
use super::world::{settings, watched};
use crate::api::{ApiGateway, Environment, EnvironmentState, Exposure};
use crate::cache::child::{CachedChild, ChildKind, FoundChildren};
use crate::cache::watched::Watched;
use crate::children::{self, RenderContext};
use crate::control::accepted::Accepted;
use crate::control::desired::{Desired, EnvironmentOf, Permitted};
use crate::decide::allowance::{NotAllowed, default_parent};
use crate::decide::observed::{EnvironmentFacts, HostVerdict, Presence, Settings};

/// A gateway, and the children that were found of it.
#[derive(Clone)]
struct Look {
    gateway: ApiGateway,
    children: [Option<Value>; 4],
    route: Option<Value>,
    permitted: Permitted,
    environments: Vec<EnvironmentOf>,
    settings: Settings,
}

fn settled() -> Look {
    let Rendered { deployment, service, ingress } = children_of(&started());
    Look {
        gateway: started(),
        children: [Some(deployment), Some(service), Some(ingress), None],
        route: None,
        permitted: Permitted::EVERYTHING,
        environments: Vec::new(),
        settings: settings(),
    }
}

fn seen<K: ChildKind>(child: Option<&Value>) -> Option<std::sync::Arc<CachedChild<K>>> {
    child.map(|child| std::sync::Arc::new(watched::<Watched<K>>(child).into()))
}

fn environment_of(environment: Environment, facts: EnvironmentFacts) -> EnvironmentOf {
    (std::sync::Arc::new(environment), facts)
}

impl Look {
    fn desired(&self) -> Desired<'_> {
        self.desired_with(&Accepted::default())
    }

    /// The same, where something is known of what became of the children.
    fn desired_with(&self, accepted: &Accepted) -> Desired<'_> {
        let [deployment, service, ingress, disruption_budget] = &self.children;
        let found = FoundChildren {
            deployment: seen(deployment.as_ref()),
            service: seen(service.as_ref()),
            ingress: seen(ingress.as_ref()),
            http_route: seen(self.route.as_ref()),
            disruption_budget: seen(disruption_budget.as_ref()),
        };
        let filled_in = accepted.filled_in_by_cluster(&self.gateway);
        let (permitted, environments) = (self.permitted.clone(), self.environments.clone());
        Desired::of(&self.gateway, found, permitted, environments, Vec::new(), filled_in, &self.settings)
    }

    /// How the Ingress compares, and what a status would say then of the class that the spec named.
    fn ingress(&self, accepted: &mut Accepted) -> (Presence, Option<String>) {
        let presence = self.desired_with(accepted).compared(accepted, None).ingress;
        (presence, accepted.named_class(&self.gateway).map(str::to_owned))
    }

    /// The fingerprint with which all children are found as desired, if they are.
    fn fingerprint(&self) -> Option<u64> {
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
    let before = settled().fingerprint().unwrap();
    for (what, change) in CHANGES {
        let after = but(settled(), change).fingerprint().unwrap_or_else(|| panic!("{what}: not as desired"));
        assert_ne!(after, before, "{what}");
    }
    for (what, change) in NOTHING_NEW {
        assert_eq!(but(settled(), change).fingerprint(), Some(before), "{what}");
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
    ("a foreign Service", |look| look.child(1, foreign_object)),
    ("an earlier gateway's Service", |look| look.child(1, predecessors)),
    ("a Service that cannot be read", |look| look.child(1, |child| set(child, "/spec/ports", "none"))),
    ("a host that another holds", |look| {
        look.permitted.host = HostVerdict::Taken { host: HOST.to_owned(), by: "tenants/other".to_owned() };
    }),
    ("an ingress class that is not allowed", |look| {
        look.gateway = but(look.gateway.clone(), |g| g.spec.ingress_class_name = Some("theirs".to_owned()));
        look.children[2] = Some(children_of(&look.gateway).ingress);
        look.permitted.violations.ingress_class = Some(violation());
    }),
    ("an image that is not allowed", |look| look.permitted.violations.pods = Some(violation())),
    ("a gateway that is being deleted", |look| deletes(&mut look.gateway)),
    ("a gateway without a generation", |look| look.gateway.metadata.generation = None),
];

fn violation() -> NotAllowed {
    let some = |text: &str| text.to_owned();
    NotAllowed { field: some("spec"), asked: some("theirs"), by: some("a flag"), instead: some("allows ours") }
}

fn budget(gateway: &ApiGateway) -> Value {
    let context = RenderContext::default();
    json_of(&children::render(gateway, &context).disruption_budget.unwrap())
}

#[test]
fn children_are_settled_only_when_all_of_them_are_as_desired() {
    for (what, change) in UNSETTLED {
        let look = but(settled(), change);
        assert_eq!(look.fingerprint(), None, "{what}");
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
    let before = settled().fingerprint();
    // The same version in other words: nobody reads them.
    let same = but(settled(), |look| look.child(1, edited));
    assert!(matches!(same.desired().compared(&mut Accepted::default(), None).service, Presence::Different(_)));
    let compared = same.desired().compared(&mut Accepted::default(), before);
    assert_eq!((compared.service, compared.settled), (Presence::Equal, before));
    assert_eq!((compared.ingress, compared.disruption_budget), (Presence::Equal, Presence::NotWanted));
}

/// The gateway `shop` has an environment that holds a host of its own; its Ingress is of a class that somebody took away.
#[test]
fn an_ingress_whose_class_is_not_allowed_any_more_routes_what_it_routed_and_no_more() {
    let facts = || EnvironmentFacts { name: "shop-dev".to_owned(), active: true, refused: false, claimed: true };
    let mut look = settled();
    look.gateway = but(look.gateway.clone(), |g| g.spec.ingress_class_name = Some("theirs".to_owned()));
    look.environments = vec![environment_of(environment(EnvironmentState::Active), facts())];
    look.permitted.violations.ingress_class = Some(violation());
    for (what, before, expected) in [
        ("it was routed before", &["dev.example.com"][..], &[HOST, "dev.example.com"][..]),
        ("it was not", &[], &[HOST]),
    ] {
        look.children[2] = Some(children_with(&look.gateway, before).ingress);
        let desired = look.desired();
        let routed = desired.children().ingress.as_ref().map(children::routed_hosts).unwrap_or_default();
        assert_eq!(routed, expected, "{what}");
    }
}

/// The HTTPRoute of a gateway, routing these hosts, as it is stored; and what its parent said of a generation of it.
fn route(look: &Look, hosts: &[&str], said: Option<(&str, i64)>) -> Value {
    let asks = but(look.gateway.clone(), |g| g.spec.exposure = Some(Exposure::HTTPRoute));
    let context = RenderContext {
        environment_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        default_parent_refs: vec![default_parent("infra/public").unwrap()],
        ..RenderContext::default()
    };
    let mut route = serde_json::to_value(children::render(&asks, &context).http_route).unwrap();
    for (key, value) in [("uid", json!("uid-of-route")), ("resourceVersion", json!("1")), ("generation", json!(2))] {
        route["metadata"][key] = value;
    }
    if let Some((status, generation)) = said {
        let condition = |type_: &str| json!({ "type": type_, "status": status, "observedGeneration": generation });
        let conditions = ["Accepted", "ResolvedRefs"].map(condition);
        let parent = json!({ "namespace": "infra", "name": "public" });
        route["status"] = json!({ "parents": [{ "parentRef": parent, "conditions": conditions }] });
    }
    route
}

fn asking(look: Look, exposure: Exposure) -> Look {
    but(look, |look| {
        look.gateway.spec.exposure = Some(exposure);
        look.settings.default_parent_refs = vec![default_parent("infra/public").unwrap()];
    })
}

/// Whether an Ingress and an HTTPRoute are there, are as desired, or are to go.
fn ways(look: &Look) -> (Presence, Presence) {
    let compared = look.desired().compared(&mut Accepted::default(), None);
    (compared.ingress, compared.http_route)
}

#[test]
fn an_ingress_goes_when_the_route_that_follows_it_routes_every_host_and_is_accepted_as_it_is() {
    use Presence::{Equal, Missing, Unwanted};
    let base = asking(settled(), Exposure::HTTPRoute);
    assert_eq!(ways(&base), (Equal, Missing), "the new one first");
    for (what, said, ingress) in [
        ("nobody said anything", None, Equal),
        ("it was accepted as it was before", Some(("True", 1)), Equal),
        ("it is refused", Some(("False", 2)), Equal),
        ("it is accepted", Some(("True", 2)), Unwanted),
    ] {
        let look = but(base.clone(), |look| look.route = Some(route(look, &[], said)));
        assert_eq!(ways(&look), (ingress, Equal), "{what}");
    }
    let added = but(base.clone(), |look| {
        let facts = EnvironmentFacts { name: "shop-dev".to_owned(), active: false, refused: false, claimed: true };
        look.environments = vec![environment_of(environment(EnvironmentState::Inactive), facts)];
        look.route = Some(route(look, &[], Some(("True", 2))));
    });
    assert!(matches!(ways(&added), (Equal, Presence::Different(_))), "a host is missing: {:?}", ways(&added));
    assert_eq!(added.fingerprint(), None, "what is to go is looked at each time");
    let both = but(asking(base.clone(), Exposure::Both), |look| look.route = Some(route(look, &[], Some(("True", 2)))));
    assert_eq!(ways(&both), (Equal, Equal));
    let none = but(asking(base, Exposure::None), |look| look.route = Some(route(look, &[], None)));
    assert_eq!(ways(&none), (Unwanted, Unwanted));
}

#[test]
fn a_route_goes_when_the_ingress_that_follows_it_stands_and_stays_where_nobody_names_a_parent() {
    use Presence::{Equal, Missing, NotWanted, Unwanted};
    let back = but(asking(settled(), Exposure::Ingress), |look| look.route = Some(route(look, &[], Some(("True", 2)))));
    assert_eq!(ways(&back), (Equal, Unwanted));
    let first = but(back.clone(), |look| look.children[2] = None);
    assert_eq!(ways(&first), (Missing, Equal), "the new one first");
    let nameless = but(back, |look| {
        look.gateway.spec.exposure = Some(Exposure::HTTPRoute);
        look.settings.default_parent_refs = Vec::new();
        look.children[2] = None;
    });
    assert_eq!(ways(&nameless), (NotWanted, Equal));
}

#[test]
fn a_route_of_a_gateway_that_may_not_be_named_any_more_gets_no_host_that_it_did_not_route() {
    let facts = || EnvironmentFacts { name: "shop-dev".to_owned(), active: true, refused: false, claimed: true };
    let mut look = asking(settled(), Exposure::HTTPRoute);
    look.children[2] = None;
    look.environments = vec![environment_of(environment(EnvironmentState::Active), facts())];
    look.permitted.violations.parent_ref = Some(violation());
    for (before, expected) in [(&["dev.example.com"][..], &[HOST, "dev.example.com"][..]), (&[], &[HOST])] {
        look.route = Some(route(&look, before, Some(("True", 2))));
        let desired = look.desired();
        let routed: Vec<&str> = desired.children().http_route.iter().flat_map(children::hostnames).collect();
        assert_eq!(routed, expected);
    }
    look.permitted.violations.parent_ref = None;
    look.permitted.host = HostVerdict::Taken { host: HOST.to_owned(), by: "tenants/other".to_owned() };
    look.permitted.lost = vec![HOST.to_owned()];
    look.environments = Vec::new();
    assert_eq!(look.desired().children().http_route, None, "one without a host catches everybody's traffic");
}

/// The gateway `shop` with an Ingress that was made while its spec named this class, and what is known of that.
fn classed(class: Option<&str>) -> (Look, Accepted) {
    let mut look = settled();
    look.gateway.spec.ingress_class_name = class.map(str::to_owned);
    look.children[2] = Some(children_of(&look.gateway).ingress);
    if class.is_none() {
        look.child(2, |child| of_class(child, "usual"));
    }
    let mut accepted = Accepted::default();
    let named = class.map(str::to_owned);
    assert_eq!(look.ingress(&mut accepted), (Presence::Equal, named), "while it is named");
    (look, accepted)
}

fn of_class(mut ingress: Value, class: &str) -> Value {
    ingress["spec"]["ingressClassName"] = json!(class);
    ingress
}

/// What the operator that was here before wrote into the status.
fn recorded(look: &mut Look, class: &str, named: Option<&str>) {
    look.gateway.status.as_mut().unwrap().accepted = Some(crate::api::Accepted {
        ingress_class_name: Some(class.to_owned()),
        ingress_class_named: named.map(str::to_owned),
        ..crate::api::Accepted::default()
    });
}

#[test]
fn an_ingress_whose_class_the_spec_does_not_name_any_more_is_made_anew_once() {
    let (mut look, mut accepted) = classed(Some("theirs"));
    look.gateway.spec.ingress_class_name = None;
    look.gateway.metadata.generation = Some(2);
    assert_eq!(look.ingress(&mut accepted), (Presence::Immutable, Some("theirs".to_owned())));
    assert_eq!(look.ingress(&mut accepted).0, Presence::Immutable, "until it is gone");
    // Whatever the cluster fills in then is the cluster's, also the class that was named.
    for class in ["usual", "theirs"] {
        let mut accepted = accepted.clone();
        accepted.forget::<Ingress>();
        look.children[2] = Some(of_class(children_of(&look.gateway).ingress, class));
        assert_eq!(look.ingress(&mut accepted), (Presence::Equal, None), "{class}");
        assert_eq!(look.ingress(&mut accepted), (Presence::Equal, None), "{class}, and it stays");
        look.child(2, |child| of_class(child, "edited"));
        assert!(matches!(look.ingress(&mut accepted).0, Presence::Different(_)), "an edit of {class} is one");
    }
}

#[test]
fn the_operator_before_tells_whether_the_spec_named_the_class_and_an_older_one_does_not() {
    for (what, was, named, expected) in [
        ("the spec named it", Some("theirs"), Some("theirs"), Presence::Immutable),
        ("the cluster filled it in", None, None, Presence::Equal),
    ] {
        let (mut look, _) = classed(was);
        look.gateway.spec.ingress_class_name = None;
        recorded(&mut look, was.unwrap_or("usual"), named);
        assert_eq!(look.ingress(&mut Accepted::default()).0, expected, "{what}");
    }
    // That of an older operator is kept, as that one kept it.
    let (mut look, _) = classed(Some("theirs"));
    look.gateway.spec.ingress_class_name = None;
    recorded(&mut look, "theirs", None);
    assert!(matches!(look.ingress(&mut Accepted::default()).0, Presence::Different(_)));
    let desired = look.desired();
    let spec = desired.children().ingress.as_ref().unwrap().spec.as_ref().unwrap();
    assert_eq!(spec.ingress_class_name.as_deref(), Some("theirs"));
}

#[test]
fn a_class_that_was_taken_away_is_known_as_the_specs_before_it_is_dropped() {
    let (mut look, _) = classed(Some("theirs"));
    let mut accepted = Accepted::default();
    look.permitted.violations.ingress_class = Some(violation());
    assert_eq!(look.ingress(&mut accepted), (Presence::Equal, Some("theirs".to_owned())));
    look.gateway.spec.ingress_class_name = None;
    look.permitted = Permitted::EVERYTHING;
    assert_eq!(look.ingress(&mut accepted).0, Presence::Immutable);
    // While a host of its own is another's, it keeps what it has.
    look.permitted.host = HostVerdict::Taken { host: HOST.to_owned(), by: "tenants/other".to_owned() };
    look.gateway.status.as_mut().unwrap().hosts = Vec::new();
    assert_ne!(look.ingress(&mut accepted).0, Presence::Immutable);
    assert_eq!(look.ingress(&mut accepted).1, Some("theirs".to_owned()), "and it is not forgotten meanwhile");
}
