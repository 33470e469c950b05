//! A model of the ancestor's loop, laf's instance task, made from its source.
//!
//! Once a second it claims one gateway that is Starting: of those that nobody holds, the one whose
//! lock ran out first, the never claimed before all others. A claim looks at the deadline, makes
//! what is missing (asking first, then creating), and looks whether the Deployment is available. If
//! not, the gateway is locked for as long as it has waited already. The deadline is five minutes
//! from the moment when it was asked to start; past it, the next claim gives the gateway up.
//!
//! The ancestor keeps its records in MongoDB. Here they are in memory, which costs it nothing.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::Result;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, PostParams};
use kube::{Client, Resource, ResourceExt};
use phasegate::api::{ApiGateway, ApiGatewayStatus, Phase, State};
use phasegate::children::Children;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::raw::{DEADLINE, children};

/// How often it claims a gateway.
const TICK: Duration = Duration::from_secs(1);

/// What it knows about a gateway.
struct Record {
    gateway: ApiGateway,
    asked: Instant,
    /// Until when nobody may claim it; never claimed is before all.
    locked_until: Option<Instant>,
    started: bool,
}

/// Works until every gateway is started or its deadline has passed. Returns how many were started.
pub async fn work(client: &Client, namespace: &str, gateways: Vec<ApiGateway>) -> Result<usize> {
    let asked = Instant::now();
    let mut records: Vec<Record> =
        gateways.into_iter().map(|gateway| Record { gateway, asked, locked_until: None, started: false }).collect();
    let mut tick = tokio::time::interval(TICK);
    // Whatever is not started by then is given up by its next claim, before anything else.
    while asked.elapsed() <= DEADLINE && records.iter().any(|record| !record.started) {
        tick.tick().await;
        if let Some(record) = claim(&mut records) {
            one_claim(client, namespace, record).await?;
        }
    }
    Ok(records.iter().filter(|record| record.started).count())
}

fn claim(records: &mut [Record]) -> Option<&mut Record> {
    let now = Instant::now();
    let free =
        records.iter_mut().filter(|record| !record.started && record.locked_until.is_none_or(|until| until < now));
    free.min_by_key(|record| record.locked_until)
}

async fn one_claim(client: &Client, namespace: &str, record: &mut Record) -> Result<()> {
    let waited = record.asked.elapsed();
    if waited > DEADLINE {
        return Ok(());
    }
    let Children { deployment, service, ingress, http_route: _, disruption_budget: _ } = children(&record.gateway);
    make(client, namespace, &deployment).await?;
    make(client, namespace, &service).await?;
    if let Some(ingress) = ingress {
        make(client, namespace, &ingress).await?;
    }
    let name = record.gateway.name_any();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let status = deployments.get(&name).await?.status.unwrap_or_default();
    let available =
        status.conditions.iter().flatten().any(|found| found.type_ == "Available" && found.status == "True");
    if !available {
        record.locked_until = Some(Instant::now() + waited);
        return Ok(());
    }
    let status = ApiGatewayStatus { phase: Some(Phase::Started), state: Some(State::Running), ..Default::default() };
    let started = ApiGateway { status: Some(status), ..record.gateway.clone() };
    Api::namespaced(client.clone(), namespace).replace_status(&name, &PostParams::default(), &started).await?;
    record.started = true;
    Ok(())
}

/// Asks whether there is such an object, and creates it where there is none.
async fn make<K>(client: &Client, namespace: &str, object: &K) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Serialize + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    if api.get_opt(&object.name_any()).await?.is_none() {
        api.create(&PostParams::default(), object).await?;
    }
    Ok(())
}
