//! The operator as a process.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::Cluster;
use crate::command::run;
use crate::components::{child_of, signal};
use crate::paths::scratch;
use crate::supervised::Supervised;

/// An operator process.
pub struct Operator {
    process: Supervised,
}

impl Operator {
    /// Starts an operator on a cluster with a kubeconfig. It appends its output to a log.
    pub(crate) fn start(program: &Path, cluster: &Cluster, kubeconfig: &Path, arguments: &[&str], log: &Path) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        Self { process: cluster.supervise(kubeconfig, program, arguments, log).unwrap() }
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    /// Shuts it down in order, and waits until it has exited.
    pub fn end(&mut self) {
        self.process.end().unwrap();
    }

    /// Sends a signal to it, not to its supervisor.
    pub fn signal(&self, name: &str) {
        signal(child_of(self.process.pid()), name);
    }

    /// The peak of its resident memory in bytes, as the kernel reports it.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child_of(self.process.pid()))).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Limits the number of its open files and connections.
    #[cfg(target_os = "linux")]
    pub fn limit_files(&self, most: usize) {
        let pid = child_of(self.process.pid()).to_string();
        run(Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={most}:{most}")])).unwrap();
    }

    /// Waits until it exits without a signal, and returns its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        self.process.ended().unwrap().code()
    }
}

/// The log of all operators of a namespace.
pub(crate) fn log_of(namespace: &str) -> PathBuf {
    scratch("operators").unwrap().join(format!("{namespace}.log"))
}
