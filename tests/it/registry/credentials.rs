//! The operator connects to MongoDB with a user and TLS, and reports refused credentials and untrusted certificates.

use mongodb::bson::doc;
use phasegate::api::condition;
use serde_json::json;

use super::{Platform, ancestor};
use crate::harness::{Database, Health, gateway};
use crate::plugin::said;

const UP: &str = "phasegate_registry_up{registry=\"mongodb\"} 1";

/// Waits until the gateway `mine` reports that the registry is unavailable. Returns the message.
async fn until_unavailable(platform: &Platform, words: &str) -> String {
    let shop = platform.world.until_condition("mine", condition::READY, "False", "RegistryUnavailable").await;
    let conditions = shop.status.unwrap().conditions;
    let message = conditions.into_iter().find(|condition| condition.type_ == condition::READY).unwrap().message;
    assert!(message.contains(words), "{message}");
    platform.world.until_event("mine", "RegistryUnavailable").await;
    let status = said(&platform.world, &["status", "mine"]).await.ok();
    assert!(status.contains("RegistryUnavailable") && status.contains(words), "{status}");
    message
}

#[tokio::test]
async fn a_database_that_refuses_the_credentials_is_named_without_them_and_starts_go_on_once_it_takes_them() {
    let database = Database::for_user("refused", "operator:of-yesterday").await;
    let mut platform = Platform::with("refused", database).await;
    platform.insert(ancestor("shop")).await;
    let health = Health::reserve();
    let uri = platform.database.uri_of("operator:s3cret");

    let _operator = platform.operator_at(&uri, &["--http-bind", &health.address(), "--registry-timeout", "2s"]);

    platform.world.apply(&gateway("mine", json!({ "image": "acme/gateway:1" }))).await;
    let message = until_unavailable(&platform, "rejects the credentials").await;
    assert!(!message.contains("s3cret") && !message.contains("operator:"), "{message}");
    health.until("/readyz", 200, &["ok"]).await;
    let (told, failing) = ("phasegate_failures_total", "phasegate_gateways_failing");
    let counted = [told, failing].map(|metric| format!("{metric}{{reason=\"RegistryUnavailable\"}} 1\n"));
    health.until("/metrics", 200, &counted.each_ref().map(String::as_str)).await;
    assert!(!platform.world.operator_log().contains("s3cret"));

    platform.database.kill();
    platform.database.start_again_for("operator:s3cret").await;

    platform.world.until_started("mine").await;
    platform.world.until_started("shop").await;
    health.until("/metrics", 200, &[UP]).await;
}

#[tokio::test]
async fn an_operator_is_let_in_by_tls_and_password_and_tells_who_it_does_not_trust() {
    let database = Database::guarded("tls", "operator:s3cret").await;
    let platform = Platform::with("tls", database).await;
    let trusting = platform.database.uri().to_owned();
    let (distrusting, _) = trusting.split_once("&tlsCAFile").unwrap();
    platform.insert(ancestor("shop")).await;
    {
        let _operator = platform.operator_at(distrusting, &["--registry-timeout", "2s"]);
        platform.world.apply(&gateway("mine", json!({ "image": "acme/gateway:1" }))).await;
        until_unavailable(&platform, "certificate").await;
    }

    let _operator = platform.operator_at(&trusting, &[]);

    platform.world.until_started("mine").await;
    platform.until_started("shop").await;
    platform.write("shop", doc! { "state": "Stopped" }).await;
    platform.until_said("shop", "Stopped", "Stopped").await;
}
