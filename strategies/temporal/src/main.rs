//! The program: a worker, and a user's commands.

use anyhow::{Result, bail};
use phasegate_temporal::client;
use phasegate_temporal::cluster::{Cluster, GatewayRef};
use phasegate_temporal::workflow::Job;

const USAGE: &str = "usage: phasegate-temporal SERVER QUEUE worker IDENTITY
       phasegate-temporal SERVER QUEUE start NAMESPACE NAME SECONDS
       phasegate-temporal SERVER QUEUE stop|history NAMESPACE NAME";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let gateway = |namespace: &str, name: &str| GatewayRef { namespace: namespace.to_owned(), name: name.to_owned() };
    match arguments[..] {
        [server, queue, "worker", identity] => {
            let cluster = Cluster(kube::Client::try_default().await?);
            client::work(client::connect(server, identity).await?, queue, cluster).await
        }
        [server, queue, "start", namespace, name, seconds] => {
            let job = Job { gateway: gateway(namespace, name), deadline_seconds: seconds.parse()? };
            client::start(&client::connect(server, "user").await?, queue, job).await.map(drop)
        }
        [server, _, "stop", namespace, name] => {
            let client = client::connect(server, "user").await?;
            client::stop(&client::of(&client, &gateway(namespace, name))).await
        }
        [server, _, "history", namespace, name] => {
            let client = client::connect(server, "user").await?;
            let history = client::history(&client::of(&client, &gateway(namespace, name))).to_json().await?;
            println!("{}", String::from_utf8(history)?);
            Ok(())
        }
        _ => bail!(USAGE),
    }
}
