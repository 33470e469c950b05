//! Gateways that are stopped although they should run. Three questions that differ on purpose.
//!
//! **Architecture invariant:** each answer follows from the object alone. No child and no time changes it.

use super::place::Place;
use crate::api::{ApiGateway, ApiGatewayStatus, State};

/// Whether the last request that was taken up asks to run. A gateway that is stopping or stopped all the same
/// was stopped by its deadline. At the very moment of the deadline its state is not Stopped yet.
pub fn was_asked_to_run(status: &ApiGatewayStatus) -> bool {
    status.handled.as_ref().is_some_and(|handled| handled.state.asks_to_run())
}

/// Whether a deadline holds a gateway stopped until a new request, whatever its spec asks by now. Phases of
/// other versions are no exception.
pub fn is_held_stopped(status: &ApiGatewayStatus) -> bool {
    status.state == Some(State::Stopped)
        && Place::of_status(status) != Some(Place::Deleting)
        && was_asked_to_run(status)
}

/// Whether a gateway should run and is stopped after a failure. One that was asked to stop and to run again
/// since counts until its next attempt begins.
pub fn is_given_up(gateway: &ApiGateway) -> bool {
    let stopped = |status: &ApiGatewayStatus| status.state == Some(State::Stopped) && status.last_failure.is_some();
    gateway.spec.state.asks_to_run() && gateway.status.as_ref().is_some_and(stopped)
}
