//! Whatever others say, a status says it on a line that anybody may look at.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::builders::*;
use crate::api::{ApiGatewayStatus, Environment, EnvironmentStatus, Phase, State, StoredChange};
use crate::children::{InvalidField, Parent, Verdict};
use crate::decide::diagnosis;
use crate::decide::environment::{EnvironmentContext, GatewayFacts, Routed, decide as decide_environment};
use crate::decide::observed::{
    Child, HostVerdict, MissingDependency, Moment, Observed, PodEvent, PodTermination, Presence, ProbeResult,
    RemainingPod, Repair, Repaired, TerminatingChild, Trouble, Unsupported,
};
use crate::decide::{Learned, Place, Situation};
use crate::shown::is_hidden;

const HOSTILE: &str = "evil\u{1b}]52;c;eA==\u{7}\u{9b}31m\u{7f}\u{202e}\u{200b}\u{2028}\u{e0041}\r\nwords";

fn hostile() -> String {
    // More than anybody reads.
    format!("{HOSTILE} {} {HOSTILE}", "a".repeat(2_100))
}

/// A name or a path. The API server bounds them.
fn name() -> String {
    format!("{HOSTILE} {}", "a".repeat(253))
}

/// Nothing of a text is hidden, and each part of it that somebody else worded leaves room for the others.
fn assert_clean(what: &str, text: &str) {
    assert!(!text.contains(is_hidden), "{what}: {text:?}");
    assert!(!text.contains(&"a".repeat(301)), "{what} fills the sentence: {text}");
}

/// Everything that somebody else may have worded.
fn worlds() -> Vec<(&'static str, Observed)> {
    let trouble = |trouble: Trouble| followed(coming_up(), trouble, 600, None);
    let pod_event = |pod_event: PodEvent| silent(coming_up(), 600, Some(pod_event));
    let answer = || ProbeResult { container: Some(hostile()), words: hostile() };
    let contested = |path: &str, manager: Option<String>| {
        let last = Repair { child: Child::Service, path: path.to_owned(), manager };
        but(serving(), |o| {
            o.writes.repaired = vec![Repaired { last: last.clone(), times: 9, wait: secs(60), calm_in: secs(60) }];
        })
    };
    let refusal = |quota: bool| {
        but(refused(coming_up(), Child::Service), |o| {
            o.refusal.iter_mut().for_each(|refusal| (refusal.message, refusal.quota) = (hostile(), quota));
        })
    };
    let away = |by: MissingDependency| {
        but(unanswered(coming_up(), Child::Service, by), |o| {
            o.unanswered.iter_mut().for_each(|unanswered| unanswered.words = hostile());
        })
    };
    vec![
        ("a host's holder", but(nothing(), |o| o.host = HostVerdict::Taken { host: HOST.to_owned(), by: hostile() })),
        (
            "allowed hosts",
            but(nothing(), |o| {
                o.host = HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: hostile(), no_name: None }
            }),
        ),
        (
            "an allowed host that is none",
            but(nothing(), |o| {
                o.host = HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: hostile(), no_name: Some(hostile()) }
            }),
        ),
        ("a name's owner", child(nothing(), Child::Service, Presence::Foreign(hostile()))),
        ("a refusal", refusal(false)),
        ("a quota", refusal(true)),
        ("a webhook that is away", away(MissingDependency::Webhook(hostile()))),
        ("a cluster that is away", away(MissingDependency::Cluster)),
        ("a permission", away(MissingDependency::Permission)),
        ("no answer", away(MissingDependency::Unknown)),
        ("a registry", but(registry_away(external(coming_up())), |o| o.registry.unavailable = Some(hostile()))),
        ("last words", trouble(ended(1, &hostile()))),
        ("an image", trouble(Trouble::ImagePull { image: hostile(), message: hostile() })),
        ("a configuration", trouble(Trouble::Config(hostile()))),
        ("a user", trouble(Trouble::RunsAsRoot(hostile()))),
        ("a program", trouble(Trouble::CannotStart(hostile()))),
        ("a node", trouble(Trouble::GivenUp { reason: hostile(), message: hostile() })),
        ("a scheduler's words", trouble(Trouble::Unschedulable(hostile()))),
        ("a scheduler that failed", trouble(Trouble::SchedulerFailed(hostile()))),
        ("a scheduler", trouble(Trouble::NoScheduler(hostile()))),
        ("gates", gated(hostile())),
        ("gates and a refusal", but(refusal(false), |o| o.pods = gated(hostile()).pods)),
        ("a readiness gate", trouble(Trouble::ReadinessGate { gate: hostile(), words: Some(hostile()) })),
        ("a probe", pod_event(PodEvent::Probe(answer()))),
        (
            "a container that an Event names",
            but(pod_event(PodEvent::Probe(answer())), |o| {
                o.pods.unexplained.as_mut().unwrap().about.container = Some("sidecar".to_owned());
            }),
        ),
        ("a probe that ended it", pod_event(PodEvent::Killed(answer()))),
        ("a volume", pod_event(PodEvent::MissingVolume(hostile()))),
        ("a node's set-up", pod_event(PodEvent::Node(hostile()))),
        ("pods that are refused", but(coming_up(), |o| o.rollout.replica_failure = Some(hostile()))),
        (
            "progress",
            but(serving(), |o| {
                (o.rollout.complete, o.rollout.progress_deadline_exceeded) = (false, Some(hostile()));
            }),
        ),
        ("a manager", contested("/spec/type", Some(hostile()))),
        ("a path", contested(&name(), None)),
        (
            "a repair",
            but(serving(), |o| {
                o.writes.untold = vec![Repair { child: Child::Service, path: name(), manager: Some(hostile()) }];
            }),
        ),
        (
            "a change on the way in",
            but(serving(), |o| {
                let (child, [path, asked, stored]) = ("Service".to_owned(), [name(), name(), name()]);
                o.writes.changed = vec![StoredChange { child, path, asked, stored }];
            }),
        ),
        (
            "finalizers of a child",
            but(child(nothing(), Child::Deployment, Presence::Terminating), |o| {
                o.writes.terminating = vec![TerminatingChild {
                    child: Child::Deployment,
                    lasted: secs(600),
                    finalizers: vec![hostile(); 30],
                }];
            }),
        ),
        (
            "finalizers of a pod",
            but(pods(nothing(), 1, 1), |o| {
                let termination = Some(PodTermination { node: Some(name()), finalizers: vec![hostile(); 30] });
                o.pods.remaining = vec![RemainingPod { pod: name(), termination }];
            }),
        ),
        ("a pod that nobody owns", but(nothing(), |o| o.pods.unowned = vec![name()])),
        ("a pod", in_trouble(coming_up(), &name(), ended(1, ""))),
        ("an environment", but(environments(nothing(), &[true]), |o| o.environments[0].name = name())),
        ("a container that does not finish", initializing(answer())),
        ("a readiness gate that nobody sets", soon(Trouble::ReadinessGate { gate: hostile(), words: None })),
        ("a parent that refuses", of_parent(refuses(hostile()))),
        ("a parent that says nothing", of_parent(Verdict::Silent)),
        (
            "routes that may not be read",
            but(nothing(), |o| o.routing.unsupported = Some(Unsupported::NotPermitted(hostile()))),
        ),
    ]
}

/// A pod that many gates keep from being scheduled.
fn gated(gate: String) -> Observed {
    followed(coming_up(), Trouble::Gated(vec![gate; 30]), 600, None)
}

/// A container that runs before the gateway's own and does not finish.
fn initializing(answer: ProbeResult) -> Observed {
    let trouble = Trouble::Initializing { sidecar: false, since: None };
    followed(coming_up(), trouble, 600, Some(PodEvent::Probe(answer)))
}

/// A trouble that has time to pass, and is a detail of the progress.
fn soon(trouble: Trouble) -> Observed {
    followed(coming_up(), trouble, 6, None)
}

fn refuses(words: String) -> Verdict {
    Verdict::Refused { condition: words.clone(), reason: words.clone(), message: words }
}

/// A route with a parent of that verdict.
fn of_parent(verdict: Verdict) -> Observed {
    but(coming_up(), |o| {
        o.http_route = Presence::Equal;
        o.routing.parents = vec![Parent { name: hostile(), verdict, serves: false }];
        o.routing.unanswered = secs(600);
    })
}

const MOMENTS: [fn() -> Moment; 3] = [|| after(0), || after(600), || after_failure(600)];

/// Every text of a status that is a sentence or part of one.
fn texts(status: &ApiGatewayStatus) -> Vec<&str> {
    let failure = status.last_failure.iter().flat_map(|failure| [&failure.message, &failure.hint]);
    let contested = status.contested.iter().flat_map(|field| field.manager.iter().chain([&field.path]));
    let changed = status.changed.iter().flat_map(|change| [&change.path, &change.asked, &change.stored]);
    let subject = status.subject.iter().flat_map(|subject| subject.image.iter().chain(&subject.beside));
    let steps = status.history.iter().map(|step| &step.message);
    let conditions = status.conditions.iter().map(|condition| &condition.message);
    conditions.chain(failure).chain(contested).chain(changed).chain(subject).chain(steps).map(String::as_str).collect()
}

#[test]
fn whatever_others_say_a_status_and_its_events_say_it_on_a_line_and_not_at_any_length() {
    for (what, observed) in worlds() {
        let mut told = false;
        for (place, gateway) in in_every_phase() {
            for moment in MOMENTS {
                let mut gateway = gateway.clone();
                let plan = pass(&mut gateway, &observed, &moment());
                let status = gateway.status_or_default();
                for text in texts(&status).into_iter().chain(plan.events.iter().map(|event| event.message.as_str())) {
                    assert_clean(&format!("{what}, {place}"), text);
                    assert!(text.len() <= 2_048, "{what}, {place}: {} bytes", text.len());
                    told |= text.contains("evil");
                }
            }
        }
        assert!(told, "{what} is told nowhere");
    }
}

#[test]
fn whatever_others_say_a_cause_says_it_on_a_line_wherever_it_is_told() {
    for (what, observed) in worlds() {
        for (place, gateway) in in_every_phase() {
            for moment in MOMENTS {
                let moment = moment();
                let s = Situation::of(&gateway, &observed, &moment, &SETTINGS);
                let blocker = s.blocker().map(|blocker| diagnosis::blocker_cause(&s, &blocker));
                for cause in [diagnosis::visible_cause(&s), diagnosis::known_cause(&s), blocker].into_iter().flatten() {
                    assert_clean(&format!("{what}, {place}"), &cause.message);
                }
            }
        }
        let refused = observed.refusal.map(Learned::Refused);
        for learned in refused.into_iter().chain(observed.unanswered.map(Learned::Unanswered)) {
            let event = learned.event().unwrap();
            assert!(event.message.contains("evil"), "{}", event.message);
            assert_clean(what, &event.message);
        }
    }
}

/// A status may have been written by an older operator, or by whoever may write one.
#[test]
fn words_that_stay_as_they_were_are_put_on_a_line_too() {
    let mut waiting = fresh();
    pass(&mut waiting, &host_taken(nothing()), &after(0));
    for condition in &mut status(&mut waiting).conditions {
        condition.message = hostile();
    }
    let failed = but(timed_out(), |g| {
        let failure = status(g).last_failure.as_mut().unwrap();
        (failure.message, failure.hint) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    });
    let kept = status_after(&waiting, &host_taken(nothing()), &after(1));
    assert!(kept.conditions.iter().all(|condition| condition.message.contains("evil")), "{kept:?}");
    let repeated = status_after(&failed, &nothing(), &after_failure(1));
    assert!(message(&repeated, "Ready").contains("evil"), "{repeated:?}");
    for condition in kept.conditions.iter().chain(&repeated.conditions) {
        assert!(!condition.message.contains(is_hidden), "{condition:?}");
    }
}

#[test]
fn the_finalizers_that_hold_a_gateway_and_an_environment_are_named_on_a_line() {
    let held = but(but(recorded(Phase::Deleting, State::Stopped), deletes), |g| {
        g.metadata.finalizers.get_or_insert_default().push(hostile());
    });
    for moment in MOMENTS {
        let status = status_after(&held, &nothing(), &Moment { deletion: secs(900), ..moment() });
        let told: Vec<&str> = texts(&status).into_iter().filter(|text| text.contains("evil")).collect();
        assert!(!told.is_empty(), "{status:?}");
        told.iter().for_each(|text| assert_clean("a finalizer", text));
    }
    let mut environment = environment();
    environment.metadata.deletion_timestamp = held.metadata.deletion_timestamp;
    environment.metadata.finalizers = Some(vec![hostile()]);
    for condition in judged(&environment, HostVerdict::Free) {
        assert!(condition.message.contains("evil"), "{condition:?}");
        assert_clean("a finalizer", &condition.message);
    }
}

#[test]
fn a_field_that_is_no_use_is_quoted_on_a_line() {
    let told =
        diagnosis::say_invalid_field(&InvalidField { field: hostile(), value: Some(hostile()), why: "must not" });
    assert!(told.contains("evil") && told.ends_with(": must not"), "{told}");
    assert_clean("a field", &told);
}

/// Phrases that the house style has other words for.
fn phrases() -> impl Iterator<Item = &'static str> {
    include_str!("../../../../docs/style-words.txt").lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn what_a_status_says_keeps_to_the_house_style() {
    let verdicts = [
        HostVerdict::Taken { host: HOST.to_owned(), by: "ApiGateway b/shop".to_owned() },
        HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: String::new(), no_name: None },
        HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: "example.net".to_owned(), no_name: None },
        HostVerdict::TooWide { host: HOST.to_owned() },
        HostVerdict::Address { host: HOST.to_owned() },
        HostVerdict::Reserved { host: HOST.to_owned(), name: "svc".to_owned() },
        HostVerdict::NoRoom { host: HOST.to_owned(), limit: 16 },
        HostVerdict::TooMany { host: HOST.to_owned(), limit: 20 },
    ];
    let refused = verdicts.into_iter().map(|host| ("a host", but(nothing(), |o| o.host = host.clone())));
    let plain = [("nothing", nothing()), ("pods on their way", coming_up()), ("pods", serving())];
    for (what, observed) in worlds().into_iter().chain(refused).chain(plain) {
        for (place, gateway) in in_every_phase() {
            for suspended in [false, true] {
                let gateway = but(gateway.clone(), |gateway| gateway.spec.suspend = suspended);
                for moment in [after(0), after(600), after_failure(600)] {
                    let status = status_after(&gateway, &observed, &moment);
                    let failure = status.last_failure.iter().flat_map(|failure| [&failure.message, &failure.hint]);
                    let texts = status.conditions.iter().map(|condition| &condition.message).chain(failure);
                    for text in texts.chain(status.history.iter().map(|step| &step.message)) {
                        let text = text.to_lowercase();
                        let found = phrases().find(|phrase| text.contains(phrase));
                        assert_eq!(found, None, "{what}, {place}: {text}");
                    }
                }
            }
        }
    }
}

fn environment() -> Environment {
    serde_json::from_value(serde_json::json!({
        "metadata": { "name": "dev", "namespace": "tenants", "generation": 1 },
        "spec": { "gatewayRef": { "name": "shop" }, "host": HOST },
    }))
    .unwrap()
}

/// The conditions of an environment of a gateway that serves.
fn judged(environment: &Environment, host: HostVerdict) -> Vec<Condition> {
    let facts = GatewayFacts { place: Some(Place::Started), suspended: false };
    let context = EnvironmentContext {
        gateway: Some(facts),
        counts: true,
        host,
        lost: false,
        routed: Routed::Yes,
        exposed: true,
    };
    decide_environment(environment, &context, at(10)).unwrap().conditions
}

#[test]
fn whatever_others_say_an_environment_says_it_on_a_line() {
    let taken = || HostVerdict::Taken { host: HOST.to_owned(), by: hostile() };
    for host in [
        taken(),
        HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: hostile(), no_name: None },
        HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: hostile(), no_name: Some(hostile()) },
    ] {
        for condition in judged(&environment(), host) {
            assert!(condition.message.contains("evil"), "{condition:?}");
            assert_clean("a host", &condition.message);
        }
    }
    // What it said before stays, and was worded by an older operator or by whoever may write a status.
    let mut waiting = environment();
    let mut conditions = judged(&waiting, taken());
    conditions.iter_mut().for_each(|condition| condition.message = HOSTILE.to_owned());
    waiting.status = Some(EnvironmentStatus { conditions, ..EnvironmentStatus::default() });
    for condition in judged(&waiting, taken()) {
        assert!(condition.message.contains("evil") && !condition.message.contains(is_hidden), "{condition:?}");
    }
}
