//! Any gateway that the schema admits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, EnvFromSource, EnvVar, LocalObjectReference, SecretEnvSource, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::status::{desired_state, status};
use super::{few, maybe, text, time};
use crate::api::{
    ApiGateway, ApiGatewaySpec, ApiGatewayStatus, EmptyDir, Exposure, FilesFrom, ParentRef, REGISTRY_FINALIZER,
    RESTART_ANNOTATION, RETRY_ANNOTATION, Resources, StartRetries, Tls, TopologySpread, Volume, WhenUnsatisfiable,
};
use crate::children::{Inheritance, KeyPattern};
use crate::decide::requests;
use crate::decide::tests::builders::HOST;

pub fn gateway() -> BoxedStrategy<ApiGateway> {
    let metadata = (
        maybe(super::number()),
        annotations(),
        subsequence(vec![REGISTRY_FINALIZER, "orphan", "example.com/theirs"], 0..=3),
        proptest::option::weighted(0.15, time()),
    );
    // Mostly what is asked was taken up before.
    (spec(), maybe_status(), metadata, prop::bool::weighted(0.6))
        .prop_map(|(spec, status, (generation, annotations, finalizers, deleted), is_taken_up)| {
            let mut gateway = ApiGateway::new("shop", spec);
            gateway.metadata.namespace = Some("tenants".to_owned());
            gateway.metadata.uid = Some("uid-of-shop".to_owned());
            gateway.metadata.generation = generation;
            gateway.metadata.annotations = Some(annotations);
            gateway.metadata.finalizers = Some(finalizers.into_iter().map(str::to_owned).collect());
            gateway.metadata.deletion_timestamp = deleted.map(Time);
            gateway.status = status;
            let tokens = requests::tokens(&gateway);
            if let Some(handled) = gateway.status.as_mut().and_then(|status| status.handled.as_mut())
                && is_taken_up
            {
                *handled = tokens;
            }
            gateway
        })
        .boxed()
}

fn maybe_status() -> BoxedStrategy<Option<ApiGatewayStatus>> {
    proptest::option::weighted(0.95, status()).boxed()
}

pub fn annotations() -> BoxedStrategy<BTreeMap<String, String>> {
    let key = select(&[RETRY_ANNOTATION, RESTART_ANNOTATION, "example.com/theirs"][..]).prop_map(str::to_owned);
    btree_map(key, text(), 0..3).boxed()
}

pub fn inheritance() -> BoxedStrategy<Inheritance> {
    let pattern = || {
        prop_oneof![
            Just(KeyPattern::Key("example.com/theirs".to_owned())),
            Just(KeyPattern::Prefix("example.com/".to_owned()))
        ]
    };
    (few(pattern()), few(pattern())).prop_map(|(labels, annotations)| Inheritance { labels, annotations }).boxed()
}

fn spec() -> BoxedStrategy<ApiGatewaySpec> {
    (
        (desired_state(), text(), few(reference()), few(text()), few(text()), select(&[1, 80, 8080, 65_535][..])),
        (replicas(), maybe(resources()), few(variable()), few(variables()), few(volume()), maybe(text())),
        (maybe(1..=3_600_i64), labels(), few(toleration()), few(spread()), host(), maybe(text())),
        (
            maybe(text()),
            maybe(tls()),
            exposure(),
            few(parent()),
            maybe(limit()),
            maybe(retries()),
            prop::bool::weighted(0.1),
        ),
    )
        .prop_map(
            |(
                (state, image, image_pull_secrets, command, args, port),
                (replicas, resources, env, env_from, volumes, readiness_path),
                (termination_grace_period_seconds, node_selector, tolerations, topology_spread, host, path),
                (ingress_class_name, tls, exposure, parent_refs, start_deadline, start_retries, suspend),
            )| ApiGatewaySpec {
                state,
                image,
                image_pull_secrets,
                command,
                args,
                port,
                replicas,
                resources,
                env,
                env_from,
                volumes,
                readiness_path,
                termination_grace_period_seconds,
                node_selector,
                tolerations,
                topology_spread,
                host,
                path,
                ingress_class_name,
                tls,
                exposure,
                parent_refs,
                start_deadline,
                start_retries,
                suspend,
            },
        )
        .boxed()
}

fn exposure() -> BoxedStrategy<Option<Exposure>> {
    let words = prop_oneof![20 => select(Exposure::ALL), 1 => Just(Exposure::Unknown("Mesh"))];
    proptest::option::weighted(0.3, words).boxed()
}

pub fn parent() -> BoxedStrategy<ParentRef> {
    (maybe(text()), text(), maybe(text()))
        .prop_map(|(namespace, name, section_name)| ParentRef { namespace, name, section_name })
        .boxed()
}

fn replicas() -> BoxedStrategy<Option<i32>> {
    maybe(prop_oneof![0..4_i32, Just(1_000)])
}

fn host() -> BoxedStrategy<Option<String>> {
    maybe(prop_oneof![4 => Just(HOST.to_owned()), 1 => text()])
}

/// Of a second at least, as the schema has it.
fn limit() -> BoxedStrategy<kube::core::Duration> {
    let texts = select(&["1s", "1.5s", "90s", "5m", "1h30m", "999999h", "999999h999999h99999h"][..]);
    texts.prop_map(|text| text.parse().unwrap()).boxed()
}

fn retries() -> BoxedStrategy<StartRetries> {
    (0..=100_i32, maybe(limit())).prop_map(|(limit, backoff)| StartRetries { limit, backoff }).boxed()
}

fn tls() -> BoxedStrategy<Tls> {
    text().prop_map(|secret_name| Tls { secret_name }).boxed()
}

fn reference() -> BoxedStrategy<LocalObjectReference> {
    text().prop_map(|name| LocalObjectReference { name }).boxed()
}

fn labels() -> BoxedStrategy<BTreeMap<String, String>> {
    btree_map(text(), text(), 0..2).boxed()
}

fn quantities() -> BoxedStrategy<BTreeMap<String, Quantity>> {
    let quantity = select(&["1", "1.5m", "64Mi", "1e9", "", "nonsense"][..]);
    btree_map(text(), quantity.prop_map(|text| Quantity(text.to_owned())), 0..2).boxed()
}

fn resources() -> BoxedStrategy<Resources> {
    (quantities(), quantities()).prop_map(|(limits, requests)| Resources { limits, requests }).boxed()
}

fn variable() -> BoxedStrategy<EnvVar> {
    (text(), maybe(text())).prop_map(|(name, value)| EnvVar { name, value, value_from: None }).boxed()
}

fn variables() -> BoxedStrategy<EnvFromSource> {
    (text(), any::<bool>(), any::<bool>())
        .prop_map(|(name, is_secret, optional)| EnvFromSource {
            prefix: None,
            config_map_ref: (!is_secret).then(|| ConfigMapEnvSource { name: name.clone(), optional: Some(optional) }),
            secret_ref: is_secret.then_some(SecretEnvSource { name, optional: Some(optional) }),
        })
        .boxed()
}

fn volume() -> BoxedStrategy<Volume> {
    let files = || (text(), any::<bool>()).prop_map(|(name, optional)| FilesFrom { name, optional });
    let empty = maybe(Just(Quantity("64Mi".to_owned()))).prop_map(|size_limit| EmptyDir { size_limit });
    (text(), text(), any::<bool>(), maybe(files()), maybe(files()), maybe(empty))
        .prop_map(|(name, mount_path, read_only, config_map, secret, empty_dir)| Volume {
            name,
            mount_path,
            read_only,
            config_map,
            secret,
            empty_dir,
        })
        .boxed()
}

fn toleration() -> BoxedStrategy<Toleration> {
    (maybe(text()), maybe(text()), maybe(text()), maybe(super::number()), maybe(text()))
        .prop_map(|(effect, key, operator, toleration_seconds, value)| Toleration {
            effect,
            key,
            operator,
            toleration_seconds,
            value,
        })
        .boxed()
}

fn spread() -> BoxedStrategy<TopologySpread> {
    let when = prop_oneof![20 => select(WhenUnsatisfiable::ALL), 1 => Just(WhenUnsatisfiable::Unknown("Perhaps"))];
    (text(), 1..=1_000_i32, when)
        .prop_map(|(topology_key, max_skew, when_unsatisfiable)| TopologySpread {
            topology_key,
            max_skew,
            when_unsatisfiable,
        })
        .boxed()
}
