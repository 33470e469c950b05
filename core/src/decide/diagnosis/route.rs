//! Policies about the HTTPRoute: what its parents' controllers report.
//!
//! **Architecture invariant:** the verdict of a parent decides. Its message is only quoted.

use std::time::Duration;

use super::grace_period::{GracePeriod, SOON, usual};
use super::{Cause, say};
use crate::api::Reason;
use crate::children::Verdict;
use crate::decide::observed::{Child, Presence};
use crate::decide::place::Place;
use crate::decide::situation::Situation;

/// Why no traffic arrives through the existing HTTPRoute: a parent refuses it, or does not answer. A refusal
/// comes first.
pub(super) fn not_accepted(s: &Situation<'_>, grace: GracePeriod) -> Option<Cause> {
    if !is_there(s) {
        return None;
    }
    refused(s).or_else(|| unanswered(s, grace))
}

fn is_there(s: &Situation<'_>) -> bool {
    s.observed.http_route == Presence::Equal || s.observed.is_left_as_it_is(Child::HttpRoute)
}

fn refused(s: &Situation<'_>) -> Option<Cause> {
    let route = s.gateway.name_or_empty();
    s.observed.routing.parents.iter().find_map(|parent| {
        let Verdict::Refused { condition, reason, message } = &parent.verdict else { return None };
        let (gateway, condition, reason) = (say(&parent.name), say(condition), say(reason));
        let word = Some(format!("{gateway}: {condition} {reason}"));
        let cause = Cause::new(
            Reason::RouteNotAccepted,
            format!(
                "Gateway {gateway:?} rejects HTTPRoute {route:?}: {condition} is False, {reason}: {}",
                say(message)
            ),
            "Compare spec.host, the environments' hosts and spec.parentRefs with the Gateway's listeners and their \
             allowedRoutes, or ask the Gateway's owner.",
        );
        Some(Cause { word, ..cause })
    })
}

fn unanswered(s: &Situation<'_>, grace: GracePeriod) -> Option<Cause> {
    let parent = s.observed.routing.parents.iter().find(|parent| parent.verdict == Verdict::Silent)?;
    if grace == GracePeriod::Usual && s.observed.routing.unanswered < answers_within(s) {
        return None;
    }
    let (gateway, route) = (say(&parent.name), s.gateway.name_or_empty());
    Some(Cause::new(
        Reason::RouteNotAnswered,
        format!("no controller reports whether Gateway {gateway:?} accepts HTTPRoute {route:?}"),
        "Check that the Gateway exists and is programmed (kubectl get gateways -A) and that its controller runs, or \
         name another one in spec.parentRefs.",
    ))
}

/// How long a controller may take to answer. During a start it has as long as the pods.
fn answers_within(s: &Situation<'_>) -> Duration {
    if s.place().is_some_and(Place::is_attempt) { usual(s) } else { SOON }
}

/// The time until a missing answer is reported.
pub(super) fn grace_ends_in(s: &Situation<'_>) -> Option<Duration> {
    let waits = is_there(s) && s.observed.routing.parents.iter().any(|parent| parent.verdict == Verdict::Silent);
    let left = answers_within(s).saturating_sub(s.observed.routing.unanswered);
    (waits && !left.is_zero()).then_some(left)
}
