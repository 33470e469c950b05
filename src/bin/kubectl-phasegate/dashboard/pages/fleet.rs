//! The fleet.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use maud::{Markup, html};
use phasegate::api::ObjectKey;

use super::{Frame, age, badge, link, pager, whole, words};
use crate::change::Verb;
use crate::dashboard::access::Denial;
use crate::dashboard::entry::{Entry, Group};
use crate::dashboard::view::{ROWS, Sort, View};
use crate::output::Style;

/// What the page shows.
#[derive(Debug)]
pub struct Content {
    view: View,
    /// The number of gateways of the view.
    shown: usize,
    /// The number of all gateways.
    all: usize,
    /// The number of gateways in each group.
    groups: [usize; 3],
    /// The rows of the page.
    pub rows: Vec<Entry>,
    namespaces: BTreeSet<String>,
    phases: BTreeSet<String>,
    reasons: BTreeSet<String>,
}

impl Content {
    /// The content of a view.
    pub fn of(entries: &BTreeMap<ObjectKey, Entry>, view: View) -> Self {
        let (page, shown) = view.page_of(entries.values());
        let rows = page.into_iter().cloned().collect();
        let mut content = Self {
            shown,
            all: entries.len(),
            groups: [0; 3],
            rows,
            namespaces: BTreeSet::new(),
            phases: BTreeSet::new(),
            reasons: BTreeSet::new(),
            view,
        };
        let keep = |set: &mut BTreeSet<String>, text: &str| {
            if !text.is_empty() && !set.contains(text) {
                set.insert(text.to_owned());
            }
        };
        for entry in entries.values() {
            content.groups[entry.group() as usize] += 1;
            keep(&mut content.namespaces, &entry.row.namespace);
            keep(&mut content.phases, &entry.row.phase);
            keep(&mut content.reasons, &entry.row.reason);
            if let Some(cause) = &entry.row.cause {
                keep(&mut content.reasons, &cause.reason);
            }
        }
        content
    }
}

/// The page.
pub fn page(frame: &Frame, content: &Content, denials: &BTreeMap<String, Denial>, now: Timestamp) -> Markup {
    let acts = !frame.read_only;
    let markup = html! {
        h1.visually-hidden { "Fleet" }
        (groups(content))
        (filters(content))
        form #fleet method="post" action="/confirm" {
            input type="hidden" name="form-token" value=(frame.form_token);
            @if acts { (toolbar(denials)) }
            div #rows data-live {
                @if content.rows.is_empty() {
                    p.empty {
                        @if content.view.filters() { "No gateway matches these filters. " a href="/" { "Show all" } }
                        @else { "No ApiGateways in " (words(&frame.place)) "." }
                    }
                } @else {
                    table.fleet {
                        caption.visually-hidden { "Gateways" }
                        (titles(&content.view, acts))
                        tbody { @for entry in &content.rows { (row(entry, acts, denials, now)) } }
                    }
                }
            }
        }
        div #pager data-live {
            (pager(content.view.page, ROWS, content.shown, |page| View { page, ..content.view.clone() }.link()))
        }
    };
    whole(frame, "Fleet", Some(""), &markup)
}

fn groups(content: &Content) -> Markup {
    let chosen = |group: &str| (content.view.group == group).then_some("true");
    let to = |group: &str| View { group: group.to_owned(), page: 0, ..content.view.clone() }.link();
    html! {
        nav #groups.groups data-live aria-label="Groups" {
            a.group href=(to("")) aria-current=[chosen("")] { strong { (content.all) } span { "Gateways" } }
            @for (group, count) in Group::ALL.into_iter().zip(content.groups) {
                @let style = match group { Group::Attention if count > 0 => "bad", Group::Progress if count > 0 => "busy", Group::Ready => "good", _ => "plain" };
                a.group.(style) href=(to(group.word())) aria-current=[chosen(group.word())] {
                    strong { (count) }
                    span { (group.title()) }
                }
            }
        }
    }
}

fn filters(content: &Content) -> Markup {
    let view = &content.view;
    let choice = |name: &str, title: &str, chosen: &str, all: &BTreeSet<String>| {
        html! {
            label { span { (title) }
                select name=(name) {
                    option value="" { "all" }
                    @for one in all { option value=(words(one)) selected[one == chosen] { (words(one)) } }
                }
            }
        }
    };
    html! {
        form.filters role="search" method="get" action="/" {
            label.search { span { "Search" } input type="search" name="q" value=(view.search) placeholder="name, host, image or cause"; }
            (choice("namespace", "Namespace", &view.namespace, &content.namespaces))
            (choice("phase", "Phase", &view.phase, &content.phases))
            (choice("reason", "Reason", &view.reason, &content.reasons))
            label { span { "Labels" } input name="labels" value=(view.labels) placeholder="tier=prod"; }
            input type="hidden" name="group" value=(view.group);
            input type="hidden" name="sort" value=(view.sort.word());
            button type="submit" { "Filter" }
            @if view.filters() { a.button href="/" { "Reset" } }
        }
    }
}

/// The buttons. They are disabled if the user may change no gateway of the page.
fn toolbar(denials: &BTreeMap<String, Denial>) -> Markup {
    let denied = denials.values().all(Option::is_some).then(|| denials.values().flatten().next()).flatten();
    html! {
        div.toolbar {
            div #toolbar data-live role="group" aria-label="Actions on the selected gateways" {
                @for verb in Verb::ALL {
                    button type="submit" name="verb" value=(verb.word()) disabled[denied.is_some()]
                        aria-describedby=[denied.map(|_| "denied")] { (capital(verb.word())) }
                }
                @if let Some(why) = denied { span #denied.faint { (words(why)) } }
            }
            span #selected.faint aria-live="polite" {}
        }
    }
}

/// A verb as the title of a button.
pub fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn titles(view: &View, acts: bool) -> Markup {
    let title = |name: &str, sort: Sort| {
        let to = View { sort, page: 0, ..view.clone() }.link();
        html! {
            th scope="col" aria-sort=[(view.sort == sort).then_some(if sort == Sort::Age { "descending" } else { "ascending" })] {
                a href=(to) { (name) }
            }
        }
    };
    html! {
        thead {
            tr {
                @if acts { th.pick scope="col" { label { span.visually-hidden { "Select all on this page" } input #all type="checkbox" disabled; } } }
                (title("State", Sort::Urgency))
                (title("Gateway", Sort::Name))
                (title("Phase", Sort::Phase))
                (title("Problem", Sort::Reason))
                th scope="col" { "Pods" }
                th scope="col" { "Host" }
                (title("Age", Sort::Age))
            }
        }
    }
}

fn row(entry: &Entry, acts: bool, denials: &BTreeMap<String, Denial>, now: Timestamp) -> Markup {
    let row = &entry.row;
    let key = format!("{}/{}", row.namespace, row.name);
    let denial = denials.get(&row.namespace).cloned().flatten();
    let (state, style) = state(entry);
    html! {
        tr id=(format!("row-{key}")) data-row {
            @if acts {
                td.pick {
                    label title=[denial.as_deref().map(words)] {
                        span.visually-hidden { "Select " (words(&key)) @if let Some(why) = &denial { ": " (words(why)) } }
                        input id=(format!("pick-{key}")) type="checkbox" name="gateway" value=(key) disabled[denial.is_some()];
                    }
                }
            }
            td.state { (badge(state, style)) }
            td.name {
                a id=(format!("link-{key}")) href=(link(&row.namespace, &row.name)) { (words(&row.name)) }
                span.faint { (words(&row.namespace)) }
            }
            td.phase data-title="Phase" {
                (dash(&row.phase))
                @if entry.suspended { " " span.tag { "suspended" } }
            }
            td.problem {
                @if let Some(cause) = &row.cause {
                    strong { (words(&cause.reason)) }
                    span.message { (words(&cause.message)) }
                    @if let Some(hint) = &cause.hint { span.hint { (words(hint)) } }
                } @else if !row.ready {
                    span.faint { (dash(&row.reason)) }
                }
            }
            td.pods data-title="Pods" { (row.ready_replicas) "/" (row.replicas) }
            td.host data-title="Host" { (dash(row.host.as_deref().unwrap_or_default())) }
            td.age data-title="Age" { @if let Some(at) = row.created { (age(at, now)) } }
        }
    }
}

fn dash(text: &str) -> String {
    if text.is_empty() { "–".to_owned() } else { words(text) }
}

/// The state in one or two words, and its style.
pub fn state(entry: &Entry) -> (&'static str, Style) {
    let row = &entry.row;
    match entry.group() {
        Group::Attention if row.stuck => ("Stuck", Style::Bad),
        Group::Attention => ("Failing", Style::Bad),
        Group::Progress => ("In progress", Style::Busy),
        Group::Ready if row.cause.is_some() => ("Scaled to 0", Style::Busy),
        Group::Ready => ("Ready", Style::Good),
    }
}

#[cfg(test)]
mod tests {
    use phasegate::api::{ApiGateway, Guarded};

    use super::super::tests::frame;
    use super::*;
    use crate::samples::{self, NOW};

    fn fleet(gateways: Vec<ApiGateway>) -> BTreeMap<ObjectKey, Entry> {
        let entry = |gateway: ApiGateway| (ObjectKey::of(&gateway), Entry::of(&Guarded::whole(gateway), NOW));
        gateways.into_iter().map(entry).collect()
    }

    fn named(number: usize, mut gateway: ApiGateway) -> ApiGateway {
        gateway.metadata.name = Some(format!("gw-{number:04}"));
        gateway
    }

    fn allowed() -> BTreeMap<String, Denial> {
        [("tenants".to_owned(), None)].into()
    }

    #[test]
    fn a_page_has_a_hundred_rows_of_any_fleet() {
        let entries = fleet((0..5_000).map(|number| named(number, samples::started())).collect());
        let content = Content::of(&entries, View::of("page=2"));
        let page = page(&frame(), &content, &allowed(), NOW).into_string();
        assert_eq!(page.matches("data-row").count(), 100);
        assert!(page.contains("gw-0100") && !page.contains("gw-0200") && page.contains("Page 2 of 50"));
        assert!(page.len() < 150_000, "{}", page.len());
    }

    #[test]
    fn what_is_wrong_and_what_to_do_stands_in_the_row() {
        let content = Content::of(&fleet(vec![samples::timed_out()]), View::default());
        let page = page(&frame(), &content, &allowed(), NOW).into_string();
        for text in ["Stuck", "ImagePullFailed", "cannot be pulled", "kubectl phasegate retry shop -n tenants"] {
            assert!(page.contains(text), "{text}: {page}");
        }
    }

    #[test]
    fn who_may_not_change_a_gateway_sees_why() {
        let denials = [("tenants".to_owned(), Some("you may not <patch>".to_owned()))].into();
        let content = Content::of(&fleet(vec![samples::started()]), View::default());
        let denied = page(&frame(), &content, &denials, NOW).into_string();
        assert!(denied.contains("value=\"stop\" disabled") && denied.contains("you may not &lt;patch&gt;"), "{denied}");
        let reader = Frame { read_only: true, ..frame() };
        let page = page(&reader, &content, &denials, NOW).into_string();
        assert!(!page.contains("<button type=\"submit\" name=\"verb\"") && page.contains("read-only"), "{page}");
    }

    #[test]
    fn the_words_of_a_gateway_are_no_markup() {
        let attack = "<script>alert(1)</script>\" onmouseover=\"x\u{202e}";
        let mut gateway = samples::failing();
        gateway.spec.image = attack.to_owned();
        gateway.spec.host = Some(attack.to_owned());
        gateway.metadata.name = Some(attack.to_owned());
        gateway.metadata.namespace = Some(attack.to_owned());
        gateway.metadata.labels = Some([(attack.to_owned(), attack.to_owned())].into());
        for condition in &mut gateway.status.as_mut().unwrap().conditions {
            condition.message = attack.to_owned();
            condition.reason = attack.to_owned();
        }
        let view = View { search: attack.to_owned(), labels: attack.to_owned(), ..View::default() };
        for view in [View::default(), view] {
            let content = Content::of(&fleet(vec![gateway.clone()]), view);
            let denials = [(attack.to_owned(), Some(attack.to_owned()))].into();
            let page = page(&frame(), &content, &denials, NOW).into_string();
            assert!(!page.contains("<script>alert") && !page.contains("\" onmouseover"), "{page}");
        }
    }
}
