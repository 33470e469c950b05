//! `start`, `stop`, `restart`, `retry`, `suspend` and `resume` request that change, and only of the named gateways.

use std::io::Write;
use std::process::{Command, Stdio};

use phasegate::api::{ApiGateway, DesiredState, Phase, RESTART_ANNOTATION, RETRY_ANNOTATION, State};
use serde_json::{Value, json};

use super::{assert_snapshot, masked, plugin, run, said};
use crate::harness::{World, gateway, path};

fn labelled(name: &str, tier: &str, spec: Value) -> Value {
    let mut object = gateway(name, spec);
    object["metadata"]["labels"] = json!({ "tier": tier });
    object
}

async fn states(world: &World, names: &[&str]) -> Vec<DesiredState> {
    let mut states = Vec::new();
    for name in names {
        states.push(world.gateway(name).await.spec.state);
    }
    states
}

#[tokio::test]
async fn a_gateway_goes_through_its_life_by_the_plugin() {
    let world = World::new("life").await;
    let _operator = world.operator();
    for object in [
        gateway("shop", json!({ "image": "acme/gateway:1" })),
        gateway("typo", json!({ "image": "acme/unpullable:1", "startDeadline": "20s" })),
    ] {
        world.apply(&object).await;
    }
    let mut told = Vec::new();
    let mut tell = async |arguments: &[&str]| {
        let said = said(&world, arguments).await;
        told.push(format!(
            "$ kubectl phasegate {}\n{}{}[{}]\n",
            arguments.join(" "),
            said.stdout,
            said.stderr,
            said.code
        ));
        said.code
    };

    assert_eq!(tell(&["wait", "shop", "--for", "available"]).await, 0);
    assert_eq!(tell(&["stop", "shop", "--wait"]).await, 0);
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    assert_eq!(tell(&["stop", "shop"]).await, 0);
    assert_eq!(tell(&["restart", "shop"]).await, 1);
    assert_eq!(tell(&["retry", "shop"]).await, 1);
    assert_eq!(tell(&["start", "shop", "--wait"]).await, 0);
    assert_eq!(tell(&["start", "shop"]).await, 0);
    assert_eq!(tell(&["restart", "shop", "--wait"]).await, 0);
    let shop = world.gateway("shop").await;
    assert_eq!(shop.status.as_ref().unwrap().restarts, 1);
    assert_eq!(
        path(&shop)[4..],
        [
            "Starting/Running StartRequested",
            "Started/Running Started",
            "Starting/Restarting RestartRequested",
            "Started/Running Started"
        ]
    );
    assert_eq!(tell(&["suspend", "shop"]).await, 0);
    assert!(world.gateway("shop").await.spec.suspend);
    assert_eq!(tell(&["stop", "shop"]).await, 0);
    assert_eq!(tell(&["resume", "shop"]).await, 0);
    assert!(!world.gateway("shop").await.spec.suspend);
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;

    // An earlier timeout does not count as the end of the next attempt, and a retry does not count as its success.
    assert_eq!(tell(&["wait", "typo", "--for", "available"]).await, 2);
    assert_eq!(tell(&["retry", "typo", "--wait"]).await, 2);
    assert_eq!(world.gateway("typo").await.status.unwrap().attempt.unwrap().number, 2);
    assert_eq!(tell(&["start", "typo", "--wait"]).await, 2);
    assert_eq!(world.gateway("typo").await.status.unwrap().attempt.unwrap().number, 3);
    world.patch("typo", json!({ "spec": { "image": "acme/gateway:1", "startDeadline": "5m" } })).await;
    assert_eq!(tell(&["wait", "typo", "--for", "available"]).await, 0);
    assert_eq!(tell(&["retry", "typo"]).await, 0);
    assert_snapshot("changes", &masked(&world, &told.concat()));
}

/// No operator runs: the requests are readable, and nothing responds to them.
#[tokio::test]
async fn many_are_asked_by_labels_and_only_after_a_yes() {
    let world = World::new("many").await;
    for name in ["a", "b", "c"] {
        world.apply(&labelled(name, "test", json!({ "image": "acme/gateway:1" }))).await;
    }
    world.apply(&labelled("prod", "prod", json!({ "image": "acme/gateway:1" }))).await;
    let all = ["a", "b", "c", "prod"];
    let (runs, stops) = (DesiredState::Running, DesiredState::Stopped);

    let none = said(&world, &["stop"]).await.failed(1);
    let refused = said(&world, &["stop", "-l", "tier=test"]).await.failed(1);
    let dry = said(&world, &["stop", "-l", "tier=test", "--dry-run"]).await.ok();
    assert_eq!(states(&world, &all).await, [runs; 4]);

    let stopped = said(&world, &["stop", "-l", "tier=test", "--yes"]).await.ok();
    assert_eq!(states(&world, &all).await, [stops, stops, stops, runs]);
    // A missing gateway does not prevent the requests for the others.
    let started = said(&world, &["start", "a", "b", "nobody", "-y", "-o", "json"]).await;
    assert_eq!((started.code, states(&world, &all).await), (4, vec![runs, runs, stops, runs]));
    let sorted = |text: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        format!("{}\n", lines.join("\n"))
    };
    let told = [none, refused, sorted(&dry), sorted(&stopped), started.stdout, started.stderr].concat();
    assert_snapshot("many", &masked(&world, &told));

    // The format of `get -o name`.
    said(&world, &["restart", "apigateway.phasegate.dev/a"]).await.ok();
    said(&world, &["suspend", "--all", "--yes"]).await.ok();
    let a = world.gateway("a").await;
    assert!(a.spec.suspend && a.annotation(RESTART_ANNOTATION).is_some() && a.annotation(RETRY_ANNOTATION).is_none());
    assert!(world.gateway("prod").await.spec.suspend);
    let managers = |gateway: &ApiGateway| -> Vec<String> {
        gateway.metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.clone()).collect()
    };
    assert!(managers(&a).contains(&"kubectl-phasegate".to_owned()), "{:?}", managers(&a));
}

/// `script` provides the terminal.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn on_a_terminal_it_asks_before_more_than_one_is_changed() {
    let world = World::new("asks").await;
    for name in ["a", "b"] {
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1" }))).await;
    }
    let answer = async |answer: &str| {
        let stop = plugin(&world, &["stop", "--all"]);
        let mut script = Command::new("script");
        let words: Vec<_> = std::iter::once(stop.get_program()).chain(stop.get_args()).collect();
        let line = words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        script
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("KUBECONFIG", &world.cluster.kubeconfig);
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
    };
    let no = answer("n\n").await;
    assert_eq!(no.status.code(), Some(1), "{no:?}");
    let asked = format!("stop 2 gateways: {0}/a, {0}/b? [y/N]", world.namespace);
    assert!(String::from_utf8_lossy(&no.stdout).contains(&asked), "{no:?}");
    assert_eq!(states(&world, &["a", "b"]).await, [DesiredState::Running; 2]);

    let yes = answer("y\n").await;
    assert_eq!(yes.status.code(), Some(0), "{yes:?}");
    assert_eq!(states(&world, &["a", "b"]).await, [DesiredState::Stopped; 2]);
    let all = run(plugin(&world, &["get", "-A", "a"])).await;
    assert_eq!(all.code, 1, "a name is in one namespace: {all:?}");
}
