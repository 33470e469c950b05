//! What a user sees of each design.

use std::time::Duration;

use crate::platform::{DESIGNS, Design, Platform};

const PATIENT: Duration = Duration::from_secs(120);
const NONE: [&str; 0] = [];

async fn a_life(design: Design, platform: Platform) {
    let _running = platform.start(design, PATIENT).await;
    platform.insert("shop", "acme/gateway:1").await;
    platform.until("shop", "Started", "Running").await;
    assert_eq!(platform.children().await, ["Deployment", "Service", "Ingress"], "{design:?}");
    assert_eq!(platform.environment("shop").await, "Active", "{design:?}");

    platform.wish("shop", "Stopped").await;
    platform.until("shop", "Stopped", "Stopped").await;
    assert_eq!(
        (platform.children().await.as_slice(), platform.environment("shop").await.as_str()),
        (&NONE[..], "Inactive")
    );

    platform.wish("shop", "Running").await;
    platform.until("shop", "Started", "Running").await;
    platform.wish("shop", "Deleted").await;
    platform.until_gone("shop").await;
    assert_eq!((platform.children().await.as_slice(), platform.environment("shop").await.as_str()), (&NONE[..], ""));
}

#[tokio::test]
async fn a_document_becomes_a_gateway_that_is_stopped_started_again_and_deleted() {
    for (design, test) in DESIGNS.into_iter().zip(["life-o", "life-c", "life-s"]) {
        a_life(design, Platform::new(test).await).await;
    }
}

#[tokio::test]
async fn a_gateway_without_an_image_is_given_up_at_its_deadline_and_leaves_nothing() {
    for (design, test) in DESIGNS.into_iter().zip(["image-o", "image-c", "image-s"]) {
        let platform = Platform::new(test).await;
        let _running = platform.start(design, Duration::from_secs(2)).await;
        platform.insert("shop", "acme/unpullable:1").await;
        let document = platform.until("shop", "Stopped", "Stopped").await;
        assert_eq!(document.get_str("reason").unwrap(), "StartDeadlineExceeded", "{design:?}");
        assert_eq!(platform.children().await, NONE, "{design:?}");
    }
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_start_is_not_overruled() {
    for (design, test) in DESIGNS.into_iter().zip(["stop-o", "stop-c", "stop-s"]) {
        let platform = Platform::new(test).await;
        let _running = platform.start(design, PATIENT).await;
        platform.insert("shop", "acme/never-ready:1").await;
        platform.world.until::<k8s_openapi::api::networking::v1::Ingress>("shop", "the Ingress", |_| true).await;
        platform.wish("shop", "Stopped").await;
        platform.until("shop", "Stopped", "Stopped").await;
        assert_eq!(platform.children().await, NONE, "{design:?}");
    }
}

#[tokio::test]
async fn two_processes_at_once_make_each_gateway_once() {
    const NAMES: [&str; 4] = ["one", "two", "three", "four"];
    for (design, test) in DESIGNS.into_iter().zip(["two-o", "two-c", "two-s"]) {
        let platform = Platform::new(test).await;
        let _first = platform.start(design, PATIENT).await;
        let _second = platform.start(design, PATIENT).await;
        for name in NAMES {
            platform.insert(name, "acme/gateway:1").await;
        }
        for name in NAMES {
            platform.until(name, "Started", "Running").await;
        }
        assert_eq!(platform.children().await.len(), 3 * NAMES.len(), "{design:?}");
        for name in NAMES {
            platform.wish(name, "Deleted").await;
        }
        for name in NAMES {
            platform.until_gone(name).await;
        }
        assert_eq!(platform.children().await, NONE, "{design:?}");
    }
}
