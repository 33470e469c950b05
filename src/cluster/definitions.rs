//! Checks whether the installed CRDs are those of this version, or accept as much.
//!
//! They are read from `/openapi/v3`, which the API server publishes to everybody, so that an operator without
//! cluster-wide permissions can check them, too. They are read at startup and whenever a watch of them
//! restarts, as it does when they change; periodically while something is wrong with them, or while this
//! process is on standby and watches nothing.
//!
//! **Architecture invariant:** this module only reads and reports. It writes no definition, and an outdated one
//! stops no reconcile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use kube::{Client, Resource};
use serde_json::Value;
use tokio::sync::Notify;

use super::heartbeat::Heartbeats;
use crate::api::{self, ApiGateway, Environment};

/// The interval of checks while something is wrong.
const WRONG: Duration = Duration::from_secs(5);
/// The interval of checks on standby.
const STANDING_BY: Duration = Duration::from_secs(60);
/// How long the API server may take to publish applied CRDs.
const PUBLISHING: Duration = Duration::from_secs(2);
/// The timeout of one read.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The state of the installed CRDs. Clones share it.
#[derive(Clone, Default)]
pub struct Definitions {
    trouble: Arc<Mutex<Option<String>>>,
    changed: Arc<Notify>,
}

impl Definitions {
    /// What is wrong with them, and what to do.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Called when they may have changed.
    pub fn look(&self) {
        self.changed.notify_one();
    }

    /// Checks them whenever due, for as long as the future is polled.
    pub async fn follow(self, client: Client, watches: Heartbeats) {
        loop {
            let wait = match tokio::time::timeout(TIMEOUT, read(&client)).await {
                Ok(Ok(trouble)) => {
                    let wrong = trouble.is_some();
                    self.learn(trouble);
                    if wrong { Some(WRONG) } else { watches.health().is_empty().then_some(STANDING_BY) }
                }
                // Without the permission, a refused status reveals outdated CRDs.
                Ok(Err(error)) if is_forbidden(&error) => None,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "failed to read the CustomResourceDefinitions");
                    Some(WRONG)
                }
                Err(_) => Some(WRONG),
            };
            tokio::select! {
                () = later(wait) => {}
                () = self.changed.notified() => tokio::time::sleep(PUBLISHING).await,
            }
        }
    }

    fn learn(&self, trouble: Option<String>) {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == trouble {
            return;
        }
        match &trouble {
            Some(sentence) => tracing::warn!("{sentence}"),
            None => tracing::info!("the CustomResourceDefinitions are up to date"),
        }
        *known = trouble;
    }
}

async fn later(wait: Option<Duration>) {
    match wait {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if matches!(status.code, 401 | 403))
}

async fn read(client: &Client) -> anyhow::Result<Option<String>> {
    let version = ApiGateway::api_version(&());
    let path = format!("/openapi/v3/apis/{version}");
    let request = http::Request::get(path).body(Vec::new()).context("failed to build the request")?;
    match client.request::<Value>(request).await {
        Ok(published) => judge(&published),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Some(format!(
            "the API server does not serve {version}: install the CustomResourceDefinitions ({APPLY})"
        ))),
        Err(error) => Err(error.into()),
    }
}

const APPLY: &str = "kubectl apply --server-side -f crds";

/// What is wrong with the published CRDs.
fn judge(published: &Value) -> anyhow::Result<Option<String>> {
    for kind in [ApiGateway::kind(&()), Environment::kind(&())] {
        let Some(schema) = schema_of(published, &kind) else {
            return Ok(Some(format!(
                "the API server does not serve the kind {kind}: install the CustomResourceDefinitions ({APPLY})"
            )));
        };
        if let Some(field) = api::missing_from_crd(&kind, schema)? {
            return Ok(Some(format!(
                "the CustomResourceDefinitions are older than this operator: {kind} lacks {field}. Reconciliation \
                 continues, but part of the status is not stored. Apply the definitions of this version ({APPLY})"
            )));
        }
    }
    Ok(None)
}

fn schema_of<'a>(published: &'a Value, kind: &str) -> Option<&'a Value> {
    let schemas = published.pointer("/components/schemas")?.as_object()?;
    schemas.values().find(|schema| {
        let kinds = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        kinds.into_iter().flatten().any(|named| named.get("kind").and_then(Value::as_str) == Some(kind))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn published(edit: fn(&mut Value)) -> Value {
        let mut schemas = serde_json::Map::new();
        for (plural, crd) in api::crds().unwrap() {
            let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
            schema["x-kubernetes-group-version-kind"] = json!([{ "kind": crd["spec"]["names"]["kind"] }]);
            schemas.insert(plural, schema);
        }
        let mut schemas = Value::Object(schemas);
        edit(&mut schemas);
        json!({ "components": { "schemas": schemas } })
    }

    fn said(edit: fn(&mut Value)) -> String {
        judge(&published(edit)).unwrap().unwrap_or_default()
    }

    #[test]
    fn older_definitions_are_told_by_what_they_lack_and_what_to_do() {
        assert_eq!(said(|_| {}), "");
        let older = said(|all| {
            let status = &mut all["apigateways"]["properties"]["status"]["properties"];
            drop(status.as_object_mut().unwrap().remove("subject"));
        });
        assert!(older.contains("older than this operator: ApiGateway lacks"), "{older}");
        assert!(older.contains("status.subject") && older.contains(APPLY), "{older}");
        let gone = said(|all| drop(all.as_object_mut().unwrap().remove("environments")));
        assert!(gone.starts_with("the API server does not serve the kind Environment: install"), "{gone}");
    }
}
