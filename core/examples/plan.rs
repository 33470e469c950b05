//! Embeds the core: decides about a gateway whose image cannot be pulled, and prints the plan.
//!
//! A program of your own would observe a cluster, carry out the steps and write the status. This one makes up the facts.
//!
//! ```sh
//! cargo run -p phasegate-core --example plan
//! ```

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use phasegate_core::api::ApiGateway;
use phasegate_core::decide::decide;
use phasegate_core::decide::observed::{
    Moment, Observed, PodTrouble, Pods, Presence, Rollout, Settings, Tried, Trouble,
};
use serde_json::json;

fn main() -> anyhow::Result<()> {
    let began = Timestamp::from_second(1_767_225_600)?;
    let gateway: ApiGateway = serde_json::from_value(json!({
        "apiVersion": "phasegate.dev/v1alpha1",
        "kind": "ApiGateway",
        "metadata": { "name": "shop", "namespace": "tenants", "uid": "1", "generation": 1 },
        "spec": { "image": "acme/gateway:typo" },
    }))?;
    let settings = Settings::default();

    // The first decision records the transition to Starting. Until that is stored, nothing is created.
    let plan = decide(&gateway, &Observed::nothing(), &Moment::at(began), &settings);
    let gateway = ApiGateway { status: plan.status, ..gateway };

    // Twenty seconds later the children exist, and the kubelet cannot pull the image.
    let passed = Duration::from_secs(20);
    let moment = Moment { attempt: passed, phase: passed, ..Moment::at(began + passed) };
    let plan = decide(&gateway, &image_not_pullable(), &moment, &settings);

    println!("steps:          {:?}", plan.steps);
    println!("requeue after:  {:?}", plan.requeue_after);
    for condition in plan.status.iter().flat_map(|status| &status.conditions) {
        println!("{:<15} {:<6} {}: {}", condition.type_, condition.status, condition.reason, condition.message);
    }
    for event in &plan.events {
        let kind = if event.warning { "Warning" } else { "Normal" };
        println!("Event           {kind} {}: {}", event.reason, event.message);
    }
    Ok(())
}

/// All children are as desired, and the only pod waits for its image.
fn image_not_pullable() -> Observed {
    let trouble = PodTrouble {
        pod: "shop-5d4f-x".to_owned(),
        template: None,
        container: None,
        node: None,
        trouble: Trouble::ImagePull { image: "acme/gateway:typo".to_owned(), message: "manifest unknown".to_owned() },
    };
    Observed {
        deployment: Presence::Equal,
        service: Presence::Equal,
        rollout: Rollout { desired: 1, replicas: 1, updated: 1, ..Rollout::default() },
        pods: Pods { total: 1, troubles: vec![trouble], ..Pods::default() },
        tried: Tried::InTime,
        ..Observed::nothing()
    }
}
