//! A platform that keeps its gateways in MongoDB: a wire server of its own (tests/mongo), the
//! documents of a burst, and an operator that records in them.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{Client, Config};
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Collection, Database};
use phasegate::decide::Place;
use phasegate_harness::wire::{self, Changes, Server, Storage, text};

use crate::observer::Observer;
use crate::operator::Operator;
use crate::requests::Requests;
use crate::stage::Stage;
use crate::user;

/// How long the documents may take to go.
const DEADLINE: Duration = Duration::from_secs(900);

/// The database server. It ends with this value.
pub struct Platform {
    _server: Server,
    folder: PathBuf,
    uri: String,
    client: mongodb::Client,
    /// Of an operator that may do what deploy/mongodb says.
    kubeconfig: PathBuf,
}

impl Platform {
    /// Starts a server in memory, with change streams.
    pub async fn start(stage: &Stage) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("phasegate-bench-{}", std::process::id()));
        let place = folder.clone();
        let starting = tokio::task::spawn_blocking(move || {
            Server::start(&place, "mongo", Storage::Memory, Changes::Streamed, &[])
        });
        let server = starting.await??;
        let uri = wire::uri_of(server.address());
        let client = wire::client_of(&uri).await?;
        Ok(Self { _server: server, folder, uri, client, kubeconfig: stage.cluster.registry_kubeconfig()? })
    }

    /// The documents of one burst, in a database of their own.
    pub async fn open(&self, name: &str) -> Result<Documents> {
        let database = self.client.database(name);
        let gateways = Observer::of_documents(database.collection("ApiGateway"), |document| {
            let place = match (text(document, "phase"), text(document, "state")) {
                ("Started", "Running") => Some(Place::Started),
                ("Started", "Stopped") => Some(Place::TimedOut),
                ("Stopped", "Stopped") => Some(Place::Stopped),
                // Its state may be what the platform asks, which says nothing about where it is.
                _ => None,
            };
            (text(document, "gatewayId"), place)
        });
        let environments = Observer::of_documents(database.collection("Environment"), |document| {
            // An environment is Active where its gateway is Started.
            let place = (text(document, "state") == "Active").then_some(Place::Started);
            (text(document, "gatewayId"), place)
        });
        let (gateways, environments) = futures::future::try_join(gateways, environments).await?;
        Ok(Documents { database, gateways, environments })
    }

    /// Starts an operator whose registry this is, for the documents of one burst.
    pub async fn operator(&self, stage: &Stage, name: &str, metrics: &Metrics) -> Result<Operator> {
        let domain = format!("{name}.example.com");
        let mut arguments = vec!["run", "--registry", "mongodb", "--mongodb-uri", &self.uri];
        arguments.extend(["--mongodb-database", name, "--gateway-namespace", name, "--gateway-domain", &domain]);
        arguments.extend(["--gateway-image", user::IMAGE, "--http-bind", &metrics.address]);
        let operator = Operator::start_as(stage, &self.kubeconfig, &arguments).await?;
        operator.until_said("listed the registry's documents").await?;
        Ok(operator)
    }

    /// Removes what the server wrote, where nothing went wrong.
    pub fn forget_log(self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The documents of one burst, and who watches them from outside.
pub struct Documents {
    database: Database,
    /// Sees the gateways' documents.
    pub gateways: Observer,
    /// Sees the environments' documents.
    pub environments: Observer,
}

impl Documents {
    /// Inserts the documents of a burst, as many at once as a user creates objects, and tells when each gateway's
    /// was there.
    pub async fn insert(&self, gateways: usize) -> Result<HashMap<String, Instant>> {
        let documents: Collection<Document> = self.database.collection("ApiGateway");
        let environments: Collection<Document> = self.database.collection("Environment");
        let insertions = (0..gateways).map(|number| {
            let (documents, environments) = (&documents, &environments);
            async move {
                let (name, now) = (user::name(number), DateTime::now());
                documents
                    .insert_one(doc! {
                        "gatewayId": &name, "state": "Running", "phase": "Created", "lockedAt": Bson::Null,
                        "createdAt": now, "updatedAt": now,
                    })
                    .await?;
                let at = Instant::now();
                environments
                    .insert_one(doc! {
                        "gatewayId": &name, "name": user::ENVIRONMENT, "state": "Inactive", "createdAt": now,
                    })
                    .await?;
                anyhow::Ok((name, at))
            }
        });
        stream::iter(insertions).buffer_unordered(user::AT_ONCE).try_collect().await
    }

    /// How many changes of gateways' and of environments' documents there were.
    pub fn changes(&self) -> [usize; 2] {
        [&self.gateways, &self.environments].map(|observer| observer.seen().changes)
    }

    /// Asks that every gateway be deleted, and waits until the documents, the gateways and their
    /// children are gone.
    pub async fn delete_all(&self, stage: &Stage, namespace: &str) -> Result<Duration> {
        let begun = Instant::now();
        let documents: Collection<Document> = self.database.collection("ApiGateway");
        let ask = doc! { "$set": { "state": "Deleted", "updatedAt": DateTime::now() } };
        documents.update_many(doc! {}, ask).await?;
        let mut every = tokio::time::interval(Duration::from_millis(200));
        while documents.count_documents(doc! {}).await? > 0 {
            ensure!(begun.elapsed() < DEADLINE, "the documents do not go away");
            every.tick().await;
        }
        user::until_nothing_is_left(&stage.user, namespace).await?;
        Ok(begun.elapsed())
    }

    /// Forgets the database.
    pub async fn drop(self) -> Result<()> {
        let Self { database, gateways, environments } = self;
        drop((gateways, environments));
        Ok(database.drop().await?)
    }
}

/// Where an operator tells what it did.
pub struct Metrics {
    /// The value of `--http-bind`.
    pub address: String,
    client: Client,
}

impl Metrics {
    /// An address that is free now, for an operator that is about to be started.
    pub fn reserve() -> Result<Self> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.to_string();
        let client = Client::try_from(Config::new(format!("http://{address}").parse()?))?;
        Ok(Self { address, client })
    }

    /// What the operator asked so far: of the API server, and of the registry.
    pub async fn read(&self) -> Result<(Requests, Requests)> {
        let request = kube::core::Request::new("").get("metrics", &Default::default())?;
        let text = self.client.request_text(request).await.context("the operator does not tell its metrics")?;
        let api = Requests::counted(&text, "phasegate_api_requests_total", ["verb", "resource"])?;
        let registry = Requests::counted(&text, "phasegate_registry_requests_total", ["operation", "result"])?;
        Ok((api, registry))
    }
}
