//! Prunes watched objects before they are cached.
//!
//! **Architecture invariant:** no decision reads a pruned field. A pass over a pruned gateway reads the whole
//! object first.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Resource;
use kube::core::Selector;

use crate::api::{
    ADOPT_ANNOTATION, ApiGateway, ApiGatewaySpec, Completeness, Environment, GATEWAY_ID_ANNOTATION, Guarded,
    INTENT_ANNOTATION, REGISTRY_LABEL, RESTART_ANNOTATION, RETRY_ANNOTATION,
};
use crate::cache::watched::{Watchable, Watched};
use crate::children::{self, UID_LABEL};

/// The largest gateway in bytes that is kept whole. Most have a tenth.
const LARGE: usize = 16 * 1024;

/// The metadata of gateways and environments that decisions read, and the longest value that is kept.
const OURS: [&str; 6] =
    [ADOPT_ANNOTATION, GATEWAY_ID_ANNOTATION, INTENT_ANNOTATION, REGISTRY_LABEL, RESTART_ANNOTATION, RETRY_ANNOTATION];
const LONGEST: usize = 1024;

/// Prunes large gateways to what other objects and the queue need, since their own pass reads them first. Their
/// bytes are thus in memory only while they are reconciled.
pub(super) fn gateways(selector: Selector) -> impl Fn(&mut Guarded<ApiGateway>) + Send + 'static {
    let selected = keys(selector);
    move |object: &mut Guarded<ApiGateway>| {
        let Guarded(read, completeness) = object;
        match read {
            Ok(gateway)
                if *completeness == Completeness::InPart || size_of(&(&gateway.metadata, &gateway.spec)) > LARGE =>
            {
                keep_ours(&mut gateway.metadata, &selected);
                abridge(&mut gateway.spec);
                *completeness = Completeness::InPart;
            }
            Ok(_) => {}
            Err(unreadable) => keep_ours(&mut unreadable.metadata, &selected),
        }
    }
}

/// Drops other labels and annotations of environments, which nothing reads.
pub(super) fn environment(object: &mut Guarded<Environment>) {
    keep_ours(object.meta_mut(), &BTreeSet::new());
}

/// Drops managed fields.
pub(super) fn metadata<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// Reduces a foreign child to the metadata that shows that its name is taken.
pub(super) fn child<K: Watchable>(object: &mut Watched<K>) {
    let meta = object.meta_mut();
    let ours = meta.labels.as_ref().is_some_and(|labels| labels.contains_key(UID_LABEL))
        || meta.owner_references.iter().flatten().any(children::is_gateway);
    if !ours {
        *object = Watched::bare(ObjectMeta {
            name: meta.name.take(),
            namespace: meta.namespace.take(),
            uid: meta.uid.take(),
            resource_version: meta.resource_version.take(),
            owner_references: meta.owner_references.take(),
            ..ObjectMeta::default()
        });
    }
}

/// The label keys that a selector reads.
fn keys(selector: Selector) -> BTreeSet<String> {
    let LabelSelector { match_labels, match_expressions } = selector.into();
    let expressions = match_expressions.into_iter().flatten().map(|expression| expression.key);
    match_labels.into_iter().flatten().map(|(key, _)| key).chain(expressions).collect()
}

fn keep_ours(meta: &mut ObjectMeta, selected: &BTreeSet<String>) {
    let keep = |map: &mut Option<BTreeMap<String, String>>| {
        if let Some(map) = map {
            map.retain(|key, value| selected.contains(key) || (OURS.contains(&key.as_str()) && value.len() <= LONGEST));
        }
    };
    keep(&mut meta.labels);
    keep(&mut meta.annotations);
}

/// Drops what only pods are rendered from. Lists every field, so that a new one must be considered.
fn abridge(spec: &mut ApiGatewaySpec) {
    let ApiGatewaySpec {
        image_pull_secrets,
        command,
        args,
        resources,
        env,
        env_from,
        volumes,
        node_selector,
        tolerations,
        // Bounded by every CRD version so far.
        state: _,
        image: _,
        port: _,
        replicas: _,
        readiness_path: _,
        termination_grace_period_seconds: _,
        topology_spread: _,
        host: _,
        path: _,
        ingress_class_name: _,
        tls: _,
        exposure: _,
        parent_refs: _,
        start_deadline: _,
        start_retries: _,
        suspend: _,
    } = spec;
    *image_pull_secrets = Vec::new();
    *command = Vec::new();
    *args = Vec::new();
    *resources = None;
    *env = Vec::new();
    *env_from = Vec::new();
    *volumes = Vec::new();
    *node_selector = BTreeMap::new();
    *tolerations = Vec::new();
}

/// The size of an object as JSON, in bytes.
fn size_of(object: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Data that was read as JSON can be written as JSON.
    let written = serde_json::to_writer(&mut count, object);
    written.map_or(usize::MAX, |()| count.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use kube::core::Expression;
    use serde_json::{Value, json};

    use super::*;

    fn pruned(metadata: Value, spec: Value) -> Guarded<ApiGateway> {
        let object =
            json!({ "apiVersion": "phasegate.dev/v1alpha1", "kind": "ApiGateway", "metadata": metadata, "spec": spec });
        let mut object: Guarded<ApiGateway> = serde_json::from_value(object).unwrap();
        gateways(Selector::from_iter([Expression::Exists("shard".to_owned())]))(&mut object);
        object
    }

    fn labels(meta: &ObjectMeta) -> Vec<&str> {
        meta.labels.iter().flatten().map(|(key, _)| key.as_str()).collect()
    }

    #[test]
    fn a_small_gateway_is_kept_as_it_is() {
        let spec = json!({ "image": "acme/gateway:1", "env": [{ "name": "A", "value": "x".repeat(8000) }] });
        let Guarded(gateway, completeness) = pruned(json!({ "name": "shop", "labels": { "team": "a" } }), spec);
        assert_eq!((gateway.unwrap().spec.env.len(), completeness), (1, Completeness::Whole));
    }

    #[test]
    fn of_a_large_gateway_what_its_pods_are_rendered_from_is_dropped_and_what_others_look_at_is_kept() {
        let metadata = json!({
            "name": "shop", "namespace": "a", "uid": "u",
            "labels": { "team": "a", "shard": "b", "phasegate.dev/registry": "mongodb" },
            "annotations": { "note": "x", "phasegate.dev/note": "x", "phasegate.dev/gateway-id": "g", "phasegate.dev/retry-requested-at": "x".repeat(2000) },
        });
        let spec = json!({
            "image": "acme/gateway:1", "host": "a.example.com", "state": "Stopped", "suspend": true, "replicas": 3,
            "env": [{ "name": "A", "value": "x".repeat(LARGE) }], "args": ["a"], "command": ["b"],
            "nodeSelector": { "a": "b" }, "tolerations": [{ "key": "a" }], "resources": { "limits": { "cpu": 1 } },
            "envFrom": [{ "secretRef": { "name": "s" } }], "imagePullSecrets": [{ "name": "s" }],
            "volumes": [{ "name": "a", "mountPath": "/a", "emptyDir": {} }],
        });
        let Guarded(gateway, completeness) = pruned(metadata, spec);
        let gateway = gateway.unwrap();
        let kept = json!({
            "image": "acme/gateway:1", "host": "a.example.com", "state": "Stopped", "suspend": true, "replicas": 3, "port": 8080,
        });
        assert_eq!((serde_json::to_value(&gateway.spec).unwrap(), completeness), (kept, Completeness::InPart));
        assert_eq!(labels(&gateway.metadata), ["phasegate.dev/registry", "shard"]);
        let annotations: Vec<_> = gateway.metadata.annotations.iter().flatten().collect();
        assert_eq!(annotations, [(&"phasegate.dev/gateway-id".to_owned(), &"g".to_owned())]);
    }

    #[test]
    fn labels_alone_make_a_gateway_large_and_one_that_cannot_be_read_keeps_none() {
        let many: serde_json::Map<_, _> = (0..2000).map(|number| (format!("label-{number}"), json!("x"))).collect();
        let Guarded(gateway, completeness) =
            pruned(json!({ "name": "shop", "labels": many }), json!({ "image": "a:1" }));
        assert_eq!((labels(&gateway.unwrap().metadata), completeness), (vec![], Completeness::InPart));
        let Guarded(unreadable, _) =
            pruned(json!({ "name": "shop", "labels": many }), json!({ "image": "x".repeat(5000), "port": [] }));
        let unreadable = unreadable.unwrap_err();
        assert_eq!(labels(&unreadable.metadata), [""; 0]);
        assert!(unreadable.error.len() <= 1000);
    }
}
