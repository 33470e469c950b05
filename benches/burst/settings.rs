//! What a run is told by its environment.

use std::str::FromStr;

use anyhow::{Result, anyhow};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Gateways of a burst.
    pub gateways: usize,
    /// Pairs of bursts, one by the raw client and one by the operator.
    pub runs: usize,
    /// How many gateways the raw client starts at once; 0: what is best is found by trying.
    pub at_once: usize,
    /// Whether the fleet of the last burst is followed further.
    pub fleet: bool,
    /// Whether the ancestor's model runs as well.
    pub ancestor: bool,
}

impl Settings {
    /// `N`, `RUNS`, `AT_ONCE`, `FLEET` and `ANCESTOR` of the environment.
    pub fn from_env() -> Result<Self> {
        Ok(Self {
            gateways: variable("N", 300)?.max(1),
            runs: variable("RUNS", 3)?.max(1),
            at_once: variable("AT_ONCE", 0)?,
            fleet: variable::<u8>("FLEET", 1)? != 0,
            ancestor: variable::<u8>("ANCESTOR", 1)? != 0,
        })
    }
}

fn variable<T: FromStr>(name: &str, default: T) -> Result<T> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| anyhow!("{name}={text} is no such number")),
        _ => Ok(default),
    }
}
