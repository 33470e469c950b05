//! An open page follows the cluster, through an outage as well.

use std::time::Instant;

use phasegate_browser::{Browser, Dashboard};
use phasegate_harness::components::{Component, until_ready};
use phasegate_harness::{gateway, private_world};
use serde_json::json;

#[tokio::test]
async fn an_open_page_shows_changes_and_survives_an_outage() {
    let world = private_world("console-live").await;
    for name in ["shop", "bank"] {
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1" }))).await;
    }
    let dashboard = Dashboard::start(&world, &[]);
    let browser = Browser::start().await;
    browser.open(&dashboard.address).await;
    browser.until_text("shop").await;
    browser.run("window.samePage = true").await;
    let box_of_shop = format!("input[value='{}/shop']", world.namespace);
    browser.click(&box_of_shop).await;

    let mut shown = Vec::new();
    for phase in ["Starting", "Started", "Stopping", "Stopped"] {
        let begun = Instant::now();
        world.patch_status("shop", json!({ "status": { "phase": phase, "state": "Running", "transitions": 1 } })).await;
        browser.until_text(phase).await;
        shown.push(begun.elapsed().as_millis());
    }
    println!("changes were on the page after (ms): {shown:?}");
    world.delete("bank").await;
    browser.until_no_text("bank").await;
    assert_eq!(browser.run("return window.samePage").await, true, "the page was not loaded again");
    let checked = browser.run(&format!("return document.querySelector(\"{box_of_shop}\").checked")).await;
    assert_eq!(checked, true, "the selection is kept");

    let down = Component::of(&world.cluster, "kube-apiserver").take_down().await;
    let text = browser.until_text("The API server is unreachable").await;
    assert!(text.contains("shop"), "the last known state is still shown: {text}");
    browser.open(&dashboard.at("/hosts")).await;
    browser.until_text("The API server is unreachable").await;
    browser.open(&dashboard.at("/")).await;
    drop(down);
    until_ready(&world.client).await;
    browser.until_no_text("The API server is unreachable").await;
    drop(dashboard);
    browser.until_text("The dashboard does not answer").await;
    browser.close().await;
}
