//! Whether the cluster serves HTTPRoutes. Nothing is read before a gateway asks for one.
//!
//! **Architecture invariant:** this module sends no request. `control::watch` finds the answer and reports it
//! here.

use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;
use std::borrow::Cow;
use tokio::sync::watch;

/// Whether the cluster serves HTTPRoutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Support {
    /// Not known yet.
    #[default]
    Unknown,
    /// It does not.
    Missing,
    /// The operator may not read them; the API server's message.
    NotPermitted(String),
    /// It does, and they were listed.
    Served,
}

/// What is known, and whether a gateway asks. Shared by all scopes.
#[derive(Default)]
pub struct RouteSupport {
    asked: watch::Sender<bool>,
    support: watch::Sender<Support>,
}

impl RouteSupport {
    /// Called when a gateway asks for an HTTPRoute, or has one.
    pub fn ask(&self) {
        self.asked.send_if_modified(|asked| !std::mem::replace(asked, true));
    }

    /// Waits until a gateway asks.
    pub async fn is_asked(&self) {
        // The sender lives as long as this, so waiting cannot fail.
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }

    /// Updates what is known. Returns whether that is news.
    pub fn learn(&self, support: Support) -> bool {
        self.support.send_if_modified(|known| {
            let is_news = *known != support;
            *known = support;
            is_news
        })
    }

    /// What is known.
    pub fn support(&self) -> Support {
        self.support.borrow().clone()
    }

    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        *self.support.borrow() != Support::Unknown
    }

    /// Waits until something is known, if a gateway asks.
    pub async fn wait_until_known(&self) {
        if *self.asked.borrow() {
            let _ = self.support.subscribe().wait_for(|support| *support != Support::Unknown).await;
        }
    }
}

/// The CRD of HTTPRoutes; only the fields that are read.
#[derive(Clone, Debug, Deserialize)]
pub struct RouteDefinition {
    metadata: ObjectMeta,
    spec: Versions,
    #[serde(default)]
    status: DefinitionStatus,
}

#[derive(Clone, Debug, Deserialize)]
struct Versions {
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Clone, Debug, Deserialize)]
struct Version {
    name: String,
    served: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct DefinitionStatus {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl RouteDefinition {
    /// Its name.
    pub const NAME: &str = "httproutes.gateway.networking.k8s.io";

    /// Whether version v1 is served. A terminating CRD admits no new objects, so it does not count.
    pub fn is_served(&self) -> bool {
        let is_established = |said: &Condition| said.type_ == "Established" && said.status == "True";
        self.metadata.deletion_timestamp.is_none()
            && self.spec.versions.iter().any(|version| version.name == "v1" && version.served)
            && self.status.conditions.iter().any(is_established)
    }
}

impl Resource for RouteDefinition {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "CustomResourceDefinition".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "apiextensions.k8s.io".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "customresourcedefinitions".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn routes_are_served_by_a_definition_that_is_established_serves_v1_and_stays() {
        let definition = |version: &str, served: bool, established: &str, deleted: Option<&str>| {
            let definition: RouteDefinition = serde_json::from_value(json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": { "name": RouteDefinition::NAME, "uid": "u", "deletionTimestamp": deleted },
                "spec": { "group": "gateway.networking.k8s.io", "versions": [
                    { "name": "v1beta1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } } },
                    { "name": version, "served": served, "storage": false },
                ] },
                "status": { "conditions": [
                    { "type": "NamesAccepted", "status": "True" }, { "type": "Established", "status": established },
                ] },
            }))
            .unwrap();
            definition.is_served()
        };
        assert!(definition("v1", true, "True", None));
        assert!(!definition("v2", true, "True", None));
        assert!(!definition("v1", false, "True", None));
        assert!(!definition("v1", true, "False", None));
        assert!(!definition("v1", true, "True", Some("2026-01-02T03:04:05Z")));
    }
}
