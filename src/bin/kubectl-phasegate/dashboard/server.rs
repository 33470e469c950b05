//! The HTTP server: its address, its routes, and the checks before and the headers after each of them.
//!
//! **Architecture invariant**: the listener is bound to 127.0.0.1, and no route is outside [`protect`].

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use super::console::Console;
use super::guard::{HEADERS, Verdict};
use super::{actions, handlers, stream};
use crate::failure::{FAILED, Failure};

/// The maximum size of a form: 5,000 gateways with long names fit.
const FORM_BYTES: usize = 2 << 20;

/// Listens on loopback.
///
/// # Errors
/// The port is in use.
pub async fn listen(port: u16) -> Result<TcpListener, Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|error| {
        let sentence = format!("failed to listen on {address}: {error}");
        Failure::new(FAILED, sentence, "Choose another port with --port.")
    })
}

/// Answers requests while it is polled.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, console: Console) -> Result<(), Failure> {
    let routes = Router::new()
        .route("/", get(handlers::fleet))
        .route("/gateways/{namespace}/{name}", get(handlers::gateway))
        .route("/causes", get(handlers::causes))
        .route("/hosts", get(handlers::hosts))
        .route("/changes", get(stream::changes))
        .route("/confirm", post(actions::confirm))
        .route("/actions", post(actions::carry_out))
        .route("/dashboard.css", get(async || asset("text/css; charset=utf-8", include_str!("assets/dashboard.css"))))
        .route(
            "/dashboard.js",
            get(async || asset("text/javascript; charset=utf-8", include_str!("assets/dashboard.js"))),
        )
        .route("/icon.svg", get(async || asset("image/svg+xml", include_str!("assets/icon.svg"))))
        .fallback(handlers::nothing)
        .layer(DefaultBodyLimit::max(FORM_BYTES))
        .layer(middleware::from_fn_with_state(console.clone(), protect))
        .with_state(console);
    Ok(axum::serve(listener, routes).await?)
}

fn asset(media_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}

async fn protect(State(console): State<Console>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let mut response = match console.guard.verdict(request.method(), query, request.headers()) {
        Verdict::Pass => next.run(request).await,
        Verdict::SetCookie => {
            let target = without_token(request.uri().path(), query);
            let location = HeaderValue::from_str(&target).unwrap_or(HeaderValue::from_static("/"));
            let cookie = console.guard.cookie();
            let headers = [Some((header::LOCATION, location)), cookie.map(|cookie| (header::SET_COOKIE, cookie))];
            let mut response = StatusCode::SEE_OTHER.into_response();
            response.headers_mut().extend(headers.into_iter().flatten());
            response
        }
        Verdict::Refuse(code, why) => (code, format!("{why}\n")).into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The same address without the token. It never names another host.
fn without_token(path: &str, query: &str) -> String {
    let mut rest = form_urlencoded::Serializer::new(String::new());
    rest.extend_pairs(form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "token"));
    let path = format!("/{}", path.trim_start_matches('/'));
    match rest.finish().as_str() {
        "" => path,
        rest => format!("{path}?{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_leaves_the_address_and_the_rest_stays() {
        assert_eq!(without_token("/", "token=a"), "/");
        assert_eq!(without_token("/hosts", "q=b&token=a&page=2"), "/hosts?q=b&page=2");
        assert_eq!(without_token("//evil.example/", "token=a"), "/evil.example/");
    }
}
