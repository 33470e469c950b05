//! A report as it is written: page by page, and redacted on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt};
use phasegate::cluster::PAGE;
use serde_json::Value;

use super::archive::Archive;
use super::kinds::{Kind, OPERATOR};
use super::redact::Redactor;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::output::Data;
use crate::progress::Progress;
use crate::terminal::Shown;

/// How much of a container's log is taken, from its end.
const LOG_LINES: i64 = 50_000;

/// A report in the making.
pub struct Writer<'a> {
    cluster: &'a Cluster,
    archive: Archive,
    progress: Progress,
    redactor: Redactor,
    /// The uids of what was written, whose events are wanted.
    uids: BTreeSet<String>,
    /// How many objects of each kind, for the summary.
    counts: Vec<String>,
    /// What could not be read, and why.
    unread: Vec<String>,
}

impl<'a> Writer<'a> {
    /// A report with nothing in it.
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

    /// The uids of what was written so far.
    pub fn uids(&self) -> &BTreeSet<String> {
        &self.uids
    }

    /// Writes the objects of a kind that are wanted, page by page, to a file of their own.
    ///
    /// # Errors
    /// When the file cannot be written. That objects cannot be read is part of the report.
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
            // The operator's log speaks of those as well that are not wanted.
            objects.iter().for_each(|object| self.redactor.meet(object));
            for mut object in objects.into_iter().filter(&wanted) {
                // Items of a list do not say of what kind they are.
                object["apiVersion"] = format!("{}/{}", kind.group, kind.version).trim_start_matches('/').into();
                object["kind"] = kind.kind.into();
                self.uids.extend(object["metadata"]["uid"].as_str().map(str::to_owned));
                let text = Data::Yaml.text(&self.redactor.object(&object))?;
                self.archive.add(&Shown::from_iter([Shown::text("---\n"), text]))?;
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
        self.unread.push(self.redactor.text(&sentence));
    }

    /// Writes the logs of the operator's pods, and of what their containers were before a restart.
    ///
    /// # Errors
    /// When the file cannot be written. That a log cannot be read is part of the report.
    pub async fn logs(&mut self, namespace: &str, since: Option<Duration>) -> Result<(), Failure> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), namespace);
        // That pods cannot be listed was said when they were written.
        let Ok(found) = pods.list(&ListParams::default().labels(OPERATOR)).await else { return Ok(()) };
        for pod in &found {
            for (file, params) in logs_of(pod, since) {
                self.progress.show("reading the operator's logs");
                match pods.logs(&pod.name_any(), &params).await {
                    Ok(log) => {
                        self.archive.begin(&format!("operator/{file}.log"))?;
                        self.archive.add(&Shown::text(&self.redactor.text(&log)))?;
                    }
                    Err(error) => self.could_not(&format!("the log {file}"), Some(namespace), &error),
                }
            }
        }
        Ok(())
    }

    /// Writes what everything else is about, and ends the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self, server: &str, now: Timestamp) -> Result<Vec<String>, Failure> {
        self.archive.begin("report.txt")?;
        self.archive.add(&Shown::text(&format!(
            "time: {now}\nkubectl-phasegate: {}\nKubernetes: {server}\n\nobjects\n{}\n",
            env!("CARGO_PKG_VERSION"),
            self.counts.join("\n")
        )))?;
        if !self.unread.is_empty() {
            self.archive.begin("not-read.txt")?;
            self.archive.add(&self.unread.iter().map(|line| Shown::sentence(line)).collect())?;
        }
        self.archive.finish()?;
        Ok(self.unread)
    }
}

/// The logs of a pod: of each container, and of what it was before a restart; each with the name of its file.
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
