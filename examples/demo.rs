//! The main job on a real API server: gateways start, two of them fail with their causes.
//!
//! `make demo` runs it on a local control plane of its own. The verdict is formed from the
//! objects' `status` and the children as the API server returns them, and from nothing else.

mod show;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use phasegate::api::{ApiGateway, Phase, Reason, State, condition};
use phasegate::decide::Place;
use phasegate_harness::cluster::{Cluster, RUN_LABEL, run_id};
use phasegate_harness::{children, is_true, root, run};

use show::{Operator, Transitions, say};

const NAMESPACES: [&str; 2] = ["phasegate-demo", "phasegate-demo-small"];
const LONGEST: Duration = Duration::from_secs(180);

/// What each sample is expected to come to.
const EXPECTED: [(&str, Expected); 5] = [
    ("plain", Expected::Started),
    ("shop", Expected::Started),
    ("bank", Expected::Started),
    ("typo", Expected::TimedOut(Reason::ImagePullFailed)),
    ("greedy", Expected::TimedOut(Reason::QuotaExceeded)),
];

#[derive(Clone, Copy)]
enum Expected {
    Started,
    TimedOut(Reason),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    show::exit_code(demo().await)
}

async fn demo() -> Result<()> {
    say("a cluster: etcd, kube-apiserver, controller-manager and scheduler, all real; the node is simulated");
    let cluster = Cluster::start()?;
    say("the custom resource definitions: kubectl apply -f crds/");
    cluster.install_crds()?;

    say("the operator, as a ServiceAccount with the roles of deploy/rbac: phasegate run");
    let arguments = ["run", "--namespaces", &NAMESPACES.join(",")];
    let operator = Operator::start(&cluster, &cluster.operator_kubeconfig(), &arguments)?;

    let client = cluster.client().await?;
    let watched = tokio::spawn(tokio::time::timeout(LONGEST, follow(client.clone())));
    say("five gateways: kubectl apply -f deploy/samples/");
    let samples = root().join("deploy/samples");
    run(cluster.kubectl().args(["create", "-f"]).arg(samples.join("namespaces.yaml")))
        .context("the demo makes these namespaces itself, and removes them")?;
    let label = format!("{}={}", RUN_LABEL, run_id());
    run(cluster.kubectl().args(["label", "namespace"]).args(NAMESPACES).arg(label))?;
    run(cluster.kubectl().args(["apply", "-f"]).arg(&samples))?;
    if watched.await?.is_err() {
        eprintln!("not everything has settled within {LONGEST:?}; the operator's log is {}", operator.log.display());
    }
    let verdict = judge(&client).await;
    operator.end(verdict.is_ok())?;
    if cluster.is_existing() {
        say("removing what was created");
    }
    verdict
}

/// Prints every transition as it is recorded, and what is said to be wrong on the way, until
/// every gateway has come to rest.
async fn follow(client: Client) -> Result<()> {
    let begun = Instant::now();
    let mut causes: BTreeMap<String, String> = BTreeMap::new();
    let mut transitions = Transitions::since(begun);
    let mut settled: BTreeMap<String, bool> = BTreeMap::new();
    let streams = NAMESPACES.map(|namespace| {
        let gateways: Api<ApiGateway> = Api::namespaced(client.clone(), namespace);
        Box::pin(watcher(gateways, watcher::Config::default()).default_backoff().applied_objects())
    });
    let mut gateways = futures::stream::select_all(streams);
    while let Some(gateway) = gateways.try_next().await? {
        let name = gateway.name_any();
        let status = gateway.status.clone().unwrap_or_default();
        transitions.tell(&gateway);
        if Place::of_status(&status).is_some_and(Place::is_attempt)
            && let Some(ready) = status.conditions.iter().find(|found| found.type_ == condition::READY)
            && ready.reason != Reason::Starting.as_str()
            && causes.insert(name.clone(), ready.reason.clone()).as_ref() != Some(&ready.reason)
        {
            println!(
                "{:6.1}s  {name:<7}  Starting …  {}: {}",
                begun.elapsed().as_secs_f32(),
                ready.reason,
                ready.message
            );
        }
        settled.insert(name, is_settled(&gateway));
        if EXPECTED.iter().all(|(name, _)| settled.get(*name) == Some(&true)) {
            return Ok(());
        }
    }
    Ok(())
}

fn is_settled(gateway: &ApiGateway) -> bool {
    match Place::of_gateway(gateway) {
        Some(Place::Started) => is_true(gateway, condition::AVAILABLE),
        Some(Place::Stopped) => true,
        _ => false,
    }
}

/// Reads every object once more, prints the table, and says whether all came as expected.
async fn judge(client: &Client) -> Result<()> {
    println!("\n{:<8} {:<8} {:<8} {:<6} {:<30} CAUSE", "NAME", "STATE", "PHASE", "READY", "URL");
    let mut faults = Vec::new();
    for (name, expected) in EXPECTED {
        let namespace = if name == "greedy" { NAMESPACES[1] } else { NAMESPACES[0] };
        let gateway = Api::<ApiGateway>::namespaced(client.clone(), namespace).get(name).await?;
        let status = gateway.status.clone().unwrap_or_default();
        let cause = status.last_failure.as_ref().map(|failure| format!("{}: {}", failure.reason, failure.message));
        println!(
            "{name:<8} {:<8} {:<8} {:<6} {:<30} {}",
            status.state.map_or("", State::as_str),
            status.phase.as_ref().map_or("", Phase::as_str),
            is_true(&gateway, condition::READY),
            status.url.clone().unwrap_or_default(),
            cause.unwrap_or_default(),
        );
        if let Err(fault) = check(client, &gateway, expected).await {
            faults.push(format!("{name}: {fault:#}"));
        }
    }
    println!();
    ensure!(faults.is_empty(), "{}", faults.join("; "));
    say("as expected: three gateways serve; two were stopped at their deadline, say why, and left nothing behind");
    Ok(())
}

async fn check(client: &Client, gateway: &ApiGateway, expected: Expected) -> Result<()> {
    let status = gateway.status.as_ref().context("it has no status")?;
    let path: Vec<(&str, State)> =
        status.history.iter().map(|transition| (transition.to.as_str(), transition.state)).collect();
    match expected {
        Expected::Started => {
            ensure!(path == [("Starting", State::Running), ("Started", State::Running)], "its history is {path:?}");
            ensure!(is_true(gateway, condition::AVAILABLE), "it is not Available");
        }
        Expected::TimedOut(cause) => {
            let way = [
                ("Starting", State::Running),
                ("Started", State::Stopped),
                ("Stopping", State::Stopped),
                ("Stopped", State::Stopped),
            ];
            ensure!(path == way, "its history is {path:?}");
            let failure = status.last_failure.as_ref().context("it does not say why")?;
            ensure!(failure.reason == cause, "its cause is {}: {}", failure.reason, failure.message);
            ensure!(!is_true(gateway, condition::AVAILABLE), "it is still Available");
            let of_gateway = format!("phasegate.dev/gateway={}", gateway.name_any());
            let left = children(client, &gateway.namespace().unwrap_or_default(), &of_gateway).await?;
            ensure!(left.is_empty(), "left behind: {}", left.join(", "));
        }
    }
    Ok(())
}
