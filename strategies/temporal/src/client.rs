//! The worker, and the requests of a user.

use anyhow::Result;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, Url, WorkflowFetchHistoryOptions, WorkflowHandle,
    WorkflowHistory, WorkflowSignalOptions, WorkflowStartOptions,
};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};

use crate::activities::Activities;
use crate::cluster::{Cluster, GatewayRef};
use crate::workflow::{Job, Lifecycle};

/// Connects to a server, under a name that its histories show.
pub async fn connect(server: &str, identity: &str) -> Result<Client> {
    let options = ConnectionOptions::new(Url::parse(server)?).identity(identity).build();
    Ok(Client::new(Connection::connect(options).await?, ClientOptions::new("default").build())?)
}

/// Runs a worker. It may be killed at any time: other workers continue its workflows.
pub async fn work(client: Client, queue: &str, cluster: Cluster) -> Result<()> {
    let runtime = Runtime::from_current_tokio(Default::default())?;
    let options =
        WorkerOptions::new(queue).register_workflow::<Lifecycle>()?.register_activities(Activities(cluster)).build();
    Ok(Worker::new(&runtime, client, options)?.run().await?)
}

/// Starts a gateway. Its workflow has the gateway's name as its id, and the server runs one workflow of an id: a second
/// start of a gateway is refused.
pub async fn start(client: &Client, queue: &str, job: Job) -> Result<WorkflowHandle<Client, Lifecycle>> {
    let options = WorkflowStartOptions::new(queue, id(&job.gateway)).build();
    client.start_workflow(Lifecycle::run, job.clone(), options).await?;
    Ok(of(client, &job.gateway))
}

/// The workflow of a gateway.
pub fn of(client: &Client, gateway: &GatewayRef) -> WorkflowHandle<Client, Lifecycle> {
    client.get_workflow_handle::<Lifecycle>(id(gateway))
}

/// Requests a stop.
pub async fn stop(handle: &WorkflowHandle<Client, Lifecycle>) -> Result<()> {
    Ok(handle.signal(Lifecycle::stop, (), WorkflowSignalOptions::default()).await?)
}

/// Everything that happened in a workflow.
pub fn history(handle: &WorkflowHandle<Client, Lifecycle>) -> WorkflowHistory {
    handle.fetch_history(WorkflowFetchHistoryOptions::default())
}

fn id(gateway: &GatewayRef) -> String {
    format!("{}/{}", gateway.namespace, gateway.name)
}
