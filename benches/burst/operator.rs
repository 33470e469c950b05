//! The operator under test: the binary that the image holds, with its default flags, and what it costs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use phasegate_harness::Supervised;

use crate::stage::Stage;

/// How long the operator may take to list everything, or to come to rest.
const DEADLINE: Duration = Duration::from_secs(120);

/// A running operator.
pub struct Operator {
    process: Supervised,
    pid: u32,
    log: PathBuf,
    /// Where in the log this process begins.
    log_before: usize,
    begun: Instant,
}

/// What the operator has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor time.
    pub cpu: Duration,
    /// Memory at this moment, in KB.
    pub resident: u64,
    /// The most memory so far, in KB.
    pub peak: u64,
}

impl Operator {
    /// Starts the operator. It goes on from what is in the API server.
    pub async fn start(stage: &Stage) -> Result<Self> {
        Self::start_as(stage, &stage.cluster.operator_kubeconfig(), &["run"]).await
    }

    /// Starts the operator as the user of a kubeconfig.
    pub async fn start_as(stage: &Stage, kubeconfig: &Path, arguments: &[&str]) -> Result<Self> {
        let program = Path::new(env!("CARGO_BIN_EXE_phasegate"));
        let log = std::env::temp_dir().join(format!("phasegate-bench-{}.log", std::process::id()));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let log_before = std::fs::read_to_string(&log)?.len();
        let begun = Instant::now();
        let process = stage.cluster.supervise(kubeconfig, program, arguments, file)?;
        let pid = child_of_our_child(program).await?;
        Ok(Self { process, pid, log, log_before, begun })
    }

    /// Waits until the operator has listed everything, which it says in its log.
    pub async fn until_listed(&self) -> Result<()> {
        self.until_said("caches are synced").await
    }

    /// Waits until the operator has said something in its log.
    pub async fn until_said(&self, words: &str) -> Result<()> {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        while self.begun.elapsed() < DEADLINE {
            every.tick().await;
            let log = std::fs::read_to_string(&self.log)?;
            if log.get(self.log_before..).is_some_and(|log| log.contains(words)) {
                return Ok(());
            }
        }
        anyhow::bail!("the operator does not say: {words}; its log is {}", self.log.display())
    }

    /// Waits until the operator has listed everything and its processor time has then stood
    /// still for a second. Returns how long after its start it was last at work.
    pub async fn until_settled(&self) -> Result<Duration> {
        const STILL: Duration = Duration::from_secs(1);
        self.until_listed().await?;
        let mut every = tokio::time::interval(Duration::from_millis(20));
        let mut cpu = self.usage()?.cpu;
        let mut last_at_work = Instant::now();
        while self.begun.elapsed() < DEADLINE {
            every.tick().await;
            let now = self.usage()?.cpu;
            if now > cpu {
                cpu = now;
                last_at_work = Instant::now();
            } else if last_at_work.elapsed() >= STILL {
                return Ok(last_at_work - self.begun);
            }
        }
        anyhow::bail!("the operator does not come to rest; its log is {}", self.log.display())
    }

    /// What the kernel says that the operator has used.
    pub fn usage(&self) -> Result<Usage> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let kilobytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()
        };
        let fields = stat(self.pid).context("the operator has ended")?;
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok());
        // utime and stime, in proc(5)'s counting fields 14 and 15.
        let spent = ticks(11).zip(ticks(12)).context("/proc/PID/stat has no times")?;
        Ok(Usage {
            cpu: Duration::from_secs(1) * (spent.0 + spent.1) / ticks_a_second()?,
            resident: kilobytes("VmRSS").context("no VmRSS")?,
            peak: kilobytes("VmHWM").context("no VmHWM")?,
        })
    }

    /// Ends the operator at once, as a crash would.
    pub async fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        // The supervisor's end is the operator's, a moment later.
        let mut every = tokio::time::interval(Duration::from_millis(5));
        while stat(self.pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z")) {
            every.tick().await;
        }
        Ok(())
    }

    /// Tells the operator to end, and waits until it has.
    pub fn end(mut self) -> Result<()> {
        self.process.end()
    }
}

/// Removes the operators' log, where nothing went wrong.
pub fn forget_log() {
    let _ = std::fs::remove_file(std::env::temp_dir().join(format!("phasegate-bench-{}.log", std::process::id())));
}

/// The process of `program` that a supervisor of ours has started.
async fn child_of_our_child(program: &Path) -> Result<u32> {
    let program = program.canonicalize()?;
    let is_it = |pid: u32| {
        let grandparent = parent(pid).and_then(parent);
        grandparent == Some(std::process::id())
            && std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
    };
    let begun = Instant::now();
    let mut every = tokio::time::interval(Duration::from_millis(2));
    loop {
        every.tick().await;
        ensure!(begun.elapsed() < DEADLINE, "the operator was not started");
        let processes = std::fs::read_dir("/proc").context("the bench measures processes in Linux's /proc")?;
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        if let Some(pid) = pids.into_iter().find(|pid| is_it(*pid)) {
            return Ok(pid);
        }
    }
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// The fields of /proc/PID/stat behind the program's name, which may hold anything: from the state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn ticks_a_second() -> Result<u32> {
    static TICKS: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    if let Some(ticks) = TICKS.get() {
        return Ok(*ticks);
    }
    let said = Command::new("getconf").arg("CLK_TCK").output().context("getconf is missing")?;
    let ticks = String::from_utf8(said.stdout)?.trim().parse().context("getconf CLK_TCK is no number")?;
    Ok(*TICKS.get_or_init(|| ticks))
}
