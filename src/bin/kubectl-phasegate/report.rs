//! `report`: a zip file with what somebody needs who is to help, secrets left out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, ListParams, LogParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use phasegate::children::NAME_LABEL;
use serde_json::Value;

use crate::archive::Archive;
use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::{self, Failure};
use crate::offline;
use crate::output::{self, Data};
use crate::progress::Progress;
use crate::redact::Redactor;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate report                   # all gateways of the namespace
  kubectl phasegate report shop bank         # these two
  kubectl phasegate report -A --since 2h -o incident.zip

The file holds gateways, environments, their children, pods and events as YAML, and the operator's pods with their \
logs. Values of variables, arguments and annotations are left out, and whatever looks like a credential; Secrets and \
ConfigMaps are never read, nor are the logs of gateways. What you may not read is listed in not-read.txt. Look through it \
before you hand it on.";

/// The label of the operator's own objects.
const OPERATOR: &str = "app.kubernetes.io/name=phasegate";

/// How many objects are asked for at once.
const PAGE: u32 = 500;

/// How much of a container's log is taken, from its end.
const LOG_LINES: i64 = 50_000;

/// The arguments of `report`.
#[derive(Debug, clap::Args)]
pub struct Report {
    /// The gateways. None: all of the namespace
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "names")]
    all_namespaces: bool,

    /// The file to write. None: phasegate-report-TIME.zip, here
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Where the operator runs
    #[arg(long, value_name = "NAMESPACE", default_value = "phasegate-system")]
    operator_namespace: String,

    /// Leave out the operator's logs
    #[arg(long)]
    no_logs: bool,

    /// Logs that are no older (90s, 5m, 1h30m)
    #[arg(long, value_name = "DURATION", value_parser = phasegate::parse::duration)]
    since: Option<Duration>,
}

/// A kind of object that is part of a report.
struct Kind {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
}

const fn kind(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, version, kind, plural }
}

const GATEWAYS: Kind = kind("phasegate.dev", "v1alpha1", "ApiGateway", "apigateways");
const ENVIRONMENTS: Kind = kind("phasegate.dev", "v1alpha1", "Environment", "environments");
const EVENTS: Kind = kind("events.k8s.io", "v1", "Event", "events");

/// What carries the label with its gateway's name.
const CHILDREN: [Kind; 6] = [
    kind("apps", "v1", "Deployment", "deployments"),
    kind("apps", "v1", "ReplicaSet", "replicasets"),
    kind("", "v1", "Pod", "pods"),
    kind("", "v1", "Service", "services"),
    kind("networking.k8s.io", "v1", "Ingress", "ingresses"),
    kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
];

const OPERATORS: [Kind; 2] = [kind("apps", "v1", "Deployment", "deployments"), kind("", "v1", "Pod", "pods")];

impl Kind {
    fn api(&self, cluster: &Cluster, namespace: Option<&str>) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, self.plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
            None => Api::all_with(cluster.client.clone(), &resource),
        }
    }
}

/// A report in the making.
struct Writer<'a> {
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

impl Writer<'_> {
    /// Writes the objects of a kind that are wanted, page by page, to a file of their own.
    async fn objects(
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
            for object in page.items {
                let mut object = serde_json::to_value(object).unwrap_or_default();
                // Items of a list do not say of what kind they are.
                object["apiVersion"] = format!("{}/{}", kind.group, kind.version).trim_start_matches('/').into();
                object["kind"] = kind.kind.into();
                if !wanted(&object) {
                    continue;
                }
                self.uids.extend(object["metadata"]["uid"].as_str().map(str::to_owned));
                self.redactor.meet(&object);
                let text = Data::Yaml.text(&self.redactor.object(&object))?;
                self.archive.add(&format!("---\n{text}"))?;
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
    async fn logs(&mut self, namespace: &str, since: Option<Duration>) -> Result<(), Failure> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), namespace);
        // That pods cannot be listed was said when they were written.
        let Ok(found) = pods.list(&ListParams::default().labels(OPERATOR)).await else { return Ok(()) };
        for pod in found {
            let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
            let restarted: BTreeSet<&str> =
                statuses.filter(|status| status.restart_count > 0).map(|status| status.name.as_str()).collect();
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            for container in containers.map(|container| container.name.as_str()) {
                for previous in [false, true].into_iter().filter(|previous| !previous || restarted.contains(container))
                {
                    let params = LogParams {
                        container: Some(container.to_owned()),
                        previous,
                        since_seconds: since.and_then(|since| i64::try_from(since.as_secs()).ok()),
                        tail_lines: Some(LOG_LINES),
                        timestamps: true,
                        ..LogParams::default()
                    };
                    self.progress.show("reading the operator's logs");
                    let name = format!("{}-{container}{}", pod.name_any(), if previous { "-previous" } else { "" });
                    match pods.logs(&pod.name_any(), &params).await {
                        Ok(log) => {
                            self.archive.begin(&format!("operator/{name}.log"))?;
                            self.archive.add(&self.redactor.text(&log))?;
                        }
                        Err(error) => self.could_not(&format!("the log {name}"), Some(namespace), &error),
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes what everything else is about, and ends the file.
    fn finish(mut self, server: &str, now: Timestamp) -> Result<Vec<String>, Failure> {
        self.archive.begin("report.txt")?;
        self.archive.add(&format!(
            "time: {now}\nkubectl-phasegate: {}\nKubernetes: {server}\n\nobjects\n{}\n",
            env!("CARGO_PKG_VERSION"),
            self.counts.join("\n")
        ))?;
        if !self.unread.is_empty() {
            self.archive.begin("not-read.txt")?;
            self.archive.add(&format!("{}\n", self.unread.join("\n")))?;
        }
        self.archive.finish()?;
        Ok(self.unread)
    }
}

/// Whether this is the name of one of these gateways; no names are all gateways.
fn is_one_of(names: &[String], gateway: &Value) -> bool {
    names.is_empty() || gateway.as_str().is_some_and(|gateway| names.iter().any(|name| name == gateway))
}

/// Selects what carries the label of one of these gateways.
fn labels_of(names: &[String]) -> String {
    if names.is_empty() { NAME_LABEL.to_owned() } else { format!("{NAME_LABEL} in ({})", names.join(",")) }
}

/// Reads, redacts and writes.
///
/// # Errors
/// When there is no way to the cluster, a gateway that is named does not exist, or the file cannot be written.
pub async fn run(arguments: &Report, cluster: &ClusterArguments) -> Result<(), Failure> {
    let cluster = Cluster::find(cluster).await?;
    let server = match cluster.client.apiserver_version().await {
        Ok(version) => version.git_version,
        Err(kube::Error::Api(status)) => format!("not told: {}", status.message),
        Err(error) => return Err(cluster.refused("no report can be made", &error)),
    };
    for name in &arguments.names {
        // What may not be read is listed in the report.
        if let Ok(None) = cluster.api::<phasegate::api::ApiGateway>().get_opt(name).await {
            return Err(failure::not_found(&cluster.namespace, name));
        }
    }
    let now = Timestamp::now();
    let path = arguments
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("phasegate-report-{}.zip", now.strftime("%Y%m%d-%H%M%S"))));
    let mut writer = Writer {
        cluster: &cluster,
        archive: Archive::create(&path)?,
        progress: Progress::new(),
        redactor: Redactor::default(),
        uids: BTreeSet::new(),
        counts: Vec::new(),
        unread: Vec::new(),
    };
    let namespace = (!arguments.all_namespaces).then_some(cluster.namespace.as_str());
    let names = &arguments.names;
    // First the gateways: their secrets are known then wherever else they stand.
    let named = |object: &Value| is_one_of(names, &object["metadata"]["name"]);
    writer.objects("apigateways.yaml", &GATEWAYS, namespace, "", named).await?;
    let belongs = |object: &Value| is_one_of(names, &object["spec"]["gatewayRef"]["name"]);
    writer.objects("environments.yaml", &ENVIRONMENTS, namespace, "", belongs).await?;
    for kind in &CHILDREN {
        writer.objects(&format!("{}.yaml", kind.plural), kind, namespace, &labels_of(names), |_| true).await?;
    }
    let uids = writer.uids.clone();
    let about = |event: &Value| event["regarding"]["uid"].as_str().is_some_and(|uid| uids.contains(uid));
    writer.objects("events.yaml", &EVENTS, namespace, "", about).await?;
    let operators = Some(arguments.operator_namespace.as_str());
    for kind in &OPERATORS {
        writer.objects(&format!("operator/{}.yaml", kind.plural), kind, operators, OPERATOR, |_| true).await?;
    }
    if !arguments.no_logs {
        writer.logs(&arguments.operator_namespace, arguments.since).await?;
    }
    let unread = writer.finish(&server, now)?;
    for sentence in &unread {
        offline::note(&format!("not in the report: {sentence}"));
    }
    output::print(&format!("{}\n", path.display()))
}
