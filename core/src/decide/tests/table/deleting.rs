//! The rows of "any, deletionTimestamp" for a gateway that carries a finalizer: ours, where a registry outside Kubernetes
//! knows it, or somebody else's. Without one it is left to garbage collection, whatever the registry.

use super::*;
use crate::decide::observed::Presence;

fn deleted(gateway: ApiGateway) -> ApiGateway {
    but(but(gateway, deletes), is_kept)
}

fn is_deleting(attempt: i64) -> Expect {
    go(Phase::Deleting, State::Stopped, Reason::Deleting, attempt)
}

/// So long after the deletion, a moment after the last transition.
fn since(seconds: u64) -> Moment {
    Moment { deletion: secs(seconds), ..after(1) }
}

#[test]
fn any_phase_a_gateway_that_is_recorded_elsewhere_is_deleting() {
    for (phase, gateway) in in_every_phase() {
        if matches!(gateway.status_or_default().phase, Some(Phase::Deleting | Phase::Unknown(_))) {
            continue;
        }
        let attempt = gateway.status_or_default().attempt.map_or(0, |attempt| attempt.number);
        for observed in [nothing(), serving(), registry_away(coming_up()), host_taken(nothing())] {
            let gone = deleted(gateway.clone());
            check(vec![
                row(phase, gone.clone(), external(observed.clone()), since(1), is_deleting(attempt)),
                row(phase, but(gone.clone(), suspends), remembered(observed.clone()), since(1), is_deleting(attempt)),
                row(phase, but(gone, changes_the_image), untold(observed), since(1), is_deleting(attempt)),
            ]);
        }
    }
}

#[test]
fn any_phase_with_kubernetes_as_the_registry_a_finalizer_that_was_left_is_removed() {
    for (phase, gateway) in in_every_phase() {
        for observed in [nothing(), serving()] {
            check(vec![row(phase, deleted(gateway.clone()), observed, since(1), does(&[RemoveFinalizer]))]);
        }
    }
}

#[test]
fn any_phase_with_kubernetes_as_the_registry_a_finalizer_that_may_not_be_removed_is_somebody_elses() {
    for (phase, gateway) in in_every_phase() {
        for observed in [nothing(), serving()] {
            let forged = but(observed, |o| o.registry.may_remove_finalizer = false);
            check(vec![row(phase, deleted(gateway.clone()), forged, since(1), Nothing)]);
        }
    }
}

#[test]
fn any_phase_what_is_to_be_left_behind_is_let_go_of_first() {
    for (phase, gateway) in in_every_phase() {
        let orphans = but(deleted(gateway), |g| {
            g.metadata.finalizers.get_or_insert_default().push("orphan".to_owned());
        });
        check(vec![row(phase, orphans, remembered(serving()), since(1), rests())]);
    }
}

#[test]
fn deleting_gateways() {
    let environment = |observed| environments(observed, &[true]);
    check(vec![
        row(
            "traffic is taken away first",
            deleting(),
            remembered(serving()),
            since(1),
            does_and_wakes(&[Delete(Ingress)], 599),
        ),
        row(
            "traffic does not wait for the registry",
            deleting(),
            external(registry_away(serving())),
            since(1),
            does_and_wakes(&[Delete(Ingress)], 599),
        ),
        row(
            "the rest goes once the Ingress is gone, and its documents are switched off and told so",
            deleting(),
            registry(child(serving(), Ingress, Presence::Missing), |r| {
                r.forgotten = false;
                r.to_deactivate = true;
                r.reported = false;
            }),
            since(1),
            does_and_wakes(&[Delete(Service), Delete(Deployment), DeactivateDocuments, Report], 599),
        ),
        row(
            "children go whether or not the registry answers",
            deleting(),
            registry(child(serving(), Ingress, Presence::Missing), |r| {
                r.unavailable = Some("connection refused".to_owned());
                r.to_deactivate = true;
            }),
            since(1),
            does_and_wakes(&[Delete(Service), Delete(Deployment)], 599),
        ),
        row(
            "environments switch themselves off: to them, a gateway that goes is gone",
            deleting(),
            environment(remembered(child(coming_up(), Ingress, Presence::Missing))),
            since(1),
            does_and_wakes(&[Delete(Service), Delete(Deployment)], 599),
        ),
        row("pods are waited for", deleting(), remembered(pods(nothing(), 1, 1)), since(1), does_and_wakes(&[], 599)),
        row(
            "pods on a dead node are not",
            deleting(),
            remembered(pods(nothing(), 1, 1)),
            Moment { deletion: secs(600), ..after(600) },
            does_at_once(&[Forget]),
        ),
        row(
            "it is forgotten once nothing is left",
            deleting(),
            remembered(nothing()),
            since(1),
            does_at_once(&[Forget]),
        ),
        row("it goes once it is forgotten", deleting(), external(nothing()), since(1), does(&[RemoveFinalizer])),
        row(
            "it waits for a registry that does not answer",
            deleting(),
            registry(nothing(), |r| {
                r.unavailable = Some("connection refused".to_owned());
                r.forgotten = false;
            }),
            since(100),
            does_and_wakes(&[], 800),
        ),
        row(
            "it waits as well where it is not known whether something is left",
            deleting(),
            external(registry_away(nothing())),
            since(100),
            does_and_wakes(&[], 800),
        ),
        row(
            "it does not wait for ever",
            deleting(),
            registry(nothing(), |r| {
                r.unavailable = Some("connection refused".to_owned());
                r.forgotten = false;
            }),
            since(900),
            does(&[RemoveFinalizer]),
        ),
        row(
            "nor for a registry that answers and refuses",
            deleting(),
            remembered(nothing()),
            since(900),
            does(&[Forget, RemoveFinalizer]),
        ),
        row(
            "one of a later version is forgotten; owner references collect its children",
            deleted(of_a_later_version()),
            remembered(serving()),
            since(1),
            does_at_once(&[Forget]),
        ),
    ]);
}

/// Deleted, and kept by somebody who has nothing to do with us.
fn held(gateway: ApiGateway) -> ApiGateway {
    but(but(gateway, deletes), |g| g.metadata.finalizers.get_or_insert_default().push("example.com/hold".to_owned()))
}

#[test]
fn any_phase_a_gateway_that_somebody_elses_finalizer_holds_stops_all_the_same() {
    for (phase, gateway) in in_every_phase() {
        let is_over = matches!(gateway.status_or_default().phase, Some(Phase::Deleting | Phase::Unknown(_)));
        let attempt = gateway.status_or_default().attempt.map_or(0, |attempt| attempt.number);
        for observed in [nothing(), serving(), host_taken(nothing()), external(serving())] {
            let (held, suspended) = (held(gateway.clone()), but(held(gateway.clone()), suspends));
            for (finalizer, leaves) in [("foregroundDeletion", false), ("orphan", true)] {
                let both = but(held.clone(), |g| g.metadata.finalizers.as_mut().unwrap().push(finalizer.to_owned()));
                let alone = but(both.clone(), |g| g.metadata.finalizers = Some(vec![finalizer.to_owned()]));
                check(vec![row(phase, alone, observed.clone(), since(1), Nothing)]);
                if leaves || !is_over {
                    let expect = if leaves { Nothing } else { is_deleting(attempt) };
                    check(vec![row(phase, both, observed.clone(), since(1), expect)]);
                }
            }
            if !is_over {
                check(vec![
                    row(phase, held, observed.clone(), since(1), is_deleting(attempt)),
                    row(phase, suspended, observed, since(1), is_deleting(attempt)),
                ]);
            }
        }
    }
}

#[test]
fn what_somebody_elses_finalizer_holds_is_taken_down_and_waits() {
    let deleting = || held(recorded(Phase::Deleting, State::Stopped));
    check(vec![
        row("traffic is taken away first", deleting(), serving(), since(1), does_and_wakes(&[Delete(Ingress)], 599)),
        row(
            "then the rest",
            deleting(),
            child(serving(), Ingress, Presence::Missing),
            since(1),
            does_and_wakes(&[Delete(Service), Delete(Deployment)], 599),
        ),
        row("pods are waited for", deleting(), pods(nothing(), 1, 1), since(1), does_and_wakes(&[], 599)),
        row("it is for others to let it go", deleting(), nothing(), since(1), does_and_wakes(&[], 599)),
        row("and is called stuck", deleting(), nothing(), Moment { deletion: secs(600), ..after(600) }, rests()),
        row(
            "of a later version nothing is known, and nothing done",
            held(of_a_later_version()),
            serving(),
            since(1),
            does_and_wakes(&[], 599),
        ),
    ]);
}

#[test]
fn whose_finalizers_a_deletion_waits_for_is_said() {
    let deleting = held(recorded(Phase::Deleting, State::Stopped));
    let status = status_after(&deleting, &nothing(), &since(1));
    for type_ in [crate::api::condition::READY, crate::api::condition::RECONCILING] {
        assert!(
            message(&status, type_).contains("finalizers of other controllers: example.com/hold"),
            "{:?}",
            status.conditions
        );
    }
    let late = status_after(&deleting, &nothing(), &Moment { deletion: secs(600), ..after(600) });
    assert_eq!(said(&late, crate::api::condition::STALLED), "True CleanupStuck");
    assert!(message(&late, crate::api::condition::CLEANUP_STUCK).contains("example.com/hold"));
    let serves = status_after(&deleting, &serving(), &since(1));
    assert!(!message(&serves, crate::api::condition::READY).contains("example.com/hold"), "not yet");
}
