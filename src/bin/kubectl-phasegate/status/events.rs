//! Events about a gateway and its children, merged into few lines.

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use phasegate::api::ApiGateway;
use serde::Serialize;

/// The maximum number of Events shown.
const EVENTS: usize = 10;

/// Equal Events, as one line.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventLine {
    /// When it occurred last.
    pub last: Timestamp,
    /// How often it occurred.
    pub count: i32,
    /// Whether it is a warning.
    pub warning: bool,
    /// The object, as `Kind/name`.
    pub about: String,
    /// The reason, in one word.
    pub reason: String,
    /// The message, as a sentence.
    pub message: String,
}

/// Merges equal Events of the same object. The newest come last, and only the newest are kept.
pub fn of(gateway: &ApiGateway, all: &[Event]) -> Vec<EventLine> {
    let mut lines: Vec<EventLine> = Vec::new();
    for event in all {
        let about = &event.involved_object;
        // Events of an earlier gateway with this name are skipped.
        if about.kind.as_deref() == Some("ApiGateway") && about.uid.as_deref() != Some(gateway.uid()) {
            continue;
        }
        let line = line(event);
        let same = |other: &&mut EventLine| {
            (&other.about, &other.reason, &other.message) == (&line.about, &line.reason, &line.message)
        };
        match lines.iter_mut().find(same) {
            Some(same) => {
                same.count += line.count;
                same.last = same.last.max(line.last);
            }
            None => lines.push(line),
        }
    }
    lines.sort_by_key(|line| line.last);
    lines.split_off(lines.len().saturating_sub(EVENTS))
}

fn line(event: &Event) -> EventLine {
    let about = &event.involved_object;
    let series = event.series.as_ref();
    let last = series
        .and_then(|series| series.last_observed_time.as_ref().map(|at| at.0))
        .or(event.last_timestamp.as_ref().map(|at| at.0))
        .or(event.event_time.as_ref().map(|at| at.0))
        .or(event.metadata.creation_timestamp.as_ref().map(|at| at.0));
    EventLine {
        last: last.unwrap_or_default(),
        count: series.and_then(|series| series.count).or(event.count).unwrap_or(1).max(1),
        warning: event.type_.as_deref() == Some("Warning"),
        about: format!("{}/{}", about.kind.as_deref().unwrap_or("?"), about.name.as_deref().unwrap_or("?")),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
    }
}
