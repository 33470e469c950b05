//! What is read of pods as a kubelet reports them.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

const THEN: &str = "2026-01-02T03:04:05Z";
const LATER: &str = "2026-01-02T03:05:00Z";

fn pod(status: Value) -> Watched<Pod> {
    with_spec(json!({ "nodeName": "worker-1" }), status)
}

fn with_spec(spec: Value, status: Value) -> Watched<Pod> {
    let metadata = json!({ "name": "shop-1", "labels": { "pod-template-hash": "7d9f8b6c5" } });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap()
}

/// A container of this name and state, which is not ready.
fn container(name: &str, state: Value) -> Value {
    json!({ "name": name, "image": "acme/gateway:1", "imageID": "", "ready": false, "restartCount": 0, "state": state })
}

fn with(mut container: Value, field: &str, value: Value) -> Value {
    container[field] = value;
    container
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "waiting": { "reason": reason, "message": message } })
}

fn running(since: &str) -> Value {
    json!({ "running": { "startedAt": since } })
}

fn terminated(code: i32, reason: &str, message: &str) -> Value {
    json!({ "terminated": { "exitCode": code, "reason": reason, "message": message } })
}

/// A pod that is scheduled and has not been ready since a moment.
fn unready(since: &str, containers: Value) -> Watched<Pod> {
    pod(json!({
        "phase": "Running",
        "conditions": [
            { "type": "PodScheduled", "status": "True" },
            { "type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": since },
        ],
        "containerStatuses": containers,
    }))
}

fn alone(container: Value) -> Option<Trouble> {
    of(&unready(THEN, json!([container]))).map(|found| found.trouble)
}

fn ended(code: i32, message: &str) -> Trouble {
    Trouble::Ended { code, out_of_memory: false, message: message.to_owned(), brief: true }
}

const UNREADY: Trouble = Trouble::Unready { was_ready: false };

#[test]
fn each_wait_of_a_container_is_told_from_the_others() {
    let pull = Trouble::ImagePull { image: "acme/gateway:1".to_owned(), message: "words".to_owned() };
    let root = "container has runAsNonRoot and image will run as root (pod: \"shop-1\", container: gateway)";
    let rows: Vec<(&str, &str, Option<Trouble>)> = vec![
        ("ErrImagePull", "words", Some(pull.clone())),
        ("ImagePullBackOff", "words", Some(pull.clone())),
        ("InvalidImageName", "words", Some(pull.clone())),
        ("RegistryUnavailable", "words", Some(pull)),
        ("CreateContainerConfigError", root, Some(Trouble::RunsAsRoot(root.to_owned()))),
        (
            "CreateContainerConfigError",
            "secret \"db\" not found",
            Some(Trouble::Config("secret \"db\" not found".to_owned())),
        ),
        ("RunContainerError", "no such file", Some(Trouble::CannotStart("no such file".to_owned()))),
        ("ContainerCreating", "", Some(Trouble::SettingUp)),
        ("PodInitializing", "", Some(Trouble::SettingUp)),
    ];
    for (reason, message, expected) in rows {
        assert_eq!(alone(container("gateway", waiting(reason, message))), expected, "{reason}");
    }
}

#[test]
fn a_container_that_ends_again_and_again_is_told_alike_between_its_runs_and_in_them() {
    let last = json!(terminated(1, "Error", "panic: no configuration"));
    let between = with(container("gateway", waiting("CrashLoopBackOff", "back-off 40s")), "lastState", last.clone());
    let again = with(container("gateway", running(LATER)), "lastState", last.clone());
    for state in [container("gateway", last), between, again] {
        assert_eq!(alone(state), Some(ended(1, "panic: no configuration")));
    }
}

#[test]
fn a_container_that_was_ready_since_its_last_end_is_in_no_crash_loop() {
    let again = with(container("gateway", running(THEN)), "lastState", terminated(1, "Error", ""));
    let trouble = of(&unready(LATER, json!([again]))).unwrap().trouble;
    assert_eq!(trouble, Trouble::Unready { was_ready: true });
}

#[test]
fn want_of_memory_and_a_program_that_is_not_there_are_told_from_other_ends() {
    let killed = container("gateway", terminated(137, "OOMKilled", ""));
    assert_eq!(
        alone(killed),
        Some(Trouble::Ended { code: 137, out_of_memory: true, message: String::new(), brief: true })
    );
    let missing = terminated(128, "StartError", "exec: \"serve\": executable file not found in $PATH");
    let looping = with(container("gateway", waiting("CrashLoopBackOff", "back-off")), "lastState", missing);
    let words = "exec: \"serve\": executable file not found in $PATH".to_owned();
    assert_eq!(alone(looping), Some(Trouble::CannotStart(words)));
}

#[test]
fn the_container_in_trouble_is_named_where_there_are_several() {
    let ready = |name: &str| with(container(name, running(THEN)), "ready", json!(true));
    let crashed = container("proxy", terminated(2, "Error", ""));
    let found = of(&unready(THEN, json!([ready("gateway"), crashed]))).unwrap();
    // How long a probe of somebody else's has patience is not known.
    let of_others =
        |code, message: &str| Trouble::Ended { code, out_of_memory: false, message: message.to_owned(), brief: false };
    assert_eq!((found.container.as_deref(), found.trouble), (Some("proxy"), of_others(2, "")));

    let done = with(container("init", terminated(0, "Completed", "")), "ready", json!(true));
    let failed = container("init", terminated(3, "Error", "no route"));
    let of_init = |init: Value| {
        let mut pod = unready(THEN, json!([container("gateway", waiting("PodInitializing", ""))]));
        pod.status.as_mut().unwrap().init_container_statuses = serde_json::from_value(json!([init])).unwrap();
        of(&pod).map(|found| (found.container, found.trouble))
    };
    assert_eq!(of_init(failed), Some((Some("init".to_owned()), of_others(3, "no route"))));
    assert_eq!(of_init(done), Some((None, Trouble::SettingUp)));
}

#[test]
fn a_pod_carries_the_hash_of_its_template() {
    let found = of(&unready(THEN, json!([container("gateway", running(THEN))]))).unwrap();
    assert_eq!((found.template.as_deref(), found.container), (Some("7d9f8b6c5"), None));
}

#[test]
fn a_pod_that_its_node_gave_up_says_why_whatever_became_of_its_containers() {
    let evicted = pod(json!({
        "phase": "Failed",
        "reason": "Evicted",
        "message": "The node was low on resource: memory.",
        "containerStatuses": [container("gateway", terminated(137, "ContainerStatusUnknown", ""))],
    }));
    assert_eq!(of(&evicted).unwrap().trouble, given_up("Evicted", "The node was low on resource: memory."));
}

fn given_up(reason: &str, message: &str) -> Trouble {
    Trouble::GivenUp { reason: reason.to_owned(), message: message.to_owned() }
}

/// A node that is shut down ends its pods' containers, with an exit code of their own.
#[test]
fn a_pod_that_came_to_an_end_was_ended_by_its_node_whatever_its_exit_code() {
    let done = |phase: &str, more: Value| {
        let mut status = json!({
            "phase": phase,
            "conditions": [{ "type": "Ready", "status": "False", "reason": "PodCompleted", "lastTransitionTime": LATER }],
            "containerStatuses": [container("gateway", terminated(0, "Completed", ""))],
        });
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        of(&pod(status)).unwrap()
    };
    let words = "Pod was terminated in response to imminent node shutdown.";
    let shut_down = done("Succeeded", json!({ "reason": "Terminated", "message": words }));
    assert_eq!((shut_down.trouble, shut_down.node.as_deref()), (given_up("Terminated", words), Some("worker-1")));
    assert_eq!(done("Succeeded", json!({})).trouble, given_up("", ""));
    let target =
        json!([{ "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": words }]);
    let ending = json!({ "conditions": target });
    assert_eq!(done("Failed", ending.clone()).trouble, given_up("TerminationByKubelet", words));
    assert_eq!(done("Running", ending).trouble, given_up("TerminationByKubelet", words), "its phase comes later");
    assert_eq!(done("Running", json!({})).trouble, ended(0, ""), "nobody else ended it");
}

#[test]
fn a_run_that_the_node_lost_is_no_crash() {
    for (code, reason) in [(137, "ContainerStatusUnknown"), (255, "Unknown")] {
        let lost = terminated(code, reason, "The container could not be located when the pod was terminated");
        assert_eq!(alone(with(container("gateway", running(LATER)), "lastState", lost.clone())), Some(UNREADY));
        let again = with(container("gateway", waiting("ContainerCreating", "")), "lastState", lost);
        assert_eq!(alone(again), Some(Trouble::SettingUp));
    }
}

#[test]
fn a_run_is_brief_where_no_probe_can_have_ended_it() {
    let ran = |name: &str, until: &str| {
        let run = json!({ "exitCode": 143, "reason": "Error", "startedAt": THEN, "finishedAt": until });
        let trouble = alone(container(name, json!({ "terminated": run })));
        matches!(trouble, Some(Trouble::Ended { brief: true, .. }))
    };
    assert!(ran("gateway", "2026-01-02T03:04:24Z"));
    assert!(!ran("gateway", "2026-01-02T03:04:25Z"));
    assert!(!ran("proxy", THEN), "how patient its probes are is not known");
}

#[test]
fn a_pod_whose_containers_are_ready_and_that_is_not_is_on_a_lost_node_or_waits_for_a_gate() {
    let ready = with(container("gateway", running(THEN)), "ready", json!(true));
    let lost = of(&unready(LATER, json!([ready.clone()]))).unwrap();
    assert_eq!((lost.trouble, lost.node.as_deref()), (Trouble::NodeUnreachable, Some("worker-1")));

    let spec = json!({ "nodeName": "worker-1", "readinessGates": [
        { "conditionType": "example.com/first" },
        { "conditionType": "example.com/second" },
    ] });
    let gated = |second: Option<Value>| {
        let mut conditions = vec![
            json!({ "type": "PodScheduled", "status": "True" }),
            json!({ "type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "lastTransitionTime": THEN }),
            json!({ "type": "example.com/first", "status": "True" }),
        ];
        conditions.extend(second);
        let status = json!({ "phase": "Running", "conditions": conditions, "containerStatuses": [ready.clone()] });
        of(&with_spec(spec.clone(), status)).unwrap().trouble
    };
    let gate = |words: Option<&str>| Trouble::ReadinessGate {
        gate: "example.com/second".to_owned(),
        words: words.map(str::to_owned),
    };
    let second = |status: &str, reason: Value, message: Value| {
        Some(json!({ "type": "example.com/second", "status": status, "reason": reason, "message": message }))
    };
    assert_eq!(gated(None), gate(None));
    assert_eq!(gated(second("False", json!("Draining"), json!("1 target"))), gate(Some("Draining: 1 target")));
    assert_eq!(gated(second("Unknown", Value::Null, Value::Null)), gate(Some("it is Unknown")));
}

#[test]
fn a_container_that_the_others_wait_for_is_told_with_since_when() {
    let of_init = |restart_policy: Value, status: Value| {
        let name = status["name"].clone();
        let spec =
            json!({ "nodeName": "worker-1", "initContainers": [{ "name": name, "restartPolicy": restart_policy }] });
        let found = of(&with_spec(
            spec,
            json!({
                "phase": "Pending",
                "conditions": [{ "type": "Ready", "status": "False", "lastTransitionTime": THEN }],
                "initContainerStatuses": [status],
                "containerStatuses": [container("gateway", waiting("PodInitializing", ""))],
            }),
        ));
        let found = found.unwrap();
        (found.container, found.trouble)
    };
    let since = Some(LATER.parse().unwrap());
    let endless = of_init(Value::Null, container("wait-for-db", running(LATER)));
    assert_eq!(endless, (Some("wait-for-db".to_owned()), Trouble::Initializing { sidecar: false, since }));
    let sidecar = |started| with(container("mesh", running(LATER)), "started", json!(started));
    let waiting = of_init(json!("Always"), sidecar(false));
    assert_eq!(waiting, (Some("mesh".to_owned()), Trouble::Initializing { sidecar: true, since }));
    assert_eq!(of_init(json!("Always"), sidecar(true)), (None, Trouble::SettingUp), "the gateway's turn has come");
}

#[test]
fn of_several_containers_that_are_not_ready_the_gateways_own_is_named() {
    let ready = with(container("gateway", running(THEN)), "ready", json!(true));
    let named = |containers: Value| of(&unready(THEN, containers)).unwrap().container;
    let proxy = || container("a-proxy", running(THEN));
    assert_eq!(named(json!([proxy(), container("gateway", running(THEN))])).as_deref(), Some("gateway"));
    assert_eq!(named(json!([proxy(), ready])).as_deref(), Some("a-proxy"));
}

#[test]
fn a_pod_without_a_node_says_what_the_scheduler_said_or_who_keeps_it_from_looking() {
    let without_node = |spec: Value, conditions: Value| {
        of(&with_spec(spec, json!({ "phase": "Pending", "conditions": conditions }))).map(|found| found.trouble)
    };
    let scheduled = |reason: &str| {
        let spec = json!({ "schedulerName": "default-scheduler" });
        let condition = json!({ "type": "PodScheduled", "status": "False", "reason": reason, "message": "no nodes" });
        without_node(spec, json!([condition]))
    };
    assert_eq!(scheduled("Unschedulable"), Some(Trouble::Unschedulable("no nodes".to_owned())));
    assert_eq!(scheduled("SchedulerError"), Some(Trouble::SchedulerFailed("no nodes".to_owned())));
    assert_eq!(scheduled("Undetermined"), Some(Trouble::Unschedulable("no nodes".to_owned())), "another scheduler's");
    let unsaid = json!({ "type": "PodScheduled", "status": "False", "reason": "NotEnoughResources" });
    let unsaid = without_node(json!({ "schedulerName": "volcano" }), json!([unsaid]));
    assert_eq!(unsaid, Some(Trouble::Unschedulable("NotEnoughResources".to_owned())));
    assert_eq!(
        without_node(json!({ "schedulerName": "nobody" }), json!([])),
        Some(Trouble::NoScheduler("nobody".to_owned()))
    );
    let gates = json!([{ "name": "example.com/hold" }]);
    let condition = json!({ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated" });
    let spec = json!({ "schedulerName": "nobody", "schedulingGates": gates });
    assert_eq!(
        without_node(spec, json!([condition.clone()])),
        Some(Trouble::Gated(vec!["example.com/hold".to_owned()]))
    );
    let removed = without_node(json!({ "schedulerName": "nobody" }), json!([condition]));
    assert_eq!(removed, Some(Trouble::NoScheduler("nobody".to_owned())), "the gates are gone");
    let found = json!({ "type": "PodScheduled", "status": "True" });
    assert_eq!(without_node(json!({ "schedulerName": "nobody" }), json!([found])), None);
}

/// It has a node whose kubelet has died since, or never was.
#[test]
fn a_pod_of_which_its_node_says_nothing_is_not_taken_up() {
    let scheduled = json!({ "type": "PodScheduled", "status": "True" });
    let bound = |phase: &str| of(&pod(json!({ "phase": phase, "conditions": [scheduled] })));
    let found = bound("Pending").unwrap();
    assert_eq!((found.trouble, found.node.as_deref()), (Trouble::NotTakenUp, Some("worker-1")));
    assert_eq!(bound("Running"), None);
}

#[test]
fn a_pod_in_good_order_is_in_no_trouble() {
    let ready = with(container("gateway", running(THEN)), "ready", json!(true));
    let condition = json!({ "type": "Ready", "status": "True" });
    assert_eq!(of(&pod(json!({ "phase": "Running", "conditions": [condition], "containerStatuses": [ready] }))), None);
}
