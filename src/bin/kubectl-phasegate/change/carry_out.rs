//! Sends the patches and reports their outcome.
//!
//! **Architecture invariant**: every write of the plugin to the API server is sent here.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use kube::Api;
use kube::api::{Patch, PatchParams};
use phasegate::api::ApiGateway;
use phasegate::decide::human;

use super::outcome::{ChangeResult, Outcome};
use super::plan::Patching;
use super::verb::Verb;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::terminal::Shown;
use crate::wait;

/// The field manager of all writes, visible in managed fields and the audit log.
const FIELD_MANAGER: &str = "kubectl-phasegate";

/// The default number of gateways that are written or waited for at once.
const AT_ONCE: usize = 8;

/// How patches are sent.
pub struct ChangeOptions {
    /// The verb.
    pub verb: Verb,
    /// Whether the API server validates without storing.
    pub dry_run: bool,
    /// How long to wait for each gateway, if at all.
    pub wait_timeout: Option<Duration>,
    /// The maximum number of gateways in progress at once.
    pub max_parallel: Option<u16>,
    /// Whether nothing is printed before the end.
    pub quiet: bool,
    /// The progress line.
    pub progress: Progress,
}

impl ChangeOptions {
    /// Prints the outcome for a gateway. A failure is printed at the end.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn tell(&self, outcome: &Outcome) -> Result<(), Failure> {
        if self.quiet || outcome.failure.is_some() {
            return Ok(());
        }
        let Outcome { key, result, message, .. } = outcome;
        self.progress.clear();
        let result = match result {
            ChangeResult::Changed => String::new(),
            other => format!("{}: ", other.as_str()),
        };
        output::print(&Shown::sentence(&format!("{key} {result}{message}")))
    }

    /// Changes the gateways. With a batch limit, no gateway is changed after another has failed. Without one,
    /// all gateways are patched before the command waits for any.
    ///
    /// # Errors
    /// The output cannot be written.
    pub async fn carry_out(&self, cluster: &Cluster, patches: Vec<Patching>) -> Result<Vec<Outcome>, Failure> {
        let failed = Cell::new(false);
        let failed = &failed;
        let in_batch = self.max_parallel.is_some();
        let at_once = self.max_parallel.map_or(AT_ONCE, usize::from);
        let asked = stream::iter(patches).map(|patching| async move {
            if in_batch && failed.get() {
                let message = "skipped after another gateway failed".to_owned();
                return Outcome { result: ChangeResult::Untouched, message, ..patching.outcome };
            }
            let asked = ask(cluster, self.verb, self.dry_run, patching).await;
            let done = if in_batch { self.wait(cluster, asked).await } else { asked };
            if done.failure.is_some() {
                failed.set(true);
            }
            done
        });
        let mut done = Vec::new();
        let mut asked = asked.buffer_unordered(at_once);
        while let Some(outcome) = asked.next().await {
            if in_batch || self.wait_timeout.is_none() {
                self.tell(&outcome)?;
            }
            done.push(outcome);
        }
        drop(asked);
        if in_batch || self.wait_timeout.is_none() {
            return Ok(done);
        }
        let mut waited = stream::iter(done).map(|outcome| self.wait(cluster, outcome)).buffer_unordered(at_once);
        let mut done = Vec::new();
        while let Some(outcome) = waited.next().await {
            self.tell(&outcome)?;
            done.push(outcome);
        }
        Ok(done)
    }

    async fn wait(&self, cluster: &Cluster, mut outcome: Outcome) -> Outcome {
        let (Some(timeout), None) = (self.wait_timeout, &outcome.failure) else { return outcome };
        let (goal, begun) = (self.verb.goal(), Instant::now());
        match wait::until(cluster, &outcome.key, goal, timeout, &self.progress).await {
            Ok(()) => {
                outcome.message = format!("{} after {}", goal.words(), human(begun.elapsed()));
                outcome
            }
            Err(failure) => outcome.failed(failure),
        }
    }
}

/// Changes one gateway, and does not wait.
pub async fn send(cluster: &Cluster, verb: Verb, patching: Patching) -> Outcome {
    ask(cluster, verb, false, patching).await
}

async fn ask(cluster: &Cluster, verb: Verb, dry_run: bool, patching: Patching) -> Outcome {
    let Patching { mut outcome, patch, suspended } = patching;
    let api: Api<ApiGateway> = Api::namespaced(cluster.client.clone(), &outcome.key.namespace);
    let params = PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    if let Err(error) = api.patch(&outcome.key.name, &params, &Patch::Merge(&patch)).await {
        let what = format!("failed to change ApiGateway {}", outcome.key);
        return outcome.failed(cluster.refused(&what, &error));
    }
    if suspended && verb != Verb::Resume {
        outcome.message = format!("{}; reconciliation is suspended until it is resumed", outcome.message);
    }
    if dry_run {
        outcome.message = format!("{} (dry run)", outcome.message);
    }
    outcome
}
