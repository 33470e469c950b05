//! What the conditions say at every place. `Ready`: as asked. `Available`: it serves.
//! `Reconciling`: being worked on. `Stalled`: no progress until somebody acts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::builders::*;
use crate::api::condition::{AVAILABLE, CLEANUP_STUCK, READY, RECONCILING, STALLED};
use crate::api::{ApiGateway, ApiGatewayStatus, Reason, Serving, StoredChange, Subject};
use crate::decide::conditions::{failing, find};
use crate::decide::observed::{
    Child, HostVerdict, Moment, Observed, PodTermination, Pods, Presence, RemainingPod, Rollout, TerminatingChild,
    Trouble,
};
use crate::decide::{decide, human};

/// Ready, Available, Reconciling, Stalled.
type Expected = [&'static str; 4];
type Row = (&'static str, ApiGateway, Observed, Moment, Expected);

fn check(rows: Vec<Row>) {
    let faults: Vec<String> = rows
        .into_iter()
        .filter_map(|(name, gateway, observed, moment, expected)| {
            let status = status_after(&gateway, &observed, &moment);
            let got = [READY, AVAILABLE, RECONCILING, STALLED].map(|type_| said(&status, type_));
            (got != expected).then(|| format!("- {name}:\n  expected {expected:?}\n  got      {got:?}"))
        })
        .collect();
    assert!(faults.is_empty(), "{} rows fail:\n{}", faults.len(), faults.join("\n"));
}

fn lost(observed: Observed) -> Observed {
    but(observed, |o| (o.rollout.complete, o.rollout.ready, o.rollout.available) = (false, 0, 0))
}

fn no_progress(observed: Observed) -> Observed {
    but(observed, |o| o.rollout.progress_deadline_exceeded = Some("ReplicaSet has timed out progressing".to_owned()))
}

fn scaled_to_zero(observed: Observed) -> Observed {
    but(observed, |o| {
        o.rollout = but(o.rollout.clone(), |r| {
            (r.complete, r.desired, r.replicas, r.ready, r.available) = (true, 0, 0, 0, 0);
        });
    })
}

#[test]
fn before_the_start() {
    let held = |reason: &'static str| -> Expected {
        match reason {
            "HostTaken" => ["False HostTaken", "False HostTaken", "False HostTaken", "True HostTaken"],
            _ => ["False NameTaken", "False NameTaken", "False NameTaken", "True NameTaken"],
        }
    };
    check(vec![
        ("a taken host stalls", fresh(), host_taken(nothing()), after(0), held("HostTaken")),
        ("a host that is still taken stalls", created(), host_taken(nothing()), after(60), held("HostTaken")),
        (
            "a host that is not allowed stalls",
            fresh(),
            host_not_allowed(nothing()),
            after(0),
            ["False HostNotAllowed", "False HostNotAllowed", "False HostNotAllowed", "True HostNotAllowed"],
        ),
        (
            "what is not allowed stalls",
            created(),
            not_allowed(nothing()),
            after(60),
            ["False NotAllowed", "False NotAllowed", "False NotAllowed", "True NotAllowed"],
        ),
        ("a taken name stalls", fresh(), name_taken(nothing()), after(0), held("NameTaken")),
        (
            "garbage collection that is late does not",
            created(),
            predecessor_goes(nothing()),
            after(30),
            [
                "False WaitingForDeletion",
                "False WaitingForDeletion",
                "False WaitingForDeletion",
                "True WaitingForDeletion",
            ],
        ),
        (
            "nor in a start",
            starting(),
            predecessor_goes(nothing()),
            Moment { held: secs(30), ..after(60) },
            ["False WaitingForDeletion", "False Starting", "False WaitingForDeletion", "True WaitingForDeletion"],
        ),
        (
            "waiting for garbage collection heals by itself",
            fresh(),
            predecessor_goes(nothing()),
            after(0),
            [
                "False WaitingForDeletion",
                "False WaitingForDeletion",
                "True WaitingForDeletion",
                "False WaitingForDeletion",
            ],
        ),
        (
            "waiting for the registry heals by itself",
            fresh(),
            registry_away(nothing()),
            after(0),
            [
                "False RegistryUnavailable",
                "False RegistryUnavailable",
                "True RegistryUnavailable",
                "False RegistryUnavailable",
            ],
        ),
    ]);
}

#[test]
fn during_a_start() {
    let on_its_way = ["False Starting", "False Starting", "True Starting", "False Starting"];
    check(vec![
        ("a start begins", fresh(), nothing(), after(0), on_its_way),
        ("a start is on its way", starting(), coming_up(), after(60), on_its_way),
        (
            "one pod of two is not yet Available: pods are not announced one by one",
            starting(),
            but(rolling_out(), |o| o.rollout.desired = 2),
            after(60),
            on_its_way,
        ),
        (
            "a visible cause is told before the deadline, and may heal",
            starting(),
            image_not_pullable(coming_up(), "shop-1"),
            after(60),
            ["False ImagePullFailed", "False Starting", "True ImagePullFailed", "False ImagePullFailed"],
        ),
        (
            "a taken host stalls a start",
            starting(),
            host_taken(coming_up()),
            after(60),
            ["False HostTaken", "False Starting", "False HostTaken", "True HostTaken"],
        ),
        (
            "a restart goes on serving",
            restarting(),
            rolling_out(),
            after(60),
            ["False Restarting", "True Started", "True Restarting", "False Restarting"],
        ),
        (
            "a restart that serves no more says so",
            restarting(),
            coming_up(),
            after(60),
            ["False Restarting", "False Unavailable", "True Restarting", "False Restarting"],
        ),
    ]);
}

#[test]
fn who_scaled_a_gateway_to_zero_is_told_by_available_and_ready_alike() {
    let asked = taken_up(but(started(), |g| g.spec.replicas = Some(0)));
    let theirs = "the Deployment was scaled to 0, which the operator keeps while spec.replicas has its default. Point \
                  its autoscaler at the ApiGateway, or scale the Deployment up";
    let by_the_spec = "spec.replicas is 0, so no pod runs. To serve, scale the ApiGateway up (kubectl scale, or its \
                       autoscaler)";
    for (gateway, words) in [(asked, by_the_spec), (started(), theirs)] {
        let status = status_after(&gateway, &scaled_to_zero(serving()), &after(60));
        assert_eq!((message(&status, AVAILABLE).as_str(), message(&status, READY).as_str()), (words, words));
    }
    let on_the_way_in = but(scaled_to_zero(serving()), |o| {
        let [child, path, asked, stored] = ["Deployment", "/spec/replicas", "2", "0"].map(str::to_owned);
        o.writes.changed = vec![StoredChange { child, path, asked, stored }];
    });
    let status = status_after(&started(), &on_the_way_in, &after(60));
    assert!(
        message(&status, AVAILABLE).contains("admission changes /spec/replicas"),
        "{}",
        message(&status, AVAILABLE)
    );
    let edited = child(scaled_to_zero(serving()), Child::Deployment, different());
    let status = status_after(&started(), &edited, &after(60));
    assert_eq!(message(&status, AVAILABLE), "the Deployment was scaled to 0; the operator reverts it to spec.replicas");
    assert_eq!(said(&status, READY), "False RollingOut");
    // It is as asked again by itself.
    let up = status_after(&but(started(), |g| g.status = Some(status.clone())), &serving(), &after(61));
    assert_eq!(
        (said(&up, AVAILABLE), message(&up, READY)),
        ("True Started".to_owned(), "the gateway matches its spec".to_owned())
    );
}

#[test]
fn while_started() {
    let rolling = ["False RollingOut", "True Started", "True RollingOut", "False RollingOut"];
    let lost_pods = ["False RollingOut", "False Unavailable", "True RollingOut", "False RollingOut"];
    let as_asked = ["True Started", "True Started", "False Started", "False Started"];
    check(vec![
        ("a gateway that starts is Ready and Available", starting(), serving(), after(60), as_asked),
        ("a gateway that serves is Ready and Available", started(), serving(), after(60), as_asked),
        (
            "a gateway with no replicas is as asked and does not serve",
            started(),
            scaled_to_zero(serving()),
            after(60),
            ["True Started", "False ScaledToZero", "False Started", "False Started"],
        ),
        ("a change is rolled out", started(), child(rolling_out(), Child::Deployment, different()), after(60), rolling),
        ("an incomplete rollout goes on", started(), rolling_out(), after(60), rolling),
        ("lost pods are not available", started(), lost(serving()), after(60), lost_pods),
        ("a gone Deployment is not available", started(), nothing(), after(60), lost_pods),
        (
            "without its Service a gateway cannot be reached",
            started(),
            child(serving(), Child::Service, Presence::Missing),
            after(60),
            lost_pods,
        ),
        (
            "without its Ingress a gateway cannot be reached",
            started(),
            child(serving(), Child::Ingress, Presence::Missing),
            after(60),
            lost_pods,
        ),
        (
            "a foreign Deployment serves nobody",
            started(),
            child(serving(), Child::Deployment, Presence::Foreign("nobody".to_owned())),
            after(60),
            ["False NameTaken", "False Unavailable", "False NameTaken", "True NameTaken"],
        ),
        (
            "a gateway without a host needs no Ingress",
            taken_up(but(started(), drops_the_host)),
            child(serving(), Child::Ingress, Presence::NotWanted),
            after(60),
            as_asked,
        ),
        (
            "a bad new image may heal",
            started(),
            image_not_pullable(rolling_out(), "shop-2"),
            after(60),
            ["False ImagePullFailed", "True Started", "True ImagePullFailed", "False ImagePullFailed"],
        ),
        (
            "a rollout without progress stalls, and the last good pods serve",
            started(),
            image_not_pullable(no_progress(rolling_out()), "shop-2"),
            after(60),
            [
                "False ProgressDeadlineExceeded",
                "True Started",
                "False ProgressDeadlineExceeded",
                "True ProgressDeadlineExceeded",
            ],
        ),
        (
            "a new host that is taken stalls, and the old one serves",
            started(),
            host_taken(serving()),
            after(60),
            ["False HostTaken", "True Started", "False HostTaken", "True HostTaken"],
        ),
        (
            "what is not allowed any more stalls, although it is what was asked, and serves",
            started(),
            not_allowed(serving()),
            after(60),
            ["False NotAllowed", "True Started", "False NotAllowed", "True NotAllowed"],
        ),
        (
            "so does an ingress class",
            started(),
            class_not_allowed(serving()),
            after(60),
            [
                "False IngressClassNotAllowed",
                "True Started",
                "False IngressClassNotAllowed",
                "True IngressClassNotAllowed",
            ],
        ),
    ]);
}

const RESTART_FAILED: Expected =
    ["False RestartDeadlineExceeded", "True Started", "False RestartDeadlineExceeded", "True RestartDeadlineExceeded"];

fn restart_gave_up() -> ApiGateway {
    but(restarting(), |g| drop(pass(g, &image_not_pullable(rolling_out(), "shop-2"), &after(301))))
}

#[test]
fn a_restart_that_took_too_long_is_stalled_until_the_workload_is_ready_or_something_new_is_asked() {
    let new_spec = but(restart_gave_up(), changes_the_image);
    let taken_up_before = but(new_spec.clone(), |g| drop(pass(g, &rolling_out(), &after(400))));
    let rolling = ["False RollingOut", "True Started", "True RollingOut", "False RollingOut"];
    check(vec![
        ("at once", restarting(), rolling_out(), after(301), RESTART_FAILED),
        ("and on", restart_gave_up(), rolling_out(), after(400), RESTART_FAILED),
        ("whatever the Deployment says", restart_gave_up(), no_progress(rolling_out()), after(400), RESTART_FAILED),
        (
            "until it is ready",
            restart_gave_up(),
            serving(),
            after(400),
            ["True Started", "True Started", "False Started", "False Started"],
        ),
        ("or the spec changes", new_spec, rolling_out(), after(400), rolling),
        ("from then on", taken_up_before, rolling_out(), after(401), rolling),
    ]);
    let stalled = message(&restart_gave_up().status_or_default(), STALLED);
    assert!(stalled.contains("shop-2"), "it names the cause: {stalled}");
}

const START_INCOMPLETE: Expected =
    ["False StartDeadlineExceeded", "True Started", "False StartDeadlineExceeded", "True StartDeadlineExceeded"];

/// Three of four pods found room.
fn three_of_four() -> Observed {
    let rollout = Rollout { desired: 4, replicas: 4, ready: 3, available: 3, updated: 4, ..Rollout::default() };
    unschedulable(but(coming_up(), |o| o.rollout = rollout), "shop-4")
}

fn start_gave_up() -> ApiGateway {
    but(starting(), |g| drop(pass(g, &three_of_four(), &after(301))))
}

#[test]
fn a_start_that_is_not_complete_at_its_deadline_serves_on_and_is_ready_when_the_rest_comes() {
    let complete = but(serving(), |o| {
        o.rollout = Rollout {
            complete: true,
            desired: 4,
            replicas: 4,
            ready: 4,
            available: 4,
            updated: 4,
            ..Rollout::default()
        };
    });
    let as_asked = ["True Started", "True Started", "False Started", "False Started"];
    let lost = but(three_of_four(), |o| (o.rollout.ready, o.rollout.available) = (0, 0));
    let new_spec = but(start_gave_up(), changes_the_image);
    check(vec![
        ("at once", starting(), three_of_four(), after(301), START_INCOMPLETE),
        ("and on", start_gave_up(), three_of_four(), after(9_000), START_INCOMPLETE),
        ("whatever the Deployment says", start_gave_up(), no_progress(three_of_four()), after(400), START_INCOMPLETE),
        ("until the rest is there", start_gave_up(), complete, after(400), as_asked),
        (
            "or the spec changes",
            new_spec,
            but(three_of_four(), |o| o.pods.troubles.clear()),
            after(400),
            ["False RollingOut", "True Started", "True RollingOut", "False RollingOut"],
        ),
        (
            "it says so when the last pod stops serving",
            start_gave_up(),
            lost,
            after(400),
            [START_INCOMPLETE[0], "False Unavailable", START_INCOMPLETE[2], START_INCOMPLETE[3]],
        ),
    ]);
    assert_eq!(
        message(&start_gave_up().status_or_default(), STALLED),
        "the start missed its deadline; the available pods keep serving: pod shop-4: not scheduled: 0/3 nodes are \
         available: 3 Insufficient cpu. To be scheduled, add nodes, or ask the cluster administrator what adds \
         requests to pods (the spec has none). It completes automatically once this is fixed."
    );
}

/// Nothing but the first so many of four pods is left, each kept by something else.
fn last_pods(count: usize) -> Observed {
    let termination = |node: Option<&str>, finalizers: &[&str]| {
        let finalizers = finalizers.iter().map(|name| (*name).to_owned()).collect();
        Some(PodTermination { node: node.map(str::to_owned), finalizers })
    };
    let all = [
        ("shop-1", termination(None, &[])),
        ("shop-2", None),
        ("shop-3", termination(Some("n-1"), &["example.com/a", "example.com/b"])),
        ("shop-4", termination(Some("n-2"), &[])),
    ];
    but(pods(nothing(), count, 0), |o| {
        let left =
            all.into_iter().take(count).map(|(pod, termination)| RemainingPod { pod: pod.to_owned(), termination });
        o.pods.remaining = left.collect();
    })
}

#[test]
fn after_a_timeout() {
    let told = |reconciling, stalled| -> Expected {
        ["False StartDeadlineExceeded", "False StartDeadlineExceeded", reconciling, stalled]
    };
    let removing = told("True Stopping", "True StartDeadlineExceeded");
    let retried = told("True Stopping", "False StartDeadlineExceeded");
    check(vec![
        ("a timeout is told at once", starting(), coming_up(), after(301), removing),
        ("pods that came up since are not announced", timed_out(), serving(), after(302), removing),
        ("the clean-up goes on", stopping_after_timeout(), serving(), after(310), removing),
        (
            "it stays told when all is removed",
            stopping_after_timeout(),
            nothing(),
            after(320),
            told("False Stopped", "True StartDeadlineExceeded"),
        ),
        (
            "it stays told until somebody acts",
            stopped_after_timeout(),
            nothing(),
            after(99_999),
            told("False Stopped", "True StartDeadlineExceeded"),
        ),
        (
            "a retry of the operator's own is no stall",
            with_retries(stopped_after_timeout(), 2, None),
            nothing(),
            after_failure(1),
            told("True RetryScheduled", "False StartDeadlineExceeded"),
        ),
        ("not before the clean-up either", with_retries(starting(), 2, None), coming_up(), after(301), retried),
        (
            "without retries left it is one",
            with_retries(stopped_after_timeout(), 0, None),
            nothing(),
            after_failure(1),
            told("False Stopped", "True StartDeadlineExceeded"),
        ),
        (
            "a request whose host is taken says so",
            but(stopped_after_timeout(), changes_the_image),
            host_taken(nothing()),
            after(320),
            ["False HostTaken", "False HostTaken", "False HostTaken", "True HostTaken"],
        ),
    ]);
}

#[test]
fn who_holds_the_host_meanwhile_is_no_news_to_whoever_waits() {
    let by = |by: &str| {
        but(host_taken(nothing()), |o| o.host = HostVerdict::Taken { host: HOST.to_owned(), by: by.to_owned() })
    };
    let mut waits = fresh();
    pass(&mut waits, &by("ApiGateway a/first"), &after(0));
    pass(&mut waits, &by("ApiGateway a/first"), &after(1));
    assert_eq!(decide(&waits, &by("ApiGateway b/second"), &after(60), &SETTINGS).status, None);
    let changed = status_after(&but(waits, changes_the_image), &by("ApiGateway b/second"), &after(60));
    assert!(message(&changed, STALLED).contains("ApiGateway b/second"));
}

#[test]
fn a_suspended_gateway_says_that_its_namespace_may_not_have_its_host() {
    let forbidden = but(host_not_allowed(serving()), |o| o.lost = vec![HOST.to_owned()]);
    let status = status_after(&but(started(), suspends), &forbidden, &after(60));
    assert_eq!([READY, STALLED].map(|type_| said(&status, type_)), ["False Suspended", "True HostNotAllowed"]);
    let taken = status_after(&but(started(), suspends), &host_taken(serving()), &after(60));
    assert_eq!(said(&taken, STALLED), "False Suspended");
}

#[test]
fn a_timeout_says_why_and_how_to_go_on() {
    let status = status_after(&starting(), &image_not_pullable(coming_up(), "shop-1"), &after(301));
    let ready = message(&status, READY);
    for part in ["5m", "shop-1", "ghcr.io/acme/gateway:1", "spec.image", "phasegate.dev/retry-requested-at"] {
        assert!(ready.contains(part), "{part:?} in {ready:?}");
    }
    let retried = status_after(&with_retries(starting(), 2, None), &coming_up(), &after(301));
    assert!(message(&retried, READY).contains("retries automatically"));
    assert!(!message(&retried, READY).contains("annotation"));
}

#[test]
fn a_stop_as_asked() {
    let stopping = ["False Stopping", "False Stopping", "True Stopping", "False Stopping"];
    let stopped = ["True Stopped", "False Stopped", "False Stopped", "False Stopped"];
    let host_is_taken = ["False HostTaken", "False HostTaken", "False HostTaken", "True HostTaken"];
    check(vec![
        ("a stop begins", but(started(), asks_stopped), serving(), after(60), stopping),
        ("a cancelled start is a stop", but(starting(), asks_stopped), coming_up(), after(60), stopping),
        ("a stop goes on", stopping_as_asked(), serving(), after(60), stopping),
        ("a stop goes on while Running is asked", but(stopping_as_asked(), asks_running), serving(), after(60), {
            stopping
        }),
        ("a deliberately stopped gateway is Ready", stopping_as_asked(), nothing(), after(60), stopped),
        ("and stays so", stopped_as_asked(), nothing(), after(60), stopped),
        ("one that was never started too", but(fresh(), asks_stopped), nothing(), after(0), stopped),
        (
            "a timed-out gateway that the user stops is Ready in the end",
            but(stopping_after_timeout(), asks_stopped),
            nothing(),
            after(60),
            stopped,
        ),
        (
            "a stopped gateway that is to run and whose host is taken says so",
            but(stopped_as_asked(), asks_running),
            host_taken(nothing()),
            after(60),
            host_is_taken,
        ),
    ]);
}

#[test]
fn a_stop_that_is_stuck_names_what_it_waits_for() {
    let stuck = |observed: Observed| status_after(&stopping_as_asked(), &observed, &after(600));
    let rows: Vec<(Observed, &[&str])> = vec![
        (child(nothing(), Child::Service, Presence::Terminating), &["Service", "shop", "finalizers"]),
        (child(nothing(), Child::Deployment, Presence::Equal), &["Deployment", "shop"]),
        (child(nothing(), Child::Ingress, Presence::Terminating), &["Ingress", "shop"]),
        (child(nothing(), Child::PodDisruptionBudget, Presence::Terminating), &["PodDisruptionBudget", "shop"]),
        (serving(), &["Ingress"]),
        (child(serving(), Child::Ingress, Presence::NotWanted), &["Service"]),
        (last_pods(1), &["its last pods: pod shop-1, terminating"]),
        (last_pods(2), &["pod shop-1, terminating; pod shop-2, which has no deletion timestamp: delete it"]),
        (
            last_pods(3),
            &[
                "pod shop-3 on node n-1, held by finalizers (example.com/a, example.com/b): check their controllers, or \
               remove them",
            ],
        ),
        (
            last_pods(4),
            &["pod shop-4 on node n-2: check the node; if it is gone for good, delete the pod with --force"],
        ),
        (but(last_pods(1), |o| o.pods.total = 9), &["pod shop-1, terminating; others"]),
    ];
    for (observed, parts) in rows {
        let status = stuck(observed);
        assert_eq!(said(&status, CLEANUP_STUCK), "True CleanupStuck");
        assert_eq!(said(&status, STALLED), "True CleanupStuck");
        let words = message(&status, CLEANUP_STUCK);
        assert!(parts.iter().all(|part| words.contains(part)), "{parts:?} in {words:?}");
    }
    let patient = taken_up(but(starting(), |g| g.spec.start_deadline = Some(secs(900).into())));
    let long_start = status_after(&patient, &coming_up(), &after(900));
    assert_eq!(said(&long_start, CLEANUP_STUCK), "", "only a stop can be stuck");
    let in_time = status_after(&stopping_as_asked(), &pods(nothing(), 1, 1), &after(599));
    assert_eq!(said(&in_time, CLEANUP_STUCK), "");
    let done = status_after(&stopping_after_timeout(), &pods(nothing(), 1, 1), &after(600));
    assert_eq!(said(&done, CLEANUP_STUCK), "", "it goes with the stop");
}

#[test]
fn a_stop_that_waits_for_many_pods_is_written_again_only_when_something_else_keeps_them() {
    let left = |pods: &[(&str, &str)]| {
        but(nothing(), |o| {
            let termination = |node: &str| PodTermination { node: Some(node.to_owned()), finalizers: Vec::new() };
            let pod = |(pod, node): &(&str, &str)| RemainingPod {
                pod: (*pod).to_owned(),
                termination: Some(termination(node)),
            };
            o.pods.remaining = pods.iter().map(pod).collect();
            (o.pods.total, o.pods.terminating) = (9, 9);
        })
    };
    let mut gateway = stopping_as_asked();
    let first = left(&[("shop-1", "n-1"), ("shop-2", "n-1"), ("shop-3", "n-2")]);
    assert!(pass(&mut gateway, &first, &after(600)).status.is_some());
    for next in [left(&[("shop-2", "n-1"), ("shop-3", "n-2")]), left(&[("shop-4", "n-1")])] {
        assert_eq!(pass(&mut gateway, &next, &after(601)).status, None, "others of the same node");
    }
    let elsewhere = pass(&mut gateway, &left(&[("shop-3", "n-2")]), &after(602)).status.unwrap();
    assert!(message(&elsewhere, CLEANUP_STUCK).contains("pod shop-3 on node n-2"), "{elsewhere:?}");
}

#[test]
fn of_many_finalizers_the_first_are_named() {
    let many: Vec<String> = (0..50).map(|number| format!("example.com/{number}-{}", "x".repeat(200))).collect();
    let pod = but(nothing(), |o| {
        let termination = Some(PodTermination { node: None, finalizers: many.clone() });
        o.pods = Pods {
            total: 1,
            terminating: 1,
            remaining: vec![RemainingPod { pod: "shop-1".to_owned(), termination }],
            ..Pods::default()
        };
    });
    let words = message(&status_after(&stopping_as_asked(), &pod, &after(600)), CLEANUP_STUCK);
    assert!(words.len() < 600 && words.contains("example.com/0-") && words.contains(" and others)"), "{words}");
    let service = but(child(serving(), Child::Service, Presence::Terminating), |o| {
        o.writes.terminating = vec![TerminatingChild { child: Child::Service, lasted: secs(30), finalizers: many }];
    });
    let words = message(&status_after(&started(), &service, &after(60)), READY);
    assert!(words.len() < 700 && words.contains("example.com/0-") && words.contains(" and others"), "{words}");
}

#[test]
fn a_second_cause_that_comes_later_is_told_and_goes_when_it_is_over() {
    for began in [starting(), started()] {
        let mut gateway = began;
        let refused = refused(child(coming_up(), Child::Deployment, different()), Child::Deployment);
        let both = image_not_pullable(refused.clone(), "shop-1");
        let words = |gateway: &ApiGateway| message(&gateway.status.clone().unwrap(), READY);
        pass(&mut gateway, &refused, &after(60));
        assert!(!words(&gateway).contains("also,"), "{}", words(&gateway));
        assert_eq!(pass(&mut gateway, &both, &after(61)).events, [], "the reason is the same");
        assert!(words(&gateway).contains("denied by policy; also, "), "{}", words(&gateway));
        // Another pod with the same trouble is no write.
        let another = image_not_pullable(refused.clone(), "shop-2");
        assert_eq!(pass(&mut gateway, &another, &after(62)).status, None);
        pass(&mut gateway, &refused, &after(63));
        assert!(!words(&gateway).contains("also,"), "{}", words(&gateway));
    }
}

#[test]
fn a_stop_that_is_stuck_says_who_keeps_it_from_deleting() {
    let left = child(nothing(), Child::Deployment, Presence::Equal);
    let words = |observed: Observed| message(&status_after(&stopping_as_asked(), &observed, &after(600)), STALLED);
    let denied = words(refused(left.clone(), Child::Deployment));
    assert!(denied.contains("the deletion of Deployment \"shop\"") && denied.contains("denied by policy"), "{denied}");
    let away = words(unanswered(left.clone(), Child::Deployment, webhook()));
    assert!(away.contains("\"no.example.com\"") && away.contains("connection refused"), "{away}");
    let another = words(refused(left, Child::Service));
    assert!(!another.contains("denied"), "{another}");
}

#[test]
fn without_its_pod_disruption_budget_a_gateway_serves_and_is_not_as_asked() {
    let without = || child(serving(), Child::PodDisruptionBudget, Presence::Missing);
    let as_asked = ["True Started", "True Started", "False Started", "False Started"];
    let told = |reason: &'static str| match reason {
        "AdmissionRefused" => {
            ["False AdmissionRefused", "True Started", "True AdmissionRefused", "False AdmissionRefused"]
        }
        _ => ["False WebhookUnavailable", "True Started", "True WebhookUnavailable", "False WebhookUnavailable"],
    };
    let is_refused = |observed| refused(observed, Child::PodDisruptionBudget);
    let there = child(serving(), Child::PodDisruptionBudget, Presence::Equal);
    let differs = child(serving(), Child::PodDisruptionBudget, different());
    check(vec![
        ("one that is about to be made is no trouble", started(), without(), after(60), as_asked),
        ("one that is refused is", started(), is_refused(without()), after(60), told("AdmissionRefused")),
        ("a change of it that is refused too", started(), is_refused(differs), after(60), told("AdmissionRefused")),
        ("a start ends without it", starting(), is_refused(without()), after(60), told("AdmissionRefused")),
        (
            "whose webhook is away is told",
            started(),
            unanswered(without(), Child::PodDisruptionBudget, webhook()),
            after(60),
            told("WebhookUnavailable"),
        ),
        ("until it is there", started(), is_refused(there), after(60), as_asked),
        ("or is not wanted any more", started(), is_refused(serving()), after(60), as_asked),
        (
            "the refusal of another child that is there by now is none",
            started(),
            refused(without(), Child::Service),
            after(60),
            as_asked,
        ),
    ]);
    let words = message(&status_after(&started(), &is_refused(without()), &after(60)), READY);
    assert!(words.contains("the PodDisruptionBudget") && words.contains("denied by policy"), "{words}");
}

#[test]
fn an_unknown_phase_stalls() {
    let unknown = ["False UnknownPhase", "False UnknownPhase", "False UnknownPhase", "True UnknownPhase"];
    check(vec![
        ("alone", of_a_later_version(), serving(), after(60), unknown),
        ("while suspended", but(of_a_later_version(), suspends), serving(), after(60), unknown),
    ]);
    let status = status_after(&of_a_later_version(), &serving(), &after(60));
    assert!(message(&status, STALLED).contains("Hibernating"));
}

#[test]
fn suspended() {
    check(vec![
        (
            "a gateway that serves is still Ready and Available",
            but(started(), suspends),
            serving(),
            after(60),
            ["True Suspended", "True Started", "False Suspended", "False Suspended"],
        ),
        (
            "a gateway that differs is not Ready, and nobody works on it",
            but(started(), suspends),
            rolling_out(),
            after(60),
            ["False Suspended", "True Started", "False Suspended", "False Suspended"],
        ),
        (
            "a start is not going on",
            but(starting(), suspends),
            coming_up(),
            after(60),
            ["False Suspended", "False Starting", "False Suspended", "False Suspended"],
        ),
        (
            "a stopped gateway is still as asked",
            but(stopped_as_asked(), suspends),
            nothing(),
            after(60),
            ["True Suspended", "False Stopped", "False Suspended", "False Suspended"],
        ),
    ]);
}

fn turned_at(status: &ApiGatewayStatus, type_: &str) -> Time {
    find(&status.conditions, type_).unwrap().last_transition_time.clone()
}

#[test]
fn a_condition_keeps_its_time_until_it_turns() {
    let mut gateway = starting();
    pass(&mut gateway, &coming_up(), &after(10));
    assert_eq!(turned_at(&gateway.status_or_default(), AVAILABLE), Time(at(10)));
    pass(&mut gateway, &image_not_pullable(coming_up(), "shop-1"), &after(20));
    assert_eq!(said(&gateway.status_or_default(), READY), "False ImagePullFailed");
    assert_eq!(turned_at(&gateway.status_or_default(), READY), Time(at(10)), "another reason is no turn");
    let moment = Moment { now: at(30) + k8s_openapi::jiff::SignedDuration::from_millis(900), ..after(30) };
    pass(&mut gateway, &serving(), &moment);
    let status = gateway.status_or_default();
    assert_eq!(turned_at(&status, AVAILABLE), Time(at(30)), "in whole seconds");
    assert_eq!(turned_at(&status, STALLED), Time(at(10)));
    let generations = status.conditions.iter().map(|condition| condition.observed_generation);
    assert!(generations.into_iter().all(|generation| generation == Some(1)));
}

#[test]
fn the_same_cause_in_another_pod_is_no_news_and_another_cause_is() {
    let mut gateway = starting();
    pass(&mut gateway, &image_not_pullable(coming_up(), "shop-1"), &after(10));
    let again = decide(&gateway, &image_not_pullable(coming_up(), "shop-2"), &after(20), &SETTINGS);
    assert_eq!((again.status, again.events), (None, vec![]));
    let other = decide(&gateway, &unschedulable(coming_up(), "shop-1"), &after(20), &SETTINGS);
    let status = other.status.expect("another cause is news");
    assert_eq!(said(&status, RECONCILING), "True Unschedulable");
    assert!(message(&status, RECONCILING).contains("Insufficient cpu"));
}

#[test]
fn a_gateway_that_has_served_says_who_serves_while_its_pods_do_not_come_up() {
    let rows: Vec<(ApiGateway, Observed, &str)> = vec![
        (started(), rolling_out(), "; the old pods keep serving. "),
        (restarting(), rolling_out(), "; the old pods keep serving. "),
        (started(), but(rolling_out(), |o| o.rollout.updated = 2), "; other pods keep serving. "),
        (started(), lost(serving()), "; no pod serves. "),
    ];
    for (gateway, observed, words) in rows {
        let status = status_after(&gateway, &image_not_pullable(observed, "shop-2"), &after(60));
        assert_eq!(said(&status, RECONCILING), "True ImagePullFailed");
        let told = message(&status, RECONCILING);
        assert!(told.contains("shop-2") && told.contains(words), "{told}");
    }
    // As the Deployment is where no ReplicaSet of its newest template can be made.
    let refused = but(serving(), |o| {
        (o.rollout.complete, o.rollout.behind) = (false, true);
        o.rollout.replica_failure = Some("exceeded quota: small".to_owned());
    });
    let told = message(&status_after(&started(), &refused, &after(60)), RECONCILING);
    assert!(told.contains("exceeded quota: small; the old pods keep serving. "), "{told}");
    let first = status_after(&starting(), &image_not_pullable(coming_up(), "shop-1"), &after(60));
    assert!(!message(&first, RECONCILING).contains("serv"), "a first start has nobody who serves");
    let words = |observed: Observed| message(&status_after(&started(), &no_progress(observed), &after(60)), STALLED);
    let cause = |observed: Observed| image_not_pullable(observed, "shop-2");
    let told = words(cause(rolling_out()));
    assert!(told.contains("the rollout is stuck; the old pods keep serving: pod shop-2: image"), "{told}");
    let told = words(cause(lost(serving())));
    assert!(told.contains("the rollout is stuck; no pod serves: pod shop-2: image"), "{told}");
}

#[test]
fn words_that_became_false_are_not_kept() {
    let mut gateway = started();
    pass(&mut gateway, &image_not_pullable(rolling_out(), "shop-2"), &after(10));
    pass(&mut gateway, &image_not_pullable(lost(rolling_out()), "shop-2"), &after(20));
    let told = message(&gateway.status_or_default(), RECONCILING);
    assert!(told.contains("no pod serves"), "{told}");
}

#[test]
fn the_cause_that_is_known_is_told_in_one_word() {
    let rows = [
        (starting(), coming_up(), after(60), None),
        (started(), serving(), after(60), None),
        (stopped_as_asked(), nothing(), after(60), None),
        (starting(), unschedulable(coming_up(), "shop-1"), after(60), Some(Reason::Unschedulable)),
        (fresh(), host_taken(nothing()), after(0), Some(Reason::HostTaken)),
        (starting(), image_not_pullable(coming_up(), "shop-1"), after(301), Some(Reason::ImagePullFailed)),
        (stopped_after_timeout(), nothing(), after(320), Some(Reason::ImagePullFailed)),
        (with_retries(stopped_after_timeout(), 2, None), nothing(), after_failure(1), Some(Reason::ImagePullFailed)),
        (started(), no_progress(rolling_out()), after(60), Some(Reason::ProgressDeadlineExceeded)),
        (but(starting(), suspends), unschedulable(coming_up(), "shop-1"), after(60), None),
        (but(stopped_after_timeout(), asks_stopped), nothing(), after(320), None),
    ];
    for (gateway, observed, moment, expected) in rows {
        let status = status_after(&gateway, &observed, &moment);
        assert_eq!(failing(&status), expected, "{:?}", status.conditions);
    }
}

#[test]
fn a_message_that_is_no_cause_follows_the_spec() {
    let mut gateway = starting();
    pass(&mut gateway, &coming_up(), &after(10));
    assert!(message(&gateway.status_or_default(), READY).contains("attempt 1"));
    gateway = but(gateway, changes_the_image);
    pass(&mut gateway, &coming_up(), &after(20));
    assert!(message(&gateway.status_or_default(), READY).contains("attempt 2"));
}

#[test]
fn durations_read_as_a_user_writes_them() {
    let rows = [(0, "0s"), (45, "45s"), (60, "1m"), (90, "1m30s"), (300, "5m"), (3600, "1h"), (5400, "1h30m")];
    for (seconds, expected) in rows {
        assert_eq!(human(secs(seconds)), expected);
    }
    assert_eq!(human(secs(3725)), "1h2m5s");
    assert_eq!(human(secs(3605)), "1h0m5s");
}

/// The same world, where the pod cannot pull another image.
fn another_image(observed: Observed) -> Observed {
    but(observed, |o| {
        if let Trouble::ImagePull { image, .. } = &mut o.pods.troubles[0].trouble {
            "ghcr.io/acme/gateway:2".clone_into(image);
        }
    })
}

fn word(serving: Serving) -> Option<String> {
    Some(serving.as_str().to_owned())
}

/// Statuses as the last release wrote them do not say what their messages are about.
fn of_the_last_release(gateway: &mut ApiGateway) {
    status(gateway).subject = None;
}

#[test]
fn the_status_says_what_its_messages_are_about() {
    let about = |gateway: &ApiGateway, observed| status_after(gateway, &observed, &after(60)).subject;
    let image = || Some("ghcr.io/acme/gateway:1".to_owned());
    let failing = |observed| image_not_pullable(observed, "shop-2");
    let crashing = |observed| in_trouble(observed, "shop-2", ended(1, ""));
    let rows = [
        (starting(), failing(coming_up()), Some(Subject { image: image(), serving: None, beside: None })),
        (starting(), crashing(coming_up()), None),
        (
            restarting(),
            crashing(rolling_out()),
            Some(Subject { image: None, serving: word(Serving::OldPods), beside: None }),
        ),
        (
            started(),
            failing(lost(serving())),
            Some(Subject { image: image(), serving: word(Serving::NoPod), beside: None }),
        ),
        (
            started(),
            no_progress(failing(rolling_out())),
            Some(Subject { image: image(), serving: word(Serving::OldPods), beside: None }),
        ),
        (
            started(),
            no_progress(but(rolling_out(), |o| o.rollout.updated = 2)),
            Some(Subject { image: None, serving: word(Serving::OtherPods), beside: None }),
        ),
        (started(), rolling_out(), None),
        (but(started(), suspends), failing(rolling_out()), None),
        (starting(), failing(host_taken(coming_up())), None),
    ];
    for (gateway, observed, expected) in rows {
        let told = status_after(&gateway, &observed, &after(60));
        assert_eq!(told.subject, expected, "{:?}", told.conditions);
    }
    let mut gateway = starting();
    pass(&mut gateway, &failing(coming_up()), &after(10));
    assert_eq!(about(&gateway, serving()), None, "it goes with what it is about");
}

#[test]
fn a_message_is_written_anew_when_it_is_about_something_else() {
    let failing = |observed| image_not_pullable(observed, "shop-2");
    let rows = [
        (starting(), failing(coming_up()), another_image(failing(coming_up())), "gateway:2"),
        (started(), failing(rolling_out()), another_image(failing(rolling_out())), "gateway:2"),
        (started(), failing(rolling_out()), failing(but(rolling_out(), |o| o.rollout.updated = 2)), "other pods"),
        (restarting(), failing(rolling_out()), failing(lost(rolling_out())), "no pod serves"),
        (started(), no_progress(rolling_out()), no_progress(failing(rolling_out())), "gateway:1"),
        (started(), no_progress(failing(rolling_out())), no_progress(rolling_out()), "timed out"),
    ];
    for (mut gateway, first, then, words) in rows {
        pass(&mut gateway, &first, &after(10));
        let before = gateway.status_or_default();
        let told = status_after(&gateway, &then, &after(20));
        assert_eq!(said(&told, READY), said(&before, READY));
        assert!(!message(&before, READY).contains(words) && message(&told, READY).contains(words), "{told:?}");
    }
}

#[test]
fn a_message_about_the_same_is_no_write_in_whatever_words() {
    let failing = |observed, pod| image_not_pullable(observed, pod);
    let rows = [
        (starting(), failing(coming_up(), "shop-1"), failing(coming_up(), "shop-2")),
        (started(), failing(rolling_out(), "shop-1"), failing(rolling_out(), "shop-2")),
        (restarting(), unschedulable(rolling_out(), "shop-1"), unschedulable(rolling_out(), "shop-2")),
        (started(), no_progress(failing(rolling_out(), "shop-1")), no_progress(failing(rolling_out(), "shop-2"))),
    ];
    for (mut gateway, first, then) in rows {
        pass(&mut gateway, &first, &after(10));
        assert_eq!(decide(&gateway, &then, &after(20), &SETTINGS).status, None);
    }
}

#[test]
fn a_status_of_the_last_release_is_no_write_by_itself_and_is_told_anew_with_the_next() {
    let failing = |observed| image_not_pullable(observed, "shop-2");
    let rows = [(starting(), coming_up()), (restarting(), rolling_out()), (started(), rolling_out())];
    for (mut gateway, observed) in rows {
        pass(&mut gateway, &failing(observed.clone()), &after(10));
        of_the_last_release(&mut gateway);
        let quiet = decide(&gateway, &failing(observed), &after(20), &SETTINGS);
        assert_eq!((quiet.status, quiet.events), (None, vec![]));
    }
    let mut gateway = started();
    pass(&mut gateway, &failing(rolling_out()), &after(10));
    of_the_last_release(&mut gateway);
    let told = status_after(&gateway, &failing(lost(rolling_out())), &after(20));
    assert_eq!(said(&told, AVAILABLE), "False Unavailable");
    assert!(message(&told, RECONCILING).contains("no pod serves"), "{told:?}");
    assert_eq!(told.subject.and_then(|subject| subject.serving), word(Serving::NoPod));
}
