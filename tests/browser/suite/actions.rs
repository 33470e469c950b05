//! Actions change what was confirmed, and what a user may not do is disabled with the reason.

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use phasegate_browser::{Browser, Dashboard};
use phasegate_core::api::DesiredState;
use phasegate_harness::{World, gateway};
use serde_json::json;

#[tokio::test]
async fn the_selected_gateways_are_changed_after_a_confirmation() {
    let world = World::new("console-actions").await;
    for name in ["shop", "bank", "blog"] {
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1" }))).await;
    }
    let dashboard = Dashboard::start(&world, &[]);
    let browser = Browser::start().await;
    browser.open(&dashboard.address).await;
    browser.until_text("shop").await;
    for name in ["shop", "bank"] {
        browser.click(&format!("input[value='{}/{name}']", world.namespace)).await;
    }
    browser.until_text("2 selected").await;
    browser.click("button[value='stop']").await;
    let text = browser.until_text("Stop 2 gateways?").await;
    assert!(text.contains("shop") && text.contains("bank") && !text.contains("blog"), "{text}");
    let found = browser.barriers().await;
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(
        world.gateway("shop").await.spec.state,
        DesiredState::Running,
        "nothing changes before the confirmation"
    );
    browser.click("#confirm").await;
    browser.until_text("2 of 2 changed").await;
    for (name, state) in
        [("shop", DesiredState::Stopped), ("bank", DesiredState::Stopped), ("blog", DesiredState::Running)]
    {
        assert_eq!(world.gateway(name).await.spec.state, state, "{name}");
    }
    browser.close().await;
}

#[tokio::test]
async fn a_user_who_may_only_read_sees_disabled_buttons_and_why() {
    let world = World::new("console-reader").await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let rules = json!([{ "apiGroups": ["phasegate.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"] }]);
    world.create::<Role>(json!({ "metadata": { "name": "reader" }, "rules": rules })).await;
    let subject = json!([{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "reader" }]);
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" });
    world
        .create::<RoleBinding>(json!({ "metadata": { "name": "reader" }, "subjects": subject, "roleRef": role }))
        .await;
    let asked =
        json!({ "namespace": world.namespace, "verb": "list", "group": "phasegate.dev", "resource": "apigateways" });
    world.until_allowed("reader", &[], asked).await;

    let dashboard = Dashboard::start(&world, &["--as", "reader"]);
    let browser = Browser::start().await;
    browser.open(&dashboard.address).await;
    let text = browser.until_text("shop").await;
    assert!(text.contains("patch"), "the reason is on the page: {text}");
    let enabled = browser.run("return document.querySelectorAll('button[name=verb]:enabled').length").await;
    assert_eq!(enabled, 0);
    browser.open(&dashboard.at(&format!("/gateways/{}/shop", world.namespace))).await;
    browser.until_text("Timeline").await;
    let enabled = browser.run("return document.querySelectorAll('button[name=verb]:enabled').length").await;
    assert_eq!(enabled, 0);
    browser.close().await;
}
