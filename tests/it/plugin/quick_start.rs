//! The README's quick start is what happens when its commands are run.

use std::path::Path;
use std::process::Command;

use super::PATIENCE;
use crate::harness::{World, path, root};

/// The first block of commands below a heading of the README.
fn commands(heading: &str) -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, below) = readme.split_once(&format!("\n## {heading}\n")).expect("the README has this heading");
    let (_, block) = below.split_once("```sh\n").expect("commands follow");
    block.split_once("```").unwrap().0.to_owned()
}

#[tokio::test]
async fn the_quick_start_breaks_a_gateway_and_mends_it() {
    let world = World::new("quick").await;
    let _operator = world.operator();
    let plugin = Path::new(env!("CARGO_BIN_EXE_kubectl-phasegate")).parent().unwrap();
    let kubectl = world.cluster.kubectl.parent().unwrap();
    let mut folders = vec![plugin.to_owned(), kubectl.to_owned()];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    // kubectl gives the plugin its arguments and the environment: the namespace is the kubeconfig's.
    let mut kubeconfig = kube::config::Kubeconfig::read_from(&world.cluster.kubeconfig).unwrap();
    kubeconfig.contexts[0].context.as_mut().unwrap().namespace = Some(world.namespace.clone());
    let kubeconfig = super::file("quick", &serde_json::to_string(&kubeconfig).unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", &commands("Break it, read why, mend it")]);
    shell.env("PATH", std::env::join_paths(folders).unwrap()).env("KUBECONFIG", kubeconfig);

    let output = tokio::task::spawn_blocking(move || shell.output().unwrap());
    let output = tokio::time::timeout(2 * PATIENCE, output).await.unwrap().unwrap();

    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(told.contains("✖ ImagePullFailed") && told.contains("retry hello"), "{told}");
    let hello = world.gateway("hello").await;
    assert_eq!(
        path(&hello)[4..],
        [
            "Starting/Running StartRequested",
            "Started/Stopped StartDeadlineExceeded",
            "Stopping/Stopped StartDeadlineExceeded",
            "Stopped/Stopped Stopped",
            "Starting/Running StartRequested",
            "Started/Running Started"
        ]
    );
}
