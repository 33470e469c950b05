//! Who holds which host.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

use super::builders::*;
use crate::api::{ApiGateway, Environment, EnvironmentSpec, EnvironmentStatus, GatewayRef, HostClaim, ObjectKey};
use crate::decide::hosts::{Claimant, ClaimantKind, Claims, HostRequest, Policy, is_allowed};
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

/// A space of hosts and its clock.
struct Space {
    claims: Claims,
    now: Instant,
}

impl Deref for Space {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.claims
    }
}

impl DerefMut for Space {
    fn deref_mut(&mut self) -> &mut Claims {
        &mut self.claims
    }
}

impl Space {
    /// A space in which these policies hold.
    fn with(policy: Policy, gateways: &[&ApiGateway]) -> Self {
        let mut space = Self { claims: Claims::new(policy), now: Instant::now() };
        gateways.iter().for_each(|gateway| drop(space.learn(*gateway)));
        space
    }

    /// Whoever is to look again by now.
    fn learn(&mut self, request: impl Into<HostRequest>) -> BTreeSet<Claimant> {
        let mut woken = self.claims.learn(request, self.now);
        woken.append(&mut self.claims.due(self.now));
        woken
    }

    fn forget(&mut self, claimant: &Claimant) -> BTreeSet<Claimant> {
        let mut woken = self.claims.forget(claimant, self.now);
        woken.append(&mut self.claims.due(self.now));
        woken
    }

    fn release(&mut self, request: impl Into<HostRequest>) -> BTreeSet<Claimant> {
        self.claims.release(&request.into().claimant, self.now);
        self.claims.due(self.now)
    }

    /// Time passes. Whoever is woken by that.
    fn after(&mut self, seconds: u64) -> BTreeSet<Claimant> {
        self.now += Duration::from_secs(seconds);
        self.claims.due(self.now)
    }
}

/// A space in which nothing is kept for anybody.
fn learned(gateways: &[&ApiGateway]) -> Space {
    Space::with(Policy { kept_for: Duration::ZERO, ..Policy::default() }, gateways)
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
fn a_new_claim_wakes_those_who_claim_the_host_and_nobody_who_waits_for_it() {
    let mut claims = learned(&[&wants("a", "one", HOST), &holds("b", "other", HOST, 3)]);
    assert_eq!(claims.learn(&holds("c", "third", HOST, 1)), woken(&[("b", "other")]));
    assert_eq!(claims.learn(&holds("c", "third", HOST, 5)), woken(&[("b", "other")]), "and one with another time");
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
    assert_eq!(claims.learn(&older), woken(&[("b", "gate")]));
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
fn an_entry_that_is_no_name_allows_nothing_and_is_told() {
    for entry in [
        "*.*",
        "*.*.example.com",
        "*.*.com",
        "..example.com",
        "*..com",
        "*.",
        ".",
        "a..example.com",
        "https://example.com",
        "shop.*.com",
    ] {
        let suffixes = [entry.to_owned(), "example.org".to_owned()];
        for host in ["shop.example.com", "*.example.com", "example.com", "*.com", "com", "a.b.c"] {
            assert!(!is_allowed(host, &suffixes), "{entry} allows {host}");
        }
        assert!(is_allowed("shop.example.org", &suffixes), "another entry stands beside {entry}");
        let refused = Policy::default().refuses(HOST, Some(&suffixes));
        let told = HostVerdict::NotAllowed {
            host: HOST.to_owned(),
            allowed: format!("{entry}, example.org"),
            no_name: Some(entry.to_owned()),
        };
        assert_eq!(refused, Some(told));
    }
}

#[test]
fn a_wildcard_over_a_single_label_is_had_only_where_an_annotation_names_it() {
    let policy = Policy::default();
    let too_wide = |host: &str| Some(HostVerdict::TooWide { host: host.to_owned() });
    let some = |entry: &str| vec![entry.to_owned()];
    for (host, allowed, expected) in [
        ("*.com", None, too_wide("*.com")),
        ("*.Example.", None, too_wide("*.Example.")),
        ("*.com", Some(some("*")), too_wide("*.com")),
        ("*.com", Some(some("example.com")), too_wide("*.com")),
        ("*.com", Some(some("com")), None),
        ("*.com", Some(some("*.com")), None),
        ("*.com", Some(some(".Com.")), None),
        ("*.example.com", None, None),
        ("com", None, None),
        ("shop.com", None, None),
    ] {
        assert_eq!(policy.refuses_anew(host, allowed.as_deref()), expected, "{host} {allowed:?}");
    }
}

#[test]
fn what_programs_take_for_an_ip_address_is_no_host() {
    let policy = Policy::default();
    for host in [
        "0x7f000001",
        "127.1",
        "*.1.2.3.4",
        "a.1",
        "1.2.3.4",
        "0x",
        "shop.0x7F",
        "2130706433",
        "017700000001",
        "127.1.",
    ] {
        assert_eq!(policy.refuses_anew(host, None), Some(HostVerdict::Address { host: host.to_owned() }), "{host}");
    }
    for host in
        ["1.example.com", "0x7f.example.com", "a.1a", "shop.x0", "*.4.example", "0xg", "xn--p1ai.xn--p1ai", "0xyz.com"]
    {
        assert_eq!(policy.refuses_anew(host, None), None, "{host}");
    }
}

#[test]
fn who_has_a_host_that_is_had_anew_by_nobody_keeps_it_and_others_do_not_wait_in_line_for_it() {
    let nobody_begins = |_: &str| false;
    let holder = HostRequest::from(&holds("a", "holder", HOST, 1)).beginning_with(nobody_begins);
    let routed = HostRequest::from(&wants("a", "restored", HOST)).routed(true).beginning_with(nobody_begins);
    assert_eq!((holder.new_host(), routed.new_host()), (None, None));
    let waiter = wants("b", "waits", HOST);
    assert_eq!(HostRequest::from(&waiter).new_host(), Some(HOST));
    let mut claims = learned(&[]);
    claims.learn(holder);
    claims.learn(HostRequest::from(&waiter).beginning_with(nobody_begins));
    assert_eq!(claims.forget(&claimant("a", "holder")), woken(&[]));
    claims.learn(&waiter);
    claims.learn(&holds("a", "holder", HOST, 1));
    assert_eq!(claims.forget(&claimant("a", "holder")), woken(&[("b", "waits")]));
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
    assert_eq!(claims.release(&one), woken(&[("b", "other")]), "a write that failed has a backoff of its own");
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
    let empty = Claims::new(Policy { kept_for: Duration::ZERO, ..Policy::default() });
    assert_eq!(format!("{:?}", claims.claims), format!("{empty:?}"), "nothing is left behind");
}

/// A gateway without a recorded claim whose Ingress routes its host.
fn routes(namespace: &str, name: &str) -> HostRequest {
    HostRequest::from(&wants(namespace, name, HOST)).routed(true)
}

#[test]
fn a_host_that_an_ingress_routes_is_not_given_to_another_and_takes_nothing_from_one_who_holds_it() {
    let restored = || routes("a", "restored");
    let newcomer = wants("b", "newcomer", HOST);
    let mut claims = learned(&[&newcomer]);
    claims.learn(restored());
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

/// A holder, who else wants what, and whether both may have theirs.
const TOGETHER: &[(&str, &str, &str, bool)] = &[
    // (the holder's host in namespace a, the other's host, the other's namespace, whether it may have it)
    ("*.bank.example", "login.bank.example", "b", false),
    ("login.bank.example", "*.bank.example", "b", false),
    ("*.bank.example", "a.b.bank.example", "b", false),
    ("a.b.bank.example", "*.bank.example", "b", false),
    ("*.example", "*.bank.example", "b", false),
    ("*.bank.example", "*.example", "b", false),
    ("shop.example.com", "*.com", "b", false),
    ("*.com", "shop.example.com", "b", false),
    ("*.Bank.example", "login.bank.EXAMPLE.", "b", false),
    ("*.bank.example", "login.bank.example", "a", true),
    ("login.bank.example", "*.bank.example", "a", true),
    ("*.bank.example", "bank.example", "b", true),
    ("bank.example", "*.bank.example", "b", true),
    ("*.bank.example", "loginbank.example", "b", true),
    ("*.bank.example", "*.bank.example.org", "b", true),
    ("bank.example", "login.bank.example", "b", true),
    ("*.bank.example", "*.tank.example", "b", true),
    ("*.bank.example", "*.bank.example", "a", false),
];

#[test]
fn a_wildcard_and_what_it_covers_are_not_had_by_two_namespaces() {
    for (held, wanted, namespace, may_have) in TOGETHER {
        let mut claims = learned(&[&holds("a", "holder", held, 1)]);
        let other = wants(namespace, "other", wanted);
        let what = format!("{wanted} of {namespace} beside {held}");
        assert_eq!(claims.verdict(&other) == HostVerdict::Free, *may_have, "{what}");
        assert_eq!(claims.reserve(&other), *may_have, "{what}");

        // Whoever comes first has it, whichever of the two it is.
        let mut claims = learned(&[]);
        assert!(claims.reserve(&wants("a", "holder", held)), "{what}");
        assert_eq!(claims.reserve(&other), *may_have, "at the same moment: {what}");
        let both = learned(&[&holds("a", "holder", held, 1), &holds(namespace, "other", wanted, 2)]);
        assert_eq!(both.verdict(&holds("a", "holder", held, 1)), HostVerdict::Free, "{what}");
        assert_eq!(both.verdict(&holds(namespace, "other", wanted, 2)) == HostVerdict::Free, *may_have, "{what}");
    }
}

#[test]
fn what_covers_a_host_is_named() {
    let claims = learned(&[&holds("a", "bank", "*.bank.example", 1)]);
    let by = "ApiGateway a/bank as \"*.bank.example\"".to_owned();
    let host = "login.bank.example".to_owned();
    assert_eq!(claims.verdict(&wants("b", "thief", &host)), HostVerdict::Taken { host, by });
    let mut claims = learned(&[]);
    claims.learn(&environment("dev", Some(1)));
    let host = "*.example.com".to_owned();
    let by = format!("Environment a/dev as {HOST:?}");
    assert_eq!(claims.verdict(&wants("b", "thief", &host)), HostVerdict::Taken { host, by });
}

#[test]
fn whoever_waits_below_a_wildcard_is_woken_when_it_goes_and_the_other_way_round() {
    for (held, wanted) in [("*.bank.example", "login.bank.example"), ("login.bank.example", "*.bank.example")] {
        let mut claims = learned(&[&holds("a", "bank", held, 1), &wants("b", "waits", wanted)]);
        claims.learn(&wants("c", "elsewhere", "bank.example"));
        assert_eq!(claims.forget(&claimant("a", "bank")), woken(&[("b", "waits")]));
        assert!(claims.reserve(&wants("b", "waits", wanted)));
    }
}

/// A space as it is by default.
fn by_default(gateways: &[&ApiGateway]) -> Space {
    Space::with(Policy::default(), gateways)
}

fn kept(host: &str, namespace: &str) -> HostVerdict {
    HostVerdict::Taken { host: host.to_owned(), by: format!("namespace {namespace} (released moments ago)") }
}

#[test]
fn a_host_that_was_let_go_is_kept_for_its_namespace_for_a_minute() {
    let lurker = wants("b", "lurker", HOST);
    for ends in [
        |claims: &mut Space| claims.forget(&claimant("a", "holder")),
        |claims: &mut Space| claims.learn(&wants("a", "holder", "else.example.com")),
        |claims: &mut Space| claims.learn(&but(wants("a", "holder", HOST), drops_the_host)),
    ] {
        let mut claims = by_default(&[&holds("a", "holder", HOST, 1), &lurker]);
        assert_eq!(ends(&mut claims), woken(&[]));
        assert_eq!(claims.verdict(&lurker), kept(HOST, "a"));
        assert!(!claims.reserve(&lurker));
        assert_eq!(claims.verdict(&wants("a", "again", HOST)), HostVerdict::Free);
        assert_eq!(claims.verdict(&wants("a", "holder", HOST)), HostVerdict::Free);
        assert_eq!(claims.after(59), woken(&[]));
        assert_eq!(claims.after(1), woken(&[("b", "lurker")]), "without anybody's doing");
        assert!(claims.reserve(&lurker));
    }
}

#[test]
fn what_is_kept_may_be_taken_by_its_own_namespace_at_once_and_is_kept_again_after_that() {
    let own = wants("a", "own", HOST);
    let lurker = wants("b", "lurker", HOST);
    let mut claims = by_default(&[&holds("a", "holder", HOST, 1), &own, &lurker]);
    assert_eq!(claims.forget(&claimant("a", "holder")), woken(&[("a", "own")]));
    assert!(claims.reserve(&own));
    assert_eq!(claims.learn(&holds("a", "own", HOST, 9)), woken(&[]));
    assert_eq!(claims.after(100), woken(&[]));
    assert_eq!(claims.verdict(&lurker), taken(HOST, "a/own"));
    assert_eq!(claims.forget(&claimant("a", "own")), woken(&[]));
    assert_eq!(claims.verdict(&lurker), kept(HOST, "a"));
    assert_eq!(claims.after(60), woken(&[("b", "lurker")]));
}

#[test]
fn a_kept_wildcard_keeps_what_it_covers() {
    let lurker = wants("b", "lurker", "login.bank.example");
    let mut claims = by_default(&[&holds("a", "bank", "*.bank.example", 1), &lurker]);
    claims.forget(&claimant("a", "bank"));
    assert!(!claims.reserve(&lurker));
    assert_eq!(claims.after(60), woken(&[("b", "lurker")]));
}

#[test]
fn nothing_is_kept_for_a_namespace_that_may_not_have_it_or_whose_claim_did_not_stand() {
    let waits = wants("b", "waits", HOST);
    let mut claims = by_default(&[&holds("a", "holder", HOST, 1), &waits]);
    let narrowed = HostRequest::from(&holds("a", "holder", HOST, 1)).within(|host| host != HOST);
    assert_eq!(claims.learn(narrowed), woken(&[("b", "waits")]), "its claim counts for nobody");
    assert!(claims.reserve(&waits));
    claims.learn(&holds("b", "waits", HOST, 5));
    let narrowed = HostRequest::from(&holds("a", "holder", HOST, 1)).within(|host| host != HOST);
    assert!(claims.is_lost(&narrowed, HOST));
    claims.forget(&claimant("a", "holder"));
    assert_eq!(claims.verdict(&holds("b", "waits", HOST, 5)), HostVerdict::Free);

    let mut claims = by_default(&[&holds("a", "old", HOST, 1), &holds("b", "late", HOST, 2)]);
    claims.forget(&claimant("b", "late"));
    claims.forget(&claimant("a", "old"));
    assert_eq!(claims.verdict(&wants("b", "late", HOST)), kept(HOST, "a"));
}

#[test]
fn a_claim_that_another_goes_before_is_lost() {
    let (old, late) = (holds("a", "old", "*.example.com", 1), holds("b", "late", HOST, 2));
    let claims = by_default(&[&old, &late]);
    assert!(claims.is_lost(&HostRequest::from(&late), HOST));
    assert!(!claims.is_lost(&HostRequest::from(&old), "*.example.com"));
    assert!(claims.is_lost(&HostRequest::from(&old), "not-even-claimed.example.com"));
}

/// A gateway that was told that its host is another's.
fn was_told(namespace: &str, name: &str, host: &str) -> ApiGateway {
    but(wants(namespace, name, host), |g| {
        let condition = serde_json::json!({
            "type": "Stalled", "status": "True", "reason": "HostTaken", "message": "", "lastTransitionTime": "2025-06-15T15:06:40Z",
        });
        status(g).conditions = vec![serde_json::from_value(condition).unwrap()];
    })
}

#[test]
fn what_was_let_go_while_no_operator_ran_is_kept_from_those_who_waited_for_it() {
    let lurker = was_told("b", "lurker", HOST);
    let mut claims =
        by_default(&[&lurker, &was_told("c", "held", "held.example.com"), &holds("a", "h", "held.example.com", 1)]);
    let now = claims.now;
    claims.begin(now);
    assert_ne!(claims.verdict(&lurker), HostVerdict::Free);
    assert_eq!(claims.verdict(&wants("a", "again", HOST)), HostVerdict::Free, "whoever applies it anew");
    assert_eq!(claims.after(60), woken(&[("b", "lurker")]));
    assert!(claims.reserve(&lurker));
    assert_eq!(claims.verdict(&was_told("c", "held", "held.example.com")), taken("held.example.com", "a/h"));
}

/// So many wait for a host, in the order of their age.
fn line(count: u32) -> Vec<ApiGateway> {
    let waits = |number: u32| {
        but(wants("b", &format!("w{number:04}"), HOST), |g| {
            g.metadata.creation_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(i64::from(number))));
        })
    };
    (0..count).map(waits).collect()
}

fn names(woken: &BTreeSet<Claimant>) -> Vec<&str> {
    woken.iter().map(|claimant| claimant.object.name.as_str()).collect()
}

#[test]
fn of_many_that_wait_a_few_are_woken_and_more_only_while_the_host_is_to_be_had() {
    let line = line(100);
    let mut claims = learned(&line.iter().collect::<Vec<_>>());
    claims.learn(&holds("a", "holder", HOST, 1));
    let first = claims.forget(&claimant("a", "holder"));
    assert_eq!(names(&first), ["w0000", "w0001", "w0002", "w0003"], "those who have waited longest");
    // One of them takes it: the others wait, and nobody else hears of it.
    assert!(claims.reserve(&line[2]));
    assert_eq!(claims.learn(&holds("b", "w0002", HOST, 9)), woken(&[]));
    assert_eq!(claims.after(10), woken(&[]));

    // Nobody of those who are woken takes it: sooner or later everybody is asked, once.
    let mut asked: Vec<usize> = vec![claims.forget(&claimant("b", "w0002")).len()];
    for _ in 0..10 {
        asked.push(claims.after(1).len());
    }
    assert_eq!(asked, [4, 8, 16, 32, 39, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn whoever_is_woken_and_does_not_want_the_host_any_more_passes_it_on() {
    let line = line(6);
    let mut claims = learned(&line.iter().collect::<Vec<_>>());
    claims.learn(&holds("a", "holder", HOST, 1));
    claims.forget(&claimant("a", "holder"));
    claims.learn(&but(line[0].clone(), drops_the_host));
    claims.forget(&claimant("b", "w0001"));
    assert_eq!(names(&claims.after(1)), ["w0004", "w0005"]);

    // One that was about to write its claim, and could not or is gone.
    assert!(claims.reserve(&line[2]));
    assert_eq!(claims.after(1), woken(&[]));
    assert_eq!(names(&claims.forget(&claimant("b", "w0002"))), ["w0003", "w0004", "w0005"]);
}

#[test]
fn only_those_who_would_take_a_host_are_woken() {
    let suspended = but(wants("b", "suspended", HOST), |g| g.spec.suspend = true);
    let stopped = but(wants("b", "stopped", HOST), |g| g.spec.state = crate::api::DesiredState::Stopped);
    let mut claims = learned(&[&holds("a", "holder", HOST, 1), &suspended, &stopped]);
    claims.learn(HostRequest::from(&wants("b", "forbidden", HOST)).within(|_| false));
    assert_eq!(claims.forget(&claimant("a", "holder")), woken(&[]));
}

fn at_most(limit: usize) -> Policy {
    Policy { per_namespace: Some(limit), kept_for: Duration::ZERO, ..Policy::default() }
}

#[test]
fn a_namespace_may_hold_so_many_hosts_and_no_more() {
    let two = [holds("a", "one", "one.example.com", 1), holds("a", "two", "two.example.com", 1)];
    let mut claims = Space::with(at_most(2), &[&two[0], &two[1]]);
    let third = wants("a", "third", "three.example.com");
    let too_many = HostVerdict::TooMany { host: "three.example.com".to_owned(), limit: 2 };
    assert_eq!(claims.verdict(&third), too_many);
    assert!(!claims.reserve(&third));
    assert_eq!(claims.verdict(&wants("b", "other", "three.example.com")), HostVerdict::Free, "of another namespace");
    assert_eq!(claims.verdict(&two[0]), HostVerdict::Free, "who holds one keeps it");
    let moves = but(two[0].clone(), |g| g.spec.host = Some("three.example.com".to_owned()));
    assert_eq!(claims.verdict(&moves), HostVerdict::Free, "one more for one less");
    assert_eq!(claims.verdict(&but(fresh(), drops_the_host)), HostVerdict::Free);

    claims.learn(&third);
    assert_eq!(claims.forget(&claimant("a", "two")), woken(&[("a", "third")]));
    assert!(claims.reserve(&third));
    let fourth = wants("a", "fourth", "four.example.com");
    assert!(!claims.reserve(&fourth), "the third is about to be written");
    claims.learn(&fourth);
    assert_eq!(claims.release(&third), woken(&[("a", "fourth")]));
}

#[test]
fn what_is_kept_for_a_namespace_is_bounded_as_what_it_holds() {
    let policy = Policy { kept_for: Duration::from_secs(60), ..at_most(1) };
    let mut claims = Space::with(policy, &[]);
    for host in ["one.example.com", "two.example.com"] {
        claims.learn(&holds("a", "holder", host, 1));
        claims.forget(&claimant("a", "holder"));
    }
    assert_eq!(claims.verdict(&wants("b", "lurker", "one.example.com")), kept("one.example.com", "a"));
    assert_eq!(claims.verdict(&wants("b", "lurker", "two.example.com")), HostVerdict::Free);
    claims.after(60);
    let empty = Claims::new(Policy { kept_for: Duration::from_secs(60), ..at_most(1) });
    assert_eq!(format!("{:?}", claims.claims), format!("{empty:?}"), "nothing is left behind");
}

#[test]
fn names_that_machines_and_the_cluster_use_are_nobodys_to_have() {
    let policy = Policy { cluster_domain: "corp.internal".to_owned(), ..Policy::default() };
    for (host, name) in [
        ("localhost", "localhost"),
        ("a.localhost", "localhost"),
        ("*.localhost", "localhost"),
        ("kubernetes.default.svc", "svc"),
        ("svc", "svc"),
        ("kubernetes.default.svc.corp.internal", "corp.internal"),
        ("corp.internal", "corp.internal"),
        ("*.corp.internal", "corp.internal"),
        ("*.internal", "corp.internal"),
        ("A.Corp.Internal.", "corp.internal"),
    ] {
        let refused = policy.refuses(host, Some(&["*".to_owned()]));
        assert_eq!(refused, Some(HostVerdict::Reserved { host: host.to_owned(), name: name.to_owned() }), "{host}");
    }
    for host in ["internal", "xcorp.internal", "svc.example.com", "localhost.example.com", "cluster.local", "mysvc"] {
        assert_eq!(policy.refuses(host, None), None, "{host}");
    }
}

#[test]
fn where_hosts_need_permission_a_namespace_without_the_annotation_may_have_none() {
    let (free, strict) = (Policy::default(), Policy { need_permission: true, ..Policy::default() });
    let forbidden = |allowed: &str| {
        Some(HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: allowed.to_owned(), no_name: None })
    };
    let suffixes = |suffixes: &[&str]| suffixes.iter().map(|suffix| (*suffix).to_owned()).collect::<Vec<_>>();
    for (allowed, by_default, if_strict) in [
        (None, None, forbidden("")),
        (Some(suffixes(&[])), forbidden(""), forbidden("")),
        (Some(suffixes(&["example.org", "a.b"])), forbidden("example.org, a.b"), forbidden("example.org, a.b")),
        (Some(suffixes(&["example.com"])), None, None),
        (Some(suffixes(&["*"])), None, None),
    ] {
        assert_eq!(free.refuses(HOST, allowed.as_deref()), by_default, "{allowed:?}");
        assert_eq!(strict.refuses(HOST, allowed.as_deref()), if_strict, "{allowed:?}");
    }
}

/// An Ingress of the operator's that has routed a host since a moment.
fn ingress(namespace: &str, name: &str, host: &str, since: i64) -> HostRequest {
    let meta = but(wants(namespace, name, host), |g| g.metadata.creation_timestamp = Some(Time(at(since)))).metadata;
    HostRequest::of_ingress(&meta, [host.to_owned()])
}

/// Whether a host is an Ingress's, by whose name.
fn is_ingresses(verdict: &HostVerdict, name: &str) -> bool {
    matches!(verdict, HostVerdict::Taken { by, .. } if by.starts_with(&format!("Ingress {name} without a gateway ")))
}

#[test]
fn what_an_ingress_routes_that_no_gateway_answers_for_is_its_namespaces_until_it_goes() {
    let mut claims = learned(&[]);
    claims.learn(ingress("a", "shop", HOST, 1));
    let newcomer = wants("b", "new", HOST);
    claims.learn(&newcomer);
    assert!(is_ingresses(&claims.verdict(&newcomer), "a/shop"), "{:?}", claims.verdict(&newcomer));
    let wide = wants("b", "wide", "*.example.com");
    assert!(is_ingresses(&claims.verdict(&wide), "a/shop"), "a wildcard over it: {:?}", claims.verdict(&wide));
    for own in ["shop", "another"] {
        assert_eq!(claims.verdict(&wants("a", own, HOST)), HostVerdict::Free, "{own}, of its own namespace");
    }
    let gone = ingress("a", "shop", HOST, 1).claimant;
    assert_eq!(claims.forget(&gone), woken(&[("b", "new")]));
    assert_eq!(claims.verdict(&newcomer), HostVerdict::Free);
}

#[test]
fn an_ingress_alone_takes_nothing_from_who_has_a_host_recorded_or_routed() {
    let (holder, restored) = (holds("a", "shop", HOST, 9), HostRequest::from(&wants("a", "shop", HOST)).routed(true));
    for (what, request) in [("recorded", HostRequest::from(&holder)), ("routed", restored)] {
        let mut claims = learned(&[]);
        claims.learn(ingress("0", "forged", HOST, 1));
        claims.learn(request.clone());
        assert_eq!(claims.verdict(request), HostVerdict::Free, "{what}");
        assert_eq!(
            claims.verdict(&wants("b", "new", HOST)),
            taken(HOST, "a/shop"),
            "{what}: it is the holder who is named"
        );
    }
}

#[test]
fn of_two_ingresses_that_stand_the_older_ones_namespace_may_have_the_host() {
    let mut claims = learned(&[]);
    claims.learn(ingress("b", "shop", HOST, 1));
    claims.learn(ingress("a", "forged", HOST, 2));
    assert_eq!(claims.verdict(&wants("b", "shop", HOST)), HostVerdict::Free);
    for namespace in ["a", "c"] {
        let verdict = claims.verdict(&wants(namespace, "new", HOST));
        assert!(is_ingresses(&verdict, "b/shop"), "{namespace}: {verdict:?}");
    }
}

#[test]
fn what_an_ingress_routes_counts_as_no_claim_and_is_kept_for_nobody() {
    let policy = Policy { kept_for: Duration::from_secs(60), ..at_most(1) };
    let mut claims = Space::with(policy.clone(), &[]);
    for host in ["one.example.com", "two.example.com"] {
        claims.learn(ingress("a", host, host, 1));
    }
    assert_eq!(claims.verdict(&wants("a", "shop", HOST)), HostVerdict::Free);
    for host in ["one.example.com", "two.example.com"] {
        claims.forget(&ingress("a", host, host, 1).claimant);
    }
    assert_eq!(claims.verdict(&wants("b", "new", "one.example.com")), HostVerdict::Free);
    assert_eq!(format!("{:?}", claims.claims), format!("{:?}", Claims::new(policy)), "nothing is left behind");
}
