//! The pages: what each reads before it is written.
//!
//! **Architecture invariant**: a page is never blank. While the API server is unreachable it shows what is in memory,
//! below a banner.

use std::collections::BTreeSet;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use maud::Markup;
use phasegate::api::{ApiGateway, Environment, ObjectKey};
use serde_json::Value;

use super::console::Console;
use super::pages::{self, Frame, Tab};
use super::view::View;
use crate::cluster::{Cluster, listed};
use crate::failure::{Failure, NOT_FOUND};
use crate::output::Data;
use crate::status;

/// What surrounds each page.
pub fn frame(console: &Console, tab: Tab) -> Frame {
    Frame {
        tab,
        server: console.cluster.server.clone(),
        place: match &console.selection {
            selection if selection.all_namespaces => "all namespaces".to_owned(),
            _ => format!("namespace {}", console.cluster.namespace),
        },
        read_only: console.read_only,
        trouble: console.store.trouble(),
        form_token: console.guard.form_token.clone(),
    }
}

/// A page as a response.
pub fn page(code: StatusCode, markup: Markup) -> Response {
    (code, Html(markup.into_string())).into_response()
}

/// The fleet.
pub async fn fleet(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    let view = View::of(&query.unwrap_or_default());
    let now = Timestamp::now();
    let content = pages::fleet::Content::of(&console.store.fleet_at(now).entries, view);
    let namespaces: BTreeSet<String> = content.rows.iter().map(|entry| entry.row.namespace.clone()).collect();
    let frame = frame(&console, Tab::Fleet);
    let denials = match frame.read_only || frame.trouble.is_some() {
        true => Default::default(),
        false => console.access.denials(&console.cluster, namespaces).await,
    };
    page(StatusCode::OK, pages::fleet::page(&frame, &content, &denials, now))
}

/// One gateway.
pub async fn gateway(State(console): State<Console>, Path((namespace, name)): Path<(String, String)>) -> Response {
    let frame = frame(&console, Tab::Gateway);
    let key = ObjectKey::new(namespace, name);
    let now = Timestamp::now();
    let cluster = console.cluster.at(&key.namespace);
    let read = match &frame.trouble {
        // A request would hang until its timeout.
        Some(_) => None,
        None => Some(read(&cluster, &key.name).await),
    };
    match read {
        Some(Ok((gateway, yaml))) => {
            let report = status::explain(&cluster, gateway, now).await;
            let denial = match frame.read_only {
                true => None,
                false => console.access.denial(&cluster, &key.namespace).await,
            };
            page(StatusCode::OK, pages::gateway::page(&frame, &report, &yaml, denial.as_deref(), now))
        }
        Some(Err(failure)) if failure.code == NOT_FOUND => {
            page(StatusCode::NOT_FOUND, pages::message(&frame, &failure))
        }
        failed => {
            let entry = console.store.fleet().entries.get(&key).cloned();
            let failure = failed.and_then(Result::err);
            page(
                StatusCode::SERVICE_UNAVAILABLE,
                pages::gateway::remembered(&frame, &key, entry, failure.as_ref(), now),
            )
        }
    }
}

/// A gateway, and its YAML as the API server has it.
async fn read(cluster: &Cluster, name: &str) -> Result<(ApiGateway, String), Failure> {
    let kind = ApiResource::erase::<ApiGateway>(&());
    let objects: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind);
    let key = cluster.key(name);
    let refused = |error: &kube::Error| cluster.refused(&format!("failed to read ApiGateway {key}"), error);
    let found = objects.get_opt(name).await.map_err(|error| refused(&error))?;
    let mut object = found.ok_or_else(|| crate::failure::not_found(&key))?;
    object.metadata.managed_fields = None;
    let value = serde_json::to_value(&object).map_err(|error| refused(&kube::Error::SerdeError(error)))?;
    let yaml = Data::Yaml.text(&value)?.to_string();
    Ok((gateway_of(value).map_err(|error| refused(&error))?, yaml))
}

fn gateway_of(value: Value) -> Result<ApiGateway, kube::Error> {
    serde_json::from_value(value).map_err(kube::Error::SerdeError)
}

/// Causes and durations.
pub async fn causes(State(console): State<Console>) -> Response {
    let now = Timestamp::now();
    let content = pages::causes::Content::of(console.store.fleet_at(now).entries.values());
    page(StatusCode::OK, pages::causes::page(&frame(&console, Tab::Causes), &content))
}

/// Hosts.
pub async fn hosts(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    let frame = frame(&console, Tab::Hosts);
    let environments = match &frame.trouble {
        Some(_) => Err("environments are not read while the API server is unreachable".to_owned()),
        None => environments(&console).await,
    };
    let content = pages::hosts::Content::of(&console.store.fleet().entries, environments, &query.unwrap_or_default());
    page(StatusCode::OK, pages::hosts::page(&frame, &content))
}

async fn environments(console: &Console) -> Result<Vec<Environment>, String> {
    let cluster = &console.cluster;
    let client = cluster.client.clone();
    let api: Api<Environment> = match console.selection.all_namespaces {
        true => Api::all(client),
        false => Api::namespaced(client, &cluster.namespace),
    };
    let read = listed(&api, ListParams::default()).await;
    read.map_err(|error| cluster.refused("failed to list environments", &error).sentence)
}

/// An address without a page.
pub async fn nothing(State(console): State<Console>) -> Response {
    let failure = Failure::new(NOT_FOUND, "the dashboard has no such page", "Go back to the fleet.");
    page(StatusCode::NOT_FOUND, pages::message(&frame(&console, Tab::None), &failure))
}
