//! The operator is killed before and after each of its writes, and again in its recovery. What is left in the end is
//! what an operator leaves that is not disturbed. `PHASEGATE_CRASHES=all` tries every write instead of a sample.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use kube::api::ListParams;
use phasegate::api::{ApiGateway, Environment, Phase, Reason, State};
use serde_json::{Value, json};

use crate::harness::{
    ActiveFault, Fault, Operator, ProxiedRequest, Proxy, World, environment, gateway, is_active, is_true, path, restart,
};

/// A part of a gateway's life.
#[derive(Clone, Copy, Debug)]
enum Part {
    Start,
    Restart,
    NewImage,
    Scaling,
    OtherHost,
    NewEnvironment,
    Stop,
    Timeout,
    Deletion,
}

fn host(world: &World, name: &str) -> String {
    format!("{name}-{}.example.com", world.namespace)
}

impl Part {
    /// What happens before it.
    async fn prepare(self, world: &World) {
        if matches!(self, Self::Start | Self::Timeout) {
            return;
        }
        Self::Start.request(world).await;
        Self::Start.until_over(world).await;
    }

    /// The user's request.
    async fn request(self, world: &World) {
        let change = async |spec: Value| drop(world.patch("shop", json!({ "spec": spec })).await);
        match self {
            Self::Start => {
                let spec = json!({ "image": "acme/gateway:1", "host": host(world, "shop"), "replicas": 2 });
                world.create::<Environment>(environment("beta", "shop", Some(&host(world, "beta")))).await;
                world.apply(&gateway("shop", spec)).await;
            }
            Self::Restart => drop(world.patch("shop", restart("once")).await),
            Self::NewImage => change(json!({ "image": "acme/gateway:2" })).await,
            Self::Scaling => change(json!({ "replicas": 3 })).await,
            Self::OtherHost => change(json!({ "host": host(world, "moved") })).await,
            Self::NewEnvironment => drop(world.create::<Environment>(environment("alpha", "shop", None)).await),
            Self::Stop => change(json!({ "state": "Stopped" })).await,
            Self::Timeout => {
                let spec = json!({ "image": "acme/unpullable:1", "startDeadline": "3s", "host": host(world, "shop") });
                world.apply(&gateway("shop", spec)).await;
            }
            Self::Deletion => world.delete("shop").await,
        }
    }

    /// Waits for its end.
    async fn until_over(self, world: &World) {
        let ready = async |transitions: usize| {
            let is_ready = |shop: &ApiGateway| {
                let seen = shop.status.as_ref().and_then(|status| status.observed_generation);
                is_true(shop, "Ready") && path(shop).len() == transitions && seen == shop.metadata.generation
            };
            world.until("shop", "ready with its last request", is_ready).await
        };
        match self {
            Self::Start => {
                ready(2).await;
                world.until::<Environment>("beta", "active", is_active).await;
            }
            Self::Restart => drop(ready(4).await),
            Self::NewImage | Self::Scaling | Self::OtherHost => drop(ready(2).await),
            Self::NewEnvironment => {
                let counted = |shop: &ApiGateway| {
                    let environments = shop.status.as_ref().and_then(|status| status.environments.as_ref());
                    environments.is_some_and(|count| (count.active, count.total) == (2, 2))
                };
                world.until("shop", "told of both environments", counted).await;
            }
            Self::Stop | Self::Timeout => {
                world.until_phase("shop", Phase::Stopped, State::Stopped).await;
                world.until_nothing_is_left().await;
            }
            Self::Deletion => {
                world.until_gone::<ApiGateway>("shop").await;
                world.until_nothing_is_left().await;
                world.until::<Environment>("beta", "inactive", |beta| !is_active(beta)).await;
            }
        }
    }
}

/// What a part of a life leaves. Names of pods differ from run to run.
#[derive(Debug, PartialEq)]
struct Left {
    path: Vec<String>,
    phase: Option<String>,
    failure: Option<String>,
    children: BTreeSet<String>,
    deployment: Option<Value>,
    ingress: Option<Value>,
    active: Vec<String>,
}

async fn left(world: &World, part: Part) -> Left {
    let shop = world.api::<ApiGateway>().get_opt("shop").await.unwrap();
    let status = shop.as_ref().and_then(|shop| shop.status.clone()).unwrap_or_default();
    let is_ours = |child: &String| !child.starts_with("Pod ") && !child.starts_with("ReplicaSet ");
    let everywhere = |spec: Value| {
        let text = spec.to_string().replace(&world.namespace, "NAMESPACE");
        serde_json::from_str(&text).unwrap()
    };
    let deployment = world.api::<Deployment>().get_opt("shop").await.unwrap().and_then(|found| found.spec);
    let ingress = world.api::<Ingress>().get_opt("shop").await.unwrap().and_then(|found| found.spec);
    let environments = world.api::<Environment>().list(&ListParams::default()).await.unwrap();
    // The attempt that a kill interrupts at its deadline is resumed, and times out later. How much of the cause is known
    // by then differs as well.
    let times_out = matches!(part, Part::Timeout);
    let path = if times_out { Vec::new() } else { shop.as_ref().map(path).unwrap_or_default() };
    let reason = |reason: Reason| if times_out { "any".to_owned() } else { reason.to_string() };
    let failure = status.last_failure.map(|failure| reason(failure.reason));
    Left {
        path,
        phase: status.phase.map(|phase| phase.to_string()),
        failure,
        children: world.children().await.into_iter().filter(is_ours).collect(),
        deployment: deployment.map(|spec| everywhere(json!(spec))),
        ingress: ingress.map(|spec| everywhere(json!(spec))),
        active: environments.iter().filter(|one| is_active(one)).map(ResourceExt::name_any).collect(),
    }
}

/// A write that a part of a life consists of. Events are written beside it.
fn counts(request: &ProxiedRequest) -> bool {
    const KINDS: [&str; 6] =
        ["apigateways", "environments", "deployments", "services", "ingresses", "poddisruptionbudgets"];
    request.is_write() && KINDS.iter().any(|kind| request.is_of(kind))
}

/// The fault that meets the write with this number, from now on.
fn at(proxy: &Proxy, number: usize, fault: Fault) -> ActiveFault {
    let seen = AtomicUsize::new(0);
    proxy.when(fault, move |request| counts(request) && seen.fetch_add(1, Ordering::Relaxed) == number)
}

/// An operator behind a proxy, in a namespace of its own.
async fn prepared(part: Part, name: &str) -> (World, Proxy, Operator) {
    let world = World::new(name).await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let operator = world.operator_as(proxy.kubeconfig(), &[]);
    part.prepare(&world).await;
    (world, proxy, operator)
}

/// Kills an operator when a write meets its fault. Returns whether that happened before the part was over.
async fn is_killed(mut fault: ActiveFault, operator: &mut Operator, part: Part, world: &World) -> bool {
    let met = tokio::select! {
        () = fault.caught(1) => true,
        () = part.until_over(world) => false,
    };
    if met {
        operator.kill();
    }
    met
}

/// Every crash of one part, or a sample of them.
async fn crashes_in(part: Part) {
    let all = std::env::var("PHASEGATE_CRASHES").is_ok_and(|which| which == "all");
    let name = format!("crash-{}", format!("{part:?}").to_lowercase());

    let (world, proxy, operator) = prepared(part, &name).await;
    let before = proxy.count(counts);
    part.request(&world).await;
    part.until_over(&world).await;
    let writes = proxy.count(counts) - before;
    let expected = left(&world, part).await;
    drop(operator);
    assert!(writes > 0, "{part:?} writes nothing");

    let faults = [Fault::Hang, Fault::HangAfterwards];
    let points: Vec<_> = (0..writes).flat_map(|number| faults.map(|fault| (number, fault))).collect();
    let mut kills = 0;
    for (number, fault) in points.iter().copied().step_by(if all { 1 } else { 5 }) {
        let (world, proxy, mut operator) = prepared(part, &name).await;
        let first = at(&proxy, number, fault);
        part.request(&world).await;
        if is_killed(first, &mut operator, part, &world).await {
            kills += 1;
            let again = at(&proxy, 0, Fault::HangAfterwards);
            operator = world.operator_as(proxy.kubeconfig(), &[]);
            if is_killed(again, &mut operator, part, &world).await {
                kills += 1;
                operator = world.operator_as(proxy.kubeconfig(), &[]);
            }
        }
        part.until_over(&world).await;
        assert_eq!(left(&world, part).await, expected, "{part:?}, {fault:?} at write {number}");
        drop(operator);
    }
    println!("{part:?}: {writes} writes, {kills} kills");
    assert!(kills > 0, "{part:?}: no operator was killed");
}

macro_rules! parts {
    ($($name:ident: $part:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            crashes_in(Part::$part).await;
        }
    )+};
}

parts! {
    a_start_ends_the_same_wherever_its_operator_crashes: Start,
    a_restart_ends_the_same_wherever_its_operator_crashes: Restart,
    a_new_image_is_rolled_out_the_same_wherever_its_operator_crashes: NewImage,
    scaling_ends_the_same_wherever_its_operator_crashes: Scaling,
    a_host_moves_the_same_wherever_its_operator_crashes: OtherHost,
    an_environment_becomes_active_the_same_wherever_its_operator_crashes: NewEnvironment,
    a_stop_ends_the_same_wherever_its_operator_crashes: Stop,
    a_timeout_ends_the_same_wherever_its_operator_crashes: Timeout,
    a_deletion_ends_the_same_wherever_its_operator_crashes: Deletion,
}
