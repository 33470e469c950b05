//! Log lines are machine-readable and contain no secrets of tenants.

use phasegate::api::condition;
use serde_json::{Value, json};

use crate::harness::{World, gateway};

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
