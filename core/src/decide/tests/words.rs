//! Whatever others say, a status says it on a line that anybody may look at.

use super::builders::*;
use crate::decide::environment::{Around, decide as decide_environment};
use crate::decide::observed::{
    Absent, Answer, Child, Complaint, Going, HostVerdict, Leaving, Observed, PodLeft, Presence, Repair, Repaired,
    Trouble,
};
use crate::shown::is_hidden;

const HOSTILE: &str = "evil\u{1b}]52;c;eA==\u{7}\u{9b}31m\u{7f}\u{202e}\u{200b}\u{2028}\u{e0041}\r\nwords";

fn hostile() -> String {
    // More than anybody reads.
    format!("{HOSTILE} {} {HOSTILE}", "a".repeat(5_000))
}

/// Everything that somebody else may have worded.
fn worlds() -> Vec<(&'static str, Observed)> {
    let trouble = |trouble: Trouble| followed(coming_up(), trouble, 600, None);
    let complaint = |complaint: Complaint| silent(coming_up(), 600, Some(complaint));
    let answer = || Answer { container: Some(hostile()), words: hostile() };
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
    let away = |by: Absent| {
        but(unanswered(coming_up(), Child::Service, by), |o| {
            o.unanswered.iter_mut().for_each(|unanswered| unanswered.words = hostile());
        })
    };
    vec![
        ("a host's holder", but(nothing(), |o| o.host = HostVerdict::Taken { host: HOST.to_owned(), by: hostile() })),
        (
            "allowed hosts",
            but(nothing(), |o| o.host = HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: hostile() }),
        ),
        ("a name's owner", child(nothing(), Child::Service, Presence::Stranger(hostile()))),
        ("a refusal", refusal(false)),
        ("a quota", refusal(true)),
        ("a webhook that is away", away(Absent::Webhook(hostile()))),
        ("a cluster that is away", away(Absent::Cluster)),
        ("a permission", away(Absent::Permission)),
        ("no answer", away(Absent::Unknown)),
        ("a registry", but(registry_away(external(coming_up())), |o| o.registry.unavailable = Some(hostile()))),
        ("last words", trouble(ended(1, &hostile()))),
        ("an image", trouble(Trouble::ImagePull { image: hostile(), message: hostile() })),
        ("a configuration", trouble(Trouble::Config(hostile()))),
        ("a user", trouble(Trouble::RunsAsRoot(hostile()))),
        ("a program", trouble(Trouble::CannotStart(hostile()))),
        ("a node", trouble(Trouble::GivenUp { reason: hostile(), message: hostile() })),
        ("a scheduler's words", trouble(Trouble::Unschedulable(hostile()))),
        ("a scheduler", trouble(Trouble::NoScheduler(hostile()))),
        ("gates", trouble(Trouble::Gated(vec![hostile(); 30]))),
        ("a readiness gate", trouble(Trouble::ReadinessGate { gate: hostile(), words: Some(hostile()) })),
        ("a probe", complaint(Complaint::Probe(answer()))),
        ("a probe that ended it", complaint(Complaint::Killed(answer()))),
        ("a volume", complaint(Complaint::MissingVolume(hostile()))),
        ("a node's set-up", complaint(Complaint::Node(hostile()))),
        ("pods that are refused", but(coming_up(), |o| o.rollout.replica_failure = Some(hostile()))),
        (
            "progress",
            but(serving(), |o| {
                (o.rollout.complete, o.rollout.progress_deadline_exceeded) = (false, Some(hostile()));
            }),
        ),
        ("a manager", contested("/spec/type", Some(hostile()))),
        ("a path", contested(&hostile(), None)),
        (
            "finalizers of a child",
            but(child(nothing(), Child::Deployment, Presence::Terminating), |o| {
                o.writes.going =
                    vec![Going { child: Child::Deployment, lasted: secs(600), finalizers: vec![hostile(); 30] }];
            }),
        ),
        (
            "finalizers of a pod",
            but(pods(nothing(), 1, 1), |o| {
                let leaving = Some(Leaving { node: Some(hostile()), finalizers: vec![hostile(); 30] });
                o.pods.left = vec![PodLeft { pod: hostile(), leaving }];
            }),
        ),
        ("a pod that nobody owns", but(nothing(), |o| o.pods.unowned = vec![hostile()])),
        ("an environment", but(environments(nothing(), &[true]), |o| o.environments[0].name = hostile())),
    ]
}

#[test]
fn whatever_others_say_a_status_says_it_on_a_line_and_not_at_any_length() {
    for (what, observed) in worlds() {
        let mut told = false;
        for (place, gateway) in in_every_phase() {
            for moment in [after(0), after(600), after_failure(600)] {
                let status = status_after(&gateway, &observed, &moment);
                let failure = status.last_failure.iter().flat_map(|failure| [&failure.message, &failure.hint]);
                let contested = status.contested.iter().flat_map(|field| field.manager.iter().chain([&field.path]));
                let texts =
                    status.conditions.iter().map(|condition| &condition.message).chain(failure).chain(contested);
                for text in texts.chain(status.history.iter().map(|step| &step.message)) {
                    assert!(!text.contains(is_hidden), "{what}, {place}: {text:?}");
                    assert!(text.len() <= 2_048, "{what}, {place}: {} bytes", text.len());
                    told |= text.contains("evil");
                }
            }
        }
        assert!(told, "{what} is told nowhere");
    }
}

#[test]
fn whatever_others_say_an_environment_says_it_on_a_line() {
    let environment = serde_json::from_value(serde_json::json!({
        "metadata": { "name": "dev", "namespace": "tenants", "generation": 1 },
        "spec": { "gatewayRef": { "name": "shop" }, "host": HOST },
    }))
    .unwrap();
    for host in [
        HostVerdict::Taken { host: HOST.to_owned(), by: hostile() },
        HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: hostile() },
    ] {
        let facts =
            crate::decide::environment::GatewayFacts { place: Some(crate::decide::Place::Started), suspended: false };
        let around = Around { gateway: Some(facts), counts: true, host, lost: false, routed: true };
        let status = decide_environment(&environment, &around, at(10)).unwrap();
        for condition in &status.conditions {
            assert!(condition.message.contains("evil") && !condition.message.contains(is_hidden), "{condition:?}");
        }
    }
}
