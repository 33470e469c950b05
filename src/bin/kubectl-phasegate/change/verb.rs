//! The effect of a verb on a gateway.
//!
//! **Architecture invariant**: an effect is plain data. This module sends nothing.

use phasegate::api::{ApiGateway, REGISTRY_LABEL, RESTART_ANNOTATION, RETRY_ANNOTATION};
use phasegate::decide::held::is_held_stopped;
use serde_json::{Value, json};

use crate::cause;
use crate::wait::Goal;

/// A verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Serve.
    Start,
    /// Do not serve.
    Stop,
    /// Replace the pods.
    Restart,
    /// Try once more after a timeout.
    Retry,
    /// Pause all writes of the operator.
    Suspend,
    /// End a suspension.
    Resume,
}

/// The effect of a verb on one gateway.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A merge patch, and the message after the API server accepts it.
    Patch(Value, &'static str),
    /// No change, because the gateway is already in the requested state. The text says so.
    Nothing(&'static str),
    /// The verb does not apply: why, and which one does.
    Refused(String, String),
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 6] = [Self::Start, Self::Stop, Self::Restart, Self::Retry, Self::Suspend, Self::Resume];

    /// The verb as the user writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Retry => "retry",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        }
    }

    /// The goal to wait for.
    pub fn goal(self) -> Goal {
        match self {
            Self::Stop => Goal::Stopped,
            Self::Restart => Goal::Restarted,
            Self::Start | Self::Retry | Self::Suspend | Self::Resume => Goal::Available,
        }
    }

    /// The effect of the verb on a gateway. `token` is an annotation value that was never used before.
    pub fn effect(self, gateway: &ApiGateway, token: &str) -> Effect {
        let key = gateway.key();
        if gateway.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(REGISTRY_LABEL)) {
            return Effect::Refused(
                format!("ApiGateway {key} is managed by the platform's documents; the operator reverts edits"),
                "Change its document instead.".to_owned(),
            );
        }
        let retries = || json!({ RETRY_ANNOTATION: token });
        let runs = gateway.spec.state.asks_to_run();
        let held = gateway.status.as_ref().is_some_and(is_held_stopped);
        match self {
            Self::Start if runs && held => {
                Effect::Patch(json!({ "metadata": { "annotations": retries() } }), "retry requested")
            }
            Self::Start if runs => Effect::Nothing("spec.state is already Running"),
            // The retry is requested as well, because the operator may not have observed the stop.
            Self::Start if held => Effect::Patch(
                json!({ "metadata": { "annotations": retries() }, "spec": { "state": "Running" } }),
                "start requested",
            ),
            Self::Start => Effect::Patch(json!({ "spec": { "state": "Running" } }), "start requested"),
            Self::Stop if !runs => Effect::Nothing("spec.state is already Stopped"),
            Self::Stop => Effect::Patch(json!({ "spec": { "state": "Stopped" } }), "stop requested"),
            Self::Restart | Self::Retry if !runs => Effect::Refused(
                format!("ApiGateway {key} is stopped (spec.state is Stopped)"),
                format!("Start it with: {}", cause::command("start", gateway)),
            ),
            Self::Restart => Effect::Patch(
                json!({ "metadata": { "annotations": { RESTART_ANNOTATION: token } } }),
                "restart requested",
            ),
            Self::Retry if held => {
                Effect::Patch(json!({ "metadata": { "annotations": retries() } }), "retry requested")
            }
            Self::Retry if cause::start_is_incomplete(gateway) => {
                Effect::Nothing("it serves, and completes automatically")
            }
            Self::Retry if cause::gave_up(gateway) => Effect::Refused(
                format!("ApiGateway {key} serves with its old pods; its restart failed"),
                format!("Restart it with: {}", cause::command("restart", gateway)),
            ),
            Self::Retry => Effect::Nothing("it has not timed out"),
            Self::Suspend if gateway.spec.suspend => Effect::Nothing("it is already suspended"),
            Self::Suspend => Effect::Patch(json!({ "spec": { "suspend": true } }), "suspended"),
            Self::Resume if !gateway.spec.suspend => Effect::Nothing("it is not suspended"),
            Self::Resume => Effect::Patch(json!({ "spec": { "suspend": false } }), "resumed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use phasegate::api::DesiredState;

    use super::*;
    use crate::samples;

    #[derive(Debug, PartialEq)]
    enum Does {
        /// Sets `spec.state`.
        Asks(&'static str),
        /// Sets the retry annotation.
        Retries,
        /// Sets `spec.state` to Running, and the retry annotation.
        AsksAndRetries,
        Restarts,
        Suspends(bool),
        Nothing,
        Refuses,
    }

    fn does(verb: Verb, gateway: &ApiGateway) -> Does {
        let retries = json!({ "annotations": { "phasegate.dev/retry-requested-at": "token" } });
        let restarts = json!({ "metadata": { "annotations": { "phasegate.dev/restart-requested-at": "token" } } });
        let state = |state: &str| json!({ "spec": { "state": state } });
        match verb.effect(gateway, "token") {
            Effect::Nothing(_) => Does::Nothing,
            Effect::Refused(..) => Does::Refuses,
            Effect::Patch(patch, _) if patch == state("Running") => Does::Asks("Running"),
            Effect::Patch(patch, _) if patch == state("Stopped") => Does::Asks("Stopped"),
            Effect::Patch(patch, _) if patch == json!({ "metadata": retries }) => Does::Retries,
            Effect::Patch(patch, _) if patch == json!({ "metadata": retries, "spec": { "state": "Running" } }) => {
                Does::AsksAndRetries
            }
            Effect::Patch(patch, _) if patch == restarts => Does::Restarts,
            Effect::Patch(patch, _) if patch == json!({ "spec": { "suspend": true } }) => Does::Suspends(true),
            Effect::Patch(patch, _) if patch == json!({ "spec": { "suspend": false } }) => Does::Suspends(false),
            Effect::Patch(patch, _) => panic!("{patch}"),
        }
    }

    #[test]
    fn a_verb_means_what_its_user_means_whatever_the_gateway_does() {
        use Does::{Asks, AsksAndRetries, Nothing, Refuses, Restarts, Retries, Suspends};
        let with = |mut gateway: ApiGateway, change: fn(&mut ApiGateway)| {
            change(&mut gateway);
            gateway
        };
        let suspended = with(samples::started(), |gateway| gateway.spec.suspend = true);
        let restarting = with(samples::started(), |gateway| gateway.spec.state = DesiredState::Restarting);
        // Stopped by its user a moment ago; the operator has not seen that.
        let just_stopped = with(samples::timed_out(), |gateway| gateway.spec.state = DesiredState::Stopped);
        let documents = with(samples::timed_out(), |gateway| {
            gateway.metadata.labels.get_or_insert_default().insert(REGISTRY_LABEL.to_owned(), "mongodb".to_owned());
        });
        // (gateway, start, stop, restart, retry, suspend, resume)
        for (what, gateway, expected) in [
            ("started", samples::started(), [Nothing, Asks("Stopped"), Restarts, Nothing, Suspends(true), Nothing]),
            ("starting", samples::starting(), [Nothing, Asks("Stopped"), Restarts, Nothing, Suspends(true), Nothing]),
            ("asked to restart", restarting, [Nothing, Asks("Stopped"), Restarts, Nothing, Suspends(true), Nothing]),
            ("stopped", samples::stopped(), [Asks("Running"), Nothing, Refuses, Refuses, Suspends(true), Nothing]),
            ("timed out", samples::timed_out(), [Retries, Asks("Stopped"), Restarts, Retries, Suspends(true), Nothing]),
            (
                "timed out and stopped",
                just_stopped,
                [AsksAndRetries, Nothing, Refuses, Refuses, Suspends(true), Nothing],
            ),
            (
                "its restart failed",
                samples::restart_failed(),
                [Nothing, Asks("Stopped"), Restarts, Refuses, Suspends(true), Nothing],
            ),
            ("suspended", suspended, [Nothing, Asks("Stopped"), Restarts, Nothing, Nothing, Suspends(false)]),
            ("the platform's", documents, [Refuses, Refuses, Refuses, Refuses, Refuses, Refuses]),
        ] {
            assert_eq!(Verb::ALL.map(|verb| does(verb, &gateway)), expected, "{what}");
        }
    }
}
