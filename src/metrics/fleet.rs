//! Metrics about gateways, computed at each scrape. Only the leader knows them.
//!
//! **Architecture invariant:** nothing is counted between scrapes. The values follow from the cached gateways.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::gauge;
use super::labels::ReasonLabels;
use crate::api::{ApiGateway, ApiGatewayStatus, Phase, Reason, State};
use crate::decide::{Place, conditions, held};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PlaceLabels {
    state: &'static str,
    phase: &'static str,
}

/// Registers the fleet's metrics; `None` is an unreadable gateway.
pub fn register<'a>(registry: &mut Registry, gateways: impl Iterator<Item = Option<&'a ApiGateway>>, now: Timestamp) {
    let places = Family::<PlaceLabels, Gauge>::default();
    // All nodes of the state machine are exported, also with no gateway in them.
    for place in Place::ALL {
        drop(places.get_or_create(&labels(place.phase().as_ref(), place.state())));
    }
    let failing = Family::<ReasonLabels, Gauge>::default();
    for reason in Reason::ALL.iter().filter(|reason| conditions::is_cause(**reason)) {
        drop(failing.get_or_create(&(*reason).into()));
    }
    let (mut given_up, mut contested, mut oldest_start) = (0, 0, SignedDuration::ZERO);
    for gateway in gateways {
        places.get_or_create(&place(gateway)).inc();
        given_up += usize::from(gateway.is_some_and(held::is_given_up));
        let status = gateway.and_then(|gateway| gateway.status.as_ref());
        if let Some(reason) = status.and_then(conditions::failing) {
            failing.get_or_create(&reason.into()).inc();
        }
        contested += status.map_or(0, |status| status.contested.len());
        let age = status.and_then(|status| start_age(status, now));
        oldest_start = oldest_start.max(age.unwrap_or_default());
    }
    registry.register("gateways", "Number of ApiGateways by state and phase", places);
    registry.register("gateways_failing", "ApiGateways that do not match their spec, by known cause", failing);
    registry.register(
        "gateways_given_up",
        "ApiGateways stopped at their deadline although their spec says run",
        gauge(given_up),
    );
    registry.register(
        "gateways_contested_children",
        "Children of ApiGateways that another client changes each time the operator reverts them",
        gauge(contested),
    );
    registry.register(
        "oldest_start_seconds",
        "Age of the oldest attempt in progress, without time for which its deadline was paused",
        ConstGauge::new(oldest_start.as_secs_f64()),
    );
}

fn place(gateway: Option<&ApiGateway>) -> PlaceLabels {
    let Some(gateway) = gateway else { return PlaceLabels { state: "Unknown", phase: "Undecodable" } };
    let status = gateway.status.as_ref();
    labels(status.and_then(|status| status.phase.as_ref()), status.and_then(|status| status.state))
}

fn labels(phase: Option<&Phase>, state: Option<State>) -> PlaceLabels {
    PlaceLabels {
        state: match state {
            None => "None",
            // Values of other versions share one label, since the set is closed.
            Some(State::Unknown(_)) => "Unknown",
            Some(known) => known.as_str(),
        },
        phase: match phase {
            None => "None",
            // Values of other versions share one label, since the set is closed.
            Some(Phase::Unknown(_)) => "Unknown",
            Some(Phase::Created) => "Created",
            Some(Phase::Starting) => "Starting",
            Some(Phase::Started) => "Started",
            Some(Phase::Stopping) => "Stopping",
            Some(Phase::Stopped) => "Stopped",
            Some(Phase::Deleting) => "Deleting",
        },
    }
}

fn start_age(status: &ApiGatewayStatus, now: Timestamp) -> Option<SignedDuration> {
    let attempt = status.attempt.as_ref().filter(|_| Place::of_status(status).is_some_and(Place::is_attempt))?;
    let until = attempt.held_since.as_ref().map_or(now, |since| since.0);
    Some(until.duration_since(attempt.started_at.0) - SignedDuration::from_secs(attempt.held_seconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prometheus_client::encoding::prometheus_text;
    use serde_json::{Value, json};

    use super::*;

    fn gateway(asked: &str, status: Value) -> ApiGateway {
        let object = json!({
            "apiVersion": "phasegate.dev/v1alpha1",
            "kind": "ApiGateway",
            "metadata": { "name": "tenant" },
            "spec": { "image": "tenant", "state": asked },
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    /// The samples that are not 0.
    fn scraped(gateways: &[Option<ApiGateway>]) -> Vec<String> {
        let mut registry = Registry::default();
        register(&mut registry, gateways.iter().map(Option::as_ref), "2026-01-01T00:10:00Z".parse().unwrap());
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).unwrap();
        let lines =
            text.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0") && !line.ends_with(" 0.0"));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn starting(held: Value) -> ApiGateway {
        let mut attempt = json!({ "number": 1, "startedAt": "2026-01-01T00:00:00.000000Z" });
        attempt.as_object_mut().unwrap().extend(held.as_object().unwrap().clone());
        gateway("Running", json!({ "transitions": 1, "state": "Running", "phase": "Starting", "attempt": attempt }))
    }

    #[test]
    fn a_fleet_is_counted_by_state_and_phase_and_names_no_tenant() {
        let started = || Some(gateway("Running", json!({ "transitions": 2, "state": "Running", "phase": "Started" })));
        let foreign = gateway("Running", json!({ "transitions": 9, "state": "Running", "phase": "tenant" }));
        assert_eq!(
            scraped(&[started(), started(), Some(foreign), None, Some(gateway("Running", Value::Null))]),
            [
                r#"gateways{state="None",phase="None"} 1"#,
                r#"gateways{state="Running",phase="Started"} 2"#,
                r#"gateways{state="Running",phase="Unknown"} 1"#,
                r#"gateways{state="Unknown",phase="Undecodable"} 1"#,
            ]
        );
    }

    #[test]
    fn a_gateway_is_given_up_while_it_is_asked_to_run_and_held_stopped_by_a_failure() {
        let failure = json!({
            "reason": "SlowStart", "message": "", "hint": "", "at": "2026-01-01T00:00:00.000000Z", "attempt": 1,
        });
        let stopped = |asked: &str, failure: &Value| {
            let status = json!({ "transitions": 4, "state": "Stopped", "phase": "Stopped", "lastFailure": failure });
            Some(gateway(asked, status))
        };
        assert_eq!(
            scraped(&[
                stopped("Running", &failure),
                stopped("Restarting", &failure),
                stopped("Stopped", &failure),
                stopped("Running", &Value::Null),
            ]),
            ["gateways_given_up 2", r#"gateways{state="Stopped",phase="Stopped"} 4"#]
        );
    }

    #[test]
    fn contested_children_are_counted_each() {
        let field = |child: &str| json!({ "child": child, "path": "/spec" });
        let status = |contested: &Value| json!({ "transitions": 1, "contested": contested });
        let two = gateway("Running", status(&json!([field("Service"), field("Ingress")])));
        let one = gateway("Running", status(&json!([field("Service")])));
        let lines = scraped(&[Some(two), Some(one), Some(gateway("Running", status(&json!([]))))]);
        assert!(lines.contains(&"gateways_contested_children 3".to_owned()), "{lines:?}");
    }

    #[test]
    fn the_age_of_the_oldest_start_is_without_the_time_for_which_its_clock_was_held() {
        let age = |gateways: &[Option<ApiGateway>]| scraped(gateways).pop().unwrap();
        assert_eq!(age(&[Some(starting(json!({})))]), "oldest_start_seconds 600.0");
        assert_eq!(age(&[Some(starting(json!({ "heldSeconds": 60 })))]), "oldest_start_seconds 540.0");
        let held = json!({ "heldSeconds": 60, "heldSince": "2026-01-01T00:02:00.000000Z" });
        assert_eq!(age(&[Some(starting(held.clone()))]), "oldest_start_seconds 60.0");
        assert_eq!(age(&[Some(starting(held)), Some(starting(json!({})))]), "oldest_start_seconds 600.0");
    }
}
