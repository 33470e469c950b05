//! What the user asked since the last request that was taken up.

use crate::api::{ApiGateway, ApiGatewaySpec, DesiredState, Handled, RESTART_ANNOTATION, RETRY_ANNOTATION};
use crate::children;

/// The version of the spec's hash. A hash of another version is recorded anew and is no request.
const HASH_VERSION: &str = "v1";

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
        if !gateway.spec.state.asks_to_run() {
            return Self::default();
        }
        let retry = gateway.annotation(RETRY_ANNOTATION);
        let restart = gateway.annotation(RESTART_ANNOTATION);
        Self {
            start: spec_changed(gateway, handled) || (retry.is_some() && retry != handled.retry.as_deref()),
            restart: (restart.is_some() && restart != handled.restart.as_deref())
                || (gateway.spec.state == DesiredState::Restarting && handled.state != DesiredState::Restarting),
        }
    }
}

fn spec_changed(gateway: &ApiGateway, handled: &Handled) -> bool {
    let same_version = handled.spec_hash.split_once(':').is_some_and(|(version, _)| version == HASH_VERSION);
    same_version && handled.spec_hash != spec_hash(&gateway.spec)
}

/// The tokens of the gateway as it is now.
pub fn tokens(gateway: &ApiGateway) -> Handled {
    Handled {
        spec_hash: spec_hash(&gateway.spec),
        state: gateway.spec.state,
        retry: gateway.annotation(RETRY_ANNOTATION).map(str::to_owned),
        restart: gateway.annotation(RESTART_ANNOTATION).map(str::to_owned),
    }
}

/// The hash of the spec, after the version of the hash.
fn spec_hash(spec: &ApiGatewaySpec) -> String {
    format!("{HASH_VERSION}:{}", children::spec_hash(spec))
}
