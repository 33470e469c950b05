//! What this process costs, under the names that Prometheus' own clients use.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::gauge;

/// Registers what the process has used until now. What only Linux tells is left out elsewhere.
pub fn register(registry: &mut Registry, began: SystemTime) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    #[allow(clippy::cast_precision_loss)]
    let seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    registry.register("process_cpu_seconds", "Processor time that the process has used", ConstCounter::new(seconds));
    let began = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    registry.register("process_start_time_seconds", "When the process began, in Unix time", ConstGauge::new(began));
    if let Some(bytes) = resident_bytes() {
        registry.register("process_resident_memory_bytes", "Memory that the process has in RAM", gauge(bytes));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is that of this very reading.
        registry.register("process_open_fds", "Open file descriptors", gauge(open.count().saturating_sub(1)));
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        let limit = gauge(usize::try_from(limit).unwrap_or(usize::MAX));
        registry.register("process_max_fds", "File descriptors that may be open", limit);
    }
}

fn resident_bytes() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}
