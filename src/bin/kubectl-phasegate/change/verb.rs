//! What a verb means for a gateway as it is.

use phasegate::api::{ApiGateway, REGISTRY_LABEL, RESTART_ANNOTATION, RETRY_ANNOTATION};
use phasegate::decide::held::is_held_stopped;
use serde_json::{Value, json};

use crate::cause;
use crate::wait::Goal;

/// What is asked of a gateway.
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
    /// Hold the operator's hand.
    Suspend,
    /// Let it go again.
    Resume,
}

/// What a verb means for one gateway as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Means {
    /// A merge patch, and what is said once it was accepted.
    Patch(Value, &'static str),
    /// Nothing is to be done, since it is so already.
    Nothing(&'static str),
    /// It cannot be done: why, and what can.
    Refused(String, String),
}

impl Verb {
    /// The verb itself.
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

    /// What is waited for.
    pub fn goal(self) -> Goal {
        match self {
            Self::Stop => Goal::Stopped,
            Self::Restart => Goal::Restarted,
            Self::Start | Self::Retry | Self::Suspend | Self::Resume => Goal::Available,
        }
    }

    /// What the verb means for a gateway. `token` is a value that no annotation has had before.
    pub fn means(self, gateway: &ApiGateway, token: &str) -> Means {
        let key = gateway.key();
        if gateway.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(REGISTRY_LABEL)) {
            return Means::Refused(
                format!("ApiGateway {key} belongs to the platform's documents, and an edit of it is undone"),
                "Change its document instead.".to_owned(),
            );
        }
        let retries = || json!({ RETRY_ANNOTATION: token });
        let runs = gateway.spec.state.asks_to_run();
        let held = gateway.status.as_ref().is_some_and(is_held_stopped);
        match self {
            Self::Start if runs && held => {
                Means::Patch(json!({ "metadata": { "annotations": retries() } }), "another try was asked for")
            }
            Self::Start if runs => Means::Nothing("it is asked to run already"),
            // With the retry, since the operator may not have seen it stopped.
            Self::Start if held => Means::Patch(
                json!({ "metadata": { "annotations": retries() }, "spec": { "state": "Running" } }),
                "asked to run",
            ),
            Self::Start => Means::Patch(json!({ "spec": { "state": "Running" } }), "asked to run"),
            Self::Stop if !runs => Means::Nothing("it is asked to be stopped already"),
            Self::Stop => Means::Patch(json!({ "spec": { "state": "Stopped" } }), "asked to stop"),
            Self::Restart | Self::Retry if !runs => Means::Refused(
                format!("ApiGateway {key} is asked to be stopped"),
                format!("Start it: {}", cause::command("start", gateway)),
            ),
            Self::Restart => Means::Patch(
                json!({ "metadata": { "annotations": { RESTART_ANNOTATION: token } } }),
                "a restart was asked for",
            ),
            Self::Retry if held => {
                Means::Patch(json!({ "metadata": { "annotations": retries() } }), "another try was asked for")
            }
            Self::Retry if cause::start_is_incomplete(gateway) => {
                Means::Nothing("it serves with the pods that it has, and completes by itself")
            }
            Self::Retry if cause::gave_up(gateway) => Means::Refused(
                format!("ApiGateway {key} serves with its old pods; it is a restart that failed"),
                format!("Restart it: {}", cause::command("restart", gateway)),
            ),
            Self::Retry => Means::Nothing("it has not timed out"),
            Self::Suspend if gateway.spec.suspend => Means::Nothing("it is suspended already"),
            Self::Suspend => Means::Patch(json!({ "spec": { "suspend": true } }), "suspended"),
            Self::Resume if !gateway.spec.suspend => Means::Nothing("it is not suspended"),
            Self::Resume => Means::Patch(json!({ "spec": { "suspend": false } }), "resumed"),
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
        match verb.means(gateway, "token") {
            Means::Nothing(_) => Does::Nothing,
            Means::Refused(..) => Does::Refuses,
            Means::Patch(patch, _) if patch == state("Running") => Does::Asks("Running"),
            Means::Patch(patch, _) if patch == state("Stopped") => Does::Asks("Stopped"),
            Means::Patch(patch, _) if patch == json!({ "metadata": retries }) => Does::Retries,
            Means::Patch(patch, _) if patch == json!({ "metadata": retries, "spec": { "state": "Running" } }) => {
                Does::AsksAndRetries
            }
            Means::Patch(patch, _) if patch == restarts => Does::Restarts,
            Means::Patch(patch, _) if patch == json!({ "spec": { "suspend": true } }) => Does::Suspends(true),
            Means::Patch(patch, _) if patch == json!({ "spec": { "suspend": false } }) => Does::Suspends(false),
            Means::Patch(patch, _) => panic!("{patch}"),
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
            let verbs = [Verb::Start, Verb::Stop, Verb::Restart, Verb::Retry, Verb::Suspend, Verb::Resume];
            assert_eq!(verbs.map(|verb| does(verb, &gateway)), expected, "{what}");
        }
    }
}
