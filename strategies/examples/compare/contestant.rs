//! The contestants, each a process of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use phasegate_harness::cluster::client_of;
use phasegate_harness::{root, wire};
use phasegate_strategies::cluster::Cluster;
use phasegate_strategies::job::Settings;
use phasegate_strategies::saga::choreographed::Choreographed;
use phasegate_strategies::saga::orchestrated::Orchestrated;
use phasegate_strategies::sourcing::Sourced;
use phasegate_strategies::store::Store;
use phasegate_strategies::worker::work;

/// A design that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    Machine,
    Orchestrated,
    Choreographed,
    Sourced,
}

pub const ALL: [Contestant; 4] =
    [Contestant::Machine, Contestant::Orchestrated, Contestant::Choreographed, Contestant::Sourced];

impl Contestant {
    pub fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Orchestrated => "orchestrated",
            Self::Choreographed => "choreographed",
            Self::Sourced => "sourced",
        }
    }

    /// The files that one has to read: those of the design, not what all share.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Machine => &["src/control", "src/registry", "core/src/decide"],
            Self::Orchestrated => &[
                "strategies/src/saga/steps.rs",
                "strategies/src/saga/lease.rs",
                "strategies/src/saga/log.rs",
                "strategies/src/saga/coordinator.rs",
                "strategies/src/saga/orchestrated.rs",
            ],
            Self::Choreographed => &[
                "strategies/src/outbox.rs",
                "strategies/src/saga/choreography.rs",
                "strategies/src/saga/choreographed.rs",
            ],
            Self::Sourced => &["strategies/src/sourcing.rs"],
        }
    }

    /// The lines of code in its files, without tests, comments and empty lines.
    pub fn lines(self) -> Result<usize> {
        let mut lines = 0;
        for file in self.files() {
            for path in sources(&root().join(file))? {
                let text = std::fs::read_to_string(path)?;
                let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines().map(str::trim);
                lines += code.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
            }
        }
        Ok(lines)
    }

    /// The concepts that the header of its last file lists. The machine's are the phases and the words of its table.
    pub fn concepts(self) -> Result<usize> {
        let file = match self {
            Self::Machine => "strategies/examples/compare/machine-concepts.txt",
            other => other.files().last().copied().unwrap_or_default(),
        };
        let text = std::fs::read_to_string(root().join(file))?;
        let header: Vec<&str> = text
            .lines()
            .map(|line| line.trim_start_matches("//!").trim())
            .take_while(|line| !line.starts_with("use "))
            .collect();
        let header = header.join(" ");
        let list = header.split("concepts:").nth(1).with_context(|| format!("{file} lists no concepts"))?;
        Ok(list.split(',').filter(|concept| !concept.trim().is_empty()).count())
    }
}

fn sources(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if !is_test && (path.is_dir() || path.extension().is_some_and(|extension| extension == "rs")) {
            found.extend(sources(&path)?);
        }
    }
    Ok(found)
}

/// Runs a contestant in this process, with the cluster of KUBECONFIG: name, URI, database, namespace, deadline in ms.
pub async fn run(arguments: &[String]) -> Result<()> {
    let [name, uri, database, namespace, deadline] = arguments else { bail!("five arguments, not {arguments:?}") };
    let poll = Duration::from_millis(200);
    let (namespace, domain) = (namespace.clone(), format!("{namespace}.example.com"));
    let settings = Settings { namespace, domain, deadline: Duration::from_millis(deadline.parse()?), poll };
    let kubeconfig = PathBuf::from(std::env::var_os("KUBECONFIG").context("KUBECONFIG is not set")?);
    let cluster = Arc::new(Cluster::new(client_of(&kubeconfig).await?, settings));
    let store = Store::new(wire::client_of(uri).await?.database(database));
    match name.as_str() {
        "orchestrated" => work(Arc::new(Orchestrated::new(store.clone(), cluster)), store, poll).await,
        "choreographed" => Choreographed::new(store.clone(), cluster).run(store, poll).await,
        "sourced" => work(Arc::new(Sourced::new(store.clone(), cluster)), store, poll).await,
        other => bail!("{other} is no contestant"),
    }
    Ok(())
}
