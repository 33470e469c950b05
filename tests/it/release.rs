//! The files that build a release are valid: the workflows, and the plugin's manifest for krew.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{actionlint, file, output, root, run, scratch};

const WORKFLOWS: &str = ".github/workflows";

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The workflows by file name.
fn workflows() -> BTreeMap<String, Value> {
    let entries = std::fs::read_dir(root().join(WORKFLOWS)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| (name.clone(), serde_saphyr::from_str(&read(&format!("{WORKFLOWS}/{name}"))).unwrap())).collect()
}

fn jobs(workflow: &Value) -> impl Iterator<Item = (&String, &Value)> {
    workflow["jobs"].as_object().unwrap().iter()
}

fn steps(workflow: &Value) -> impl Iterator<Item = &Value> {
    jobs(workflow).flat_map(|(_, job)| job["steps"].as_array().into_iter().flatten())
}

#[test]
fn actionlint_finds_nothing_to_complain_of() {
    let folder = root().join(WORKFLOWS);
    let files = workflows().into_keys().map(|name| folder.join(name));
    // Without the other linters that may be installed on this machine.
    run(Command::new(actionlint().unwrap()).args(["-no-color", "-shellcheck=", "-pyflakes="]).args(files)).unwrap();
}

#[test]
fn a_job_has_its_own_permissions_and_an_end_and_a_workflow_has_none() {
    for (name, workflow) in workflows() {
        assert_eq!(workflow["permissions"], json!({}), "{name}");
        assert!(workflow["concurrency"]["group"].is_string(), "{name}");
        // Only an explicit shell sets pipefail, which reports a failure within a pipe.
        assert_eq!(workflow["defaults"]["run"]["shell"], "bash", "{name}");
        for (job, of) in jobs(&workflow) {
            assert!(of["permissions"].as_object().is_some_and(|all| all["contents"].is_string()), "{name}: {job}");
            // The jobs of a called workflow have their own timeouts.
            assert!(of["uses"].is_string() || of["timeout-minutes"].is_u64(), "{name}: {job}");
        }
    }
    let may_write: BTreeSet<String> = workflows()
        .iter()
        .flat_map(|(name, workflow)| jobs(workflow).map(move |(job, of)| (name, job, of)))
        .flat_map(|(name, job, of)| {
            let writes = of["permissions"].as_object().unwrap().iter().filter(|(_, may)| *may == "write");
            writes.map(move |(what, _)| format!("{name} {job} {what}"))
        })
        .collect();
    let expected = [
        "release.yaml chart id-token",
        "release.yaml chart packages",
        "release.yaml image packages",
        "release.yaml release contents",
        "release.yaml release id-token",
        "release.yaml signed-image id-token",
        "release.yaml signed-image packages",
    ];
    assert_eq!(may_write, expected.map(str::to_owned).into(), "who may write what");
}

#[test]
fn actions_are_pinned_by_the_commit_of_a_version() {
    let mut pins: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in workflows().keys() {
        for line in read(&format!("{WORKFLOWS}/{name}")).lines().filter(|line| line.contains("uses: ")) {
            let used = line.split_once("uses: ").unwrap().1;
            if used.starts_with("./") {
                continue;
            }
            let (action, pin) = used.split_once('@').unwrap();
            let (commit, version) = pin.split_once(" # v").unwrap_or_else(|| panic!("{name}: {line}"));
            assert!(commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{name}: {line}");
            assert_eq!(version.split('.').count(), 3, "{name}: {line}");
            pins.entry(action.to_owned()).or_default().insert(pin.to_owned());
        }
    }
    assert!(pins.values().all(|of_action| of_action.len() == 1), "one version of each: {pins:?}");
}

/// Everything of the repository that a workflow runs exists.
#[test]
fn workflows_run_only_what_there_is_to_run() {
    let makefile = read("Makefile");
    let mut targets = BTreeSet::new();
    for workflow in workflows().values() {
        for script in steps(workflow).filter_map(|step| step["run"].as_str()) {
            let words: Vec<&str> = script.split(|c: char| c.is_whitespace() || "()\"".contains(c)).collect();
            for pair in words.windows(2) {
                if pair[0] == "make" {
                    assert!(makefile.contains(&format!("\n{}:", pair[1])), "make {}", pair[1]);
                    targets.insert(pair[1].to_owned());
                }
            }
            for path in
                words.iter().filter(|word| ["tests/", "deploy/", "crds/"].iter().any(|top| word.starts_with(top)))
            {
                assert!(root().join(path).exists(), "{path}");
            }
        }
    }
    let of_ci = ["advisories", "book", "check", "deny", "e2e-kind", "sbom", "test"];
    assert_eq!(targets, of_ci.map(str::to_owned).into(), "what is made");
}

/// The oldest version is that of README.md and the chart, and the newest that of the tests' control plane.
#[test]
fn the_suite_on_nodes_runs_with_the_oldest_and_the_newest_kubernetes() {
    let workflow = &workflows()["ci.yaml"];
    let matrix = workflow["jobs"]["e2e-kind"]["strategy"]["matrix"]["include"].as_array().unwrap();
    let versions: Vec<&str> = matrix.iter().map(|entry| entry["kubernetes"].as_str().unwrap()).collect();
    for entry in matrix {
        let (version, image) = (entry["kubernetes"].as_str().unwrap(), entry["image"].as_str().unwrap());
        assert!(image.starts_with(&format!("kindest/node:v{version}.")) && image.contains("@sha256:"), "{image}");
    }
    let of_tests = read("tests/cluster/go.mod");
    let newest = of_tests.lines().find_map(|line| line.trim().strip_prefix("require k8s.io/kubernetes v")).unwrap();
    let newest = newest.rsplit_once('.').unwrap().0;
    let readme = read("README.md");
    let oldest = readme.split_once("- Kubernetes ").unwrap().1.split(' ').next().unwrap();
    assert_eq!(versions, [oldest, newest]);
    assert!(read("deploy/chart/Chart.yaml").contains(&format!("kubeVersion: \">={oldest}.0-0\"")));
}

/// The platforms that the release builds the plugin for.
fn platforms() -> Vec<String> {
    let workflow = &workflows()["release.yaml"];
    let matrix = workflow["jobs"]["plugin"]["strategy"]["matrix"]["include"].as_array().unwrap().clone();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    matrix.iter().map(|entry| format!("{}_{}", text(entry, "os"), text(entry, "arch"))).collect()
}

fn fill(folder: &str) -> anyhow::Result<String> {
    output(Command::new(root().join("deploy/krew/fill")).arg("v0.1.0").arg(folder))
}

#[test]
fn krews_manifest_has_each_platforms_archive_with_its_checksum() {
    let folder = scratch("krew").unwrap();
    for platform in platforms() {
        file("krew", &format!("kubectl-phasegate_v0.1.0_{platform}.tar.gz"), &platform).unwrap();
    }
    // The release workflow uses the same file names.
    assert!(
        read(".github/workflows/release.yaml").contains("kubectl-phasegate_${GITHUB_REF_NAME}_${OS}_${ARCH}.tar.gz")
    );

    let manifest: Value = serde_saphyr::from_str(&fill(folder.to_str().unwrap()).unwrap()).unwrap();

    assert_eq!(manifest["kind"], "Plugin");
    assert_eq!(manifest["spec"]["version"], "v0.1.0");
    let of_each = manifest["spec"]["platforms"].as_array().unwrap().iter().map(|platform| {
        let text = |pointer: &str| platform.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        assert_eq!(text("/bin"), "kubectl-phasegate");
        let name = format!("{}_{}", text("/selector/matchLabels/os"), text("/selector/matchLabels/arch"));
        let uri = "https://github.com/phasegate/phasegate/releases/download/v0.1.0/kubectl-phasegate_v0.1.0";
        assert_eq!(text("/uri"), format!("{uri}_{name}.tar.gz"));
        (name, text("/sha256"))
    });
    // The checksums of files that contain the platform's name.
    let expected = [
        ("linux_amd64", "6e42b235a426c6ab149ad1b1f5ae3c0894409575c45d47698630034658cf0963"),
        ("linux_arm64", "3e7bc88399e82c32121d04157cfc7a33801c09a60bd0f8c6478adb1829af3937"),
        ("darwin_amd64", "1cdcfaeee8fff2734b14929bc0d40699a3ca5a0d07a0d0a5cf7a8b4636f015b2"),
        ("darwin_arm64", "6399fb33634d3c7090258603773f07997e0736dceae7096977e8365e93a7a350"),
    ];
    let expected = expected.map(|(name, sum)| (name.to_owned(), sum.to_owned()));
    assert_eq!(of_each.collect::<Vec<_>>(), expected);
    assert_eq!(platforms(), expected.map(|(name, _)| name));
}

#[test]
fn krews_manifest_is_not_written_without_an_archive() {
    let folder = scratch("krew-without").unwrap();
    let refused = fill(folder.to_str().unwrap()).unwrap_err().to_string();
    let words = "kubectl-phasegate_v0.1.0_linux_amd64.tar.gz is missing: build the plugin for linux_amd64 first";
    assert!(refused.contains(words), "{refused}");
}
