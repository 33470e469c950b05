//! The numbers, as a table to read.

use std::time::Duration;

use crate::operator::Usage;
use crate::requests::Requests;

/// One burst, whoever started its gateways.
#[derive(Clone, Debug)]
pub struct Burst {
    /// From the first creation to the last gateway Started.
    pub took: Duration,
    /// For each gateway, from its creation to Started, in order.
    pub waits: Vec<Duration>,
    /// Gateways that were given up at their deadline.
    pub timed_out: usize,
}

/// What a burst cost the operator.
#[derive(Clone, Debug)]
pub struct Cost {
    /// What it asked of the API server.
    pub requests: Requests,
    /// Processor time, Events included.
    pub cpu: Duration,
    /// Before the burst, with no gateway.
    pub before: Usage,
    /// After it.
    pub after: Usage,
}

/// What happened to the fleet after the last burst.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// What all components asked in the quiet time.
    pub quiet: Requests,
    /// How long that was.
    pub quiet_for: Duration,
    /// What all components asked while the operator came back.
    pub restart: Requests,
    /// From its start until it had listed everything.
    pub listed: Duration,
    /// From its start until it was last at work.
    pub settled: Duration,
    /// What this cost.
    pub restarted: Usage,
    /// From the first write of `spec.state` to the last gateway Stopped.
    pub stop: Duration,
    /// The same for Started again.
    pub start_again: Duration,
    /// From the request to the last child gone.
    pub delete: Duration,
}

/// What became of the ancestor's gateways.
#[derive(Clone, Copy, Debug)]
pub struct Ancestor {
    /// How many gateways there were.
    pub gateways: usize,
    /// How many were Started within the deadline.
    pub started: usize,
    /// How long it took.
    pub took: Duration,
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Results {
    /// Gateways of a burst.
    pub gateways: usize,
    /// Of each pair, the raw client's burst, where it takes part, and the operator's.
    pub pairs: Vec<(Option<Burst>, Burst)>,
    /// What the operator's burst of each pair cost.
    pub costs: Vec<Cost>,
    /// What came after, where it was followed.
    pub fleet: Option<Fleet>,
    /// The third contestant.
    pub ancestor: Option<Ancestor>,
}

/// One burst of phasegate's, with one of its registries.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Until everything was Started in the cluster.
    pub burst: Burst,
    /// Until its documents said so as well, where there are any.
    pub told: Option<Told>,
    /// What it cost. The requests are the operator's own count.
    pub cost: Cost,
}

/// What became of the documents of a burst.
#[derive(Clone, Debug)]
pub struct Told {
    /// From the first insertion to the last document Started, or Active.
    pub took: Duration,
    /// Changes of gateways' and of environments' documents, insertions by the platform aside.
    pub writes: [usize; 2],
    /// What the operator asked of the registry.
    pub requests: Requests,
    /// From the request to the last document, gateway and child gone; where that was measured.
    pub delete: Option<Duration>,
}

/// A time in which nothing was asked for.
#[derive(Clone, Debug)]
pub struct Quiet {
    /// How long it was.
    pub lasted: Duration,
    /// What all components asked of the API server.
    pub all: Requests,
    /// Changes of gateways' and of environments' documents.
    pub changes: [usize; 2],
    /// What the operator asked of the registry.
    pub registry: Requests,
}

/// Everything that was measured of the registries.
#[derive(Debug)]
pub struct Registries {
    /// Gateways of a burst, each with one environment.
    pub gateways: usize,
    /// Of each pair, the burst with the Kubernetes registry and the one with MongoDB's.
    pub pairs: Vec<(Recorded, Recorded)>,
    /// The fleet with MongoDB's, left alone.
    pub quiet: Option<Quiet>,
}

/// The middle one; of an even number, the mean of the two in the middle.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len().is_multiple_of(2)) {
        (Some(upper), true) => (sorted.get(middle - 1).unwrap_or(upper) + upper) / 2.0,
        (Some(odd), false) => *odd,
        (None, _) => f64::NAN,
    }
}

impl Burst {
    /// The wait that so many percent of the gateways did not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let index = (self.waits.len() * percent).div_ceil(100).saturating_sub(1);
        self.waits.get(index).copied().unwrap_or_default()
    }

    /// One line about it.
    pub fn line(&self, who: &str) -> String {
        let seconds = self.took.as_secs_f64();
        format!(
            "{who:<10} {seconds:7.1} s  {:6.1} gateways/s   created → Started p50 {:5.1} s  p99 {:5.1} s   {} timed out",
            self.waits.len() as f64 / seconds,
            self.percentile(50).as_secs_f64(),
            self.percentile(99).as_secs_f64(),
            self.timed_out,
        )
    }
}

impl Results {
    fn each(&self, number: impl Fn(&Cost) -> f64) -> f64 {
        median(self.costs.iter().map(number))
    }

    fn per_gateway(&self, count: u64) -> f64 {
        count as f64 / self.gateways as f64
    }

    fn ratios(&self) -> Vec<f64> {
        let ratio = |(raw, operator): &(Option<Burst>, Burst)| {
            Some(operator.took.as_secs_f64() / raw.as_ref()?.took.as_secs_f64())
        };
        self.pairs.iter().filter_map(ratio).collect()
    }

    /// Prints the table.
    pub fn print(&self) {
        self.print_burst();
        if let Some(fleet) = &self.fleet {
            self.print_fleet(fleet);
        }
        if let Some(Ancestor { gateways, started, took }) = self.ancestor {
            println!("\nThe ancestor's loop, {gateways} gateways at once, the same pods and deadline");
            println!(
                "  {started} started, {} lost to the deadline, after {:.0} s",
                gateways - started,
                took.as_secs_f64()
            );
        }
        self.print_targets();
    }

    fn print_burst(&self) {
        println!("\nBurst of {} gateways", self.gateways);
        for (raw, operator) in &self.pairs {
            raw.iter().for_each(|raw| println!("  {}", raw.line("raw client")));
            println!("  {}", operator.line("phasegate"));
        }
        let ratios = self.ratios();
        if !ratios.is_empty() {
            println!(
                "  median: raw client {:.1} s, phasegate {:.1} s, ratio {:.3} (of each pair: {})",
                median(self.pairs.iter().filter_map(|(raw, _)| Some(raw.as_ref()?.took.as_secs_f64()))),
                median(self.pairs.iter().map(|(_, operator)| operator.took.as_secs_f64())),
                median(ratios.iter().copied()),
                ratios.iter().map(|ratio| format!("{ratio:.3}")).collect::<Vec<_>>().join(", "),
            );
        }
        println!("\nThe operator's cost per gateway");
        if let Some(cost) = self.costs.last() {
            for (target, count) in cost.requests.rows() {
                println!("  {target:<40} {:6.2}", self.per_gateway(count));
            }
        }
        println!("  {:<40} {:6.2} ms", "processor time", self.each(|cost| self.cpu_ms(cost)));
        println!("  {:<40} {:6.1} KB", "memory beyond that without gateways", self.each(|cost| self.memory_kb(cost)));
        let megabytes = |of: fn(&Cost) -> u64| self.each(|cost| of(cost) as f64 / 1024.0);
        println!(
            "  memory: {:.1} MB without gateways, {:.1} MB at most, {:.1} MB after the burst",
            megabytes(|cost| cost.before.resident),
            megabytes(|cost| cost.after.peak),
            megabytes(|cost| cost.after.resident),
        );
    }

    fn cpu_ms(&self, cost: &Cost) -> f64 {
        cost.cpu.as_secs_f64() * 1_000.0 / self.gateways as f64
    }

    fn memory_kb(&self, cost: &Cost) -> f64 {
        cost.after.peak.saturating_sub(cost.before.resident) as f64 / self.gateways as f64
    }

    fn print_fleet(&self, fleet: &Fleet) {
        let Fleet { quiet, quiet_for, restart, listed, settled, restarted, stop, start_again, delete } = fleet;
        println!("\nThe fleet of {} afterwards", self.gateways);
        println!("  {} s of quiet: {} writes, {} reads", quiet_for.as_secs(), quiet.writes(), quiet.reads());
        quiet.rows().for_each(|(target, count)| println!("    {target} {count}"));
        println!(
            "  killed and started again: listed after {:.2} s, at rest after {:.2} s, {:.2} s of processor time and {:.1} MB at most; {} writes",
            listed.as_secs_f64(),
            settled.as_secs_f64(),
            restarted.cpu.as_secs_f64(),
            restarted.peak as f64 / 1024.0,
            restart.writes()
        );
        restart.rows().for_each(|(target, count)| println!("    {target} {count}"));
        println!("  all stopped after       {:7.1} s", stop.as_secs_f64());
        println!("  all started again after {:7.1} s", start_again.as_secs_f64());
        println!("  all deleted after       {:7.1} s, children included", delete.as_secs_f64());
    }

    fn print_targets(&self) {
        println!("\n{:<58} {:>12} {:>12}", "Target", "wanted", "measured");
        if !self.ratios().is_empty() {
            let ratio = median(self.ratios());
            line("burst, times the raw client's", "<= 1.10", &format!("{ratio:.3}"), ratio <= 1.10);
        }
        let lost: usize = self.pairs.iter().map(|(_, operator)| operator.timed_out).sum();
        line("gateways that took the timeout", "0", &lost.to_string(), lost == 0);
        let writes = self.each(|cost| self.per_gateway(cost.requests.writes()));
        line("writes per gateway, the Event included", "6", &format!("{writes:.2}"), writes <= 6.0);
        let reads = self.each(|cost| self.per_gateway(cost.requests.reads()));
        line("reads per gateway", "0", &format!("{reads:.2}"), reads == 0.0);
        let cpu = self.each(|cost| self.cpu_ms(cost));
        line("processor time per gateway, ms", "<= 6", &format!("{cpu:.2}"), cpu <= 6.0);
        let allowed = 25.0 + 20.0 * self.gateways as f64 / 1024.0;
        let peak = self.each(|cost| cost.after.peak as f64 / 1024.0);
        line(
            "peak memory, MB: 25 and 20 KB a gateway",
            &format!("<= {allowed:.1}"),
            &format!("{peak:.1}"),
            peak <= allowed,
        );
        let Some(fleet) = &self.fleet else { return };
        let quiet = fleet.quiet.writes();
        line("writes while quiet", "0", &quiet.to_string(), quiet == 0);
        let restart = fleet.restart.writes();
        line("writes at a restart", "0", &restart.to_string(), restart == 0);
        let settled = fleet.settled.as_secs_f64();
        line("seconds to settle at a restart", "<= 10", &format!("{settled:.2}"), settled <= 10.0);
    }
}

impl Recorded {
    /// Until all was said that is to be said.
    pub fn took(&self) -> Duration {
        self.told.as_ref().map_or(self.burst.took, |told| told.took.max(self.burst.took))
    }

    /// One line about it.
    pub fn line(&self) -> String {
        match &self.told {
            None => self.burst.line("kubernetes"),
            Some(_) => {
                format!("{}   documents {:.1} s", self.burst.line("mongodb"), self.took().as_secs_f64())
            }
        }
    }
}

impl Registries {
    fn ratios(&self) -> Vec<f64> {
        self.pairs.iter().map(|(one, other)| other.took().as_secs_f64() / one.took().as_secs_f64()).collect()
    }

    /// The median over the bursts with each registry.
    fn each(&self, number: impl Fn(&Recorded) -> f64) -> [f64; 2] {
        [median(self.pairs.iter().map(|pair| number(&pair.0))), median(self.pairs.iter().map(|pair| number(&pair.1)))]
    }

    fn per_gateway(&self, count: u64) -> f64 {
        count as f64 / self.gateways as f64
    }

    /// Prints the tables.
    pub fn print(&self) {
        println!("\nBurst of {} gateways with one environment each, by registry", self.gateways);
        println!("(the MongoDB wire server, in Java, shares the processors with the control plane and the operator)");
        for ((kubernetes, mongodb), ratio) in self.pairs.iter().zip(self.ratios()) {
            println!("  {}", kubernetes.line());
            println!("  {}   ratio {ratio:.3}", mongodb.line());
        }
        let [kubernetes, mongodb] = self.each(|recorded| recorded.took().as_secs_f64());
        println!(
            "  median: kubernetes {kubernetes:.1} s, mongodb {mongodb:.1} s, ratio {:.3} (of each pair: {})",
            median(self.ratios()),
            self.ratios().iter().map(|ratio| format!("{ratio:.3}")).collect::<Vec<_>>().join(", "),
        );
        self.print_costs();
        if let Some(quiet) = &self.quiet {
            let [gateways, environments] = quiet.changes;
            println!("\n{} s of quiet, with MongoDB", quiet.lasted.as_secs());
            println!("  API server: {} writes, {} reads of all components", quiet.all.writes(), quiet.all.reads());
            quiet.all.rows().for_each(|(target, count)| println!("    {target} {count}"));
            println!("  documents changed: {gateways} of ApiGateway, {environments} of Environment");
            println!(
                "  requests of the operator to the registry: {}",
                quiet.registry.writes() + quiet.registry.reads()
            );
            quiet.registry.rows().for_each(|(target, count)| println!("    {target} {count}"));
        }
        self.print_targets();
    }

    fn print_costs(&self) {
        println!("\n{:<42} {:>10} {:>10}", "The operator's cost per gateway", "kubernetes", "mongodb");
        let row = |what: &str, [kubernetes, mongodb]: [f64; 2], unit: &str| {
            println!("{}", format!("  {what:<40} {kubernetes:10.2} {mongodb:10.2} {unit}").trim_end());
        };
        let mut targets: Vec<String> = self
            .pairs
            .iter()
            .flat_map(|(one, other)| one.cost.requests.rows().chain(other.cost.requests.rows()))
            .map(|(target, _)| target)
            .collect();
        targets.sort();
        targets.dedup();
        for target in targets {
            row(&target, self.each(|recorded| self.per_gateway(recorded.cost.requests.of(&target))), "");
        }
        row("all writes", self.each(|recorded| self.per_gateway(recorded.cost.requests.writes())), "");
        row("all reads", self.each(|recorded| self.per_gateway(recorded.cost.requests.reads())), "");
        for (index, collection) in ["ApiGateway", "Environment"].into_iter().enumerate() {
            let changes = |recorded: &Recorded| {
                let told = recorded.told.as_ref().and_then(|told| told.writes.get(index));
                told.map_or(0.0, |count| *count as f64 / self.gateways as f64)
            };
            row(&format!("document of {collection} changed"), self.each(changes), "");
        }
        let ms = |recorded: &Recorded| recorded.cost.cpu.as_secs_f64() * 1_000.0 / self.gateways as f64;
        row("processor time", self.each(ms), "ms");
        let megabytes = |kilobytes: u64| kilobytes as f64 / 1024.0;
        row("memory without gateways, of all", self.each(|recorded| megabytes(recorded.cost.before.resident)), "MB");
        row("memory at most, of all", self.each(|recorded| megabytes(recorded.cost.after.peak)), "MB");
        let Some(told) = self.pairs.last().and_then(|(_, mongodb)| mongodb.told.as_ref()) else { return };
        println!("Requests to the registry per gateway, last burst");
        for (operation, count) in told.requests.rows() {
            println!("  {operation:<40} {:21.2}", self.per_gateway(count));
        }
        let deleted: Vec<f64> =
            self.pairs.iter().filter_map(|(_, mongodb)| Some(mongodb.told.as_ref()?.delete?.as_secs_f64())).collect();
        if !deleted.is_empty() {
            println!("All deleted by their documents after {:.1} s, children included", median(deleted));
        }
    }

    fn print_targets(&self) {
        println!("\n{:<58} {:>12} {:>12}", "Target", "wanted", "measured");
        let ratio = median(self.ratios());
        line("burst with MongoDB, times Kubernetes alone", "<= 1.30", &format!("{ratio:.3}"), ratio <= 1.30);
        let lost: usize = self.pairs.iter().map(|(one, other)| one.burst.timed_out + other.burst.timed_out).sum();
        line("gateways that took the timeout", "0", &lost.to_string(), lost == 0);
        let Some(quiet) = &self.quiet else { return };
        let writes = quiet.all.writes();
        line("writes to the API server while quiet", "0", &writes.to_string(), writes == 0);
        let changes: usize = quiet.changes.iter().sum();
        line("changes of documents while quiet", "0", &changes.to_string(), changes == 0);
        let asked = quiet.registry.writes() + quiet.registry.reads();
        line("requests to the registry while quiet", "0", &asked.to_string(), asked == 0);
    }
}

fn line(what: &str, wanted: &str, measured: &str, holds: bool) {
    println!("{what:<58} {wanted:>12} {measured:>12}  {}", if holds { "holds" } else { "MISSED" });
}
