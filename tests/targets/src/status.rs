//! A gateway with whatever status: read, decided about, and told.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use phasegate::api::{ApiGateway, Environment, Guarded};
use phasegate::decide::environment::{self, EnvironmentContext, GatewayFacts, Routed};
use phasegate::decide::hosts::{ClaimantKind, Claims, HostRequest};
use phasegate::decide::observed::{
    HostVerdict, Moment, Observed, PodTrouble, Presence, Rollout, Settings, Tried, Trouble,
};
use phasegate::decide::phase::EDGES;
use phasegate::decide::{Place, decide};
use serde_json::json;

/// The input is an object, in JSON.
pub fn target(input: &[u8]) {
    if let Ok(Guarded(read, _)) = serde_json::from_slice::<Guarded<ApiGateway>>(input) {
        match read {
            Ok(gateway) => of_gateway(&gateway),
            Err(unreadable) => drop(
                Claims::default().learn(HostRequest::of_unreadable(ClaimantKind::Gateway, &unreadable), Instant::now()),
            ),
        }
    }
    if let Ok(Guarded(Ok(environment), _)) = serde_json::from_slice::<Guarded<Environment>>(input) {
        of_environment(&environment);
    }
}

/// A decision about a gateway one of whose pods is in trouble.
pub(crate) fn decide_about_a_pod(trouble: Trouble) {
    let gateway = serde_json::from_value(json!({
        "apiVersion": "phasegate.dev/v1alpha1", "kind": "ApiGateway", "metadata": { "name": "shop" },
        "spec": { "image": "acme/gateway:1" },
        "status": { "phase": "Starting", "state": "Running", "transitions": 1 },
    }));
    let pod = PodTrouble { pod: "shop-1".to_owned(), template: None, container: None, node: None, trouble };
    let mut observed = coming_up();
    observed.pods.troubles.push(pod);
    along_the_edges(&gateway.unwrap(), &observed, &at(Duration::from_secs(100)));
}

fn of_gateway(gateway: &ApiGateway) {
    // Moments are cut to microseconds when they are written.
    let written = written_again(gateway);
    assert_eq!(without_limits(written_again(&written)), without_limits(written));
    let mut claims = Claims::default();
    claims.learn(gateway, Instant::now());
    claims.verdict(gateway);
    for since in [0, 100, 10_000_000].map(Duration::from_secs) {
        for observed in [nothing(), coming_up(), serving()] {
            along_the_edges(gateway, &observed, &at(since));
        }
    }
}

fn written_again(gateway: &ApiGateway) -> ApiGateway {
    let written = serde_json::to_value(gateway).expect("what was read can be written");
    serde_json::from_value(written).expect("what was written can be read")
}

/// A duration is printed in decimals, and one of more than a hundred days is read as roughly as that.
fn without_limits(mut gateway: ApiGateway) -> ApiGateway {
    gateway.spec.start_deadline = None;
    gateway.spec.start_retries.iter_mut().for_each(|retries| retries.backoff = None);
    gateway
}

fn along_the_edges(gateway: &ApiGateway, observed: &Observed, moment: &Moment) {
    let plan = decide(gateway, observed, moment, &Settings::default());
    assert_eq!(plan, decide(gateway, observed, moment, &Settings::default()));
    let before = Place::of_gateway(gateway);
    let after = plan.status.as_ref().map_or(before, Place::of_status);
    match (plan.moves, before, after) {
        (true, Some(before), Some(after)) => assert!(EDGES.contains(&(before, after)), "{before:?} to {after:?}"),
        (moves, ..) => assert!(!moves && before == after, "{before:?} to {after:?}"),
    }
    serde_json::to_vec(&plan.status).expect("a status can be written");
}

fn of_environment(environment: &Environment) {
    let started = GatewayFacts { place: Some(Place::Started), suspended: false };
    for gateway in [None, Some(started)] {
        let context = EnvironmentContext {
            gateway,
            counts: true,
            host: HostVerdict::Free,
            lost: false,
            routed: Routed::Yes,
            exposed: true,
        };
        let Some(status) = environment::decide(environment, &context, moment()) else { continue };
        let recorded = Environment { status: Some(status), ..environment.clone() };
        assert_eq!(environment::decide(&recorded, &context, moment()), None, "what was recorded is new again");
    }
}

fn moment() -> Timestamp {
    Timestamp::from_second(1_750_000_000).unwrap()
}

fn at(since: Duration) -> Moment {
    Moment {
        now: moment(),
        attempt: since,
        held: since,
        phase: since,
        failure: since,
        deletion: since,
        unrecorded: Duration::ZERO,
    }
}

fn nothing() -> Observed {
    Observed { ingress: Presence::Missing, tried: Tried::Late, ..Observed::nothing() }
}

fn coming_up() -> Observed {
    let rollout = Rollout { desired: 1, replicas: 1, ..Rollout::default() };
    Observed { deployment: Presence::Equal, service: Presence::Equal, ingress: Presence::Equal, rollout, ..nothing() }
}

fn serving() -> Observed {
    let rollout = Rollout { complete: true, desired: 1, replicas: 1, ready: 1, available: 1, ..Rollout::default() };
    Observed { rollout, ..coming_up() }
}
