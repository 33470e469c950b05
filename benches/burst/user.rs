//! What a user's tooling does to a fleet: the same for every contestant.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use phasegate::api::ApiGateway;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

/// How many requests of a user are on their way at once.
const AT_ONCE: usize = 32;

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
            let spec = serde_json::from_value(json!({ "image": "acme/gateway:1", "host": host }))?;
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

/// Deletes every gateway at once, and waits until they and their children are gone.
pub async fn delete_all(client: &Client, namespace: &str) -> Result<Duration> {
    let begun = Instant::now();
    let api: Api<ApiGateway> = Api::namespaced(client.clone(), namespace);
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    let mut every = tokio::time::interval(Duration::from_millis(200));
    while something_is_left(client, namespace).await? {
        every.tick().await;
    }
    Ok(begun.elapsed())
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
