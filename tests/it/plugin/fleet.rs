//! The plugin watches a thousand gateways on a control plane of their own, where the test writes the statuses and no
//! operator runs.

use std::process::{Command, Stdio};
#[cfg(target_os = "linux")]
use std::time::Duration;

use futures::{StreamExt, stream};
use phasegate::api::ApiGateway;
use serde_json::json;

use super::{Running, assert_snapshot, masked, plugin, said};
use crate::harness::cluster::Cluster;
use crate::harness::components::{Component, child_of, signal, until_ready};
use crate::harness::{Requests, World, gateway, private_world_on};

const GATEWAYS: usize = 1_000;

/// The processor time that a process has used.
#[cfg(target_os = "linux")]
fn used(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The program's name, in parentheses, may contain spaces.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

async fn set_phase(world: &World, name: &str, phase: &str) {
    world.patch_status(name, json!({ "status": { "phase": phase, "state": "Running", "transitions": 1 } })).await;
}

#[tokio::test]
async fn a_thousand_gateways_are_followed_closely_and_over_an_outage() {
    let world = private_world_on("fleet", Cluster::private).await;
    let unknown = said(&world, &["get"]).await.failed(1);
    assert_snapshot("error-no-definitions", &masked(&world, &unknown));
    world.cluster.install_crds().unwrap();
    let names: Vec<String> = (0..GATEWAYS).map(|number| format!("gw-{number:03}")).collect();
    let apply = async |name: &String| drop(world.apply(&gateway(name, json!({ "image": "acme/gateway:1" }))).await);
    stream::iter(&names).for_each_concurrent(16, apply).await;

    let mut watching = Running::start(plugin(&world, &["get", "-w"]));
    watching.until(&["NAME", "STATE", "PHASE"]).await;
    watching.until(&["gw-999"]).await;
    assert_eq!(watching.heard.len(), GATEWAYS + 1);
    let waiting = Running::start(plugin(&world, &["wait", "gw-001", "--for", "gone"]));
    #[cfg(target_os = "linux")]
    let before = used(watching.child.id());
    let asked = Requests::read(&world.client).await;
    let changed: Vec<&String> = names.iter().step_by(50).collect();
    for name in &changed {
        set_phase(&world, name, "Starting").await;
        watching.until(&[name, "Starting"]).await;
    }
    assert_eq!(watching.heard.len(), GATEWAYS + 1 + changed.len(), "only what changed is printed");
    let counted = Requests::read(&world.client).await.since(&asked);
    let reads: u64 =
        ["GET", "LIST"].iter().filter_map(|verb| counted.get(&((*verb).to_owned(), "apigateways".to_owned()))).sum();
    println!("{reads} reads for {} changes", changed.len());
    // The garbage collector, the quota controller and the waiting plugin list at times of their own.
    assert!(reads < changed.len() as u64, "changes arrive by the watch alone: {counted:?}");
    #[cfg(target_os = "linux")]
    {
        let cpu = used(watching.child.id()) - before;
        println!("{cpu:?} for {} changes", changed.len());
        assert!(cpu < Duration::from_secs(15), "{cpu:?} for {} changes", changed.len());
    }

    #[cfg(target_os = "linux")]
    a_terminal_has_a_page_of_them(&world).await;

    let down = Component::of(&world.cluster, "kube-apiserver").take_down().await;
    watching.until(&["is unreachable", "retrying"]).await;
    drop(down);
    until_ready(&world.client).await;
    // No object has changed, so there is no watch event.
    watching.until(&["the API server is reachable again"]).await;
    world.api::<ApiGateway>().delete("gw-001", &Default::default()).await.unwrap();
    set_phase(&world, "gw-002", "Stopping").await;
    // The order is arbitrary if the watch restarts.
    watching.hears(&["gw-001", "Gone"]).await;
    watching.hears(&["gw-002", "Stopping"]).await;
    let rows = watching.heard.iter().filter(|line| line.contains("gw-")).count();
    assert!(rows < GATEWAYS + 50, "what did not change is printed again: {rows} rows");
    assert_eq!(waiting.ended().await, 0);
    signal(watching.child.id(), "TERM");
}

/// `script` is the terminal, with 12 lines of 60 columns.
#[cfg(target_os = "linux")]
async fn a_terminal_has_a_page_of_them(world: &World) {
    let get = plugin(world, &["get", "-w"]);
    let words: Vec<_> = std::iter::once(get.get_program()).chain(get.get_args()).collect();
    let words = words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script");
    let line = format!("stty rows 12 cols 60; exec {words}");
    script.args(["--quiet", "--flush", "--command", &line, "/dev/null"]);
    script.env("KUBECONFIG", &world.cluster.kubeconfig).env("NO_COLOR", "1").stdin(Stdio::piped());
    let mut screen = Running::start(script);
    screen.until(&["1000 gateways: 0 ready", "stuck"]).await;
    // The titles, nine rows and the line below them.
    assert_eq!(screen.heard.len(), 11, "{:?}", screen.heard);
    assert!(screen.heard.iter().all(|line| line.trim_end().chars().count() <= 60), "{:?}", screen.heard);
    // Ctrl-C in a terminal sends the same signal.
    signal(child_of(screen.child.id()), "INT");
    drop(screen.child.stdin.take());
}
