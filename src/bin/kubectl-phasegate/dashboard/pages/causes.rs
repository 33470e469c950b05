//! Causes and durations of the fleet, from the statuses that the API server holds.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{Frame, whole, words};
use crate::dashboard::entry::Entry;
use crate::dashboard::view::View;

/// The upper bounds of the histogram's classes, in seconds, with their titles.
const CLASSES: [(i64, &str); 8] = [
    (5, "under 5 s"),
    (15, "5–15 s"),
    (30, "15–30 s"),
    (60, "30–60 s"),
    (120, "1–2 min"),
    (300, "2–5 min"),
    (600, "5–10 min"),
    (i64::MAX, "10 min or more"),
];

/// What the page shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    starts: [usize; CLASSES.len()],
    /// Gateways by their current cause.
    now: BTreeMap<String, usize>,
    /// Last failed attempts, by reason.
    last: BTreeMap<String, usize>,
}

impl Content {
    /// The content for a fleet.
    pub fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut content = Self::default();
        for entry in entries {
            for seconds in &entry.starts {
                let class = CLASSES.iter().position(|(below, _)| seconds < below).unwrap_or(CLASSES.len() - 1);
                content.starts[class] += 1;
            }
            if let Some(cause) = &entry.row.cause {
                *content.now.entry(cause.reason.clone()).or_default() += 1;
            }
            if let Some((reason, _)) = &entry.last_failure {
                *content.last.entry(reason.clone()).or_default() += 1;
            }
        }
        content
    }
}

/// The page.
pub fn page(frame: &Frame, content: &Content) -> Markup {
    let starts: Vec<_> =
        CLASSES.iter().zip(content.starts).map(|((_, title), count)| ((*title).to_owned(), count, None)).collect();
    let counted = |counts: &BTreeMap<String, usize>| {
        let mut bars: Vec<_> = counts
            .iter()
            .map(|(reason, count)| {
                let view = View { reason: reason.clone(), ..View::default() };
                (reason.clone(), *count, Some(view.link()))
            })
            .collect();
        bars.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
        bars
    };
    let markup = html! {
        h1 { "Causes" }
        div #causes data-live {
            section {
                h2 { "Problems now, by cause" }
                (bars(&counted(&content.now), "bad", "No gateway has a problem."))
            }
            section {
                h2 { "Last failed attempts, by cause" }
                p.faint { "Of gateways that have not started since." }
                (bars(&counted(&content.last), "busy", "No failed attempt is recorded."))
            }
            section {
                h2 { "Durations of starts and restarts" }
                p.faint { "From the last 20 transitions of each gateway: " (content.starts.iter().sum::<usize>()) " starts." }
                (bars(&starts, "good", ""))
            }
        }
    };
    whole(frame, "Causes", Some(""), &markup)
}

/// Bars with a title, a count and perhaps a link.
fn bars(bars: &[(String, usize, Option<String>)], class: &str, none: &str) -> Markup {
    let most = bars.iter().map(|(_, count, _)| *count).max().unwrap_or_default().max(1);
    html! {
        @if bars.is_empty() { p.faint { (none) } }
        @else {
            table.bars {
                thead.visually-hidden { tr { th scope="col" { "Class" } th scope="col" { "Count" } th scope="col" { "Bar" } } }
                tbody { @for (title, count, link) in bars { tr {
                    th scope="row" { @if let Some(link) = link { a href=(link) { (words(title)) } } @else { (title) } }
                    td.count { (count) }
                    td.bar { svg width="100%" height="14" aria-hidden="true" {
                        rect.(class) x="0" y="0" height="14" rx="2" width=(format!("{:.1}%", 100.0 * *count as f64 / most as f64)) {}
                    } }
                } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use phasegate::api::Guarded;

    use super::super::tests::frame;
    use super::*;
    use crate::samples::{self, NOW};

    #[test]
    fn starts_and_causes_are_counted_and_linked() {
        let gateways = [samples::started(), samples::timed_out(), samples::failing()];
        let entries = gateways.map(|gateway| Entry::of(&Guarded::whole(gateway), NOW));
        let content = Content::of(entries.iter());
        assert_eq!(content.starts, [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!((content.now["ImagePullFailed"], content.last["ImagePullFailed"]), (2, 1));
        let page = page(&frame(), &content).into_string();
        assert!(page.contains("href=\"/?reason=ImagePullFailed\""), "{page}");
    }
}
