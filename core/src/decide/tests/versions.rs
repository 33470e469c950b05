//! Objects that other versions wrote, and definitions that others applied.

use serde_json::{Value, json};

use super::builders::*;
use crate::api::{ApiGateway, Environment, EnvironmentState, Guarded, Reason, State, condition, for_older_crds};
use crate::decide::hosts::{Claimant, ClaimantKind, Claims, HostRequest};
use crate::decide::observed::{Child, HostVerdict, Moment, Observed};
use crate::decide::requests::Requests;
use crate::decide::{Plan, conditions, decide};

/// Newer definitions have defaults for fields that the spec leaves out: the object reads differently, and nobody wrote it.
fn reads(gateway: ApiGateway, defaults: fn(&mut ApiGateway)) -> ApiGateway {
    let generation = gateway.metadata.generation;
    but(but(gateway, defaults), |g| g.metadata.generation = generation)
}

type Defaulted = (&'static str, fn(&mut ApiGateway));

const DEFAULTS: &[Defaulted] = &[
    ("terminationGracePeriodSeconds", |g| g.spec.termination_grace_period_seconds = Some(45)),
    ("readinessPath", |g| g.spec.readiness_path = Some("/ready".to_owned())),
    ("ingressClassName", |g| g.spec.ingress_class_name = Some("nginx".to_owned())),
    ("startDeadline", |g| g.spec.start_deadline = Some(secs(60).into())),
    ("startRetries", |g| g.spec.start_retries = Some(crate::api::StartRetries { limit: 3, backoff: None })),
    ("replicas", |g| g.spec.replicas = Some(1)),
    ("several at once", |g| {
        g.spec.termination_grace_period_seconds = Some(45);
        g.spec.readiness_path = Some("/ready".to_owned());
        g.spec.replicas = Some(2);
    }),
];

/// The same status as the last release wrote it.
fn of_the_last_release(gateway: ApiGateway) -> ApiGateway {
    but(gateway, |g| {
        let handled = status(g).handled.as_mut().unwrap();
        (handled.generation, handled.replicas) = (None, None);
    })
}

fn decided(gateway: &ApiGateway, observed: &Observed, moment: &Moment) -> Plan {
    decide(gateway, observed, moment, &SETTINGS)
}

/// A gateway as a pass over it leaves it.
fn looked_at(gateway: ApiGateway, observed: &Observed, seconds: u64) -> ApiGateway {
    let mut gateway = gateway;
    pass(&mut gateway, observed, &after(seconds));
    gateway
}

fn settled() -> Vec<(&'static str, ApiGateway, Observed)> {
    vec![
        ("serving", looked_at(started(), &serving(), 60), serving()),
        ("timed out", looked_at(stopped_after_timeout(), &nothing(), 320), nothing()),
        ("being stopped after a timeout", looked_at(stopping_after_timeout(), &serving(), 310), serving()),
        ("stopped as asked", looked_at(stopped_as_asked(), &nothing(), 60), nothing()),
        ("suspended while it serves", looked_at(but(started(), suspends), &serving(), 60), serving()),
        ("suspended after a timeout", looked_at(but(stopped_after_timeout(), suspends), &nothing(), 320), nothing()),
        ("starting", looked_at(starting(), &coming_up(), 10), coming_up()),
    ]
}

#[test]
fn a_default_that_newer_definitions_have_is_no_request() {
    for (field, default) in DEFAULTS {
        for (name, gateway, observed) in settled() {
            let read = reads(gateway, *default);
            assert_eq!(Requests::of(&read), Requests::default(), "{field}, {name}");
            let plan = decided(&read, &observed, &after(if name == "starting" { 50 } else { 330 }));
            assert!(!plan.moves || name.starts_with("being stopped"), "{field}, {name}: {plan:?}");
        }
    }
}

#[test]
fn nor_is_it_where_the_last_release_did_not_record_the_generation() {
    for (field, default) in DEFAULTS {
        for (name, gateway, observed) in settled() {
            // Requests wait without a word while a gateway is suspended.
            if name.starts_with("suspended") {
                continue;
            }
            let read = reads(of_the_last_release(gateway), *default);
            assert!(!Requests::of(&read).start, "{field}, {name}");
            let plan = decided(&read, &observed, &after(if name == "starting" { 50 } else { 330 }));
            assert!(!plan.moves || name.starts_with("being stopped"), "{field}, {name}: {plan:?}");
        }
    }
}

#[test]
fn a_request_that_the_last_release_let_wait_is_not_lost() {
    let waits = looked_at(but(stopping_after_timeout(), changes_the_image), &serving(), 310);
    assert!(Requests::of(&of_the_last_release(waits)).start);
    let waits = looked_at(but(stopped_after_timeout(), changes_the_image), &host_taken(nothing()), 320);
    assert!(Requests::of(&of_the_last_release(waits)).start);
    let suspended = looked_at(but(but(stopped_after_timeout(), suspends), changes_the_image), &nothing(), 320);
    assert!(Requests::of(&of_the_last_release(suspended)).start);
    let came_while_it_was_away = but(of_the_last_release(stopped_after_timeout()), changes_the_image);
    assert!(Requests::of(&came_while_it_was_away).start);
}

#[test]
fn a_request_that_waits_is_not_lost_when_a_default_arrives() {
    let waits = looked_at(but(stopping_after_timeout(), changes_the_image), &serving(), 310);
    assert!(Requests::of(&reads(waits, DEFAULTS[0].1)).start);
}

#[test]
fn scaling_and_suspending_are_no_requests_after_a_default_arrived_and_another_field_is() {
    for (name, gateway, observed) in settled() {
        let read = looked_at(reads(gateway, DEFAULTS[0].1), &observed, 330);
        for (edit, is_request) in [
            ((|g| g.spec.replicas = Some(3)) as fn(&mut ApiGateway), false),
            (|g| g.spec.suspend = !g.spec.suspend, false),
            (changes_the_image, read.spec.state.asks_to_run()),
        ] {
            assert_eq!(Requests::of(&but(read.clone(), edit)).start, is_request, "{name}");
        }
    }
}

#[test]
fn a_default_is_written_down_once_at_most() {
    for (name, gateway, observed) in settled() {
        let read = looked_at(reads(gateway, DEFAULTS[0].1), &observed, 330);
        let read = looked_at(read, &observed, 340);
        if !name.starts_with("being stopped") {
            assert_eq!(decided(&read, &observed, &after(350)).status, None, "{name}");
        }
    }
}

#[test]
fn what_the_last_release_did_not_record_is_no_news() {
    for (name, gateway, observed) in settled() {
        if ["serving", "timed out", "suspended while it serves"].contains(&name) {
            assert_eq!(decided(&of_the_last_release(gateway), &observed, &after(350)).status, None, "{name}");
        }
    }
}

/// The gateway with this in its JSON.
fn with(gateway: &ApiGateway, pointer: &str, value: Value) -> Value {
    let mut object = serde_json::to_value(gateway).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.insert(key.to_owned(), value)),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        other => panic!("{other} at {parent}"),
    }
    object
}

#[test]
fn words_and_fields_of_a_newer_version_are_kept_when_a_status_is_written() {
    let condition = json!({
        "type": "Metered", "status": "True", "reason": "WithinQuota", "message": "newer",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let newer = [
        ("/status/history/0/reason", json!("HeldByPolicy")),
        ("/status/history/0/state", json!("Drained")),
        ("/status/history/0/actor", json!("somebody")),
        ("/status/lastFailure/reason", json!("HeldByPolicy")),
        ("/status/lastFailure/trace", json!({ "id": 7 })),
        ("/status/handled/reviewed", json!(true)),
        ("/status/attempt/budget", json!(3)),
        ("/status/quota", json!({ "used": 1 })),
        ("/status/conditions/4", condition),
    ];
    let gateway = looked_at(stopped_after_timeout(), &nothing(), 320);
    let mut object = serde_json::to_value(&gateway).unwrap();
    for (pointer, value) in &newer {
        if *pointer == "/status/conditions/4" {
            object["status"]["conditions"].as_array_mut().unwrap().push(value.clone());
        } else {
            object = with(&serde_json::from_value(object).unwrap(), pointer, value.clone());
        }
    }
    let read: ApiGateway = serde_json::from_value(object).unwrap();
    let asked = but(read, changes_the_image);
    let written = serde_json::to_value(looked_at(asked, &host_taken(nothing()), 330)).unwrap();
    for (pointer, value) in newer {
        assert_eq!(written.pointer(pointer), Some(&value), "{pointer}: {written:#}");
    }
}

#[test]
fn a_gateway_in_a_state_of_another_version_is_left_alone_and_says_so() {
    let object = with(&started(), "/status/state", json!("Drained"));
    let gateway: ApiGateway = serde_json::from_value(object).unwrap();
    let plan = decided(&gateway, &child(serving(), Child::Service, different()), &after(60));
    assert!(!plan.moves && plan.steps.is_empty(), "{plan:?}");
    let status = plan.status.unwrap();
    assert_eq!((status.state.unwrap().as_str(), status.hosts.len()), ("Drained", 1));
    let stalled = conditions::find(&status.conditions, condition::STALLED).unwrap();
    assert_eq!(stalled.reason, Reason::UnknownPhase.as_str());
    assert!(stalled.message.starts_with("status.state \"Drained\" is unknown"), "{}", stalled.message);
}

#[test]
fn a_spec_with_a_word_of_another_version_is_left_alone_and_keeps_its_host() {
    let unknown = |gateway: &ApiGateway, pointer: &str, value| -> ApiGateway {
        let read = serde_json::from_value(with(gateway, pointer, value)).unwrap();
        but(read, |g: &mut ApiGateway| g.metadata.generation = Some(2))
    };
    let spread = json!([{ "topologyKey": "zone", "whenUnsatisfiable": "Evict" }]);
    for (pointer, value, says) in [
        ("/spec/state", json!("Paused"), "spec.state \"Paused\""),
        ("/spec/topologySpread", spread, "spec.topologySpread[].whenUnsatisfiable \"Evict\""),
    ] {
        for (gateway, observed) in [
            (started(), child(serving(), Child::Deployment, different())),
            (starting(), coming_up()),
            (stopped_after_timeout(), nothing()),
            (fresh(), nothing()),
        ] {
            let read = unknown(&gateway, pointer, value.clone());
            let plan = decided(&read, &observed, &after(400));
            assert!(!plan.moves && plan.steps.is_empty(), "{pointer}: {plan:?}");
            let status = plan.status.unwrap();
            assert_eq!(status.hosts, gateway.status_or_default().hosts);
            let tokens = |handled: Option<crate::api::Handled>| handled.map(|handled| handled.spec_hash);
            assert_eq!(tokens(status.handled), tokens(gateway.status_or_default().handled));
            let stalled = conditions::find(&status.conditions, condition::STALLED).unwrap();
            assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "UnknownWord"));
            assert!(stalled.message.starts_with(says), "{}", stalled.message);
        }
    }
    let deleted = but(unknown(&started(), "/spec/state", json!("Paused")), deletes);
    assert!(decided(&deleted, &serving(), &after(400)).status.is_none(), "it is left to garbage collection");
}

#[test]
fn a_state_that_the_newer_version_took_up_holds_nobody_once_another_is_asked() {
    let object = with(&stopped_after_timeout(), "/status/handled/state", json!("Paused"));
    let gateway: ApiGateway = serde_json::from_value(object).unwrap();
    assert!(Requests::of(&gateway).start);
}

#[test]
fn an_environment_in_a_state_of_another_version_is_read_and_judged_anew() {
    let object = json!({
        "apiVersion": "phasegate.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": "dev", "namespace": "tenants", "uid": "uid-of-dev" },
        "spec": { "gatewayRef": { "name": "shop" } },
        "status": { "state": "Draining", "since": 3 },
    });
    let environment: Environment = serde_json::from_value(object).unwrap();
    let status = crate::decide::environment::switched(&environment, EnvironmentState::Active, at(10));
    assert_eq!(status.state, EnvironmentState::Active);
    assert_eq!(status.others.get("since"), Some(&json!(3)));
}

#[test]
fn a_gateway_that_cannot_be_read_keeps_its_host() {
    let object = with(&started(), "/status/attempt", json!("the third"));
    let read: Guarded<ApiGateway> = serde_json::from_value(object).unwrap();
    let unreadable = read.0.unwrap_err();
    let mut claims = Claims::default();
    claims.learn(HostRequest::of_unreadable(ClaimantKind::Gateway, &unreadable), std::time::Instant::now());
    let other = but(fresh(), |g| g.metadata.name = Some("other".to_owned()));
    let by = Claimant { object: crate::api::ObjectKey::new("tenants", "shop"), kind: ClaimantKind::Gateway };
    assert_eq!(claims.verdict(&other), HostVerdict::Taken { host: HOST.to_owned(), by: by.to_string() });
}

#[test]
fn a_claim_whose_moment_cannot_be_read_is_as_old_as_its_object() {
    let object = with(&started(), "/status/hosts", json!([{ "host": HOST, "since": { "epoch": 3 } }]));
    let read: Guarded<ApiGateway> = serde_json::from_value(object).unwrap();
    let hosts: Vec<String> = read.0.unwrap_err().claims.into_iter().map(|claim| claim.host).collect();
    assert_eq!(hosts, [HOST]);
}

#[test]
fn what_is_no_word_is_not_read_as_one() {
    for text in ["", "two words", "1st", &"a".repeat(65), "Zu\u{1b}[2J"] {
        assert!(serde_json::from_value::<State>(json!(text)).is_err(), "{text:?}");
    }
    assert_eq!(serde_json::from_value::<State>(json!("Drained")).unwrap().as_str(), "Drained");
}

#[test]
fn what_older_definitions_refuse_is_said_in_plainer_words_and_the_transition_is_kept() {
    let status = timed_out().status_or_default();
    let refused = ["status.lastFailure.reason", "status.history[0].reason"];
    let less = for_older_crds(&status, &refused).unwrap();
    let failure = less.last_failure.clone().unwrap();
    assert_eq!((failure.reason, failure.message), (Reason::SlowStart, status.last_failure.clone().unwrap().message));
    assert_eq!(less.history[0].reason, Reason::SlowStart);
    assert_eq!((&less.phase, less.state, &less.handled), (&status.phase, status.state, &status.handled));
    // Where not even that is taken, the record goes and the transition stays.
    let barest = for_older_crds(&less, &refused).unwrap();
    assert_eq!((barest.last_failure, barest.history.len(), barest.phase), (None, 0, status.phase.clone()));
}

#[test]
fn what_is_refused_of_the_transition_itself_has_no_plainer_words() {
    let status = timed_out().status_or_default();
    for refused in
        [&[][..], &["status.phase"], &["status.history[0].reason", "spec.image"], &["status.handled.specHash"]]
    {
        assert_eq!(for_older_crds(&status, refused), None, "{refused:?}");
    }
}
