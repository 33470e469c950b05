//! Chromium without a window, by its WebDriver.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use phasegate_harness::{DEADLINE, Supervised, free_port, root, supervised};
use serde_json::{Value, json};

/// axe-core, and a run of it.
static AXE: LazyLock<String> = LazyLock::new(|| {
    let file = Command::new(root().join("tests/browser/axe")).output().unwrap();
    assert!(file.status.success(), "{}", String::from_utf8_lossy(&file.stderr));
    let axe = std::fs::read_to_string(String::from_utf8(file.stdout).unwrap().trim()).unwrap();
    axe + r"
        const done = arguments[arguments.length - 1];
        const told = (found) => `${found.id}: ${found.nodes.map((node) => node.html).join(' | ')}`;
        axe.run(document, { resultTypes: ['violations'] })
           .then((result) => done(result.violations.map(told)), (error) => done([String(error)]));"
});

/// A browser of a test. It ends when this is dropped.
pub struct Browser {
    driver: Supervised,
    client: Client,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The width of the window in pixels.
    pub width: u32,
    /// The height of the window in pixels.
    pub height: u32,
    /// Whether the reader prefers dark pages.
    pub dark: bool,
}

/// A command that only Chromium has.
#[derive(Debug)]
struct Chromium {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Chromium {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

impl Browser {
    /// Starts a browser.
    pub async fn start() -> Self {
        let port = free_port();
        let mut command = supervised(Path::new("chromedriver")).unwrap();
        command.arg(format!("--port={port}")).arg("--silent");
        let driver = Supervised::start(&mut command).unwrap();
        // Chromium refuses to run as root in its sandbox.
        let options = json!({ "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--lang=en-US"] });
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let Value::Object(capabilities) = wanted else { unreachable!() };
        let capabilities: Capabilities = capabilities.into_iter().collect();
        let address = format!("http://127.0.0.1:{port}");
        let connecting = tokio::time::timeout(DEADLINE, async {
            loop {
                let mut builder = ClientBuilder::new(HttpConnector::new());
                match builder.capabilities(capabilities.clone()).connect(&address).await {
                    Ok(client) => break client,
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        let client = connecting.await.expect("chromedriver answers");
        Self { driver, client }
    }

    /// Opens an address.
    pub async fn open(&self, address: &str) {
        self.client.goto(address).await.unwrap();
    }

    /// The current address.
    pub async fn address(&self) -> String {
        self.client.current_url().await.unwrap().to_string()
    }

    /// The visible text of the page.
    pub async fn text(&self) -> String {
        self.client.find(Locator::Css("body")).await.unwrap().text().await.unwrap()
    }

    /// Waits until the page has this text.
    pub async fn until_text(&self, words: &str) -> String {
        self.until(words, |text| text.contains(words)).await
    }

    /// Waits until the page does not have this text.
    pub async fn until_no_text(&self, words: &str) -> String {
        self.until(&format!("no {words}"), |text| !text.contains(words)).await
    }

    async fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let waiting = tokio::time::timeout(DEADLINE, async {
            loop {
                // The page may be replaced while it is read.
                let found = self.run("return document.body ? document.body.innerText : ''").await;
                last = found.as_str().unwrap_or_default().to_owned();
                if wanted(&last) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        if waiting.await.is_err() {
            let complaints = self.complaints().await;
            panic!("the page never has {what:?}, but {last:?}; the browser complains {complaints:?}");
        }
        last
    }

    /// Clicks an element. An update of the page may replace it after it is found.
    pub async fn click(&self, selector: &str) {
        loop {
            let found = self.client.find(Locator::Css(selector)).await.unwrap();
            match found.click().await {
                Err(error) if error.is_stale_element_reference() => {}
                clicked => return clicked.unwrap(),
            }
        }
    }

    /// Types into an element.
    pub async fn write(&self, selector: &str, text: &str) {
        self.client.find(Locator::Css(selector)).await.unwrap().send_keys(text).await.unwrap();
    }

    /// Runs a script in the page, and returns its value.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap_or(Value::Null)
    }

    /// Changes how pages are looked at.
    pub async fn look(&self, page: Page) {
        let Page { width, height, dark } = page;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// Sends a command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.client.issue_cmd(Chromium { path: "goog/cdp/execute", body }).await.unwrap();
    }

    /// What the browser complained about since the last call: errors of scripts, refused resources, failed requests.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.client.issue_cmd(Chromium { path: "se/log", body: json!({ "type": "browser" }) }).await.unwrap();
        let entries = log.as_array().cloned().unwrap_or_default();
        let grave = entries.into_iter().filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        grave.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What axe-core finds: violations of WCAG 2.2 A and AA and of its best practices.
    pub async fn barriers(&self) -> Vec<String> {
        let found = self.client.execute_async(&AXE, Vec::new()).await.unwrap();
        found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    /// A picture of the window.
    pub async fn picture(&self) -> Vec<u8> {
        self.client.screenshot().await.unwrap()
    }

    /// Ends the browser. Without it, Chromium ends with its driver.
    pub async fn close(mut self) {
        let _ = self.client.close().await;
        self.driver.end().unwrap();
    }
}
