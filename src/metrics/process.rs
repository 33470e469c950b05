//! Resource usage of this process, under the names of Prometheus' standard clients.
//!
//! **Architecture invariant:** no value is kept between scrapes. Each is read when it is registered.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::gauge;

/// Registers the usage so far. What only Linux provides is omitted elsewhere.
pub fn register(registry: &mut Registry, began: SystemTime) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    #[allow(clippy::cast_precision_loss)]
    let seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    registry.register("process_cpu_seconds", "Total CPU time of the process", ConstCounter::new(seconds));
    let began = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    registry.register(
        "process_start_time_seconds",
        "Start time of the process in Unix seconds",
        ConstGauge::new(began),
    );
    if let Some(bytes) = resident_bytes() {
        registry.register("process_resident_memory_bytes", "Resident memory of the process", gauge(bytes));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them belongs to this very read.
        registry.register("process_open_fds", "Number of open file descriptors", gauge(open.count().saturating_sub(1)));
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        let limit = gauge(usize::try_from(limit).unwrap_or(usize::MAX));
        registry.register("process_max_fds", "Maximum number of open file descriptors", limit);
    }
}

fn resident_bytes() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}
