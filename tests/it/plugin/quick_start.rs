//! The commands of the tutorial and of the README's quick start work as documented.

use std::path::Path;
use std::process::Command;

use crate::docs::{commands, section};
use crate::harness::{DEADLINE, World, path, root};

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// The commands of the steps that need only a cluster with an operator.
fn tutorial() -> String {
    let text = read("docs/src/tutorial.md");
    let (_, steps) = text.split_once("\n## 2. ").expect("the tutorial has a second step");
    let (steps, _) = steps.split_once("\n## 8. ").expect("the tutorial has an eighth step");
    commands(steps).concat()
}

#[test]
fn the_readmes_quick_start_is_part_of_the_tutorial() {
    let (readme, tutorial) = (read("README.md"), tutorial());
    let mut lines = tutorial.lines();
    for heading in ["## Your first gateway", "## Break it, read why, mend it"] {
        let blocks = commands(section(&readme, heading));
        let [block] = &blocks[..] else { panic!("{heading}: {} blocks of commands", blocks.len()) };
        for line in block.lines().filter(|line| !line.is_empty()) {
            assert!(lines.any(|of_tutorial| of_tutorial == line), "the tutorial does not run, in this order: {line}");
        }
    }
}

#[tokio::test]
async fn the_tutorial_breaks_a_gateway_and_recovers_it() {
    let world = World::new("quick").await;
    let _operator = world.operator();
    let plugin = Path::new(env!("CARGO_BIN_EXE_kubectl-phasegate")).parent().unwrap();
    let kubectl = world.cluster.kubectl.parent().unwrap();
    let mut folders = vec![plugin.to_owned(), kubectl.to_owned()];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    // kubectl passes only arguments and environment to the plugin, so the namespace comes from the kubeconfig.
    let mut kubeconfig = kube::config::Kubeconfig::read_from(&world.cluster.kubeconfig).unwrap();
    kubeconfig.contexts[0].context.as_mut().unwrap().namespace = Some(world.namespace.clone());
    let kubeconfig = super::file("quick", &serde_json::to_string(&kubeconfig).unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", &tutorial()]);
    shell.env("PATH", std::env::join_paths(folders).unwrap()).env("KUBECONFIG", kubeconfig);

    let output = tokio::task::spawn_blocking(move || shell.output().unwrap());
    let output = tokio::time::timeout(DEADLINE, output).await.unwrap().unwrap();

    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(told.contains("✖ ImagePullFailed") && told.contains("retry hello"), "{told}");
    assert!(told.contains("hello.example.com,dev.hello.example.com"), "both hosts are routed: {told}");
    let hello = world.gateway("hello").await;
    assert_eq!(
        path(&hello),
        [
            "Starting/Running StartRequested",
            "Started/Running Started",
            "Starting/Restarting RestartRequested",
            "Started/Running Started",
            "Stopping/Stopped StopRequested",
            "Stopped/Stopped Stopped",
            "Starting/Running StartRequested",
            "Started/Stopped StartDeadlineExceeded",
            "Stopping/Stopped StartDeadlineExceeded",
            "Stopped/Stopped Stopped",
            "Starting/Running StartRequested",
            "Started/Running Started"
        ]
    );
}
