//! `kubectl phasegate dashboard` as a process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use phasegate_harness::{World, operator_program};

/// A running dashboard. It ends when this is dropped.
pub struct Dashboard {
    process: Child,
    /// The printed address, with the token.
    pub address: String,
}

impl Dashboard {
    /// Starts it as an administrator in the world's namespace, and waits for its address.
    pub fn start(world: &World, arguments: &[&str]) -> Self {
        let program = operator_program().unwrap().with_file_name("kubectl-phasegate");
        let mut command = Command::new(program);
        command.env_clear().env("HOME", "/nowhere").env("KUBECONFIG", &world.cluster.kubeconfig);
        command.args(["dashboard", "-n", &world.namespace]).args(arguments).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("Dashboard: ").unwrap_or_else(|| panic!("it printed {line:?}"));
        Self { process, address: address.to_owned() }
    }

    /// The address of a path, without the token. The browser has the cookie after its first page.
    pub fn at(&self, path: &str) -> String {
        let origin = self.address.split("/?token=").next().unwrap();
        format!("{origin}{path}")
    }

    /// The resident memory in kibibytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
