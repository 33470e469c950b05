//! The operator is killed before and after each of its writes, and again in its recovery. What is left in the end is
//! what an operator leaves that is not disturbed. `PHASEGATE_CRASHES=all` tries every write instead of a sample.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use kube::api::ListParams;
use phasegate::api::{ApiGateway, Environment, Phase, RETRY_ANNOTATION, Reason, State};
use serde_json::{Value, json};

use crate::harness::wire::text;
use crate::harness::{
    ActiveFault, Fault, Operator, Policies, Policy, PolicyEffect, ProxiedRequest, Proxy, World, environment, gateway,
    is_active, is_true, path, restart,
};
use crate::registry::{Platform, ancestor, whole};

/// A part of a gateway's life.
#[derive(Clone, Copy, Debug)]
enum Part {
    Start,
    /// Under a policy that changes the Deployment and the Service.
    AdmittedStart,
    /// Requested by a document of a platform's database.
    DocumentStart,
    Restart,
    NewImage,
    Scaling,
    OtherHost,
    NewEnvironment,
    Stop,
    Timeout,
    Retry,
    Deletion,
}

/// Where a part of a life takes place.
enum Stage {
    Cluster(World),
    Platform(Platform),
}

impl Stage {
    async fn of(part: Part, name: &str) -> Self {
        match part {
            Part::DocumentStart => Self::Platform(Platform::new(name).await),
            _ => Self::Cluster(World::new(name).await),
        }
    }

    fn world(&self) -> &World {
        match self {
            Self::Cluster(world) | Self::Platform(Platform { world, .. }) => world,
        }
    }

    fn platform(&self) -> &Platform {
        match self {
            Self::Platform(platform) => platform,
            Self::Cluster(_) => panic!("there is no database"),
        }
    }

    /// A proxy for the operator's requests.
    async fn proxy(&self) -> Proxy {
        let cluster = &self.world().cluster;
        match self {
            Self::Cluster(_) => Proxy::start(&cluster.operator_kubeconfig()).await,
            Self::Platform(_) => Proxy::start(&cluster.registry_kubeconfig().unwrap()).await,
        }
    }

    /// Starts an operator behind a proxy.
    fn operator(&self, proxy: &Proxy) -> Operator {
        match self {
            Self::Cluster(world) => world.operator_as(proxy.kubeconfig(), &[]),
            Self::Platform(platform) => platform.operator_as(proxy.kubeconfig(), platform.database.uri(), &[]),
        }
    }
}

fn host(world: &World, name: &str) -> String {
    format!("{name}-{}.example.com", world.namespace)
}

impl Part {
    /// The policies that are in force.
    async fn policies(self, world: &World) -> Policies<'_> {
        const ANNOTATE: &str =
            r#"[JSONPatch{op: "add", path: "/spec/template/metadata/annotations", value: {"injected": "yes"}}]"#;
        const NODE_PORT: &str = r#"[JSONPatch{op: "replace", path: "/spec/type", value: "NodePort"}]"#;
        let policy = |resource, patches| Policy {
            of: "shop",
            resource,
            operations: &["CREATE", "UPDATE"],
            does: PolicyEffect::Changes(patches),
        };
        match self {
            Self::AdmittedStart => {
                Policies::new(world, &[policy("apps/deployments", ANNOTATE), policy("/services", NODE_PORT)]).await
            }
            _ => Policies::new(world, &[]).await,
        }
    }

    /// What happens before it.
    async fn prepare(self, stage: &Stage) {
        let earlier = match self {
            Self::Start | Self::AdmittedStart | Self::DocumentStart | Self::Timeout => return,
            Self::Retry => Self::Timeout,
            _ => Self::Start,
        };
        earlier.request(stage).await;
        earlier.until_over(stage).await;
    }

    /// The user's request.
    async fn request(self, stage: &Stage) {
        let world = stage.world();
        let change = async |spec: Value| drop(world.patch("shop", json!({ "spec": spec })).await);
        match self {
            Self::Start | Self::AdmittedStart => {
                let spec = json!({ "image": "acme/gateway:1", "host": host(world, "shop"), "replicas": 2 });
                world.create::<Environment>(environment("beta", "shop", Some(&host(world, "beta")))).await;
                world.apply(&gateway("shop", spec)).await;
            }
            Self::DocumentStart => {
                let platform = stage.platform();
                platform.insert(ancestor("shop")).await;
                platform.insert_environments("shop", &["beta"]).await;
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
            Self::Retry => {
                let annotations = json!({ RETRY_ANNOTATION: "once" });
                let spec = json!({ "image": "acme/gateway:1", "startDeadline": "5m" });
                world.patch("shop", json!({ "metadata": { "annotations": annotations }, "spec": spec })).await;
            }
            Self::Deletion => world.delete("shop").await,
        }
    }

    /// Waits for its end.
    async fn until_over(self, stage: &Stage) {
        let world = stage.world();
        let ready = async |transitions: usize| {
            let is_ready = |shop: &ApiGateway| {
                let seen = shop.status.as_ref().and_then(|status| status.observed_generation);
                is_true(shop, "Ready") && path(shop).len() == transitions && seen == shop.metadata.generation
            };
            world.until("shop", "ready with its last request", is_ready).await
        };
        match self {
            Self::Start | Self::AdmittedStart => {
                ready(2).await;
                world.until::<Environment>("beta", "active", is_active).await;
            }
            Self::DocumentStart => {
                let platform = stage.platform();
                ready(2).await;
                platform.until_started("shop").await;
                platform.until_environments("shop", "Active").await;
            }
            Self::Restart => drop(ready(4).await),
            Self::Retry => drop(ready(6).await),
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
    /// Phase, state and number of the last transition, as the document has them.
    document: Option<(String, String, Option<i64>)>,
}

async fn left(stage: &Stage, part: Part) -> Left {
    let world = stage.world();
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
        document: match stage {
            Stage::Cluster(_) => None,
            Stage::Platform(platform) => {
                let document = platform.document("shop").await;
                let field = |name: &str| text(&document, name).to_owned();
                Some((field("phase"), field("state"), whole(&document, "seq")))
            }
        },
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

/// Kills an operator when a write meets its fault. Returns whether that happened before the part was over.
async fn is_killed(mut fault: ActiveFault, operator: &mut Operator, part: Part, stage: &Stage) -> bool {
    let met = tokio::select! {
        () = fault.caught(1) => true,
        () = part.until_over(stage) => false,
    };
    if met {
        operator.kill();
    }
    met
}

/// One run: the operator is killed at a write, if one is given, and again in its recovery. Returns what is left, the
/// number of writes and the number of kills.
async fn run(part: Part, name: &str, point: Option<(usize, Fault)>) -> (Left, usize, usize) {
    let stage = Stage::of(part, name).await;
    let _policies = part.policies(stage.world()).await;
    let proxy = stage.proxy().await;
    let mut operator = stage.operator(&proxy);
    part.prepare(&stage).await;
    let before = proxy.count(counts);
    let mut kills = 0;
    let first = point.map(|(number, fault)| at(&proxy, number, fault));
    part.request(&stage).await;
    if let Some(first) = first
        && is_killed(first, &mut operator, part, &stage).await
    {
        kills += 1;
        let again = at(&proxy, 0, Fault::HangAfterwards);
        operator = stage.operator(&proxy);
        if is_killed(again, &mut operator, part, &stage).await {
            kills += 1;
            operator = stage.operator(&proxy);
        }
    }
    part.until_over(&stage).await;
    let left = left(&stage, part).await;
    drop(operator);
    (left, proxy.count(counts) - before, kills)
}

/// Every crash of one part, or a sample of them.
async fn crashes_in(part: Part) {
    let all = std::env::var("PHASEGATE_CRASHES").is_ok_and(|which| which == "all");
    let name = format!("crash-{}", format!("{part:?}").to_lowercase());
    let (expected, writes, _) = run(part, &name, None).await;
    assert!(writes > 0, "{part:?} writes nothing");
    let faults = [Fault::Hang, Fault::HangAfterwards];
    let points: Vec<_> = (0..writes).flat_map(|number| faults.map(|fault| (number, fault))).collect();
    let (mut runs, mut kills) = (0, 0);
    for (number, fault) in points.iter().copied().step_by(if all { 1 } else { 5 }) {
        let (left, _, killed) = run(part, &name, Some((number, fault))).await;
        assert_eq!(left, expected, "{part:?}, {fault:?} at write {number}");
        (runs, kills) = (runs + 1, kills + killed);
    }
    println!("{part:?}: {writes} writes, {runs} runs, {kills} kills");
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
    a_start_that_admission_changes_ends_the_same_wherever_its_operator_crashes: AdmittedStart,
    a_start_by_a_document_ends_the_same_wherever_its_operator_crashes: DocumentStart,
    a_restart_ends_the_same_wherever_its_operator_crashes: Restart,
    a_new_image_is_rolled_out_the_same_wherever_its_operator_crashes: NewImage,
    scaling_ends_the_same_wherever_its_operator_crashes: Scaling,
    a_host_moves_the_same_wherever_its_operator_crashes: OtherHost,
    an_environment_becomes_active_the_same_wherever_its_operator_crashes: NewEnvironment,
    a_stop_ends_the_same_wherever_its_operator_crashes: Stop,
    a_timeout_ends_the_same_wherever_its_operator_crashes: Timeout,
    a_retry_ends_the_same_wherever_its_operator_crashes: Retry,
    a_deletion_ends_the_same_wherever_its_operator_crashes: Deletion,
}
