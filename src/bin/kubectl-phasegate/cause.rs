//! Why a gateway is not in its desired state, as a sentence, and what to do.
//!
//! **Architecture invariant**: this module reads the status and nothing else. It adds no diagnosis of its own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use phasegate::api::{ApiGateway, Reason, condition};
use phasegate::decide::Place;
use phasegate::decide::conditions::{find, is_cause};
use serde::Serialize;

/// How long a gateway may lack a status before somebody should look at the operator.
pub const UNSEEN: SignedDuration = SignedDuration::from_secs(30);

/// The reasons of progress without a known failure.
const ON_ITS_WAY: [Reason; 6] =
    [Reason::Pending, Reason::Starting, Reason::Restarting, Reason::RollingOut, Reason::Stopping, Reason::Deleting];

/// The reasons of an attempt that was given up at its deadline.
const GIVEN_UP: [Reason; 2] = [Reason::StartDeadlineExceeded, Reason::RestartDeadlineExceeded];

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The reason, from the closed set.
    pub reason: String,
    /// A sentence that names the object and its error.
    pub message: String,
    /// What to do about it, if the message does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A condition of a gateway.
pub fn condition_of<'a>(gateway: &'a ApiGateway, type_: &str) -> Option<&'a Condition> {
    find(&gateway.status.as_ref()?.conditions, type_)
}

/// Whether a condition of a gateway is true.
pub fn is(gateway: &ApiGateway, type_: &str) -> bool {
    condition_of(gateway, type_).is_some_and(|condition| condition.status == "True")
}

/// The reason of `Ready`.
pub fn reason_of(gateway: &ApiGateway) -> &str {
    condition_of(gateway, condition::READY).map_or("", |ready| ready.reason.as_str())
}

/// Whether an attempt was given up at its deadline and nothing was requested or retried since.
pub fn gave_up(gateway: &ApiGateway) -> bool {
    condition_of(gateway, condition::STALLED)
        .is_some_and(|stalled| stalled.status == "True" && is_one_of(&GIVEN_UP, &stalled.reason))
}

/// Whether the operator cannot write because something else is unavailable. It continues by itself when that is
/// repaired.
pub fn waits_for_others(gateway: &ApiGateway) -> bool {
    const AWAY: [Reason; 4] =
        [Reason::WebhookUnavailable, Reason::ClusterUnavailable, Reason::OperatorNotPermitted, Reason::WriteUnanswered];
    is_one_of(&AWAY, reason_of(gateway))
}

/// Whether a restart was given up. The old pods were kept.
pub fn restart_failed(gateway: &ApiGateway) -> bool {
    gave_up(gateway) && reason_of(gateway) == Reason::RestartDeadlineExceeded.as_str()
}

/// Whether a start was given up before it was complete. The pods that served were kept.
pub fn start_is_incomplete(gateway: &ApiGateway) -> bool {
    let place = gateway.status.as_ref().and_then(Place::of_status);
    gave_up(gateway) && place == Some(Place::Started) && !restart_failed(gateway)
}

fn is_one_of(reasons: &[Reason], word: &str) -> bool {
    reasons.iter().any(|reason| reason.as_str() == word)
}

/// Whether the current attempt or change will fail for a known cause.
pub fn is_failing(gateway: &ApiGateway) -> bool {
    let reason = reason_of(gateway);
    !is(gateway, condition::READY) && Reason::ALL.iter().any(|cause| is_cause(*cause) && cause.as_str() == reason)
}

/// What is wrong with a gateway, if anything is known.
pub fn of(gateway: &ApiGateway, now: Timestamp) -> Option<Cause> {
    let Some(ready) = condition_of(gateway, condition::READY) else {
        let created = gateway.metadata.creation_timestamp.as_ref()?.0;
        return (now.duration_since(created) > UNSEEN).then(unseen);
    };
    if ready.status == "True" && ready.reason != Reason::Suspended.as_str() {
        return scaled_to_zero(gateway);
    }
    let failure = gateway.status.as_ref().and_then(|status| status.last_failure.as_ref());
    match failure {
        _ if is_one_of(&ON_ITS_WAY, &ready.reason) => None,
        Some(failure) if is_one_of(&GIVEN_UP, &ready.reason) => {
            let next = match () {
                () if !gave_up(gateway) => "The operator retries automatically.".to_owned(),
                () if restart_failed(gateway) => {
                    format!("Then change the spec, or run: {}", command("restart", gateway))
                }
                () if start_is_incomplete(gateway) => "It completes automatically once this is fixed.".to_owned(),
                () => format!("Then change the spec, or run: {}", command("retry", gateway)),
            };
            Some(Cause {
                reason: failure.reason.to_string(),
                message: failure.message.clone(),
                hint: Some(format!("{} {next}", failure.hint)),
            })
        }
        _ => Some(Cause { reason: ready.reason.clone(), message: ready.message.clone(), hint: None }),
    }
}

/// The gateway is in its desired state and serves nobody. The cause says who scaled it to zero.
fn scaled_to_zero(gateway: &ApiGateway) -> Option<Cause> {
    let available = condition_of(gateway, condition::AVAILABLE)?;
    (available.reason == Reason::ScaledToZero.as_str()).then(|| Cause {
        reason: available.reason.clone(),
        message: available.message.clone(),
        hint: None,
    })
}

/// A command of this plugin for a gateway, ready to copy.
pub fn command(verb: &str, gateway: &ApiGateway) -> String {
    format!("kubectl phasegate {verb} {} -n {}", gateway.name_or_empty(), gateway.namespace_or_empty())
}

/// The cause for a gateway that has had no status for longer than [`UNSEEN`].
pub fn unseen() -> Cause {
    Cause {
        reason: "Unseen".to_owned(),
        message: "the ApiGateway has not been reconciled since its creation".to_owned(),
        hint: Some(
            "Check that the operator runs (kubectl get pods -n phasegate-system) and watches this namespace."
                .to_owned(),
        ),
    }
}
