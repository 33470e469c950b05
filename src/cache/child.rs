//! Cached children. A settled child is hardly read again until it changes, so it is kept as JSON text, which
//! takes a fifth of the memory of the decoded object, beside the few facts that every decision needs.
//!
//! **Architecture invariant:** a child's status is reduced to facts here and never kept.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::index::Cached;
use super::watched::{Watchable, Watched};
use crate::api::{ObjectKey, uid_of};
use crate::children::{self, Children, HttpRoute, Parent};
use crate::cluster::calls::Object;
use crate::decide::observed::{Child, Rollout};

/// The children of one gateway, from the caches or from live reads.
#[derive(Clone, Debug, Default)]
pub struct FoundChildren {
    /// The Deployment.
    pub deployment: Option<Arc<CachedChild<Deployment>>>,
    /// The Service.
    pub service: Option<Arc<CachedChild<Service>>>,
    /// The Ingress.
    pub ingress: Option<Arc<CachedChild<Ingress>>>,
    /// The HTTPRoute.
    pub http_route: Option<Arc<CachedChild<HttpRoute>>>,
    /// The PodDisruptionBudget.
    pub disruption_budget: Option<Arc<CachedChild<PodDisruptionBudget>>>,
}

impl FoundChildren {
    /// Whether no child exists.
    pub fn is_empty(&self) -> bool {
        let Self { deployment, service, ingress, http_route, disruption_budget } = self;
        deployment.is_none()
            && service.is_none()
            && ingress.is_none()
            && http_route.is_none()
            && disruption_budget.is_none()
    }
}

/// A kind of child.
pub trait ChildKind: Object + Watchable<Spec = Box<RawValue>> {
    /// Which one.
    const CHILD: Child;

    /// The desired child.
    fn desired(children: &Children) -> Option<&Self>;

    /// The found child.
    fn found(found: &FoundChildren) -> Option<&CachedChild<Self>>;

    /// The slot of the found child.
    fn found_mut(found: &mut FoundChildren) -> &mut Option<Arc<CachedChild<Self>>>;

    /// A hash of everything that can affect a comparison with the desired state.
    fn fingerprint(meta: &ObjectMeta) -> u64 {
        hash(&(&meta.uid, &meta.resource_version))
    }

    /// The progress of the rollout, for a Deployment.
    fn rollout(_: &Watched<Self>) -> Rollout {
        Rollout::default()
    }

    /// The parents and their reports, for an HTTPRoute.
    fn parents(_: &Watched<Self>) -> Box<[Parent]> {
        Box::default()
    }
}

macro_rules! child_kind {
    ($kind:ident, $field:ident, $desired:expr $(, { $($more:tt)+ })?) => {
        impl ChildKind for $kind {
            const CHILD: Child = Child::$kind;

            fn desired(children: &Children) -> Option<&Self> {
                $desired(&children.$field)
            }

            fn found(found: &FoundChildren) -> Option<&CachedChild<Self>> {
                found.$field.as_deref()
            }

            fn found_mut(found: &mut FoundChildren) -> &mut Option<Arc<CachedChild<Self>>> {
                &mut found.$field
            }

            $($($more)+)?
        }
    };
}

child_kind!(Service, service, Some);
child_kind!(Ingress, ingress, Option::as_ref);
child_kind!(HttpRoute, http_route, Option::as_ref, {
    fn parents(watched: &Watched<Self>) -> Box<[Parent]> {
        let spec = watched.spec.as_ref().and_then(|spec| serde_json::from_str(spec.get()).ok());
        let (meta, spec) = (watched.meta(), spec.unwrap_or_default());
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        children::parents(&spec, watched.status.as_ref(), namespace, meta.generation.unwrap_or_default()).into()
    }
});
child_kind!(PodDisruptionBudget, disruption_budget, Option::as_ref);
child_kind!(Deployment, deployment, Some, {
    /// The status of a Deployment changes often; its generation covers everything but metadata.
    fn fingerprint(meta: &ObjectMeta) -> u64 {
        let ObjectMeta { uid, generation, labels, annotations, deletion_timestamp, owner_references, .. } = meta;
        let owners: Vec<_> = owner_references
            .iter()
            .flatten()
            .map(|owner| (&owner.uid, &owner.name, owner.controller, owner.block_owner_deletion))
            .collect();
        hash(&(uid, generation, labels, annotations, deletion_timestamp.is_some(), owners))
    }

    fn rollout(watched: &Watched<Self>) -> Rollout {
        rollout(watched)
    }
});

/// A child in the cache.
#[derive(Debug)]
pub struct CachedChild<K: ChildKind> {
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub version: Option<String>,
    /// See [`ChildKind::fingerprint`].
    pub fingerprint: u64,
    /// The progress of its rollout, for a Deployment.
    pub rollout: Rollout,
    /// See [`ChildKind::parents`].
    pub parents: Box<[Parent]>,
    text: Box<str>,
    kind: PhantomData<fn() -> K>,
}

impl<K: ChildKind> CachedChild<K> {
    /// Decodes the object, without its status.
    ///
    /// # Errors
    /// If its shape differs from what this version knows of the kind.
    pub fn object(&self) -> Result<K, serde_json::Error> {
        serde_json::from_str(&self.text)
    }
}

impl<K: ChildKind> From<Watched<K>> for CachedChild<K> {
    fn from(watched: Watched<K>) -> Self {
        /// The text of an object.
        #[derive(Serialize)]
        struct Text<'a> {
            metadata: &'a ObjectMeta,
            #[serde(skip_serializing_if = "Option::is_none")]
            spec: Option<&'a RawValue>,
        }

        let meta = watched.meta();
        let text = Text { metadata: meta, spec: watched.spec.as_deref() };
        Self {
            uid: uid_of(meta).to_owned(),
            version: meta.resource_version.clone(),
            fingerprint: K::fingerprint(meta),
            rollout: K::rollout(&watched),
            parents: K::parents(&watched),
            // Data that was read as JSON can be written as JSON.
            text: serde_json::to_string(&text).unwrap_or_default().into_boxed_str(),
            kind: PhantomData,
        }
    }
}

/// A child has its gateway's name, so its own key says which gateway it affects, even a foreign child's.
impl<K: ChildKind> Cached for CachedChild<K> {
    type Object = Watched<K>;

    fn from_object(object: Self::Object) -> Option<(ObjectKey, Self)> {
        Some((ObjectKey::of(&object), object.into()))
    }

    fn is_unchanged(&self, newer: &Self) -> bool {
        self.version == newer.version
    }
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn rollout(deployment: &Watched<Deployment>) -> Rollout {
    /// The fields of a Deployment's spec that the rollout needs.
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Asked {
        replicas: Option<i32>,
        #[serde(default)]
        paused: bool,
        #[serde(default)]
        min_ready_seconds: i32,
    }

    let asked: Option<Asked> = deployment.spec.as_ref().and_then(|spec| serde_json::from_str(spec.get()).ok());
    let Asked { replicas, paused, min_ready_seconds } = asked.unwrap_or_default();
    let desired = replicas.unwrap_or(1);
    let Some(status) = &deployment.status else {
        return Rollout { desired, paused, min_ready_seconds, behind: true, ..Rollout::default() };
    };
    let condition = |type_: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == type_);
    let says = |type_: &str, value: &str, reason: Option<&str>| {
        condition(type_)
            .filter(|condition| {
                condition.status == value && reason.is_none_or(|reason| condition.reason.as_deref() == Some(reason))
            })
            .map(|condition| condition.message.clone().unwrap_or_default())
    };
    let current = status.observed_generation >= deployment.meta().generation;
    let (replicas, updated) = (status.replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0));
    let available = status.available_replicas.unwrap_or(0);
    Rollout {
        complete: current && replicas == desired && updated == desired && available == desired,
        desired,
        replicas,
        ready: status.ready_replicas.unwrap_or(0),
        available,
        progress_deadline_exceeded: says("Progressing", "False", Some("ProgressDeadlineExceeded")),
        replica_failure: says("ReplicaFailure", "True", None)
            .or_else(|| says("Progressing", "False", Some("ReplicaSetCreateError")).map(why_no_replica_set)),
        updated,
        behind: !current,
        template: condition("Progressing")
            .and_then(|condition| newest_template(&deployment.name_any(), condition.message.as_deref()?)),
        paused,
        min_ready_seconds,
    }
}

/// Why the Deployment controller could not create a ReplicaSet: the part after `Failed to create new replica
/// set "NAME": `.
fn why_no_replica_set(words: String) -> String {
    let why = words.strip_prefix("Failed to create new replica set ").and_then(|rest| rest.split_once("\": "));
    why.map(|(_, why)| why.to_owned()).unwrap_or(words)
}

/// The `pod-template-hash` of the ReplicaSet that a Deployment's condition names. Watching ReplicaSets for it
/// would cost as much as watching Deployments.
fn newest_template(deployment: &str, words: &str) -> Option<String> {
    let replica_set = words.split('"').nth(1)?;
    Some(replica_set.strip_prefix(deployment)?.strip_prefix('-')?.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn seen(object: &Value) -> CachedChild<Deployment> {
        // From text, as a watch reads it: a specification cannot be taken as text from a tree of values.
        serde_json::from_str::<Watched<Deployment>>(&object.to_string()).unwrap().into()
    }

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "shop", "namespace": "a", "uid": "u", "resourceVersion": "7", "generation": 3,
                "labels": { "l": "1" }, "annotations": { "a": "1" }, "finalizers": ["f"],
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "o" }],
                "creationTimestamp": "2026-01-02T03:04:05Z", "deletionTimestamp": "2026-01-02T03:04:06Z",
                "managedFields": [{ "manager": "m", "operation": "Update" }],
            },
            "spec": { "replicas": 2, "selector": {}, "template": { "metadata": { "labels": { "l": "1" } } } },
            "status": { "replicas": 2, "observedGeneration": 3, "availableReplicas": 2, "updatedReplicas": 2 },
        })
    }

    #[test]
    fn a_child_is_kept_whole_but_for_its_status_and_managed_fields() {
        let mut whole: Deployment = serde_json::from_value(deployment()).unwrap();
        let seen = seen(&deployment());

        whole.metadata.managed_fields = None;
        whole.status = None;
        assert_eq!(seen.object().unwrap(), whole);
        assert_eq!(seen.uid, "u");
        assert_eq!(seen.version.as_deref(), Some("7"));
        assert!(seen.rollout.complete);
        assert_eq!(seen.rollout.desired, 2);
    }

    #[test]
    fn a_deployments_print_changes_with_all_that_is_compared_and_not_with_its_status() {
        let fingerprint = |pointer: &str, value: Value| {
            let mut changed = deployment();
            *changed.pointer_mut(pointer).unwrap() = value;
            seen(&changed).fingerprint
        };
        let before = seen(&deployment()).fingerprint;
        assert_eq!(before, fingerprint("/status/availableReplicas", json!(1)));
        assert_eq!(before, fingerprint("/metadata/resourceVersion", json!("8")));
        for (pointer, value) in [
            ("/metadata/uid", json!("v")),
            ("/metadata/generation", json!(4)),
            ("/metadata/labels/l", json!("2")),
            ("/metadata/annotations/a", json!("2")),
            ("/metadata/ownerReferences/0/uid", json!("p")),
            ("/metadata/ownerReferences", json!([])),
            ("/metadata/deletionTimestamp", Value::Null),
        ] {
            assert_ne!(before, fingerprint(pointer, value), "{pointer}");
        }
    }

    #[test]
    fn a_rollout_is_complete_at_the_current_generation_only() {
        let mut older = deployment();
        older["status"]["observedGeneration"] = json!(2);
        assert!(!seen(&older).rollout.complete);
    }

    /// As the Deployment controller tells it. The generation that it has looked at stays the one before.
    #[test]
    fn a_replica_set_that_cannot_be_created_is_as_pods_that_cannot() {
        let failure = |reason: &str, words: &str| {
            let mut failing = deployment();
            failing["status"]["conditions"] =
                json!([{ "type": "Progressing", "status": "False", "reason": reason, "message": words }]);
            seen(&failing).rollout.replica_failure
        };
        let why = "replicasets.apps \"shop-7d9f8b6c5\" is forbidden: exceeded quota: small";
        let words = format!("Failed to create new replica set \"shop-7d9f8b6c5\": {why}");
        assert_eq!(failure("ReplicaSetCreateError", &words).as_deref(), Some(why));
        assert_eq!(failure("ReplicaSetCreateError", "in other words").as_deref(), Some("in other words"));
        assert_eq!(failure("ProgressDeadlineExceeded", &words), None);
    }

    /// The words of every version of the Deployment controller that is supported.
    #[test]
    fn the_newest_template_is_told_by_what_the_deployment_says_of_its_progress() {
        for words in [
            "Created new replica set \"shop-7d9f8b6c5\"",
            "Found new replica set \"shop-7d9f8b6c5\"",
            "ReplicaSet \"shop-7d9f8b6c5\" is progressing.",
            "ReplicaSet \"shop-7d9f8b6c5\" has successfully progressed.",
            "ReplicaSet \"shop-7d9f8b6c5\" has timed out progressing.",
        ] {
            assert_eq!(newest_template("shop", words).as_deref(), Some("7d9f8b6c5"), "{words}");
        }
        for words in ["Deployment \"shop\" is progressing.", "Deployment is paused", ""] {
            assert_eq!(newest_template("shop", words), None, "{words}");
        }
    }
}
