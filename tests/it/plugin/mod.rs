//! The real `kubectl phasegate` has the expected output, effects and exit codes.

mod batches;
mod changes;
mod connection;
mod fleet;
mod help;
#[cfg(target_os = "linux")]
mod hostile;
mod offline;
mod quick_start;
mod replay;
mod report;
mod states;

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::contract::generates;
use crate::harness::{self, DEADLINE, World, root};

/// The plugin without the test's own environment: no kubeconfig, no home, no variables.
pub fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-phasegate"));
    command.args(arguments).env_clear().env("HOME", "/nowhere").stdin(Stdio::null());
    command
}

/// The plugin as an administrator of a world's cluster, in the world's namespace.
fn plugin(world: &World, arguments: &[&str]) -> Command {
    let mut command = bare(arguments);
    command.env("KUBECONFIG", &world.cluster.kubeconfig).args(["-n", &world.namespace]);
    command
}

/// The exit code and output of a run.
#[derive(Debug)]
pub struct RouteVerdict {
    code: i32,
    pub stdout: String,
    stderr: String,
}

impl From<Output> for RouteVerdict {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl RouteVerdict {
    /// Asserts success, and returns stdout.
    pub fn ok(self) -> String {
        assert!(self.code == 0 && self.stderr.is_empty(), "{self:?}");
        self.stdout
    }

    /// Asserts this exit code and an empty stdout. Returns stderr, with its error and its hint.
    pub fn failed(self, code: i32) -> String {
        assert!(self.code == code && self.stdout.is_empty(), "{self:?}");
        let (error, hint) = self.stderr.split_once('\n').unwrap_or_else(|| panic!("no hint: {self:?}"));
        assert!(error.starts_with("error: ") && hint.starts_with("hint: "), "{self:?}");
        self.stderr
    }
}

impl RouteVerdict {
    /// Asserts that a replay differs. Returns stderr, with its error and its hint.
    pub fn different(self) -> String {
        assert!(self.code == 5 && !self.stdout.is_empty(), "{self:?}");
        self.stderr
    }
}

/// Runs the plugin without blocking the other tests.
pub async fn run(mut command: Command) -> RouteVerdict {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap().into()
}

/// Runs the plugin in a world until it exits.
pub async fn said(world: &World, arguments: &[&str]) -> RouteVerdict {
    run(plugin(world, arguments)).await
}

/// A plugin that is still running, and its lines as they are printed.
struct Running {
    child: Child,
    lines: UnboundedReceiver<String>,
    /// All lines so far.
    heard: Vec<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = unbounded_channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, lines, heard: Vec::new() }
    }

    /// Waits for a line with all these words, unless there was one already.
    async fn hears(&mut self, words: &[&str]) {
        if !self.heard.iter().any(|line| words.iter().all(|word| line.contains(word))) {
            self.until(words).await;
        }
    }

    /// Waits for the next line with all these words.
    async fn until(&mut self, words: &[&str]) -> String {
        let waited = tokio::time::timeout(DEADLINE, async {
            while let Some(line) = self.lines.recv().await {
                self.heard.push(line.clone());
                if words.iter().all(|word| line.contains(word)) {
                    return line;
                }
            }
            panic!("it ended without a line with {words:?}: {:?}", self.heard)
        });
        waited.await.unwrap_or_else(|_| panic!("no line with {words:?}: {:?}", self.heard))
    }

    /// Waits for the exit code.
    async fn ended(mut self) -> i32 {
        tokio::task::spawn_blocking(move || self.child.wait().unwrap().code().unwrap()).await.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// Asserts that a text equals the snapshot of this name. `make generate` rewrites the snapshots.
fn assert_snapshot(name: &str, text: &str) {
    let path = root().join("tests/it/plugin/snapshots").join(format!("{name}.txt"));
    if generates() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(kept == text, "{} does not have what was printed (make generate writes it anew):\n{text}", path.display());
}

/// Replaces the parts of a text that differ between runs with fixed words: the namespace, generated names, durations,
/// addresses of Services, and the blanks between columns, because their number depends on the other parts.
fn masked(world: &World, text: &str) -> String {
    text.replace(&world.namespace, "tenants").lines().map(masked_line).collect()
}

fn masked_line(line: &str) -> String {
    let text = line.trim_start_matches([' ', '├', '─', '└', '│']);
    let margin = &line[..line.len() - text.len()];
    let mut masked = String::new();
    for word in text.split(' ') {
        // Consecutive blanks split into empty words.
        if word.is_empty() {
            masked.truncate(masked.trim_end().len());
            masked.push_str("  ");
        } else {
            let bare = word.trim_end_matches([',', ';', '.', ':']);
            masked.push_str(&format!("{}{} ", masked_word(bare), &word[bare.len()..]));
        }
    }
    format!("{margin}{}\n", masked.trim_end())
}

fn masked_word(word: &str) -> String {
    let made = |part: &str, sizes: std::ops::RangeInclusive<usize>| {
        sizes.contains(&part.len()) && part.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c))
    };
    match word.rsplitn(3, '-').collect::<Vec<_>>().as_slice() {
        _ if is_duration(word) => "T".to_owned(),
        _ if is_address(word) => "IP".to_owned(),
        [pod, set, name] if made(pod, 5..=5) && made(set, 8..=10) => format!("{name}-SET-POD"),
        [set, name @ ..] if made(set, 8..=10) => {
            let name: Vec<&str> = name.iter().rev().copied().collect();
            format!("{}-SET", name.join("-"))
        }
        _ => word.to_owned(),
    }
}

/// Whether a word is an IPv4 address, with or without a port.
fn is_address(word: &str) -> bool {
    word.split_once(':').map_or(word, |(ip, _)| ip).parse::<std::net::Ipv4Addr>().is_ok()
}

/// Whether a word is a duration: numbers, each with a unit.
fn is_duration(word: &str) -> bool {
    let mut digits = false;
    let pairs = word.chars().all(|c| {
        let fits = c.is_ascii_digit() || (digits && matches!(c, 's' | 'm' | 'h' | 'd'));
        digits = c.is_ascii_digit();
        fits
    });
    !word.is_empty() && pairs && !digits
}

/// Writes a file with this content for one test.
pub fn file(name: &str, content: &str) -> PathBuf {
    harness::file("plugin", name, content).unwrap()
}
