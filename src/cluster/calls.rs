//! Calls to the API server.
//!
//! kube's client would retry 429, 503 and 504 up to fifteen times and obey any `Retry-After`. Those retries are
//! off; the controller's backoff repeats instead.
//!
//! **Architecture invariant:** every call is bounded in time, and every write by the leadership claim at each
//! step of its way. No call is repeated here.

use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{Request, Status};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::claim::Claim;
use super::error_kind::{self, ErrorKind};
use super::reachability::Outages;
use crate::api::ObjectKey;
use crate::decide::api_message::is_too_large;
use crate::shown::line;

/// The field manager of the operator's writes.
pub const FIELD_MANAGER: &str = "phasegate";

/// How much of an API server message is kept, in characters. It may quote the whole refused object.
const LONGEST: usize = 4_000;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer in time. It is unknown whether a write was carried out.
    #[error("the API server did not respond within {0:?}")]
    TimedOut(Duration),
    /// Another operator is leader, or this one's claim has expired. Nothing was sent.
    #[error("this replica is not leader")]
    NotLeader,
    /// The API server refused, or could not be reached.
    #[error("{}", words(.0))]
    Kube(#[from] kube::Error),
}

/// The API server's message, without the debug form that kube appends.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => line(&status.message, LONGEST),
        other => line(&other.to_string(), LONGEST),
    }
}

impl CallError {
    /// What the answer means; `None` without an answer.
    pub fn error_kind(&self) -> Option<ErrorKind> {
        self.status().map(error_kind::error_kind)
    }

    /// The HTTP status, if the API server answered in its own name. A webhook that denies chooses its own.
    pub fn code(&self) -> Option<u16> {
        Some(self.status().filter(|status| !error_kind::is_denial(status))?.code)
    }

    /// The machine-readable reason, if the API server answered in its own name.
    pub fn reason(&self) -> Option<&str> {
        Some(&self.status().filter(|status| !error_kind::is_denial(status))?.reason)
    }

    /// Whether an admission webhook denied the request.
    pub fn is_denial(&self) -> bool {
        self.status().is_some_and(error_kind::is_denial)
    }

    /// Whether there was no answer, or one that blames no object: an outage.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::TimedOut(_) => true,
            Self::NotLeader => false,
            Self::Kube(error) => {
                let error_kind = self.error_kind();
                is_out_of_reach(error)
                    || matches!(error_kind, Some(ErrorKind::Unavailable | ErrorKind::WebhookUnavailable { .. }))
            }
        }
    }

    fn status(&self) -> Option<&Status> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status),
            _ => None,
        }
    }

    /// How long the API server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.status()?.details.as_ref()?.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// Whether the object changed, appeared or disappeared since it was read.
    pub fn is_stale(&self) -> bool {
        self.error_kind() == Some(ErrorKind::Stale)
    }

    /// The field paths that the API server found invalid. If a type or an enum value is wrong, it skips its
    /// rules and says so, without a field.
    pub fn invalid_fields(&self) -> Vec<&str> {
        let Self::Kube(kube::Error::Api(status)) = self else { return Vec::new() };
        if status.code != 422 {
            return Vec::new();
        }
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.map(|cause| cause.field.as_str()).filter(|field| !field.is_empty() && *field != "<nil>").collect()
    }

    /// Whether the object is larger than the API server or its storage accepts.
    pub fn is_too_large(&self) -> bool {
        let answered = self.status().filter(|status| !error_kind::is_denial(status));
        answered.is_some_and(|status| status.code == 413 || is_too_large(&status.message))
    }

    /// Whether the object's namespace is terminating.
    pub fn is_in_a_namespace_that_goes(&self) -> bool {
        let causes = self.status().and_then(|status| status.details.as_ref()).map(|details| &details.causes);
        causes.into_iter().flatten().any(|cause| cause.reason == "NamespaceTerminating")
    }
}

/// A client whose calls are bounded.
#[derive(Clone)]
pub struct Calls {
    client: Client,
    timeout: Duration,
    claim: Claim,
    outages: Outages,
    /// Whether answers say something about the storage of gateways.
    tells: bool,
}

/// What is needed of every namespaced object that is read here.
pub trait Readable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
}

impl<K> Readable for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
}

/// What is needed of every namespaced object that is read and written here.
pub trait Object: Readable + Serialize {}

impl<K: Readable + Serialize> Object for K {}

impl Calls {
    /// Bounds every call of `client` by `timeout`, and every write also by `claim`.
    pub fn new(client: Client, timeout: Duration, claim: Claim, outages: Outages) -> Self {
        Self { client, timeout, claim, outages, tells: true }
    }

    /// The same for Events, which may have a storage of their own and which nothing waits for.
    pub fn of_events(&self) -> Self {
        Self { tells: false, ..self.clone() }
    }

    /// Reads an object; `None` if it does not exist.
    ///
    /// # Errors
    /// If the API server refuses or does not answer.
    pub async fn get<K: Readable>(&self, key: &ObjectKey) -> Result<Option<K>, CallError> {
        let api = self.api(&key.namespace);
        self.within(self.timeout, pin!(api.get_opt(&key.name))).await
    }

    /// Reads an object that the operator may list, but not get; `None` if there is none.
    ///
    /// # Errors
    /// If the API server refuses or does not answer.
    pub async fn get_by_list<K: Readable>(&self, key: &ObjectKey) -> Result<Option<K>, CallError> {
        let (objects, _) = self.list(&key.namespace, &format!("metadata.name={}", key.name), (1, 1)).await?;
        Ok(objects.into_iter().next())
    }

    /// Lists the objects of a namespace that a field selector selects, at most `pages` pages of `page` objects.
    /// Returns also whether the list is complete.
    ///
    /// # Errors
    /// If the API server refuses or does not answer.
    pub async fn list<K: Readable>(
        &self,
        namespace: &str,
        fields: &str,
        (page, pages): (u32, usize),
    ) -> Result<(Vec<K>, bool), CallError> {
        let mut params = ListParams::default().fields(fields).limit(page);
        let (api, mut all) = (self.api(namespace), Vec::new());
        for _ in 0..pages {
            let list = self.within(self.timeout, pin!(api.list(&params))).await?;
            all.extend(list.items);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok((all, true)),
            }
        }
        Ok((all, false))
    }

    /// Creates an object. Returns the stored object as JSON text.
    ///
    /// # Errors
    /// If the API server refuses or does not answer.
    pub async fn create<K: Object>(&self, object: &K) -> Result<String, CallError> {
        let call = async {
            let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
            let request = path_of(object).create(&post(), body).map_err(kube::Error::BuildRequest)?;
            self.unread("create", request).await
        };
        self.write(pin!(call)).await
    }

    /// Replaces an object, if its uid and version are still those of `object`. Returns the stored object as
    /// JSON text.
    ///
    /// # Errors
    /// If the API server refuses or does not answer.
    pub async fn replace<K: Object>(&self, object: &K) -> Result<String, CallError> {
        let call = async {
            let name = ObjectKey::of(object).name;
            let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
            let request = path_of(object).replace(&name, &post(), body).map_err(kube::Error::BuildRequest)?;
            self.unread("replace", request).await
        };
        self.write(pin!(call)).await
    }

    /// Sends a request without decoding its answer, which repeats the object; little of it is read.
    async fn unread(&self, verb: &'static str, mut request: http::Request<Vec<u8>>) -> Result<String, kube::Error> {
        request.extensions_mut().insert(verb);
        self.client.request_text(request).await
    }

    /// Replaces an object's status, if its version is still that of `object`.
    ///
    /// # Errors
    /// If the API server refuses or does not answer.
    pub async fn replace_status<K: Object>(&self, object: &K) -> Result<K, CallError> {
        let ObjectKey { namespace, name } = ObjectKey::of(object);
        let api = self.api(&namespace);
        self.write(pin!(api.replace_status(&name, &post(), object))).await
    }

    /// Applies a merge patch to an object's status.
    ///
    /// # Errors
    /// If the API server refuses or does not answer.
    pub async fn merge_status<K: Object>(
        &self,
        key: &ObjectKey,
        patch: &serde_json::Value,
    ) -> Result<kube::api::DynamicObject, CallError> {
        let resource = kube::api::ApiResource::erase::<K>(&());
        let api: Api<kube::api::DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.write(pin!(api.patch_status(&key.name, &params, &Patch::Merge(patch)))).await
    }

    /// Applies a merge patch to an object.
    ///
    /// # Errors
    /// If the API server refuses or does not answer.
    pub async fn merge<K: Object>(&self, key: &ObjectKey, patch: &serde_json::Value) -> Result<K, CallError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(&key.namespace);
        self.write(pin!(api.patch(&key.name, &params, &Patch::Merge(patch)))).await
    }

    /// Applies an object (server-side apply) for `manager`, which takes its fields over from other managers.
    ///
    /// # Errors
    /// If the API server refuses or does not answer.
    pub async fn apply<K: Object>(
        &self,
        manager: &str,
        key: &ObjectKey,
        object: &serde_json::Value,
    ) -> Result<K, CallError> {
        let params = PatchParams::apply(manager).force().validation_strict();
        let api = self.api(&key.namespace);
        self.write(pin!(api.patch(&key.name, &params, &Patch::Apply(object)))).await
    }

    /// Deletes the object with this uid. One that is gone already counts as deleted.
    ///
    /// # Errors
    /// If the API server refuses or does not answer.
    pub async fn delete<K: Object>(&self, key: &ObjectKey, uid: &str) -> Result<(), CallError> {
        let this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams::background().preconditions(this);
        let api = self.api::<K>(&key.namespace);
        match self.write(pin!(api.delete(&key.name, &params))).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Sends nothing unless this process is leader at this moment.
    async fn write<T>(&self, call: Pin<&mut impl Future<Output = Result<T, kube::Error>>>) -> Result<T, CallError> {
        let mut call = pin!(self.within(self.timeout, call));
        // The claim is checked at every poll and not once: before the request is sent a connection may have to
        // be made, and the process may have been frozen meanwhile.
        let mut step = poll_fn(|cx| {
            if self.claim.is_valid() { call.as_mut().poll(cx) } else { Poll::Ready(Err(CallError::NotLeader)) }
        });
        // A write that hangs ends before another operator may lead. It continues while the claim is renewed.
        let written = loop {
            let Some(left) = self.claim.remaining() else { break step.await };
            match tokio::time::timeout(left, &mut step).await {
                Ok(written) => break written,
                Err(_) if self.claim.is_valid() => {}
                Err(_) => break Err(CallError::NotLeader),
            }
        };
        if written.is_ok() && self.tells {
            self.outages.wrote();
        }
        written
    }

    async fn within<T>(
        &self,
        limit: Duration,
        call: Pin<&mut impl Future<Output = Result<T, kube::Error>>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let out_of_reach = is_out_of_reach(&error);
                let error = CallError::from(error);
                if out_of_reach {
                    self.outages.began();
                } else if self.tells && error.error_kind() == Some(ErrorKind::Unavailable) {
                    self.outages.cannot_write(&error.to_string());
                }
                Err(error)
            }
            Err(_) => {
                self.outages.unanswered(limit);
                Err(CallError::TimedOut(limit))
            }
        }
    }
}

/// Whether no API server answered.
pub fn is_out_of_reach(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_))
}

/// The URL path of objects of this kind.
fn path_of<K: Object>(object: &K) -> Request {
    Request::new(K::url_path(&(), object.meta().namespace.as_deref()))
}

fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Context;

    use http::Response;
    use k8s_openapi::api::core::v1::Service;
    use kube::client::Body;
    use tokio::time::Instant;

    use super::*;
    use crate::cluster::heartbeat::Heartbeats;
    use crate::cluster::reachability::LastContact;

    /// An API server that counts requests and gives back what it is sent.
    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl tower::Service<http::Request<Body>> for Counting {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            self.0.fetch_add(1, Ordering::SeqCst);
            ready(Ok(Response::new(request.into_body())))
        }
    }

    async fn created_with(claim: Claim) -> (Result<String, CallError>, usize) {
        let server = Counting::default();
        (create(Client::new(server.clone(), "a"), claim).await, server.0.load(Ordering::SeqCst))
    }

    /// Creates an object, for which there are 15 seconds.
    async fn create(client: Client, claim: Claim) -> Result<String, CallError> {
        let (outages, _) = Outages::new(client.clone(), LastContact::default(), Heartbeats::default(), String::new());
        let calls = Calls::new(client, Duration::from_secs(15), claim, outages);
        let mut service = Service::default();
        service.metadata.namespace = Some("a".to_owned());
        calls.create(&service).await
    }

    /// An API server that answers after 12 seconds.
    fn slow() -> Client {
        let answer = tower::service_fn(|request: http::Request<Body>| async {
            tokio::time::sleep(Duration::from_secs(12)).await;
            Ok::<_, Infallible>(Response::new(request.into_body()))
        });
        Client::new(answer, "a")
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_outlives_the_claim_that_it_began_with_only_if_that_is_renewed() {
        let began = Instant::now();
        let claim = Claim::none();
        claim.extend(began + Duration::from_secs(7));
        let ended = create(slow(), claim.clone()).await;
        assert!(matches!(ended, Err(CallError::NotLeader)), "{ended:?}");
        assert_eq!(began.elapsed().as_secs(), 7);

        claim.extend(Instant::now() + Duration::from_secs(7));
        let renews = claim.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            renews.extend(Instant::now() + Duration::from_secs(10));
        });
        create(slow(), claim).await.unwrap();
    }

    #[test]
    fn whatever_a_server_says_an_error_says_on_a_line_of_bounded_length() {
        let words = format!("evil\u{1b}]52;c;eA==\u{7}\u{9b}31m\u{202e}\u{200b}\r\n{}", "a".repeat(9_000));
        let status = Status { message: words.clone(), ..Status::default() };
        for error in [kube::Error::Api(Box::new(status)), kube::Error::Service(words.into())] {
            let told = CallError::from(error).to_string();
            assert!(told.contains("evil]52;c;eA==31m aa") && told.chars().count() == LONGEST + 1, "{told:?}");
            assert!(!told.contains(crate::shown::is_hidden), "{told:?}");
        }
    }

    #[tokio::test]
    async fn without_a_claim_no_write_leaves_the_process() {
        let (refused, requests) = created_with(Claim::none()).await;
        assert!(matches!(refused, Err(CallError::NotLeader)), "{refused:?}");
        assert_eq!(requests, 0);
        let (created, requests) = created_with(Claim::unconditional()).await;
        created.unwrap();
        assert_eq!(requests, 1);
    }
}
