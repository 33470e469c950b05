#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mistakes;
mod worlds;

use crate::explore::{Report, explore};
use crate::world::World;

/// Explores a world and expects that everything holds in it.
fn holds(world: &World, most: usize) -> Report {
    let report = explore(world, most);
    println!("{}", report.line());
    if let Some(story) = &report.broken {
        panic!("{story}");
    }
    report
}

/// The most states of a world that is not explored completely.
fn most(usual: usize) -> usize {
    std::env::var("PHASEGATE_STATES").ok().and_then(|most| most.parse().ok()).unwrap_or(usual)
}
