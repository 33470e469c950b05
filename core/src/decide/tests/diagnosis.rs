//! Why a gateway did not start: the deepest cause, in words that name the object.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::builders::*;
use crate::api::{ApiGateway, Phase, Reason, Resources, State};
use crate::decide::Step;
use crate::decide::diagnosis::{
    self, Cause, blocker_cause, cause_of_failure, events_are_due_in, grace_ends_in, how_to_retry, is_quota,
};
use crate::decide::observed::{
    Child, HostVerdict, MissingDependency, Moment, Observed, PodEvent, Presence, ProbeResult, Refusal, Repair,
    Repaired, Rollout, Target, TerminatingChild, Trouble,
};
use crate::decide::requests::Requests;
use crate::decide::{Blocker, Situation};
use crate::decide::{decide, say};

fn pods_refused(observed: Observed, words: &str) -> Observed {
    but(observed, |o| o.rollout.replica_failure = Some(words.to_owned()))
}

fn child_refused(observed: Observed, words: &str, quota: bool) -> Observed {
    but(observed, |o| {
        o.refusal = Some(Refusal { what: Target::Child(Child::Service), message: words.to_owned(), quota })
    })
}

const QUOTA: &str =
    "pods \"shop-1\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3";
const POLICY: &str = "pods \"shop-1\" is forbidden: violates PodSecurity \"restricted:latest\"";

fn situation<'a>(gateway: &'a ApiGateway, observed: &'a Observed, moment: &'a Moment) -> Situation<'a> {
    Situation { gateway, observed, moment, settings: &SETTINGS, requests: Requests::default() }
}

fn failure(observed: &Observed) -> Cause {
    cause_of_failure(&situation(&starting(), observed, &after(300)), State::Stopped)
}

/// Of a start that may take 300 seconds: the usual time is half of that.
fn visible_cause(observed: &Observed) -> Option<Cause> {
    diagnosis::visible_cause(&situation(&starting(), observed, &after(60)))
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
        (format!("{image}: not found"), "not found", "no such image"),
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
            "cannot reach the registry",
        ),
        ("failed to do request: i/o timeout".to_owned(), "i/o timeout", "cannot reach the registry"),
        ("unexpected status: 429 Too Many Requests".to_owned(), "429", "cannot reach the registry"),
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
    assert!(invalid.hint.contains("not a valid image reference"), "{invalid:?}");
    let untagged = pulled(
        "gw",
        "failed to pull and unpack image \"docker.io/library/gw:latest\": failed to resolve reference \
         \"docker.io/library/gw:latest\": failed to do request: Head \"https://registry-1.docker.io/v2/library/gw/manifests/latest\": \
         dial tcp: lookup registry-1.docker.io: i/o timeout",
    );
    let expected = "pod shop-1: image \"gw\" cannot be pulled: failed to do request: Head \
        \"https://registry-1.docker.io/v2/library/gw/manifests/latest\": dial tcp: lookup registry-1.docker.io: i/o timeout";
    assert_eq!(untagged.message, expected);
    let foreign = pulled(image, &containerd("no match for platform in manifest: not found"));
    assert!(foreign.hint.contains("kubernetes.io/arch"), "{foreign:?}");
    let cri_o = pulled("acme/x", "reading manifest 1 in docker.io/acme/x: manifest unknown");
    assert_cause(&cri_o, Reason::ImagePullFailed, &["cannot be pulled: manifest unknown"]);
    assert!(cri_o.hint.contains("no such image"), "{cri_o:?}");
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
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. preemption: 0/2 nodes are available",
            "To be scheduled, lower spec.resources.requests or add nodes; ask the cluster administrator to uncordon \
             nodes (kubectl uncordon).",
        ),
        (
            "no nodes available to schedule pods",
            "Add nodes, or ask the cluster administrator why the existing nodes accept no pods.",
        ),
    ];
    let asks = but(starting(), |g| {
        let limits = [("cpu".to_owned(), Quantity("1".to_owned()))].into();
        g.spec.resources = Some(Resources { limits, ..Resources::default() });
        g.spec.node_selector = [("disk".to_owned(), "ssd".to_owned())].into();
    });
    let hint_for = |gateway: &ApiGateway, words: &str| {
        let observed = in_trouble(coming_up(), "shop-1", Trouble::Unschedulable(words.to_owned()));
        diagnosis::visible_cause(&situation(gateway, &observed, &after(60))).unwrap().hint
    };
    for (words, hint) in rows {
        assert_eq!(hint_for(&asks, words), hint);
    }
    let added = "1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector";
    assert_eq!(
        hint_for(&starting(), added),
        "To be scheduled, add nodes, or ask the cluster administrator what adds requests to pods (the spec has none); \
         ask the cluster administrator what restricts pods to nodes (spec.nodeSelector is empty).",
        "what others added"
    );
    let long =
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available";
    let cause = visible_cause(&in_trouble(coming_up(), "shop-1", Trouble::Unschedulable(long.to_owned()))).unwrap();
    assert_eq!(cause.message, "pod shop-1: not scheduled: 0/1 nodes are available: 1 Insufficient cpu");
}

#[test]
fn a_container_that_ends_names_its_exit_code_and_its_last_words() {
    let killed = Trouble::Ended { code: 137, out_of_memory: true, message: String::new(), brief: false };
    let runc = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
        unable to start container process: ";
    let cannot_start = |words: &str| Trouble::CannotStart(format!("{runc}{words}"));
    let rows = [
        (
            ended(1, "panic: no configuration"),
            "pod shop-1: terminated with exit code 1: panic: no configuration",
            "spec.env",
        ),
        (ended(2, ""), "pod shop-1: terminated with exit code 2", "kubectl logs --previous"),
        (ended(0, ""), "pod shop-1: terminated with exit code 0", "must keep running"),
        (ended(127, "serve: not found"), "pod shop-1: terminated with exit code 127: serve: not found", "spec.command"),
        (ended(143, ""), "pod shop-1: terminated with exit code 143", "killed from outside"),
        (ended(137, ""), "pod shop-1: terminated with exit code 137", "spec.resources.limits.memory"),
        (
            ended(255, "exec /gate: exec format error"),
            "pod shop-1: terminated with exit code 255: exec /gate: exec format error",
            "kubernetes.io/arch",
        ),
        (
            killed,
            "pod shop-1: terminated (OOMKilled: out of memory) with exit code 137",
            "spec.resources.limits.memory",
        ),
        (
            cannot_start("exec: \"serve\": executable file not found"),
            "pod shop-1: cannot start: exec: \"serve\": executable file not found",
            "spec.command",
        ),
        (
            cannot_start("container init was OOM-killed (memory limit too low?)"),
            "pod shop-1: cannot start: container init was OOM-killed (memory limit too low?)",
            "spec.resources.limits.memory",
        ),
        (
            cannot_start("exec: \"/gate\": exec format error"),
            "pod shop-1: cannot start: exec: \"/gate\": exec format error",
            "CPU architecture",
        ),
        (
            Trouble::CannotStart("OCI runtime create failed: ".to_owned()),
            "pod shop-1: cannot start: OCI runtime create failed:",
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

fn given_up(reason: &str, message: &str) -> Trouble {
    Trouble::GivenUp { reason: reason.to_owned(), message: message.to_owned() }
}

#[test]
fn a_pod_that_its_node_fails_is_the_nodes() {
    let on_a_node = |trouble: Trouble| {
        let observed = in_trouble(coming_up(), "shop-1", trouble);
        visible_cause(&but(observed, |o| o.pods.troubles[0].node = Some("worker-2".to_owned()))).unwrap()
    };
    let cause = on_a_node(given_up("Evicted", "The node was low on resource: memory."));
    assert_cause(&cause, Reason::NodeFailed, &["pod shop-1: its node worker-2 terminated it: Evicted", "memory"]);
    assert!(cause.hint.contains("spec.resources.requests"), "{cause:?}");
    let shut_down = on_a_node(given_up("Terminated", "Pod was terminated in response to imminent node shutdown."));
    assert_cause(&shut_down, Reason::NodeFailed, &["its node worker-2 terminated it: Terminated: Pod was terminated"]);
    assert!(shut_down.hint.starts_with("The ReplicaSet replaces the pod"), "{shut_down:?}");
    assert_eq!(on_a_node(given_up("", "")).message, "pod shop-1: its node worker-2 terminated it");
    let away = on_a_node(Trouble::NodeUnreachable);
    assert_cause(&away, Reason::NodeFailed, &["pod shop-1: its node worker-2 does not respond"]);
}

/// Such pods are litter: those that replaced them tell how it is now.
#[test]
fn a_pod_that_its_node_gave_up_explains_a_start_and_nothing_later() {
    let evicted = in_trouble(coming_up(), "shop-1", given_up("Evicted", "")).pods;
    let all = in_trouble(but(coming_up(), |o| o.pods = evicted), "shop-2", Trouble::NodeUnreachable).pods;
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
    assert_cause(&proxy, Reason::CrashLoop, &["pod shop-1, container istio-proxy: terminated"]);
    assert!(proxy.hint.contains("no such container"), "{proxy:?}");
    assert_cause(&of("gateway"), Reason::CrashLoop, &["pod shop-1, container gateway: terminated"]);
    assert!(of("gateway").hint.contains("spec.env"));
}

#[test]
fn what_the_events_of_a_silent_pod_say_is_told_by_what_it_is_about() {
    let said = |seconds, pod_event: PodEvent| visible_cause(&silent(coming_up(), seconds, Some(pod_event))).unwrap();
    let answer = "Readiness probe failed: HTTP probe failed with statuscode: 503";
    let failing = said(150, probe(answer));
    assert_cause(&failing, Reason::ReadinessFailing, &["pod shop-1: running but not ready", answer]);
    assert!(failing.hint.contains("spec.port") && failing.hint.contains("spec.readinessPath"), "{failing:?}");
    let words = "MountVolume.SetUp failed for volume \"keys\" : secret \"db\" not found";
    let missing = said(8, PodEvent::MissingVolume(words.to_owned()));
    assert_cause(&missing, Reason::ConfigMissing, &["pod shop-1", "secret \"db\" not found"]);
    assert!(
        missing.hint.contains("has no such volume: ask the cluster administrator"),
        "somebody's webhook added it: {missing:?}"
    );
    let own = but(starting(), |g| {
        g.spec.volumes = vec![
            serde_json::from_value(
                serde_json::json!({ "name": "keys", "mountPath": "/keys", "secret": { "name": "db" } }),
            )
            .unwrap(),
        ];
    });
    let observed = silent(coming_up(), 8, Some(PodEvent::MissingVolume(words.to_owned())));
    let missing = diagnosis::visible_cause(&situation(&own, &observed, &after(60))).unwrap();
    assert!(missing.hint.contains("correct spec.env, spec.envFrom or spec.volumes"), "{missing:?}");
    let node = said(8, PodEvent::Node("no addresses left".to_owned()));
    assert_cause(&node, Reason::NodeFailed, &["pod shop-1: its node cannot create it: no addresses left"]);
    assert_eq!(visible_cause(&silent(coming_up(), 8, None)), None);
}

const REFUSED: &str = "dial tcp 10.244.0.9:9999: connect: connection refused";

#[test]
fn a_port_on_which_nothing_listens_is_named() {
    let observed = silent(coming_up(), 150, Some(probe(&format!("Startup probe failed: {REFUSED}"))));
    let gateway = but(starting(), |g| g.spec.port = 9999);
    let cause = diagnosis::visible_cause(&situation(&gateway, &observed, &after(150))).unwrap();
    let expected = format!(
        "pod shop-1: running but not ready: nothing listens on spec.port 9999: Startup probe failed: {REFUSED}"
    );
    assert_eq!((cause.reason, cause.message), (Reason::ReadinessFailing, expected));
}

/// What may pass by itself: within its usual time nothing is wrong, whatever a probe answers.
#[test]
fn a_start_within_its_usual_time_is_healthy_and_says_what_it_waits_for() {
    let answered = || Some(probe("Readiness probe failed: HTTP probe failed with statuscode: 503"));
    let was_ready = Trouble::Unready { was_ready: true };
    let gate = |words: Option<&str>| Trouble::ReadinessGate {
        gate: "lb.example.com/attached".to_owned(),
        words: words.map(str::to_owned),
    };
    let init = |sidecar| Trouble::Initializing { sidecar, since: None };
    // The trouble, what was heard of it, after how many seconds it is a cause, and what is said before.
    let rows = [
        (Trouble::Unready { was_ready: false }, answered(), 150, "HTTP probe failed with statuscode: 503"),
        (was_ready, answered(), 5, ""),
        (gate(None), None, 150, "readiness gate \"lb.example.com/attached\" is not set"),
        (init(false), None, 150, "container , which is not in the spec, has not finished"),
        (init(true), None, 150, "container , which is not in the spec, is not started"),
        (Trouble::NoScheduler("default-scheduler".to_owned()), None, 150, ""),
        (Trouble::SchedulerFailed("Timeout".to_owned()), None, 150, ""),
        (Trouble::NotTakenUp, None, 150, ""),
        (Trouble::NoScheduler("nobody".to_owned()), None, 5, ""),
        (Trouble::Gated(vec!["example.com/hold".to_owned()]), None, 5, ""),
    ];
    for (trouble, pod_event, seconds, meanwhile) in rows {
        let after_so_long = |seconds| followed(coming_up(), trouble.clone(), seconds, pod_event.clone());
        let early = after_so_long(seconds - 1);
        assert_eq!(visible_cause(&early), None, "{trouble:?}");
        assert!(visible_cause(&after_so_long(seconds)).is_some(), "{trouble:?}");
        assert!(failure(&early).reason != Reason::SlowStart, "{trouble:?}: at the deadline it is known all the same");
        let told = message(&status_after(&starting(), &early, &after(seconds - 1)), "Ready");
        let plain = "attempt 1 is in progress; its deadline is 5m";
        if meanwhile.is_empty() {
            assert_eq!(told, plain, "{trouble:?}");
        } else {
            assert!(told.starts_with(&format!("{plain}; not ready yet: ")) && told.ends_with(meanwhile), "{told}");
        }
    }
}

#[test]
fn the_usual_time_is_half_of_the_deadline_and_five_seconds_at_least() {
    let is_told = |deadline: u64, seconds| {
        let gateway = but(starting(), |g| g.spec.start_deadline = Some(secs(deadline).into()));
        let observed = silent(coming_up(), seconds, Some(probe("refused")));
        diagnosis::visible_cause(&situation(&gateway, &observed, &after(seconds))).is_some()
    };
    for (deadline, usual) in [(1, 5), (10, 5), (60, 30), (86_400, 43_200)] {
        assert!(!is_told(deadline, usual - 1) && is_told(deadline, usual), "{deadline}");
    }
}

#[test]
fn what_a_probe_said_early_is_asked_again_before_it_is_a_cause() {
    let heard_at = |seconds| {
        but(silent(coming_up(), 200, Some(probe("refused"))), |o| {
            o.pods.unexplained.as_mut().unwrap().read_at = Some(secs(seconds));
        })
    };
    assert_eq!(visible_cause(&heard_at(5)), None);
    assert_eq!(visible_cause(&heard_at(150)).unwrap().reason, Reason::ReadinessFailing);
}

/// Each pod would be two writes.
#[test]
fn what_a_start_waits_for_stays_said_while_other_pods_are_on_their_way() {
    let heard = silent(coming_up(), 8, Some(probe("refused")));
    let told = but(starting(), |g| g.status = Some(status_after(g, &heard, &after(8))));
    let plan = decide(&told, &silent(coming_up(), 0, None), &after(20), &SETTINGS);
    assert_eq!(plan.status, None);
    let next = but(told, |g| status(g).attempt.as_mut().unwrap().number = 2);
    let said = message(&status_after(&next, &coming_up(), &after(20)), "Ready");
    assert_eq!(said, "attempt 2 is in progress; its deadline is 5m");
}

#[test]
fn a_deployment_that_somebody_holds_back_says_so_when_its_pods_say_nothing() {
    let held = |rollout: Rollout| but(coming_up(), |o| o.rollout = rollout);
    let paused = held(Rollout { desired: 1, paused: true, ..Rollout::default() });
    let cause = visible_cause(&paused).unwrap();
    assert_eq!(
        (cause.reason, cause.message.as_str()),
        (
            Reason::DeploymentPaused,
            "the Deployment is paused, so no rollout happens; the gateway's spec does not pause it"
        )
    );
    let is_there = Rollout { complete: true, paused: true, ..serving().rollout };
    assert_eq!(visible_cause(&held(is_there)), None);

    let slow = Rollout { desired: 1, replicas: 1, ready: 1, min_ready_seconds: 900, ..Rollout::default() };
    assert_eq!(visible_cause(&held(slow.clone())), None, "there is time");
    let over = |rollout: Rollout| diagnosis::known_cause(&situation(&starting(), &held(rollout), &after(60)));
    let cause = over(slow.clone()).unwrap();
    assert_eq!(
        (cause.reason, cause.message.as_str()),
        (
            Reason::ReadinessFailing,
            "the pods are ready but not yet available: the Deployment has minReadySeconds 900, which is not in the \
             gateway's spec"
        )
    );
    for other in [Rollout { ready: 0, ..slow.clone() }, Rollout { min_ready_seconds: 0, ..slow }] {
        assert_eq!(over(other), None);
    }
}

#[test]
fn what_waits_for_somebody_else_names_whom() {
    let told = |trouble: Trouble| visible_cause(&followed(coming_up(), trouble, 200, None)).unwrap();
    let gated = told(Trouble::Gated(vec!["example.com/hold".to_owned(), "example.com/quota".to_owned()]));
    assert_eq!(
        (gated.reason, gated.message.as_str()),
        (
            Reason::SchedulingGated,
            "pod shop-1: not scheduled until scheduling gates \"example.com/hold\", \"example.com/quota\", not in the \
             spec, are removed"
        )
    );
    let nobody = told(Trouble::NoScheduler("nobody".to_owned()));
    assert_eq!(
        (nobody.reason, nobody.message.as_str()),
        (Reason::Unschedulable, "pod shop-1: scheduler \"nobody\", not in the spec, has not processed it")
    );
    assert!(nobody.hint.contains("whether it runs"), "{nobody:?}");
    let failed = told(Trouble::SchedulerFailed("running Bind plugin \"DefaultBinder\": Timeout".to_owned()));
    assert_eq!(
        (failed.reason, failed.message.as_str()),
        (Reason::Unschedulable, "pod shop-1: the scheduler failed: running Bind plugin \"DefaultBinder\": Timeout")
    );
    assert!(failed.hint.contains("retries"), "no nodes are missing: {failed:?}");
    let default = told(Trouble::NoScheduler("default-scheduler".to_owned()));
    assert_eq!(default.message, "pod shop-1: scheduler \"default-scheduler\" has not processed it");
    let gate = |words: Option<&str>| {
        told(Trouble::ReadinessGate { gate: "example.com/lb".to_owned(), words: words.map(str::to_owned) })
    };
    let unset = gate(None);
    assert_eq!(
        (unset.reason, unset.message.as_str()),
        (
            Reason::ReadinessGatesNotReady,
            "pod shop-1: its containers are ready, but readiness gate \"example.com/lb\" is not: its condition is not \
             set"
        )
    );
    assert!(gate(Some("Draining: 1 target")).message.ends_with("\"example.com/lb\" is not: Draining: 1 target"));
    assert!(unset.hint.contains("no readiness gate"), "{unset:?}");
}

#[test]
fn a_container_that_others_wait_for_is_named_with_since_when_and_its_probe() {
    let init = |sidecar, pod_event| {
        let trouble = Trouble::Initializing { sidecar, since: Some(at(3)) };
        visible_cause(&but(followed(coming_up(), trouble, 200, pod_event), |o| {
            o.pods.unexplained.as_mut().unwrap().about.container = Some("vault-agent".to_owned());
        }))
        .unwrap()
    };
    let who = "pod shop-1, container vault-agent, which is not in the spec: it has run since 2025-06-15T15:06:43Z";
    let endless = init(false, None);
    assert_eq!(
        (endless.reason, endless.message),
        (Reason::ContainersNotInitialized, format!("{who} and does not finish"))
    );
    assert!(endless.hint.contains("no such container"));
    let words = "Startup probe failed: dial tcp 10.244.0.9:15021: connect: connection refused";
    let answer = ProbeResult { container: Some("vault-agent".to_owned()), words: words.to_owned() };
    let sidecar = init(true, Some(PodEvent::Probe(answer)));
    assert_eq!(sidecar.message, format!("{who} and is not started: {words}"));
}

#[test]
fn a_container_beside_the_gateway_that_is_not_ready_is_named_also_where_no_probe_said_anything() {
    let of = |pod_event: Option<PodEvent>| {
        visible_cause(&but(silent(coming_up(), 200, pod_event), |o| {
            o.pods.unexplained.as_mut().unwrap().about.container = Some("istio-proxy".to_owned());
        }))
        .unwrap()
    };
    let quiet = of(None);
    assert_cause(&quiet, Reason::ReadinessFailing, &["container istio-proxy, which is not in the spec: running"]);
    let answer = ProbeResult { container: Some("istio-proxy".to_owned()), words: REFUSED.to_owned() };
    let heard = of(Some(PodEvent::Probe(answer)));
    assert_eq!(heard.message, format!("pod shop-1, container istio-proxy: running but not ready: {REFUSED}"));
    assert!([&quiet, &heard].iter().all(|cause| cause.hint.contains("no such container")), "{heard:?}");
}

/// A run that was long enough for a probe to end it.
fn ended_late(code: i32) -> Trouble {
    Trouble::Ended { code, out_of_memory: false, message: String::new(), brief: false }
}

#[test]
fn what_a_probe_ended_is_told_as_that_and_not_by_its_exit_code() {
    let words = format!("Liveness probe failed: {REFUSED}");
    let killed = PodEvent::Killed(ProbeResult { container: Some("gateway".to_owned()), words: words.clone() });
    for code in [0, 2, 137, 143] {
        let cause = visible_cause(&followed(coming_up(), ended_late(code), 2, Some(killed.clone()))).unwrap();
        let expected = format!(
            "pod shop-1: the kubelet killed it because its probe failed: nothing listens on spec.port 8080: {words}"
        );
        assert_eq!((cause.reason, cause.message), (Reason::ReadinessFailing, expected));
    }
    // The other pod ended for the same reason: it runs the same program.
    let both = in_trouble(followed(coming_up(), ended_late(0), 2, Some(killed)), "shop-0", ended_late(0));
    assert_eq!(visible_cause(&both).unwrap().reason, Reason::ReadinessFailing);
}

#[test]
fn an_end_that_a_probe_may_have_caused_is_told_once_its_events_were_read() {
    let unread = followed(coming_up(), ended_late(0), 1, None);
    assert_eq!(visible_cause(&unread), None);
    assert_eq!(failure(&unread).reason, Reason::CrashLoop, "there is no time left");
    let read = but(unread, |o| o.pods.unexplained.as_mut().unwrap().read_at = Some(secs(1)));
    assert_eq!(visible_cause(&read).unwrap().message, "pod shop-1: terminated with exit code 0");
    assert!(
        visible_cause(&in_trouble(coming_up(), "shop-1", ended(0, ""))).is_some(),
        "of a brief run nobody is asked"
    );
}

/// Old pods that crash say nothing about a new image; a node that is away says why nobody serves.
#[test]
fn a_node_that_is_away_is_told_of_pods_of_any_template_where_none_serves() {
    let dead = |available: i32, trouble: Trouble| {
        but(in_trouble(rolling_out(), "shop-old-1", trouble), |o| {
            o.rollout.available = available;
            o.rollout.template = Some("new".to_owned());
            o.pods.troubles[0].template = Some("old".to_owned());
            o.pods.troubles[0].node = Some("worker-1".to_owned());
        })
    };
    let cause = visible_cause(&dead(0, Trouble::NodeUnreachable)).unwrap();
    assert_cause(&cause, Reason::NodeFailed, &["pod shop-old-1: its node worker-1 does not respond"]);
    assert_eq!(visible_cause(&dead(1, Trouble::NodeUnreachable)), None);
    assert_eq!(visible_cause(&dead(0, ended(1, ""))), None);
    assert_eq!(visible_cause(&dead(0, given_up("Terminated", ""))), None);
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

/// The pods of a Deployment that is not as desired for a reason that stands.
fn standing(observed: Observed) -> Observed {
    image_not_pullable(child(observed, Child::Deployment, different()), "shop-1")
}

#[test]
fn while_the_deployment_cannot_be_written_that_is_told_first_and_then_what_the_pods_that_stand_say() {
    let deployment = Target::Child(Child::Deployment);
    let parts = ["the Deployment", "; also, ", "shop-1", "ghcr.io/acme/gateway:1"];
    for (observed, reason) in [
        (refused(standing(coming_up()), Child::Deployment), Reason::AdmissionRefused),
        (not_answered(standing(coming_up()), deployment.clone(), webhook()), Reason::WebhookUnavailable),
        (
            not_answered(standing(coming_up()), deployment.clone(), MissingDependency::Permission),
            Reason::OperatorNotPermitted,
        ),
        (not_answered(standing(coming_up()), deployment, MissingDependency::Unknown), Reason::WriteUnanswered),
    ] {
        let cause = visible_cause(&observed).unwrap();
        assert_cause(&cause, reason, &parts);
        assert_eq!(cause.beside, Some(Reason::ImagePullFailed));
        assert!(cause.message.find("the Deployment") < cause.message.find("shop-1"), "{cause:?}");
        assert!(cause.hint.contains("spec.image"), "{cause:?}");
    }
    let alone = refused(child(coming_up(), Child::Deployment, different()), Child::Deployment);
    let alone = visible_cause(&alone).unwrap();
    assert_eq!((alone.reason, alone.beside), (Reason::AdmissionRefused, None));
    let quota = but(refused(child(coming_up(), Child::Deployment, different()), Child::Deployment), |o| {
        o.rollout.replica_failure = Some(QUOTA.to_owned());
    });
    assert_eq!(visible_cause(&quota).unwrap().beside, Some(Reason::QuotaExceeded));
}

#[test]
fn while_the_deployment_is_being_deleted_and_does_not_go_its_pods_are_told_as_well() {
    let terminating = |seconds| {
        but(image_not_pullable(child(coming_up(), Child::Deployment, Presence::Terminating), "shop-1"), |o| {
            let finalizers = vec!["example.com/hold".to_owned()];
            o.writes.terminating =
                vec![TerminatingChild { child: Child::Deployment, lasted: secs(seconds), finalizers }];
        })
    };
    let late = visible_cause(&terminating(30)).unwrap();
    assert_cause(&late, Reason::WaitingForDeletion, &["held by example.com/hold; also, ", "shop-1"]);
    assert_eq!(visible_cause(&terminating(10)).unwrap().reason, Reason::ImagePullFailed);
}

#[test]
fn what_pods_say_that_are_as_asked_is_told_first_and_then_what_became_of_our_writes() {
    let pulling = || image_not_pullable(coming_up(), "shop-1");
    let refused = visible_cause(&refused(pulling(), Child::Service)).unwrap();
    assert_cause(&refused, Reason::ImagePullFailed, &["shop-1", "; also, the API server refuses the Service"]);
    let contested = but(standing(coming_up()), |o| {
        let last = Repair { child: Child::Deployment, path: "/spec/paused".to_owned(), manager: None };
        o.writes.repaired = vec![Repaired { last, times: 4, wait: secs(4), calm_in: secs(64) }];
    });
    let contested = visible_cause(&contested).unwrap();
    assert_cause(&contested, Reason::ImagePullFailed, &["shop-1", "; also, another client changes the Deployment"]);
    let held = visible_cause(&unanswered(pulling(), Child::Service, webhook())).unwrap();
    assert_cause(&held, Reason::WebhookUnavailable, &["the Service", "; also, ", "shop-1"]);
}

#[test]
fn of_a_start_that_serves_on_a_longer_deadline_alone_reaches_no_pod() {
    let observed = but(coming_up(), |o| o.rollout.desired = 3);
    let hint = |state| cause_of_failure(&situation(&starting(), &observed, &after(300)), state).hint;
    assert!(hint(State::Running).contains("raise spec.startDeadline and restart it"), "{}", hint(State::Running));
    assert!(hint(State::Stopped).ends_with("raise spec.startDeadline."), "{}", hint(State::Stopped));
}

#[test]
fn what_to_do_about_a_refusal_follows_from_what_is_counted_or_bounded() {
    let hint = |words: &str| visible_cause(&pods_refused(coming_up(), words)).unwrap().hint;
    let quota =
        |requested: &str| format!("x is forbidden: exceeded quota: q, requested: {requested}, used: a=3, limited: a=3");
    for pods in ["pods=1", "count/pods=1", "requests.cpu=1", "count/pods=1,limits.memory=1Gi"] {
        assert!(hint(&quota(pods)).contains("or lower spec.replicas or spec.resources"), "{pods}");
    }
    for objects in ["count/replicasets.apps=1", "services=1", "count/deployments.apps=1,services.nodeports=1"] {
        assert!(hint(&quota(objects)).ends_with("it counts objects, and the gateway needs this one."), "{objects}");
    }
    assert!(hint("x is forbidden: status unknown for quota: q, resources: pods").starts_with("It continues"));
    for words in [
        "pods \"shop-1\" is forbidden: maximum cpu usage per Container is 500m, but limit is 1",
        "pods \"shop-1\" is forbidden: minimum memory usage per Pod is 64Mi, but request is 32Mi",
        "pods \"shop-1\" is forbidden: cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
    ] {
        let refused = visible_cause(&pods_refused(coming_up(), words)).unwrap();
        assert_cause(&refused, Reason::AdmissionRefused, &[words]);
        assert!(refused.hint.contains("spec.resources") && refused.hint.contains("LimitRange"), "{refused:?}");
    }
}

#[test]
fn a_pod_that_its_node_has_not_taken_up_names_the_node() {
    let observed = but(followed(coming_up(), Trouble::NotTakenUp, 150, None), |o| {
        o.pods.unexplained.as_mut().unwrap().about.node = Some("worker-1".to_owned());
    });
    let cause = visible_cause(&observed).unwrap();
    assert_cause(&cause, Reason::NodeFailed, &["pod shop-1: its node worker-1 has not started it"]);
    assert_eq!(due_in(&observed), None, "no Event says so");
}

fn due_in(observed: &Observed) -> Option<std::time::Duration> {
    events_are_due_in(&situation(&starting(), observed, &after(60)))
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
            o.pods.unexplained.as_mut().unwrap().read_at = read_at.map(secs);
        });
        assert_eq!(due_in(&observed), Some(secs(*due)), "{lasted} {read_at:?}");
    }
    assert_eq!(due_in(&coming_up()), None);
    let early = silent(coming_up(), 60, Some(probe("503")));
    assert_eq!(due_in(&early), Some(secs(90)), "once more when it becomes a cause");
    let told = silent(coming_up(), 150, Some(probe("503")));
    assert_eq!(due_in(&told), None, "what was heard is not asked again");
}

#[test]
fn the_events_of_a_pod_whose_container_ended_are_read_twice_at_most() {
    let due = |lasted: u64, read_at: Option<u64>, pod_event: Option<PodEvent>| {
        due_in(&but(followed(coming_up(), ended_late(0), lasted, pod_event), |o| {
            o.pods.unexplained.as_mut().unwrap().read_at = read_at.map(secs);
        }))
    };
    assert_eq!(due(0, None, None), Some(secs(1)));
    assert_eq!(due(1, Some(1), None), Some(secs(4)));
    assert_eq!(due(6, Some(5), None), None);
    let killed = PodEvent::Killed(ProbeResult { container: None, words: "refused".to_owned() });
    assert_eq!(due(1, Some(1), Some(killed)), None);
}

#[test]
fn what_waits_for_somebody_else_is_looked_at_when_it_becomes_a_cause_and_nothing_is_read() {
    let gate = Trouble::ReadinessGate { gate: "example.com/lb".to_owned(), words: None };
    let rows = [(gate, [5, 145]), (Trouble::Gated(vec!["example.com/hold".to_owned()]), [5, 0])];
    for (trouble, [first, second]) in rows {
        let looked_at = |lasted| {
            let observed = followed(coming_up(), trouble.clone(), lasted, None);
            assert_eq!(due_in(&observed), None);
            grace_ends_in(&situation(&starting(), &observed, &after(60))).map_or(0, |ends| ends.as_secs())
        };
        assert_eq!([looked_at(0), looked_at(5), looked_at(150)], [first, second, 0], "{trouble:?}");
    }
}

#[test]
fn only_a_gateway_that_is_started_or_rolled_has_the_events_of_its_pods_read() {
    let quiet = silent(rolling_out(), 30, None);
    for gateway in [starting(), restarting(), started()] {
        let plan = decide(&gateway, &quiet, &after(30), &SETTINGS);
        assert_eq!((plan.steps, plan.requeue_after), (vec![Step::ReadEvents], Some(secs(0))));
        let later = decide(&gateway, &silent(rolling_out(), 2, None), &after(30), &SETTINGS);
        assert_eq!((later.steps, later.requeue_after), (vec![], Some(secs(3))));
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
    assert_eq!(decide(&starting(), &told, &after(30), &SETTINGS).requeue_after, Some(secs(270)));
}

#[test]
fn pods_that_cannot_be_created_name_the_rule() {
    let quota = visible_cause(&pods_refused(coming_up(), QUOTA)).unwrap();
    assert_cause(&quota, Reason::QuotaExceeded, &["pods of the Deployment", "exceeded quota: small"]);
    assert!(quota.hint.contains("Free or raise the namespace's ResourceQuota"));
    let policy = visible_cause(&pods_refused(coming_up(), POLICY)).unwrap();
    assert_cause(&policy, Reason::AdmissionRefused, &["pods of the Deployment", "restricted:latest"]);
}

#[test]
fn a_quota_that_counts_what_the_spec_does_not_say_is_answered_by_saying_it() {
    let refused = |wants: &str| {
        let words = format!("pods \"shop-1\" is forbidden: failed quota: small: must specify {wants}");
        visible_cause(&pods_refused(coming_up(), &words)).unwrap()
    };
    let rows = [
        (
            "limits.memory for: gateway; requests.cpu for: gateway",
            "Set spec.resources.limits.memory and spec.resources.requests.cpu: the namespace's ResourceQuota requires \
             it.",
        ),
        (
            "limits.cpu,memory",
            "Set spec.resources.limits.cpu and spec.resources.requests.memory: the namespace's ResourceQuota requires \
             it.",
        ),
        ("cpu for: gateway,istio-proxy", "Set spec.resources.requests.cpu: the namespace's ResourceQuota requires it."),
        (
            "limits.memory for: istio-proxy",
            "Ask the cluster administrator what injects that container: the ResourceQuota requires these values on it.",
        ),
        ("something else", "Set the named values in spec.resources: the namespace's ResourceQuota requires them."),
    ];
    for (wants, hint) in rows {
        let cause = refused(wants);
        assert_eq!((cause.reason, cause.hint.as_str()), (Reason::QuotaExceeded, hint));
    }
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
        (MissingDependency::Cluster, Reason::ClusterUnavailable, ["the Service", "etcd", "connection refused"]),
        (
            MissingDependency::Permission,
            Reason::OperatorNotPermitted,
            ["the Service", "the operator may not", "connection refused"],
        ),
        (
            MissingDependency::Unknown,
            Reason::WriteUnanswered,
            ["the Service", "answers other requests", "connection refused"],
        ),
    ] {
        let cause = told(by);
        assert_cause(&cause, reason, &parts);
        assert!(!cause.hint.contains("field"), "{cause:?}");
    }
    assert!(
        told(webhook()).hint.contains("automatically") && told(MissingDependency::Unknown).hint.contains("webhook")
    );

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
    let silent = unanswered(broken(), Child::Service, MissingDependency::Unknown);
    assert_eq!(visible_cause(&silent).unwrap().reason, Reason::ImagePullFailed);
    let refused = unanswered(refused(coming_up(), Child::Service), Child::Service, MissingDependency::Unknown);
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
        (Trouble::NodeUnreachable, Reason::NodeFailed),
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
    let probe = |observed: Observed| silent(observed, 200, Some(probe("503")));
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
    let by_hosts: [(HostVerdict, Reason, &[&str]); 8] = [
        (
            HostVerdict::Taken { host: HOST.to_owned(), by: "tenants/other".to_owned() },
            Reason::HostTaken,
            &["tenants/other"],
        ),
        (
            HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: "tenants.example.net".to_owned(), no_name: None },
            Reason::HostNotAllowed,
            &["tenants.example.net"],
        ),
        (
            HostVerdict::NotAllowed {
                host: HOST.to_owned(),
                allowed: "example.net, *.*".to_owned(),
                no_name: Some("*.*".to_owned()),
            },
            Reason::HostNotAllowed,
            &["the entry \"*.*\" is invalid and allows nothing"],
        ),
        (HostVerdict::TooWide { host: HOST.to_owned() }, Reason::HostNotAllowed, &["top-level domain"]),
        (HostVerdict::Address { host: HOST.to_owned() }, Reason::HostNotAllowed, &["IP address"]),
        (
            HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: String::new(), no_name: None },
            Reason::HostNotAllowed,
            &["may claim no hosts"],
        ),
        (HostVerdict::Reserved { host: HOST.to_owned(), name: "svc".to_owned() }, Reason::HostNotAllowed, &["\"svc\""]),
        (HostVerdict::TooMany { host: HOST.to_owned(), limit: 20 }, Reason::HostLimitReached, &["20"]),
    ];
    for (verdict, reason, says) in by_hosts {
        let refused = Blocker::Host(verdict.refusal().unwrap());
        assert_cause(&blocker_cause(&s, &refused), reason, &[&[HOST][..], says].concat());
    }
    let name = Blocker::NameTaken { child: Child::Ingress, by: "Helm release".to_owned() };
    assert_cause(&blocker_cause(&s, &name), Reason::NameTaken, &["Ingress", "shop", "Helm release"]);
    assert!(blocker_cause(&s, &name).hint.contains("Ingress"));
    let old = Blocker::WaitingForDeletion { child: Child::Deployment };
    assert_cause(&blocker_cause(&s, &old), Reason::WaitingForDeletion, &["Deployment", "shop", "deleted gateway"]);
    let class = Blocker::IngressClassNotAllowed(violation("spec.ingressClassName"));
    let words = "spec.ingressClassName \"theirs\" is not allowed: the operator flag --so allows only ours";
    assert_cause(&blocker_cause(&s, &class), Reason::IngressClassNotAllowed, &[words]);
    assert!(blocker_cause(&s, &class).hint.starts_with("Change or remove spec.ingressClassName"));
    let pods = Blocker::NotAllowed(violation("spec.image"));
    let told = blocker_cause(&s, &pods);
    assert_eq!(told.message, "spec.image \"theirs\" is not allowed: the operator flag --so allows only ours");
    assert_eq!(
        told.hint,
        "Change spec.image, or ask the cluster administrator. The operator continues once it is allowed."
    );
    let (gateway, observed) = (started(), serving());
    let told = blocker_cause(&situation(&gateway, &observed, &moment), &pods).message;
    assert!(told.ends_with("; the running pods are unchanged"), "{told}");
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
        (
            child(coming_up(), Child::Deployment, different()),
            "step 2 of 5: the Deployment differs from its desired state",
        ),
        (but(coming_up(), |o| o.rollout.desired = 3), "step 2 of 5: 0 of 3 replicas are available"),
        (
            but(coming_up(), |o| o.rollout.behind = true),
            "step 2 of 5: the Deployment was not observed by its controller",
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
    assert!(nothing_known.message.ends_with("after 300 s; no pod reports a cause"), "{nothing_known:?}");
    let runs = failure(&silent(coming_up(), 290, None));
    assert!(runs.message.ends_with("after 300 s; pod shop-1 is running but not ready"), "{runs:?}");
    let set_up = failure(&but(followed(coming_up(), Trouble::SettingUp, 290, None), |o| {
        o.pods.unexplained.as_mut().unwrap().about.node = Some("worker-2".to_owned());
    }));
    assert!(set_up.message.ends_with("after 300 s; pod shop-1 is being created on its node worker-2"), "{set_up:?}");
}

#[test]
fn a_slow_start_leaves_held_time_out() {
    let held = but(starting(), |g| status(g).attempt.as_mut().unwrap().held_seconds = 600);
    let (observed, moment) = (coming_up(), after(900));
    assert_cause(
        &cause_of_failure(&situation(&held, &observed, &moment), State::Stopped),
        Reason::SlowStart,
        &["after 300 s"],
    );
}

#[test]
fn how_to_retry_names_the_annotation() {
    assert!(how_to_retry().contains("phasegate.dev/retry-requested-at"));
}

#[test]
fn others_words_reach_no_terminal_with_what_it_would_obey() {
    assert_eq!(say("\u{1b}[31mred\u{1b}[0m\u{7} \u{202e}txet\u{0} \u{85} end"), "[31mred[0m txet end");
    let cause = visible_cause(&in_trouble(coming_up(), "shop-1", ended(1, "\u{1b}]0;title\u{7}fatal"))).unwrap();
    assert_eq!(cause.message, "pod shop-1: terminated with exit code 1: ]0;titlefatal");
}

/// They may be the end of a log.
#[test]
fn of_last_words_the_end_is_told_and_what_is_a_secret_by_name_is_not() {
    let told = |words: &str| {
        let cause = visible_cause(&in_trouble(coming_up(), "shop-1", ended(1, words))).unwrap();
        cause.message.strip_prefix("pod shop-1: terminated with exit code 1: ").unwrap().to_owned()
    };
    let long = told(&format!("{}the reason", "line of a log\n".repeat(50)));
    assert_eq!((long.chars().count(), long.starts_with('…'), long.ends_with("the reason")), (301, true, true));
    let rows = [
        ("dial postgres://shop:s3cr%t@db:5432/x failed", "dial postgres://***@db:5432/x failed"),
        ("cannot read DB_PASSWORD=hunter2, giving up", "cannot read DB_PASSWORD=***, giving up"),
        ("DB_PASS=hunter2 REDIS_AUTH=swordfish LEVEL=info", "DB_PASS=*** REDIS_AUTH=*** LEVEL=info"),
        ("jwt=abc dsn: abc", "jwt=*** dsn: ***"),
        ("the API key: abcdef, private key = abcdef", "the API key: *** private key = ***"),
        ("Server=db;Password=hunter2;Port=1", "Server=db;Password=***;Port=1"),
        ("GET /login?user=me&password=a,b&x=1", "GET /login?user=me&password=***,x=1"),
        ("{\"user\":\"me\",\"password\":\"hunter2\",\"on\":1}", "{\"user\":\"me\",\"password\"=***,\"on\":1}"),
        ("password = hunter2 and token : abc", "password = *** and token : ***"),
        ("Cookie: sid=abcdef", "Cookie: ***"),
        ("bypass=true compass: north", "bypass=true compass: north"),
        ("auth: failed, secret missing: name", "auth: failed, secret missing: name"),
        ("api_key: abcdef is wrong", "api_key: *** is wrong"),
        ("sent Authorization: Bearer abc.def", "sent Authorization: Bearer ***"),
        ("sent Bearer abc.def", "sent Bearer ***"),
        ("password:\n\thunter2", "password: ***"),
        ("sent Basic bWU6cHc=", "sent Basic ***"),
        ("panic: no configuration", "panic: no configuration"),
        ("GET http://example.com/a@b failed", "GET http://example.com/a@b failed"),
    ];
    for (words, expected) in rows {
        assert_eq!(told(words), expected);
    }
}

#[test]
fn others_words_are_told_on_one_line_and_not_for_ever() {
    assert_eq!(say("two\n  lines\tand a tab "), "two lines and a tab");
    let short = "é".repeat(300);
    assert_eq!(say(&short), short);
    let long = say(&"é".repeat(301));
    assert_eq!((long.chars().count(), long.ends_with("é…")), (301, true));
}
