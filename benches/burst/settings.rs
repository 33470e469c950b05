//! What a run is told by its environment.

use std::str::FromStr;

use anyhow::{Result, anyhow};

/// Where the gateways are recorded that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registry {
    /// In Kubernetes alone: beside a raw client and the ancestor.
    Kubernetes,
    /// In MongoDB as well: beside the operator with Kubernetes alone.
    MongoDb,
}

impl FromStr for Registry {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "kubernetes" => Ok(Self::Kubernetes),
            "mongodb" => Ok(Self::MongoDb),
            _ => Err(()),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Which registry is measured.
    pub registry: Registry,
    /// Gateways of a burst.
    pub gateways: usize,
    /// Pairs of bursts, one by each of two contestants.
    pub runs: usize,
    /// How many gateways the raw client starts at once; 0: what is best is found by trying.
    pub at_once: usize,
    /// Whether the raw client takes part. A fleet that is large enough to be measured alone takes its time.
    pub raw: bool,
    /// Whether the fleet of the last burst is followed further.
    pub fleet: bool,
    /// Whether the ancestor's model runs as well.
    pub ancestor: bool,
}

impl Settings {
    /// `REGISTRY`, `N`, `RUNS`, `AT_ONCE`, `RAW`, `FLEET` and `ANCESTOR` of the environment.
    pub fn from_env() -> Result<Self> {
        Ok(Self {
            registry: variable("REGISTRY", Registry::Kubernetes)?,
            gateways: variable("N", 300)?.max(1),
            runs: variable("RUNS", 3)?.max(1),
            at_once: variable("AT_ONCE", 0)?,
            raw: variable::<u8>("RAW", 1)? != 0,
            fleet: variable::<u8>("FLEET", 1)? != 0,
            ancestor: variable::<u8>("ANCESTOR", 1)? != 0,
        })
    }
}

fn variable<T: FromStr>(name: &str, default: T) -> Result<T> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| anyhow!("{name}={text} is not one of its values")),
        _ => Ok(default),
    }
}
