//! New requests: what the user asked since the last request that was taken up (`status.handled`).
//!
//! **Architecture invariant:** a request is the difference between the spec with its annotations and
//! `status.handled`. No other module decides that something was requested.

use crate::api::{ApiGateway, DesiredState, Handled, RESTART_ANNOTATION, RETRY_ANNOTATION};
use crate::children::{self, taken_up};

/// The user's new requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// A changed spec or a new retry annotation, while the spec asks to run.
    pub start: bool,
    /// A new restart annotation, or a change of `spec.state` to Restarting, while the spec asks to run.
    pub restart: bool,
}

impl Requests {
    /// Compares the gateway with the tokens of the last request.
    pub fn of(gateway: &ApiGateway) -> Self {
        let Some(handled) = gateway.status.as_ref().and_then(|status| status.handled.as_ref()) else {
            return Self::default();
        };
        let asked = gateway.spec.state;
        if !asked.asks_to_run() || !asked.is_known() {
            return Self::default();
        }
        let is_new = |annotation: &str, taken_up: &Option<String>| {
            let asked = gateway.annotation(annotation);
            // The last release recorded values as they are, however long.
            asked.is_some_and(|asked| !taken_up.as_ref().is_some_and(|known| *known == asked || *known == token(asked)))
        };
        Self {
            // If another version took up a state that this one does not know, any other state is a new request.
            start: taken_up::spec_changed(gateway, handled)
                || !handled.state.is_known()
                || is_new(RETRY_ANNOTATION, &handled.retry),
            restart: is_new(RESTART_ANNOTATION, &handled.restart)
                || (gateway.spec.state == DesiredState::Restarting && handled.state != DesiredState::Restarting),
        }
    }
}

/// The longest annotation value that is recorded as it is. A date has 30 characters.
const LONGEST_TOKEN: usize = 64;

/// The recorded form of an annotation value. A short value is recorded as it is, so that the last release
/// recognizes it. Any other is hashed, since it may have 256 KiB or contain control characters.
fn token(value: &str) -> String {
    let is_plain = value.len() <= LONGEST_TOKEN && value.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    if is_plain { value.to_owned() } else { format!("hash:{}", children::hash(&value)) }
}

/// The tokens of the gateway's current requests.
pub fn tokens(gateway: &ApiGateway) -> Handled {
    let annotation = |name: &str| gateway.annotation(name).map(token);
    taken_up::as_asked(gateway, annotation(RETRY_ANNOTATION), annotation(RESTART_ANNOTATION))
}

/// The same, for a gateway that continues with an unedited spec that was taken up.
pub(super) fn tokens_going_on(gateway: &ApiGateway, handled: &Handled) -> Handled {
    let now = tokens(gateway);
    if taken_up::spec_changed(gateway, handled) {
        return now;
    }
    let Handled { state, retry, restart, .. } = now;
    Handled { state, retry, restart, ..taken_up::is_still(gateway, handled) }
}
