//! `render`: the children that the operator would create for the gateways of files, without a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phasegate::api::{ApiGateway, DesiredState, Environment};
use phasegate::children::{self, DESIRED_ANNOTATION, Inheritance, KeyPattern, Surroundings, UID_LABEL};
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

Children are printed in the order in which the operator creates them, with the defaults of the spec. The hosts of \
environments in the same files are in the Ingress. What only a cluster gives is left out where the gateway was not read \
from one: its uid, the owner reference to it, and the hash over both. Which hosts are taken cannot be known here either.";

/// The arguments of `render`.
#[derive(Debug, clap::Args)]
pub struct Render {
    /// Which files.
    #[command(flatten)]
    files: Files,

    /// The operator's flag: how long a start may take, where the spec does not say
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = phasegate::parse::duration)]
    start_deadline: Duration,

    /// The operator's flag: an annotation for every Ingress. May be repeated
    #[arg(long = "ingress-annotation", value_name = "KEY=VALUE", value_parser = phasegate::parse::annotation)]
    ingress_annotations: Vec<(String, String)>,

    /// The operator's flag: labels that children have from the gateway, as keys and prefix/*
    #[arg(long, value_name = "KEYS", value_delimiter = ',', value_parser = KeyPattern::parse)]
    inherited_labels: Vec<KeyPattern>,

    /// The operator's flag: annotations that children have from the gateway
    #[arg(long, value_name = "KEYS", value_delimiter = ',', value_parser = KeyPattern::parse)]
    inherited_annotations: Vec<KeyPattern>,

    /// In which form: yaml, or json for one List
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
    /// What these objects hold. `namespace`: where those are that name none.
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
                // Restarts are counted there.
                if let Some(status) = checked.object.get("status") {
                    object["status"] = status.clone();
                }
                fleet.gateways.push(decoded(checked, object)?);
            }
        }
        Ok(fleet)
    }

    /// The hosts of a gateway's environments, as the operator orders them.
    fn environment_hosts(&self, gateway: &ApiGateway) -> Vec<String> {
        let hosts = self.environments.iter().filter(|environment| belongs(environment, gateway));
        hosts.filter_map(|environment| environment.spec.host.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What is left out, and what these files cannot tell.
    fn notes(&self) -> Vec<String> {
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
                Some(other) => {
                    notes.push(format!("{other} and {who} ask for the host {host}: whoever asked first gets it"))
                }
                None => _ = first.insert(host, who),
            }
        }
        for gateway in &self.gateways {
            let who = title("ApiGateway", &gateway.metadata);
            match gateway.spec.state {
                _ if gateway.spec.suspend => {
                    notes.push(format!("{who} is suspended: the operator writes nothing for it"))
                }
                DesiredState::Stopped => notes.push(format!("{who} is to be stopped: it has no children")),
                DesiredState::Unknown(word) => {
                    notes.push(format!("{who} asks for {word:?}, which this version does not know"))
                }
                DesiredState::Running | DesiredState::Restarting => {}
            }
        }
        for environment in &self.environments {
            if !self.gateways.iter().any(|gateway| belongs(environment, gateway)) {
                notes.push(format!(
                    "{} is left out: its ApiGateway {} is not in these files",
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
        let sentence = format!("{}: {} cannot be understood: {error}", checked.place, checked.title());
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

/// A gateway's children, in the order in which the operator creates them.
fn children(gateway: &ApiGateway, around: &Surroundings) -> serde_json::Result<Vec<Value>> {
    if gateway.spec.suspend || !gateway.spec.state.asks_to_run() {
        return Ok(Vec::new());
    }
    let children::Children { deployment, service, ingress, disruption_budget } = children::render(gateway, around);
    let all = [
        Some(serde_json::to_value(deployment)?),
        Some(serde_json::to_value(service)?),
        ingress.map(serde_json::to_value).transpose()?,
        disruption_budget.map(serde_json::to_value).transpose()?,
    ];
    let known = gateway.metadata.uid.is_some();
    Ok(all.into_iter().flatten().map(|child| if known { child } else { without_uid(child) }).collect())
}

/// A child of a gateway that was never stored has no owner yet, and no hash over it.
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
/// When a file cannot be read, or an object is not valid.
pub fn run(arguments: &Render, cluster: &ClusterArguments) -> Result<(), Failure> {
    let checked = arguments.files.checked(&offline::definitions()?)?;
    let faulty: Vec<_> =
        checked.iter().filter(|checked| !checked.faults().is_empty()).flat_map(validate::lines).collect();
    if !faulty.is_empty() {
        terminal::tell(&output::text(&faulty, false));
    }
    validate::judge(&checked)?;
    let fleet = Fleet::of(&checked, cluster.namespace.as_deref())?;
    let inheritance = Inheritance {
        labels: arguments.inherited_labels.clone(),
        annotations: arguments.inherited_annotations.clone(),
    };
    let mut rendered = Vec::new();
    for gateway in &fleet.gateways {
        let around = Surroundings {
            start_deadline: gateway.spec.start_deadline.map_or(arguments.start_deadline, Duration::from),
            environment_hosts: fleet.environment_hosts(gateway),
            ingress_annotations: arguments.ingress_annotations.iter().cloned().collect(),
            inherited: inheritance.of(&gateway.metadata),
        };
        let children = children(gateway, &around)
            .map_err(|error| Failure::new(FAILED, format!("the children cannot be printed: {error}"), "Report it."))?;
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
    validate::advice(&checked).iter().chain(&fleet.notes()).for_each(|note| offline::note(note));
    Ok(())
}
