//! A large fleet is as quick to read as a small one.

use std::time::Instant;

use futures::{StreamExt, stream};
use phasegate_browser::{Browser, Dashboard};
use phasegate_harness::{World, gateway, private_world};
use serde_json::json;

async fn apply(world: &World, numbers: std::ops::Range<usize>) {
    let one = async |number: usize| {
        let spec = json!({ "image": "acme/gateway:1", "host": format!("gw-{number:04}.example.com") });
        drop(world.apply(&gateway(&format!("gw-{number:04}"), spec)).await);
    };
    stream::iter(numbers).for_each_concurrent(16, one).await;
}

#[tokio::test]
async fn five_thousand_gateways_are_shown_searched_and_followed() {
    let world = private_world("console-many").await;
    let browser = Browser::start().await;
    apply(&world, 0..1_000).await;
    let begun = Instant::now();
    let dashboard = Dashboard::start(&world, &[]);
    let printed = begun.elapsed();
    browser.open(&dashboard.address).await;
    browser.until_text("Page 1 of 10").await;
    println!("1,000 gateways: the address after {printed:?}, the page after {:?}", begun.elapsed());

    apply(&world, 1_000..5_000).await;
    browser.until_text("Page 1 of 50").await;
    let begun = Instant::now();
    browser.open(&dashboard.at("/?q=gw-4321")).await;
    browser.until_text("gw-4321.example.com").await;
    println!("5,000 gateways: one is found after {:?}", begun.elapsed());
    assert_eq!(browser.run("return document.querySelectorAll('[data-row]').length").await, 1);
    browser.open(&dashboard.at("/")).await;
    browser.until_text("gw-0042").await;
    let begun = Instant::now();
    world
        .patch_status("gw-0042", json!({ "status": { "phase": "Stopping", "state": "Running", "transitions": 1 } }))
        .await;
    browser.until_text("Stopping").await;
    println!(
        "5,000 gateways: a change shows after {:?}; the dashboard uses {} KiB",
        begun.elapsed(),
        dashboard.memory()
    );
    browser.close().await;
}
