//! Health and metrics over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use k8s_openapi::jiff::Timestamp;
use tokio::net::TcpListener;

use super::connections;
use super::health::{Standing, not_alive, not_ready, remarks};
use super::view::View;
use crate::metrics::Metrics;
use crate::shown;

/// How long a sentence may be.
const LONGEST: usize = 2_000;

/// What serves `/livez`, `/readyz` and `/metrics` for as long as somebody runs it. The address is listened on already.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    live_within: Duration,
    view: View,
    metrics: Metrics,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("--http-bind {address} cannot be listened on"))?;
    let (alive, ready) = (view.clone(), view.clone());
    let routes = Router::new()
        .route("/livez", get(async move || verdict(&not_alive(&alive.standing(), live_within), &[])))
        .route("/readyz", get(async move || readiness(&ready.standing())))
        .route("/metrics", get(async move || exposition(&metrics, &view)));
    tracing::info!(address = %listener.local_addr()?, "health and metrics are served");
    Ok(connections::answer(listener, routes))
}

fn readiness(standing: &Standing) -> Response {
    verdict(&not_ready(standing), &remarks(standing))
}

/// `ok` and what is worth knowing, or a line for everything that is wrong.
fn verdict(wrong: &[String], remarks: &[String]) -> Response {
    if wrong.is_empty() {
        return (StatusCode::OK, format!("ok\n{}", lines(remarks))).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, lines(wrong)).into_response()
}

/// The API server's words, and the names that it tells, are others'.
fn lines(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| format!("{}\n", shown::line(sentence, LONGEST))).collect()
}

fn exposition(metrics: &Metrics, view: &View) -> Response {
    match metrics.text(&view.scrape(), Timestamp::now()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
