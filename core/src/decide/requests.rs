//! What the user asked since the last request that was taken up.

use crate::api::{ApiGateway, DesiredState, Handled, RESTART_ANNOTATION, RETRY_ANNOTATION};
use crate::children::taken_up;

/// The user's new requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// A changed spec or a new retry annotation, while asked to run.
    pub start: bool,
    /// A new restart annotation, or `spec.state` turning to Restarting, while asked to run.
    pub restart: bool,
}

impl Requests {
    /// Compares the gateway with the tokens of the last request that was taken up.
    pub fn of(gateway: &ApiGateway) -> Self {
        let Some(handled) = gateway.status.as_ref().and_then(|status| status.handled.as_ref()) else {
            return Self::default();
        };
        let asked = gateway.spec.state;
        if !asked.asks_to_run() || !asked.is_known() {
            return Self::default();
        }
        let retry = gateway.annotation(RETRY_ANNOTATION);
        let restart = gateway.annotation(RESTART_ANNOTATION);
        Self {
            // Where another version took up a state that this one does not know, another state is another request.
            start: taken_up::spec_changed(gateway, handled)
                || !handled.state.is_known()
                || (retry.is_some() && retry != handled.retry.as_deref()),
            restart: (restart.is_some() && restart != handled.restart.as_deref())
                || (gateway.spec.state == DesiredState::Restarting && handled.state != DesiredState::Restarting),
        }
    }
}

/// The tokens of the gateway as it is now.
pub fn tokens(gateway: &ApiGateway) -> Handled {
    let annotation = |name: &str| gateway.annotation(name).map(str::to_owned);
    taken_up::as_asked(gateway, annotation(RETRY_ANNOTATION), annotation(RESTART_ANNOTATION))
}

/// The same, of a gateway that goes on with the spec that was taken up if nobody has changed that.
pub(super) fn tokens_going_on(gateway: &ApiGateway, handled: &Handled) -> Handled {
    let now = tokens(gateway);
    if taken_up::spec_changed(gateway, handled) {
        return now;
    }
    let Handled { state, retry, restart, .. } = now;
    Handled { state, retry, restart, ..taken_up::is_still(gateway, handled) }
}
