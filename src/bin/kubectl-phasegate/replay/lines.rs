//! The decisions as a table.

use k8s_openapi::jiff::Timestamp;
use phasegate::api::Phase;
use phasegate::decide::human;
use phasegate::decide::replay::{Asked, Recorded, Replayed, Verdict};

use super::{Held, Subject};
use crate::output::{self, Line, Piece, Style, piece, plain};
use crate::times;

const TITLES: [&str; 11] =
    ["#", "AGO", "FROM", "LASTED", "ATTEMPT", "REQUEST", "REASON", "BECAME", "THIS VERSION", "ROW", "NOT RECORDED"];

/// What stands for an input that is not recorded, or does not exist.
const NOTHING: &str = "-";

/// A row for each decision.
pub fn table(replayed: &[Replayed<'_>], now: Timestamp) -> Vec<Line> {
    let rows: Vec<_> = replayed.iter().map(|replayed| row(replayed, now)).collect();
    output::table(&TITLES, &rows)
}

/// The line above the table of one of several gateways.
pub fn title(subject: &Subject) -> Line {
    let uid = subject.uid.as_ref().map_or_else(String::new, |uid| format!(" (uid {uid})"));
    Line(vec![piece(format!("ApiGateway {}{uid}", subject.key), Style::Title)])
}

/// What held at a moment.
pub fn held(held: &Held) -> Line {
    let attempt = held.attempt.map_or_else(String::new, |number| format!(", attempt {number}"));
    let lasted = times::seconds(held.seconds);
    let Held { at, phase, state, .. } = held;
    Line(vec![plain(format!("At {at}: phase {phase}, state {state}{attempt}, for {lasted}. The last decision:"))])
}

fn row(replayed: &Replayed<'_>, now: Timestamp) -> Vec<Piece> {
    let recorded = replayed.recorded;
    let (verdict, style) = match &replayed.verdict {
        Verdict::Same => ("the same".to_owned(), Style::Good),
        Verdict::Different(why) => (why.clone(), Style::Bad),
        Verdict::Undecidable => ("cannot decide a value of another version".to_owned(), Style::Busy),
    };
    vec![
        plain(recorded.number.to_string()),
        plain(times::age(times::since(recorded.at, now))),
        plain(recorded.from.as_ref().map_or(NOTHING, Phase::as_str)),
        plain(lasted(recorded)),
        plain(recorded.attempt.map_or_else(|| NOTHING.to_owned(), |number| number.to_string())),
        plain(recorded.asked.as_ref().map_or_else(|| NOTHING.to_owned(), request)),
        plain(recorded.reason.to_string()),
        plain(format!("{}, {}", recorded.to, recorded.state)),
        piece(verdict, style),
        plain(replayed.row.map_or(NOTHING, |row| row.name())),
        piece(replayed.assumed.join("; "), Style::Faint),
    ]
}

/// The time in the phase before, and the deadline.
fn lasted(recorded: &Recorded) -> String {
    let lasted = times::seconds(recorded.seconds);
    let paused = recorded.paused.filter(|seconds| *seconds > 0);
    let paused = paused.map_or_else(String::new, |seconds| format!(", paused {}", times::seconds(seconds)));
    match recorded.deadline.filter(|_| recorded.from == Some(Phase::Starting)) {
        Some(deadline) => format!("{lasted} of {}{paused}", human(deadline)),
        None => lasted,
    }
}

/// `spec.state`, and the requests with their tokens.
fn request(asked: &Asked) -> String {
    let token = |kind: &str, token: &Option<String>| match token {
        Some(token) => format!(", {kind} ({token})"),
        None => format!(", {kind}"),
    };
    let mut words = asked.state.to_string();
    if asked.requests.start {
        words += &token("start", &asked.retry);
    }
    if asked.requests.restart {
        words += &token("restart", &asked.restart);
    }
    words
}
