//! Environments: as the last steps of their gateway's start, and in passes of their own.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::objects::{
    ENVIRONMENT, SERVICE, STATUS, but, children_with, complete, deletes, environment, finalizer, foreign_object,
    json_of, named, recorded, set, started, starting,
};
use super::world::{Passed, Row, World, play, shop, watched};
use crate::api::{ApiGateway, Environment, EnvironmentState, Exposure, Guarded, Phase, State};
use crate::cluster::tests::server::{Exchange, delete, patch, put};
use crate::control::gather;
use crate::decide::observed::HostVerdict;
use crate::queue::{Key, Kind, Requeue};

const ACTIVE: EnvironmentState = EnvironmentState::Active;
const INACTIVE: EnvironmentState = EnvironmentState::Inactive;

/// A gateway whose children are as desired and complete, with an environment in this state.
fn served(w: &mut World, gateway: ApiGateway, state: EnvironmentState) {
    let children = children_with(&gateway, &["dev.example.com"]);
    w.environment(&environment(state));
    w.has(gateway, [complete(children.deployment), children.service, children.ingress]);
}

fn activated() -> Exchange {
    put(ENVIRONMENT).with("/metadata/resourceVersion", "1").with("/status/state", "Active")
}

fn is_away(exchange: Exchange) -> Exchange {
    let words = "Internal error occurred: failed calling webhook \"no.example.com\": connection refused";
    exchange.refused(500, "InternalError", words)
}

fn is_denied(exchange: Exchange) -> Exchange {
    exchange.refused(403, "Forbidden", "environments.phasegate.dev \"shop-dev\" is forbidden: no")
}

const ANOTHER: &str = "/apis/phasegate.dev/v1alpha1/namespaces/tenants/environments/shop-eu/status";

/// An environment of the same gateway, without a host.
fn another() -> Environment {
    but(environment(INACTIVE), |e| {
        e.metadata.name = Some("shop-eu".to_owned());
        e.metadata.uid = Some("uid-of-shop-eu".to_owned());
        e.spec.host = None;
        e.status.as_mut().unwrap().hosts.clear();
    })
}

const SWITCHED: &[Row] = &[
    Row {
        name: "a workload that is ready is served under its environments' hosts next",
        given: |w| served(w, starting(), INACTIVE),
        script: |_| vec![activated()],
        ends: "After 300s",
        writes: &["- Active, Ready True Started"],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "an environment that somebody else wrote meanwhile is looked at again",
        given: |w| served(w, starting(), INACTIVE),
        script: |_| vec![activated().conflicts()],
        ends: "CacheBehind",
        writes: &["- Active, Ready True Started"],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "an environment that cannot be switched on holds up the start",
        given: |w| served(w, starting(), INACTIVE),
        script: |_| vec![activated().unavailable()],
        ends: "Failed: unavailable",
        writes: &["- Active, Ready True Started"],
        tells: &[],
        remembers: &["tried", "an outage"],
    },
    Row {
        name: "an environment that a policy refuses is told, and does not keep others from being switched on",
        given: |w| {
            w.environment(&another());
            served(w, starting(), INACTIVE);
        },
        script: |_| vec![is_denied(activated()), put(ANOTHER).with("/status/state", "Active"), put(STATUS)],
        ends: "Refused the status of Environment \"shop-dev\": environments.phasegate.dev \"shop-dev\" is forbidden: no",
        writes: &[
            "- Active, Ready True Started",
            "- Active, Ready True Started",
            "Starting Running, Ready False AdmissionRefused",
        ],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused the status of Environment \"shop-dev\"", "our write"],
    },
    Row {
        name: "an environment whose webhook is away is told",
        given: |w| served(w, starting(), INACTIVE),
        script: |_| vec![is_away(activated()), put(STATUS)],
        ends: "Failed: Internal error occurred: failed calling webhook \"no.example.com\": connection refused",
        writes: &["- Active, Ready True Started", "Starting Running, Ready False WebhookUnavailable"],
        tells: &["Warning WebhookUnavailable"],
        remembers: &["tried", "unanswered the status of Environment \"shop-dev\"", "our write"],
    },
    Row {
        name: "a write of an environment that hangs ends when the attempt is to be judged",
        given: |w| {
            served(w, starting(), INACTIVE);
            w.is_due_in(Duration::from_secs(3));
        },
        script: |_| vec![activated().hangs(), put(STATUS)],
        ends: "Failed: the API server did not respond within 3s",
        writes: &["- Active, Ready True Started", "Starting Running, Ready False WriteUnanswered"],
        tells: &["Warning WriteUnanswered"],
        remembers: &["tried", "our write"],
    },
    Row {
        name: "of a stop, an environment that is refused keeps no pod",
        given: |w| {
            w.environment(&environment(ACTIVE));
            let children = children_with(&starting(), &[]);
            w.has(recorded(Phase::Stopping, State::Stopped, 10), [children.service]);
        },
        script: |_| vec![is_denied(put(ENVIRONMENT)), delete(SERVICE)],
        ends: "Refused the status of Environment \"shop-dev\": environments.phasegate.dev \"shop-dev\" is forbidden: no",
        writes: &["- Inactive, Ready False GatewayNotStarted"],
        tells: &[],
        remembers: &["tried", "refused the status of Environment \"shop-dev\"", "deleted Service"],
    },
    Row {
        name: "once its environments are active the gateway has started",
        given: |w| served(w, starting(), ACTIVE),
        script: |_| vec![put(STATUS).with("/status/environments", json!({ "active": 1, "total": 1 }))],
        ends: "Now",
        writes: &["Started Running, Ready True Started"],
        tells: &["Normal Started"],
        remembers: &["our write"],
    },
    Row {
        name: "of a stop, environments are switched off before their pods go",
        given: |w| {
            w.environment(&environment(ACTIVE));
            w.has(recorded(Phase::Stopping, State::Stopped, 10), []);
        },
        script: |_| vec![put(ENVIRONMENT).with("/status/state", "Inactive")],
        ends: "After 590s",
        writes: &["- Inactive, Ready False GatewayNotStarted"],
        tells: &[],
        remembers: &[],
    },
];

/// As many environments as are switched in two goes.
fn many(w: &mut World, state: EnvironmentState) {
    for number in 0..150 {
        let named = but(environment(state), |e| {
            e.metadata.name = Some(format!("dev-{number:03}"));
            e.metadata.uid = Some(format!("uid-of-dev-{number}"));
            e.spec.host = None;
            e.status.as_mut().unwrap().hosts.clear();
        });
        w.environment(&named);
    }
}

fn a_hundred(state: &'static str) -> Vec<Exchange> {
    let path = |number: usize| ENVIRONMENT.replace("shop-dev", &format!("dev-{number:03}"));
    (0..100).map(|number| put(&path(number)).with("/status/state", state)).collect()
}

#[tokio::test(start_paused = true)]
async fn of_many_environments_a_hundred_are_switched_and_then_others_have_their_turn() {
    const SWITCHED: [&str; 100] = ["- Active, Ready True Started"; 100];
    const SWITCHED_OFF: [&str; 100] = ["- Inactive, Ready False GatewayNotStarted"; 100];
    let rows = [
        Row {
            name: "of a start",
            given: |w| {
                many(w, INACTIVE);
                let children = children_with(&starting(), &[]);
                w.has(starting(), [complete(children.deployment), children.service, children.ingress]);
            },
            script: |_| a_hundred("Active"),
            ends: "InTurn(HalfWay)",
            writes: &SWITCHED,
            tells: &[],
            remembers: &[],
        },
        Row {
            name: "of a stop",
            given: |w| {
                many(w, ACTIVE);
                w.has(recorded(Phase::Stopping, State::Stopped, 10), []);
            },
            script: |_| a_hundred("Inactive"),
            ends: "InTurn(HalfWay)",
            writes: &SWITCHED_OFF,
            tells: &[],
            remembers: &[],
        },
    ];
    play(&rows).await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_switches_its_environments_as_a_step_of_its_own() {
    play(SWITCHED).await;
}

/// One pass over an environment.
struct Alone {
    name: &'static str,
    given: fn(&mut World),
    script: fn() -> Vec<Exchange>,
    ends: &'static str,
    writes: &'static [&'static str],
    tells: &'static [&'static str],
}

/// An environment that has claimed nothing yet.
fn unclaimed() -> Environment {
    but(environment(INACTIVE), |e| e.status = None)
}

/// Somebody else who found the environment's host free, and is about to write their claim.
fn other() -> ApiGateway {
    but(named("other"), |g| g.spec.host = Some("dev.example.com".to_owned()))
}

fn unreadable() -> Value {
    let mut environment = json_of(&environment(INACTIVE));
    environment["spec"]["gatewayRef"] = json!(7);
    environment
}

const ALONE: &[Alone] = &[
    Alone {
        name: "one whose status a policy refuses says so by an Event",
        given: |w| served(w, started(), INACTIVE),
        script: || vec![is_denied(activated())],
        ends: "Failed: environments.phasegate.dev \"shop-dev\" is forbidden: no",
        writes: &["- Active, Ready True Started"],
        tells: &["Warning AdmissionRefused"],
    },
    Alone {
        name: "one whose webhook is away, too",
        given: |w| served(w, started(), INACTIVE),
        script: || vec![is_away(activated())],
        ends: "Failed: Internal error occurred: failed calling webhook \"no.example.com\": connection refused",
        writes: &["- Active, Ready True Started"],
        tells: &["Warning WebhookUnavailable"],
    },
    Alone {
        name: "the environment of a started gateway that routes it becomes Active",
        given: |w| served(w, started(), INACTIVE),
        script: || vec![activated()],
        ends: "OnChange",
        writes: &["- Active, Ready True Started"],
        tells: &[],
    },
    Alone {
        name: "one that is not routed yet waits for its rule",
        given: |w| {
            w.environment(&environment(ACTIVE));
            let children = children_with(&started(), &[]);
            w.has(started(), [complete(children.deployment), children.service, children.ingress]);
        },
        script: || vec![put(ENVIRONMENT).with("/status/conditions/0/message", "its host is not routed yet")],
        ends: "OnChange",
        writes: &["- Inactive, Ready False GatewayNotStarted"],
        tells: &[],
    },
    Alone {
        name: "a rule in a foreign Ingress routes nothing of ours",
        given: |w| {
            w.environment(&environment(INACTIVE));
            let children = children_with(&started(), &["dev.example.com"]);
            w.has(started(), [foreign_object(children.ingress)]);
        },
        script: || vec![put(ENVIRONMENT).with("/status/conditions/0/message", "its host is not routed yet")],
        ends: "OnChange",
        writes: &["- Inactive, Ready False GatewayNotStarted"],
        tells: &[],
    },
    Alone {
        name: "a host that another is about to claim is not claimed",
        given: |w| {
            w.gateway(&started());
            w.environment(&unclaimed());
            assert!(w.caches.claims().reserve(&other()));
        },
        script: || vec![],
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
    },
    Alone {
        name: "a claim that was overtaken is looked at again",
        given: |w| {
            w.gateway(&started());
            w.environment(&unclaimed());
        },
        script: || vec![put(ENVIRONMENT).with("/status/hosts/0/host", "dev.example.com").conflicts()],
        ends: "CacheBehind",
        writes: &["- Inactive, Ready False GatewayNotStarted"],
        tells: &[],
    },
    Alone {
        name: "one without a gateway claims nothing",
        given: |w| w.environment(&unclaimed()),
        script: || vec![put(ENVIRONMENT).with("/status/hosts", Value::Null)],
        ends: "OnChange",
        writes: &["- Inactive, Ready False GatewayNotFound"],
        tells: &[],
    },
    Alone {
        name: "that of a gateway which is being deleted has no gateway any more",
        given: |w| {
            w.gateway(&but(started(), deletes));
            w.environment(&environment(ACTIVE));
        },
        script: || vec![put(ENVIRONMENT)],
        ends: "OnChange",
        writes: &["- Inactive, Ready False GatewayNotFound"],
        tells: &[],
    },
    Alone {
        name: "that of a gateway which cannot be read is left alone",
        given: |w| {
            let gateway = set(json_of(&started()), "/spec/image", 7);
            w.guarded_gateway(watched(&gateway));
            w.environment(&environment(ACTIVE));
        },
        script: || vec![],
        ends: "OnChange",
        writes: &[],
        tells: &[],
    },
    Alone {
        name: "that of another operator's gateway is another's",
        given: |w| {
            served(w, started(), INACTIVE);
            w.is_anothers();
        },
        script: || vec![],
        ends: "OnChange",
        writes: &[],
        tells: &[],
    },
    Alone {
        name: "that of a namespace of which it is not known yet what it allows waits for that",
        given: |w| {
            served(w, started(), INACTIVE);
            w.namespace_is_unknown();
        },
        script: || vec![],
        ends: "OnChange",
        writes: &[],
        tells: &[],
    },
    Alone {
        name: "one that cannot be read is reported",
        given: |w| {
            let environment: Guarded<Environment> = watched(&unreadable());
            w.guarded_environment(environment);
        },
        script: || vec![patch(ENVIRONMENT, unreadable())],
        ends: "OnChange",
        writes: &["- -, Ready False Undecodable"],
        tells: &["Warning Undecodable"],
    },
    Alone {
        name: "an API server that is away fails the pass",
        given: |w| served(w, started(), INACTIVE),
        script: || vec![activated().unavailable()],
        ends: "Failed: unavailable",
        writes: &["- Active, Ready True Started"],
        tells: &[],
    },
];

#[tokio::test(start_paused = true)]
async fn an_environment_is_switched_and_claims_its_host_in_passes_of_its_own() {
    let mut wrong = Vec::new();
    for row in ALONE {
        let mut world = World::new();
        (row.given)(&mut world);
        match world.environment_pass((row.script)()).await {
            Ok(Passed { ends, writes, tells, .. })
                if ends == row.ends && writes == row.writes && tells == row.tells => {}
            Ok(passed) => wrong.push(format!("{}:\n  {passed:?}", row.name)),
            Err(fault) => wrong.push(format!("{}:\n  {fault}", row.name)),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_an_environment_could_not_claim_is_free_again() {
    for (fails, script) in [(true, put(ENVIRONMENT).conflicts()), (false, put(ENVIRONMENT))] {
        let mut w = World::new();
        w.gateway(&but(started(), finalizer));
        w.environment(&unclaimed());
        w.environment_pass(vec![script]).await.unwrap();
        assert_eq!(w.caches.claims().reserve(&other()), fails);
    }
}

/// Its claim is a write of its own, which a start waits for.
#[tokio::test(start_paused = true)]
async fn a_start_says_what_keeps_an_environment_from_its_claim_and_goes_on_once_that_is_written() {
    let mut w = World::new();
    w.environment(&unclaimed());
    let children = children_with(&starting(), &[]);
    w.has(starting(), [complete(children.deployment), children.service, children.ingress]);
    let gateway = || Key { object: shop(), kind: Kind::Gateway };
    for (fails, reason) in
        [(is_away as fn(Exchange) -> Exchange, "WebhookUnavailable"), (is_denied, "AdmissionRefused")]
    {
        let own = w.environment_pass(vec![fails(put(ENVIRONMENT))]).await.unwrap();
        assert_eq!(own.tells, [format!("Warning {reason}")]);
        assert_eq!(w.queue.take(), Some(gateway()), "its gateway is woken");
        w.queue.done(&gateway(), Requeue::OnChange);
        let told = w.pass(vec![put(STATUS)]).await.unwrap();
        assert_eq!(told.writes, [format!("Starting Running, Ready False {reason}")]);
        // The next try fails alike, and is told to nobody.
        let own = w.environment_pass(vec![fails(put(ENVIRONMENT))]).await.unwrap();
        assert_eq!((own.tells.len(), w.queue.take()), (0, None));
        let told = w.pass(vec![]).await.unwrap();
        assert_eq!(told.tells, [""; 0]);
    }

    w.environment_pass(vec![put(ENVIRONMENT)]).await.unwrap();

    assert_eq!(w.queue.take(), Some(gateway()));
    let goes_on = w.pass(vec![put(STATUS)]).await.unwrap();
    assert_eq!(goes_on.writes, ["Starting Running, Ready False Starting"]);
}

/// A gateway whose hosts an HTTPRoute alone routes has its own host and seventeen of environments, the first of which are older.
#[tokio::test]
async fn the_oldest_environments_have_their_hosts_in_an_http_route_and_the_youngest_are_told_that_it_has_no_room() {
    let mut w = World::new();
    let shop_by = |exposure| but(started(), |g: &mut ApiGateway| g.spec.exposure = Some(exposure));
    let numbered = |number: i64| {
        but(unclaimed(), move |e: &mut Environment| {
            // Names in the other order: age counts.
            e.metadata.name = Some(format!("e{:02}", 50 - number));
            e.metadata.uid = Some(format!("uid-{number}"));
            e.metadata.creation_timestamp = Some(Time(Timestamp::from_second(1_000_000 + number).unwrap()));
            e.spec.host = Some(format!("e{number:02}.example.com"));
        })
    };
    (0..17).for_each(|number| w.environment(&numbered(number)));
    let verdicts = |exposure| -> Vec<bool> {
        let refused = |number| {
            let context = gather::environment_context(&w.caches, &numbered(number), Some(shop_by(exposure)));
            match context.host {
                HostVerdict::Free => false,
                HostVerdict::NoRoom { limit: 16, .. } => true,
                other => panic!("{other:?}"),
            }
        };
        (0..17).map(refused).collect()
    };
    assert_eq!(verdicts(Exposure::HTTPRoute), [vec![false; 15], vec![true; 2]].concat());
    assert_eq!(verdicts(Exposure::Both), [false; 17], "an Ingress has room for all");
    assert_eq!(verdicts(Exposure::Ingress), [false; 17]);
}
