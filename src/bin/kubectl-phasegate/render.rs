//! `render`: prints the children that the operator would create for the gateways of files, without a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phasegate::api::{ApiGateway, DesiredState, Environment, ParentRef};
use phasegate::children::{self, DESIRED_ANNOTATION, Inheritance, KeyPattern, RenderContext, UID_LABEL};
use phasegate::decide::allowance::default_parent;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::ClusterArguments;
use crate::failure::{FAILED, Failure};
use crate::offline::{self, Checked, Files, Verdict};
use crate::output::{self, Data};
use crate::terminal::{self, Shown};
use crate::validate;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate render -f shop.yaml
  kubectl phasegate render -f shop.yaml | kubectl diff -f -        # what a new spec would change
  kubectl phasegate render -f shop.yaml --start-deadline 10m --ingress-annotation example.com/cdn=on

Prints the children in the order in which the operator creates them, with the spec's defaults. Ingress and HTTPRoute \
include the hosts of environments in the same files. For a gateway without a uid, the owner reference and the hash that \
depend on it are omitted. Host claims of the cluster are not considered.";

/// The arguments of `render`.
#[derive(Debug, clap::Args)]
pub struct Render {
    /// Which files.
    #[command(flatten)]
    files: Files,

    /// Operator flag: default for spec.startDeadline
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = phasegate::parse::duration)]
    start_deadline: Duration,

    /// Operator flag: annotation for every Ingress. Repeatable
    #[arg(long = "ingress-annotation", value_name = "KEY=VALUE", value_parser = phasegate::parse::annotation)]
    ingress_annotations: Vec<(String, String)>,

    /// Operator flag: default for spec.parentRefs
    #[arg(long, value_name = "GATEWAYS", value_delimiter = ',', value_parser = default_parent)]
    default_parent_refs: Vec<ParentRef>,

    /// Operator flag: labels that children inherit from the gateway, as keys or prefix/*
    #[arg(long, value_name = "KEYS", value_delimiter = ',', value_parser = KeyPattern::parse)]
    inherited_labels: Vec<KeyPattern>,

    /// Operator flag: annotations that children inherit from the gateway, as keys or prefix/*
    #[arg(long, value_name = "KEYS", value_delimiter = ',', value_parser = KeyPattern::parse)]
    inherited_annotations: Vec<KeyPattern>,

    /// Output format; json prints one List
    #[arg(short, long, default_value = "yaml")]
    output: Data,
}

/// The gateways and environments of files.
#[derive(Debug, Default)]
struct Fleet {
    gateways: Vec<ApiGateway>,
    environments: Vec<Environment>,
}

impl Fleet {
    /// The gateways and environments among these objects. `namespace` is the default for objects without one.
    fn of(checked: &[Checked], namespace: Option<&str>) -> Result<Self, Failure> {
        let mut fleet = Self::default();
        for checked in checked {
            let Verdict::Checked { object, .. } = &checked.verdict else { continue };
            let mut object = object.clone();
            if let (None, Some(namespace)) = (object["metadata"].get("namespace"), namespace) {
                object["metadata"]["namespace"] = json!(namespace);
            }
            if object["kind"] == "Environment" {
                fleet.environments.push(decoded(checked, object)?);
            } else {
                // The status counts restarts.
                if let Some(status) = checked.object.get("status") {
                    object["status"] = status.clone();
                }
                fleet.gateways.push(decoded(checked, object)?);
            }
        }
        Ok(fleet)
    }

    /// The hosts of a gateway's environments, in the operator's order.
    fn environment_hosts(&self, gateway: &ApiGateway) -> Vec<String> {
        let hosts = self.environments.iter().filter(|environment| belongs(environment, gateway));
        hosts.filter_map(|environment| environment.spec.host.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What was left out, and what these files cannot tell.
    fn notes(&self, default_parents: &[ParentRef]) -> Vec<String> {
        let mut notes = Vec::new();
        let mut first: BTreeMap<&String, String> = BTreeMap::new();
        let asked_by_gateways =
            self.gateways.iter().map(|gateway| (&gateway.spec.host, title("ApiGateway", &gateway.metadata)));
        let asked_by_environments = self
            .environments
            .iter()
            .map(|environment| (&environment.spec.host, title("Environment", &environment.metadata)));
        for (host, who) in asked_by_gateways.chain(asked_by_environments) {
            let Some(host) = host else { continue };
            match first.get(host) {
                Some(other) => notes.push(format!("{other} and {who} both claim host {host}: the first claim wins")),
                None => _ = first.insert(host, who),
            }
        }
        for gateway in &self.gateways {
            let who = title("ApiGateway", &gateway.metadata);
            match gateway.spec.state {
                _ if gateway.spec.suspend => {
                    notes.push(format!("{who} is suspended: the operator does not reconcile it"))
                }
                DesiredState::Stopped => notes.push(format!("{who} is stopped (spec.state): it has no children")),
                DesiredState::Unknown(word) => {
                    notes.push(format!("{who} has the value {word:?}, which is unknown to this version"))
                }
                DesiredState::Running | DesiredState::Restarting => {}
            }
            if gateway.spec.exposure().by_route() && children::parent_refs(gateway, default_parents).is_empty() {
                notes.push(format!(
                    "{who} has no HTTPRoute here: neither spec.parentRefs nor --default-parent-refs names a Gateway"
                ));
            }
        }
        for environment in &self.environments {
            if !self.gateways.iter().any(|gateway| belongs(environment, gateway)) {
                notes.push(format!(
                    "{} is skipped: its ApiGateway {} is not in these files",
                    title("Environment", &environment.metadata),
                    environment.spec.gateway_ref.name
                ));
            }
        }
        notes
    }
}

fn decoded<K: DeserializeOwned>(checked: &Checked, object: Value) -> Result<K, Failure> {
    serde_json::from_value(object).map_err(|error| {
        let sentence = format!("{}: failed to parse {}: {error}", checked.place, checked.title());
        Failure::new(FAILED, sentence, "Correct it, or use the kubectl-phasegate of the operator's version.")
    })
}

fn belongs(environment: &Environment, gateway: &ApiGateway) -> bool {
    environment.metadata.namespace == gateway.metadata.namespace
        && environment.spec.gateway_ref.name == gateway.name_or_empty()
}

fn title(kind: &str, metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> String {
    let name = metadata.name.as_deref().unwrap_or("without a name");
    match &metadata.namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// A gateway's children, in the operator's order of creation.
fn children(gateway: &ApiGateway, context: &RenderContext) -> serde_json::Result<Vec<Value>> {
    if gateway.spec.suspend || !gateway.spec.state.asks_to_run() {
        return Ok(Vec::new());
    }
    let children::Children { deployment, service, ingress, http_route, disruption_budget } =
        children::render(gateway, context);
    let all = [
        Some(serde_json::to_value(deployment)?),
        Some(serde_json::to_value(service)?),
        ingress.map(serde_json::to_value).transpose()?,
        http_route.map(serde_json::to_value).transpose()?,
        disruption_budget.map(serde_json::to_value).transpose()?,
    ];
    let known = gateway.metadata.uid.is_some();
    Ok(all.into_iter().flatten().map(|child| if known { child } else { without_uid(child) }).collect())
}

/// Removes the owner reference's UID and the hash over it, because a gateway that was never stored has no UID.
fn without_uid(mut child: Value) -> Value {
    let metadata = &mut child["metadata"];
    for (place, key) in [("", "ownerReferences"), ("/labels", UID_LABEL), ("/annotations", DESIRED_ANNOTATION)] {
        if let Some(fields) = metadata.pointer_mut(place).and_then(Value::as_object_mut) {
            fields.remove(key);
        }
    }
    child
}

/// Reads, checks, renders and prints.
///
/// # Errors
/// A file cannot be read, or an object is invalid.
pub fn run(arguments: &Render, cluster: &ClusterArguments) -> Result<(), Failure> {
    let checked = arguments.files.checked(&offline::definitions()?)?;
    let faulty: Vec<_> =
        checked.iter().filter(|checked| !checked.faults().is_empty()).flat_map(validate::lines).collect();
    if !faulty.is_empty() {
        terminal::tell(&output::text(&faulty, false, None));
    }
    validate::judge(&checked)?;
    let fleet = Fleet::of(&checked, cluster.namespace.as_deref())?;
    let inheritance = Inheritance {
        labels: arguments.inherited_labels.clone(),
        annotations: arguments.inherited_annotations.clone(),
    };
    let mut rendered = Vec::new();
    for gateway in &fleet.gateways {
        let context = RenderContext {
            start_deadline: gateway.spec.start_deadline.map_or(arguments.start_deadline, Duration::from),
            environment_hosts: fleet.environment_hosts(gateway),
            // Files do not say which environments are the youngest.
            without_room: Vec::new(),
            default_parent_refs: arguments.default_parent_refs.clone(),
            ingress_annotations: arguments.ingress_annotations.iter().cloned().collect(),
            inherited: inheritance.of(&gateway.metadata),
        };
        let children = children(gateway, &context)
            .map_err(|error| Failure::new(FAILED, format!("failed to print the children: {error}"), "Report it."))?;
        rendered.extend(children);
    }
    match arguments.output {
        Data::Json => {
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": rendered });
            output::print(&arguments.output.text(&list)?)?;
        }
        Data::Yaml => {
            for child in &rendered {
                output::print(&Shown::from_iter([Shown::text("---\n"), arguments.output.text(child)?]))?;
            }
        }
    }
    validate::advice(&checked)
        .iter()
        .chain(&fleet.notes(&arguments.default_parent_refs))
        .for_each(|note| offline::note(note));
    Ok(())
}
