//! `dashboard`: the fleet and each gateway in a browser, served on this machine with the user's own rights.
//!
//! It may import the modules for output, the cluster and a gateway's status, and `status`, `history`, `change`.
//!
//! **Architecture invariant**: `pages` are functions of plain data and the current time. Every request passes
//! `guard` before any other code sees it. Nothing is served on another address than loopback.

mod access;
mod actions;
mod console;
mod entry;
mod guard;
mod handlers;
mod pages;
mod server;
mod store;
mod stream;
mod view;

use k8s_openapi::jiff::Timestamp;

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::Failure;
use crate::live::{Live, LiveEvent};
use crate::output;
use crate::selection::Selection;
use crate::terminal::Shown;

use console::Shared;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate dashboard                  # prints an address; open it in a browser
  kubectl phasegate dashboard -A --read-only
  kubectl phasegate dashboard -l tier=prod --port 8080

The address contains a token and works on this machine only. Ctrl-C ends the dashboard.";

/// The arguments of `dashboard`.
#[derive(Debug, clap::Args)]
pub struct Dashboard {
    /// Label selector (`tier=test`, `shard!=a`, `owner`, comma-separated)
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,

    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Port on 127.0.0.1. Default: a free port
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,

    /// Refuse actions
    #[arg(long)]
    read_only: bool,
}

/// Serves until the command is interrupted.
///
/// # Errors
/// The first list fails, the port is in use, or the output cannot be written.
pub async fn run(arguments: &Dashboard, cluster: &ClusterArguments) -> Result<(), Failure> {
    let cluster = Cluster::find(cluster).await?;
    let selection =
        Selection { names: Vec::new(), selector: arguments.selector.clone(), all_namespaces: arguments.all_namespaces };
    let mut live = Live::follow(&cluster, selection.api(&cluster), selection.watch());
    let listener = server::listen(arguments.port).await?;
    let console = Shared::new(cluster, selection, &listener, arguments.read_only)?;
    let serving = server::serve(listener, console.clone());
    tokio::pin!(serving);
    let mut told = false;
    loop {
        tokio::select! {
            news = live.next() => {
                let news = news?;
                let listed = matches!(news, LiveEvent::Listed);
                console.store.take(news, Timestamp::now());
                if listed && !told {
                    told = true;
                    output::print(&Shown::text(&format!("Dashboard: {}\n", console.guard.address())))?;
                }
            }
            ended = &mut serving => return ended,
        }
    }
}
