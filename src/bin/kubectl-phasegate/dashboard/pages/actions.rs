//! The confirmation of an action, and its outcome.

use maud::{Markup, html};
use phasegate::api::ObjectKey;

use super::fleet::capital;
use super::gateway::anchor;
use super::{Frame, badge, whole, words};
use crate::change::{ChangeResult, Outcome, Plan, Verb};
use crate::failure::Failure;
use crate::output::Style;

/// The page that names what will be changed.
pub fn confirm(frame: &Frame, verb: Verb, plan: &Plan) -> Markup {
    let keys: Vec<&ObjectKey> = plan.patches.iter().map(|patching| &patching.outcome.key).collect();
    let title = question(verb, &keys);
    let content = html! {
        h1 { (title) }
        @if keys.is_empty() { p { "No gateway needs this change." } }
        @else { ul.names { @for key in &keys { li { (anchor(key)) } } } }
        (others(&plan.settled, &plan.failures))
        form.toolbar method="post" action="/actions" {
            input type="hidden" name="form-token" value=(frame.form_token);
            @for key in &keys { input type="hidden" name="gateway" value=(key); }
            @if !keys.is_empty() {
                button.primary #confirm type="submit" name="verb" value=(verb.word()) { (capital(verb.word())) " " (count(&keys)) }
            }
            a.button href="/" { "Cancel" }
        }
    };
    whole(frame, &title, None, &content)
}

fn question(verb: Verb, keys: &[&ObjectKey]) -> String {
    match keys {
        [key] => format!("{} {key}?", capital(verb.word())),
        keys => format!("{} {}?", capital(verb.word()), count(keys)),
    }
}

fn count(keys: &[&ObjectKey]) -> String {
    if keys.len() == 1 { "1 gateway".to_owned() } else { format!("{} gateways", keys.len()) }
}

/// The page after the patches are sent.
pub fn done(frame: &Frame, verb: Verb, outcomes: &[Outcome], failures: &[Failure]) -> Markup {
    let changed = outcomes.iter().filter(|outcome| outcome.result == ChangeResult::Changed).count();
    let title = format!("{}: {changed} of {} changed", capital(verb.word()), outcomes.len() + failures.len());
    let content = html! {
        h1 { (title) }
        (others(outcomes, failures))
        p { a.button href="/" { "Fleet" } }
    };
    whole(frame, &title, None, &content)
}

fn others(outcomes: &[Outcome], failures: &[Failure]) -> Markup {
    html! {
        @if !outcomes.is_empty() || !failures.is_empty() {
            table {
                caption.visually-hidden { "Outcomes" }
                thead { tr { th scope="col" { "Gateway" } th scope="col" { "Result" } th scope="col" { "Details" } } }
                tbody {
                    @for outcome in outcomes { tr {
                        td { (anchor(&outcome.key)) }
                        td { (badge(outcome.result.as_str(), style(outcome.result))) }
                        td.text { (words(&outcome.message)) @if let Some(failure) = &outcome.failure { " " (words(&failure.advice)) } }
                    } }
                    @for failure in failures { tr {
                        td { "–" } td { (badge("failed", Style::Bad)) } td.text { (words(&failure.sentence)) " " (words(&failure.advice)) }
                    } }
                }
            }
        }
    }
}

fn style(result: ChangeResult) -> Style {
    match result {
        ChangeResult::Changed => Style::Good,
        ChangeResult::Unchanged | ChangeResult::Untouched => Style::Plain,
        ChangeResult::Failed => Style::Bad,
    }
}

#[cfg(test)]
mod tests {
    use phasegate::api::Guarded;

    use super::super::tests::frame;
    use super::*;
    use crate::samples;

    #[test]
    fn a_confirmation_names_what_will_be_changed_and_what_will_not() {
        let mut stopped = samples::stopped();
        stopped.metadata.name = Some("idle".to_owned());
        let found = [samples::started(), stopped].map(Guarded::whole);
        let plan = Plan::of(Verb::Stop, found.into(), "token");
        let page = confirm(&frame(), Verb::Stop, &plan).into_string();
        assert!(
            page.contains("<h1>Stop tenants/shop?</h1>") && page.contains("spec.state is already Stopped"),
            "{page}"
        );
        assert!(page.contains("value=\"tenants/shop\"") && !page.contains("value=\"tenants/idle\""), "{page}");
        assert!(page.contains("name=\"form-token\" value=\"form\""), "{page}");
    }
}
