//! What a user's tooling does to a fleet: the same for every contestant.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use phasegate::api::{ApiGateway, Environment};
use phasegate_harness::is_active;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

/// How many requests of a user are on their way at once.
pub const AT_ONCE: usize = 32;
/// What every gateway runs.
pub const IMAGE: &str = "acme/gateway:1";
/// The name of a gateway's environment, where it has one.
pub const ENVIRONMENT: &str = "dev";

/// The name of a burst's gateway.
pub fn name(number: usize) -> String {
    format!("gw-{number}")
}

/// Creates the gateways of a burst, hands each to `created` and tells when it was there.
pub async fn create(
    client: &Client,
    namespace: &str,
    gateways: usize,
    created: Option<UnboundedSender<ApiGateway>>,
) -> Result<HashMap<String, Instant>> {
    let api: Api<ApiGateway> = Api::namespaced(client.clone(), namespace);
    let creations = (0..gateways).map(|number| {
        let (api, created) = (&api, &created);
        async move {
            let name = name(number);
            let host = format!("{name}.{namespace}.example.com");
            let spec = serde_json::from_value(json!({ "image": IMAGE, "host": host }))?;
            let gateway = api.create(&PostParams::default(), &ApiGateway::new(&name, spec)).await?;
            let at = Instant::now();
            if let Some(created) = created {
                created.send(gateway).ok().context("the contestant has given up")?;
            }
            anyhow::Ok((name, at))
        }
    });
    stream::iter(creations).buffer_unordered(AT_ONCE).try_collect().await
}

/// Creates the gateways of a burst, each with one environment, and tells when each gateway was there.
pub async fn create_with_environments(
    client: &Client,
    namespace: &str,
    gateways: usize,
) -> Result<HashMap<String, Instant>> {
    let api: Api<ApiGateway> = Api::namespaced(client.clone(), namespace);
    let environments: Api<Environment> = Api::namespaced(client.clone(), namespace);
    let creations = (0..gateways).map(|number| {
        let (api, environments) = (&api, &environments);
        async move {
            let name = name(number);
            let host = format!("{name}.{namespace}.example.com");
            let spec = serde_json::from_value(json!({ "image": IMAGE, "host": host }))?;
            api.create(&PostParams::default(), &ApiGateway::new(&name, spec)).await?;
            let at = Instant::now();
            let host = format!("{name}-{ENVIRONMENT}.{namespace}.example.com");
            let spec = serde_json::from_value(json!({ "gatewayRef": { "name": name }, "host": host }))?;
            let environment = Environment::new(&format!("{name}-{ENVIRONMENT}"), spec);
            environments.create(&PostParams::default(), &environment).await?;
            anyhow::Ok((name, at))
        }
    });
    stream::iter(creations).buffer_unordered(AT_ONCE).try_collect().await
}

/// Waits until so many environments are Active, for a while.
pub async fn until_active(client: &Client, namespace: &str, wanted: usize) -> Result<()> {
    let api: Api<Environment> = Api::namespaced(client.clone(), namespace);
    let begun = Instant::now();
    let mut every = tokio::time::interval(Duration::from_millis(500));
    loop {
        every.tick().await;
        let active = api.list(&ListParams::default()).await?.iter().filter(|found| is_active(found)).count();
        if active >= wanted {
            return Ok(());
        }
        ensure!(begun.elapsed() < Duration::from_secs(60), "{active} of {wanted} environments are Active");
    }
}

/// Writes `spec.state` of every gateway.
pub async fn ask(client: &Client, namespace: &str, gateways: usize, state: &str) -> Result<()> {
    let api: Api<ApiGateway> = Api::namespaced(client.clone(), namespace);
    let patches = (0..gateways).map(|number| {
        let api = &api;
        async move {
            let patch = json!({ "spec": { "state": state } });
            api.patch(&name(number), &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
        }
    });
    Ok(stream::iter(patches).buffer_unordered(AT_ONCE).try_collect().await?)
}

/// Deletes every gateway, as kubectl does with --all, and waits until they and their children are gone.
pub async fn delete_all(client: &Client, namespace: &str, gateways: usize) -> Result<Duration> {
    let begun = Instant::now();
    let api: Api<ApiGateway> = Api::namespaced(client.clone(), namespace);
    let deletions = (0..gateways).map(|number| {
        let api = &api;
        async move { api.delete(&name(number), &DeleteParams::default()).await.map(drop) }
    });
    stream::iter(deletions).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    until_nothing_is_left(client, namespace).await?;
    Ok(begun.elapsed())
}

/// Waits until gateways and their children are gone.
pub async fn until_nothing_is_left(client: &Client, namespace: &str) -> Result<()> {
    let mut every = tokio::time::interval(Duration::from_millis(200));
    while something_is_left(client, namespace).await? {
        every.tick().await;
    }
    Ok(())
}

async fn something_is_left(client: &Client, namespace: &str) -> Result<bool> {
    // One of each kind is enough to know.
    let one = ListParams::default().limit(1);
    macro_rules! any {
        ($($kind:ty),+) => {$(
            if !Api::<$kind>::namespaced(client.clone(), namespace).list_metadata(&one).await?.items.is_empty() {
                return Ok(true);
            }
        )+};
    }
    any!(ApiGateway, Deployment, Service, Ingress, ReplicaSet, Pod);
    Ok(false)
}

/// How many Events of the operator there are in a namespace.
pub async fn events(client: &Client, namespace: &str) -> Result<usize> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let own = ListParams::default().fields("reportingComponent=phasegate");
    Ok(api.list_metadata(&own).await?.items.len())
}
