//! Promises that were broken once.

use super::builders::*;
use crate::api::condition::{CLEANUP_STUCK, READY, RECONCILING, STALLED};
use crate::api::{ApiGateway, DesiredState};
use crate::decide::decide;
use crate::decide::observed::{Child, Observed, Presence};

const RESTART_FAILED: &str = "True RestartDeadlineExceeded";

fn restart_gave_up() -> ApiGateway {
    but(restarting(), |g| drop(pass(g, &rolling_out(), &after(301))))
}

/// Section 4: "until workloadReady or a new request"; section 2: suspend and resume are no requests.
#[test]
fn a_failed_restart_is_still_stalled_after_a_suspension() {
    let mut gateway = but(restart_gave_up(), suspends);
    pass(&mut gateway, &rolling_out(), &after(400));
    resumes(&mut gateway);
    pass(&mut gateway, &rolling_out(), &after(500));
    assert_eq!(said(&gateway.status_or_default(), STALLED), RESTART_FAILED);
}

/// The same: a host that was taken for a while is no request and not the workload.
#[test]
fn a_failed_restart_is_still_stalled_after_a_host_was_taken() {
    let mut gateway = restart_gave_up();
    pass(&mut gateway, &host_taken(rolling_out()), &after(400));
    pass(&mut gateway, &rolling_out(), &after(500));
    assert_eq!(said(&gateway.status_or_default(), STALLED), RESTART_FAILED);
}

/// Section 3: `Stalled` is never for what heals by waiting.
#[test]
fn a_clean_up_after_which_the_gateway_starts_again_is_no_stall() {
    for request in [changes_the_image, asks_for_a_retry] {
        let status = status_after(&but(stopping_after_timeout(), request), &serving(), &after(10));
        assert_eq!(said(&status, STALLED), "False StartDeadlineExceeded");
        assert!(!message(&status, READY).contains("To retry"), "it was asked already");
    }
}

/// Section 4: "condition `CleanupStuck` naming the object".
#[test]
fn a_stop_that_waits_for_an_environment_names_the_environment() {
    let status = status_after(&stopping_as_asked(), &environments(nothing(), &[true]), &after(600));
    let words = message(&status, CLEANUP_STUCK);
    assert!(words.contains("env-0") && !words.contains("pods"), "{words}");
}

/// The same: everything waits for the Ingress, so it is the Ingress that is to be named.
#[test]
fn a_stop_that_waits_for_the_ingress_names_the_ingress() {
    let several = child(serving(), Child::PodDisruptionBudget, Presence::Equal);
    let observed = child(several, Child::Ingress, Presence::Terminating);
    let words = message(&status_after(&stopping_as_asked(), &observed, &after(600)), CLEANUP_STUCK);
    assert!(words.contains("Ingress"), "{words}");
}

/// Section 6: "A claim lasts until the spec drops the host or the object goes, Stopped included."
#[test]
fn a_stopped_gateway_that_names_another_host_lets_go_of_the_old_one() {
    for gateway in [stopped_as_asked(), stopped_after_timeout()] {
        let moved = but(gateway, |g| {
            asks_stopped(g);
            g.spec.host = Some("new.example.com".to_owned());
        });
        let hosts = status_after(&moved, &nothing(), &after(60)).hosts;
        assert!(hosts.iter().all(|claim| claim.host != HOST), "{hosts:?}");
    }
}

/// Section 4: suspended, no child is written: the Ingress goes on routing the host.
#[test]
fn a_suspended_gateway_keeps_the_claim_on_the_host_that_it_still_routes() {
    let dropped = but(but(started(), suspends), drops_the_host);
    let observed = child(serving(), Child::Ingress, Presence::Unwanted);
    assert_eq!(status_after(&dropped, &observed, &after(60)).hosts.len(), 1);
}

/// Section 2: `handled` takes all tokens "in any phase while `spec.state` is Stopped".
#[test]
fn a_stop_that_was_asked_while_suspended_lets_a_held_gateway_start_afterwards() {
    let mut gateway = but(but(stopped_after_timeout(), suspends), asks_stopped);
    pass(&mut gateway, &nothing(), &after(500));
    assert_eq!(gateway.status_or_default().handled.unwrap().state, DesiredState::Stopped);
    resumes(&mut gateway);
    asks_running(&mut gateway);
    assert!(pass(&mut gateway, &nothing(), &after(510)).moves);
}

/// Section 5: "A registry outage is never the gateway's timeout."
#[test]
fn a_start_never_times_out_while_the_registry_is_away() {
    let plan = decide(&starting(), &registry_away(coming_up()), &after(9_000), &SETTINGS);
    assert!(!plan.moves);
}

/// Section 4, Stopped: "asked Running, host taken: `HostTaken`, no attempt" comes before the retries.
#[test]
fn a_retry_that_waits_for_a_host_says_so() {
    let due = with_retries(stopped_after_timeout(), 2, None);
    let status = status_after(&due, &host_taken(nothing()), &after_failure(60));
    assert_eq!(said(&status, STALLED), "True HostTaken");
}

/// Section 3: `Ready` is what is observed matching what is asked.
#[test]
fn a_stopped_gateway_with_a_late_child_is_not_ready() {
    let late = child(nothing(), Child::Deployment, Presence::Equal);
    assert!(said(&status_after(&stopped_as_asked(), &late, &after(60)), READY).starts_with("False"));
}

/// A cause that is kept for the same reason must not outlive the request that was its cure.
#[test]
fn another_image_that_cannot_be_pulled_is_named() {
    let mut gateway = starting();
    pass(&mut gateway, &image_not_pullable(coming_up(), "shop-1"), &after(10));
    changes_the_image(&mut gateway);
    // As the API server does for every changed spec.
    gateway.metadata.generation = gateway.metadata.generation.map(|generation| generation + 1);
    pass(&mut gateway, &image_not_pullable(coming_up(), "shop-1"), &after(20));
    let mut newer: Observed = image_not_pullable(coming_up(), "shop-2");
    if let crate::decide::observed::Trouble::ImagePull { image, .. } = &mut newer.pods.troubles[0].trouble {
        *image = gateway.spec.image.clone();
    }
    pass(&mut gateway, &newer, &after(5));
    assert!(message(&gateway.status_or_default(), RECONCILING).contains("gateway:2"));
}

/// Section 3: no write per pod.
#[test]
fn a_rollout_without_progress_is_told_once_whichever_pod_is_in_trouble() {
    let no_progress =
        |o| but(o, |o: &mut Observed| o.rollout.progress_deadline_exceeded = Some("timed out".to_owned()));
    let mut gateway = started();
    pass(&mut gateway, &no_progress(image_not_pullable(rolling_out(), "shop-1")), &after(10));
    let other = no_progress(image_not_pullable(rolling_out(), "shop-2"));
    assert_eq!(decide(&gateway, &other, &after(20), &SETTINGS).status, None);
}

/// Section 4, unknown phase: nothing is done; the version that wrote it knows what it means.
#[test]
fn an_environment_of_a_gateway_in_an_unknown_phase_is_left_alone() {
    use crate::api::{Environment, EnvironmentSpec, EnvironmentState, EnvironmentStatus, GatewayRef, Phase, State};
    use crate::decide::Place;
    use crate::decide::environment::{EnvironmentContext, GatewayFacts, Routed, decide};
    use crate::decide::observed::HostVerdict;
    let spec = EnvironmentSpec { gateway_ref: GatewayRef { name: "shop".to_owned() }, host: None };
    let active = but(Environment::new("dev", spec), |environment| {
        environment.status =
            Some(EnvironmentStatus { state: EnvironmentState::Active, ..EnvironmentStatus::default() });
    });
    let place = Place::of(Some(&Phase::Unknown("Hibernating".to_owned())), Some(State::Running));
    let gateway = Some(GatewayFacts { place, suspended: false });
    let context = EnvironmentContext {
        gateway,
        counts: true,
        host: HostVerdict::Free,
        lost: false,
        routed: Routed::Yes,
        exposed: true,
    };
    let state = decide(&active, &context, at(10)).map_or(EnvironmentState::Active, |status| status.state);
    assert_eq!(state, EnvironmentState::Active);
}

/// Section 6: a host is claimed by what may be served; without a gateway nothing is.
#[test]
fn an_environment_without_its_gateway_claims_no_host() {
    use crate::api::{Environment, EnvironmentSpec, GatewayRef};
    use crate::decide::environment::{EnvironmentContext, Routed, decide};
    use crate::decide::observed::HostVerdict;
    let spec = EnvironmentSpec { gateway_ref: GatewayRef { name: "nobody".to_owned() }, host: Some(HOST.to_owned()) };
    let context = EnvironmentContext {
        gateway: None,
        counts: true,
        host: HostVerdict::Free,
        lost: false,
        routed: Routed::No,
        exposed: true,
    };
    let status = decide(&Environment::new("dev", spec), &context, at(10)).unwrap();
    assert_eq!(status.hosts, []);
}
