//! Hostile text of other users is escaped in every status, Event and terminal.

use std::process::{Command, Stdio};

use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use phasegate::api::{ApiGateway, Environment, Phase, State, condition};
use phasegate::children::NAME_LABEL;
use phasegate::shown::is_hidden;
use serde_json::{Value, json};

use super::report::unzipped;
use super::{file, plugin};
use crate::harness::{Policies, Policy, PolicyEffect, World, environment, gateway, message};
use crate::pods::{GATEWAY, NEVER_READY, pod_of, says, tells};

/// Writes the clipboard, queries the cursor's position, sets colours and hides text, with all kinds of escape
/// sequences.
const HOSTILE: &str = "evil\u{1b}]52;c;ZXZpbA==\u{7}\u{1b}[6n\u{1b}[35m\u{9b}35m\u{9d}0;x\u{9c}\u{7f}\u{202e}txt\u{2066}\u{200b}\
     \u{2028}\u{ad}\u{feff}\u{e0041}\r\nwords";

/// The sequences that this program itself sends to a terminal: colours, and cursor moves to redraw a line or page.
const OWN: [&str; 10] = [
    "\u{1b}[0m",
    "\u{1b}[1m",
    "\u{1b}[2m",
    "\u{1b}[31m",
    "\u{1b}[32m",
    "\u{1b}[33m",
    "\u{1b}[2K",
    "\u{1b}[J",
    "\u{1b}[2J",
    "\u{1b}[H",
];

/// The hidden characters of a text, except line breaks.
fn hidden(text: &str) -> Vec<char> {
    text.chars().filter(|char| is_hidden(*char) && !matches!(char, '\n' | '\r')).collect()
}

/// A text without the sequences that this program itself sends to a terminal.
fn without_own(text: &str) -> String {
    let mut text = OWN.iter().fold(text.to_owned(), |text, own| text.replace(own, ""));
    for lines in 0..100 {
        text = text.replace(&format!("\u{1b}[{lines}A"), "").replace(&format!("\u{1b}[{lines}B"), "");
    }
    text
}

/// The output of a command whose stdout and stderr are a terminal.
async fn on_a_terminal(world: &World, arguments: &[&str]) -> String {
    // This command does not end on its own.
    let seconds = if arguments.contains(&"-w") { 3 } else { 60 };
    let command = plugin(world, arguments);
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
    let words: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let line = format!("stty rows 50 cols 3000; exec timeout --foreground {seconds} {}", words.join(" "));
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--command", &line, "/dev/null"]);
    script.env("KUBECONFIG", &world.cluster.kubeconfig).env("SHELL", "/bin/sh").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || script.output().unwrap()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Appends hostile text to every message of a status.
fn forged(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if ["message", "hint", "path", "manager"].contains(&name.as_str()) => {
                        text.push_str(HOSTILE);
                    }
                    other => forged(other),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(forged),
        _ => {}
    }
}

/// Writes a status as an older operator, or any client that may write statuses, could leave it.
async fn forge<K>(world: &World, name: &str)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + serde::Serialize
        + std::fmt::Debug,
{
    let object = world.api::<K>().get(name).await.unwrap();
    let mut status = serde_json::to_value(object).unwrap()["status"].take();
    if let Some(fields) = status.as_object_mut().filter(|fields| fields.contains_key("history")) {
        fields
            .insert("contested".to_owned(), json!([{ "child": "Service", "path": "/spec/type", "manager": "their" }]));
        fields.insert(
            "changed".to_owned(),
            json!([{ "child": "Service", "path": "/spec/type", "asked": HOSTILE, "stored": HOSTILE }]),
        );
    }
    // A condition of another version.
    let theirs = json!({ "type": "TheirOwn", "status": "True", "reason": "Theirs", "message": "their words",
        "lastTransitionTime": "2026-01-02T03:04:05Z" });
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.push(theirs);
    }
    forged(&mut status);
    world.patch_status_of::<K>(name, json!({ "status": status })).await;
}

/// A container in a gateway's pod that ended with a hostile termination message.
async fn ends_with_hostile_words(world: &World, gateway: &str) -> String {
    let pod = pod_of(world, gateway, NEVER_READY).await;
    let then = "2026-01-02T03:04:05Z";
    let ended = json!({ "exitCode": 1, "reason": "Error", "message": HOSTILE, "startedAt": then, "finishedAt": then });
    let waits = json!({ "reason": "CrashLoopBackOff", "message": HOSTILE });
    let container = json!({ "name": "gateway", "image": "i", "imageID": "", "restartCount": 1, "ready": false,
        "state": { "running": null, "waiting": waits }, "lastState": { "terminated": ended } });
    says(world, &pod, json!({ "containerStatuses": [container] })).await;
    pod
}

/// A policy that denies, with a hostile message, the operator's writes for a gateway and the plugin's writes to it.
async fn refuses_with_hostile_words<'a>(world: &'a World, gateway: &str) -> Policies<'a> {
    let words = HOSTILE.replace("\r\n", " ");
    let does = PolicyEffect::Refuses("false", &words);
    let of_gateway = |resource, operations| Policy { of: gateway, resource, operations, does };
    let policies = [of_gateway("/services", &["CREATE"]), of_gateway("phasegate.dev/apigateways", &["UPDATE"])];
    Policies::new(world, &policies).await
}

#[tokio::test]
async fn what_others_wrote_reaches_no_status_no_event_and_no_terminal_as_it_is() {
    let world = World::new("hostile").await;
    let _policies = refuses_with_hostile_words(&world, "refused").await;
    let mut operator = world.operator();
    let mut refused = gateway("refused", json!({ "image": "acme/gateway:1" }));
    refused["metadata"]["labels"] = json!({ NAME_LABEL: "refused" });
    world.apply(&refused).await;
    let host = format!("shop.{}.example.com", world.namespace);
    world.create::<Environment>(environment("dev", "shop", None)).await;
    world.apply(&gateway("shop", json!({ "image": NEVER_READY, "host": host }))).await;
    world.apply(&gateway("late", json!({ "image": "acme/unpullable:1", "startDeadline": "4s" }))).await;
    let pod = ends_with_hostile_words(&world, "shop").await;
    let shop = world.until_condition("shop", condition::RECONCILING, "True", "CrashLoop").await;
    assert!(message(&shop, condition::RECONCILING).contains("evil"), "{shop:?}");
    world.until_event("shop", "CrashLoop").await;
    let refused = world.until_condition("refused", condition::RECONCILING, "True", "AdmissionRefused").await;
    assert!(message(&refused, condition::RECONCILING).contains("evil"), "{refused:?}");
    world.until_event("refused", "AdmissionRefused").await;
    world.until_phase("late", Phase::Stopped, State::Stopped).await;
    world.until_event("late", "StartDeadlineExceeded").await;
    operator.end();

    let log = world.operator_log();
    assert!(log.contains("evil"), "{log}");
    assert_eq!(hidden(&log), [' '; 0], "{log:?}");
    for object in world.api::<ApiGateway>().list(&ListParams::default()).await.unwrap() {
        let status = object.status.as_ref().unwrap();
        assert_eq!(hidden_in(&serde_json::to_value(status).unwrap()), [' '; 0], "{status:?}");
    }
    let events = world.api::<Event>().list(&ListParams::default()).await.unwrap();
    let ours = events.iter().filter(|event| event.reporting_controller.as_deref() == Some("phasegate"));
    let notes: Vec<&str> = ours.filter_map(|event| event.note.as_deref()).collect();
    assert!(notes.iter().any(|note| note.contains("evil")), "{notes:?}");
    assert_eq!(hidden(&notes.concat()), [' '; 0], "{notes:?}");

    forge::<ApiGateway>(&world, "shop").await;
    forge::<ApiGateway>(&world, "late").await;
    forge::<Environment>(&world, "dev").await;
    tells(&world, &pod, GATEWAY, "Unhealthy", HOSTILE).await;
    every_command_is_clean(&world).await;
}

/// The hidden characters of all strings in a value.
fn hidden_in(value: &Value) -> Vec<char> {
    match value {
        Value::String(text) => hidden(&text.replace(['\n', '\r'], "\0")),
        Value::Array(list) => list.iter().flat_map(hidden_in).collect(),
        Value::Object(fields) => fields.values().flat_map(hidden_in).collect(),
        _ => Vec::new(),
    }
}

async fn every_command_is_clean(world: &World) {
    // YAML has no surrogates.
    let hostile = serde_json::to_string(&HOSTILE.replace('\u{e0041}', "")).unwrap();
    let hostile = phasegate::shown::json(&hostile);
    let object = format!(
        "{{\"apiVersion\": \"phasegate.dev/v1alpha1\", \"kind\": \"ApiGateway\", \"metadata\": {{ \"name\": {hostile} }}, \
         \"spec\": {{ \"image\": {hostile}, \"state\": {hostile}, \"args\": [{hostile}] }} }}"
    );
    let wrong = file("hostile.yaml", &object);
    let valid = object.replacen(&*hostile, "\"shop\"", 1).replacen(&*hostile, "\"acme/gateway:1\"", 1);
    let valid = file("hostile-valid.yaml", &valid.replacen(&*hostile, "\"Running\"", 1));
    let (wrong, valid) = (wrong.to_str().unwrap(), valid.to_str().unwrap());
    let zip = file("hostile.zip", "");
    std::fs::remove_file(&zip).unwrap();
    let zip = zip.to_str().unwrap();
    let tells = [
        &["status", "shop"] as &[&str],
        &["status", "shop", "-o", "json"],
        &["status", "shop", "-o", "yaml"],
        &["status", "late"],
        &["get", "-o", "wide"],
        &["get", "-o", "json"],
        &["get", "-o", "yaml"],
        &["get", "--stuck"],
        &["status", "refused"],
        &["suspend", "refused"],
        &["get", "-w", "-o", "json"],
        &["get", "-w", "-o", "yaml"],
        &["history", "shop"],
        &["history", "shop", "-o", "json"],
        &["history", "late", "-o", "yaml"],
        &["replay", "--log", HOSTILE],
        &["wait", "late", "--for", "available", "--timeout", "1s"],
        &["wait", "late", "--for", "available", "--timeout", "1s", "-o", "json"],
        &["wait", "shop", "--for", "available", "--timeout", "1s"],
        &["validate", "-f", wrong],
        &["validate", "-f", wrong, "-o", "json"],
        &["validate", "-f", wrong, "-o", "yaml"],
        &["render", "-f", wrong],
        &["render", "-f", valid],
        &["render", "-f", valid, "-o", "json"],
        &["status", HOSTILE],
        &["history", HOSTILE],
        &["wait", HOSTILE, "--for", "available", "--timeout", "1s"],
        &["get", "--kubeconfig", HOSTILE],
        &["get", "--context", HOSTILE],
        &["get", "-l", HOSTILE],
        &["validate", "-f", HOSTILE],
        &["start", HOSTILE, "other"],
        &[HOSTILE],
    ];
    let says_nothing_of_it = [
        &["get"] as &[&str],
        &["get", "-o", "name"],
        &["replay", "shop"],
        &["replay", "late", "-o", "json"],
        &["restart", "shop", "--wait", "--timeout", "1s"],
        &["get", "-w"],
        &["retry", "late", "--wait", "--timeout", "1s"],
        &["start", "shop", "late", "--yes", "--wait", "--timeout", "1s", "-o", "json"],
        &["stop", "shop", "--dry-run"],
        &["suspend", "shop"],
        &["resume", "shop"],
        &["report", "-o", zip, "--no-logs"],
    ];
    for arguments in tells.iter().chain(&says_nothing_of_it) {
        let sent = on_a_terminal(world, arguments).await;
        assert_eq!(hidden(&without_own(&sent)), [' '; 0], "{arguments:?}: {sent:?}");
        let told = sent.contains("evil");
        assert!(told || !tells.contains(arguments), "{arguments:?} does not say it: {sent:?}");
    }
    let report = unzipped(std::path::Path::new(zip));
    assert!(report["pods.yaml"].contains("evil"), "{}", report["pods.yaml"]);
    for (name, text) in report {
        assert_eq!(hidden(&text), [' '; 0], "{name}: {text}");
    }
}
