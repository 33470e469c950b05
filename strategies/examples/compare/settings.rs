//! The sizes, from variables of the environment.

use std::time::Duration;

use anyhow::{Context, Result};

/// The sizes of the comparison.
pub struct Settings {
    /// Gateways of the burst.
    pub burst: usize,
    /// Gateways of the other scenarios.
    pub gateways: usize,
    /// The largest number of a write at which a crash is tried, in each place.
    pub crashes: usize,
    /// How long the database and the API server are away.
    pub outage: Duration,
    /// The start deadline of gateways that cannot start.
    pub deadline: Duration,
    /// How long a scenario waits for gateways.
    pub patience: Duration,
}

impl Settings {
    pub fn read() -> Result<Self> {
        Ok(Self {
            burst: number("COMPARE_BURST", 300)?,
            gateways: number("COMPARE_GATEWAYS", 10)?,
            crashes: number("COMPARE_CRASHES", 30)?,
            outage: seconds("COMPARE_OUTAGE", 60)?,
            deadline: seconds("COMPARE_DEADLINE", 10)?,
            patience: seconds("COMPARE_PATIENCE", 60)?,
        })
    }
}

fn number(variable: &str, default: usize) -> Result<usize> {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => value.parse().with_context(|| format!("{variable}={value}")),
        _ => Ok(default),
    }
}

fn seconds(variable: &str, default: usize) -> Result<Duration> {
    Ok(Duration::from_secs(number(variable, default)? as u64))
}
