//! The checker's own power: it finds every mistake that is planted in the modelled operator.

use super::worlds::{answered, crashed, edited, of_taken_name, registered};
use crate::explore::explore;
use crate::world::{Budget, Edit, Planted, World};

const LIMIT: usize = 400_000;

fn plain() -> World {
    World::named("plain")
}

fn stopped() -> World {
    World { edits: &[Edit::Stop, Edit::Run], budget: Budget { edits: 2, ..Budget::default() }, ..plain() }
}

/// Each mistake, a small world in which it shows, and the end of the story.
fn planted() -> Vec<(Planted, World, &'static str)> {
    vec![
        (Planted::DeadlineIgnored, edited(), "an attempt ends before its deadline"),
        (Planted::StatusOverwritten, answered(), "a status goes back to an older truth"),
        (Planted::OwnerIgnored, of_taken_name(), "a child of another owner is changed"),
        (Planted::FinalizerEarly, registered(), "the finalizer goes while the registry still has the gateway"),
        (Planted::LeaseUnchecked, crashed(), "an operator writes although its claim is over"),
        (Planted::CacheTrusted, edited(), "although the gateway is ready"),
        (Planted::AcceptedForgotten, World { admission: true, ..plain() }, "although the gateway is ready"),
        (Planted::StatusBeforeReady, edited(), "a gateway becomes Started before its pods are ready"),
        (Planted::RequestsDropped, stopped(), "it can stay so for ever"),
        (Planted::OwnerForgotten, plain(), "it can stay so for ever"),
    ]
}

#[test]
fn every_planted_mistake_is_found_with_its_story() {
    let mut missed = Vec::new();
    for (mistake, world, end) in planted() {
        let report = explore(&World { planted: Some(mistake), ..world }, LIMIT);
        match &report.broken {
            Some(story) if story.contains(end) => {
                println!("{mistake:?}, after {} states in {:.1} s:\n{story}", report.states, report.took.as_secs_f64());
            }
            other => missed.push(format!("{mistake:?}: {other:?} ({})", report.line())),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn without_a_mistake_the_last_request_holds_in_the_end() {
    for world in [plain(), stopped(), World { admission: true, ..plain() }] {
        let report = super::holds(&world, LIMIT);
        assert!(report.complete, "{}", report.line());
    }
}
