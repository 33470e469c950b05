//! The rows of "none, Created".

use super::*;
use crate::decide::observed::Presence;

#[test]
fn none_and_created() {
    check(vec![
        row(
            "a new gateway that is asked to be stopped is stopped at once: nothing was created",
            but(fresh(), asks_stopped),
            nothing(),
            after(0),
            go(Phase::Stopped, State::Stopped, Reason::StopRequested, 0),
        ),
        row(
            "a gateway that waited and is now asked to be stopped is stopped at once",
            but(created(), asks_stopped),
            nothing(),
            after(60),
            go(Phase::Stopped, State::Stopped, Reason::StopRequested, 0),
        ),
        row(
            "a new gateway that is asked to be stopped does not wait for a host that it will not use",
            but(fresh(), asks_stopped),
            host_taken(nothing()),
            after(0),
            go(Phase::Stopped, State::Stopped, Reason::StopRequested, 0),
        ),
        row(
            "a new gateway whose host is taken is held before any attempt",
            fresh(),
            host_taken(nothing()),
            after(0),
            go(Phase::Created, State::Running, Reason::HostTaken, 0),
        ),
        row(
            "a new gateway whose namespace may not have its host is held before any attempt",
            fresh(),
            host_not_allowed(nothing()),
            after(0),
            go(Phase::Created, State::Running, Reason::HostNotAllowed, 0),
        ),
        row(
            "a held gateway whose host is still taken goes on waiting, without a clock",
            created(),
            host_taken(nothing()),
            after(100_000),
            rests(),
        ),
        row(
            "a new gateway whose Deployment is a stranger's is held before any attempt",
            fresh(),
            child(nothing(), Deployment, Presence::Stranger("Deployment \"x\"".to_owned())),
            after(0),
            go(Phase::Created, State::Running, Reason::NameTaken, 0),
        ),
        row(
            "a new gateway whose Service is a stranger's is held before any attempt",
            fresh(),
            name_taken(nothing()),
            after(0),
            go(Phase::Created, State::Running, Reason::NameTaken, 0),
        ),
        row(
            "a new gateway whose Ingress is a stranger's is held before any attempt",
            fresh(),
            child(nothing(), Ingress, Presence::Stranger("nobody".to_owned())),
            after(0),
            go(Phase::Created, State::Running, Reason::NameTaken, 0),
        ),
        row(
            "a new gateway whose PodDisruptionBudget is a stranger's is held before any attempt",
            fresh(),
            child(nothing(), PodDisruptionBudget, Presence::Stranger("nobody".to_owned())),
            after(0),
            go(Phase::Created, State::Running, Reason::NameTaken, 0),
        ),
        row(
            "a held gateway whose name is still taken touches nothing",
            created(),
            name_taken(nothing()),
            after(100_000),
            rests(),
        ),
        row(
            "a new gateway waits until its predecessor's children are collected",
            fresh(),
            predecessor_goes(nothing()),
            after(0),
            go(Phase::Created, State::Running, Reason::WaitingForDeletion, 0),
        ),
        row(
            "a held gateway goes on waiting while its predecessor's children are there",
            created(),
            predecessor_goes(nothing()),
            after(100_000),
            rests(),
        ),
        row(
            "a new gateway that cannot be recorded is held, without a clock",
            fresh(),
            registry_away(nothing()),
            after(0),
            go(Phase::Created, State::Running, Reason::RegistryUnavailable, 0),
        ),
        row(
            "a held gateway that still cannot be recorded goes on waiting, without a clock",
            created(),
            registry_away(nothing()),
            after(100_000),
            rests(),
        ),
        row(
            "a taken host is told before a registry that does not answer",
            fresh(),
            host_taken(registry_away(nothing())),
            after(0),
            go(Phase::Created, State::Running, Reason::HostTaken, 0),
        ),
        row("a new gateway begins attempt 1", fresh(), nothing(), after(0), starts(1)),
        row(
            "a held gateway begins attempt 1 by itself once nothing is in its way",
            created(),
            nothing(),
            after(100_000),
            starts(1),
        ),
        row(
            "a new gateway whose spec.state is Restarting is simply started",
            but(fresh(), asks_restarting),
            nothing(),
            after(0),
            starts(1),
        ),
        row(
            "a new gateway that carries both annotations is simply started",
            but(but(fresh(), asks_for_a_restart), asks_for_a_retry),
            nothing(),
            after(0),
            starts(1),
        ),
        row("a new gateway without a host is started", but(fresh(), drops_the_host), nothing(), after(0), starts(1)),
    ]);
}
