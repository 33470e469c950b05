//! What the demos have in common.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use kube::ResourceExt;
use phasegate::api::{ApiGateway, Phase};
use phasegate_harness::cluster::Cluster;
use phasegate_harness::{Supervised, operator_program};

/// Tells what happens next.
pub fn say(line: &str) {
    println!("== {line}");
}

/// What a demo's end means for whoever started it.
pub fn exit_code(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The operator, with a log of its own.
pub struct Operator {
    process: Supervised,
    /// What it writes.
    pub log: PathBuf,
}

impl Operator {
    /// Starts the operator as the user of a kubeconfig.
    pub fn start(cluster: &Cluster, account: &Path, arguments: &[&str]) -> Result<Self> {
        let log = std::env::temp_dir().join(format!("phasegate-demo-{}.log", std::process::id()));
        let process = cluster.supervise(account, &operator_program()?, arguments, File::create(&log)?)?;
        Ok(Self { process, log })
    }

    /// Ends it, and removes its log where nothing went wrong.
    pub fn end(mut self, well: bool) -> Result<()> {
        if well {
            std::fs::remove_file(&self.log)?;
        }
        self.process.end()
    }
}

/// Tells every transition of gateways once.
pub struct Transitions {
    begun: Instant,
    told: BTreeMap<String, i64>,
}

impl Transitions {
    /// Moments are told as from `begun`.
    pub fn since(begun: Instant) -> Self {
        Self { begun, told: BTreeMap::new() }
    }

    /// Prints the transitions that were not printed yet.
    pub fn tell(&mut self, gateway: &ApiGateway) {
        let name = gateway.name_any();
        let status = gateway.status.clone().unwrap_or_default();
        let already = self.told.insert(name.clone(), status.transitions).unwrap_or_default();
        let fresh = usize::try_from(status.transitions - already).unwrap_or_default();
        for transition in status.history.iter().rev().take(fresh).rev() {
            let from = transition.from.as_ref().map_or("", Phase::as_str);
            println!(
                "{:6.1}s  {name:<7} {from:>9} → {:<9} state {:<11} {}: {}",
                self.begun.elapsed().as_secs_f32(),
                transition.to.as_str(),
                format!("{},", transition.state.as_str()),
                transition.reason,
                transition.message,
            );
        }
    }
}
