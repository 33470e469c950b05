//! The MongoDB registry on a real API server: a platform's documents become gateways, and gateways
//! of kubectl's become documents.
//!
//! `make demo-mongodb` runs it on a local control plane and a MongoDB wire server of its own. The
//! verdict is formed from the documents as a change stream shows them, the objects as a watch
//! shows them, and the children as the API server returns them.

mod show;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use kube::api::Api;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, wait::await_condition};
use kube::{Client, ResourceExt};
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::change_stream::event::ChangeStreamEvent;
use mongodb::options::FullDocumentType;
use mongodb::{Collection, Database};
use phasegate::api::{ApiGateway, Environment, EnvironmentState, Phase, State, condition};
use phasegate_harness::cluster::{Cluster, RUN_LABEL, run_id};
use phasegate_harness::wire::{self, Changes, Server, Storage, text};
use phasegate_harness::{children, is_true, output, run};
use serde_json::json;

use show::{Operator, Transitions, say};

const NAMESPACE: &str = "phasegate-demo-mongodb";
const DATABASE: &str = "platform";
const DOMAIN: &str = "demo.example.com";
const GATEWAYS: &str = "ApiGateway";
const ENVIRONMENTS: &str = "Environment";
/// Of everything, from the first document on.
const LONGEST: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    show::exit_code(demo().await)
}

async fn demo() -> Result<()> {
    say("a cluster: etcd, kube-apiserver, controller-manager and scheduler, all real; the node is simulated");
    let cluster = Cluster::start()?;
    cluster.install_crds()?;
    let client = cluster.client().await?;
    let folder = std::env::temp_dir().join(format!("phasegate-demo-{}", std::process::id()));
    say("a database: a MongoDB wire server in memory, with change streams");
    let server = Server::start(&folder, "mongo", Storage::Memory, Changes::Streamed, &[])?;
    let uri = wire::uri_of(server.address());
    let database = wire::client_of(&uri).await?.database(DATABASE);
    make_namespace(&cluster, &folder)?;

    say(
        "the operator, as a ServiceAccount with the roles of deploy/rbac and deploy/mongodb: phasegate run --registry mongodb",
    );
    let file = folder.join("uri");
    std::fs::write(&file, uri)?;
    let operator = Operator::start(&cluster, &cluster.registry_kubeconfig()?, &arguments(&file)?)?;

    let mut scene = Scene::set(client, database).await?;
    let told = tokio::time::timeout(LONGEST, tell(&mut scene, &cluster, &folder)).await;
    let verdict = told.unwrap_or_else(|_| {
        let awaited = &scene.awaited;
        bail!("it did not come to this within {LONGEST:?}: {awaited}; the operator's log is {}", operator.log.display())
    });
    operator.end(verdict.is_ok())?;
    drop(server);
    std::fs::remove_dir_all(&folder)?;
    if cluster.is_existing() {
        say("removing what was created");
    }
    verdict
}

fn arguments(uri: &Path) -> Result<[&str; 12]> {
    Ok([
        "run",
        "--namespaces",
        NAMESPACE,
        "--registry=mongodb",
        "--mongodb-uri-file",
        uri.to_str().context("a path that is no text")?,
        "--mongodb-database",
        DATABASE,
        "--gateway-namespace",
        NAMESPACE,
        "--gateway-domain=demo.example.com",
        "--gateway-image=nginxinc/nginx-unprivileged:1.29",
    ])
}

/// The platform makes it for its tenants.
fn make_namespace(cluster: &Cluster, folder: &Path) -> Result<()> {
    let labels = json!({
        "pod-security.kubernetes.io/enforce": "restricted",
        RUN_LABEL: run_id(),
    });
    let metadata = json!({ "name": NAMESPACE, "labels": labels });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
    let file = folder.join("namespace.json");
    std::fs::write(&file, namespace.to_string())?;
    run(cluster.kubectl().args(["create", "-f"]).arg(&file))
        .context("the demo makes this namespace itself, and removes it")
}

/// The story.
async fn tell(scene: &mut Scene, cluster: &Cluster, folder: &Path) -> Result<()> {
    documents_become_gateways(scene, cluster).await?;
    gateways_become_documents(scene, cluster, folder).await?;
    all_go(scene, cluster).await?;
    say("as expected: the documents drove the gateways, each mirrored the other, and nothing is left");
    Ok(())
}

async fn documents_become_gateways(scene: &mut Scene, cluster: &Cluster) -> Result<()> {
    say("the platform inserts a gateway's document and an environment's, with the mongodb driver");
    let shop = document("shop", doc! {});
    println!("        {}", shown(&shop));
    scene.environments.insert_one(doc! { "gatewayId": "shop", "name": "dev", "state": "Inactive" }).await?;
    scene.gateways.insert_one(shop).await?;
    scene.until_running("shop").await?;
    let environments: Api<Environment> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let active = |found: Option<&Environment>| {
        found.and_then(|found| found.status.as_ref()).is_some_and(|status| status.state == EnvironmentState::Active)
    };
    await_condition(environments, "shop-dev", active).await?;
    show_objects(cluster)?;

    say("the platform writes state: Stopped");
    scene.write("shop", "Stopped").await?;
    scene
        .until("shop is stopped, in the cluster and in its documents", |scene| {
            scene.says("shop", "Stopped", "Stopped")
                && scene.environment_says("shop", "Inactive")
                && scene.objects.get("shop").is_some_and(|object| is(object, &Phase::Stopped, State::Stopped))
        })
        .await?;
    let left = children(&scene.client, NAMESPACE, "phasegate.dev/gateway=shop").await?;
    ensure!(left.is_empty(), "shop is stopped, and left behind: {}", left.join(", "));

    say("and state: Running again");
    scene.write("shop", "Running").await?;
    scene.until_running("shop").await?;

    say("a document that cannot be followed is answered in the document");
    let refused = document("lost", doc! { "namespace": "kube-system" });
    println!("        {}", shown(&refused));
    scene.gateways.insert_one(refused).await?;
    scene.until("lost is refused in its document", |scene| scene.error("lost").is_some()).await?;
    ensure!(!scene.objects.contains_key("lost"), "lost was refused and became an object");
    Ok(())
}

async fn gateways_become_documents(scene: &mut Scene, cluster: &Cluster, folder: &Path) -> Result<()> {
    say("kubectl apply: a gateway that the platform knows nothing of gets a document");
    let till = json!({
        "apiVersion": "phasegate.dev/v1alpha1",
        "kind": "ApiGateway",
        "metadata": { "name": "till", "namespace": NAMESPACE },
        "spec": { "image": "nginxinc/nginx-unprivileged:1.29", "host": format!("till.{DOMAIN}") },
    });
    let file = folder.join("till.json");
    std::fs::write(&file, till.to_string())?;
    run(cluster.kubectl().args(["apply", "-f"]).arg(&file))?;
    let mirror = format!("{NAMESPACE}.till");
    scene
        .until("till is started, and its mirror says so", |scene| {
            scene.says(&mirror, "Started", "Running")
                && scene.objects.get("till").is_some_and(|object| is(object, &Phase::Started, State::Running))
        })
        .await?;
    show_objects(cluster)
}

async fn all_go(scene: &mut Scene, cluster: &Cluster) -> Result<()> {
    say("the platform writes state: Deleted; kubectl's own gateway is deleted with kubectl");
    scene.write("shop", "Deleted").await?;
    scene.write("lost", "Deleted").await?;
    run(cluster.kubectl().args(["delete", "--wait=false", "-n", NAMESPACE, "apigateway", "till"]))?;
    scene
        .until("no object and no document is left", |scene| scene.objects.is_empty() && scene.documents.is_empty())
        .await?;
    // The last pods go after their Deployment.
    let mut every = tokio::time::interval(Duration::from_millis(100));
    for name in ["shop", "till"] {
        scene.awaited = format!("nothing is left of {name}");
        while !children(&scene.client, NAMESPACE, &format!("phasegate.dev/gateway={name}")).await?.is_empty() {
            every.tick().await;
        }
    }
    for collection in [&scene.gateways, &scene.environments] {
        let left = collection.count_documents(doc! {}).await?;
        ensure!(left == 0, "{left} documents of {} are left", collection.name());
    }
    Ok(())
}

/// A gateway's document as a platform inserts it.
fn document(id: &str, more: Document) -> Document {
    let now = DateTime::now();
    let mut document = doc! { "gatewayId": id, "state": "Running", "phase": "Created", "lockedAt": Bson::Null };
    document.extend(doc! { "createdAt": now, "updatedAt": now });
    document.extend(more);
    document
}

/// Those fields of a document that this is about.
fn shown(document: &Document) -> String {
    let fields = ["gatewayId", "name", "namespace", "state", "phase"];
    // Where nothing else is said, this is its place.
    let usual = [NAMESPACE, text(document, "gatewayId")];
    let told = fields.iter().filter_map(|field| {
        let said = document.get_str(field).ok()?;
        let says_more = *field == "gatewayId" || !usual.contains(&said);
        says_more.then(|| format!("{field}: {said}"))
    });
    let more = if document.contains_key("updatedAt") { ", …" } else { "" };
    format!("{{ {}{more} }}", told.collect::<Vec<_>>().join(", "))
}

fn is(object: &ApiGateway, phase: &Phase, state: State) -> bool {
    object.status.as_ref().is_some_and(|status| status.phase.as_ref() == Some(phase) && status.state == Some(state))
}

/// What kubectl shows.
fn show_objects(cluster: &Cluster) -> Result<()> {
    let mut kubectl = cluster.kubectl();
    kubectl.args(["get", "apigateways,environments", "-n", NAMESPACE]);
    let said = output(&mut kubectl)?;
    println!("$ kubectl get apigateways,environments");
    said.lines().for_each(|line| println!("{}", format!("  {line}").trim_end()));
    Ok(())
}

/// What becomes of the documents of a collection from now on.
async fn changes(collection: &Collection<Document>, name: &'static str) -> Result<BoxStream<'static, Result<News>>> {
    let changes = collection.watch().full_document(FullDocumentType::UpdateLookup).await?;
    Ok(changes.map(move |event| Ok(News::Document(name, Box::new(event?)))).boxed())
}

/// What happened.
enum News {
    Object(Box<Event<ApiGateway>>),
    Document(&'static str, Box<ChangeStreamEvent<Document>>),
}

/// Documents and objects as they were last seen.
struct Scene {
    client: Client,
    gateways: Collection<Document>,
    environments: Collection<Document>,
    news: BoxStream<'static, Result<News>>,
    objects: BTreeMap<String, ApiGateway>,
    /// By collection and key.
    documents: BTreeMap<(&'static str, String), Document>,
    begun: Instant,
    transitions: Transitions,
    /// What is being waited for.
    awaited: String,
}

impl Scene {
    /// Begins to watch.
    async fn set(client: Client, database: Database) -> Result<Self> {
        let gateways: Collection<Document> = database.collection(GATEWAYS);
        let environments: Collection<Document> = database.collection(ENVIRONMENTS);
        let api: Api<ApiGateway> = Api::namespaced(client.clone(), NAMESPACE);
        let objects = watcher(api, watcher::Config::default()).default_backoff();
        let news = stream::select_all([
            objects.map(|event| Ok(News::Object(Box::new(event?)))).boxed(),
            changes(&gateways, GATEWAYS).await?,
            changes(&environments, ENVIRONMENTS).await?,
        ]);
        let begun = Instant::now();
        Ok(Self {
            client,
            gateways,
            environments,
            news: news.boxed(),
            objects: BTreeMap::new(),
            documents: BTreeMap::new(),
            begun,
            transitions: Transitions::since(begun),
            awaited: String::new(),
        })
    }

    /// Takes in and prints what happens, until all is as `wanted`.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) -> Result<()> {
        what.clone_into(&mut self.awaited);
        while !wanted(self) {
            match self.news.next().await.context("nothing is watched any more")?? {
                News::Object(event) => self.see(*event),
                News::Document(collection, event) => self.take_in(collection, *event),
            }
        }
        Ok(())
    }

    fn see(&mut self, event: Event<ApiGateway>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                self.transitions.tell(&object);
                self.objects.insert(object.name_any(), object);
            }
            Event::Delete(object) => {
                self.objects.remove(&object.name_any());
                self.line(&format!("{:<7} the object is gone", object.name_any()));
            }
            Event::Init | Event::InitDone => {}
        }
    }

    fn take_in(&mut self, collection: &'static str, event: ChangeStreamEvent<Document>) {
        let key = event.document_key.unwrap_or_default().get("_id").map(ToString::to_string).unwrap_or_default();
        let key = (collection, key);
        let Some(document) = event.full_document.filter(|document| !document.is_empty()) else {
            if let Some(gone) = self.documents.remove(&key) {
                self.line(&format!("{collection} {} is gone", shown(&gone)));
            }
            return;
        };
        let before = self.documents.insert(key, document.clone());
        let error = document.get_document("error").ok();
        let says = |document: &Document| (shown(document), document.get_document("error").ok().cloned());
        if before.as_ref().map(says) != Some(says(&document)) {
            self.line(&format!("{collection} {}", shown(&document)));
            if let Some(error) = error {
                println!("         error {}: {}", text(error, "reason"), text(error, "message"));
            }
        }
    }

    fn line(&self, said: &str) {
        println!("{:6.1}s  {said}", self.begun.elapsed().as_secs_f32());
    }

    /// What the platform does when it wants something else.
    async fn write(&self, id: &str, state: &str) -> Result<()> {
        let set = doc! { "state": state, "updatedAt": DateTime::now() };
        let written = self.gateways.update_one(doc! { "gatewayId": id }, doc! { "$set": set }).await?;
        ensure!(written.matched_count == 1, "there is no document of {id}");
        Ok(())
    }

    fn of(&self, collection: &str, id: &str) -> Option<&Document> {
        let found =
            self.documents.iter().find(|((of, _), document)| *of == collection && text(document, "gatewayId") == id);
        found.map(|(_, document)| document)
    }

    fn says(&self, id: &str, phase: &str, state: &str) -> bool {
        self.of(GATEWAYS, id).is_some_and(|found| text(found, "phase") == phase && text(found, "state") == state)
    }

    fn environment_says(&self, id: &str, state: &str) -> bool {
        self.of(ENVIRONMENTS, id).is_some_and(|found| text(found, "state") == state)
    }

    fn error(&self, id: &str) -> Option<&Document> {
        self.of(GATEWAYS, id)?.get_document("error").ok()
    }

    /// Waits until a gateway with an environment serves, and its documents say so.
    async fn until_running(&mut self, id: &str) -> Result<()> {
        self.until(&format!("{id} is started, in the cluster and in its documents"), |scene| {
            scene.says(id, "Started", "Running")
                && scene.environment_says(id, "Active")
                && scene.objects.get(id).is_some_and(|object| {
                    is(object, &Phase::Started, State::Running) && is_true(object, condition::AVAILABLE)
                })
        })
        .await
    }
}
