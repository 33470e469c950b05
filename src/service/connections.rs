//! The connections of the health and metrics endpoints: few, short-lived, and unable to keep others out.
//!
//! The port is open to everything that reaches the pod. Each connection uses one of the process's file
//! descriptors, which the operator needs for its own connections.
//!
//! **Architecture invariant**: the number of connections, their duration and the size of a request are bounded
//! here, not by the router.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The maximum number of connections. A new connection beyond it closes the oldest one.
pub const MOST: usize = 64;

/// The time limit for a request's header.
const HEADER: Duration = Duration::from_secs(5);

/// The maximum size of a request's header, in bytes.
const HEADER_BYTES: usize = 16 << 10;

/// The maximum duration of a connection, which serves one response.
const WHOLE: Duration = Duration::from_secs(10);

/// Accepts connections while it is polled.
pub async fn answer(listener: TcpListener, routes: Router) {
    let mut connections = JoinSet::new();
    let mut oldest_first = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "failed to accept an HTTP connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection: &tokio::task::AbortHandle| !connection.is_finished());
        if oldest_first.len() >= MOST
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        oldest_first.push_back(connections.spawn(answer_one(stream, routes.clone())));
        // In a flood, each connection is polled once before the next one is accepted.
        tokio::task::yield_now().await;
    }
}

async fn answer_one(stream: TcpStream, routes: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(HEADER_BYTES)
        // Every request uses a connection of its own, so that no connection is idle.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // A client that disconnects before its response is not an error.
    let _ = timeout(WHOLE, connection).await;
}
