//! A release works from installation to uninstallation with the commands of the book and of the chart's notes.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionSpec,
};
use kube::Api;
use serde_json::json;

use super::{helm_settings, read, yaml};
use crate::docs::{commands, section};
use crate::harness::cluster::Cluster;
use crate::harness::{World, gateway, helm, output, private_world_on, root, run, until};

const NAMESPACE: &str = "phasegate-system";

/// A shell in the project's folder with a user's tools: helm, kubectl and access to the cluster.
fn shell(world: &World, commands: &str) -> Command {
    let programs = world.cluster.kubeconfig.with_file_name("programs");
    std::fs::create_dir_all(&programs).unwrap();
    let _ = std::os::unix::fs::symlink(helm().unwrap(), programs.join("helm"));
    let mut folders = vec![programs, world.cluster.kubectl.parent().unwrap().to_owned()];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", commands]).current_dir(root()).envs(helm_settings());
    shell.env("PATH", std::env::join_paths(folders).unwrap()).env("KUBECONFIG", &world.cluster.kubeconfig);
    shell
}

const PAGE: &str = "docs/src/how-to/install.md";

/// The commands in the notes are the indented lines.
fn commands_of(notes: &str) -> String {
    notes.lines().filter_map(|line| line.strip_prefix("  ")).map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_upgraded_and_uninstalled_as_the_book_has_it_and_gateways_outlive_it() {
    let world = private_world_on("release", Cluster::private).await;
    let page = read(PAGE);
    let [install, upgrade, uninstall] = &commands(section(&page, "## With Helm"))[..] else {
        panic!("three blocks of commands")
    };
    let operators = Api::<Deployment>::namespaced(world.client.clone(), NAMESPACE);

    run(&mut shell(&world, install)).unwrap();

    // No container runs in this cluster, so the test runs the program locally, as the release's ServiceAccount.
    let account = world.cluster.kubeconfig.with_file_name("release.kubeconfig");
    world.cluster.write_account_kubeconfig(NAMESPACE, "phasegate", &account).unwrap();
    let log = File::create(account.with_file_name("release.log")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_phasegate"));
    let _operator = world.cluster.supervise(&account, program, &["run", "--leader-election"], log).unwrap();
    let leases = Api::namespaced(world.client.clone(), NAMESPACE);
    until(leases, "phasegate", "held", |lease: &Lease| lease.spec.as_ref().unwrap().holder_identity.is_some()).await;
    let notes = output(&mut shell(&world, &format!("helm get notes phasegate -n {NAMESPACE}"))).unwrap();
    let told = output(&mut shell(&world, &commands_of(&notes))).unwrap();
    for line in ["successfully rolled out", "hello created", "hello condition met", "hello\" deleted"] {
        assert!(told.contains(line), "{line} is not in {told}");
    }

    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let started = world.until_started("shop").await;
    run(&mut shell(&world, upgrade)).unwrap();
    let upgraded = operators.get("phasegate").await.unwrap().spec.unwrap();
    assert_eq!(upgraded.replicas, Some(3));
    let image = upgraded.template.spec.unwrap().containers[0].image.clone().unwrap();
    assert!(image.starts_with("YOUR_REGISTRY/"), "the values of before are kept: {image}");

    run(&mut shell(&world, uninstall)).unwrap();
    assert_eq!(operators.get_opt("phasegate").await.unwrap(), None);
    let definitions = Api::<CustomResourceDefinition>::all(world.client.clone());
    for name in ["apigateways.phasegate.dev", "environments.phasegate.dev"] {
        assert_eq!(definitions.get(name).await.unwrap().metadata.deletion_timestamp, None, "{name}");
    }
    assert_eq!(world.gateway("shop").await.metadata.uid, started.metadata.uid);
    world.api::<Deployment>().get("shop").await.unwrap();

    // Neither the CRDs that the release left nor those that kubectl applied from another version prevent an
    // installation.
    run(&mut shell(&world, install)).unwrap();
    run(&mut shell(&world, uninstall)).unwrap();
    run(world.cluster.kubectl().args(["delete", "-f"]).arg(root().join("crds"))).unwrap();
    world.cluster.install_definitions("tests/last-release/crds").unwrap();
    let takes_over = "--take-ownership --force-conflicts";
    assert!(page.contains(&format!("`{takes_over}`")));
    run(&mut shell(&world, &install.replacen('\n', &format!(" {takes_over}\n"), 1))).unwrap();
    let mut definition = definitions.get("apigateways.phasegate.dev").await.unwrap().spec;
    let mut ours: CustomResourceDefinition = serde_json::from_value(yaml("crds/apigateways.yaml")).unwrap();
    let schema = |spec: &mut CustomResourceDefinitionSpec| spec.versions.remove(0).schema;
    assert_eq!(schema(&mut definition), schema(&mut ours.spec));
}
