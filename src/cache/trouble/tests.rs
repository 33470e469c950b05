//! What is read of pods as a kubelet reports them.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

const THEN: &str = "2026-01-02T03:04:05Z";
const LATER: &str = "2026-01-02T03:05:00Z";

fn pod(status: Value) -> Watched<Pod> {
    let labels = json!({ "pod-template-hash": "7d9f8b6c5" });
    serde_json::from_value(json!({ "metadata": { "name": "shop-1", "labels": labels }, "status": status })).unwrap()
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
    Trouble::Ended { code, out_of_memory: false, message: message.to_owned() }
}

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
    assert_eq!(trouble, Trouble::Unready);
}

#[test]
fn want_of_memory_and_a_program_that_is_not_there_are_told_from_other_ends() {
    let killed = container("gateway", terminated(137, "OOMKilled", ""));
    assert_eq!(alone(killed), Some(Trouble::Ended { code: 137, out_of_memory: true, message: String::new() }));
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
    assert_eq!((found.container.as_deref(), found.trouble), (Some("proxy"), ended(2, "")));

    let done = with(container("init", terminated(0, "Completed", "")), "ready", json!(true));
    let failed = container("init", terminated(3, "Error", "no route"));
    let of_init = |init: Value| {
        let mut pod = unready(THEN, json!([container("gateway", waiting("PodInitializing", ""))]));
        pod.status.as_mut().unwrap().init_container_statuses = serde_json::from_value(json!([init])).unwrap();
        of(&pod).map(|found| (found.container, found.trouble))
    };
    assert_eq!(of_init(failed), Some((Some("init".to_owned()), ended(3, "no route"))));
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
    let words = "Evicted: The node was low on resource: memory.".to_owned();
    assert_eq!(of(&evicted).unwrap().trouble, Trouble::GivenUp(words));
}

#[test]
fn a_pod_whose_containers_are_ready_and_that_is_not_is_on_a_lost_node_or_waits_for_a_gate() {
    let ready = with(container("gateway", running(THEN)), "ready", json!(true));
    let lost = of(&unready(LATER, json!([ready.clone()]))).unwrap().trouble;
    assert_eq!(lost, Trouble::NodeIsAway);
    let mut gated = unready(LATER, json!([ready]));
    let conditions = gated.status.as_mut().unwrap().conditions.as_mut().unwrap();
    conditions[1].reason = Some("ReadinessGatesNotReady".to_owned());
    assert_eq!(of(&gated).unwrap().trouble, Trouble::Unready);
}

#[test]
fn a_pod_without_a_node_says_what_the_scheduler_said() {
    let scheduled = |reason: &str| {
        let condition = json!({ "type": "PodScheduled", "status": "False", "reason": reason, "message": "no nodes" });
        of(&pod(json!({ "phase": "Pending", "conditions": [condition] }))).map(|found| found.trouble)
    };
    assert_eq!(scheduled("Unschedulable"), Some(Trouble::Unschedulable("no nodes".to_owned())));
    assert_eq!(scheduled("SchedulingGated"), None);
}

#[test]
fn a_pod_in_good_order_or_just_made_is_in_no_trouble() {
    let ready = with(container("gateway", running(THEN)), "ready", json!(true));
    let condition = json!({ "type": "Ready", "status": "True" });
    assert_eq!(of(&pod(json!({ "phase": "Running", "conditions": [condition], "containerStatuses": [ready] }))), None);
    let scheduled = json!({ "type": "PodScheduled", "status": "True" });
    assert_eq!(of(&pod(json!({ "phase": "Pending", "conditions": [scheduled] }))), None);
    assert_eq!(of(&pod(json!({ "phase": "Pending" }))), None);
}
