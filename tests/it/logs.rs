//! Log lines are machine-readable and contain no secrets of tenants.

use std::collections::BTreeMap;
use std::path::PathBuf;

use phasegate::api::{Phase, State, condition};
use serde_json::{Value, json};

use crate::harness::{World, gateway, root};
use crate::plugin;

#[tokio::test]
async fn json_lines_name_gateway_phase_and_attempt_as_fields_and_no_value_of_the_environment() {
    let world = World::new("logs").await;
    world.quota("full", json!({ "count/services": "1" })).await;
    let mut operator = world.operator_with(&["--log-format", "json"]);
    let spec = json!({ "image": "acme/gateway:1", "env": [{ "name": "TOKEN", "value": "correct-horse" }] });
    world.apply(&gateway("shop", spec.clone())).await;
    world.until_started("shop").await;
    world.apply(&gateway("late", spec)).await;
    world.until_condition("late", condition::READY, "False", "QuotaExceeded").await;

    // The operator logs its actions before it exits.
    operator.end();
    let log = world.operator_log();

    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let of = |gateway: &str| format!("{}/{gateway}", world.namespace);
    let moved: Vec<_> =
        lines.iter().filter(|line| line["gateway"] == of("shop") && line["reason"].is_string()).collect();
    assert_eq!(moved.iter().map(|line| &line["phase"]).collect::<Vec<_>>(), ["Starting", "Started"]);
    assert!(moved.iter().all(|line| line["attempt"] == 1), "{moved:?}");
    let refused = |line: &&Value| line["message"].as_str().is_some_and(|words| words.contains("exceeded quota: full"));
    let failed = lines.iter().find(refused).unwrap();
    assert_eq!((&failed["gateway"], &failed["level"]), (&json!(of("late")), &json!("WARN")), "{failed}");
    assert_eq!((&failed["phase"], &failed["attempt"]), (&json!("Starting"), &json!(1)), "{failed}");
    assert!(!log.contains("correct-horse"));
}

/// The documented fields of a transition: type, and when the field is there.
fn documented() -> BTreeMap<String, (String, String)> {
    let page = std::fs::read_to_string(root().join("docs/src/reference/log.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let field = |line: &str| {
        let cells: Vec<&str> = line.split('|').skip(1).take(3).map(str::trim).collect();
        (cells[0].replace('`', ""), (cells[1].to_owned(), cells[2].to_owned()))
    };
    rows.map(field).collect()
}

/// What is wrong with a line, by the documentation.
fn faults(line: &Value, documented: &BTreeMap<String, (String, String)>) -> Vec<String> {
    let fields = line.as_object().unwrap();
    let wrong = |(name, value): (&String, &Value)| {
        let Some((kind, _)) = documented.get(name) else { return Some(format!("{name} is not documented")) };
        let fits = match kind.as_str() {
            "text" => value.is_string(),
            "integer" => value.is_i64(),
            "number" => value.is_number(),
            "time" => value.as_str().is_some_and(|text| text.parse::<k8s_openapi::jiff::Timestamp>().is_ok()),
            _ => false,
        };
        (!fits).then(|| format!("{name} is no {kind}: {value}"))
    };
    let lacks = |(name, (_, when)): (&String, &(String, String))| {
        (when == "always" && !fields.contains_key(name)).then(|| format!("{name} is missing"))
    };
    fields.iter().filter_map(wrong).chain(documented.iter().filter_map(lacks)).collect()
}

/// The transitions of a gateway in the log of a world's operators.
fn transitions(world: &World, name: &str) -> Vec<Value> {
    let log = world.operator_log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let gateway = format!("{}/{name}", world.namespace);
    lines.filter(|line| line["gateway"] == gateway.as_str() && line["transition"].is_i64()).collect()
}

#[tokio::test]
async fn each_transition_is_a_line_as_documented_and_the_plugin_decides_it_again() {
    let world = World::new("replayed").await;
    let mut operator = world.operator_with(&["--log-format", "json"]);
    world.apply(&gateway("shop", json!({ "image": "acme/unpullable:1", "startDeadline": "2s" }))).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    world.patch("shop", json!({ "spec": { "image": "acme/gateway:1", "startDeadline": "1m" } })).await;
    world.until_started("shop").await;
    let restart = json!({ "metadata": { "annotations": { "phasegate.dev/restart-requested-at": "now" } } });
    world.patch("shop", restart).await;
    world
        .until::<phasegate::api::ApiGateway>("shop", "restarted", |shop| {
            shop.status.as_ref().is_some_and(|status| status.restarts == 1 && status.phase == Some(Phase::Started))
        })
        .await;
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    // The operator logs its actions before it exits.
    operator.end();

    let (lines, documented) = (transitions(&world, "shop"), documented());
    let numbers: Vec<_> = lines.iter().map(|line| line["transition"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=shop.status.unwrap().transitions).collect::<Vec<_>>());
    for line in &lines {
        assert_eq!(faults(line, &documented), [""; 0], "{line}");
    }
    let rows: Vec<_> = lines.iter().map(|line| line["row"].as_str().unwrap()).collect();
    assert_eq!(
        rows,
        [
            "first-start",
            "start-deadline",
            "cleanup-after-timeout",
            "nothing-left",
            "start-again",
            "ready",
            "restart",
            "ready",
            "stop",
            "nothing-left",
        ]
    );
    assert_eq!((&lines[1]["deadline"], &lines[1]["from"]), (&json!(2.0), &json!("Starting")));
    assert_eq!((&lines[6]["requests"], &lines[6]["restart"]), (&json!("restart"), &json!("now")));
    let met: Vec<_> = documented.keys().filter(|name| lines.iter().any(|line| line.get(*name).is_some())).collect();
    assert_eq!(documented.keys().filter(|name| !met.contains(name)).collect::<Vec<_>>(), ["retry"]);

    // The log as it is, with the lines of other matters.
    let log = plugin::file("replayed.log", &world.operator_log());
    let replayed = replayed(&world, &log, &["shop"]).await.ok();
    assert_eq!(replayed.lines().count(), 2 + rows.len(), "a title, the head of the table and its rows: {replayed}");
    assert!(rows.iter().all(|row| replayed.contains(row)), "{replayed}");
    // One of them, edited: the attempt ended before its deadline.
    let edited: String = lines
        .iter()
        .map(|line| {
            let mut line = line.clone();
            if line["transition"] == 2 {
                line["deadline"] = json!(60.0);
            }
            format!("{line}\n")
        })
        .collect();
    let told = self::replayed(&world, &plugin::file("edited.log", &edited), &[]).await.different();
    assert!(told.contains("1 of 10 recorded decisions differ in this version"), "{told}");
    assert!(told.contains(&format!("ApiGateway {}/shop, first #2", world.namespace)), "{told}");
}

/// Replays a log from stdin, without a cluster.
async fn replayed(world: &World, log: &PathBuf, arguments: &[&str]) -> plugin::RouteVerdict {
    let mut command = plugin::bare(&["replay", "--log", "-", "-n", &world.namespace]);
    command.args(arguments).stdin(std::fs::File::open(log).unwrap());
    plugin::run(command).await
}
