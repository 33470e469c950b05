//! The spec that was taken up (`status.handled`), where the current spec only reads differently. CRDs that are
//! applied later bring new defaults, which the API server fills in on read without a new generation. Nobody
//! asked for such a change, so it starts and rolls nothing; it takes effect with the next edit of the spec or
//! the next restart.
//!
//! **Architecture invariant:** the spec of the recorded generation never counts as changed, whatever its hash is.

use std::borrow::Cow;

use k8s_openapi::api::networking::v1::Ingress;

use super::spec_hash;
use crate::api::{ApiGateway, ApiGatewaySpec, ApiGatewayStatus, Handled, Reason, Tls, condition};
use crate::children::{Owner, owner_of};

/// The version of the spec hash. A hash of another version is recorded anew and is no request.
const HASH_VERSION: &str = "v1";

/// The spec hash, prefixed with its version.
pub fn hash_of(spec: &ApiGatewaySpec) -> String {
    format!("{HASH_VERSION}:{}", spec_hash(spec))
}

/// Whether somebody edited the spec since it was taken up.
pub fn spec_changed(gateway: &ApiGateway, handled: &Handled) -> bool {
    if !is_of_this_version(&handled.spec_hash) || is_generation_taken_up(gateway, handled) {
        return false;
    }
    let hash = hash_of(&gateway.spec);
    handled.spec_hash != hash && handled.read_as.as_ref() != Some(&hash)
}

fn is_of_this_version(hash: &str) -> bool {
    hash.split_once(':').is_some_and(|(version, _)| version == HASH_VERSION)
}

fn is_generation_taken_up(gateway: &ApiGateway, handled: &Handled) -> bool {
    let generation = gateway.metadata.generation;
    match (&handled.generation, &gateway.status) {
        (Some(_), _) => handled.generation == generation,
        (None, Some(status)) => {
            generation.is_some() && status.observed_generation == generation && nothing_waits(status, handled)
        }
        (None, None) => false,
    }
}

/// Whether a version that recorded no generation had taken up everything it saw. It took up changes of a
/// running gateway at once; for a gateway stopped by its deadline, the conditions say whether an attempt is
/// due. Requests of a suspended gateway waited without a record.
fn nothing_waits(status: &ApiGatewayStatus, handled: &Handled) -> bool {
    let says = |type_: &str, reason: Reason| {
        let mut conditions = status.conditions.iter();
        conditions.any(|found| found.type_ == type_ && found.reason == reason.as_str())
    };
    let was_suspended = says(condition::READY, Reason::Suspended);
    let was_stopped = status.state == Some(crate::api::State::Stopped) && handled.state.asks_to_run();
    let nothing_due = status.conditions.iter().any(|found| {
        found.type_ == condition::STALLED
            && found.status == "True"
            && found.reason == Reason::StartDeadlineExceeded.as_str()
    });
    !was_suspended && (!was_stopped || nothing_due)
}

/// Whether the spec reads differently from what was taken up, without an edit.
fn reads_differently(gateway: &ApiGateway) -> bool {
    let handled = gateway.status.as_ref().and_then(|status| status.handled.as_ref());
    handled.is_some_and(|handled| {
        is_of_this_version(&handled.spec_hash)
            && !spec_changed(gateway, handled)
            && handled.spec_hash != hash_of(&gateway.spec)
    })
}

/// The [`INPUTS_ANNOTATION`](super::INPUTS_ANNOTATION) of a Deployment whose pods were rendered from what was
/// taken up.
pub(super) fn inputs(gateway: &ApiGateway) -> String {
    let restarts = gateway.status.as_ref().map_or(0, |status| status.restarts);
    let handled = gateway.status.as_ref().and_then(|status| status.handled.as_ref());
    let taken_up = handled.filter(|_| reads_differently(gateway)).and_then(|handled| handled.spec_hash.split_once(':'));
    let hash = taken_up.map_or_else(|| spec_hash(&gateway.spec), |(_, hash)| hash.to_owned());
    format!("{hash}-{restarts}")
}

/// The requested replicas. For an unedited spec, the count that was taken up: a later CRD default must not take
/// pods away from a gateway that others scaled.
pub fn replicas(gateway: &ApiGateway) -> Option<i32> {
    match gateway.status.as_ref().and_then(|status| status.handled.as_ref()) {
        Some(handled) if handled.generation.is_some() && handled.generation == gateway.metadata.generation => {
            handled.replicas
        }
        _ => gateway.spec.replicas,
    }
}

/// The gateway as it was taken up, as far as its children other than the pods depend on it. Ingress fields that
/// are not recorded are read from the current Ingress.
pub(super) fn gateway<'a>(gateway: &'a ApiGateway, ingress: Option<&Ingress>) -> Cow<'a, ApiGateway> {
    let replicas = replicas(gateway);
    let routed =
        ingress.filter(|found| owner_of(&found.metadata, gateway) == Owner::Ours && reads_differently(gateway));
    if replicas == gateway.spec.replicas && routed.is_none() {
        return Cow::Borrowed(gateway);
    }
    let mut asked = gateway.clone();
    asked.spec.replicas = replicas;
    if let Some(spec) = routed.and_then(|ingress| ingress.spec.as_ref()) {
        let rule = spec.rules.iter().flatten().find(|rule| rule.host == gateway.spec.host);
        let path = rule.and_then(|rule| rule.http.as_ref()?.paths.first()?.path.clone());
        let secret = spec.tls.iter().flatten().find_map(|tls| tls.secret_name.clone());
        asked.spec.ingress_class_name = spec.ingress_class_name.clone();
        asked.spec.path = path.or(asked.spec.path);
        asked.spec.tls = secret.map(|secret_name| Tls { secret_name });
    }
    Cow::Owned(asked)
}

/// The request tokens of the current spec.
pub fn as_asked(gateway: &ApiGateway, retry: Option<String>, restart: Option<String>) -> Handled {
    Handled {
        spec_hash: hash_of(&gateway.spec),
        state: gateway.spec.state,
        generation: gateway.metadata.generation,
        read_as: None,
        replicas: gateway.spec.replicas,
        retry,
        restart,
        others: crate::api::UnknownFields::new(),
    }
}

/// The same request with its mutable parts updated: `state`, `suspend`, `replicas`, and what the CRDs filled
/// in.
pub fn is_still(gateway: &ApiGateway, handled: &Handled) -> Handled {
    let hash = hash_of(&gateway.spec);
    let kept = if is_of_this_version(&handled.spec_hash) { handled.spec_hash.clone() } else { hash.clone() };
    Handled {
        read_as: (kept != hash).then_some(hash),
        spec_hash: kept,
        generation: gateway.metadata.generation,
        replicas: replicas(gateway),
        ..handled.clone()
    }
}
