//! What a registry outside Kubernetes adds to the rows.

use super::*;
use crate::decide::observed::Presence;

fn kept(gateway: ApiGateway) -> ApiGateway {
    but(gateway, is_kept)
}

fn away(observed: Observed) -> Observed {
    external(registry_away(observed))
}

#[test]
fn any_phase_a_gateway_is_kept_before_anything_else() {
    for (phase, gateway) in in_every_phase() {
        if matches!(gateway.status_or_default().phase, Some(Phase::Unknown(_))) {
            continue;
        }
        for observed in [unrecorded(nothing()), external(serving()), untold(coming_up())] {
            check(vec![
                row(phase, gateway.clone(), observed.clone(), after(1), does_at_once(&[AddFinalizer])),
                row(phase, but(gateway.clone(), suspends), observed, after(1), does_at_once(&[AddFinalizer])),
            ]);
        }
    }
}

#[test]
fn an_unknown_phase_is_left_alone() {
    let all = registry(serving(), |r| {
        r.recorded = false;
        r.reported = false;
        r.to_activate = true;
    });
    check(vec![
        row("without the finalizer", of_a_later_version(), all.clone(), after(1), rests()),
        row("with it", kept(of_a_later_version()), all, after(1), rests()),
    ]);
}

#[test]
fn none_and_created() {
    check(vec![
        row(
            "a new gateway is recorded before its first attempt",
            kept(fresh()),
            unrecorded(nothing()),
            after(0),
            does_at_once(&[Record]),
        ),
        row("once it is recorded it begins", kept(fresh()), external(nothing()), after(0), starts(1)),
        row(
            "a new gateway is held while the registry is away: Created, and no clock",
            fresh(),
            registry(nothing(), |r| {
                r.recorded = false;
                r.unavailable = Some("connection refused".to_owned());
            }),
            after(0),
            go(Phase::Created, State::Running, Reason::RegistryUnavailable, 0),
        ),
        row(
            "it goes on by itself when the registry is back",
            kept(created()),
            unrecorded(nothing()),
            after(100_000),
            does_at_once(&[Record]),
        ),
        row(
            "a gateway that was recorded before waits for a registry that is away as well",
            kept(created()),
            away(nothing()),
            after(100_000),
            rests(),
        ),
        row(
            "a new gateway that is asked to be stopped is stopped at once, and recorded as such",
            but(kept(fresh()), asks_stopped),
            unrecorded(nothing()),
            after(0),
            go(Phase::Stopped, State::Stopped, Reason::StopRequested, 0),
        ),
        row(
            "whose host is taken is held, and recorded all the same",
            kept(created()),
            host_taken(unrecorded(nothing())),
            after(60),
            does_at_once(&[Record]),
        ),
    ]);
}

#[test]
fn starting_gateways() {
    let to_activate = |observed| registry(observed, |r| r.to_activate = true);
    check(vec![
        row(
            "children come before what is told",
            kept(starting()),
            untold(nothing()),
            after(1),
            does_and_wakes(&[Create(Deployment), Create(Service), Create(Ingress), Report], 299),
        ),
        row(
            "documents follow their environments, as the last step",
            kept(starting()),
            to_activate(environments(serving(), &[true])),
            after(1),
            does_at_once(&[ActivateDocuments]),
        ),
        row(
            "and only then the gateway is started",
            kept(starting()),
            external(environments(serving(), &[true])),
            after(1),
            go(Phase::Started, State::Running, Reason::Started, 1),
        ),
        row(
            "a start does not end while documents wait for a registry that is away, nor does it time out",
            kept(starting()),
            registry(environments(serving(), &[true]), |r| {
                r.to_activate = true;
                r.unavailable = Some("connection refused".to_owned());
            }),
            after(5_000),
            rests(),
        ),
        row(
            "children are created while the registry is away",
            kept(starting()),
            away(nothing()),
            after(5_000),
            does(&[Create(Deployment), Create(Service), Create(Ingress)]),
        ),
        row(
            "a start for which nothing is to be written ends while the registry is away",
            kept(starting()),
            away(serving()),
            after(1),
            go(Phase::Started, State::Running, Reason::Started, 1),
        ),
        row(
            "a gateway of which the document was removed is recorded again",
            kept(starting()),
            unrecorded(coming_up()),
            after(1),
            does_at_once(&[Record]),
        ),
    ]);
}

#[test]
fn started_gateways() {
    check(vec![
        row("is told", kept(started()), untold(serving()), after(1), does(&[Report])),
        row("and rests", kept(started()), external(serving()), after(1), rests()),
        row("and serves on while the registry is away", kept(started()), away(untold(serving())), after(1), rests()),
        row(
            "an environment that came later is switched on in its document",
            kept(started()),
            registry(environments(serving(), &[true]), |r| r.to_activate = true),
            after(1),
            does_at_once(&[ActivateDocuments]),
        ),
        row(
            "and one that lost its host is switched off",
            kept(started()),
            registry(serving(), |r| r.to_deactivate = true),
            after(1),
            does_at_once(&[DeactivateDocuments]),
        ),
        row(
            "drift is repaired while the registry is away",
            kept(started()),
            away(child(untold(serving()), Deployment, different())),
            after(1),
            does(&[Update(Deployment)]),
        ),
    ]);
}

#[test]
fn timed_out_gateways() {
    check(vec![
        row(
            "a timeout is told before the clean-up begins",
            kept(timed_out()),
            untold(coming_up()),
            after(1),
            does_at_once(&[Report]),
        ),
        row(
            "then the ordinary stop begins",
            kept(timed_out()),
            external(coming_up()),
            after(1),
            go(Phase::Stopping, State::Stopped, Reason::StartDeadlineExceeded, 1),
        ),
        row(
            "which waits for no registry",
            kept(timed_out()),
            away(untold(coming_up())),
            after(1),
            go(Phase::Stopping, State::Stopped, Reason::StartDeadlineExceeded, 1),
        ),
    ]);
}

#[test]
fn stopping_and_stopped_gateways() {
    let to_deactivate = |observed| registry(observed, |r| r.to_deactivate = true);
    check(vec![
        row(
            "documents are switched off after the Ingress is gone, and children do not wait for them",
            kept(stopping_as_asked()),
            to_deactivate(child(coming_up(), Ingress, Presence::Missing)),
            after(1),
            does_at_once(&[Delete(Service), Delete(Deployment), DeactivateDocuments]),
        ),
        row(
            "a gateway is stopped only when its documents are Inactive",
            kept(stopping_as_asked()),
            to_deactivate(nothing()),
            after(1),
            does_at_once(&[DeactivateDocuments]),
        ),
        row(
            "which a registry that is away holds up",
            kept(stopping_as_asked()),
            away(to_deactivate(nothing())),
            after(1),
            does_and_wakes(&[], 599),
        ),
        row(
            "a gateway without documents to switch off is stopped while the registry is away",
            kept(stopping_as_asked()),
            away(untold(nothing())),
            after(1),
            is_stopped(1),
        ),
        row(
            "a document that is Active although its gateway is stopped is switched off",
            kept(stopped_as_asked()),
            to_deactivate(nothing()),
            after(1),
            does_at_once(&[DeactivateDocuments]),
        ),
        row("a stop is told", kept(stopped_as_asked()), untold(nothing()), after(1), does(&[Report])),
    ]);
}
