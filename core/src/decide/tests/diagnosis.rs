//! Why a gateway did not start: the deepest cause, in words that name the object.

use super::builders::*;
use crate::api::{ApiGateway, Phase, Reason};
use crate::decide::Step;
use crate::decide::diagnosis::{
    Cause, cause_of_failure, how_to_retry, is_quota, obstacle_cause, silence_is_to_be_broken_in, visible_cause,
};
use crate::decide::observed::{Absent, Child, Complaint, Moment, Observed, Presence, Refusal, Trouble};
use crate::decide::requests::Requests;
use crate::decide::{Obstacle, Situation};
use crate::decide::{decide, say};

fn pods_refused(observed: Observed, words: &str) -> Observed {
    but(observed, |o| o.rollout.replica_failure = Some(words.to_owned()))
}

fn child_refused(observed: Observed, words: &str, quota: bool) -> Observed {
    but(observed, |o| o.refusal = Some(Refusal { child: Child::Service, message: words.to_owned(), quota }))
}

const QUOTA: &str =
    "pods \"shop-1\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3";
const POLICY: &str = "pods \"shop-1\" is forbidden: violates PodSecurity \"restricted:latest\"";

fn situation<'a>(gateway: &'a ApiGateway, observed: &'a Observed, moment: &'a Moment) -> Situation<'a> {
    Situation { gateway, observed, moment, settings: &SETTINGS, requests: Requests::default() }
}

fn failure(observed: &Observed) -> Cause {
    cause_of_failure(&situation(&starting(), observed, &after(300)))
}

/// The cause has this reason, its message names these, and it says what to do.
#[track_caller]
fn assert_cause(cause: &Cause, reason: Reason, parts: &[&str]) {
    assert_eq!(cause.reason, reason, "{cause:?}");
    assert!(parts.iter().all(|part| cause.message.contains(part)), "{parts:?} in {:?}", cause.message);
    assert!(!cause.hint.is_empty());
}

#[test]
fn nothing_is_wrong_with_a_gateway_that_is_on_its_way() {
    for observed in [nothing(), coming_up(), rolling_out(), serving()] {
        assert_eq!(visible_cause(&observed), None);
    }
}

#[test]
fn an_image_that_cannot_be_pulled_names_the_pod_the_image_and_the_kubelets_words() {
    let cause = visible_cause(&image_not_pullable(coming_up(), "shop-1")).unwrap();
    assert_cause(&cause, Reason::ImagePullFailed, &["shop-1", "ghcr.io/acme/gateway:1", "denied"]);
    assert!(cause.hint.contains("spec.image") && cause.hint.contains("imagePullSecrets"));
}

/// What a registry says, through which runtime and kubelet it may come, and what is to be done.
#[test]
fn a_pull_that_fails_says_what_to_do_by_what_the_registry_said() {
    let pulled = |image: &str, message: &str| {
        let trouble = Trouble::ImagePull { image: image.to_owned(), message: message.to_owned() };
        visible_cause(&in_trouble(coming_up(), "shop-1", trouble)).unwrap()
    };
    let containerd = |end: &str| {
        format!(
            "Back-off pulling image \"reg.example.com/acme/denied:1\": ErrImagePull: rpc error: code = Unknown desc = failed \
             to pull and unpack image \"reg.example.com/acme/denied:1\": failed to resolve reference \
             \"reg.example.com/acme/denied:1\": {end}"
        )
    };
    let image = "reg.example.com/acme/denied:1";
    let rows = [
        (format!("{image}: not found"), "not found", "does not have it"),
        ("unexpected status from HEAD request: 401 Unauthorized".to_owned(), "401", "spec.imagePullSecrets"),
        (
            "pull access denied, repository does not exist or may require authorization".to_owned(),
            "pull access denied",
            "spec.imagePullSecrets",
        ),
        (
            "failed to do request: Head \"https://reg.example.com/v2/\": dial tcp: lookup reg.example.com: no such host"
                .to_owned(),
            "no such host",
            "did not answer the node",
        ),
        ("failed to do request: i/o timeout".to_owned(), "i/o timeout", "did not answer the node"),
        ("unexpected status: 429 Too Many Requests".to_owned(), "429", "did not answer the node"),
        ("something else".to_owned(), "something else", "Check spec.image, and"),
    ];
    for (end, words, advice) in rows {
        let cause = pulled(image, &containerd(&end));
        let expected = format!("pod shop-1: image \"{image}\" cannot be pulled: ");
        assert_cause(&cause, Reason::ImagePullFailed, &[&expected, words]);
        assert!(!cause.message.contains("rpc error"), "{}", cause.message);
        assert!(cause.hint.contains(advice), "{advice:?} in {cause:?}");
    }
    let invalid = pulled("acme:gateway:1", "couldn't parse image name \"acme:gateway:1\": invalid reference format");
    assert!(invalid.hint.contains("no valid reference"), "{invalid:?}");
    let cri_o = pulled("acme/x", "reading manifest 1 in docker.io/acme/x: manifest unknown");
    assert_cause(&cri_o, Reason::ImagePullFailed, &["cannot be pulled: manifest unknown"]);
    assert!(cri_o.hint.contains("does not have it"), "{cri_o:?}");
}

#[test]
fn a_pod_without_a_node_names_the_pod_and_what_is_short() {
    let cause = visible_cause(&unschedulable(coming_up(), "shop-1")).unwrap();
    assert_cause(&cause, Reason::Unschedulable, &["shop-1", "3 Insufficient cpu"]);
    let rows = [
        (
            "0/3 nodes are available: 3 Insufficient cpu.",
            "To be scheduled, lower spec.resources.requests or add nodes.",
        ),
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient memory.",
            "To be scheduled, lower spec.resources.requests or add nodes; tolerate the nodes' taints in spec.tolerations.",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
            "To be scheduled, correct spec.nodeSelector.",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints.",
            "To be scheduled, loosen spec.topologySpread.",
        ),
        (
            "no nodes available to schedule pods",
            "Add nodes, or ask who runs the cluster why those that are there take no pods.",
        ),
    ];
    for (words, hint) in rows {
        let trouble = Trouble::Unschedulable(words.to_owned());
        assert_eq!(visible_cause(&in_trouble(coming_up(), "shop-1", trouble)).unwrap().hint, hint);
    }
    let long =
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available";
    let cause = visible_cause(&in_trouble(coming_up(), "shop-1", Trouble::Unschedulable(long.to_owned()))).unwrap();
    assert_eq!(cause.message, "pod shop-1: no node takes it: 0/1 nodes are available: 1 Insufficient cpu");
}

fn ended(code: i32, message: &str) -> Trouble {
    Trouble::Ended { code, out_of_memory: false, message: message.to_owned() }
}

#[test]
fn a_container_that_ends_names_its_exit_code_and_its_last_words() {
    let killed = Trouble::Ended { code: 137, out_of_memory: true, message: String::new() };
    let rows = [
        (
            ended(1, "panic: no configuration"),
            "pod shop-1: it ended with exit code 1: panic: no configuration",
            "spec.env",
        ),
        (ended(2, ""), "pod shop-1: it ended with exit code 2", "kubectl logs --previous"),
        (ended(0, ""), "pod shop-1: it ended with exit code 0", "is to run on"),
        (ended(127, "serve: not found"), "pod shop-1: it ended with exit code 127: serve: not found", "spec.command"),
        (ended(143, ""), "pod shop-1: it ended with exit code 143", "spec.port"),
        (
            killed,
            "pod shop-1: it ended for want of memory (OOMKilled) with exit code 137",
            "spec.resources.limits.memory",
        ),
        (
            Trouble::CannotStart("exec: \"serve\": executable file not found".to_owned()),
            "pod shop-1: it cannot be started: exec: \"serve\": executable file not found",
            "spec.command",
        ),
    ];
    for (trouble, message, advice) in rows {
        let cause = visible_cause(&in_trouble(coming_up(), "shop-1", trouble)).unwrap();
        assert_eq!((cause.reason, cause.message.as_str()), (Reason::CrashLoop, message));
        assert!(cause.hint.contains(advice), "{cause:?}");
    }
}

#[test]
fn an_image_that_runs_as_root_and_what_is_not_there_are_told_in_the_kubelets_words() {
    let root = "container has runAsNonRoot and image will run as root (pod: \"shop-1\", container: gateway)";
    let cause = visible_cause(&in_trouble(coming_up(), "shop-1", Trouble::RunsAsRoot(root.to_owned()))).unwrap();
    assert_cause(&cause, Reason::RunsAsRoot, &["pod shop-1", "image will run as root"]);
    assert!(cause.hint.contains("numeric user"), "{cause:?}");
    for words in ["secret \"db\" not found", "couldn't find key url in ConfigMap tenants/shop"] {
        let cause = visible_cause(&in_trouble(coming_up(), "shop-1", Trouble::Config(words.to_owned()))).unwrap();
        assert_cause(&cause, Reason::ConfigMissing, &["pod shop-1", words]);
        assert!(cause.hint.contains("spec.env") && cause.hint.contains("spec.volumes"), "{cause:?}");
    }
}

#[test]
fn a_pod_that_its_node_fails_is_the_nodes() {
    let evicted = Trouble::GivenUp("Evicted: The node was low on resource: memory.".to_owned());
    let cause = visible_cause(&in_trouble(coming_up(), "shop-1", evicted)).unwrap();
    assert_cause(&cause, Reason::NodeFailed, &["pod shop-1: its node gave it up: Evicted", "memory"]);
    assert!(cause.hint.contains("spec.resources.requests"), "{cause:?}");
    let away = visible_cause(&in_trouble(coming_up(), "shop-1", Trouble::NodeIsAway)).unwrap();
    assert_cause(&away, Reason::NodeFailed, &["pod shop-1: its node does not answer"]);
}

/// Such pods are litter: those that replaced them tell how it is now.
#[test]
fn a_pod_that_its_node_gave_up_explains_a_start_and_nothing_later() {
    let evicted = in_trouble(coming_up(), "shop-1", Trouble::GivenUp("Evicted".to_owned())).pods;
    let all = in_trouble(but(coming_up(), |o| o.pods = evicted), "shop-2", Trouble::NodeIsAway).pods;
    let seen = |phase: Phase| {
        let pods = all.clone().seen_in(Some(&phase)).troubles;
        pods.into_iter().map(|pod| pod.pod).collect::<Vec<_>>()
    };
    assert_eq!(seen(Phase::Starting), ["shop-1", "shop-2"]);
    assert_eq!(seen(Phase::Started), ["shop-2"]);
    assert_eq!(all.clone().seen_in(None).troubles.len(), 1);
}

#[test]
fn a_container_that_the_spec_does_not_have_is_named_and_is_somebody_elses() {
    let of = |container: &str| {
        visible_cause(&but(in_trouble(coming_up(), "shop-1", ended(1, "")), |o| {
            o.pods.troubles[0].container = Some(container.to_owned());
        }))
        .unwrap()
    };
    let proxy = of("istio-proxy");
    assert_cause(&proxy, Reason::CrashLoop, &["pod shop-1, container istio-proxy: it ended"]);
    assert!(proxy.hint.contains("no such container"), "{proxy:?}");
    assert_cause(&of("gateway"), Reason::CrashLoop, &["pod shop-1, container gateway: it ended"]);
    assert!(of("gateway").hint.contains("spec.env"));
}

#[test]
fn what_the_events_of_a_silent_pod_say_is_told_by_what_it_is_about() {
    let said = |complaint: Complaint| visible_cause(&silent(coming_up(), 8, Some(complaint))).unwrap();
    let answer = "Readiness probe failed: HTTP probe failed with statuscode: 503";
    let probe = said(Complaint::Probe(answer.to_owned()));
    assert_cause(&probe, Reason::ReadinessFailing, &["pod shop-1: it runs and is not ready", answer]);
    assert!(probe.hint.contains("spec.port") && probe.hint.contains("spec.readinessPath"), "{probe:?}");
    let words = "MountVolume.SetUp failed for volume \"keys\" : secret \"db\" not found";
    let missing = said(Complaint::MissingVolume(words.to_owned()));
    assert_cause(&missing, Reason::ConfigMissing, &["pod shop-1", "secret \"db\" not found"]);
    let node = said(Complaint::Node("no addresses left".to_owned()));
    assert_cause(&node, Reason::NodeFailed, &["pod shop-1: its node cannot set it up: no addresses left"]);
    assert_eq!(visible_cause(&silent(coming_up(), 8, None)), None);
}

#[test]
fn what_is_wrong_with_pods_of_another_template_is_not_told() {
    let of = |template: &str, observed: Observed| {
        but(observed, |o| o.pods.troubles.last_mut().unwrap().template = Some(template.to_owned()))
    };
    let old = of("old", image_not_pullable(rolling_out(), "shop-old-1"));
    let both = of("new", unschedulable(old.clone(), "shop-new-1"));
    let newest = |observed: &Observed| but(observed.clone(), |o| o.rollout.template = Some("new".to_owned()));
    assert_eq!(visible_cause(&newest(&old)), None);
    assert_eq!(visible_cause(&newest(&both)).unwrap().reason, Reason::Unschedulable);
    // Where it is not known which is the newest, all count.
    assert_eq!(visible_cause(&both).unwrap().reason, Reason::ImagePullFailed);

    let behind = but(image_not_pullable(coming_up(), "shop-1"), |o| o.rollout.behind = true);
    assert_eq!(visible_cause(&behind), None, "its pods are those of an earlier spec");
    let refused = child_refused(image_not_pullable(coming_up(), "shop-1"), "denied by policy", false);
    let not_updated = child(refused, Child::Deployment, different());
    assert_eq!(visible_cause(&not_updated).unwrap().reason, Reason::AdmissionRefused, "it was not written");
}

/// Seconds of silence, at which of them its Events were read last, and in how many they are due.
#[test]
fn the_events_of_a_silent_pod_are_read_after_a_while_and_more_and_more_seldom() {
    let rows: &[(u64, Option<u64>, u64)] = &[
        (0, None, 5),
        (4, None, 1),
        (5, None, 0),
        (60, None, 0),
        (6, Some(6), 5),
        (11, Some(6), 0),
        (24, Some(24), 6),
        (40, Some(40), 10),
        (3600, Some(3600), 900),
    ];
    for (lasted, read_at, due) in rows {
        let observed = but(silent(coming_up(), *lasted, None), |o| {
            o.pods.silence.as_mut().unwrap().read_at = read_at.map(secs);
        });
        assert_eq!(silence_is_to_be_broken_in(&observed), Some(secs(*due)), "{lasted} {read_at:?}");
    }
    assert_eq!(silence_is_to_be_broken_in(&coming_up()), None);
    let told = silent(coming_up(), 60, Some(Complaint::Probe("503".to_owned())));
    assert_eq!(silence_is_to_be_broken_in(&told), None, "what was heard is not asked again");
}

#[test]
fn only_a_gateway_that_is_started_or_rolled_has_the_events_of_its_pods_read() {
    let quiet = silent(rolling_out(), 30, None);
    for gateway in [starting(), restarting(), started()] {
        let plan = decide(&gateway, &quiet, &after(30), &SETTINGS);
        assert_eq!((plan.steps, plan.wake), (vec![Step::ReadEvents], Some(secs(0))));
        let later = decide(&gateway, &silent(rolling_out(), 2, None), &after(30), &SETTINGS);
        assert_eq!((later.steps, later.wake), (vec![], Some(secs(3))));
    }
    let others = [
        but(starting(), asks_stopped),
        but(starting(), suspends),
        timed_out(),
        stopping_as_asked(),
        stopped_as_asked(),
        created(),
    ];
    for gateway in others {
        let plan = decide(&gateway, &quiet, &after(30), &SETTINGS);
        assert!(!plan.steps.contains(&Step::ReadEvents), "{:?}", gateway.status);
    }
    let held = decide(&starting(), &host_taken(quiet), &after(30), &SETTINGS);
    assert_eq!(held.steps, vec![]);
}

#[test]
fn a_pod_without_a_node_waits_for_no_event() {
    let told = unschedulable(coming_up(), "shop-1");
    assert_eq!(decide(&starting(), &told, &after(30), &SETTINGS).wake, Some(secs(270)));
}

#[test]
fn pods_that_cannot_be_created_name_the_rule() {
    let quota = visible_cause(&pods_refused(coming_up(), QUOTA)).unwrap();
    assert_cause(&quota, Reason::QuotaExceeded, &["pods of the Deployment", "exceeded quota: small"]);
    assert!(quota.hint.contains("ResourceQuota"));
    let policy = visible_cause(&pods_refused(coming_up(), POLICY)).unwrap();
    assert_cause(&policy, Reason::AdmissionRefused, &["pods of the Deployment", "restricted:latest"]);
}

#[test]
fn a_child_that_the_api_server_refused_is_named() {
    let policy = visible_cause(&child_refused(nothing(), "denied by policy", false)).unwrap();
    assert_cause(&policy, Reason::AdmissionRefused, &["Service", "denied by policy"]);
    let quota = visible_cause(&child_refused(nothing(), "no more services", true)).unwrap();
    assert_cause(&quota, Reason::QuotaExceeded, &["Service", "no more services"]);
}

#[test]
fn who_is_away_is_named_and_nobody_is_told_to_change_a_field() {
    let told = |by| visible_cause(&unanswered(nothing(), Child::Service, by)).unwrap();
    for (by, reason, parts) in [
        (webhook(), Reason::WebhookUnavailable, ["the Service", "\"no.example.com\"", "connection refused"]),
        (Absent::Cluster, Reason::ClusterUnavailable, ["the Service", "storage", "connection refused"]),
        (
            Absent::Permission,
            Reason::OperatorNotPermitted,
            ["the Service", "the operator may not", "connection refused"],
        ),
        (Absent::Unknown, Reason::WriteUnanswered, ["the Service", "answers others", "connection refused"]),
    ] {
        let cause = told(by);
        assert_cause(&cause, reason, &parts);
        assert!(!cause.hint.contains("field"), "{cause:?}");
    }
    assert!(told(webhook()).hint.contains("by itself") && told(Absent::Unknown).hint.contains("webhook"));

    let words = "Internal error occurred: failed calling webhook \"pods.example.com\": context deadline exceeded";
    for over in ["etcdserver: request timed out", "Timeout: request did not complete within requested timeout"] {
        assert_eq!(visible_cause(&pods_refused(coming_up(), over)), None, "it was away, and can be read by now");
    }
    let pods = visible_cause(&pods_refused(coming_up(), words)).unwrap();
    assert_cause(
        &pods,
        Reason::WebhookUnavailable,
        &["the pods of the Deployment", "\"pods.example.com\"", "deadline exceeded"],
    );
}

#[test]
fn what_holds_the_clock_is_told_before_what_pods_say_and_a_silent_api_server_after_all() {
    let broken = || image_not_pullable(coming_up(), "shop-1");
    let held = unanswered(broken(), Child::Service, webhook());
    assert_eq!(visible_cause(&held).unwrap().reason, Reason::WebhookUnavailable);
    let silent = unanswered(broken(), Child::Service, Absent::Unknown);
    assert_eq!(visible_cause(&silent).unwrap().reason, Reason::ImagePullFailed);
    let refused = unanswered(refused(coming_up(), Child::Service), Child::Service, Absent::Unknown);
    assert_eq!(visible_cause(&refused).unwrap().reason, Reason::AdmissionRefused);
}

#[test]
fn a_pod_disruption_budget_that_is_refused_is_no_cause_of_a_failed_start() {
    let without =
        refused(child(coming_up(), Child::PodDisruptionBudget, Presence::Missing), Child::PodDisruptionBudget);
    assert_cause(&visible_cause(&without).unwrap(), Reason::AdmissionRefused, &["the PodDisruptionBudget"]);
    assert_eq!(failure(&without).reason, Reason::SlowStart);
}

#[test]
fn a_quota_is_told_from_an_admission_rule_by_its_words() {
    assert!(is_quota(QUOTA));
    assert!(is_quota("is forbidden: failed quota: small: must specify limits.cpu"));
    assert!(!is_quota(POLICY));
    assert!(!is_quota("quota.example.com denied the request"));
}

/// Each is added to all before it.
#[test]
fn the_deepest_cause_is_told_first() {
    let mut observed = child_refused(nothing(), "denied by policy", false);
    observed.deployment = Presence::Equal;
    assert_eq!(visible_cause(&observed).unwrap().reason, Reason::AdmissionRefused);
    observed = pods_refused(observed, QUOTA);
    assert_eq!(visible_cause(&observed).unwrap().reason, Reason::QuotaExceeded, "the Deployment before the operator");
    let image = Trouble::ImagePull { image: "acme/gateway:1".to_owned(), message: "not found".to_owned() };
    let troubles = [
        (Trouble::Unschedulable("no nodes".to_owned()), Reason::Unschedulable),
        (Trouble::NodeIsAway, Reason::NodeFailed),
        (image, Reason::ImagePullFailed),
        (Trouble::Config("secret \"db\" not found".to_owned()), Reason::ConfigMissing),
        (Trouble::RunsAsRoot("runAsNonRoot".to_owned()), Reason::RunsAsRoot),
        (ended(1, ""), Reason::CrashLoop),
    ];
    for (number, (trouble, reason)) in troubles.into_iter().enumerate() {
        // Earlier by name, later in depth, and the other way round: the name does not matter.
        observed = in_trouble(observed, &format!("shop-{}", 9 - number), trouble);
        assert_eq!(visible_cause(&observed).unwrap().reason, reason);
    }
    assert_eq!(failure(&name_taken(observed)).reason, Reason::CrashLoop, "what is visible before what is in the way");
}

#[test]
fn a_probe_that_fails_comes_after_what_is_sure_to_be_wrong_and_before_what_came_less_far() {
    let probe = |observed: Observed| silent(observed, 8, Some(Complaint::Probe("503".to_owned())));
    let pulling = image_not_pullable(coming_up(), "shop-2");
    assert_eq!(visible_cause(&probe(pulling)).unwrap().reason, Reason::ImagePullFailed);
    let waiting = unschedulable(coming_up(), "shop-2");
    assert_eq!(visible_cause(&probe(waiting)).unwrap().reason, Reason::ReadinessFailing);
}

#[test]
fn of_several_pods_the_first_is_named() {
    let both = image_not_pullable(image_not_pullable(coming_up(), "shop-1"), "shop-2");
    assert!(visible_cause(&both).unwrap().message.contains("shop-1"));
}

#[test]
fn what_is_in_the_way_is_named() {
    let gateway = starting();
    let (observed, moment) = (nothing(), after(60));
    let s = situation(&gateway, &observed, &moment);
    let host = Obstacle::HostTaken { host: HOST.to_owned(), by: "tenants/other".to_owned() };
    assert_cause(&obstacle_cause(&s, &host), Reason::HostTaken, &[HOST, "tenants/other"]);
    let name = Obstacle::NameTaken { child: Child::Ingress, by: "Helm release".to_owned() };
    assert_cause(&obstacle_cause(&s, &name), Reason::NameTaken, &["Ingress", "shop", "Helm release"]);
    assert!(obstacle_cause(&s, &name).hint.contains("Ingress"));
    let old = Obstacle::WaitingForDeletion { child: Child::Deployment };
    assert_cause(&obstacle_cause(&s, &old), Reason::WaitingForDeletion, &["Deployment", "shop", "earlier gateway"]);
    let forbidden = Obstacle::HostNotAllowed { host: HOST.to_owned(), allowed: "tenants.example.net".to_owned() };
    assert_cause(&obstacle_cause(&s, &forbidden), Reason::HostNotAllowed, &[HOST, "tenants.example.net"]);
    let class = Obstacle::IngressClassNotAllowed { class: "internal".to_owned(), allowed: "public".to_owned() };
    assert_cause(&obstacle_cause(&s, &class), Reason::IngressClassNotAllowed, &["internal", "public"]);
    assert_cause(&failure(&host_taken(nothing())), Reason::HostTaken, &[HOST]);
}

#[test]
fn a_slow_start_names_the_step_and_the_seconds() {
    let rows: Vec<(Observed, &str)> = vec![
        (nothing(), "step 2 of 5: the Deployment was not created"),
        (
            child(serving(), Child::Deployment, Presence::Terminating),
            "step 2 of 5: the Deployment is still being deleted",
        ),
        (child(coming_up(), Child::Deployment, different()), "step 2 of 5: the Deployment is not as desired"),
        (but(coming_up(), |o| o.rollout.desired = 3), "step 2 of 5: 0 of 3 replicas are available"),
        (
            but(coming_up(), |o| o.rollout.behind = true),
            "step 2 of 5: the Deployment was not taken up by its controller",
        ),
        (child(coming_up(), Child::Service, Presence::Missing), "step 3 of 5: the Service was not created"),
        (child(serving(), Child::Ingress, Presence::Missing), "step 4 of 5: the Ingress was not created"),
        (environments(serving(), &[true, false, false]), "step 5 of 5: 2 environments are not active"),
        (
            but(environments(serving(), &[false]), |o| o.environments.push(refused_environment())),
            "step 5 of 5: 1 environments are not active",
        ),
        (
            child(but(coming_up(), |o| o.rollout.desired = 2), Child::PodDisruptionBudget, Presence::Missing),
            "step 2 of 5: 0 of 2 replicas are available",
        ),
    ];
    for (observed, expected) in rows {
        assert_cause(&failure(&observed), Reason::SlowStart, &[expected, "after 300 s"]);
    }
}

#[test]
fn a_slow_start_names_the_pod_that_it_waits_for() {
    let nothing_known = failure(&coming_up());
    assert!(nothing_known.message.ends_with("after 300 s, and nothing says why"), "{nothing_known:?}");
    let runs = failure(&silent(coming_up(), 290, None));
    assert!(runs.message.ends_with("after 300 s, and pod shop-1 runs and is not ready"), "{runs:?}");
    let set_up = failure(&but(silent(coming_up(), 290, None), |o| o.pods.silence.as_mut().unwrap().runs = false));
    assert!(set_up.message.ends_with("after 300 s, and pod shop-1 is being set up by its node"), "{set_up:?}");
}

#[test]
fn a_slow_start_leaves_held_time_out() {
    let held = but(starting(), |g| status(g).attempt.as_mut().unwrap().held_seconds = 600);
    let (observed, moment) = (coming_up(), after(900));
    assert_cause(&cause_of_failure(&situation(&held, &observed, &moment)), Reason::SlowStart, &["after 300 s"]);
}

#[test]
fn how_to_retry_names_the_annotation() {
    assert!(how_to_retry().contains("phasegate.dev/retry-requested-at"));
}

#[test]
fn others_words_are_told_on_one_line_and_not_for_ever() {
    assert_eq!(say("two\n  lines\tand a tab "), "two lines and a tab");
    let short = "é".repeat(300);
    assert_eq!(say(&short), short);
    let long = say(&"é".repeat(301));
    assert_eq!((long.chars().count(), long.ends_with("é…")), (301, true));
}
