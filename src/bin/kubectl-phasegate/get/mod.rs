//! `get`: the fleet as a table, once or live.
//!
//! It may import the modules for output, the cluster and a gateway's status, and no other command.
//!
//! **Architecture invariant**: only the row of a gateway (`fleet`) is kept in memory, however long the watch
//! lasts.

mod watch;

use clap::ValueEnum;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::Failure;
use crate::fleet::{self, Columns, Row};
use crate::output::{self, Data, Line, Piece, Style, Table, piece, plain};
use crate::selection::{Selection, tell_all};
use crate::terminal::{self, Shown};

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate get                    # the gateways of the namespace
  kubectl phasegate get -A --stuck         # stuck or failing, in all namespaces, with causes
  kubectl phasegate get -l tier=prod -w    # watch, until Ctrl-C
  kubectl phasegate get shop -o wide       # with image, environments and cause
  kubectl phasegate get -A -o json | jq '.items[] | select(.stuck)'

A gateway is stuck if it needs an action: it timed out, is suspended, is not reconciled by an
operator, or waits for a host, a name or an unavailable webhook. --stuck also lists gateways with a
known cause that will fail at their deadline.";

/// The arguments of `get`.
#[derive(Debug, clap::Args)]
pub struct Get {
    #[command(flatten)]
    selection: Selection,

    /// Only gateways that are stuck or failing
    #[arg(long)]
    stuck: bool,

    /// Watch for changes
    #[arg(short, long)]
    watch: bool,

    /// Output format
    #[arg(short, long)]
    output: Option<Form>,
}

/// Output formats of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Wide,
    Json,
    Yaml,
    Name,
}

impl Form {
    fn data(self) -> Option<Data> {
        match self {
            Self::Json => Some(Data::Json),
            Self::Yaml => Some(Data::Yaml),
            Self::Wide | Self::Name => None,
        }
    }
}

/// The output of `-o json`.
#[derive(Debug, Serialize)]
struct Items<'a> {
    items: Vec<&'a Row>,
}

/// How rows become lines.
struct TableLayout {
    namespaces: bool,
    columns: Columns,
    now: Timestamp,
}

impl TableLayout {
    fn titles(&self) -> Vec<Piece> {
        let namespace = self.namespaces.then_some("NAMESPACE");
        let wide = fleet::WIDE_TITLES.into_iter().filter(|_| self.columns.wide);
        let cause = self.columns.cause.then_some(fleet::CAUSE_TITLE);
        namespace
            .into_iter()
            .chain(fleet::TITLES)
            .chain(wide)
            .chain(cause)
            .map(|title| piece(title, Style::Title))
            .collect()
    }

    fn cells(&self, row: &Row) -> Vec<Piece> {
        self.namespaced(&row.namespace, row.cells(self.columns, self.now))
    }

    fn namespaced(&self, namespace: &str, cells: Vec<Piece>) -> Vec<Piece> {
        let namespace = self.namespaces.then(|| plain(namespace));
        namespace.into_iter().chain(cells).collect()
    }

    /// The titles and the rows, in columns that fit them.
    fn table(&self, rows: &[&Row], columns: &mut Table) -> Vec<Line> {
        let cells: Vec<_> = std::iter::once(self.titles()).chain(rows.iter().map(|row| self.cells(row))).collect();
        columns.fit(&cells);
        cells.iter().map(|cells| columns.line(cells)).collect()
    }
}

/// Reads and prints.
///
/// # Errors
/// Gateways cannot be read, or a named one does not exist.
pub async fn run(arguments: &Get, cluster: &ClusterArguments) -> Result<(), Failure> {
    let cluster = Cluster::find(cluster).await?;
    if arguments.watch {
        return watch::run(arguments, &cluster).await;
    }
    let (found, missing) = arguments.selection.read(&cluster).await?;
    let now = Timestamp::now();
    let rows: Vec<Row> = found.iter().map(|gateway| Row::of(gateway, now)).collect();
    let rows: Vec<&Row> = rows.iter().filter(|row| arguments.wants(row)).collect();
    if let Some(data) = arguments.output.and_then(Form::data) {
        output::print(&data.text(&Items { items: rows })?)?;
    } else if arguments.output == Some(Form::Name) {
        output::print(&names(&rows))?;
    } else if !rows.is_empty() {
        let lines = arguments.layout(now).table(&rows, &mut Table::default());
        output::print(&output::for_stdout(&lines))?;
    } else if missing.is_empty() {
        let which = if arguments.stuck { "stuck ApiGateways" } else { "ApiGateways" };
        terminal::tell(&Shown::sentence(&format!("No {which} in {}.", arguments.selection.place(&cluster))));
    }
    tell_all(&missing)
}

fn names(rows: &[&Row]) -> Shown {
    rows.iter().map(|row| Shown::sentence(&format!("apigateway.phasegate.dev/{}", row.name))).collect()
}

impl Get {
    /// Whether the arguments select a gateway.
    fn wants(&self, row: &Row) -> bool {
        !self.stuck || row.needs_somebody()
    }

    /// Whether the output depends on whether a gateway is stuck.
    fn tells_stuck(&self) -> bool {
        self.stuck || self.output.is_some_and(|form| form.data().is_some())
    }

    fn layout(&self, now: Timestamp) -> TableLayout {
        let wide = self.output == Some(Form::Wide);
        TableLayout {
            namespaces: self.selection.all_namespaces,
            columns: Columns { wide, cause: wide || self.stuck },
            now,
        }
    }
}
