//! The progress of a gateway towards a goal.
//!
//! **Architecture invariant**: this module is pure. Its verdict depends on the goal, the gateway and the
//! current time.

use k8s_openapi::jiff::Timestamp;
use phasegate::api::{ApiGateway, ObjectKey, condition};
use phasegate::decide::Place;
use phasegate::decide::requests::Requests;

use crate::cause;
use crate::failure::{self, Failure, NOT_FOUND, STOPPED, TIMED_OUT};

/// The state that the command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The gateway serves, and its start is complete.
    Available,
    /// The gateway serves, and the last restart has succeeded.
    Restarted,
    /// No pod of the gateway runs.
    Stopped,
    /// The gateway is deleted.
    Gone,
}

impl Goal {
    /// The goal in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Restarted => "restarted",
            Self::Stopped => "stopped",
            Self::Gone => "gone",
        }
    }
}

/// The progress of a gateway towards a goal.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The goal is reached.
    Reached,
    /// The goal will not be reached without a user's action.
    Failed(Failure),
    /// The goal may still be reached. The text describes the progress.
    Waiting(String),
}

/// Judges the current gateway. `None` means that it does not exist.
pub fn judge(goal: Goal, key: &ObjectKey, gateway: Option<&ApiGateway>, now: Timestamp) -> Verdict {
    let Some(gateway) = gateway else {
        return if goal == Goal::Gone { Verdict::Reached } else { Verdict::Failed(failure::not_found(key)) };
    };
    let waiting = || Verdict::Waiting(progress(gateway, now));
    match goal {
        Goal::Gone => waiting(),
        _ if gateway.is_being_deleted() => Verdict::Failed(Failure::new(
            NOT_FOUND,
            format!("ApiGateway {key} is being deleted"),
            "Create it again once it is gone.",
        )),
        Goal::Stopped => {
            let stopped = place(gateway) == Some(Place::Stopped);
            if stopped && is_current(gateway) { Verdict::Reached } else { waiting() }
        }
        Goal::Available | Goal::Restarted if !gateway.spec.state.asks_to_run() => Verdict::Failed(Failure::new(
            STOPPED,
            format!("ApiGateway {key} is stopped (spec.state is Stopped)"),
            format!("Start it with: {}", cause::command("start", gateway)),
        )),
        Goal::Available | Goal::Restarted if !is_current(gateway) => waiting(),
        Goal::Available | Goal::Restarted => {
            let serves = cause::is(gateway, condition::AVAILABLE) && place(gateway) == Some(Place::Started);
            // After a failed restart the old pods serve as before. An incomplete start has failed, even if some
            // pods serve.
            let given_up = match goal {
                Goal::Available => cause::start_is_incomplete(gateway),
                _ => cause::gave_up(gateway),
            };
            if serves && !given_up {
                Verdict::Reached
            } else if cause::gave_up(gateway) {
                Verdict::Failed(timed_out(gateway, now))
            } else {
                waiting()
            }
        }
    }
}

/// Whether the status reflects the newest spec, restart and retry.
pub fn is_current(gateway: &ApiGateway) -> bool {
    let requests = Requests::of(gateway);
    let observed = gateway.status.as_ref().and_then(|status| status.observed_generation);
    observed == gateway.metadata.generation && !requests.start && !requests.restart
}

/// The gateway's place in the state diagram, if its state matches its phase.
fn place(gateway: &ApiGateway) -> Option<Place> {
    let status = gateway.status.as_ref()?;
    Place::of_status(status).filter(|place| place.state() == status.state)
}

fn timed_out(gateway: &ApiGateway, now: Timestamp) -> Failure {
    let cause = cause::of(gateway, now);
    let words = cause.as_ref().map_or_else(String::new, |cause| format!(": {}", cause.message));
    let what = match () {
        () if cause::restart_failed(gateway) => "did not restart within its deadline",
        () if cause::start_is_incomplete(gateway) => "serves, but its start did not complete within its deadline",
        () => "did not start within its deadline",
    };
    let hint = cause.and_then(|cause| cause.hint);
    Failure::new(
        TIMED_OUT,
        format!("ApiGateway {} {what}{words}", gateway.key()),
        hint.unwrap_or_else(|| format!("See {}", cause::command("status", gateway))),
    )
}

/// The progress of a gateway, in words.
fn progress(gateway: &ApiGateway, now: Timestamp) -> String {
    let seen = gateway.status.as_ref().and_then(|status| status.phase.as_ref());
    let phase = match seen {
        _ if gateway.is_being_deleted() => "being deleted".to_owned(),
        None => "not reconciled yet".to_owned(),
        Some(phase) => phase.to_string(),
    };
    if gateway.spec.suspend {
        return format!("{phase}, suspended ({})", cause::command("resume", gateway));
    }
    if !is_current(gateway) && seen.is_some() {
        return format!("{phase}; the last request is not reconciled yet");
    }
    match cause::of(gateway, now) {
        Some(cause) => format!("{phase}: {}", cause.message),
        None => phase,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples::{self, NOW, shop};

    #[derive(Debug, PartialEq)]
    enum End {
        Reached,
        Failed(u8),
        Waits,
    }

    fn end(goal: Goal, gateway: Option<&ApiGateway>) -> End {
        match judge(goal, &ObjectKey::new("tenants", "shop"), gateway, NOW) {
            Verdict::Reached => End::Reached,
            Verdict::Failed(failure) => End::Failed(failure.code),
            Verdict::Waiting(_) => End::Waits,
        }
    }

    #[test]
    fn a_goal_is_reached_or_given_up_by_what_the_gateway_says_of_the_last_request() {
        use End::{Failed, Reached, Waits};
        use Goal::{Available, Gone, Restarted, Stopped};
        let retried = |mut gateway: ApiGateway| {
            let annotations = gateway.metadata.annotations.get_or_insert_default();
            annotations.insert("phasegate.dev/retry-requested-at".to_owned(), "now".to_owned());
            gateway
        };
        let asked = |mut gateway: ApiGateway, state| {
            gateway.spec.state = state;
            gateway.metadata.generation = Some(2);
            gateway
        };
        let mended = |mut gateway: ApiGateway| {
            gateway.spec.image = "acme/gateway:2".to_owned();
            gateway.metadata.generation = Some(2);
            gateway
        };
        // The operator saw the new generation, and has not begun the attempt yet.
        let seen = |mut gateway: ApiGateway| {
            gateway.status.as_mut().unwrap().observed_generation = Some(2);
            gateway
        };
        let deleted = |mut gateway: ApiGateway| {
            gateway.metadata.deletion_timestamp = gateway.metadata.creation_timestamp.clone();
            gateway
        };
        let run = phasegate::api::DesiredState::Running;
        let stop = phasegate::api::DesiredState::Stopped;
        let bare = shop(json!({}), serde_json::Value::Null);
        // (what it is, the gateway, what becomes of waiting for Available, Restarted, Stopped, Gone)
        for (what, gateway, expected) in [
            ("none", None, [Failed(4), Failed(4), Failed(4), Reached]),
            ("not looked at yet", Some(bare), [Waits, Waits, Waits, Waits]),
            ("starting", Some(samples::starting()), [Waits, Waits, Waits, Waits]),
            ("started", Some(samples::started()), [Reached, Reached, Waits, Waits]),
            ("started, and to stop", Some(asked(samples::started(), stop)), [Failed(3), Failed(3), Waits, Waits]),
            ("started, and its spec changed", Some(mended(samples::started())), [Waits, Waits, Waits, Waits]),
            ("scaled to zero", Some(samples::scaled_to_zero()), [Waits, Waits, Waits, Waits]),
            ("restarting", Some(samples::restarting()), [Waits, Waits, Waits, Waits]),
            ("its restart failed", Some(samples::restart_failed()), [Reached, Failed(2), Waits, Waits]),
            ("its start is not complete", Some(samples::start_incomplete()), [Failed(2), Failed(2), Waits, Waits]),
            ("it is not complete, mended", Some(mended(samples::start_incomplete())), [Waits, Waits, Waits, Waits]),
            (
                "stopping after a timeout",
                Some(samples::stopping_after_a_timeout()),
                [Failed(2), Failed(2), Waits, Waits],
            ),
            ("timed out", Some(samples::timed_out()), [Failed(2), Failed(2), Reached, Waits]),
            ("timed out, retried", Some(retried(samples::timed_out())), [Waits, Waits, Waits, Waits]),
            ("timed out, mended", Some(mended(samples::timed_out())), [Waits, Waits, Waits, Waits]),
            ("timed out, mended, seen", Some(seen(mended(samples::timed_out()))), [Waits, Waits, Waits, Waits]),
            ("timed out, tried again by itself", Some(samples::retry_scheduled()), [Waits, Waits, Reached, Waits]),
            ("stopped", Some(samples::stopped()), [Failed(3), Failed(3), Reached, Waits]),
            ("stopped, and to start", Some(asked(samples::stopped(), run)), [Waits, Waits, Waits, Waits]),
            ("being deleted", Some(deleted(samples::started())), [Failed(4), Failed(4), Failed(4), Waits]),
        ] {
            let found = [Available, Restarted, Stopped, Gone].map(|goal| end(goal, gateway.as_ref()));
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn a_timeout_is_told_with_its_cause_and_what_to_do() {
        let key = ObjectKey::new("tenants", "shop");
        let Verdict::Failed(failure) = judge(Goal::Available, &key, Some(&samples::timed_out()), NOW) else {
            panic!("it has not failed");
        };
        assert_eq!(
            failure.sentence,
            "ApiGateway tenants/shop did not start within its deadline: pod shop-1: image \"acme/gateway:1\" cannot be pulled"
        );
        assert_eq!(
            failure.advice,
            "Check spec.image. Then change the spec, or run: kubectl phasegate retry shop -n tenants"
        );
    }

    #[test]
    fn a_start_that_is_not_complete_is_told_as_one_that_serves_and_goes_on() {
        let key = ObjectKey::new("tenants", "shop");
        let Verdict::Failed(failure) = judge(Goal::Available, &key, Some(&samples::start_incomplete()), NOW) else {
            panic!("it has not failed");
        };
        assert_eq!(
            failure.sentence,
            "ApiGateway tenants/shop serves, but its start did not complete within its deadline: pod shop-1: image \
             \"acme/gateway:1\" cannot be pulled"
        );
        assert_eq!(failure.advice, "Check spec.image. It completes automatically once this is fixed.");
    }

    #[test]
    fn what_is_waited_for_names_what_keeps_it() {
        let mut suspended = samples::starting();
        suspended.spec.suspend = true;
        let words = |gateway: &ApiGateway| progress(gateway, NOW);
        assert_eq!(words(&samples::starting()), "Starting");
        assert_eq!(words(&samples::scaled_to_zero()), "Started: spec.replicas is 0");
        assert_eq!(words(&suspended), "Starting, suspended (kubectl phasegate resume shop -n tenants)");
        assert_eq!(
            words(&samples::failing()),
            "Starting: pod shop-1: image \"acme/gateway:1\" cannot be pulled. Check spec.image."
        );
    }
}
