//! Sample gateways for the tests, in each state that matters, at one moment.

use k8s_openapi::jiff::Timestamp;
use phasegate::api::ApiGateway;
use phasegate::decide::requests;
use serde_json::{Value, json};

/// 2026-01-01T10:01:00Z, one minute after the gateways began to start.
pub const NOW: Timestamp = Timestamp::constant(1_767_261_660, 0);

const BEGAN: &str = "2026-01-01T10:00:00.000000Z";
const CAUSE: &str = "pod shop-1: image \"acme/gateway:1\" cannot be pulled";

/// A gateway. Its status, if any, belongs to its current spec.
pub fn shop(spec: Value, status: Value) -> ApiGateway {
    let mut all = json!({ "image": "acme/gateway:1", "startDeadline": "3m" });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object = json!({
        "apiVersion": "phasegate.dev/v1alpha1",
        "kind": "ApiGateway",
        "metadata": {
            "name": "shop",
            "namespace": "tenants",
            "uid": "u1",
            "generation": 1,
            "creationTimestamp": "2026-01-01T10:00:00Z",
        },
        "spec": all,
        "status": status,
    });
    let mut gateway: ApiGateway = serde_json::from_value(object).unwrap();
    let handled = requests::tokens(&gateway);
    if let Some(status) = &mut gateway.status {
        status.observed_generation = Some(1);
        status.handled = Some(handled);
    }
    gateway
}

/// The conditions Ready, Available and Stalled, each with its status and reason, and the message of the first.
fn conditions(ready: (&str, &str), available: &str, stalled: (&str, &str), message: &str) -> Value {
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        let since = "2026-01-01T10:00:00Z";
        json!({ "type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": since })
    };
    json!([
        condition("Ready", ready.0, ready.1, message),
        condition("Available", available, ready.1, ""),
        condition("Stalled", stalled.0, stalled.1, ""),
    ])
}

fn step(second: u32, to: &str, state: &str, reason: &str, seconds: i64) -> Value {
    let at = format!("2026-01-01T10:00:{second:02}.000000Z");
    json!({ "at": at, "to": to, "state": state, "reason": reason, "message": "", "seconds": seconds })
}

fn attempt() -> Value {
    json!({ "number": 1, "startedAt": BEGAN })
}

fn failure(reason: &str) -> Value {
    let hint = "Check spec.image.";
    json!({ "reason": reason, "message": CAUSE, "hint": hint, "at": "2026-01-01T10:00:40.000000Z", "attempt": 1 })
}

/// A start in progress without a known failure.
pub fn starting() -> ApiGateway {
    shop(json!({}), under_way(("False", "Starting"), "attempt 1 is in progress; its deadline is 3m"))
}

/// A start in progress whose image cannot be pulled.
pub fn failing() -> ApiGateway {
    shop(json!({}), under_way(("False", "ImagePullFailed"), &format!("{CAUSE}. Check spec.image.")))
}

fn under_way(ready: (&str, &str), message: &str) -> Value {
    json!({
        "phase": "Starting",
        "state": "Running",
        "transitions": 1,
        "attempt": attempt(),
        "conditions": conditions(ready, "False", ("False", ready.1), message),
        "history": [step(0, "Starting", "Running", "StartRequested", 0)],
    })
}

/// A gateway that serves.
pub fn started() -> ApiGateway {
    shop(
        json!({}),
        json!({
            "phase": "Started",
            "state": "Running",
            "transitions": 2,
            "attempt": attempt(),
            "conditions": conditions(("True", "Started"), "True", ("False", "Started"), "the gateway matches its spec"),
            "history": [
                step(0, "Starting", "Running", "StartRequested", 0),
                step(12, "Started", "Running", "Started", 12),
            ],
        }),
    )
}

/// A gateway in its desired state, with no pod.
pub fn scaled_to_zero() -> ApiGateway {
    let mut gateway = started();
    let conditions = &mut gateway.status.as_mut().unwrap().conditions;
    let available = conditions.iter_mut().find(|condition| condition.type_ == "Available").unwrap();
    available.status = "False".to_owned();
    available.reason = "ScaledToZero".to_owned();
    available.message = "spec.replicas is 0".to_owned();
    gateway
}

/// A gateway that serves while its pods are replaced.
pub fn restarting() -> ApiGateway {
    shop(
        json!({}),
        json!({
            "phase": "Starting",
            "state": "Restarting",
            "attempt": attempt(),
            "conditions": conditions(("False", "Restarting"), "True", ("False", "Restarting"), ""),
        }),
    )
}

/// A gateway that serves with its old pods.
pub fn restart_failed() -> ApiGateway {
    serves_on("RestartDeadlineExceeded")
}

/// A gateway that serves with some of its pods.
pub fn start_incomplete() -> ApiGateway {
    serves_on("StartDeadlineExceeded")
}

/// A gateway whose attempt was given up and whose serving pods were kept.
fn serves_on(reason: &str) -> ApiGateway {
    shop(
        json!({}),
        json!({
            "phase": "Started",
            "state": "Running",
            "attempt": attempt(),
            "lastFailure": failure("ImagePullFailed"),
            "conditions": conditions(("False", reason), "True", ("True", reason), CAUSE),
        }),
    )
}

fn given_up(phase: &str, stalled: &str) -> ApiGateway {
    let reason = "StartDeadlineExceeded";
    shop(
        json!({}),
        json!({
            "phase": phase,
            "state": "Stopped",
            "transitions": 4,
            "attempt": attempt(),
            "lastFailure": failure("ImagePullFailed"),
            "conditions": conditions(("False", reason), "False", (stalled, reason), CAUSE),
            "history": [
                step(0, "Starting", "Running", "StartRequested", 0),
                step(40, "Started", "Stopped", reason, 40),
                step(40, "Stopping", "Stopped", reason, 0),
                step(42, "Stopped", "Stopped", "Stopped", 2),
            ],
        }),
    )
}

/// A gateway whose deadline has passed and whose children are removed.
pub fn timed_out() -> ApiGateway {
    given_up("Stopped", "True")
}

/// A gateway whose deadline has passed and whose children are being removed.
pub fn stopping_after_a_timeout() -> ApiGateway {
    given_up("Stopping", "True")
}

/// A gateway whose deadline has passed and which the operator will retry.
pub fn retry_scheduled() -> ApiGateway {
    given_up("Stopped", "False")
}

/// A gateway that was stopped as requested.
pub fn stopped() -> ApiGateway {
    shop(
        json!({ "state": "Stopped" }),
        json!({
            "phase": "Stopped",
            "state": "Stopped",
            "conditions": conditions(("True", "Stopped"), "False", ("False", "Stopped"), "stopped as requested"),
        }),
    )
}
