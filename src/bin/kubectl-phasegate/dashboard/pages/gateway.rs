//! One gateway.

use k8s_openapi::jiff::Timestamp;
use maud::{Markup, html};
use phasegate::api::ObjectKey;

use super::fleet::{capital, state};
use super::{Frame, age, badge, class, link, symbol, timeline, whole, words};
use crate::change::Verb;
use crate::dashboard::entry::Entry;
use crate::failure::Failure;
use crate::output::Style;
use crate::status::attempt::Try;
use crate::status::children::Node;
use crate::status::report::Report;
use crate::times;

/// The page.
pub fn page(frame: &Frame, report: &Report, yaml: &str, denial: Option<&str>, now: Timestamp) -> Markup {
    let content = html! {
        (title(&report.namespace, &report.name))
        div #verdict data-live { (verdict(report)) }
        @if !frame.read_only { (toolbar(frame, report, denial)) }
        div #facts data-live { (facts(report)) }
        section #timeline data-live { h2 { "Timeline" } (phases(report)) }
        section #children data-live { h2 { "Children" } (children(report)) }
        div #changed data-live { (changed(report)) }
        section #environments data-live tabindex="0" aria-label="Environments" { h2 { "Environments" } (environments(report)) }
        section #events data-live tabindex="0" aria-label="Events" { h2 { "Events" } (events(report, now)) }
        section #conditions data-live tabindex="0" aria-label="Conditions" { h2 { "Conditions" } (conditions(report, now)) }
        section #yaml { h2 { "YAML" } details { summary { "As the API server has it, without managed fields" } pre #yaml-text data-live tabindex="0" aria-label="YAML" { (yaml) } } }
    };
    let query = live_query(&report.namespace, &report.name);
    whole(frame, &format!("{}/{}", report.namespace, report.name), Some(&query), &content)
}

/// The page while the gateway cannot be read: what is in memory.
pub fn remembered(
    frame: &Frame,
    key: &ObjectKey,
    entry: Option<Entry>,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Markup {
    let content = html! {
        (title(&key.namespace, &key.name))
        @if let Some(failure) = failure { p.verdict.bad { (words(&failure.sentence)) } p { (words(&failure.advice)) } }
        @if let Some(entry) = &entry {
            @let (state, style) = state(entry);
            p { "Last known: " (badge(state, style)) " " (words(&entry.row.phase)) @if let Some(at) = entry.row.created { ", created " (age(at, now)) " ago" } }
            @if let Some(cause) = &entry.row.cause { p { strong { (words(&cause.reason)) } ": " (words(&cause.message)) } }
        } @else {
            p { "This gateway is not among those that the dashboard watches." }
        }
    };
    whole(frame, &key.to_string(), Some(&live_query(&key.namespace, &key.name)), &content)
}

fn live_query(namespace: &str, name: &str) -> String {
    let key = format!("{namespace}/{name}");
    form_urlencoded::Serializer::new(String::new()).append_pair("gateway", &key).finish()
}

fn title(namespace: &str, name: &str) -> Markup {
    html! {
        p.crumbs { a href="/" { "Fleet" } " / " (words(namespace)) }
        h1 { (words(name)) }
    }
}

/// The first line: what is wrong, and what to do.
fn verdict(report: &Report) -> Markup {
    let style = match (report.ready, &report.cause) {
        (true, None) => Style::Good,
        (true, Some(_)) | (false, None) => Style::Busy,
        (false, Some(_)) => Style::Bad,
    };
    html! {
        div.verdict.(class(style)) {
            p {
                span aria-hidden="true" { (symbol(style)) } " "
                @match &report.cause {
                    Some(cause) => { strong { (words(&cause.reason)) } ": " (words(&cause.message)) },
                    None if report.ready => { strong { (words(&report.reason)) } ". Nothing to do." },
                    None if report.reason.is_empty() => { strong { "Not reconciled yet" } },
                    None => { strong { (words(&report.reason)) } @if let Some(what) = &report.waits_for { ": " (words(what)) } },
                }
            }
            @if let Some(hint) = report.cause.as_ref().and_then(|cause| cause.hint.as_ref()) {
                p { strong { "To do: " } (words(hint)) }
            }
            @if let Some(attempt) = report.attempt.as_ref().filter(|attempt| attempt.running) { p { (deadline(attempt)) } }
            @if let Some(failure) = &report.last_failure {
                p.faint { "Before: attempt " (failure.attempt) " failed: " (words(&failure.reason.to_string())) ": " (words(&failure.message)) }
            }
        }
    }
}

fn deadline(attempt: &Try) -> Markup {
    let seconds = |seconds: u64| times::seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
    html! {
        "Attempt " (attempt.number) ": " strong { (seconds(attempt.left_seconds)) } " left of " (seconds(attempt.deadline_seconds))
        @if attempt.deadline_is_default { " (operator default)" }
        @if attempt.held { ", deadline paused" }
        @if attempt.retries_left > 0 { "; " (attempt.retries_left) " automatic retries left" }
        " "
        progress max=(attempt.deadline_seconds) value=(attempt.elapsed_seconds.min(attempt.deadline_seconds)) aria-label="Deadline" {}
    }
}

fn toolbar(frame: &Frame, report: &Report, denial: Option<&str>) -> Markup {
    html! {
        form.toolbar method="post" action="/confirm" {
            input type="hidden" name="form-token" value=(frame.form_token);
            input type="hidden" name="gateway" value=(format!("{}/{}", report.namespace, report.name));
            div role="group" aria-label="Actions" {
                @for verb in Verb::ALL {
                    button type="submit" name="verb" value=(verb.word()) disabled[denial.is_some()]
                        aria-describedby=[denial.map(|_| "denied")] { (capital(verb.word())) }
                }
                @if let Some(why) = denial { span #denied.faint { (words(why)) } }
            }
        }
    }
}

fn facts(report: &Report) -> Markup {
    html! {
        dl.facts {
            div { dt { "Phase" } dd { (words(report.phase.as_deref().unwrap_or("–"))) } }
            div { dt { "Requested" } dd { (words(&report.asked)) @if report.suspended { " " span.tag { "suspended" } } } }
            @if let Some(state) = report.state.as_ref().filter(|state| **state != report.asked) {
                div { dt { "Held at" } dd { (words(state)) } }
            }
            div { dt { "Serves" } dd { (if report.available { "yes" } else { "no" }) } }
            div { dt { "Image" } dd { code { (words(&report.image)) } } }
            @if let Some(url) = &report.url { div { dt { "URL" } dd { code { (words(url)) } } } }
        }
        @if report.outdated { p.faint { "The latest spec is not reconciled yet." } }
        @for why in &report.unreadable { p.bad { (words(why)) } }
    }
}

fn phases(report: &Report) -> Markup {
    html! {
        @if report.phases.is_empty() { p.faint { "No transition is recorded." } }
        @else {
            (timeline::of(&report.phases))
            @if report.earlier > 0 { p.faint { (report.earlier) " earlier transitions are in the operator's log." } }
        }
    }
}

fn children(report: &Report) -> Markup {
    html! {
        @if report.children.is_empty() { p.faint { "None." } }
        @else { ul.tree { @for node in &report.children { (branch(node)) } } }
    }
}

fn branch(node: &Node) -> Markup {
    html! {
        li {
            span.kind { (words(&node.kind)) } " " span.object { (words(&node.name)) } " "
            @if !node.state.is_empty() { (badge(&node.state, node.style)) }
            @if let Some(cause) = &node.cause { p.cause.bad { (words(cause)) } }
            @if !node.children.is_empty() { ul { @for child in &node.children { (branch(child)) } } }
        }
    }
}

fn changed(report: &Report) -> Markup {
    html! {
        @if !report.changed.is_empty() {
            section {
                h2 { "Changed by admission" }
                table {
                    thead { tr { th scope="col" { "Child" } th scope="col" { "Field" } th scope="col" { "Requested" } th scope="col" { "Stored" } } }
                    tbody { @for change in &report.changed { tr {
                        td { (words(&change.child)) } td { code { (words(&change.path)) } }
                        td { code { (words(&change.asked)) } } td { code { (words(&change.stored)) } }
                    } } }
                }
            }
        }
    }
}

fn environments(report: &Report) -> Markup {
    html! {
        @if report.environments.is_empty() { p.faint { "None." } }
        @else {
            table {
                thead { tr { th scope="col" { "Environment" } th scope="col" { "State" } th scope="col" { "Host" } th scope="col" { "Problem" } } }
                tbody { @for one in &report.environments { tr {
                    td { (words(&one.name)) }
                    td { @if one.active { (badge("Active", Style::Good)) } @else { (badge("Inactive", Style::Plain)) } }
                    td { (words(one.host.as_deref().unwrap_or("–"))) }
                    td.text { (words(one.cause.as_deref().unwrap_or_default())) }
                } } }
            }
        }
    }
}

fn conditions(report: &Report, now: Timestamp) -> Markup {
    html! {
        @if report.conditions.is_empty() { p.faint { "None." } }
        @else {
            table {
                thead { tr { th scope="col" { "Type" } th scope="col" { "Status" } th scope="col" { "Reason" } th scope="col" { "For" } th scope="col" { "Message" } } }
                tbody { @for one in &report.conditions { tr {
                    td { (words(&one.type_)) } td { (words(&one.status)) } td { (words(&one.reason)) }
                    td { (age(one.since, now)) } td.text { (words(&one.message)) }
                } } }
            }
        }
    }
}

fn events(report: &Report, now: Timestamp) -> Markup {
    html! {
        @if report.events.is_empty() { p.faint { "None." } }
        @else {
            table {
                thead { tr { th scope="col" { "Ago" } th scope="col" { "Reason" } th scope="col" { "Object" } th scope="col" { "Message" } } }
                tbody { @for one in report.events.iter().rev() { tr {
                    td { (age(one.last, now)) @if one.count > 1 { span.faint { " ×" (one.count) } } }
                    td { span.(if one.warning { "bad" } else { "plain" }) { (words(&one.reason)) } }
                    td { (words(&one.about)) } td.text { (words(&one.message)) }
                } } }
            }
        }
    }
}

/// A link to a gateway's page.
pub fn anchor(key: &ObjectKey) -> Markup {
    html! { a href=(link(&key.namespace, &key.name)) { (words(&key.to_string())) } }
}

#[cfg(test)]
mod tests {
    use phasegate::api::{ApiGateway, Guarded};

    use super::super::tests::frame;
    use super::*;
    use crate::samples::{self, NOW};
    use crate::status;

    fn page_of(gateway: ApiGateway, denial: Option<&str>) -> String {
        page(&frame(), &status::bare(gateway, NOW), "kind: ApiGateway\n", denial, NOW).into_string()
    }

    #[test]
    fn the_first_line_is_what_is_wrong_and_what_to_do() {
        let page = page_of(samples::timed_out(), None);
        let order = ["ImagePullFailed", "cannot be pulled", "To do: ", "retry shop -n tenants", "<h2>Timeline"];
        let places: Vec<_> =
            order.iter().map(|text| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"))).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(page_of(samples::started(), None).contains("Nothing to do."));
    }

    #[test]
    fn an_attempt_in_progress_shows_the_time_left() {
        let page = page_of(samples::starting(), None);
        assert!(page.contains("<strong>2m</strong> left of 3m"), "{page}");
    }

    #[test]
    fn actions_that_are_not_allowed_are_disabled_with_the_reason() {
        let page = page_of(samples::started(), Some("you may not patch"));
        assert_eq!(page.matches(" disabled aria-describedby=\"denied\"").count(), Verb::ALL.len(), "{page}");
    }

    #[test]
    fn what_others_wrote_is_escaped() {
        let attack = "<script>alert(1)</script>";
        let mut gateway = samples::failing();
        gateway.spec.image = attack.to_owned();
        for condition in &mut gateway.status.as_mut().unwrap().conditions {
            condition.message = attack.to_owned();
        }
        let report = status::bare(gateway.clone(), NOW);
        let page = page(&frame(), &report, attack, Some(attack), NOW).into_string();
        assert!(!page.contains(attack) && page.contains("&lt;script&gt;"), "{page}");
        let entry = Entry::of(&Guarded::whole(gateway), NOW);
        let key = ObjectKey::new(attack, attack);
        let failure = Failure::new(1, attack, attack);
        let page = remembered(&frame(), &key, Some(entry), Some(&failure), NOW).into_string();
        assert!(!page.contains(attack), "{page}");
    }
}
