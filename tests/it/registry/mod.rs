//! A platform's MongoDB drives the operator and mirrors its status, as read through the driver and the API server.

mod credentials;
mod deletion;
mod documents;
mod forged;
mod history;
mod intent;
mod leadership;
mod mirrors;
mod outages;
mod permissions;
mod refusals;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, stream};
use mongodb::Collection;
use mongodb::bson::{Bson, DateTime, Document, doc};
use phasegate::api::{ApiGateway, Environment, EnvironmentState};

use crate::harness::{Database, Health, Operator, World, eventually, file, wire::text};
use history::History;

const GATEWAYS: &str = "ApiGateway";
const ENVIRONMENTS: &str = "Environment";

/// A namespace for gateways and a database for their documents.
pub struct Platform {
    pub world: World,
    pub database: Database,
}

impl Platform {
    pub async fn new(test: &str) -> Self {
        Self { world: World::new(test).await, database: Database::new(test).await }
    }

    async fn with(test: &str, database: Database) -> Self {
        Self { world: World::new(test).await, database }
    }

    /// The domain of the gateways' hosts.
    fn domain(&self) -> String {
        format!("{}.example.com", self.world.namespace)
    }

    /// Starts an operator whose registry is the database.
    fn operator(&self) -> Operator {
        self.operator_with(&[])
    }

    fn operator_with(&self, flags: &[&str]) -> Operator {
        self.operator_at(self.database.uri(), flags)
    }

    /// Starts an operator with another connection string.
    fn operator_at(&self, uri: &str, flags: &[&str]) -> Operator {
        self.operator_as(&self.world.cluster.registry_kubeconfig().unwrap(), uri, flags)
    }

    /// Starts an operator with another connection string, as the user of a kubeconfig.
    pub fn operator_as(&self, kubeconfig: &Path, uri: &str, flags: &[&str]) -> Operator {
        let (file, domain) = (self.keep_uri(uri), self.domain());
        let mut all = vec!["--registry", "mongodb", "--mongodb-uri-file", file.to_str().unwrap()];
        all.extend(["--mongodb-database", self.database.name(), "--gateway-namespace", &self.world.namespace]);
        all.extend(["--gateway-domain", &domain]);
        if !flags.contains(&"--gateway-image") {
            all.extend(["--gateway-image", "acme/gateway:1"]);
        }
        all.extend(flags);
        self.world.operator_as(kubeconfig, &all)
    }

    /// Writes a connection string into a file that only its owner can read.
    fn keep_uri(&self, uri: &str) -> PathBuf {
        // Two operators of a test may have different connection strings.
        let port: String = uri.chars().filter(char::is_ascii_digit).collect();
        file("mongo", &format!("{}-{port}.uri", self.world.namespace), &format!("{uri}\n")).unwrap()
    }

    fn gateways(&self) -> Collection<Document> {
        self.database.collection(GATEWAYS)
    }

    fn environments(&self) -> Collection<Document> {
        self.database.collection(ENVIRONMENTS)
    }

    /// Inserts a gateway's document.
    pub async fn insert(&self, document: Document) {
        self.gateways().insert_one(document).await.unwrap();
    }

    /// Inserts documents of environments of a gateway.
    pub async fn insert_environments(&self, id: &str, names: &[&str]) {
        let documents = names.iter().map(|name| environment(id, name));
        self.environments().insert_many(documents).await.unwrap();
    }

    /// Updates a gateway's document as the platform does: the fields, and the time of the update.
    async fn write(&self, id: &str, fields: Document) {
        let mut set = doc! { "updatedAt": DateTime::now() };
        set.extend(fields);
        let written = self.gateways().update_one(doc! { "gatewayId": id }, doc! { "$set": set }).await.unwrap();
        assert_eq!(written.matched_count, 1, "{id}");
    }

    /// The current document of a gateway.
    pub async fn document(&self, id: &str) -> Document {
        self.gateways().find_one(doc! { "gatewayId": id }).await.unwrap().unwrap()
    }

    /// Waits until a gateway's document has this phase and state.
    async fn until_said(&self, id: &str, phase: &str, state: &str) -> Document {
        let wanted = |document: &Document| text(document, "phase") == phase && text(document, "state") == state;
        self.database.until(GATEWAYS, doc! { "gatewayId": id }, &format!("{phase}/{state}"), wanted).await
    }

    /// Waits until a document has an error with this reason. Returns the error's message.
    async fn until_answered(&self, collection: &str, filter: Document, reason: &str) -> String {
        let answered = |document: &Document| answer(document).0 == reason;
        answer(&self.database.until(collection, filter, reason, answered).await).1
    }

    /// Waits until a gateway's document has no error.
    async fn until_accepted(&self, id: &str) -> Document {
        let accepted = |document: &Document| !document.contains_key("error");
        self.database.until(GATEWAYS, doc! { "gatewayId": id }, "no error", accepted).await
    }

    /// Waits until a gateway is Started in the cluster and in its document.
    pub async fn until_started(&self, id: &str) -> (ApiGateway, Document) {
        let object = self.world.until_started(id).await;
        let transitions = object.status.as_ref().unwrap().transitions;
        let told =
            |document: &Document| text(document, "phase") == "Started" && whole(document, "seq") >= Some(transitions);
        let document = self.database.until(GATEWAYS, doc! { "gatewayId": id }, "Started", told).await;
        assert_eq!(text(&document, "state"), "Running", "{document}");
        (object, document)
    }

    /// Waits until the documents of a gateway's environments have this state.
    pub async fn until_environments(&self, id: &str, state: &str) {
        let filter = || doc! { "gatewayId": id, "state": { "$ne": state } };
        until_count(&self.environments(), filter, 0).await;
    }

    /// Waits until the documents of a gateway and of its environments are deleted.
    async fn until_forgotten(&self, id: &str) {
        until_count(&self.gateways(), || doc! { "gatewayId": id }, 0).await;
        until_count(&self.environments(), || doc! { "gatewayId": id }, 0).await;
    }

    /// Waits until an Environment object has this state.
    async fn until_environment(&self, name: &str, state: EnvironmentState) -> Environment {
        self.world
            .until(name, &format!("{state:?}"), |object: &Environment| {
                object.status.as_ref().is_some_and(|status| status.state == state)
            })
            .await
    }

    /// Waits until all of these gateways are Started in the cluster and in their documents, each at its first attempt.
    async fn until_all_started(&self, ids: &[String]) {
        let started = stream::iter(ids).map(|id| self.until_started(id)).buffer_unordered(16);
        for (object, document) in started.collect::<Vec<_>>().await {
            let status = object.status.as_ref().unwrap();
            let id = text(&document, "gatewayId");
            assert_eq!(status.attempt.as_ref().unwrap().number, 1, "{id}");
            assert_eq!(status.last_failure, None, "{id}");
            assert_eq!(whole(&document, "seq"), Some(status.transitions), "{id}");
            assert!(!document.contains_key("error"), "{document}");
        }
        for id in ids {
            self.until_environments(id, "Active").await;
        }
    }

    /// Records the changes of the gateways' documents.
    async fn history(&self) -> History {
        History::follow(self.gateways()).await
    }
}

/// A gateway's document as the platform that phasegate replaces writes it, with a few fields of its own.
pub fn ancestor(id: &str) -> Document {
    let now = DateTime::now();
    doc! {
        "gatewayId": id,
        "state": "Running",
        "phase": "Stopped",
        "lockedAt": Bson::Null,
        "createdAt": now,
        "updatedAt": now,
    }
}

/// A gateway's document with the platform's fields and a spec.
fn asking(id: &str, spec: Document) -> Document {
    let mut document = ancestor(id);
    document.insert("spec", spec);
    document
}

/// A document of an environment.
fn environment(id: &str, name: &str) -> Document {
    doc! { "gatewayId": id, "name": name, "state": "Inactive", "createdAt": DateTime::now() }
}

/// A whole number in a document, of any integer type.
pub fn whole(document: &Document, field: &str) -> Option<i64> {
    match document.get(field)? {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

/// The reason and the message of a document's error.
fn answer(document: &Document) -> (String, String) {
    let error = document.get_document("error").cloned().unwrap_or_default();
    (text(&error, "reason").to_owned(), text(&error, "message").to_owned())
}

async fn until_count(collection: &Collection<Document>, filter: impl Fn() -> Document, count: u64) {
    let mut last = None;
    let waited = eventually(Duration::from_millis(50), async || {
        last = collection.count_documents(filter()).await.ok();
        (last == Some(count)).then_some(())
    });
    assert!(waited.await.is_some(), "{} {} are not {count}, but {last:?}", collection.name(), filter());
}

/// The number of requests for an operation, according to the operator's metrics.
async fn requests(health: &Health, operation: &str) -> u64 {
    let (_, metrics) = health.get("/metrics").await.unwrap();
    let operation = format!("operation=\"{operation}\"");
    let count = |line: &str| {
        let counts = line.starts_with("phasegate_registry_requests_total{") && line.contains(&operation);
        counts.then(|| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
    };
    metrics.lines().filter_map(count).sum()
}

/// A number that an environment variable can override.
fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}
