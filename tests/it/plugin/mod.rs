//! `kubectl phasegate`: what the real program prints, does, and ends with.

mod help;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::contract::generates;
use crate::harness::World;
use crate::harness::cluster::root;

/// The plugin with nothing from our own environment: no kubeconfig, no home, no variables.
pub fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-phasegate"));
    command.args(arguments).env_clear().env("HOME", "/nowhere").stdin(Stdio::null());
    command
}

/// The plugin as an administrator of a world's cluster, in its namespace.
pub fn plugin(world: &World, arguments: &[&str]) -> Command {
    let mut command = bare(arguments);
    command.env("KUBECONFIG", &world.cluster.kubeconfig).args(["-n", &world.namespace]);
    command
}

/// What a run ended with, and said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    /// Asserts that all went well, and returns what was printed.
    pub fn ok(self) -> String {
        assert!(self.code == 0 && self.stderr.is_empty(), "{self:?}");
        self.stdout
    }

    /// Asserts that it ended with this code and printed nothing, and returns what it said was wrong and what to do.
    pub fn failed(self, code: i32) -> String {
        assert!(self.code == code && self.stdout.is_empty(), "{self:?}");
        let (error, hint) = self.stderr.split_once('\n').unwrap_or_else(|| panic!("no hint: {self:?}"));
        assert!(error.starts_with("error: ") && hint.starts_with("hint: "), "{self:?}");
        self.stderr
    }
}

/// Runs the plugin beside the other tests.
pub async fn run(mut command: Command) -> Said {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap().into()
}

/// Asserts that a text is what the file of this name holds. `make generate` writes the files anew.
pub fn assert_snapshot(name: &str, text: &str) {
    let path = root().join("tests/it/plugin/snapshots").join(format!("{name}.txt"));
    if generates() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(kept == text, "{} does not have what was printed (make generate writes it anew):\n{text}", path.display());
}

/// A text in which what differs from run to run has fixed words of the same length where columns follow: the
/// namespace, the suffixes of pods, the API server's address.
pub fn masked(world: &World, text: &str) -> String {
    text.replace(&world.namespace, "tenants")
}

/// A file with this content, for one test.
pub fn file(name: &str, content: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}
