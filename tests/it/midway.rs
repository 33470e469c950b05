//! An operator loses its permissions, or its namespace, in the middle of a start.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::Role;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::harness::cluster::{Cluster, RUN_LABEL, run_id};
use crate::harness::components::Component;
use crate::harness::{
    ActiveFault, Fault, ProxiedRequest, Proxy, STARTED, World, audit_entries, eventually, gateway, path,
    private_world_on,
};
use crate::permissions::{account, permissions, rules, without};

/// The write of a start that is held while something is taken. The Deployment exists by then.
fn creates_a_service(request: &ProxiedRequest) -> bool {
    request.verb == "create" && request.is_of("services")
}

/// Holds the next creation of a Service.
fn held(proxy: &Proxy) -> ActiveFault {
    proxy.when_next(1, Fault::Hold, creates_a_service)
}

/// The operator may read and write nothing of its namespace for longer than the start's deadline, not even the status.
#[tokio::test]
async fn a_start_whose_operator_loses_every_permission_midway_completes_once_they_are_granted_again() {
    let world = World::audited("taken").await;
    let kubeconfig = account(&world, without(&permissions(&rules(&world).await), None)).await;
    let proxy = Proxy::start(&kubeconfig).await;
    let _operator = world.operator_as(proxy.kubeconfig(), &[]);
    let mut held = held(&proxy);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "8s" }))).await;
    held.caught(1).await;

    let (roles, replace) = (world.api::<Role>(), PostParams::default());
    let mut role = roles.get(&world.namespace).await.unwrap();
    let granted = role.rules.replace(Vec::new());
    role = roles.replace(&world.namespace, &replace, &role).await.unwrap();
    let user = format!("system:serviceaccount:{}:operator", world.namespace);
    let create = json!({ "namespace": world.namespace, "verb": "create", "resource": "services" });
    world.until_denied(&user, &["system:serviceaccounts", "system:authenticated"], create).await;
    drop(held);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(path(&world.gateway("shop").await), ["Starting/Running StartRequested"]);
    assert_eq!(world.api::<Service>().get_opt("shop").await.unwrap(), None);

    role.rules = granted;
    roles.replace(&world.namespace, &replace, &role).await.unwrap();
    let shop = world.until_started("shop").await;
    assert_eq!(path(&shop), STARTED);
    assert_eq!(shop.status.unwrap().attempt.unwrap().number, 1);
}

/// The controllers are down for a while, so that the namespace terminates with the gateway and its children in it.
#[tokio::test]
async fn a_namespace_that_terminates_midway_is_asked_ever_more_rarely_and_a_new_one_of_its_name_serves() {
    let world = private_world_on("going", || {
        let cluster = Cluster::audited()?;
        cluster.install_crds()?;
        Ok(cluster)
    })
    .await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let _operator = world.operator_as(proxy.kubeconfig(), &[]);
    let mut held = held(&proxy);
    let spec = json!({ "image": "acme/gateway:1", "host": "going.example.com" });
    world.apply(&gateway("shop", spec.clone())).await;
    held.caught(1).await;

    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let down = Component::of(&world.cluster, "kube-controller-manager").take_down().await;
    namespaces.delete(&world.namespace, &Default::default()).await.unwrap();
    let (terminates, since) = (Timestamp::now(), Instant::now());
    drop(held);
    let mut refused = proxy.when(Fault::Delay(Duration::ZERO), creates_a_service);
    refused.caught(8).await;
    // The delays between them begin at 0.1 s and double. Reports of the refusal may begin a pass earlier.
    assert!(since.elapsed() >= Duration::from_secs(3), "{:?}", since.elapsed());
    assert_eq!(path(&world.gateway("shop").await), ["Starting/Running StartRequested"]);

    drop(down);
    let gone = async || namespaces.get_opt(&world.namespace).await.unwrap().is_none().then_some(());
    eventually(Duration::from_millis(200), gone).await.expect("the namespace goes");
    let log = audit_entries(&world.cluster, "\"userAgent\":\"phasegate/");
    let created: Vec<_> =
        log.iter().filter(|entry| entry.verb == "create" && entry.code < 300 && entry.at > terminates).collect();
    assert!(created.is_empty(), "{created:#?}");

    let metadata = json!({ "name": world.namespace, "labels": { RUN_LABEL: run_id() } });
    let again = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
    namespaces.create(&PostParams::default(), &again).await.unwrap();
    world.until::<ServiceAccount>("default", "the service account", |_| true).await;
    world.apply(&gateway("shop", spec)).await;
    assert_eq!(path(&world.until_started("shop").await), STARTED);
}
