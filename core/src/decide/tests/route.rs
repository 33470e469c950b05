//! Gateways that ask for an HTTPRoute: what is done, in which order, and what is told.

use super::builders::*;
use crate::api::{ApiGateway, Exposure, Phase, Reason, State, condition};
use crate::children::{Parent, Verdict};
use crate::decide::observed::{Child, Observed, Presence, Routing, Unsupported};
use crate::decide::{Plan, Step, decide};

use Step::{Create, Delete, Update};

fn routed(gateway: ApiGateway) -> ApiGateway {
    taken_up(but(gateway, |g| g.spec.exposure = Some(Exposure::HTTPRoute)))
}

fn parent(verdict: Verdict, serves: bool) -> Parent {
    Parent { name: "infra/public".to_owned(), verdict, serves }
}

fn accepted() -> Parent {
    parent(Verdict::Accepted, true)
}

fn silent() -> Parent {
    parent(Verdict::Silent, false)
}

fn refused_by_parent() -> Parent {
    let (condition, reason) = ("Accepted".to_owned(), "NoMatchingListenerHostname".to_owned());
    parent(Verdict::Refused { condition, reason, message: "no listener has it".to_owned() }, false)
}

/// The world of a gateway that has a route and no Ingress.
fn by_route(observed: Observed, presence: Presence, parents: &[Parent]) -> Observed {
    but(observed, |o| {
        o.ingress = Presence::NotWanted;
        o.http_route = presence;
        o.routing.parents = parents.to_vec();
    })
}

fn unanswered_for(observed: Observed, seconds: u64) -> Observed {
    but(observed, |o| o.routing.unanswered = secs(seconds))
}

fn planned(gateway: &ApiGateway, observed: &Observed, seconds: u64) -> Plan {
    decide(gateway, observed, &after(seconds), &SETTINGS)
}

fn unsupported(observed: Observed, why: Unsupported) -> Observed {
    but(observed, |o| o.routing.unsupported = Some(why))
}

#[test]
fn a_route_is_created_after_the_service_and_a_start_ends_when_its_parents_accept_it() {
    let none = by_route(nothing(), Presence::Missing, &[]);
    let steps = planned(&routed(starting()), &none, 1).steps;
    assert_eq!(steps, [Create(Child::Deployment), Create(Child::Service), Create(Child::HttpRoute)]);
    for (parents, is_started) in [
        (vec![accepted()], true),
        (vec![accepted(), accepted()], true),
        (vec![], false),
        (vec![silent()], false),
        (vec![accepted(), silent()], false),
        (vec![accepted(), refused_by_parent()], false),
        (vec![parent(Verdict::Silent, true)], false),
    ] {
        let observed = by_route(serving(), Presence::Equal, &parents);
        let status = status_after(&routed(starting()), &observed, &after(10));
        assert_eq!(status.phase == Some(Phase::Started), is_started, "{parents:?}");
    }
}

#[test]
fn what_a_parent_says_is_the_cause_and_a_start_fails_with_it() {
    let observed = by_route(serving(), Presence::Equal, &[accepted(), refused_by_parent()]);
    let status = status_after(&routed(starting()), &observed, &after(10));
    assert_eq!(said(&status, condition::RECONCILING), "True RouteNotAccepted");
    let told = message(&status, condition::READY);
    for words in
        ["infra/public", "HTTPRoute \"shop\"", "Accepted is False, NoMatchingListenerHostname: no listener has it"]
    {
        assert!(told.contains(words), "{told}");
    }
    let mut told = routed(starting());
    told.status = Some(status);
    let (condition, reason) = ("ResolvedRefs".to_owned(), "BackendNotFound".to_owned());
    let unresolved = Verdict::Refused { condition, reason, message: "it is not there".to_owned() };
    let other = status_after(&told, &by_route(serving(), Presence::Equal, &[parent(unresolved, false)]), &after(11));
    assert!(
        message(&other, condition::READY).contains("ResolvedRefs is False, BackendNotFound"),
        "another word is news"
    );
    let failed = status_after(&routed(starting()), &observed, &after(301));
    assert_eq!((failed.phase, failed.state), (Some(Phase::Started), Some(State::Stopped)));
    assert_eq!(failed.last_failure.unwrap().reason, Reason::RouteNotAccepted);
}

#[test]
fn a_parent_that_nobody_answers_for_is_told_after_half_of_the_deadline_and_of_a_started_gateway_soon() {
    let waits = by_route(serving(), Presence::Equal, &[silent()]);
    let quiet = status_after(&routed(starting()), &waits, &after(10));
    assert_eq!(said(&quiet, condition::RECONCILING), "True Starting");
    assert_eq!(
        planned(&routed(starting()), &waits, 10).requeue_after,
        Some(secs(150)),
        "it is looked at again by then"
    );
    let late = unanswered_for(waits.clone(), 150);
    let told = status_after(&routed(starting()), &late, &after(160));
    assert_eq!(said(&told, condition::RECONCILING), "True RouteNotAnswered");
    assert!(message(&told, condition::READY).contains("whether Gateway \"infra/public\" accepts HTTPRoute \"shop\""));
    let failed = status_after(&routed(starting()), &waits, &after(301));
    assert_eq!(failed.last_failure.unwrap().reason, Reason::RouteNotAnswered);

    assert_eq!(planned(&routed(started()), &waits, 60).requeue_after, Some(secs(5)));
    let told = status_after(&routed(started()), &unanswered_for(waits, 5), &after(60));
    assert_eq!(said(&told, condition::RECONCILING), "True RouteNotAnswered");
}

#[test]
fn a_gateway_is_available_as_long_as_one_way_leads_to_it() {
    let available = |observed: &Observed| {
        said(&status_after(&routed(started()), observed, &after(60)), condition::AVAILABLE).starts_with("True")
    };
    assert!(available(&by_route(serving(), Presence::Equal, &[accepted()])));
    assert!(
        available(&by_route(serving(), Presence::Equal, &[parent(Verdict::Silent, true)])),
        "it was accepted before"
    );
    assert!(!available(&by_route(serving(), Presence::Equal, &[silent()])));
    assert!(!available(&by_route(serving(), Presence::Equal, &[accepted(), refused_by_parent()])));
    assert!(!available(&by_route(serving(), Presence::Missing, &[])));
    assert!(available(&child(serving(), Child::HttpRoute, Presence::Missing)), "by the Ingress that is still there");
    assert!(available(&by_route(serving(), Presence::NotWanted, &[])), "nothing is to lead to it");
}

#[test]
fn where_no_route_can_be_made_nothing_starts_and_nothing_that_serves_is_stopped() {
    for (why, words) in [
        (Unsupported::NoDefinition, "httproutes.gateway.networking.k8s.io"),
        (Unsupported::NoParent, "--default-parent-refs"),
        (Unsupported::NotPermitted("httproutes is forbidden".to_owned()), "may not read them: httproutes is forbidden"),
    ] {
        let none = unsupported(by_route(nothing(), Presence::Missing, &[]), why.clone());
        let status = status_after(&routed(fresh()), &none, &after(0));
        assert_eq!(
            (status.phase.clone(), status.history[0].reason),
            (Some(Phase::Created), Reason::ExposureUnsupported)
        );
        assert_eq!(said(&status, condition::STALLED), "True ExposureUnsupported");
        assert!(message(&status, condition::STALLED).contains(words), "{:?}", status.conditions);
        assert!(situation_holds(&routed(starting()), &none), "no deadline runs");

        let serves = unsupported(child(serving(), Child::HttpRoute, Presence::Missing), why);
        let plan = planned(&routed(started()), &serves, 60);
        assert_eq!(plan.steps, [], "no request that could only fail");
        let status = status_after(&routed(started()), &serves, &after(60));
        assert_eq!(said(&status, condition::READY), "False ExposureUnsupported");
        assert!(said(&status, condition::AVAILABLE).starts_with("True"));
    }
    let back = by_route(nothing(), Presence::Missing, &[]);
    let status = status_after(&routed(created()), &back, &after(10));
    assert_eq!(status.phase, Some(Phase::Starting), "it goes on by itself");
}

fn situation_holds(gateway: &ApiGateway, observed: &Observed) -> bool {
    crate::decide::Situation::of(gateway, observed, &after(10), &SETTINGS).clock_is_held()
}

#[test]
fn a_gateway_that_may_not_be_named_is_in_the_way_of_a_start_and_a_route_keeps_what_it_has() {
    let breached =
        |observed| but(observed, |o: &mut Observed| o.violations.parent_ref = Some(violation("spec.parentRefs[0]")));
    let held = status_after(&routed(fresh()), &breached(by_route(nothing(), Presence::Missing, &[])), &after(0));
    assert_eq!(held.history[0].reason, Reason::ParentRefNotAllowed);
    assert!(message(&held, condition::STALLED).starts_with("spec.parentRefs[0] \"theirs\" is not allowed"));
    let edited = breached(by_route(serving(), different(), &[accepted()]));
    assert_eq!(planned(&routed(started()), &edited, 60).steps, [Update(Child::HttpRoute)]);
    let missing = breached(by_route(serving(), Presence::Missing, &[]));
    assert_eq!(planned(&routed(started()), &missing, 60).steps, []);
}

#[test]
fn a_stop_takes_ingress_and_route_away_before_anything_else() {
    let both = but(serving(), |o| {
        o.http_route = Presence::Equal;
        o.routing = Routing { parents: vec![accepted()], ..Routing::default() };
    });
    assert_eq!(planned(&stopping_as_asked(), &both, 1).steps, [Delete(Child::Ingress), Delete(Child::HttpRoute)]);
    let terminating = child(both.clone(), Child::Ingress, Presence::Terminating);
    assert_eq!(planned(&stopping_as_asked(), &terminating, 1).steps, [Delete(Child::HttpRoute)]);
    let gone = child(both, Child::Ingress, Presence::NotWanted);
    let route_goes = child(gone, Child::HttpRoute, Presence::Terminating);
    assert_eq!(planned(&stopping_as_asked(), &route_goes, 1).steps, [], "the pods serve until it is gone");
    let none = child(child(serving(), Child::Ingress, Presence::NotWanted), Child::HttpRoute, Presence::NotWanted);
    assert_eq!(planned(&stopping_as_asked(), &none, 1).steps, [Delete(Child::Service), Delete(Child::Deployment)]);
}

#[test]
fn a_route_of_somebody_else_is_in_the_way_and_is_left_alone() {
    let taken = by_route(nothing(), Presence::Foreign("Helm release \"shop\"".to_owned()), &[]);
    let held = status_after(&routed(fresh()), &taken, &after(0));
    assert_eq!(held.history[0].reason, Reason::NameTaken);
    assert!(message(&held, condition::STALLED).starts_with("HTTPRoute \"shop\" already exists and belongs to"));
}

#[test]
fn a_gateway_without_exposure_claims_no_host() {
    let unexposed = taken_up(but(started(), |g| g.spec.exposure = Some(Exposure::None)));
    let none = by_route(serving(), Presence::NotWanted, &[]);
    let status = status_after(&unexposed, &none, &after(60));
    assert_eq!((status.hosts, status.url), (vec![], None));
    assert_eq!(
        planned(&unexposed, &child(serving(), Child::Ingress, Presence::Unwanted), 60).steps,
        [Delete(Child::Ingress)]
    );
}
