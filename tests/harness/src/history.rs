//! Checks that a gateway's history contains only requested transitions. A test that waits for a state would not
//! notice that the state was left and reached again in between; the history records it.

use phasegate_core::api::{ApiGateway, Reason, Transition};
use phasegate_core::decide::Place;
use phasegate_core::decide::phase::EDGES;

/// What is wrong with the history: a transition that the state machine lacks, or more starts, stops and
/// restarts than were requested. A request by a write of the spec raises the generation. A request by annotation
/// does not, so that the number is not checked for a gateway with such an annotation.
pub fn unasked(gateway: &ApiGateway) -> Option<String> {
    let history = gateway.status.as_ref().map_or(&[][..], |status| &status.history);
    let illegal = history.windows(2).find(|pair| !is_edge(&pair[0], &pair[1]));
    if let Some([before, after]) = illegal {
        let words = |step: &Transition| format!("{} {}", step.to, step.state.as_str());
        return Some(format!("{} became {}", words(before), words(after)));
    }
    let annotations = gateway.metadata.annotations.iter().flatten();
    let by_annotation = annotations.filter(|(name, _)| name.ends_with("-requested-at")).count();
    let asked = usize::try_from(gateway.metadata.generation.unwrap_or_default()).unwrap_or_default();
    let requests = history.iter().filter(|step| is_request(step.reason)).count();
    (by_annotation == 0 && requests > asked).then(|| format!("{requests} requests were followed, and {asked} made"))
}

/// The oldest transitions may be dropped, and a test may have written a phase itself, so that such steps do not
/// connect.
fn is_edge(before: &Transition, after: &Transition) -> bool {
    let place = |step: &Transition| Place::of(Some(&step.to), Some(step.state));
    let joins = after.from.as_ref() == Some(&before.to);
    !joins || place(before).zip(place(after)).is_none_or(|edge| EDGES.contains(&edge))
}

fn is_request(reason: Reason) -> bool {
    matches!(reason, Reason::StartRequested | Reason::StopRequested | Reason::RestartRequested)
}

#[test]
fn a_state_that_was_left_and_reached_again_unasked_is_found() {
    use serde_json::json;

    const START: (&str, &str, &str) = ("Starting", "Running", "StartRequested");
    const STARTED: (&str, &str, &str) = ("Started", "Running", "Started");
    const RESTART: (&str, &str, &str) = ("Starting", "Restarting", "RestartRequested");
    const STOP: (&str, &str, &str) = ("Stopping", "Stopped", "StopRequested");
    const STOPPED: (&str, &str, &str) = ("Stopped", "Stopped", "Stopped");
    let gateway = |generation: i64, annotation: &str, steps: &[(&str, &str, &str)]| -> ApiGateway {
        let phases = std::iter::once(None).chain(steps.iter().map(|(to, ..)| Some(*to)));
        let history = steps.iter().zip(phases).map(|((to, state, reason), from)| {
            let at = "2026-01-01T00:00:00.000000Z";
            json!({ "at": at, "from": from, "to": to, "state": state, "reason": reason, "message": "", "seconds": 0 })
        });
        serde_json::from_value(json!({
            "apiVersion": "phasegate.dev/v1alpha1",
            "kind": "ApiGateway",
            "metadata": { "name": "shop", "generation": generation, "annotations": { annotation: "once" } },
            "spec": { "image": "acme/gateway:1" },
            "status": { "history": history.collect::<Vec<_>>() },
        }))
        .unwrap()
    };

    let stopped_and_started = [START, STARTED, STOP, STOPPED, START, STARTED];
    let restarted = [START, STARTED, RESTART, STARTED];
    for (generation, annotation, steps, found) in [
        (1, "other", &[START, STARTED][..], None),
        (3, "other", &stopped_and_started, None),
        (1, "phasegate.dev/restart-requested-at", &restarted, None),
        (1, "other", &stopped_and_started, Some("3 requests were followed, and 1 made")),
        (1, "other", &restarted, Some("2 requests were followed, and 1 made")),
        (2, "other", &[START, STARTED, START, STARTED], Some("Started Running became Starting Running")),
        (1, "other", &[START, STARTED, STARTED], Some("Started Running became Started Running")),
    ] {
        assert_eq!(unasked(&gateway(generation, annotation, steps)).as_deref(), found, "{steps:?}");
    }
}
