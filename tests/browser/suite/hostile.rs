//! What a tenant wrote is text in the reader's browser.

use phasegate_browser::{Browser, Dashboard};
use phasegate_harness::{World, gateway};
use serde_json::json;

const ATTACK: &str =
    "<script>window.hacked=1</script><img src=x onerror=\"window.hacked=1\"><a href=\"javascript:hacked=1\">";

#[tokio::test]
async fn what_a_tenant_wrote_runs_nowhere_and_loads_nothing() {
    let world = World::new("console-hostile").await;
    let mut evil = gateway("evil", json!({ "image": "acme/gateway:1", "suspend": true, "args": [ATTACK] }));
    evil["metadata"]["annotations"] = json!({ "evil.example/note": ATTACK });
    world.apply(&evil).await;
    let ready = json!({
        "type": "Ready", "status": "False", "reason": "ImagePullFailed", "message": ATTACK,
        "lastTransitionTime": "2026-01-01T10:00:00Z",
    });
    let failure = json!({
        "reason": "ImagePullFailed", "message": ATTACK, "attempt": 1, "hint": ATTACK, "at": "2026-01-01T10:00:00.000000Z",
    });
    let status = json!({ "phase": "Starting", "state": "Running", "conditions": [ready], "lastFailure": failure });
    world.patch_status("evil", json!({ "status": status })).await;
    let dashboard = Dashboard::start(&world, &[]);
    let browser = Browser::start().await;
    browser.open(&dashboard.address).await;
    for path in
        ["/", "/?q=%3Cscript%3Ewindow.hacked%3D1", "/causes", "/hosts", &format!("/gateways/{}/evil", world.namespace)]
    {
        browser.open(&dashboard.at(path)).await;
        browser.until_text("Fleet").await;
        let marks = "return [document.scripts.length, document.images.length, \
                     document.querySelectorAll('a[href^=javascript]').length, window.hacked || 0]";
        assert_eq!(browser.run(marks).await, json!([1, 0, 0, 0]), "{path}");
        let complaints = browser.complaints().await;
        assert!(complaints.is_empty(), "{path}: {complaints:#?}");
    }
    let text = browser.text().await;
    assert!(text.contains("<script>window.hacked=1</script>"), "it is shown as it was written: {text}");
    browser.close().await;
}
