//! The dashboard answers a browser on this machine, and nobody else.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Running, plugin};
use crate::harness::cluster::Cluster;
use crate::harness::components::{Component, until_ready};
use crate::harness::{DEADLINE, World, gateway, private_world_on};

/// A running dashboard, and the browser that has its token.
struct Browser {
    _running: Running,
    port: u16,
    token: String,
}

/// A response: its code, and the rest as text.
#[derive(Debug)]
struct Answer {
    code: u16,
    text: String,
}

impl Browser {
    async fn open(world: &World, arguments: &[&str]) -> Self {
        let mut running = Running::start(plugin(world, &[&["dashboard"], arguments].concat()));
        let line = running.until(&["Dashboard: http://127.0.0.1:"]).await;
        let (port, token) = line.rsplit_once(':').unwrap().1.split_once("/?token=").unwrap();
        Self { port: port.parse().unwrap(), token: token.to_owned(), _running: running }
    }

    async fn send(&self, request: &str, headers: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let length = body.len();
        let whole =
            format!("{request} HTTP/1.1\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
        stream.write_all(whole.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        Answer { code: text.split(' ').nth(1).unwrap().parse().unwrap(), text }
    }

    fn headers(&self) -> String {
        format!("host: 127.0.0.1:{0}\r\ncookie: phasegate-{0}={1}\r\n", self.port, self.token)
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), &self.headers(), "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        let headers = format!("{}origin: http://127.0.0.1:{}\r\n", self.headers(), self.port);
        self.send(&format!("POST {path}"), &headers, body).await
    }

    /// Reads a page until it has these words.
    async fn until(&self, path: &str, words: &str) -> Answer {
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let answer = self.get(path).await;
                if answer.text.contains(words) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{path} never has {words:?}"))
    }

    /// The hidden field of the forms.
    async fn form_token(&self) -> String {
        let page = self.get("/").await.text;
        let field = page.split("name=\"form-token\" value=\"").nth(1).unwrap();
        field.split('"').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_fleet_and_a_gateway_are_shown_and_changed_in_a_browser() {
    let world = World::new("console").await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    let browser = Browser::open(&world, &[]).await;
    let page = browser.until("/", "shop").await;
    for header in ["content-security-policy: default-src 'none'", "cache-control: no-store", "x-frame-options: DENY"] {
        assert!(page.text.to_lowercase().contains(&header.to_lowercase()), "{header}: {page:?}");
    }
    assert!(!page.text.to_lowercase().contains("access-control-allow"), "{page:?}");
    let place = format!("/gateways/{}/shop", world.namespace);
    let page = browser.get(&place).await;
    assert!(
        page.code == 200 && page.text.contains("<h2>Timeline</h2>") && page.text.contains("kind: ApiGateway"),
        "{page:?}"
    );
    assert!(!page.text.contains("managedFields"), "{page:?}");
    for path in ["/causes", "/hosts", "/dashboard.js", "/dashboard.css"] {
        assert_eq!(browser.get(path).await.code, 200, "{path}");
    }
    assert_eq!(browser.get(&format!("/gateways/{}/nobody", world.namespace)).await.code, 404);
    assert_eq!(browser.get("/nowhere").await.code, 404);

    let token = browser.form_token().await;
    let form = format!("form-token={token}&verb=start&gateway={}/shop", world.namespace);
    let confirmation = browser.post("/confirm", &form).await;
    assert!(confirmation.text.contains(&format!("Start {}/shop?", world.namespace)), "{confirmation:?}");
    let state = async || serde_json::to_value(world.gateway("shop").await.spec.state).unwrap();
    assert_eq!(state().await, "Stopped", "nothing is changed before the confirmation");
    let done = browser.post("/actions", &form).await;
    assert!(done.text.contains("1 of 1 changed"), "{done:?}");
    assert_eq!(state().await, "Running");
}

#[tokio::test]
async fn who_has_no_token_or_comes_from_elsewhere_is_refused() {
    let world = World::new("console-guard").await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let browser = Browser::open(&world, &[]).await;
    let host = format!("host: 127.0.0.1:{}\r\n", browser.port);
    let entered = browser.send(&format!("GET /?token={}&q=shop", browser.token), &host, "").await;
    assert!(
        entered.code == 303 && entered.text.contains("SameSite=Strict") && entered.text.contains("location: /?q=shop"),
        "{entered:?}"
    );
    let bare = browser.send("GET /", &host, "").await;
    assert!(bare.code == 401 && !bare.text.contains("shop"), "{bare:?}");
    let rebound = browser.headers().replace("127.0.0.1:", "evil.example:");
    assert_eq!(browser.send("GET /", &rebound, "").await.code, 421);
    let form = format!("form-token={}&verb=stop&gateway={}/shop", browser.form_token().await, world.namespace);
    let foreign = format!("{}origin: http://evil.example\r\n", browser.headers());
    assert_eq!(browser.send("POST /actions", &foreign, &form).await.code, 403);
    let forged = form.replace("form-token=", "form-token=0");
    assert_eq!(browser.post("/actions", &forged).await.code, 403);

    let reader = Browser::open(&world, &["--read-only"]).await;
    let form = format!("form-token={}&verb=stop&gateway={}/shop", reader.form_token().await, world.namespace);
    let refused = reader.post("/actions", &form).await;
    assert!(refused.code == 403 && refused.text.contains("read-only"), "{refused:?}");
}

#[tokio::test]
async fn what_others_wrote_stays_text_in_the_browser() {
    const ATTACK: &str = "<script>alert(1)</script>";
    let world = World::new("console-attack").await;
    let mut attacker = gateway("evil", json!({ "image": "acme/gateway:1", "suspend": true, "args": [ATTACK] }));
    attacker["metadata"]["annotations"] = json!({ "evil.example/note": ATTACK });
    world.apply(&attacker).await;
    let ready = json!({
        "type": "Ready", "status": "False", "reason": "ImagePullFailed", "message": ATTACK,
        "lastTransitionTime": "2026-01-01T10:00:00Z",
    });
    world
        .patch_status("evil", json!({ "status": { "phase": "Starting", "state": "Running", "conditions": [ready] } }))
        .await;
    let browser = Browser::open(&world, &[]).await;
    for path in ["/", "/causes", "/hosts", &format!("/gateways/{}/evil", world.namespace), "/?q=%3Cscript%3Ealert(1)"] {
        let page = browser.get(path).await;
        assert!(page.code == 200 && !page.text.contains("<script>alert"), "{path}: {page:?}");
    }
    let page = browser.get(&format!("/gateways/{}/evil", world.namespace)).await.text;
    assert!(page.matches("&lt;script&gt;alert(1)").count() >= 3, "{page}");
}

#[tokio::test]
async fn a_page_learns_of_a_change_and_survives_an_outage() {
    let world = private_world_on("console-outage", Cluster::private).await;
    world.cluster.install_crds().unwrap();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let browser = Browser::open(&world, &[]).await;
    let mut events = TcpStream::connect(("127.0.0.1", browser.port)).await.unwrap();
    let request = format!("GET /changes? HTTP/1.1\r\n{}\r\n", browser.headers());
    events.write_all(request.as_bytes()).await.unwrap();
    let mut heard = vec![0; 4096];
    let first = events.read(&mut heard).await.unwrap();
    assert!(String::from_utf8_lossy(&heard[..first]).contains("text/event-stream"));
    let began = std::time::Instant::now();
    world.patch_status("shop", json!({ "status": { "phase": "Starting", "state": "Running" } })).await;
    browser.until("/", "<td class=\"phase\" data-title=\"Phase\">Starting").await;
    println!("a change shows after {:?}", began.elapsed());
    assert!(events.read(&mut heard).await.unwrap() > 0);

    let down = Component::of(&world.cluster, "kube-apiserver").take_down().await;
    let page = browser.until("/", "The API server is unreachable").await;
    assert!(page.code == 200 && page.text.contains("shop"), "{page:?}");
    let page = browser.get(&format!("/gateways/{}/shop", world.namespace)).await;
    assert!(page.code == 503 && page.text.contains("Last known"), "{page:?}");
    drop(down);
    until_ready(&world.client).await;
    let waited = tokio::time::timeout(DEADLINE, async {
        while browser.get("/").await.text.contains("The API server is unreachable") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_ok(), "the banner stays");
}
