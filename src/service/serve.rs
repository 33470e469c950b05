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

use crate::metrics::Metrics;
use crate::service::health::{Health, not_alive, not_ready};

/// Serves `/livez`, `/readyz` and `/metrics` until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, live_within: Duration, health: Health, metrics: Metrics) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("--http-bind {address} cannot be listened on"))?;
    let (alive, ready) = (health.clone(), health.clone());
    let routes = Router::new()
        .route("/livez", get(async move || verdict(&not_alive(&alive.standing(), live_within))))
        .route("/readyz", get(async move || verdict(&not_ready(&ready.standing()))))
        .route("/metrics", get(async move || exposition(&metrics, &health)));
    tracing::info!(address = %listener.local_addr()?, "health and metrics are served");
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "health and metrics are not served any more");
        }
    });
    Ok(())
}

/// `ok`, or a line for everything that is wrong.
fn verdict(wrong: &[String]) -> Response {
    if wrong.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, wrong.join("\n") + "\n").into_response()
}

fn exposition(metrics: &Metrics, health: &Health) -> Response {
    match metrics.text(&health.scrape(), Timestamp::now()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
