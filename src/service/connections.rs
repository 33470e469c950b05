//! The connections of whoever asks for health and metrics: few, short, and none that keeps others out.
//!
//! The port is open to whoever reaches the pod, and each connection takes one of the process's file descriptors, which the
//! operator needs for its own.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How many connections there may be at a time. The oldest makes room for the next one.
pub const MOST: usize = 64;

/// How long a request's header may take to arrive.
const HEADER: Duration = Duration::from_secs(5);

/// How large a request's header may be.
const HEADER_BYTES: usize = 16 << 10;

/// How long a connection may last, its one answer included.
const WHOLE: Duration = Duration::from_secs(10);

/// Answers whoever connects, for as long as it is polled.
pub async fn answer(listener: TcpListener, routes: Router) {
    let mut connections = JoinSet::new();
    let mut oldest_first = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection for health and metrics cannot be accepted");
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
        // In a flood, each is looked at before the next one is accepted.
        tokio::task::yield_now().await;
    }
}

async fn answer_one(stream: TcpStream, routes: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(HEADER_BYTES)
        // Who asks again connects again: no connection is idle.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // Whoever goes away before the answer is nobody's trouble.
    let _ = timeout(WHOLE, connection).await;
}
