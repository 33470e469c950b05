//! The transitions in a log of the operator (`--log-format json`).
//!
//! **Architecture invariant**: of a log, only its transitions are kept, and of a longer line nothing is. Any other
//! line is skipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use phasegate::api::{DesiredState, ObjectKey, Phase, Reason, State};
use phasegate::decide::Row;
use phasegate::decide::replay::{Asked, Recorded};
use phasegate::decide::requests::Requests;
use serde::Deserialize;

use super::Subject;
use crate::failure::{FAILED, Failure};

/// The most bytes of a line that are read. A transition has fewer.
const LONGEST: u64 = 1 << 20;

/// A line of the log about a transition. `docs/src/reference/log.md` describes its fields.
#[derive(Debug, Deserialize)]
struct Entry {
    gateway: String,
    uid: String,
    transition: i64,
    at: Timestamp,
    from: Option<Phase>,
    phase: Phase,
    state: State,
    reason: Reason,
    row: Option<String>,
    message: String,
    seconds: i64,
    attempt: Option<i64>,
    deadline: Option<f64>,
    paused: Option<i64>,
    asked: Option<DesiredState>,
    requests: Option<String>,
    generation: Option<i64>,
    retry: Option<String>,
    restart: Option<String>,
}

impl Entry {
    fn recorded(self) -> Recorded {
        let Self { generation, retry, restart, .. } = self;
        let requests = self.requests.unwrap_or_default();
        let has = |request: &str| requests.split(',').any(|found| found == request);
        let requests = Requests { start: has("start"), restart: has("restart") };
        let asked = self.asked.map(|state| Asked { state, requests, generation, retry, restart });
        Recorded {
            number: self.transition,
            at: self.at,
            from: self.from,
            to: self.phase,
            state: self.state,
            reason: self.reason,
            message: self.message,
            seconds: self.seconds,
            row: self.row.as_deref().and_then(Row::named),
            attempt: self.attempt,
            deadline: self.deadline.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            paused: self.paused,
            asked,
        }
    }
}

/// Which gateways of a log.
pub struct Wanted<'a> {
    /// The namespace, or any.
    pub namespace: Option<&'a str>,
    /// The name, or any.
    pub name: Option<&'a str>,
}

impl Wanted<'_> {
    fn has(&self, key: &ObjectKey) -> bool {
        self.namespace.is_none_or(|namespace| namespace == key.namespace)
            && self.name.is_none_or(|name| name == key.name)
    }
}

/// Reads the transitions of a file, or of stdin for `-`.
///
/// # Errors
/// The file cannot be read, or has none.
pub fn read(path: &Path, wanted: &Wanted<'_>) -> Result<Vec<Subject>, Failure> {
    let is_stdin = path == Path::new("-");
    let unreadable = |error: io::Error| {
        Failure::new(FAILED, format!("failed to read {}: {error}", path.display()), "Check the argument of --log.")
    };
    let input: Box<dyn Read> =
        if is_stdin { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(unreadable)?) };
    let subjects = subjects(&mut BufReader::new(input), wanted).map_err(unreadable)?;
    if subjects.is_empty() {
        return Err(Failure::new(
            FAILED,
            format!("no transition found: {}", if is_stdin { "stdin".to_owned() } else { path.display().to_string() }),
            "Pass the log of an operator that runs with --log-format json, and check NAME and -n.",
        ));
    }
    Ok(subjects)
}

/// The gateways of a log, in the order of their first transitions, each with its transitions in order.
fn subjects(input: &mut impl BufRead, wanted: &Wanted<'_>) -> io::Result<Vec<Subject>> {
    let mut subjects: Vec<Subject> = Vec::new();
    let mut line = Vec::new();
    while input.by_ref().take(LONGEST).read_until(b'\n', &mut line)? > 0 {
        let entry = serde_json::from_slice::<Entry>(&line).ok();
        line.clear();
        let Some((entry, key)) = entry.and_then(|entry| key_of(&entry).map(|key| (entry, key))) else { continue };
        if !wanted.has(&key) {
            continue;
        }
        let is_known = |subject: &&mut Subject| subject.uid.as_ref() == Some(&entry.uid) && subject.key == key;
        match subjects.iter_mut().find(is_known) {
            Some(subject) => subject.recorded.push(entry.recorded()),
            None => subjects.push(Subject { key, uid: Some(entry.uid.clone()), recorded: vec![entry.recorded()] }),
        }
    }
    for subject in &mut subjects {
        subject.recorded.sort_by_key(|recorded| recorded.number);
        // The logs of several replicas may have a line twice.
        subject.recorded.dedup();
    }
    Ok(subjects)
}

fn key_of(entry: &Entry) -> Option<ObjectKey> {
    entry.gateway.split_once('/').map(|(namespace, name)| ObjectKey::new(namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(gateway: &str, uid: &str, number: i64) -> String {
        let mut line = serde_json::json!({
            "timestamp": "2026-01-01T10:00:00Z", "level": "INFO", "gateway": gateway, "uid": uid, "transition": number,
            "at": "2026-01-01T10:00:00Z", "phase": "Starting", "state": "Running", "reason": "StartRequested",
            "row": "first-start", "message": "attempt 1 begins", "seconds": 0, "attempt": 1, "deadline": 1.5,
            "asked": "Running", "requests": "start,restart", "generation": 3,
        });
        line["from"] = if number > 1 { "Created".into() } else { serde_json::Value::Null };
        format!("{line}\n")
    }

    fn found(log: &str, wanted: &Wanted<'_>) -> Vec<(String, Option<String>, Vec<i64>)> {
        let subjects = subjects(&mut log.as_bytes(), wanted).unwrap();
        let numbers = |subject: &Subject| subject.recorded.iter().map(|recorded| recorded.number).collect();
        subjects.iter().map(|subject| (subject.key.to_string(), subject.uid.clone(), numbers(subject))).collect()
    }

    const ANY: Wanted<'static> = Wanted { namespace: None, name: None };

    #[test]
    fn transitions_are_found_among_other_lines_in_order_and_once() {
        let long = "a".repeat(3 << 20);
        let log = [
            line("a/shop", "1", 2),
            "2026-01-01T10:00:00Z INFO for people\n".to_owned(),
            line("a/shop", "1", 1),
            line("a/shop", "2", 1),
            format!("{long}\n"),
            r#"{"level":"INFO","message":"leading"}"#.to_owned() + "\n",
            line("b/shop", "3", 1),
            line("a/shop", "1", 2),
            line("a/other", "4", 1).trim_end().to_owned(),
        ]
        .concat();
        let of = |key: &str, uid: &str, numbers: &[i64]| (key.to_owned(), Some(uid.to_owned()), numbers.to_vec());
        let all =
            [of("a/shop", "1", &[1, 2]), of("a/shop", "2", &[1]), of("b/shop", "3", &[1]), of("a/other", "4", &[1])];
        assert_eq!(found(&log, &ANY), all);
        assert_eq!(found(&log, &Wanted { namespace: Some("a"), name: Some("shop") }), all[..2]);
        assert!(found("", &ANY).is_empty());
    }

    #[test]
    fn a_line_has_each_input_and_may_lack_those_that_are_not_known() {
        let subjects = subjects(&mut line("a/shop", "1", 1).as_bytes(), &ANY).unwrap();
        let recorded = &subjects[0].recorded[0];
        let requests = Requests { start: true, restart: true };
        let (state, generation) = (DesiredState::Running, Some(3));
        assert_eq!(recorded.asked, Some(Asked { state, requests, generation, retry: None, restart: None }));
        assert_eq!((recorded.row, recorded.deadline), (Some(Row::FirstStart), Some(Duration::from_millis(1500))));
        assert_eq!((&recorded.from, recorded.paused), (&None, None));
    }
}
