//! Whether the definitions that are installed are those of this version, or take as much.
//!
//! They are read as the API server publishes them to everybody (`/openapi/v3`), so an operator that works on a few
//! namespaces, and may read nothing that is in none, knows as well. They are read when the process begins and when a
//! watch of theirs begins anew, as it does when they change; while something is wrong with them, or the process stands
//! by and watches nothing, now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use kube::{Client, Resource};
use serde_json::Value;
use tokio::sync::Notify;

use super::pulse::Pulses;
use crate::api::{self, ApiGateway, Environment};

/// How often definitions are read with which something is wrong.
const WRONG: Duration = Duration::from_secs(5);
/// How often a process reads them that watches nothing.
const STANDING_BY: Duration = Duration::from_secs(60);
/// How long the API server may take to publish what was applied.
const PUBLISHING: Duration = Duration::from_secs(2);
/// How long one reading may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How the definitions that are installed are. Clones share it.
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

    /// They may have changed.
    pub fn look(&self) {
        self.changed.notify_one();
    }

    /// Reads them whenever it is time, for as long as somebody runs it.
    pub async fn follow(self, client: Client, watches: Pulses) {
        loop {
            let wait = match tokio::time::timeout(TIMEOUT, read(&client)).await {
                Ok(Ok(trouble)) => {
                    let wrong = trouble.is_some();
                    self.learn(trouble);
                    if wrong { Some(WRONG) } else { watches.standing().is_empty().then_some(STANDING_BY) }
                }
                // Not everybody may read them: then a status that is refused is what tells.
                Ok(Err(error)) if is_forbidden(&error) => None,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the definitions cannot be read");
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
            None => tracing::info!("the definitions are those of this version, or newer"),
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
    let request = http::Request::get(path).body(Vec::new()).context("the request cannot be built")?;
    match client.request::<Value>(request).await {
        Ok(published) => judge(&published),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            Ok(Some(format!("the API server does not know {version}; apply the custom resource definitions ({APPLY})")))
        }
        Err(error) => Err(error.into()),
    }
}

const APPLY: &str = "kubectl apply --server-side -f crds";

/// What is wrong with definitions as they are published.
fn judge(published: &Value) -> anyhow::Result<Option<String>> {
    for kind in [ApiGateway::kind(&()), Environment::kind(&())] {
        let Some(schema) = schema_of(published, &kind) else {
            return Ok(Some(format!(
                "the API server does not know the kind {kind}; apply the custom resource definitions ({APPLY})"
            )));
        };
        if let Some(field) = api::lacking(&kind, schema)? {
            return Ok(Some(format!(
                "the custom resource definitions are older than this operator: {kind} does not take all that it writes \
                 to {field}. Gateways are worked on all the same, but not everything is recorded; apply the definitions \
                 of this version ({APPLY})"
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
        assert!(older.contains("older than this operator: ApiGateway does not take"), "{older}");
        assert!(older.contains("status.subject") && older.contains(APPLY), "{older}");
        let gone = said(|all| drop(all.as_object_mut().unwrap().remove("environments")));
        assert!(gone.starts_with("the API server does not know the kind Environment; apply"), "{gone}");
    }
}
