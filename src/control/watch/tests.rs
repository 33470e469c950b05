//! Which events wake whom, and what they make the operator forget.

#![allow(clippy::unwrap_used)]

use kube::runtime::watcher::Event;
use serde_json::json;

use super::*;
use crate::api::{ApiGateway, Environment, EnvironmentState, Guarded};
use crate::control::memory::{Expectation, Remembered};
use crate::control::tests::objects::{but, environment, json_of, named, starting};
use crate::control::tests::world::watched;
use crate::decide::observed::Child;
use crate::queue::Requeue;

type GatewayEvent = Event<Guarded<ApiGateway>>;
type EnvironmentEvent = Event<Guarded<Environment>>;

/// The two watches that tell of gateways and environments, and what they fill.
struct Watching {
    caches: Arc<Caches>,
    memory: Arc<Memory>,
    queue: WorkQueue,
    gateways: Box<dyn FnMut(GatewayEvent)>,
    environments: Box<dyn FnMut(EnvironmentEvent)>,
    namespaces: Box<dyn FnMut(Event<Namespace>)>,
}

impl Watching {
    /// The watches, which have listed the gateway `shop` and its environment `shop-dev`.
    fn shop() -> Self {
        let (scopes, mut filled) = Scopes::new(&[Scope::Cluster], Default::default());
        let (_, caches, writers) = filled.remove(0);
        let (memory, queue) = (Arc::<Memory>::default(), WorkQueue::new(100));
        let requeue = ScopeRequeue::new(Arc::clone(&caches), Arc::new(scopes), queue.clone());
        let mongo = Registry::Kubernetes;
        let gateways = events::of_gateways(
            writers.gateways,
            Arc::clone(&memory),
            mongo.clone(),
            Outbox::default(),
            requeue.clone(),
        );
        let environments = events::of_environments(writers.environments, Arc::clone(&memory), mongo, requeue.clone());
        let everything_in = |key: &ObjectKey, requeue: &ScopeRequeue| requeue.namespace(&key.name);
        let namespaces = events::fill(&requeue, |caches| &caches.allowed_hosts, everything_in);
        let mut watching = Self {
            caches,
            memory,
            queue,
            gateways: Box::new(gateways),
            environments: Box::new(environments),
            namespaces: Box::new(namespaces),
        };
        watching.environments(list([of_shop()]));
        watching.gateways(list([holding("shop")]));
        watching.woken();
        watching
    }

    fn gateways(&mut self, events: Vec<GatewayEvent>) {
        events.into_iter().for_each(&mut self.gateways);
    }

    fn environments(&mut self, events: Vec<EnvironmentEvent>) {
        events.into_iter().for_each(&mut self.environments);
    }

    fn namespaces(&mut self, namespace: Namespace) {
        (self.namespaces)(Event::Apply(namespace));
    }

    /// The names of those that were woken, in order.
    fn woken(&self) -> Vec<String> {
        let mut woken = Vec::new();
        while let Some(key) = self.queue.take() {
            self.queue.done(&key, Requeue::OnChange);
            woken.push(format!("{} {}", key.kind.as_str(), key.object.name));
        }
        woken.sort();
        woken
    }

    /// Something is remembered of `shop`.
    fn remembers(&self) {
        let mut remembered = Remembered::default();
        remembered.expect(Child::Service, Expectation::Created);
        self.memory.recall(&holding("shop"));
        self.memory.keep(&holding("shop"), remembered);
        self.memory.reported("uid-of-shop", "a fault".to_owned());
    }

    fn has_forgotten(&self) -> bool {
        let remembered = self.memory.recall(&holding("shop"));
        let expects = remembered.expectation(Child::Service, crate::control::clock::Now::read()).is_some();
        let reported = self.memory.has_reported("uid-of-shop", "a fault");
        assert_eq!(expects, reported, "all is forgotten, or nothing");
        !reported
    }

    /// Whether the host that `shop` holds is another's to have.
    fn host_is_free(&self) -> bool {
        self.caches.claims().verdict(&named("blog")) == crate::decide::observed::HostVerdict::Free
    }
}

/// A gateway that holds the host which all of them want.
fn holding(name: &str) -> ApiGateway {
    but(starting(), |g| {
        g.metadata.name = Some(name.to_owned());
        g.metadata.uid = Some(format!("uid-of-{name}"));
    })
}

/// The environment of `shop`.
fn of_shop() -> Environment {
    environment(EnvironmentState::Inactive)
}

/// `shop`, made anew.
fn recreated() -> ApiGateway {
    but(named("shop"), |g| g.metadata.uid = Some("uid-of-another".to_owned()))
}

fn guarded<K>(object: K) -> Guarded<K> {
    Guarded::whole(object)
}

fn list<K>(objects: impl IntoIterator<Item = K>) -> Vec<Event<Guarded<K>>> {
    let listed = objects.into_iter().map(|object| Event::InitApply(guarded(object)));
    [Event::Init].into_iter().chain(listed).chain([Event::InitDone]).collect()
}

fn applied<K>(object: K) -> Vec<Event<Guarded<K>>> {
    vec![Event::Apply(guarded(object))]
}

fn deleted<K>(object: K) -> Vec<Event<Guarded<K>>> {
    vec![Event::Delete(guarded(object))]
}

/// What the watch of gateways tells after `shop` was listed, and what comes of it.
struct Row {
    name: &'static str,
    events: fn() -> Vec<GatewayEvent>,
    wakes: &'static [&'static str],
    /// Whether what was remembered of `shop` is forgotten.
    forgets: bool,
    /// Whether the host that it held is free.
    frees: bool,
}

const GATEWAYS: &[Row] = &[
    Row {
        name: "a list that is the same wakes whoever is on it: what was missed is not known",
        events: || list([holding("shop")]),
        wakes: &["ApiGateway shop", "Environment shop-dev"],
        forgets: false,
        frees: false,
    },
    Row {
        name: "a gateway that changed",
        events: || applied(holding("shop")),
        wakes: &["ApiGateway shop", "Environment shop-dev"],
        forgets: false,
        frees: false,
    },
    Row {
        name: "another gateway came while the watch was interrupted",
        events: || list([holding("shop"), but(named("blog"), |g| g.spec.host = None)]),
        wakes: &["ApiGateway blog", "ApiGateway shop", "Environment shop-dev"],
        forgets: false,
        frees: false,
    },
    Row {
        name: "a gateway went while the watch was interrupted: its environments look again",
        events: || list::<ApiGateway>([]),
        wakes: &["Environment shop-dev"],
        forgets: true,
        frees: true,
    },
    Row {
        name: "a gateway was deleted",
        events: || deleted(holding("shop")),
        wakes: &["Environment shop-dev"],
        forgets: true,
        frees: true,
    },
    Row {
        name: "a gateway was made anew while the watch was interrupted: of the earlier one nothing is left",
        events: || list([recreated()]),
        wakes: &["ApiGateway shop", "Environment shop-dev"],
        forgets: true,
        frees: true,
    },
    Row {
        name: "the late deletion of an earlier gateway of the name lets the later one be",
        events: || {
            let later = but(holding("shop"), |g| g.metadata.uid = Some("uid-of-another".to_owned()));
            applied(later).into_iter().chain(deleted(holding("shop"))).collect()
        },
        wakes: &["ApiGateway shop", "Environment shop-dev"],
        forgets: true,
        frees: false,
    },
    Row {
        name: "until a list is complete nobody is gone",
        events: || vec![Event::Init],
        wakes: &[],
        forgets: false,
        frees: false,
    },
    Row {
        name: "a list that broke off tells nothing of the next",
        events: || {
            let half = vec![Event::Init, Event::InitApply(guarded(but(named("blog"), |g| g.spec.host = None)))];
            half.into_iter().chain(list([holding("shop")])).collect()
        },
        wakes: &["ApiGateway shop", "Environment shop-dev"],
        forgets: false,
        frees: false,
    },
    Row {
        name: "a gateway that cannot be read any more is looked at, and keeps what it holds",
        events: || {
            let mut unreadable = json_of(&holding("shop"));
            unreadable["spec"]["image"] = json!(7);
            vec![Event::Apply(watched(&unreadable))]
        },
        wakes: &["ApiGateway shop", "Environment shop-dev"],
        forgets: false,
        frees: false,
    },
];

#[test]
fn the_watch_of_gateways_wakes_whom_a_change_concerns_and_forgets_whoever_is_gone() {
    for row in GATEWAYS {
        let mut watching = Watching::shop();
        watching.remembers();
        watching.gateways((row.events)());
        assert_eq!(watching.woken(), row.wakes, "{}", row.name);
        assert_eq!(watching.has_forgotten(), row.forgets, "{}", row.name);
        assert_eq!(watching.host_is_free(), row.frees, "{}", row.name);
    }
}

#[test]
fn whoever_waits_for_a_host_is_woken_when_it_is_free() {
    let mut watching = Watching::shop();
    let shop = holding("shop");
    watching.gateways(applied(shop.clone()));
    watching.woken();
    watching.gateways(applied(named("blog")));
    assert_eq!(watching.woken(), ["ApiGateway blog"]);
    // It goes on holding the host: nobody else has to look.
    watching.gateways(applied(shop.clone()));
    assert_eq!(watching.woken(), ["ApiGateway shop", "Environment shop-dev"]);
    // It wants another host, and lets go of this one.
    watching.gateways(applied(but(shop, |g| {
        g.spec.host = Some("new.example.com".to_owned());
        g.status.as_mut().unwrap().hosts.clear();
    })));
    assert_eq!(watching.woken(), ["ApiGateway blog", "ApiGateway shop", "Environment shop-dev"]);
    assert!(watching.host_is_free());
}

#[test]
fn the_echo_of_a_transition_wakes_its_environments_and_not_the_gateway_which_went_on_at_once() {
    let version = |version: &str| but(holding("shop"), |g| g.metadata.resource_version = Some(version.to_owned()));
    for (what, moved, echo, wakes_the_gateway) in [
        ("a transition", true, "2", false),
        ("a write that was no transition", false, "2", true),
        ("somebody else's write after it", true, "3", true),
    ] {
        let mut watching = Watching::shop();
        watching.memory.recall(&version("1"));
        watching.memory.wrote(&version("1"), version("2"), moved);
        watching.gateways(applied(version(echo)));
        let woken = watching.woken();
        assert_eq!(woken.contains(&"ApiGateway shop".to_owned()), wakes_the_gateway, "{what}");
        assert!(woken.contains(&"Environment shop-dev".to_owned()), "{what}");

        // An echo is heard once: what comes later in the same version is a list.
        watching.gateways(list([version(echo)]));
        assert!(watching.woken().contains(&"ApiGateway shop".to_owned()), "{what}");
    }
}

/// What the watch of environments tells after `shop-dev` was listed, and whom it wakes.
struct EnvironmentRow {
    name: &'static str,
    events: fn() -> Vec<EnvironmentEvent>,
    wakes: &'static [&'static str],
    /// Whether what was reported of it is forgotten.
    forgets: bool,
}

const ENVIRONMENTS: &[EnvironmentRow] = &[
    EnvironmentRow {
        name: "an environment in the same version is no news for its gateway",
        events: || applied(of_shop()),
        wakes: &["Environment shop-dev"],
        forgets: false,
    },
    EnvironmentRow {
        name: "an environment that changed concerns its gateway",
        events: || applied(but(of_shop(), |e| e.metadata.resource_version = Some("2".to_owned()))),
        wakes: &["ApiGateway shop", "Environment shop-dev"],
        forgets: false,
    },
    EnvironmentRow {
        name: "an environment that was deleted",
        events: || deleted(of_shop()),
        wakes: &["ApiGateway shop"],
        forgets: true,
    },
    EnvironmentRow {
        name: "an environment that went while the watch was interrupted",
        events: || list::<Environment>([]),
        wakes: &["ApiGateway shop"],
        forgets: true,
    },
    EnvironmentRow {
        name: "an environment that was made anew while the watch was interrupted",
        events: || {
            list([but(of_shop(), |e| {
                e.metadata.uid = Some("uid-of-another".to_owned());
                e.metadata.resource_version = Some("9".to_owned());
            })])
        },
        wakes: &["ApiGateway shop", "Environment shop-dev"],
        forgets: true,
    },
    EnvironmentRow {
        name: "an environment of a gateway that is not there wakes itself alone",
        events: || {
            applied(but(of_shop(), |e| {
                e.metadata.name = Some("blog-dev".to_owned());
                e.metadata.uid = Some("uid-of-blog-dev".to_owned());
                e.spec.gateway_ref.name = "blog".to_owned();
                e.spec.host = None;
                e.status = None;
            }))
        },
        wakes: &["Environment blog-dev"],
        forgets: false,
    },
];

#[test]
fn the_watch_of_environments_wakes_them_and_their_gateways() {
    for row in ENVIRONMENTS {
        let mut watching = Watching::shop();
        watching.memory.reported("uid-of-shop-dev", "a fault".to_owned());
        watching.environments((row.events)());
        assert_eq!(watching.woken(), row.wakes, "{}", row.name);
        assert_eq!(!watching.memory.has_reported("uid-of-shop-dev", "a fault"), row.forgets, "{}", row.name);
    }
}

/// One whose status this version cannot read, and whose claims it can.
fn unreadable() -> Guarded<ApiGateway> {
    let mut object = json_of(&holding("shop"));
    object["status"]["attempt"] = json!("the third");
    serde_json::from_value(object).unwrap()
}

#[test]
fn an_admin_who_narrows_hosts_frees_those_of_gateways_that_cannot_be_read() {
    let mut watching = Watching::shop();
    watching.gateways(vec![Event::Apply(unreadable())]);
    let elsewhere = || but(named("blog"), |g| g.metadata.namespace = Some("elsewhere".to_owned()));
    let is_free = |watching: &Watching| {
        watching.caches.claims().verdict(&elsewhere()) == crate::decide::observed::HostVerdict::Free
    };
    assert!(!is_free(&watching));

    let narrowed = json!({ "metadata": {
        "name": "tenants", "uid": "n", "annotations": { "phasegate.dev/allowed-hosts": "elsewhere.example.org" },
    } });
    watching.namespaces(serde_json::from_value(narrowed).unwrap());
    assert!(is_free(&watching), "recorded and forbidden");
    watching.gateways(vec![Event::Apply(unreadable())]);
    assert!(is_free(&watching), "seen once more");
}
