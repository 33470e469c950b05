//! The worlds. All but the last are explored completely, so that runs are judged as well as states.

use super::{holds, most};
use crate::world::{Answer, Budget, Edit, Lag, World};

/// Bounds a world that must be complete.
const LIMIT: usize = 20_000_000;

const WATCHES: Lag = Lag { gateways: true, children: true, pods: true, environments: true };

/// What users do to one gateway.
pub(super) fn edited() -> World {
    World {
        edits: &[Edit::Run, Edit::Stop, Edit::Restart, Edit::RequestRestart, Edit::Retry, Edit::Image, Edit::Suspend],
        budget: Budget { edits: 2, mishaps: 1, ..Budget::default() },
        lag: Lag { gateways: true, children: true, ..Lag::default() },
        ..World::named("edits")
    }
}

/// Answers of every kind.
pub(super) fn answered() -> World {
    World {
        edits: &[Edit::Stop, Edit::Run],
        answers: &[
            Answer::Dropped,
            Answer::Lost,
            Answer::Delayed,
            Answer::Doubled,
            Answer::Conflict,
            Answer::Refused,
            Answer::Unavailable,
        ],
        budget: Budget { edits: 1, answers: 2, ..Budget::default() },
        lag: Lag { gateways: true, children: true, ..Lag::default() },
        ..World::named("answers")
    }
}

/// Crashes and leases that are lost.
pub(super) fn crashed() -> World {
    World {
        edits: &[Edit::Stop, Edit::Run, Edit::RequestRestart],
        budget: Budget { edits: 1, crashes: 2, mishaps: 1, ..Budget::default() },
        lag: Lag { gateways: true, children: true, ..Lag::default() },
        ..World::named("crashes")
    }
}

/// A gateway that is deleted and created anew.
pub(super) fn recreated() -> World {
    World {
        edits: &[Edit::Delete, Edit::Create],
        answers: &[Answer::Lost, Answer::Delayed, Answer::Doubled],
        budget: Budget { edits: 2, answers: 1, crashes: 1, ..Budget::default() },
        finalizers: true,
        lag: Lag { gateways: true, children: true, ..Lag::default() },
        ..World::named("recreation")
    }
}

/// Admission that changes every child, and clients that edit and delete them.
pub(super) fn admitted() -> World {
    World {
        admission: true,
        edits: &[Edit::Image, Edit::Stop],
        answers: &[Answer::Lost, Answer::Conflict],
        budget: Budget { edits: 1, mishaps: 2, crashes: 1, answers: 1 },
        lag: Lag { children: true, ..Lag::default() },
        ..World::named("admission")
    }
}

/// Two environments.
pub(super) fn with_environments() -> World {
    World {
        environments: 2,
        edits: &[Edit::Stop, Edit::Run, Edit::Delete],
        answers: &[Answer::Dropped, Answer::Lost],
        budget: Budget { edits: 1, crashes: 1, answers: 1, ..Budget::default() },
        lag: Lag { gateways: true, environments: true, ..Lag::default() },
        ..World::named("environments")
    }
}

/// A registry outside Kubernetes.
pub(super) fn registered() -> World {
    World {
        registry: true,
        edits: &[Edit::Stop, Edit::Run, Edit::Delete],
        answers: &[Answer::Dropped, Answer::Lost, Answer::Conflict],
        budget: Budget { edits: 2, crashes: 1, answers: 1, ..Budget::default() },
        lag: Lag { gateways: true, ..Lag::default() },
        ..World::named("registry")
    }
}

/// Two gateways that ask for one host.
pub(super) fn of_one_host() -> World {
    World {
        gateways: 2,
        host: true,
        edits: &[Edit::Stop, Edit::Delete],
        budget: Budget { edits: 1, crashes: 1, ..Budget::default() },
        lag: Lag { gateways: true, ..Lag::default() },
        ..World::named("one host")
    }
}

/// An object of others with a child's name.
pub(super) fn of_taken_name() -> World {
    World {
        foreign: true,
        edits: &[Edit::Stop, Edit::Delete, Edit::Run],
        answers: &[Answer::Lost, Answer::Delayed],
        budget: Budget { edits: 2, mishaps: 1, crashes: 1, answers: 1 },
        lag: Lag { gateways: true, children: true, ..Lag::default() },
        ..World::named("taken name")
    }
}

/// Everything at once.
fn large() -> World {
    World {
        gateways: 2,
        environments: 2,
        host: true,
        admission: true,
        finalizers: true,
        edits: &[Edit::Run, Edit::Stop, Edit::Restart, Edit::Retry, Edit::Image, Edit::Delete, Edit::Create],
        answers: &[Answer::Dropped, Answer::Lost, Answer::Conflict, Answer::Refused, Answer::Unavailable],
        budget: Budget { edits: 3, mishaps: 2, crashes: 2, answers: 2 },
        lag: WATCHES,
        ..World::named("everything")
    }
}

/// The worlds that are explored completely.
pub(super) fn complete() -> Vec<World> {
    vec![
        edited(),
        answered(),
        crashed(),
        recreated(),
        admitted(),
        with_environments(),
        registered(),
        of_one_host(),
        of_taken_name(),
    ]
}

#[test]
fn in_every_small_world_what_was_requested_last_holds_in_the_end() {
    let mut states = 0;
    for world in complete() {
        let report = holds(&world, LIMIT);
        assert!(report.complete, "{} is larger than {LIMIT} states", world.name);
        states += report.states;
    }
    println!("{states} states in complete worlds");
}

#[test]
fn in_the_large_world_nothing_happens_that_must_not() {
    let bound = most(600_000);
    let report = holds(&large(), bound);
    assert!(report.complete || report.states >= bound);
}
