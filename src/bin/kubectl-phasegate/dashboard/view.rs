//! Which gateways the fleet page shows: the state of the page, as its URL has it.
//!
//! **Architecture invariant**: a view is a function of the query, and its query is a function of the view, so that a
//! link shows others the same page.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::entry::Entry;

/// The number of rows of a page.
pub const ROWS: usize = 100;

/// What the fleet page shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Words that the name, namespace, host, image or cause contains.
    pub search: String,
    /// A namespace.
    pub namespace: String,
    /// A label selector.
    pub labels: String,
    /// A reason, of the condition Ready or of the cause.
    pub reason: String,
    /// A phase.
    pub phase: String,
    /// A group.
    pub group: String,
    /// The column that determines the order.
    pub sort: Sort,
    /// The page, from 0.
    pub page: usize,
}

/// The order of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// What needs somebody comes first.
    #[default]
    Urgency,
    /// By name.
    Name,
    /// By phase.
    Phase,
    /// By reason.
    Reason,
    /// The youngest first.
    Age,
}

impl Sort {
    /// All orders.
    pub const ALL: [Self; 5] = [Self::Urgency, Self::Name, Self::Phase, Self::Reason, Self::Age];

    /// The order in a URL.
    pub fn word(self) -> &'static str {
        match self {
            Self::Urgency => "urgency",
            Self::Name => "name",
            Self::Phase => "phase",
            Self::Reason => "reason",
            Self::Age => "age",
        }
    }

    fn compare(self, one: &Entry, other: &Entry) -> Ordering {
        let (a, b) = (&one.row, &other.row);
        let order = match self {
            Self::Urgency => (one.group(), a.urgency()).cmp(&(other.group(), b.urgency())),
            Self::Name => a.name.cmp(&b.name),
            Self::Phase => a.phase.cmp(&b.phase),
            Self::Reason => a.reason.cmp(&b.reason),
            Self::Age => b.created.cmp(&a.created),
        };
        order.then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
    }
}

impl View {
    /// The view of a query. Unknown fields and values are ignored.
    pub fn of(query: &str) -> Self {
        let mut view = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.trim().to_owned();
            match &*name {
                "q" => view.search = value,
                "namespace" => view.namespace = value,
                "labels" => view.labels = value,
                "reason" => view.reason = value,
                "phase" => view.phase = value,
                "group" => view.group = value,
                "sort" => view.sort = Sort::ALL.into_iter().find(|sort| sort.word() == value).unwrap_or_default(),
                // The URL counts from 1.
                "page" => view.page = value.parse::<usize>().unwrap_or(1).saturating_sub(1),
                _ => {}
            }
        }
        view
    }

    /// The link to this view.
    pub fn link(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("q", &self.search),
            ("namespace", &self.namespace),
            ("labels", &self.labels),
            ("reason", &self.reason),
            ("phase", &self.phase),
            ("group", &self.group),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if self.sort != Sort::default() {
            query.append_pair("sort", self.sort.word());
        }
        if self.page > 0 {
            query.append_pair("page", &(self.page + 1).to_string());
        }
        let query = query.finish();
        if query.is_empty() { "/".to_owned() } else { format!("/?{query}") }
    }

    /// Whether it hides any gateway.
    pub fn filters(&self) -> bool {
        let all = [&self.search, &self.namespace, &self.labels, &self.reason, &self.phase, &self.group];
        all.iter().any(|filter| !filter.is_empty())
    }

    /// Whether it shows a gateway.
    pub fn shows(&self, entry: &Entry) -> bool {
        let row = &entry.row;
        let is = |filter: &str, value: &str| filter.is_empty() || filter == value;
        let cause = row.cause.as_ref();
        is(&self.namespace, &row.namespace)
            && is(&self.phase, &row.phase)
            && is(&self.group, entry.group().word())
            && (is(&self.reason, &row.reason) || cause.is_some_and(|cause| cause.reason == self.reason))
            && selects(&self.labels, &entry.labels)
            && self.found_in(entry)
    }

    fn found_in(&self, entry: &Entry) -> bool {
        let row = &entry.row;
        let message = row.cause.as_ref().map(|cause| cause.message.as_str());
        let host = row.host.as_deref();
        let texts = [&row.name, &row.namespace, &row.image, &row.reason].map(String::as_str);
        let texts: Vec<String> = texts.into_iter().chain(message).chain(host).map(str::to_lowercase).collect();
        let search = self.search.to_lowercase();
        search.split_whitespace().all(|word| texts.iter().any(|text| text.contains(word)))
    }

    /// The gateways of the view in its order, and of them those of its page.
    pub fn page_of<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> (Vec<&'a Entry>, usize) {
        let mut shown: Vec<&Entry> = entries.filter(|entry| self.shows(entry)).collect();
        shown.sort_by(|one, other| self.sort.compare(one, other));
        let all = shown.len();
        (shown.into_iter().skip(self.page.saturating_mul(ROWS)).take(ROWS).collect(), all)
    }
}

/// Whether a label selector (`a=b`, `a!=b`, `a`, `!a`, comma-separated) selects labels.
fn selects(selector: &str, labels: &BTreeMap<String, String>) -> bool {
    let terms = selector.split(',').map(str::trim).filter(|term| !term.is_empty());
    terms.into_iter().all(|term| {
        let value = |key: &str| labels.get(key.trim()).map(String::as_str);
        if let Some((key, wanted)) = term.split_once("!=") {
            value(key) != Some(wanted.trim())
        } else if let Some((key, wanted)) = term.split_once('=') {
            value(key) == Some(wanted.trim_start_matches('=').trim())
        } else if let Some(key) = term.strip_prefix('!') {
            value(key).is_none()
        } else {
            value(term).is_some()
        }
    })
}

#[cfg(test)]
mod tests {
    use phasegate::api::{ApiGateway, Guarded};

    use super::*;
    use crate::samples::{self, NOW};

    fn entry(name: &str, mut gateway: ApiGateway) -> Entry {
        gateway.metadata.name = Some(name.to_owned());
        gateway.metadata.labels = Some([("tier".to_owned(), "prod".to_owned())].into());
        Entry::of(&Guarded::whole(gateway), NOW)
    }

    #[test]
    fn a_view_and_its_link_are_the_same() {
        for link in ["/", "/?q=a+b%26&sort=name&page=3", "/?namespace=n&labels=a%3Db&reason=R&phase=P&group=ready"] {
            assert_eq!(View::of(link.trim_start_matches("/?")).link(), link);
        }
        assert_eq!(View::of("page=0&sort=x&evil=1"), View::default());
        assert_eq!(View::of("page=99999999999999999999").page, 0);
    }

    #[test]
    fn what_needs_somebody_comes_first_and_filters_combine() {
        let fleet = [
            entry("a", samples::started()),
            entry("b", samples::starting()),
            entry("c", samples::timed_out()),
            entry("d", samples::failing()),
        ];
        let names = |query: &str| {
            let (shown, _) = View::of(query).page_of(fleet.iter());
            shown.into_iter().map(|entry| entry.row.name.as_str()).collect::<String>()
        };
        for (query, expected) in [
            ("", "cdba"),
            ("sort=name", "abcd"),
            ("group=attention", "cd"),
            ("group=attention&phase=Starting", "d"),
            ("reason=ImagePullFailed", "cd"),
            ("reason=StartDeadlineExceeded", "c"),
            ("q=PULLED+c", "cd"),
            ("q=nothing", ""),
            ("labels=tier%3Dprod", "cdba"),
            ("labels=tier%21%3Dprod", ""),
            ("labels=tier,%21team", "cdba"),
            ("namespace=others", ""),
            ("page=2", ""),
        ] {
            assert_eq!(names(query), expected, "{query}");
        }
    }
}
