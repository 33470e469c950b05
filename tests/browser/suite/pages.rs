//! Pages are readable: at each width, in the light and in the dark, with a screen reader, and without JavaScript.

use phasegate_browser::{Browser, Dashboard, Page};
use phasegate_harness::{World, gateway, root};
use serde_json::json;

use crate::fleet;

const LOOKS: [Page; 6] = [
    Page { width: 360, height: 740, dark: false },
    Page { width: 360, height: 740, dark: true },
    Page { width: 768, height: 1024, dark: false },
    Page { width: 1280, height: 800, dark: false },
    Page { width: 1280, height: 800, dark: true },
    Page { width: 1920, height: 1080, dark: false },
];

/// What is wrong with the open page in one look.
async fn faults(browser: &Browser, look: Page) -> Vec<String> {
    browser.look(look).await;
    let mut faults = browser.barriers().await;
    let wide = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
    if wide.as_f64() != Some(0.0) {
        faults.push(format!("the page is {wide} pixels wider than the window"));
    }
    faults
}

#[tokio::test]
async fn every_page_is_readable_for_everybody() {
    let fleet = fleet::of_each_state().await;
    let dashboard = Dashboard::start(&fleet.world, &[]);
    let browser = Browser::start().await;
    // Shifts are counted from the beginning of each page.
    let counts = "window.jumps = 0; new PerformanceObserver((list) => { for (const one of list.getEntries()) \
                  window.jumps += one.value; }).observe({ type: 'layout-shift', buffered: true });";
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": counts })).await;
    browser.look(LOOKS[3]).await;
    browser.open(&dashboard.address).await;
    browser.until_text("QuotaExceeded").await;
    assert!(!browser.address().await.contains("token"), "the token leaves the address");
    let pictures = root().join("docs/src/images");
    let mut found = Vec::new();
    for (name, path, words) in [
        ("fleet", "/", "QuotaExceeded"),
        ("gateway", "/gateways/tenants/typo", "ImagePullFailed"),
        ("starting", "/gateways/tenants/crash", "CrashLoop"),
        ("serving", "/gateways/tenants/shop", "staging.example.com"),
        ("causes", "/causes", "ImagePullFailed"),
        ("hosts", "/hosts", "staging.example.com"),
        ("empty", "/?q=nothing-of-this-name", "No gateway matches"),
        ("nobody", "/gateways/tenants/nobody", "nobody"),
    ] {
        browser.look(LOOKS[3]).await;
        browser.open(&dashboard.at(path)).await;
        browser.until_text(words).await;
        let jumps = browser.run("return window.jumps || 0").await;
        if jumps.as_f64().is_some_and(|jumps| jumps > 0.05) {
            found.push(format!("{name}: the layout jumps by {jumps}"));
        }
        for look in LOOKS {
            let faults = faults(&browser, look).await;
            found.extend(faults.into_iter().map(|fault| format!("{name} {look:?}: {fault}")));
            let kept = std::env::var_os("PHASEGATE_PICTURES").is_some();
            let is_shown = look.width == 1280 && matches!(name, "fleet" | "gateway");
            if kept && is_shown {
                let scheme = if look.dark { "-dark" } else { "" };
                std::fs::create_dir_all(&pictures).unwrap();
                std::fs::write(pictures.join(format!("dashboard-{name}{scheme}.png")), browser.picture().await)
                    .unwrap();
            }
            if let Some(folder) = std::env::var_os("PHASEGATE_ALL_PICTURES") {
                let file = format!("{name}-{}{}.png", look.width, if look.dark { "-dark" } else { "" });
                std::fs::write(std::path::Path::new(&folder).join(file), browser.picture().await).unwrap();
            }
        }
        let expected_404 = name == "nobody";
        let complaints = browser.complaints().await;
        found.extend(complaints.into_iter().filter(|_| !expected_404).map(|words| format!("{name}: {words}")));
    }
    assert!(found.is_empty(), "{found:#?}");
    browser.close().await;
}

#[tokio::test]
async fn without_javascript_pages_are_read_and_filtered() {
    let world = World::new("console-plain").await;
    for name in ["shop", "bank"] {
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1" }))).await;
    }
    let dashboard = Dashboard::start(&world, &[]);
    let browser = Browser::start().await;
    browser.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
    browser.open(&dashboard.address).await;
    assert!(browser.text().await.contains("shop"));
    browser.write(".search input", "bank\n").await;
    let text = browser.text().await;
    assert!(text.contains("bank") && !text.contains("shop"), "{text}");
    browser.click(".name a").await;
    assert!(browser.text().await.contains("Timeline"));
    browser.close().await;
}
