//! `report`: a zip file for support, without secrets.
//!
//! It may import the modules for output and the cluster, and `offline` for its notes.
//!
//! **Architecture invariant**: objects and logs reach the file through `redact` only.

mod archive;
mod kinds;
mod redact;
mod seen_values;
mod shapes;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use phasegate::children::NAME_LABEL;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::{self, Failure};
use crate::offline;
use crate::output;
use crate::terminal::Shown;

use archive::Archive;
use kinds::{CHILDREN, ENVIRONMENTS, EVENTS, GATEWAYS, OPERATOR, OPERATORS};
use writer::Writer;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate report                   # all gateways of the namespace
  kubectl phasegate report shop bank         # these two
  kubectl phasegate report -A --since 2h -o incident.zip

The file contains gateways, environments, children, pods and Events as YAML, and the operator's pods with their logs. \
Values of variables, arguments, labels and annotations are redacted everywhere, and so is text that looks like a \
credential. Secrets, ConfigMaps and logs of gateways are never read. Objects that you may not read are listed in \
not-read.txt. Review the file before you share it.";

/// The arguments of `report`.
#[derive(Debug, clap::Args)]
pub struct Report {
    /// Gateways. Default: all gateways of the namespace
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "names")]
    all_namespaces: bool,

    /// Path of the zip file. Default: phasegate-report-TIME.zip
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Namespace of the operator
    #[arg(long, value_name = "NAMESPACE", default_value = "phasegate-system")]
    operator_namespace: String,

    /// Omit the operator's logs
    #[arg(long)]
    no_logs: bool,

    /// Maximum age of logs (90s, 5m, 1h30m)
    #[arg(long, value_name = "DURATION", value_parser = phasegate::parse::duration)]
    since: Option<Duration>,
}

/// Whether this is the name of one of these gateways. An empty list stands for all gateways.
fn is_one_of(names: &[String], gateway: &Value) -> bool {
    names.is_empty() || gateway.as_str().is_some_and(|gateway| names.iter().any(|name| name == gateway))
}

/// The selector for objects with the label of one of these gateways.
fn labels_of(names: &[String]) -> String {
    if names.is_empty() { NAME_LABEL.to_owned() } else { format!("{NAME_LABEL} in ({})", names.join(",")) }
}

/// Reads, redacts and writes.
///
/// # Errors
/// The cluster cannot be reached, a named gateway does not exist, or the file cannot be written.
pub async fn run(arguments: &Report, cluster: &ClusterArguments) -> Result<(), Failure> {
    let cluster = Cluster::find(cluster).await?;
    let server = match cluster.client.apiserver_version().await {
        Ok(version) => version.git_version,
        Err(kube::Error::Api(status)) => format!("not included: {}", status.message),
        Err(error) => return Err(cluster.refused("failed to create the report", &error)),
    };
    for name in &arguments.names {
        // Kinds that the user may not read are listed in the report.
        if let Ok(None) = cluster.api::<phasegate::api::ApiGateway>().get_opt(name).await {
            return Err(failure::not_found(&cluster.key(name)));
        }
    }
    let now = Timestamp::now();
    let path = arguments
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("phasegate-report-{}.zip", now.strftime("%Y%m%d-%H%M%S"))));
    let mut writer = Writer::new(&cluster, Archive::create(&path)?);
    let namespace = (!arguments.all_namespaces).then_some(cluster.namespace.as_str());
    let names = &arguments.names;
    // The gateways come first, so that their secrets are known wherever else they occur.
    let named = |object: &Value| is_one_of(names, &object["metadata"]["name"]);
    writer.objects("apigateways.yaml", &GATEWAYS, namespace, "", named).await?;
    let belongs = |object: &Value| is_one_of(names, &object["spec"]["gatewayRef"]["name"]);
    writer.objects("environments.yaml", &ENVIRONMENTS, namespace, "", belongs).await?;
    for kind in &CHILDREN {
        writer.objects(&format!("{}.yaml", kind.plural), kind, namespace, &labels_of(names), |_| true).await?;
    }
    let uids = writer.uids().clone();
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
    output::print(&Shown::sentence(&path.display().to_string()))
}
