//! After random operations and operator kills, every gateway reaches the state that its last operations request,
//! nothing is left over, and every transition was legal.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use phasegate::api::{ApiGateway, Phase, State, condition};
use serde_json::{Value, json};

use crate::harness::{Random, World, gateway, is_true};

/// The number of gateways in a sequence, and of operations on each of them.
const GATEWAYS: usize = 10;
const OPERATIONS: usize = 30;
/// The number of hosts that the gateways compete for.
const HOSTS: usize = 4;

/// Every legal transition, written by hand: phase and state before, phase and state after.
const LEGAL: &[(&str, &str)] = &[
    ("", "Created/Running"),
    ("", "Starting/Running"),
    ("", "Stopped/Stopped"),
    ("Created/Running", "Starting/Running"),
    ("Created/Running", "Stopped/Stopped"),
    // Another attempt.
    ("Starting/Running", "Starting/Running"),
    ("Starting/Restarting", "Starting/Restarting"),
    ("Starting/Running", "Started/Running"),
    ("Starting/Restarting", "Started/Running"),
    // The attempt timed out.
    ("Starting/Running", "Started/Stopped"),
    ("Starting/Restarting", "Started/Stopped"),
    // Cancelled.
    ("Starting/Running", "Stopping/Stopped"),
    ("Starting/Restarting", "Stopping/Stopped"),
    ("Started/Running", "Starting/Restarting"),
    ("Started/Running", "Stopping/Stopped"),
    ("Started/Stopped", "Starting/Running"),
    ("Started/Stopped", "Stopping/Stopped"),
    ("Stopping/Stopped", "Stopped/Stopped"),
    ("Stopped/Stopped", "Starting/Running"),
];

/// What the user last requested of one gateway.
#[derive(Clone, Debug)]
struct Asked {
    name: String,
    exists: bool,
    state: &'static str,
    /// The version of an image that runs. Without a version, the image cannot be pulled.
    version: Option<usize>,
    replicas: usize,
    host: Option<String>,
    suspend: bool,
    retry: usize,
    restart: usize,
}

impl Asked {
    fn new(number: usize) -> Self {
        Self {
            name: format!("gw-{number}"),
            exists: false,
            state: "Running",
            version: Some(1),
            replicas: 1,
            host: None,
            suspend: false,
            retry: 0,
            restart: 0,
        }
    }

    fn image(&self) -> String {
        self.version.map_or("acme/unpullable:1".to_owned(), |version| format!("acme/gateway:{version}"))
    }

    fn object(&self) -> Value {
        let mut object = gateway(
            &self.name,
            json!({
                "state": self.state,
                "image": self.image(),
                "replicas": self.replicas,
                "suspend": self.suspend,
                // An image that runs has time to start on a busy machine. An image that cannot run times out soon.
                "startDeadline": if self.version.is_some() { "3m" } else { "1s" },
            }),
        );
        if let Some(host) = &self.host {
            object["spec"]["host"] = json!(host);
        }
        object["metadata"]["annotations"] = json!({
            "phasegate.dev/retry-requested-at": self.retry.to_string(),
            "phasegate.dev/restart-requested-at": self.restart.to_string(),
        });
        object
    }
}

async fn apply(world: &World, asked: &mut Asked) {
    world.apply(&asked.object()).await;
    asked.exists = true;
}

async fn delete(world: &World, asked: &mut Asked) {
    if asked.exists {
        world.api::<ApiGateway>().delete(&asked.name, &DeleteParams::default()).await.unwrap();
        asked.exists = false;
    }
}

/// Deletes one of a gateway's children, if it exists.
async fn delete_a_child(world: &World, name: &str, which: usize) {
    let params = DeleteParams::background();
    let deleted = match which {
        0 => world.api::<Deployment>().delete(name, &params).await.map(drop),
        1 => world.api::<Service>().delete(name, &params).await.map(drop),
        2 => world.api::<Ingress>().delete(name, &params).await.map(drop),
        _ => world.api::<PodDisruptionBudget>().delete(name, &params).await.map(drop),
    };
    match deleted {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        other => other.unwrap(),
    }
}

/// Applies one random operation to one gateway. Returns the operation's name.
async fn operate(world: &World, random: &mut Random, asked: &mut Asked, hosts: &str) -> &'static str {
    let done = match random.below(20) {
        0 => "apply the same",
        1 | 2 => {
            asked.version = Some(random.below(1_000));
            "a good image"
        }
        3 | 4 => {
            asked.version = None;
            "a bad image"
        }
        5 | 6 => {
            asked.state = "Running";
            "run"
        }
        7 | 8 => {
            asked.state = "Stopped";
            "stop"
        }
        9 => {
            asked.state = "Restarting";
            "state Restarting"
        }
        10 => {
            asked.retry += 1;
            "retry"
        }
        11 => {
            asked.restart += 1;
            "restart"
        }
        12 => {
            asked.suspend = true;
            "suspend"
        }
        13 => {
            asked.suspend = false;
            "resume"
        }
        14 => {
            asked.replicas = 1 + random.below(3);
            "scale"
        }
        15 => {
            delete(world, asked).await;
            return "delete";
        }
        16 => {
            delete(world, asked).await;
            "delete and create again"
        }
        17 => {
            asked.host = Some(format!("host-{}.{hosts}", random.below(HOSTS)));
            "another host"
        }
        18 => {
            asked.host = None;
            "no host"
        }
        _ => {
            delete_a_child(world, &asked.name, random.below(4)).await;
            return "delete a child";
        }
    };
    apply(world, asked).await;
    done
}

/// The final state of a gateway.
#[derive(Clone, Copy, Debug)]
enum End {
    Serving,
    Stopped,
    GivenUp,
    Deleted,
}

/// Applies the last operations to one gateway. After them, only one final state is possible.
async fn finish(world: &World, asked: &mut Asked, end: End, hosts: &str) {
    asked.suspend = false;
    asked.host = Some(format!("{}.{hosts}", asked.name));
    match end {
        End::Serving => {
            asked.state = "Running";
            asked.version = Some(1_000);
            // A gateway whose spec.state is already Running may have timed out. The retry starts it again.
            asked.retry += 1;
            apply(world, asked).await;
        }
        End::Stopped => {
            asked.state = "Stopped";
            apply(world, asked).await;
        }
        End::GivenUp => {
            // A gateway that serves would keep its existing pods.
            asked.state = "Stopped";
            apply(world, asked).await;
            world.until_condition(&asked.name, condition::READY, "True", "Stopped").await;
            asked.state = "Running";
            asked.version = None;
            apply(world, asked).await;
        }
        End::Deleted => delete(world, asked).await,
    }
}

/// Waits until a gateway reaches its final state, and checks its children.
async fn judge(world: &World, asked: &Asked, end: End) {
    let name = asked.name.as_str();
    match end {
        End::Serving => {
            let serves = |gateway: &ApiGateway| {
                gateway.status.as_ref().is_some_and(|status| {
                    status.phase == Some(Phase::Started)
                        && status.state == Some(State::Running)
                        && status.observed_generation == gateway.metadata.generation
                        && status.hosts.iter().map(|claim| Some(&claim.host)).eq([asked.host.as_ref()])
                }) && is_true(gateway, condition::READY)
                    && is_true(gateway, condition::AVAILABLE)
            };
            world.until(name, &format!("what {asked:?} asks"), serves).await;
            let deployment: Deployment = world.api().get(name).await.unwrap();
            let spec = deployment.spec.unwrap();
            let replicas = i32::try_from(asked.replicas).unwrap();
            assert_eq!(spec.replicas, Some(replicas), "{name}");
            assert_eq!(spec.template.spec.unwrap().containers[0].image, Some(asked.image()), "{name}");
            assert_eq!(deployment.status.unwrap().available_replicas, Some(replicas), "{name}");
            let ingress: Ingress = world.api().get(name).await.unwrap();
            assert_eq!(ingress.spec.unwrap().rules.unwrap()[0].host, asked.host, "{name}");
            let budget = world.api::<PodDisruptionBudget>().get_opt(name).await.unwrap();
            assert_eq!(budget.is_some(), asked.replicas > 1, "{name}");
            world.api::<Service>().get(name).await.unwrap();
        }
        End::Stopped => {
            world.until_condition(name, condition::READY, "True", "Stopped").await;
            world.until_phase(name, Phase::Stopped, State::Stopped).await;
        }
        End::GivenUp => {
            world.until_condition(name, condition::STALLED, "True", "StartDeadlineExceeded").await;
            let held = world.until_phase(name, Phase::Stopped, State::Stopped).await;
            assert!(held.spec.state.asks_to_run(), "{name}: what the user asked is the user's");
            assert!(held.status.unwrap().last_failure.is_some(), "{name}");
        }
        End::Deleted => world.until_gone::<ApiGateway>(name).await,
    }
}

/// Waits until every existing child belongs to a gateway that should have it.
async fn until_no_orphan(world: &World, serving: &[&Asked]) {
    let params = ListParams::default();
    let pods: usize = serving.iter().map(|asked| asked.replicas).sum();
    let mut every = tokio::time::interval(Duration::from_millis(200));
    let mut strays = Vec::new();
    for _ in 0..300 {
        every.tick().await;
        let live = world.api::<ApiGateway>().list(&params).await.unwrap();
        let live: BTreeSet<String> = live
            .iter()
            .filter(|gateway| serving.iter().any(|asked| asked.name == gateway.name_any()))
            .filter_map(ResourceExt::uid)
            .collect();
        strays.clear();
        macro_rules! look {
            ($($kind:ty),+) => {$(
                for object in world.api::<$kind>().list(&params).await.unwrap() {
                    let owners = object.metadata.owner_references.clone().unwrap_or_default();
                    if !owners.iter().any(|owner| owner.controller == Some(true) && live.contains(&owner.uid)) {
                        strays.push(format!("{} {}", stringify!($kind), object.name_any()));
                    }
                }
            )+};
        }
        look!(Deployment, Service, Ingress, PodDisruptionBudget);
        let found = world.children().await.iter().filter(|child| child.starts_with("Pod ")).count();
        if found != pods {
            strays.push(format!("{found} pods instead of {pods}"));
        }
        if strays.is_empty() {
            return;
        }
    }
    panic!("{}: orphans: {strays:?}", world.namespace);
}

/// The transitions of a history that are not legal.
fn illegal(gateway: &ApiGateway) -> Vec<String> {
    let history = gateway.status.iter().flat_map(|status| &status.history);
    let mut before: Option<String> = None;
    let mut illegal = Vec::new();
    for step in history {
        let after = format!("{}/{:?}", step.to, step.state);
        let from = match (&before, &step.from) {
            (Some(before), _) => Some(before.as_str()),
            (None, None) => Some(""),
            // The history is truncated before this transition.
            (None, Some(_)) => None,
        };
        let phase = from.map(|from| from.split('/').next().unwrap_or_default());
        let joined = phase.is_none_or(|phase| phase == step.from.as_ref().map_or("", Phase::as_str));
        if !joined || from.is_some_and(|from| !LEGAL.contains(&(from, after.as_str()))) {
            illegal.push(format!("{}: {from:?} ({:?}) → {after} {}", gateway.name_any(), step.from, step.reason));
        }
        before = Some(after);
    }
    illegal
}

/// Checks every version of every gateway. Never returns.
async fn watch_steps(world: &World) {
    let mut versions = Box::pin(watcher(world.api::<ApiGateway>(), watcher::Config::default()).touched_objects());
    while let Some(version) = versions.next().await {
        if let Ok(gateway) = version {
            assert_eq!(illegal(&gateway), Vec::<String>::new(), "{}", world.namespace);
        }
    }
}

async fn one_sequence(seed: u64) {
    let world = World::new(&format!("seed-{seed}")).await;
    eprintln!("seed {seed} in namespace {}", world.namespace);
    tokio::select! {
        () = watch_steps(&world) => panic!("the watch of {} ended", world.namespace),
        () = drive(&world, seed) => {}
    }
}

async fn drive(world: &World, seed: u64) {
    let mut random = Random::new(seed);
    let hosts = format!("{}.example.com", world.namespace);
    let mut operator = world.operator();
    let mut fleet: Vec<Asked> = (0..GATEWAYS).map(Asked::new).collect();
    let mut order: Vec<usize> = (0..GATEWAYS * OPERATIONS).map(|turn| turn % GATEWAYS).collect();
    random.shuffle(&mut order);
    for number in order {
        let done = operate(world, &mut random, &mut fleet[number], &hosts).await;
        eprintln!("seed {seed}: gw-{number}: {done}");
        if random.below(40) == 0 {
            eprintln!("seed {seed}: the operator is killed");
            operator.kill();
            operator = world.operator();
        }
        // The pauses let operations hit gateways at every point of their lifecycle.
        let pause = u64::try_from(random.below(150)).unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    let ends = [End::Serving, End::Serving, End::Stopped, End::GivenUp, End::Deleted];
    let mut last = Vec::new();
    for asked in &mut fleet {
        let end = *random.one_of(&ends);
        eprintln!("seed {seed}: {} ends {end:?}", asked.name);
        finish(world, asked, end, &hosts).await;
        last.push(end);
    }
    for (asked, end) in fleet.iter().zip(&last) {
        judge(world, asked, *end).await;
    }
    let serving = |(asked, end)| matches!(end, &End::Serving).then_some(asked);
    let serving: Vec<&Asked> = fleet.iter().zip(&last).filter_map(serving).collect();
    until_no_orphan(world, &serving).await;
    // No gateway requests a shared host any more, so no gateway holds one.
    for number in 0..HOSTS {
        let spec = json!({ "image": "acme/gateway:1", "host": format!("host-{number}.{hosts}") });
        world.apply(&gateway(&format!("heir-{number}"), spec)).await;
    }
    for number in 0..HOSTS {
        world.until_started(&format!("heir-{number}")).await;
    }
    for gateway in world.api::<ApiGateway>().list(&ListParams::default()).await.unwrap() {
        assert_eq!(illegal(&gateway), Vec::<String>::new(), "seed {seed}");
    }
    drop(operator);
}

/// `PHASEGATE_SEEDS=20` runs twenty seeds, beginning with `PHASEGATE_SEED`.
#[tokio::test]
async fn random_operations_end_where_the_last_of_them_ask() {
    const AT_ONCE: usize = 4;
    let seeds = std::env::var("PHASEGATE_SEEDS").map_or(2, |seeds| seeds.parse().unwrap());
    let first = std::env::var("PHASEGATE_SEED").map_or(1, |seed| seed.parse().unwrap());
    stream::iter(first..first + seeds).for_each_concurrent(AT_ONCE, one_sequence).await;
}
