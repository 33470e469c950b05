#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mistakes;
mod worlds;

use crate::explore::{Report, explore};
use crate::world::World;

/// Explores a world and expects that everything holds in it.
fn holds(world: &World, most: usize) -> Report {
    let mut world = world.clone();
    if let Ok(text) = std::env::var("TUNE") {
        let n: Vec<u8> = text.split(',').map(|n| n.parse().unwrap()).collect();
        world.budget = crate::world::Budget { edits: n[0], mishaps: n[1], crashes: n[2], answers: n[3] };
        world.lag.gateways &= n[4] & 1 != 0;
        world.lag.children &= n[4] & 2 != 0;
        world.lag.pods &= n[4] & 4 != 0;
        world.lag.environments &= n[4] & 8 != 0;
    }
    let most = std::env::var("LIMIT").ok().map_or(most, |n| n.parse().unwrap());
    let report = explore(&world, most);
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
