//! The worlds. Runs are judged in those that are explored completely.

use super::{holds, most};
use crate::world::{Answer, Budget, Edit, Lag, World};

/// The usual bound of a world.
const LIMIT: usize = 120_000;

const WATCHES: Lag = Lag { gateways: true, children: true, pods: true, environments: true };

/// What users do to one gateway.
pub(super) fn edited() -> World {
    World {
        edits: &[Edit::Run, Edit::Stop, Edit::Restart, Edit::RequestRestart, Edit::Retry, Edit::Image, Edit::Suspend],
        budget: Budget { edits: 1, ..Budget::default() },
        lag: Lag { children: true, ..Lag::default() },
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
        admission: true,
        finalizers: true,
        edits: &[Edit::Run, Edit::Stop, Edit::Restart, Edit::Retry, Edit::Image, Edit::Delete, Edit::Create],
        answers: &[Answer::Dropped, Answer::Lost, Answer::Conflict, Answer::Refused, Answer::Unavailable],
        budget: Budget { edits: 3, mishaps: 2, crashes: 2, answers: 2 },
        lag: WATCHES,
        ..World::named("everything")
    }
}

/// Explores a world, and judges its runs if that was all of it.
fn explored(world: &World) {
    holds(world, most(LIMIT));
}

#[test]
fn whatever_users_ask_in_which_order_nothing_happens_that_must_not() {
    explored(&edited());
}

#[test]
fn whatever_becomes_of_writes_and_answers_nothing_happens_that_must_not() {
    explored(&answered());
}

#[test]
fn whenever_an_operator_crashes_or_is_overtaken_nothing_happens_that_must_not() {
    explored(&crashed());
}

#[test]
fn a_gateway_that_is_deleted_and_created_anew_shares_nothing_with_the_earlier_one() {
    explored(&recreated());
}

#[test]
fn admission_and_other_writers_of_children_break_nothing() {
    explored(&admitted());
}

#[test]
fn environments_follow_their_gateway() {
    explored(&with_environments());
}

#[test]
fn a_registry_outside_kubernetes_learns_and_forgets_every_gateway() {
    explored(&registered());
}

#[test]
fn two_gateways_never_hold_one_host() {
    explored(&of_one_host());
}

#[test]
fn an_object_of_others_with_the_name_of_a_child_is_left_alone() {
    explored(&of_taken_name());
}

#[test]
fn in_the_large_world_nothing_happens_that_must_not() {
    let bound = most(200_000);
    let report = holds(&large(), bound);
    assert!(report.complete || report.states >= bound);
}
