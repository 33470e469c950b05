//! The decision about one environment.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

use super::builders::{HOST, at, but};
use crate::api::{
    Environment, EnvironmentSpec, EnvironmentState, EnvironmentStatus, GatewayRef, HostClaim, Phase, State, condition,
};
use crate::decide::Place;
use crate::decide::conditions::find;
use crate::decide::environment::{EnvironmentContext, GatewayFacts, Routed, decide, switched};
use crate::decide::observed::HostVerdict;

use EnvironmentState::{Active, Inactive};

fn environment(host: Option<&str>) -> Environment {
    let reference = GatewayRef { name: "shop".to_owned() };
    let spec = EnvironmentSpec { gateway_ref: reference, host: host.map(str::to_owned) };
    but(Environment::new("dev", spec), |environment| {
        environment.metadata.namespace = Some("tenants".to_owned());
        environment.metadata.generation = Some(1);
    })
}

fn in_state(state: EnvironmentState) -> Environment {
    but(environment(Some(HOST)), |environment| {
        environment.status = Some(EnvironmentStatus {
            state,
            activated_at: (state == Active).then(|| MicroTime(at(0))),
            hosts: vec![claim(0)],
            ..EnvironmentStatus::default()
        });
    })
}

fn claim(since: i64) -> HostClaim {
    HostClaim { host: HOST.to_owned(), since: MicroTime(at(since)) }
}

fn gateway(phase: Phase, state: State) -> EnvironmentContext {
    let facts = GatewayFacts { place: Place::of(Some(&phase), Some(state)), suspended: false };
    EnvironmentContext {
        gateway: Some(facts),
        counts: true,
        host: HostVerdict::Free,
        lost: false,
        routed: Routed::Yes,
        exposed: true,
    }
}

fn serving() -> EnvironmentContext {
    gateway(Phase::Started, State::Running)
}

fn taken() -> HostVerdict {
    HostVerdict::Taken { host: HOST.to_owned(), by: "Environment other/dev".to_owned() }
}

fn not_allowed() -> HostVerdict {
    HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: "tenants.example.net".to_owned(), no_name: None }
}

/// There are as many older ones as count.
fn too_many() -> EnvironmentContext {
    EnvironmentContext { counts: false, ..serving() }
}

fn condition(status: &EnvironmentStatus, type_: &str) -> String {
    find(&status.conditions, type_).map(|found| format!("{} {}", found.status, found.reason)).unwrap_or_default()
}

/// The status after a decision.
fn after(environment: &Environment, context: &EnvironmentContext) -> EnvironmentStatus {
    decide(environment, context, at(10)).or(environment.status.clone()).unwrap_or_default()
}

#[test]
fn an_environment_is_active_while_its_gateway_serves() {
    let created = || gateway(Phase::Created, State::Running);
    let starting = || gateway(Phase::Starting, State::Running);
    let restarting = || gateway(Phase::Starting, State::Restarting);
    let timed_out = || gateway(Phase::Started, State::Stopped);
    let stopping = || gateway(Phase::Stopping, State::Stopped);
    let stopped = || gateway(Phase::Stopped, State::Stopped);
    let nobody = || EnvironmentContext { gateway: None, ..serving() };
    let refused = |host| EnvironmentContext { host, ..serving() };
    let rows: Vec<(&str, EnvironmentState, EnvironmentContext, EnvironmentState, &str)> = vec![
        ("its gateway serves", Inactive, serving(), Active, "True Started"),
        ("its gateway goes on serving", Active, serving(), Active, "True Started"),
        (
            "its rule is not stored yet",
            Inactive,
            EnvironmentContext { routed: Routed::No, ..serving() },
            Inactive,
            "False GatewayNotStarted",
        ),
        ("its gateway waits", Inactive, created(), Inactive, "False GatewayNotStarted"),
        ("its gateway's own plan switches it on", Inactive, starting(), Inactive, "False GatewayNotStarted"),
        ("its gateway's own plan switched it on", Active, starting(), Active, "True Started"),
        ("its gateway is restarted and serves", Active, restarting(), Active, "True Started"),
        ("a restart is no time to switch it on", Inactive, restarting(), Inactive, "False GatewayNotStarted"),
        ("its gateway's own plan switches it off", Active, timed_out(), Active, "True Started"),
        ("its gateway's own plan switches it off too", Active, stopping(), Active, "True Started"),
        ("nothing is switched on after a timeout", Inactive, timed_out(), Inactive, "False GatewayNotStarted"),
        ("nothing is switched on during a stop", Inactive, stopping(), Inactive, "False GatewayNotStarted"),
        ("its gateway is stopped", Inactive, stopped(), Inactive, "False GatewayNotStarted"),
        ("a late activation is taken back", Active, stopped(), Inactive, "False GatewayNotStarted"),
        ("its gateway is not there", Inactive, nobody(), Inactive, "False GatewayNotFound"),
        ("its gateway is gone", Active, nobody(), Inactive, "False GatewayNotFound"),
        ("its host is taken", Inactive, refused(taken()), Inactive, "False HostTaken"),
        ("its host belongs to an older claim", Active, refused(taken()), Inactive, "False HostTaken"),
        ("its host is not allowed", Active, refused(not_allowed()), Inactive, "False HostNotAllowed"),
        ("its gateway has too many without it", Active, too_many(), Inactive, "False TooManyEnvironments"),
    ];
    for (name, before, context, expected, ready) in rows {
        let status = after(&in_state(before), &context);
        assert_eq!((status.state, condition(&status, condition::READY)), (expected, ready.to_owned()), "{name}");
        assert_eq!(status.activated_at.is_some(), expected == Active, "{name}");
    }
}

#[test]
fn a_refused_host_stalls_an_environment_and_so_does_that_there_are_too_many() {
    let stalled = |context: &EnvironmentContext| condition(&after(&in_state(Inactive), context), condition::STALLED);
    assert_eq!(stalled(&EnvironmentContext { host: taken(), ..serving() }), "True HostTaken");
    assert_eq!(stalled(&EnvironmentContext { host: not_allowed(), ..serving() }), "True HostNotAllowed");
    let too_many_hosts = HostVerdict::TooMany { host: HOST.to_owned(), limit: 20 };
    assert_eq!(stalled(&EnvironmentContext { host: too_many_hosts, ..serving() }), "True HostLimitReached");
    assert_eq!(stalled(&too_many()), "True TooManyEnvironments");
    assert_eq!(stalled(&gateway(Phase::Stopped, State::Stopped)), "False GatewayNotStarted");
    assert_eq!(stalled(&EnvironmentContext { gateway: None, ..serving() }), "False GatewayNotFound");
}

#[test]
fn a_refusal_names_the_host_and_who_holds_it() {
    let words = |host| {
        let status = after(&in_state(Inactive), &EnvironmentContext { host, ..serving() });
        find(&status.conditions, condition::READY).unwrap().message.clone()
    };
    assert!(words(taken()).contains(HOST) && words(taken()).contains("Environment other/dev"));
    assert!(words(not_allowed()).contains("tenants.example.net"));
}

#[test]
fn a_refused_environment_becomes_active_by_itself_when_its_host_is_free() {
    let mut refused = in_state(Inactive);
    refused.status = decide(&refused, &EnvironmentContext { host: taken(), ..serving() }, at(5));
    let status = after(&refused, &serving());
    assert_eq!((status.state, status.activated_at), (Active, Some(MicroTime(at(10)))));
}

#[test]
fn a_host_is_claimed_once_and_kept() {
    let hosts = |environment: &Environment, host| after(environment, &EnvironmentContext { host, ..serving() }).hosts;
    let fresh = environment(Some(HOST));
    assert_eq!(hosts(&fresh, HostVerdict::Free), [claim(10)]);
    assert_eq!(hosts(&fresh, taken()), []);
    assert_eq!(hosts(&fresh, not_allowed()), []);
    assert_eq!(hosts(&in_state(Active), HostVerdict::Free), [claim(0)], "a claim keeps its age");
    let moved = but(in_state(Active), |e| e.spec.host = Some("new.example.com".to_owned()));
    let expected = HostClaim { host: "new.example.com".to_owned(), since: MicroTime(at(10)) };
    assert_eq!(hosts(&moved, HostVerdict::Free), [expected]);
    assert_eq!(hosts(&moved, taken()), [], "the old host was dropped");
    assert_eq!(hosts(&but(in_state(Active), |e| e.spec.host = None), HostVerdict::Free), []);
}

#[test]
fn one_too_many_holds_no_host_and_is_told_once_whatever_its_gateway_does() {
    let told = after(&in_state(Active), &too_many());
    assert_eq!(told.hosts, []);
    let sentence = "ApiGateway \"shop\" already has its maximum of 200 environments. Delete some, or create this one \
                    for another gateway";
    assert_eq!(find(&told.conditions, condition::STALLED).unwrap().message, sentence);
    let recorded = but(in_state(Active), |e| e.status = Some(told.clone()));
    let suspended = but(too_many(), |context| context.gateway.as_mut().unwrap().suspended = true);
    for context in [
        too_many(),
        suspended,
        EnvironmentContext { gateway: None, ..too_many() },
        EnvironmentContext { host: taken(), ..too_many() },
    ] {
        assert_eq!(after(&in_state(Active), &context), told);
        assert_eq!(decide(&recorded, &context, at(99)), None);
    }
    let counted = after(&recorded, &serving());
    assert_eq!((counted.state, counted.hosts), (Active, vec![claim(10)]), "it counts once an older one is gone");
}

#[test]
fn an_environment_without_a_host_needs_none() {
    let status = after(&environment(None), &serving());
    assert_eq!((status.state, status.hosts), (Active, vec![]));
}

fn suspended() -> EnvironmentContext {
    but(serving(), |context| context.gateway.as_mut().unwrap().suspended = true)
}

#[test]
fn nothing_is_written_for_what_is_suspended() {
    assert_eq!(decide(&in_state(Inactive), &suspended(), at(10)), None);
    assert_eq!(decide(&in_state(Active), &EnvironmentContext { host: taken(), ..suspended() }, at(10)), None);
}

#[test]
fn a_claim_that_does_not_stand_is_dropped_and_begins_anew() {
    for host in [taken(), not_allowed()] {
        for context in [
            serving(),
            suspended(),
            gateway(Phase::Stopped, State::Stopped),
            EnvironmentContext { gateway: None, ..serving() },
        ] {
            let context = EnvironmentContext { host: host.clone(), lost: true, ..context };
            let status = after(&in_state(Active), &context);
            assert_eq!((status.state, &*status.hosts), (Inactive, &[][..]), "{context:?}");
        }
    }
    let lost = but(in_state(Active), |e| {
        e.status = Some(after(e, &EnvironmentContext { host: taken(), lost: true, ..serving() }))
    });
    assert_eq!(after(&lost, &serving()).hosts, [claim(10)]);
}

/// Somebody put a finalizer on it: it would be there for ever.
#[test]
fn one_that_is_being_deleted_is_inactive_and_holds_its_host_for_as_long_as_it_is_routed() {
    let deleted = but(in_state(Active), |e| {
        e.metadata.deletion_timestamp = Some(Time(at(0)));
        e.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    });
    for context in [serving(), suspended()] {
        let status = after(&deleted, &context);
        assert_eq!((status.state, status.hosts.clone()), (Inactive, vec![claim(0)]));
        let ready = find(&status.conditions, condition::READY).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "Deleting"));
        assert!(ready.message.contains("example.com/hold"), "{}", ready.message);
        let unrouted = EnvironmentContext { routed: Routed::No, ..context };
        assert_eq!(after(&deleted, &unrouted).hosts, []);
        let let_go = but(deleted.clone(), |e| e.status = Some(after(e, &unrouted)));
        assert_eq!(decide(&let_go, &unrouted, at(99)), None, "once");
        assert_eq!(
            after(&let_go, &EnvironmentContext { routed: Routed::Yes, ..unrouted }).hosts,
            [],
            "nothing is claimed anew"
        );
    }
}

#[test]
fn who_holds_its_host_meanwhile_is_no_news() {
    let waits =
        but(environment(Some(HOST)), |e| e.status = Some(after(e, &EnvironmentContext { host: taken(), ..serving() })));
    let another = HostVerdict::Taken { host: HOST.to_owned(), by: "ApiGateway other/heir".to_owned() };
    assert_eq!(decide(&waits, &EnvironmentContext { host: another.clone(), ..serving() }, at(99)), None);
    let changed = but(waits, |e| e.metadata.generation = Some(2));
    let told = after(&changed, &EnvironmentContext { host: another, ..serving() });
    assert!(find(&told.conditions, condition::READY).unwrap().message.contains("other/heir"));
}

#[test]
fn a_decision_that_was_recorded_has_nothing_new_to_say() {
    for context in
        [serving(), gateway(Phase::Stopped, State::Stopped), EnvironmentContext { host: taken(), ..serving() }]
    {
        for state in [Active, Inactive] {
            let recorded = but(in_state(state), |e| e.status = Some(after(e, &context)));
            assert_eq!(decide(&recorded, &context, at(99)), None);
        }
    }
}

#[test]
fn what_its_gateway_switches_is_told_with_its_times() {
    let on = switched(&in_state(Inactive), Active, at(10));
    assert_eq!((on.state, on.activated_at.clone()), (Active, Some(MicroTime(at(10)))));
    assert_eq!(condition(&on, condition::READY), "True Started");
    let recorded = but(in_state(Inactive), |e| e.status = Some(on.clone()));
    assert_eq!(switched(&recorded, Active, at(20)), on, "switching on again changes nothing");
    let off = switched(&recorded, Inactive, at(30));
    assert_eq!((off.state, off.activated_at), (Inactive, None));
    let ready = find(&off.conditions, condition::READY).unwrap();
    assert_eq!((ready.status.as_str(), ready.last_transition_time.clone()), ("False", Time(at(30))));
    let stalled = find(&off.conditions, condition::STALLED).unwrap();
    assert_eq!(stalled.last_transition_time, Time(at(10)), "it did not turn");
    assert_eq!(off.observed_generation, Some(1));
}
