//! A design that ends at any write to the API server, and one that takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use phasegate_harness::{Fault, Proxy, eventually};

use crate::platform::{Design, Platform};

const PATIENT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn an_orchestrated_saga_that_ends_before_or_after_any_write_is_completed_and_removed_by_another() {
    end_at_each_write(Design::Orchestrated, "crash-o").await;
}

#[tokio::test]
async fn a_choreographed_saga_that_ends_before_or_after_any_write_is_completed_and_removed_by_another() {
    end_at_each_write(Design::Choreographed, "crash-c").await;
}

#[tokio::test]
async fn a_sourced_start_that_ends_before_or_after_any_write_is_completed_and_removed_by_another() {
    end_at_each_write(Design::Sourced, "crash-s").await;
}

async fn end_at_each_write(design: Design, test: &'static str) {
    let platform = Platform::new(test).await;
    let proxy = Proxy::start(&platform.world.cluster.operator_kubeconfig()).await;
    for write in 0..3 {
        // The write hangs before it reaches the API server, or has taken effect without an answer.
        for fault in [Fault::Hang, Fault::HangAfterwards] {
            let name = format!("shop-{write}-{}", if matches!(fault, Fault::Hang) { "before" } else { "after" });
            let (count, wanted) = (Arc::new(AtomicUsize::new(0)), name.clone());
            let mut caught = proxy.when(fault, move |asked| {
                asked.verb == "create" && asked.name == wanted && count.fetch_add(1, Ordering::Relaxed) >= write
            });
            let crashing = platform.start_as(proxy.kubeconfig(), design, PATIENT).await;
            platform.insert(&name, "acme/gateway:1").await;
            caught.caught(1).await;
            if matches!(fault, Fault::HangAfterwards) {
                let is_there = async || (platform.children().await.len() == write + 1).then_some(());
                eventually(Duration::from_millis(20), is_there).await.unwrap();
            }
            drop((crashing, caught));

            let next = platform.start(design, PATIENT).await;
            platform.until(&name, "Started", "Running").await;
            assert_eq!(platform.children().await, ["Deployment", "Service", "Ingress"], "{design:?} {name}");
            platform.wish(&name, "Deleted").await;
            platform.until_gone(&name).await;
            assert!(platform.children().await.is_empty(), "{design:?} {name}");
            drop(next);
        }
    }
}
