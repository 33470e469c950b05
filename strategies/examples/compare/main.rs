//! Runs every design under every fault, and prints what happened as tables.
//!
//! `make compare` runs it. Sizes are variables: COMPARE_BURST, COMPARE_GATEWAYS, COMPARE_CRASHES, COMPARE_OUTAGE,
//! COMPARE_DEADLINE and COMPARE_PATIENCE (seconds). COMPARE_ONLY narrows to contestants and faults whose names contain
//! one of its words. COMPARE_OUT names a file for the tables.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod contestant;
mod gate;
mod report;
mod scenarios;
mod settings;
mod stage;

use std::io::Write;

use anyhow::Result;

use settings::Settings;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "contestant" => contestant::run(rest).await,
        _ => compare().await,
    }
}

async fn compare() -> Result<()> {
    let settings = Settings::read()?;
    let only = std::env::var("COMPARE_ONLY").unwrap_or_default();
    let is_wanted = |names: [&str; 2]| {
        only.is_empty() || only.split(',').any(|word| names.iter().any(|name| name.contains(word.trim())))
    };
    let mut tables = report::HEAD.to_owned();
    print!("{tables}");
    for scenario in scenarios::ALL {
        for contestant in contestant::ALL {
            if !is_wanted([scenario.name(), contestant.name()]) {
                continue;
            }
            let outcome = scenario.run(contestant, &settings).await?;
            let line = report::line(&(scenario, contestant, outcome));
            print!("{line}");
            std::io::stdout().flush()?;
            tables += &line;
        }
    }
    let sizes = report::sizes()?;
    print!("\n{sizes}");
    tables += &format!("\n{sizes}");
    if let Some(file) = std::env::var_os("COMPARE_OUT") {
        std::fs::write(file, tables)?;
    }
    Ok(())
}
