//! The parts of a gateway's life, where each takes place, the writes that each consists of, and what it leaves.

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
    ActiveFault, Fault, Operator, Policies, ProxiedRequest, Proxy, World, environment, gateway, is_active, is_true,
    path, restart,
};
use crate::mutation::{ANY, LIMITS, NODE_PORT, changes};
use crate::registry::{Platform, ancestor, whole};

/// A part of a gateway's life.
#[derive(Clone, Copy, Debug)]
pub enum Part {
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
pub enum Stage {
    Cluster(World),
    Platform(Platform),
}

impl Stage {
    pub async fn of(part: Part, name: &str) -> Self {
        match part {
            Part::DocumentStart => Self::Platform(Platform::new(name).await),
            _ => Self::Cluster(World::new(name).await),
        }
    }

    pub fn world(&self) -> &World {
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
    pub async fn proxy(&self) -> Proxy {
        let cluster = &self.world().cluster;
        match self {
            Self::Cluster(_) => Proxy::start(&cluster.operator_kubeconfig()).await,
            Self::Platform(_) => Proxy::start(&cluster.registry_kubeconfig().unwrap()).await,
        }
    }

    /// Starts an operator behind a proxy.
    pub fn operator(&self, proxy: &Proxy) -> Operator {
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
    pub async fn policies(self, world: &World) -> Policies<'_> {
        match self {
            Self::AdmittedStart => {
                let policies = [changes("shop", "Deployment", ANY, LIMITS), changes("shop", "Service", ANY, NODE_PORT)];
                Policies::new(world, &policies).await
            }
            _ => Policies::new(world, &[]).await,
        }
    }

    /// What happens before it.
    pub async fn prepare(self, stage: &Stage) {
        let earlier = match self {
            Self::Start | Self::AdmittedStart | Self::DocumentStart | Self::Timeout => return,
            Self::Retry => Self::Timeout,
            _ => Self::Start,
        };
        earlier.request(stage).await;
        earlier.until_over(stage).await;
    }

    /// The user's request.
    pub async fn request(self, stage: &Stage) {
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
    pub async fn until_over(self, stage: &Stage) {
        let world = stage.world();
        let ready = async |transitions: usize| {
            let is_ready = |shop: &ApiGateway| {
                let seen = shop.status.as_ref().and_then(|status| status.observed_generation);
                is_true(shop, "Ready") && path(shop).len() == transitions && seen == shop.metadata.generation
            };
            world.until("shop", "ready with its last request", is_ready).await
        };
        let told_of = async |number: i32| {
            let counted = |shop: &ApiGateway| {
                let environments = shop.status.as_ref().and_then(|status| status.environments.as_ref());
                environments.is_some_and(|count| (count.active, count.total) == (number, number))
            };
            world.until("shop", "told of its active environments", counted).await;
        };
        match self {
            Self::Start | Self::AdmittedStart => {
                ready(2).await;
                world.until::<Environment>("beta", "active", is_active).await;
                told_of(1).await;
            }
            Self::DocumentStart => {
                let platform = stage.platform();
                ready(2).await;
                platform.until_started("shop").await;
                platform.until_environments("shop", "Active").await;
                told_of(1).await;
            }
            Self::Restart => drop(ready(4).await),
            Self::Retry => drop(ready(6).await),
            Self::NewImage | Self::Scaling | Self::OtherHost => drop(ready(2).await),
            Self::NewEnvironment => told_of(2).await,
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
pub struct Left {
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

/// What is left of a part of a life by now.
pub async fn left(stage: &Stage, part: Part) -> Left {
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
pub fn counts(request: &ProxiedRequest) -> bool {
    const KINDS: [&str; 6] =
        ["apigateways", "environments", "deployments", "services", "ingresses", "poddisruptionbudgets"];
    request.is_write() && KINDS.iter().any(|kind| request.is_of(kind))
}

/// The fault that meets the write with this number, from now on.
pub fn at(proxy: &Proxy, number: usize, fault: Fault) -> ActiveFault {
    let seen = AtomicUsize::new(0);
    proxy.when(fault, move |request| counts(request) && seen.fetch_add(1, Ordering::Relaxed) == number)
}
