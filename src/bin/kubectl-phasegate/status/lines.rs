//! The text form of a report.
//!
//! **Architecture invariant**: this module reads nothing but the report and the moment.

use k8s_openapi::jiff::Timestamp;
use phasegate::api::{Phase, Reason, StoredChange};
use phasegate::decide::Place;

use super::attempt::Try;
use super::children::Node;
use super::events::EventLine;
use super::report::{ConditionLine, EnvironmentLine, Report};
use crate::output::{Line, Piece, Style, Table, piece, plain};
use crate::times;

/// The maximum number of phases shown. `history` shows all.
const PHASES: usize = 8;

/// The lines.
pub fn of(report: &Report, now: Timestamp) -> Vec<Line> {
    let mut lines = vec![Line(vec![
        piece(format!("ApiGateway {}/{}", report.namespace, report.name), Style::Title),
        plain("  "),
        verdict(report),
    ])];
    lines.extend(facts(report));
    lines.extend(phases(report));
    lines.extend(section("Children", &children(report)));
    lines.extend(section("Stored differently", &changed(report)));
    lines.extend(section("Environments", &environments(report)));
    lines.extend(section("Conditions", &conditions(report, now)));
    lines.extend(section("Events", &events(report, now)));
    let unreadable: Vec<_> = report.unreadable.iter().map(|why| vec![piece(why, Style::Bad)]).collect();
    lines.extend(section("Not shown", &unreadable));
    lines
}

fn verdict(report: &Report) -> Piece {
    match (report.ready, &report.cause) {
        (true, None) => piece(format!("✔ {}", report.reason), Style::Good),
        // The gateway is in its desired state and does not serve.
        (true, Some(cause)) if cause.reason == Reason::ScaledToZero.as_str() => {
            piece(format!("◌ {}", cause.reason), Style::Busy)
        }
        (_, Some(cause)) => piece(format!("✖ {}", cause.reason), Style::Bad),
        (false, None) if report.reason.is_empty() => piece("◌ not reconciled yet", Style::Busy),
        (false, None) => piece(format!("◌ {}", report.reason), Style::Busy),
    }
}

fn facts(report: &Report) -> Vec<Line> {
    let mut rows = Vec::new();
    let mut row = |title: &str, text: Piece| rows.push(vec![piece(title, Style::Faint), text]);
    if let Some(cause) = &report.cause {
        row("Cause", piece(&cause.message, Style::Bad));
        if let Some(hint) = &cause.hint {
            row("Hint", plain(hint));
        }
    }
    if let Some(what) = &report.waits_for {
        row("Not ready", piece(what, Style::Busy));
    }
    if let Some(failure) = &report.last_failure {
        let words = format!("attempt {} failed: {}: {}", failure.attempt, failure.reason, failure.message);
        row("Before", piece(words, Style::Faint));
    }
    if report.outdated {
        row("Note", piece("the latest spec is not reconciled yet", Style::Busy));
    }
    let mut words = format!("{}; spec.state: {}", report.phase.as_deref().unwrap_or("-"), report.asked);
    // A restart is requested once, and the state lasts as long as the restart.
    let held_to = report.state.as_deref().filter(|state| *state != report.asked);
    if let Some(held_to) = held_to {
        words.push_str(&format!(", status.state: {held_to}"));
    }
    if report.suspended {
        words.push_str("; suspended");
    }
    row("Phase", plain(words));
    if let Some(attempt) = &report.attempt {
        row("Attempt", tried(attempt));
    }
    row("Image", plain(&report.image));
    if let Some(url) = &report.url {
        row("URL", plain(url));
    }
    columns("", &rows)
}

fn tried(attempt: &Try) -> Piece {
    let number = attempt.number;
    let seconds = |seconds: u64| times::seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
    let limit = seconds(attempt.deadline_seconds);
    let whose = if attempt.deadline_is_default { " (operator default)" } else { "" };
    let more = match attempt.retries_left {
        0 => String::new(),
        left => format!("; {left} automatic retries left"),
    };
    if !attempt.running {
        return plain(format!("{number}{more}"));
    }
    let held = if attempt.held { ", deadline paused" } else { "" };
    let style = if attempt.left_seconds == 0 { Style::Bad } else { Style::Busy };
    piece(format!("{number}, {} left of {limit}{whose}{held}{more}", seconds(attempt.left_seconds)), style)
}

fn phases(report: &Report) -> Vec<Line> {
    let hidden = report.phases.len().saturating_sub(PHASES);
    let shown = report.phases.get(hidden..).unwrap_or_default();
    let rows: Vec<_> = shown
        .iter()
        .map(|step| {
            let lasted = times::seconds(step.seconds);
            let state = match step.place().filter(|place| place.state() == Some(step.state)) {
                // The phase implies the state.
                Some(Place::Created | Place::Starting | Place::Started | Place::Stopping | Place::Stopped) => {
                    String::new()
                }
                _ => format!(" ({})", step.state),
            };
            vec![
                piece(format!("{}{state}", step.phase), step.style()),
                plain(if step.current { format!("{lasted} so far") } else { lasted }),
                plain(&step.reason),
            ]
        })
        .collect();
    let mut lines = section("Phases", &rows);
    let earlier = report.earlier + i64::try_from(hidden).unwrap_or_default();
    if earlier > 0 && !lines.is_empty() {
        let words = format!("  {earlier} earlier: kubectl phasegate history {} -n {}", report.name, report.namespace);
        lines.insert(2, Line(vec![piece(words, Style::Faint)]));
    }
    lines
}

/// A gateway that is stopped says that nothing of it is left.
fn children(report: &Report) -> Vec<Vec<Piece>> {
    if report.children.is_empty() && report.phase.as_deref() == Some(Phase::Stopped.as_str()) {
        return vec![vec![piece("none, since the gateway is stopped", Style::Faint)]];
    }
    tree(&report.children)
}

/// The rows of a tree. The first cell shows the ownership.
fn tree(nodes: &[Node]) -> Vec<Vec<Piece>> {
    let mut rows = Vec::new();
    for node in nodes {
        branch(node, "", "", &mut rows);
    }
    rows
}

fn branch(node: &Node, stem: &str, below: &str, rows: &mut Vec<Vec<Piece>>) {
    let mut row = vec![plain(format!("{stem}{} {}", node.kind, node.name)), piece(&node.state, node.style)];
    row.extend(node.cause.as_ref().map(|cause| piece(cause, Style::Bad)));
    rows.push(row);
    for (number, child) in node.children.iter().enumerate() {
        let last = number + 1 == node.children.len();
        let (stem, rest) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        branch(child, &format!("{below}{stem}"), &format!("{below}{rest}"), rows);
    }
}

fn changed(report: &Report) -> Vec<Vec<Piece>> {
    let row = |change: &StoredChange| {
        let values = format!("requested {}, stored {}", change.asked, change.stored);
        vec![plain(&change.child), plain(&change.path), plain(values)]
    };
    report.changed.iter().map(row).collect()
}

fn environments(report: &Report) -> Vec<Vec<Piece>> {
    let row = |environment: &EnvironmentLine| {
        let (state, style) = if environment.active { ("Active", Style::Good) } else { ("Inactive", Style::Plain) };
        let mut row =
            vec![plain(&environment.name), piece(state, style), plain(environment.host.as_deref().unwrap_or("-"))];
        row.extend(environment.cause.as_ref().map(plain));
        row
    };
    report.environments.iter().map(row).collect()
}

fn conditions(report: &Report, now: Timestamp) -> Vec<Vec<Piece>> {
    let row = |condition: &ConditionLine| {
        vec![
            plain(&condition.type_),
            plain(&condition.status),
            plain(&condition.reason),
            plain(format!("for {}", times::age(times::since(condition.since, now)))),
        ]
    };
    report.conditions.iter().map(row).collect()
}

fn events(report: &Report, now: Timestamp) -> Vec<Vec<Piece>> {
    let row = |event: &EventLine| {
        let style = if event.warning { Style::Bad } else { Style::Plain };
        let times = if event.count > 1 { format!(" (x{})", event.count) } else { String::new() };
        vec![
            plain(format!("{} ago{times}", times::age(times::since(event.last, now)))),
            piece(&event.reason, style),
            plain(&event.about),
            plain(&event.message),
        ]
    };
    report.events.iter().map(row).collect()
}

/// A title and its rows. Without rows there is no title.
fn section(title: &str, rows: &[Vec<Piece>]) -> Vec<Line> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::default(), Line(vec![piece(title, Style::Title)])];
    lines.extend(columns("  ", rows));
    lines
}

fn columns(margin: &str, rows: &[Vec<Piece>]) -> Vec<Line> {
    let mut table = Table::default();
    table.fit(rows);
    let line = |row: &Vec<Piece>| {
        let Line(mut pieces) = table.line(row);
        pieces.insert(0, plain(margin));
        Line(pieces)
    };
    rows.iter().map(line).collect()
}
