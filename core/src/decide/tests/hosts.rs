//! Who holds which host.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::builders::*;
use crate::api::{ApiGateway, Environment, EnvironmentSpec, EnvironmentStatus, GatewayRef, HostClaim, ObjectKey};
use crate::decide::hosts::{Claimant, ClaimantKind, Claims, Stake, is_allowed};
use crate::decide::observed::HostVerdict;

/// A gateway that wants a host and has no claim.
fn wants(namespace: &str, name: &str, host: &str) -> ApiGateway {
    but(fresh(), |g| {
        g.metadata.namespace = Some(namespace.to_owned());
        g.metadata.name = Some(name.to_owned());
        g.spec.host = Some(host.to_owned());
    })
}

/// A gateway that wants a host and has held it since a moment.
fn holds(namespace: &str, name: &str, host: &str, since: i64) -> ApiGateway {
    but(wants(namespace, name, host), |g| {
        status(g).hosts = vec![HostClaim { host: host.to_owned(), since: MicroTime(at(since)) }];
    })
}

fn learned(gateways: &[&ApiGateway]) -> Claims {
    let mut claims = Claims::default();
    gateways.iter().for_each(|gateway| drop(claims.learn(*gateway)));
    claims
}

fn taken(host: &str, by: &str) -> HostVerdict {
    HostVerdict::Taken { host: host.to_owned(), by: format!("ApiGateway {by}") }
}

fn claimant(namespace: &str, name: &str) -> Claimant {
    Claimant { object: ObjectKey::new(namespace, name), kind: ClaimantKind::Gateway }
}

fn woken(names: &[(&str, &str)]) -> BTreeSet<Claimant> {
    names.iter().map(|(namespace, name)| claimant(namespace, name)).collect()
}

#[test]
fn a_host_that_nobody_holds_is_free() {
    let one = wants("a", "one", HOST);
    let other = wants("a", "other", HOST);
    assert_eq!(learned(&[]).verdict(&one), HostVerdict::Free);
    assert_eq!(learned(&[&one, &other]).verdict(&one), HostVerdict::Free, "to want a host is no claim");
    assert_eq!(learned(&[&holds("a", "other", "else.example.com", 1)]).verdict(&one), HostVerdict::Free);
}

#[test]
fn who_names_no_host_may_go_on() {
    let hostless = but(fresh(), drops_the_host);
    assert_eq!(learned(&[&holds("a", "other", HOST, 1)]).verdict(&hostless), HostVerdict::Free);
}

#[test]
fn a_claim_keeps_newcomers_away() {
    let holder = holds("a", "holder", HOST, 1);
    assert_eq!(learned(&[&holder]).verdict(&wants("b", "new", HOST)), taken(HOST, "a/holder"));
    assert_eq!(learned(&[&holder]).verdict(&holder), HostVerdict::Free, "one's own claim is in nobody's way");
}

#[test]
fn nobody_is_kept_away_by_a_claim_of_their_own_that_they_do_not_know_of_yet() {
    let claims = learned(&[&holds("a", "holder", HOST, 1)]);
    assert_eq!(claims.verdict(&wants("a", "holder", HOST)), HostVerdict::Free);
    assert_eq!(claims.verdict(&holds("a", "holder", HOST, 5)), HostVerdict::Free);
}

#[test]
fn the_oldest_claim_wins_whoever_was_seen_first() {
    let old = holds("z", "old", HOST, 1);
    let young = holds("a", "young", HOST, 2);
    for order in [[&old, &young], [&young, &old]] {
        let claims = learned(&order);
        assert_eq!(claims.verdict(&old), HostVerdict::Free);
        assert_eq!(claims.verdict(&young), taken(HOST, "z/old"));
    }
}

#[test]
fn of_three_claims_the_oldest_is_named() {
    let claims = learned(&[&holds("a", "b", HOST, 3), &holds("z", "z", HOST, 1), &holds("a", "a", HOST, 2)]);
    assert_eq!(claims.verdict(&wants("b", "new", HOST)), taken(HOST, "z/z"));
}

#[test]
fn of_two_claims_of_the_same_instant_the_first_by_namespace_and_name_wins() {
    let first = holds("a", "zebra", HOST, 1);
    let second = holds("b", "ant", HOST, 1);
    let third = holds("b", "bee", HOST, 1);
    let claims = learned(&[&third, &second, &first]);
    assert_eq!(claims.verdict(&first), HostVerdict::Free);
    assert_eq!(claims.verdict(&second), taken(HOST, "a/zebra"));
    let claims = learned(&[&third, &second]);
    assert_eq!(claims.verdict(&second), HostVerdict::Free);
    assert_eq!(claims.verdict(&third), taken(HOST, "b/ant"));
}

#[test]
fn hosts_are_the_same_whatever_their_case_and_trailing_dot() {
    let claims = learned(&[&holds("a", "holder", "Shop.Example.com.", 1)]);
    assert_eq!(claims.verdict(&wants("b", "new", "shop.example.COM")), taken(HOST, "a/holder"));
    assert_eq!(claims.verdict(&wants("b", "new", "shop.example.com.")), taken(HOST, "a/holder"));
    let mixed = but(holds("a", "holder", "Shop.Example.com.", 1), |g| g.spec.host = Some(HOST.to_owned()));
    let claims = learned(&[&mixed, &holds("b", "young", HOST, 2)]);
    assert_eq!(claims.verdict(&mixed), HostVerdict::Free);
    assert_eq!(learned(&[&holds("a", "w", "*.Example.com", 1)]).verdict(&wants("b", "new", "*.example.com")), {
        taken("*.example.com", "a/w")
    });
}

#[test]
fn one_holder_may_have_the_same_name_in_another_namespace() {
    let claims = learned(&[&holds("a", "shop", HOST, 1)]);
    assert_eq!(claims.verdict(&wants("b", "shop", HOST)), taken(HOST, "a/shop"));
}

#[test]
fn a_running_gateway_holds_its_old_host_while_it_wants_another() {
    let moving = but(holds("a", "moving", HOST, 1), |g| g.spec.host = Some("new.example.com".to_owned()));
    let claims = learned(&[&moving, &holds("b", "other", "new.example.com", 2)]);
    assert_eq!(claims.verdict(&wants("c", "third", HOST)), taken(HOST, "a/moving"));
    assert_eq!(claims.verdict(&moving), taken("new.example.com", "b/other"));
}

#[test]
fn a_host_that_is_let_go_wakes_those_who_want_it() {
    let holder = holds("a", "holder", HOST, 1);
    let mut claims = learned(&[&holder, &wants("b", "waits", HOST), &wants("c", "too", HOST)]);
    claims.learn(&wants("d", "elsewhere", "else.example.com"));
    assert_eq!(claims.learn(&holder), woken(&[]), "nothing changed");
    let waiting = woken(&[("b", "waits"), ("c", "too")]);
    assert_eq!(claims.learn(&but(holder.clone(), drops_the_host)), woken(&[]), "the claim is still recorded");
    assert_eq!(claims.learn(&wants("a", "holder", "new.example.com")), waiting);
    assert_eq!(claims.verdict(&wants("b", "waits", HOST)), HostVerdict::Free);
}

#[test]
fn a_holder_that_is_gone_wakes_those_who_want_its_host() {
    let holder = holds("a", "holder", HOST, 1);
    let waits = wants("b", "waits", HOST);
    let mut claims = learned(&[&holder, &waits]);
    assert_eq!(claims.forget(&claimant("a", "holder")), woken(&[("b", "waits")]));
    assert_eq!(claims.verdict(&waits), HostVerdict::Free);
    assert_eq!(claims.forget(&claimant("a", "holder")), woken(&[]), "once");
}

#[test]
fn a_new_claim_wakes_those_who_want_the_host() {
    let mut claims = learned(&[&wants("a", "one", HOST), &wants("b", "other", HOST)]);
    assert_eq!(claims.learn(&holds("a", "one", HOST, 1)), woken(&[("b", "other")]));
    assert_eq!(claims.learn(&holds("a", "one", HOST, 5)), woken(&[("b", "other")]), "and one with another time");
}

#[test]
fn who_does_not_want_a_host_any_more_is_not_woken() {
    let holder = holds("a", "holder", HOST, 1);
    let mut claims = learned(&[&holder, &wants("b", "waits", HOST)]);
    assert_eq!(claims.learn(&wants("b", "waits", "else.example.com")), woken(&[]));
    assert_eq!(claims.forget(&claimant("a", "holder")), woken(&[]));
}

fn environment(name: &str, since: Option<i64>) -> Environment {
    let reference = GatewayRef { name: "shop".to_owned() };
    let spec = EnvironmentSpec { gateway_ref: reference, host: Some(HOST.to_owned()) };
    but(Environment::new(name, spec), |environment| {
        environment.metadata.namespace = Some("a".to_owned());
        environment.status = since.map(|second| EnvironmentStatus {
            hosts: vec![HostClaim { host: HOST.to_owned(), since: MicroTime(at(second)) }],
            ..EnvironmentStatus::default()
        });
    })
}

#[test]
fn gateways_and_environments_compete_for_hosts() {
    let mut claims = learned(&[&holds("b", "gate", HOST, 2), &wants("b", "waits", HOST)]);
    assert_eq!(claims.verdict(&environment("dev", None)), taken(HOST, "b/gate"));
    let older = environment("dev", Some(1));
    assert_eq!(claims.learn(&older), woken(&[("b", "gate"), ("b", "waits")]));
    assert_eq!(claims.verdict(&older), HostVerdict::Free);
    let by = HostVerdict::Taken { host: HOST.to_owned(), by: "Environment a/dev".to_owned() };
    assert_eq!(claims.verdict(&holds("b", "gate", HOST, 2)), by);
}

#[test]
fn an_environment_and_a_gateway_of_one_name_are_two() {
    let claims = learned(&[&holds("a", "dev", HOST, 1)]);
    assert_eq!(claims.verdict(&environment("dev", None)), taken(HOST, "a/dev"));
}

#[test]
fn a_namespace_may_have_a_suffix_and_what_is_below_it() {
    let suffixes = ["Tenants.Example.net.", "*.shops.example.com", ".old.example.org"].map(str::to_owned);
    let below = ["a.tenants.example.net", "*.tenants.example.net", "A.B.Shops.example.com.", "x.old.example.org"];
    for host in ["tenants.example.net"].iter().chain(&below) {
        assert!(is_allowed(host, &suffixes), "{host}");
    }
    for host in ["example.net", "eviltenants.example.net", "tenants.example.net.evil.com", "*.example.net", "net"] {
        assert!(!is_allowed(host, &suffixes), "{host}");
    }
    assert!(!is_allowed(HOST, &[]));
}

#[test]
fn of_two_that_find_a_host_free_at_once_only_the_first_may_claim_it() {
    let (one, other) = (wants("a", "one", HOST), wants("b", "other", HOST));
    let mut claims = learned(&[&one, &other]);
    assert!(claims.reserve(&one));
    assert!(!claims.reserve(&other));
    assert!(!claims.reserve(&environment("dev", None)), "in one space with environments");
    assert!(claims.reserve(&one), "it may try again");
    claims.learn(&one);
    assert!(!claims.reserve(&other), "what was learned late gives nothing up");
    claims.learn(&holds("a", "one", HOST, 1));
    assert!(!claims.reserve(&other), "now it is claimed");
    claims.forget(&claimant("a", "one"));
    assert!(claims.reserve(&other));
}

#[test]
fn a_host_is_kept_for_nobody_who_could_not_claim_it_or_does_not_want_it_any_more() {
    let (one, other) = (wants("a", "one", HOST), wants("b", "other", HOST));
    let mut claims = learned(&[&one, &other]);
    assert!(claims.reserve(&one));
    claims.release(&one);
    assert!(claims.reserve(&other));
    claims.learn(&wants("b", "other", "else.example.com"));
    assert!(claims.reserve(&one));
    claims.forget(&claimant("a", "one"));
    assert!(claims.reserve(&other));
    assert!(claims.reserve(&but(fresh(), drops_the_host)), "no host, nothing to keep");
}

#[test]
fn only_those_who_want_or_hold_a_host_are_kept() {
    let mut claims = learned(&[&holds("a", "holder", HOST, 1), &wants("b", "waits", HOST)]);
    claims.learn(&but(fresh(), drops_the_host));
    claims.forget(&claimant("a", "holder"));
    claims.forget(&claimant("b", "waits"));
    assert_eq!(format!("{claims:?}"), format!("{:?}", Claims::default()), "nothing is left behind");
}

/// A gateway without a recorded claim whose Ingress routes its host.
fn routes(namespace: &str, name: &str) -> Stake {
    Stake::from(&wants(namespace, name, HOST)).routed(true)
}

#[test]
fn a_host_that_an_ingress_routes_is_not_given_to_another_and_takes_nothing_from_one_who_holds_it() {
    let restored = || routes("a", "restored");
    let newcomer = wants("b", "newcomer", HOST);
    let mut claims = learned(&[&newcomer]);
    assert_eq!(claims.learn(restored()), woken(&[("b", "newcomer")]));
    assert_eq!(claims.verdict(&newcomer), taken(HOST, "a/restored"));
    assert!(!claims.reserve(&newcomer));
    assert_eq!(claims.verdict(restored()), HostVerdict::Free);
    assert!(claims.reserve(restored()));

    // Whoever holds it has a claim that is recorded.
    let holder = holds("b", "holder", HOST, 99);
    let mut claims = learned(&[&holder]);
    claims.learn(restored());
    assert_eq!(claims.verdict(&holder), HostVerdict::Free);
    assert_eq!(claims.verdict(restored()), taken(HOST, "b/holder"));

    // Of two, the first by namespace and name; and it is free once the Ingress is gone.
    let mut claims = learned(&[&newcomer]);
    claims.learn(restored());
    claims.learn(routes("b", "other"));
    assert!(claims.reserve(restored()) && !claims.reserve(routes("b", "other")));
    claims.release(restored());
    claims.learn(routes("a", "restored").routed(false));
    claims.learn(routes("b", "other").routed(false));
    assert_eq!(claims.verdict(&newcomer), HostVerdict::Free);
}
