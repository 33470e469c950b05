//! The tables, as markdown.

use std::time::Duration;

use anyhow::Result;

use crate::contestant::{self, Contestant};
use crate::scenarios::{Outcome, Scenario};

/// A row: what a contestant did in a scenario.
pub type Row = (Scenario, Contestant, Outcome);

pub const HEAD: &str = "| fault | contestant | reached | mean | p99 | children left | documents left | by hand | writes to the API server | writes to the database | processor | recovery |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";

/// The line of a row.
pub fn line((scenario, contestant, outcome): &Row) -> String {
    let Outcome { gateways, took, left, spent, recovery } = outcome;
    let mut took = took.clone();
    took.sort();
    let count = u32::try_from(took.len().max(1)).unwrap_or(u32::MAX);
    let mean = took.iter().sum::<Duration>() / count;
    let p99 = took.get((took.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
    let hand = gateways - took.len();
    format!(
        "| {} | {} | {} of {gateways} | {} | {} | {} | {} | {hand} | {} | {} | {} | {} |\n",
        scenario.name(),
        contestant.name(),
        took.len(),
        seconds(mean),
        seconds(p99),
        left.children,
        left.documents,
        spent.api_writes,
        spent.database_writes,
        seconds(spent.cpu),
        recovery.map(seconds).unwrap_or_default(),
    )
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// What is to be read and learned of each contestant.
pub fn sizes() -> Result<String> {
    let mut table = "| contestant | lines of code | concepts |\n|---|---|---|\n".to_owned();
    for contestant in contestant::ALL {
        table += &format!("| {} | {} | {} |\n", contestant.name(), contestant.lines()?, contestant.concepts()?);
    }
    Ok(table)
}
