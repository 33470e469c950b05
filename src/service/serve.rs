//! The HTTP endpoints for health and metrics.
//!
//! **Architecture invariant**: a handler only reads. Every line of a health answer is sanitized and bounded.

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
use super::health::{ProcessHealth, not_alive, not_ready, remarks};
use super::view::View;
use crate::metrics::Metrics;
use crate::shown;

/// The maximum length of a sentence.
const LONGEST: usize = 2_000;

/// Serves `/livez`, `/readyz` and `/metrics` while the returned future is polled. The address is bound when
/// this function returns.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    live_within: Duration,
    view: View,
    metrics: Metrics,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("failed to listen on --http-bind {address}"))?;
    let (alive, ready) = (view.clone(), view.clone());
    let routes = Router::new()
        .route("/livez", get(async move || verdict(&not_alive(&alive.health(), live_within), &[])))
        .route("/readyz", get(async move || readiness(&ready.health())))
        .route("/metrics", get(async move || exposition(&metrics, &view)));
    tracing::info!(address = %listener.local_addr()?, "serving health and metrics");
    Ok(connections::answer(listener, routes))
}

fn readiness(health: &ProcessHealth) -> Response {
    verdict(&not_ready(health), &remarks(health))
}

/// `ok` and the remarks, or one line for each thing that is wrong.
fn verdict(wrong: &[String], remarks: &[String]) -> Response {
    if wrong.is_empty() {
        return (StatusCode::OK, format!("ok\n{}", lines(remarks))).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, lines(wrong)).into_response()
}

/// The sentences contain messages of the API server and names of objects, so that they are shown as untrusted
/// text.
fn lines(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| format!("{}\n", shown::line(sentence, LONGEST))).collect()
}

fn exposition(metrics: &Metrics, view: &View) -> Response {
    match metrics.text(&view.scrape(), Timestamp::now()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn whatever_others_said_a_sentence_is_a_line() {
        let words = format!("evil\u{1b}[2J\u{9b}\u{202e}\u{200b}\r\nok {}", "a".repeat(9_000));
        for (wrong, remarks, begins) in
            [(vec![words.clone()], vec![], "evil[2J ok aa"), (vec![], vec![words], "ok\nevil[2J ok aa")]
        {
            let body = axum::body::to_bytes(verdict(&wrong, &remarks).into_body(), usize::MAX).await.unwrap();
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(text.starts_with(begins) && text.ends_with("…\n") && text.len() < 2_100, "{text:?}");
            assert!(!text.contains(|char| shown::is_hidden(char) && char != '\n'), "{text:?}");
        }
    }
}
