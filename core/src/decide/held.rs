//! Who is stopped although they are to run. Three questions, which differ on purpose.

use super::place::Place;
use crate::api::{ApiGateway, ApiGatewayStatus, State};

/// Whether the last request that was taken up is one to run. A gateway that is being stopped or is stopped all the
/// same was stopped by its deadline; one of which the deadline passes in this moment is not in state Stopped yet.
pub fn was_asked_to_run(status: &ApiGatewayStatus) -> bool {
    status.handled.as_ref().is_some_and(|handled| handled.state.asks_to_run())
}

/// Whether a deadline holds a gateway stopped until something new is asked, whatever its spec asks by now. A gateway in
/// a phase of another version is no less held.
pub fn is_held_stopped(status: &ApiGatewayStatus) -> bool {
    status.state == Some(State::Stopped)
        && Place::of_status(status) != Some(Place::Deleting)
        && was_asked_to_run(status)
}

/// Whether a gateway is to run and is stopped after a failure: one that was asked to stop and to run again since
/// counts until its next attempt begins.
pub fn is_given_up(gateway: &ApiGateway) -> bool {
    let stopped = |status: &ApiGatewayStatus| status.state == Some(State::Stopped) && status.last_failure.is_some();
    gateway.spec.state.asks_to_run() && gateway.status.as_ref().is_some_and(stopped)
}
