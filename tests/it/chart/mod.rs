//! The Helm chart copies its sources unchanged, renders the same objects as kustomize, accepts only the values of its
//! schema, and installs, upgrades and uninstalls as documented in the book.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::{helm, output, root, scratch};

mod generated;
mod lives;
mod same;
mod values;

const CHART: &str = "deploy/chart";

/// Helm's config, cache and data directories, separate from the settings of the current user.
fn helm_settings() -> [(&'static str, PathBuf); 3] {
    let home = scratch("helm").unwrap();
    ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"].map(|variable| (variable, home.clone()))
}

/// Helm, with the repository's root as working directory.
fn helm_command() -> Command {
    let mut command = Command::new(helm().unwrap());
    command.current_dir(root()).envs(helm_settings());
    command
}

/// The objects that `helm template` renders with these flags.
fn rendered(namespace: &str, flags: &[&str]) -> anyhow::Result<Vec<Value>> {
    let text = output(helm_command().args(["template", "phasegate", CHART, "-n", namespace]).args(flags))?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap()
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    let said = output(helm_command().args(["lint", "--strict", CHART])).unwrap();
    assert!(said.contains("1 chart(s) linted, 0 chart(s) failed") && !said.contains("[WARNING]"), "{said}");
}

#[test]
fn the_chart_its_image_and_the_program_have_one_version() {
    let chart = yaml("deploy/chart/Chart.yaml");
    let base = yaml("deploy/base/kustomization.yaml");
    for version in [&chart["version"], &chart["appVersion"], &base["images"][0]["newTag"]] {
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
    }
}
