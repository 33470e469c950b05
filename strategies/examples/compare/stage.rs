//! Where one scenario takes place: a namespace, a database, a proxy before each, and the processes of one contestant.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures::TryStreamExt;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use mongodb::bson::{DateTime, Document, doc};
use mongodb::{Collection, Database};
use phasegate_core::api::ApiGateway;
use phasegate_harness::components::child_of;
use phasegate_harness::wire::{self, Changes, Server, Storage, text, uri_of};
use phasegate_harness::{CHILDREN, Proxy, Supervised, World, operator_program};

use crate::contestant::Contestant;
use crate::gate::Gate;

const DATABASE: &str = "platform";
const LEASE: &str = "6s";
/// How long a contestant may take for the gateway that shows that it works, and for removing everything in the end.
const LONG: Duration = Duration::from_secs(300);

/// A scenario's stage.
pub struct Stage {
    pub world: World,
    pub gate: Gate,
    pub proxy: Proxy,
    contestant: Contestant,
    database: Database,
    deadline: Duration,
    processes: Vec<Supervised>,
    /// The processor time of processes that have ended.
    ended: Duration,
    before: Spent,
    folder: PathBuf,
    _server: Server,
}

/// What a contestant has cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub api_writes: usize,
    pub database_writes: usize,
    pub cpu: Duration,
}

/// What is left in the end.
#[derive(Clone, Debug, Default)]
pub struct Leftovers {
    /// Children whose gateway has no document, or a document that says Stopped.
    pub children: usize,
    /// Documents of environments whose gateway has none, and alarms.
    pub documents: usize,
}

impl Stage {
    pub async fn set(contestant: Contestant, scenario: &str, deadline: Duration) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("phasegate-compare-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let (place, name) = (folder.clone(), format!("{}-{scenario}", contestant.name()));
        let starting =
            tokio::task::spawn_blocking(move || Server::start(&place, &name, Storage::Memory, Changes::Streamed, &[]));
        let server = starting.await??;
        let gate = Gate::start(server.address()).await?;
        let database = wire::client_of(&uri_of(server.address())).await?.database(DATABASE);
        let world = World::new(&format!("{}-{scenario}", contestant.name())).await;
        let kubeconfig = match contestant {
            Contestant::Machine => world.cluster.registry_kubeconfig()?,
            _ => world.cluster.operator_kubeconfig(),
        };
        let proxy = Proxy::start(&kubeconfig).await;
        let (processes, ended, before, _server) = (Vec::new(), Duration::ZERO, Spent::default(), server);
        Ok(Self { world, gate, proxy, contestant, database, deadline, processes, ended, before, folder, _server })
    }

    /// Starts one more process of the contestant.
    pub async fn enter(&mut self) -> Result<()> {
        let (uri, namespace) = (uri_of(self.gate.address), self.world.namespace.clone());
        let (domain, deadline) = (format!("{namespace}.example.com"), format!("{}ms", self.deadline.as_millis()));
        let lease = phasegate_harness::cluster::operator_namespace();
        let (program, arguments) = match self.contestant {
            Contestant::Machine => (
                operator_program()?,
                vec![
                    "run",
                    "--registry",
                    "mongodb",
                    "--mongodb-uri",
                    &uri,
                    "--mongodb-database",
                    DATABASE,
                    "--namespaces",
                    &namespace,
                    "--gateway-namespace",
                    &namespace,
                    "--gateway-domain",
                    &domain,
                    "--gateway-image",
                    "acme/gateway:1",
                    "--start-deadline",
                    &deadline,
                    "--leader-election",
                    // The sagas' coordinators have as long, so that all notice a crash equally soon.
                    "--lease-duration",
                    LEASE,
                    "--lease-namespace",
                    &lease,
                    "--lease-name",
                    &namespace,
                ],
            ),
            other => {
                let deadline = deadline.trim_end_matches("ms");
                (std::env::current_exe()?, vec!["contestant", other.name(), &uri, DATABASE, &namespace, deadline])
            }
        };
        let log = File::options().create(true).append(true).open(self.folder.join(format!("{namespace}.log")))?;
        let process = self.world.cluster.supervise(self.proxy.kubeconfig(), &program, &arguments, log)?;
        self.processes.push(process);
        Ok(())
    }

    /// Has one gateway started and deleted. What is measured begins afterwards: every contestant has its connections
    /// and caches then.
    pub async fn warm_up(&mut self) -> Result<()> {
        self.insert("warm-up", "acme/gateway:1").await?;
        let started = self.until(Some(("Started", "Running")), 1, LONG).await?;
        ensure!(started.len() == 1, "{} starts no gateway", self.contestant.name());
        self.clear(1).await?;
        self.quiet().await;
        self.before = self.total()?;
        Ok(())
    }

    /// Has all gateways deleted.
    pub async fn clear(&self, count: usize) -> Result<()> {
        self.wish("Deleted").await?;
        self.until(None, count, LONG).await.map(drop)
    }

    /// Waits until nothing is written any more.
    pub async fn quiet(&self) {
        const LOOKS: usize = 20;
        let writes = || (self.api_writes(), self.gate.writes());
        let mut last = writes();
        for _ in 0..LOOKS {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if last == writes() {
                break;
            }
            last = writes();
        }
    }

    /// Writes of Leases are left out, as the gate leaves out those of the sagas' coordinators.
    fn api_writes(&self) -> usize {
        self.proxy.count(|asked| asked.is_write() && !asked.is_of("leases"))
    }

    fn total(&self) -> Result<Spent> {
        let mut cpu = self.ended;
        for process in &self.processes {
            cpu += cpu_of(child_of(process.pid()))?;
        }
        Ok(Spent { api_writes: self.api_writes(), database_writes: self.gate.writes(), cpu })
    }

    /// What the contestant has cost since its warm-up.
    pub fn spent(&self) -> Result<Spent> {
        let (now, before) = (self.total()?, self.before);
        Ok(Spent {
            api_writes: now.api_writes - before.api_writes,
            database_writes: now.database_writes - before.database_writes,
            cpu: now.cpu.saturating_sub(before.cpu),
        })
    }

    /// Kills all processes, as a crash does.
    pub fn kill(&mut self) -> Result<()> {
        for mut process in self.processes.drain(..) {
            self.ended += cpu_of(child_of(process.pid()))?;
            phasegate_harness::components::signal(child_of(process.pid()), "KILL");
            process.ended()?;
        }
        Ok(())
    }

    fn gateways(&self) -> Collection<Document> {
        self.database.collection("ApiGateway")
    }

    /// Inserts a gateway's document, and one of an environment.
    pub async fn insert(&self, name: &str, image: &str) -> Result<()> {
        let now = DateTime::now();
        let environment = doc! { "gatewayId": name, "name": "dev", "state": "Inactive", "createdAt": now };
        self.database.collection::<Document>("Environment").insert_one(environment).await?;
        let gateway = doc! {
            "gatewayId": name, "state": "Running", "phase": "Created", "spec": { "image": image },
            "createdAt": now, "updatedAt": now,
        };
        self.gateways().insert_one(gateway).await?;
        Ok(())
    }

    /// Writes a user's wish for all gateways.
    pub async fn wish(&self, state: &str) -> Result<()> {
        let change = doc! { "$set": { "state": state, "updatedAt": DateTime::now() } };
        self.gateways().update_many(doc! {}, change).await?;
        Ok(())
    }

    /// Waits until the number of documents of this phase and state is `count`, and returns when each came there. With
    /// `None`, waits until no document is left.
    pub async fn until(&self, wanted: Option<(&str, &str)>, count: usize, patience: Duration) -> Result<Vec<Instant>> {
        let begun = Instant::now();
        let mut came = std::collections::BTreeMap::new();
        while begun.elapsed() < patience && came.len() < count {
            let documents: Vec<Document> = self.gateways().find(doc! {}).await?.try_collect().await?;
            match wanted {
                Some((phase, state)) => {
                    for found in
                        documents.iter().filter(|found| text(found, "phase") == phase && text(found, "state") == state)
                    {
                        came.entry(text(found, "gatewayId").to_owned()).or_insert_with(Instant::now);
                    }
                }
                None => came.extend((documents.len()..count).map(|number| (number.to_string(), Instant::now()))),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(came.into_values().collect())
    }

    /// The number of children in the namespace that are not about to go.
    pub async fn children(&self) -> Result<usize> {
        Ok(self.names_of_children().await?.len())
    }

    async fn names_of_children(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for kind in CHILDREN {
            let objects = self.world.of_kind(kind).list(&ListParams::default()).await?;
            let there = objects.items.iter().filter(|object| object.metadata.deletion_timestamp.is_none());
            names.extend(there.map(ResourceExt::name_any));
        }
        let gateways: Api<ApiGateway> = self.world.api();
        // A gateway without a document is an orphan as well. One with a document is its record.
        let known: Vec<Document> = self.gateways().find(doc! {}).await?.try_collect().await?;
        let objects = gateways.list(&ListParams::default()).await?;
        let strangers = objects
            .items
            .iter()
            .filter(|object| known.iter().all(|known| text(known, "gatewayId") != object.name_any()));
        names.extend(strangers.map(ResourceExt::name_any));
        Ok(names)
    }

    /// What is left that should not be, once it no longer changes.
    pub async fn leftovers(&self) -> Result<Leftovers> {
        const LOOKS: usize = 50;
        let mut left = Leftovers::default();
        for _ in 0..LOOKS {
            let documents: Vec<Document> = self.gateways().find(doc! {}).await?.try_collect().await?;
            let runs = |name: &str| {
                documents.iter().any(|found| text(found, "gatewayId") == name && text(found, "phase") != "Stopped")
            };
            let children = self.names_of_children().await?.iter().filter(|name| !runs(name)).count();
            let environments: Vec<Document> =
                self.database.collection::<Document>("Environment").find(doc! {}).await?.try_collect().await?;
            let is_known = |id: &str| documents.iter().any(|found| text(found, "gatewayId") == id);
            let strays = environments.iter().filter(|found| !is_known(text(found, "gatewayId"))).count();
            let alarms: Collection<Document> = self.database.collection("alarms");
            let alarms = usize::try_from(alarms.count_documents(doc! {}).await?)?;
            left = Leftovers { children, documents: strays + alarms };
            if left.children + left.documents == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(left)
    }
}

/// The processor time of a process, from the kernel. It counts in hundredths of a second.
fn cpu_of(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or_else(|| anyhow!("no fields: {stat}"))?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or_default());
    Ok(Duration::from_millis(10 * ticks.sum::<u64>()))
}
