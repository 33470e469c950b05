//! Writes a report page by page and redacts each page.
//!
//! **Architecture invariant**: a failed read does not end the report. It is listed in `not-read.txt`.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt};
use phasegate::cluster::PAGE;
use phasegate::shown::on_one_line;
use serde_json::Value;

use super::archive::Archive;
use super::kinds::{Kind, OPERATOR};
use super::redact::Redactor;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::progress::Progress;

/// The number of lines taken from the end of a container's log.
const LOG_LINES: i64 = 50_000;

/// An unfinished report.
pub struct Writer<'a> {
    cluster: &'a Cluster,
    archive: Archive,
    progress: Progress,
    redactor: Redactor,
    /// The UIDs of the written objects, whose Events belong to the report.
    uids: BTreeSet<String>,
    /// The number of objects of each kind, for the summary.
    counts: Vec<String>,
    /// The reads that failed, and why.
    unread: Vec<String>,
}

impl<'a> Writer<'a> {
    /// An empty report.
    pub fn new(cluster: &'a Cluster, archive: Archive) -> Self {
        Self {
            cluster,
            archive,
            progress: Progress::new(),
            redactor: Redactor::default(),
            uids: BTreeSet::new(),
            counts: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// The UIDs of all objects written so far.
    pub fn uids(&self) -> &BTreeSet<String> {
        &self.uids
    }

    /// Writes the selected objects of a kind, page by page, to a file of their own.
    ///
    /// # Errors
    /// The file cannot be written. Objects that cannot be read are noted in the report.
    pub async fn objects(
        &mut self,
        file: &str,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<(), Failure> {
        let api = kind.api(self.cluster, namespace);
        self.progress.show(&format!("reading {}", kind.plural));
        let mut params = ListParams::default().labels(labels).limit(PAGE);
        let mut count = 0;
        self.archive.begin(file)?;
        loop {
            let page = match api.list(&params).await {
                Ok(page) => page,
                Err(error) => {
                    self.could_not(kind.plural, namespace, &error);
                    break;
                }
            };
            let objects: Vec<Value> =
                page.items.into_iter().map(|object| serde_json::to_value(object).unwrap_or_default()).collect();
            // The operator's log mentions objects that are not selected, too.
            objects.iter().for_each(|object| self.redactor.collect(object));
            for mut object in objects.into_iter().filter(&wanted) {
                // Items of a list lack their kind.
                object["apiVersion"] = format!("{}/{}", kind.group, kind.version).trim_start_matches('/').into();
                object["kind"] = kind.kind.into();
                self.uids.extend(object["metadata"]["uid"].as_str().map(str::to_owned));
                self.archive.add(&self.redactor.document(&object)?)?;
                count += 1;
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        self.counts.push(format!("{file}: {count}"));
        Ok(())
    }

    fn could_not(&mut self, what: &str, namespace: Option<&str>, error: &kube::Error) {
        let place = namespace.map_or("of all namespaces".to_owned(), |namespace| format!("of namespace {namespace}"));
        let sentence = self.cluster.refused(&format!("{what} {place}"), error).sentence;
        self.unread.push(on_one_line(&sentence));
    }

    /// Writes the logs of the operator's pods, including those of containers before a restart.
    ///
    /// # Errors
    /// The file cannot be written. A log that cannot be read is noted in the report.
    pub async fn logs(&mut self, namespace: &str, since: Option<Duration>) -> Result<(), Failure> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), namespace);
        // A failure to list pods was noted when they were written.
        let Ok(found) = pods.list(&ListParams::default().labels(OPERATOR)).await else { return Ok(()) };
        for pod in &found {
            for (file, params) in logs_of(pod, since) {
                self.progress.show("reading the operator's logs");
                match pods.logs(&pod.name_any(), &params).await {
                    Ok(log) => {
                        self.archive.begin(&format!("operator/{file}.log"))?;
                        self.archive.add(&self.redactor.lines(&log))?;
                    }
                    Err(error) => self.could_not(&format!("the log {file}"), Some(namespace), &error),
                }
            }
        }
        Ok(())
    }

    /// Writes the summary and finishes the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self, server: &str, now: Timestamp) -> Result<Vec<String>, Failure> {
        self.archive.begin("report.txt")?;
        self.archive.add(&self.redactor.lines(&format!(
            "time: {now}\nkubectl-phasegate: {}\nKubernetes: {server}\n\nobjects\n{}\n",
            env!("CARGO_PKG_VERSION"),
            self.counts.join("\n")
        )))?;
        if !self.unread.is_empty() {
            self.archive.begin("not-read.txt")?;
            self.archive.add(&self.redactor.lines(&format!("{}\n", self.unread.join("\n"))))?;
        }
        self.archive.finish()?;
        Ok(self.unread)
    }
}

/// The logs of a pod: one for each container and one for its previous instance, each with its file name.
fn logs_of(pod: &Pod, since: Option<Duration>) -> Vec<(String, LogParams)> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let restarted: BTreeSet<&str> =
        statuses.filter(|status| status.restart_count > 0).map(|status| status.name.as_str()).collect();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.as_str());
    let runs = containers.flat_map(|container| {
        [false, true]
            .into_iter()
            .filter(|previous| !previous || restarted.contains(container))
            .map(move |previous| (container, previous))
    });
    runs.map(|(container, previous)| {
        let file = format!("{}-{container}{}", pod.name_any(), if previous { "-previous" } else { "" });
        let params = LogParams {
            container: Some(container.to_owned()),
            previous,
            since_seconds: since.and_then(|since| i64::try_from(since.as_secs()).ok()),
            tail_lines: Some(LOG_LINES),
            timestamps: true,
            ..LogParams::default()
        };
        (file, params)
    })
    .collect()
}
