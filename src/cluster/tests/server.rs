//! An API server that plays a script: which requests are expected, in this order, and how each is answered. A request
//! that is not expected, and an expected one that does not come, is a fault; both lists are told with it.

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::BoxError;

/// One expected request, and its answer.
pub(crate) struct Exchange {
    method: &'static str,
    path: String,
    wanted: Vec<(&'static str, Value)>,
    answer: Answer,
    takes: Duration,
    then: Option<Box<dyn FnOnce() + Send>>,
}

enum Answer {
    /// This object.
    Object(Value),
    /// What was sent, as a new version.
    Written,
    /// A refusal: a Status.
    Status(Value),
    /// None, ever.
    UnexplainedWait,
    /// The connection breaks.
    Broken,
}

fn exchange(method: &'static str, path: &str, answer: Answer) -> Exchange {
    let path = path.to_owned();
    Exchange { method, path, wanted: Vec::new(), answer, takes: Duration::ZERO, then: None }
}

/// A GET, which finds this object.
pub(crate) fn get(path: &str, object: impl Into<Value>) -> Exchange {
    exchange("GET", path, Answer::Object(object.into()))
}

/// A GET, which finds nothing unless it fails otherwise.
pub(crate) fn miss(path: &str) -> Exchange {
    exchange("GET", path, Answer::UnexplainedWait).refused(404, "NotFound", "not found")
}

/// A POST, which succeeds unless it is said otherwise.
pub(crate) fn post(path: &str) -> Exchange {
    exchange("POST", path, Answer::Written)
}

/// A PUT, which succeeds unless it is said otherwise.
pub(crate) fn put(path: &str) -> Exchange {
    exchange("PUT", path, Answer::Written)
}

/// A PATCH, which succeeds with this object unless it is said otherwise.
pub(crate) fn patch(path: &str, object: impl Into<Value>) -> Exchange {
    exchange("PATCH", path, Answer::Object(object.into()))
}

/// A DELETE, which succeeds unless it is said otherwise.
pub(crate) fn delete(path: &str) -> Exchange {
    let success = json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success" });
    exchange("DELETE", path, Answer::Object(success))
}

impl Exchange {
    /// The request's body has this value at this JSON pointer; null: nothing.
    pub(crate) fn with(mut self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.wanted.push((pointer, value.into()));
        self
    }

    /// Whether nothing is written by it.
    pub(crate) fn reads(&self) -> bool {
        self.method == "GET"
    }

    /// The answer takes so long.
    pub(crate) fn takes(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }

    /// What happens when the request has come.
    pub(crate) fn then(self, then: impl FnOnce() + Send + 'static) -> Self {
        Self { then: Some(Box::new(then)), ..self }
    }

    /// It is never answered.
    pub(crate) fn hangs(self) -> Self {
        Self { answer: Answer::UnexplainedWait, ..self }
    }

    /// The connection breaks.
    pub(crate) fn breaks(self) -> Self {
        Self { answer: Answer::Broken, ..self }
    }

    pub(crate) fn refused(self, code: u16, reason: &str, message: &str) -> Self {
        self.refused_with(code, reason, message, json!({}))
    }

    fn refused_with(self, code: u16, reason: &str, message: &str, details: Value) -> Self {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "code": code, "reason": reason, "message": message, "details": details,
        });
        Self { answer: Answer::Status(status), ..self }
    }

    /// Another version is there.
    pub(crate) fn conflicts(self) -> Self {
        self.refused(409, "Conflict", "the object has been modified")
    }

    /// One of the name is there.
    pub(crate) fn already_exists(self) -> Self {
        self.refused(409, "AlreadyExists", "already exists")
    }

    pub(crate) fn gone(self) -> Self {
        self.refused(404, "NotFound", "not found")
    }

    pub(crate) fn invalid(self, message: &str) -> Self {
        self.refused(422, "Invalid", message)
    }

    pub(crate) fn immutable(self) -> Self {
        let cause = json!({ "reason": "FieldValueInvalid", "field": "spec.selector", "message": "field is immutable" });
        self.refused_with(422, "Invalid", "spec.selector: field is immutable", json!({ "causes": [cause] }))
    }

    /// The definitions do not take these fields.
    pub(crate) fn invalid_in(self, fields: &[&str]) -> Self {
        let cause = |field: &&str| json!({ "reason": "FieldValueNotSupported", "field": field, "message": "no" });
        let causes: Vec<Value> = fields.iter().map(cause).collect();
        self.refused_with(422, "Invalid", "the object is invalid", json!({ "causes": causes }))
    }

    /// It succeeds with this object.
    pub(crate) fn gives(self, object: Value) -> Self {
        Self { answer: Answer::Object(object), ..self }
    }

    /// The API server asks to be left alone for so many seconds.
    pub(crate) fn too_many(self, seconds: u32) -> Self {
        let details = json!({ "retryAfterSeconds": seconds });
        self.refused_with(429, "TooManyRequests", "too many requests", details)
    }

    pub(crate) fn unavailable(self) -> Self {
        self.refused(503, "ServiceUnavailable", "unavailable")
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
}

#[derive(Default)]
struct Script {
    to_come: VecDeque<Exchange>,
    expected: Vec<String>,
    came: Vec<Came>,
    faults: Vec<String>,
    versions: usize,
}

/// An API server that plays a script.
#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<Script>>);

impl Server {
    /// A client of this server.
    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            // The order is that in which requests are sent, and not that of their answers.
            let exchange = server.next(&request);
            async move { server.play(exchange, request).await }
        });
        Client::new(service, "tenants")
    }

    /// Expects these requests, and no others until [`Server::finish`].
    pub(crate) fn expect(&self, exchanges: Vec<Exchange>) {
        let mut script = self.lock();
        script.expected.extend(exchanges.iter().map(ToString::to_string));
        script.to_come.extend(exchanges);
    }

    /// What came since the last time.
    ///
    /// # Errors
    /// Both lists, where they are not the same.
    pub(crate) fn finish(&self) -> Result<Vec<Came>, String> {
        let mut script = self.lock();
        let missed: Vec<_> = script.to_come.drain(..).map(|exchange| format!("did not come: {exchange}")).collect();
        script.faults.extend(missed);
        let (expected, came) = (std::mem::take(&mut script.expected), std::mem::take(&mut script.came));
        let faults = std::mem::take(&mut script.faults);
        if faults.is_empty() {
            return Ok(came);
        }
        let came: Vec<_> = came.iter().map(|came| format!("{} {}", came.method, came.path)).collect();
        let list = |lines: &[String]| lines.iter().map(|line| format!("\n    {line}")).collect::<String>();
        Err(format!("{}\n  expected:{}\n  came:{}", faults.join("\n  "), list(&expected), list(&came)))
    }

    fn next(&self, request: &Request<Body>) -> Option<(usize, Exchange)> {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let mut script = self.lock();
        let fits = |next: &Exchange| next.method == method && next.path == path;
        let next = if script.to_come.front().is_some_and(fits) { script.to_come.pop_front() } else { None };
        if next.is_none() {
            script.faults.push(format!("not expected: {method} {path}"));
        }
        script.came.push(Came { method, path, body: Value::Null });
        Some((script.came.len() - 1, next?))
    }

    async fn play(
        &self,
        exchange: Option<(usize, Exchange)>,
        request: Request<Body>,
    ) -> Result<Response<Body>, BoxError> {
        let Some((at, exchange)) = exchange else { return Err("not in the script".into()) };
        let body = request.into_body().collect_bytes().await?;
        let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
        self.note(at, &exchange, &body);
        if let Some(then) = exchange.then {
            then();
        }
        if !exchange.takes.is_zero() {
            tokio::time::sleep(exchange.takes).await;
        }
        let (code, answer) = match exchange.answer {
            Answer::Object(object) => (200, object),
            Answer::Written => {
                body["metadata"]["resourceVersion"] = json!(self.version());
                (200, body)
            }
            Answer::Status(status) => {
                (status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap(), status)
            }
            Answer::UnexplainedWait => pending().await,
            Answer::Broken => return Err("connection refused".into()),
        };
        Ok(Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()))?)
    }

    fn note(&self, at: usize, exchange: &Exchange, body: &Value) {
        let mut script = self.lock();
        for (pointer, wanted) in &exchange.wanted {
            let found = body.pointer(pointer).cloned().unwrap_or_default();
            if found != *wanted {
                script.faults.push(format!("{exchange}: {pointer} is {found} and not {wanted}"));
            }
        }
        if let Some(came) = script.came.get_mut(at) {
            came.body = body.clone();
        }
    }

    /// The version of the next write: `w1` is that of the first.
    fn version(&self) -> String {
        let mut script = self.lock();
        script.versions += 1;
        format!("w{}", script.versions)
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }
}
