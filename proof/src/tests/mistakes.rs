//! The checker's own power: it finds every mistake that is planted in the modelled operator.

use super::worlds::{admitted, answered, crashed, edited, of_taken_name, recreated, registered};
use crate::explore::explore;
use crate::world::{Planted, World};

const LIMIT: usize = 3_000_000;

/// Each mistake, a world in which it shows, and the end of the story.
fn planted() -> Vec<(Planted, World, &'static str)> {
    vec![
        (Planted::DeadlineIgnored, edited(), "an attempt ends before its deadline"),
        (Planted::StatusOverwritten, answered(), "a status goes back to an older truth"),
        (Planted::OwnerIgnored, of_taken_name(), "a child of another owner is changed"),
        (Planted::DeletedByName, recreated(), "a child of another owner is changed"),
        (Planted::FinalizerEarly, registered(), "the finalizer goes while the registry still has the gateway"),
        (Planted::LeaseUnchecked, crashed(), "an operator writes although its claim is over"),
        (Planted::CacheTrusted, edited(), "although the gateway is ready"),
        (Planted::AcceptedForgotten, admitted(), "it can stay so for ever"),
        (Planted::StatusBeforeReady, edited(), "a gateway becomes Started before its pods are ready"),
        (Planted::RequestsDropped, edited(), "it can stay so for ever"),
        (Planted::OwnerForgotten, edited(), "it can stay so for ever"),
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
