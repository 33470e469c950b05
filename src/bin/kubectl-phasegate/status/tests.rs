//! The text of `status` for gateways with and without a failure.

use k8s_openapi::jiff::SignedDuration;
use phasegate::api::ApiGateway;
use serde_json::{Value, json};

use super::facts::Facts;
use super::{lines, report};
use crate::output;
use crate::samples::{self, NOW};

fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn text(facts: &Facts) -> String {
    output::text(&lines::of(&report::of(facts, NOW), NOW), false, None).to_string()
}

fn owned(name: &str, owner: &str) -> Value {
    let owner = json!({ "apiVersion": "v1", "kind": "Any", "name": "any", "uid": owner });
    json!({ "name": name, "uid": name, "ownerReferences": [owner] })
}

/// A ReplicaSet of the gateway's Deployment.
fn set(name: &str, revision: &str, replicas: i32, ready: i32) -> Value {
    let mut metadata = owned(name, "shop");
    metadata["annotations"] = json!({ "deployment.kubernetes.io/revision": revision });
    json!({
        "metadata": metadata,
        "spec": { "replicas": replicas, "selector": {} },
        "status": { "replicas": replicas, "readyReplicas": ready },
    })
}

fn pod(name: &str, set: &str, status: Value) -> Value {
    json!({ "metadata": owned(name, set), "status": status })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({
        "phase": "Pending",
        "containerStatuses": [{
            "name": "gateway", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": reason, "message": message } },
        }],
    })
}

fn failing() -> Facts {
    let event = |name: &str, at: &str, type_: &str, about: [&str; 3], reason: &str, message: &str| {
        let [kind, object, uid] = about;
        json!({
            "metadata": { "name": name }, "type": type_, "reason": reason, "message": message, "lastTimestamp": at,
            "involvedObject": { "kind": kind, "name": object, "uid": uid },
        })
    };
    let mut deployment = json!({
        "metadata": owned("shop", "u1"),
        "spec": { "replicas": 2, "selector": {}, "template": {} },
        "status": { "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2 },
    });
    deployment["metadata"]["uid"] = json!("shop");
    let ready = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
    Facts {
        deployment: Ok(Some(read(deployment))),
        replica_sets: Ok(vec![
            read(set("shop-new", "2", 1, 0)),
            read(set("shop-old", "1", 2, 2)),
            read(set("shop-older", "0", 0, 0)),
        ]),
        pods: Ok(vec![
            read(pod("shop-old-a", "shop-old", ready.clone())),
            read(pod("shop-old-b", "shop-old", ready)),
            read(pod("shop-new-c", "shop-new", waiting("ImagePullBackOff", "not found"))),
        ]),
        service: Ok(Some(read(json!({
            "metadata": owned("shop", "u1"), "spec": { "clusterIP": "10.96.0.7", "ports": [{ "port": 80 }] },
        })))),
        ingress: Ok(Some(read(json!({
            "metadata": owned("shop", "u1"), "spec": { "rules": [{ "host": "shop.example.com" }] },
            "status": { "loadBalancer": { "ingress": [{ "ip": "203.0.113.7" }] } },
        })))),
        environments: Ok(vec![
            read(json!({
                "apiVersion": "phasegate.dev/v1alpha1", "kind": "Environment", "metadata": { "name": "dev" },
                "spec": { "gatewayRef": { "name": "shop" }, "host": "dev.shop.example.com" },
                "status": { "state": "Active" },
            })),
            read(json!({
                "apiVersion": "phasegate.dev/v1alpha1", "kind": "Environment", "metadata": { "name": "staging" },
                "spec": { "gatewayRef": { "name": "shop" } },
                "status": { "state": "Inactive", "conditions": [{
                    "type": "Ready", "status": "False", "reason": "GatewayNotStarted", "message": "it does not serve",
                    "lastTransitionTime": "2026-01-01T10:00:00Z",
                }] },
            })),
        ]),
        events: Ok(vec![
            read(event("1", "2026-01-01T10:00:30Z", "Warning", ["Pod", "shop-new-c", "p"], "Failed", "not\nfound")),
            read(event("2", "2026-01-01T10:00:10Z", "Warning", ["Pod", "shop-new-c", "p"], "Failed", "not\nfound")),
            read(event("3", "2026-01-01T10:00:20Z", "Normal", ["ApiGateway", "shop", "u1"], "Started", "it serves")),
            read(event(
                "4",
                "2026-01-01T09:00:00Z",
                "Normal",
                ["ApiGateway", "shop", "u0"],
                "Stopped",
                "an earlier one",
            )),
        ]),
        ..Facts::bare(samples::failing())
    }
}

#[test]
fn on_a_terminal_long_cells_are_wrapped_and_nothing_is_lost() {
    let mut facts = failing();
    let told = "pod shop-1: image \"acme/gateway:1\" cannot be pulled: not found. The registry has no such image: \
                check the name and tag in spec.image.";
    for condition in &mut facts.gateway.status.as_mut().unwrap().conditions {
        told.clone_into(&mut condition.message);
    }
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let whole = text(&facts);
    for width in [80, 120] {
        let lines = lines::of(&report::of(&facts, NOW), NOW);
        let wrapped = output::text(&lines, false, Some(width)).to_string();
        let widest = wrapped.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width, "{wrapped}");
        assert_eq!(words(&wrapped), words(&whole));
    }
    let narrow = output::text(&lines::of(&report::of(&facts, NOW), NOW), false, Some(80)).to_string();
    let expected = "Cause     pod shop-1: image \"acme/gateway:1\" cannot be pulled: not found. The
          registry has no such image: check the name and tag in spec.image.
Phase ";
    assert!(narrow.contains(expected), "{narrow}");
}

#[test]
fn a_gateway_that_is_not_up_is_explained_from_its_cause_to_its_events() {
    let expected = "\
ApiGateway tenants/shop  ✖ ImagePullFailed
Cause     pod shop-1: image \"acme/gateway:1\" cannot be pulled. Check spec.image.
Phase     Starting; spec.state: Running
Attempt   1, 2m left of 3m
Image     acme/gateway:1

Phases
  Starting   1m so far   StartRequested

Children
  Deployment shop          2 of 2 available, 1 updated
  ├─ ReplicaSet shop-new   revision 2: 0 of 1 ready
  │  └─ Pod shop-new-c     ImagePullBackOff                         not found
  └─ ReplicaSet shop-old   revision 1: 2 of 2 ready, old revision
     ├─ Pod shop-old-a     ready
     └─ Pod shop-old-b     ready
  Service shop             10.96.0.7:80
  Ingress shop             shop.example.com at 203.0.113.7

Environments
  dev       Active     dev.shop.example.com
  staging   Inactive   -                      GatewayNotStarted: it does not serve

Conditions
  Ready       False   ImagePullFailed   for 60s
  Available   False   ImagePullFailed   for 60s
  Stalled     False   ImagePullFailed   for 60s

Events
  40s ago        Started   ApiGateway/shop   it serves
  30s ago (x2)   Failed    Pod/shop-new-c    not found
";
    let text = text(&failing());
    assert!(text == expected, "{text}");
}

/// The gateway of the README, whose image cannot be pulled.
fn hello(gateway: &ApiGateway) -> ApiGateway {
    let text = serde_json::to_string(gateway).unwrap();
    let named =
        [("pod shop-1", "pod hello-5d8f-x7kq2"), ("\"shop\"", "\"hello\""), ("acme/gateway:1", "acme/unpullable:1")];
    let text = named.iter().fold(text, |text, (from, to)| text.replace(from, to));
    let mut gateway: ApiGateway = serde_json::from_str(&text).unwrap();
    gateway.spec.start_deadline = read(json!("3m"));
    gateway
}

fn hello_while_it_starts() -> Facts {
    let mut gateway = hello(&samples::failing());
    for condition in &mut gateway.status.as_mut().unwrap().conditions {
        if condition.type_ == "Available" {
            condition.reason = "Starting".to_owned();
        }
    }
    let mut deployment = json!({
        "metadata": owned("hello", "u1"),
        "spec": { "replicas": 1, "selector": {}, "template": {} },
        "status": { "replicas": 1, "updatedReplicas": 1 },
    });
    deployment["metadata"]["uid"] = json!("shop");
    let service = json!({
        "metadata": owned("hello", "u1"), "spec": { "clusterIP": "10.96.0.7", "ports": [{ "port": 80 }] },
    });
    let event = json!({
        "metadata": { "name": "1" }, "type": "Warning", "reason": "ImagePullFailed",
        "message": "pod hello-5d8f-x7kq2: image \"acme/unpullable:1\" cannot be pulled",
        "lastTimestamp": "2026-01-01T10:00:04Z", "involvedObject": { "kind": "ApiGateway", "name": "hello", "uid": "u1" },
    });
    Facts {
        deployment: Ok(Some(read(deployment))),
        replica_sets: Ok(vec![read(set("hello-5d8f", "1", 1, 0))]),
        pods: Ok(vec![read(pod("hello-5d8f-x7kq2", "hello-5d8f", waiting("ImagePullBackOff", "not found")))]),
        service: Ok(Some(read(service))),
        events: Ok(vec![read(event)]),
        ..Facts::bare(gateway)
    }
}

/// Writes a text between two markers of a document with `make generate`, and compares it otherwise.
fn shown_in(file: &str, marker: &str, status: &str) {
    let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once(&format!("<!-- {marker} -->\n")).unwrap();
    let (_, after) = rest.split_once(&format!("<!-- /{marker} -->")).unwrap();
    let written = format!("{before}<!-- {marker} -->\n```\n{status}```\n<!-- /{marker} -->{after}");
    if std::env::var("PHASEGATE_GENERATE").is_ok_and(|value| value == "1") {
        std::fs::write(&file, &written).unwrap();
    } else {
        assert!(page == written, "{file} shows another status: run make generate");
    }
}

#[test]
fn a_first_start_that_fails_is_explained_before_its_deadline_as_the_book_shows_it() {
    let expected = "\
ApiGateway tenants/hello  ✖ ImagePullFailed
Cause     pod hello-5d8f-x7kq2: image \"acme/unpullable:1\" cannot be pulled. Check spec.image.
Phase     Starting; spec.state: Running
Attempt   1, 2m left of 3m
Image     acme/unpullable:1

Phases
  Starting   1m so far   StartRequested

Children
  Deployment hello             0 of 1 available
  └─ ReplicaSet hello-5d8f     revision 1: 0 of 1 ready
     └─ Pod hello-5d8f-x7kq2   ImagePullBackOff           not found
  Service hello                10.96.0.7:80

Conditions
  Ready       False   ImagePullFailed   for 60s
  Available   False   Starting          for 60s
  Stalled     False   ImagePullFailed   for 60s

Events
  56s ago   ImagePullFailed   ApiGateway/hello   pod hello-5d8f-x7kq2: image \"acme/unpullable:1\" cannot be pulled
";
    let shown = text(&hello_while_it_starts());
    assert!(shown == expected, "{shown}");
    shown_in("docs/src/how-to/debug.md", "status", expected);
}

#[test]
fn after_a_timeout_the_cause_and_the_way_on_are_said_though_nothing_is_left() {
    let expected = "\
ApiGateway tenants/hello  ✖ ImagePullFailed
Cause     pod hello-5d8f-x7kq2: image \"acme/unpullable:1\" cannot be pulled
Hint      Check spec.image. Then change the spec, or run: kubectl phasegate retry hello -n tenants
Phase     Stopped; spec.state: Running, status.state: Stopped
Attempt   1
Image     acme/unpullable:1

Phases
  Starting            40s          StartRequested
  Started (Stopped)   0s           StartDeadlineExceeded
  Stopping            2s           StartDeadlineExceeded
  Stopped             18s so far   Stopped

Children
  none, since the gateway is stopped

Conditions
  Ready       False   StartDeadlineExceeded   for 60s
  Available   False   StartDeadlineExceeded   for 60s
  Stalled     True    StartDeadlineExceeded   for 60s
";
    let shown = text(&Facts::bare(hello(&samples::timed_out())));
    assert!(shown == expected, "{shown}");
    shown_in("docs/src/how-to/debug.md", "status-after", expected);
    shown_in("README.md", "status", &format!("{}\n", expected.split("\n\n").next().unwrap()));
}

#[test]
fn a_route_is_shown_with_what_each_gateway_says_of_it() {
    let mut facts = failing();
    let mut metadata = owned("shop", "u1");
    metadata["generation"] = json!(3);
    let said = |name: &str, accepted: &str| {
        let condition = |type_: &str, status: &str| json!({ "type": type_, "status": status, "observedGeneration": 3, "reason": "NoMatchingParent", "message": "no such listener" });
        json!({
            "parentRef": { "namespace": "infra", "name": name },
            "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", "True")],
        })
    };
    let parent = |name: &str| json!({ "namespace": "infra", "name": name });
    facts.http_route = Ok(Some(read(json!({
        "metadata": metadata,
        "spec": { "hostnames": ["shop.example.com"], "parentRefs": [parent("a"), parent("b"), parent("c")] },
        "status": { "parents": [said("a", "True"), said("b", "False")] },
    }))));
    let text = text(&facts);
    let line =
        "HTTPRoute shop           shop.example.com accepted by infra/a, rejected by infra/b, no answer from infra/c";
    for expected in [line, "Accepted NoMatchingParent: no such listener"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn what_may_not_be_read_is_said_and_the_rest_is_shown() {
    let mut facts = failing();
    facts.ingress = Err("failed to read Ingress shop: you may not".to_owned());
    facts.disruption_budget = Ok(Some(read(json!({ "metadata": owned("shop", "somebody") }))));
    facts.pods = Err("failed to list pods: you may not".to_owned());
    facts.replica_sets = Err("failed to list replicasets: you may not".to_owned());
    facts.events = Err("failed to list events: you may not".to_owned());
    let text = text(&facts);
    for expected in [
        "  ├─ Pod                     unknown",
        "  └─ ReplicaSet              unknown",
        "failed to read Ingress shop: you may not",
        "  PodDisruptionBudget shop   owned by another object",
        "failed to list pods: you may not",
        "failed to list replicasets: you may not",
        "\nNot shown\n  failed to list events: you may not\n",
        "  Service shop               10.96.0.7:80",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
}

#[test]
fn the_time_left_of_an_attempt_is_that_of_its_own_clock() {
    let tried = |held_seconds: i64, held_since: Value, deadline: Value, state: &str| {
        let mut gateway = samples::starting();
        let attempt = gateway.status.as_mut().unwrap().attempt.as_mut().unwrap();
        attempt.held_seconds = held_seconds;
        attempt.held_since = read(held_since);
        gateway.spec.start_deadline = read(deadline);
        gateway.spec.suspend = state == "suspended";
        text(&Facts::bare(gateway)).lines().find(|line| line.starts_with("Attempt")).unwrap().to_owned()
    };
    assert_eq!(tried(0, Value::Null, json!("90s"), ""), "Attempt   1, 30s left of 1m30s");
    assert_eq!(tried(20, Value::Null, json!("90s"), ""), "Attempt   1, 50s left of 1m30s");
    assert_eq!(
        tried(0, json!("2026-01-01T10:00:15Z"), json!("90s"), ""),
        "Attempt   1, 1m15s left of 1m30s, deadline paused"
    );
    assert_eq!(tried(0, Value::Null, Value::Null, ""), "Attempt   1, 4m left of 5m (operator default)");
    assert_eq!(tried(0, Value::Null, json!("10s"), ""), "Attempt   1, 0s left of 10s");
}

#[test]
fn a_pod_says_why_it_does_not_run() {
    let running = |ready: &str, message: &str| json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": ready, "message": message }] });
    let container = |state: Value, last: Value, restarts: i32| {
        json!({ "phase": "Running", "containerStatuses": [{
            "name": "gateway", "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
            "state": state, "lastState": last,
        }] })
    };
    let ended = |code: i32, reason: &str, message: &str| json!({ "terminated": { "exitCode": code, "reason": reason, "message": message } });
    let backoff = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s" } });
    let unscheduled = json!({ "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no cpu" },
    ] });
    for (status, state, cause) in [
        (running("True", ""), "ready", None),
        (running("False", "not ready: [gateway]"), "running, not ready", Some("not ready: [gateway]")),
        (unscheduled, "not scheduled", Some("0/1 nodes: no cpu")),
        (waiting("ContainerCreating", ""), "pending", None),
        (
            waiting("CreateContainerConfigError", "secret \"s\" not found"),
            "CreateContainerConfigError",
            Some("secret \"s\" not found"),
        ),
        (
            container(backoff.clone(), ended(137, "OOMKilled", ""), 3),
            "CrashLoopBackOff, restarted 3 times",
            Some("container gateway terminated with exit code 137 (OOMKilled)"),
        ),
        (
            container(backoff, ended(1, "Error", "panic: no configuration\n"), 1),
            "CrashLoopBackOff, restarted once",
            Some("container gateway terminated with exit code 1: panic: no configuration"),
        ),
        (
            container(ended(2, "Error", ""), json!({}), 0),
            "failed",
            Some("container gateway terminated with exit code 2"),
        ),
    ] {
        let facts = Facts { pods: Ok(vec![read(pod("p", "none", status))]), ..Facts::bare(samples::starting()) };
        let report = report::of(&facts, NOW);
        let [found] = report.children.as_slice() else { panic!("{:?}", report.children) };
        assert_eq!((found.state.as_str(), found.cause.as_deref()), (state, cause));
    }
}

#[test]
fn a_pod_that_is_being_deleted_says_since_when_and_how_long_it_may_take() {
    let told = |until: &str| {
        let mut ending = pod("p", "none", json!({ "phase": "Running" }));
        ending["metadata"]["deletionTimestamp"] = json!(until);
        ending["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        ending["spec"] = json!({ "nodeName": "worker-1", "containers": [] });
        let facts = Facts { pods: Ok(vec![read(ending)]), ..Facts::bare(samples::starting()) };
        let [found] = report::of(&facts, NOW).children.try_into().unwrap();
        (found.state, found.cause)
    };
    assert_eq!(told("2026-01-01T10:01:18Z"), ("terminating for 12s, grace period 30s".to_owned(), None));
    let late = (
        "terminating for 2m, grace period 30s".to_owned(),
        Some("node worker-1 did not stop it within its grace period".to_owned()),
    );
    assert_eq!(told("2026-01-01T09:59:30Z"), late);
}

#[test]
fn a_pod_that_its_node_ended_or_that_a_gate_holds_says_so() {
    let words = "Pod was terminated in response to imminent node shutdown.";
    let ended = json!({ "phase": "Succeeded", "reason": "Terminated", "message": words });
    let mut gated = pod(
        "gated",
        "none",
        json!({ "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "non-empty scheduling gates" },
    ] }),
    );
    gated["spec"] = json!({ "schedulingGates": [{ "name": "example.com/hold" }], "containers": [] });
    let pods = vec![read(pod("ended", "none", ended)), read(gated)];
    let report = report::of(&Facts { pods: Ok(pods), ..Facts::bare(samples::starting()) }, NOW);
    let told: Vec<_> = report.children.iter().map(|pod| (pod.state.as_str(), pod.cause.as_deref().unwrap())).collect();
    let expected = [
        ("terminated by its node", "Terminated: Pod was terminated in response to imminent node shutdown."),
        ("not scheduled", "scheduling gates: example.com/hold"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_a_start_waits_for_is_shown_while_nothing_is_wrong() {
    let waits = "attempt 1 is in progress; its deadline is 3m; not ready yet: nothing listens on spec.port 8080: \
                 refused";
    let mut gateway = samples::starting();
    gateway.status.as_mut().unwrap().conditions[0].message = waits.to_owned();
    let told = text(&Facts::bare(gateway));
    assert!(told.contains("\nNot ready   nothing listens on spec.port 8080: refused\n"), "{told}");
    assert!(!told.contains("Cause"), "{told}");
}

#[test]
fn a_gateway_that_no_operator_looks_at_says_so_after_a_while() {
    let gateway = samples::shop(json!({}), Value::Null);
    let at = |seconds: i64| {
        let created = gateway.metadata.creation_timestamp.clone().unwrap().0;
        let now = created + SignedDuration::from_secs(seconds);
        output::text(&lines::of(&report::of(&Facts::bare(gateway.clone()), now), now), false, None)
    };
    assert!(at(5).starts_with("ApiGateway tenants/shop  ◌ not reconciled yet\n"), "{}", at(5));
    assert!(at(45).contains("\nCause   the ApiGateway has not been reconciled since its creation\n"), "{}", at(45));
}
