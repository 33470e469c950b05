//! `get`: the fleet as a table, once or live.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use clap::ValueEnum;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::Failure;
use crate::fleet::{self, Row};
use crate::live::{Key, Live, News};
use crate::output::{self, Data, Line, Piece, Table, Tone, piece, plain};
use crate::screen::Screen;
use crate::selection::{Selection, tell_all};

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate get                    # the gateways of the namespace
  kubectl phasegate get -A --stuck         # those of all namespaces that need somebody
  kubectl phasegate get -l tier=prod -w    # live, until Ctrl-C
  kubectl phasegate get shop -o wide       # with image, environments and cause
  kubectl phasegate get -A -o json | jq '.items[] | select(.stuck)'

A gateway is stuck when nothing moves until somebody acts: it timed out, is suspended, waits for a
host or name that another has, or is looked at by no operator.";

/// The arguments of `get`.
#[derive(Debug, clap::Args)]
pub struct Get {
    #[command(flatten)]
    selection: Selection,

    /// Only those that need somebody
    #[arg(long)]
    stuck: bool,

    /// Go on showing what changes
    #[arg(short, long)]
    watch: bool,

    /// How to print them: with more columns, for a program, or only the names
    #[arg(short, long)]
    output: Option<Form>,
}

/// Forms of a list.
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

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Items<'a> {
    items: Vec<&'a Row>,
}

/// How rows become lines.
struct Look {
    namespaces: bool,
    wide: bool,
    now: Timestamp,
}

impl Look {
    fn titles(&self) -> Vec<Piece> {
        let namespace = self.namespaces.then_some("NAMESPACE");
        let wide = fleet::WIDE_TITLES.into_iter().filter(|_| self.wide);
        namespace.into_iter().chain(fleet::TITLES).chain(wide).map(|title| piece(title, Tone::Title)).collect()
    }

    fn cells(&self, row: &Row) -> Vec<Piece> {
        let namespace = self.namespaces.then(|| plain(&row.namespace));
        namespace.into_iter().chain(row.cells(self.wide, self.now)).collect()
    }

    /// The titles and the rows, in columns that fit them.
    fn table(&self, rows: &[&Row], columns: &mut Table) -> Vec<Line> {
        let cells: Vec<_> = std::iter::once(self.titles()).chain(rows.iter().map(|row| self.cells(row))).collect();
        columns.fit(&cells);
        cells.iter().map(|cells| columns.line(cells)).collect()
    }
}

/// The rows that have room on a terminal, and a line that says how many there are.
fn page(mut rows: Vec<&Row>, look: &Look, height: usize, trouble: Option<&str>, columns: &mut Table) -> Vec<Line> {
    // The titles, the line below, and the line of the cursor.
    let room = height.saturating_sub(3).max(1);
    let mut below = fleet::summary(rows.iter().copied());
    if rows.len() > room {
        below = format!("{below}; {} have no room (--stuck, -l)", rows.len() - room);
        rows.sort_by_key(|row| row.urgency());
        rows.truncate(room);
    }
    let mut lines = look.table(&rows, columns);
    lines.push(match trouble {
        Some(trouble) => Line(vec![piece(format!("{below}; {trouble}"), Tone::Bad)]),
        None => Line(vec![piece(below, Tone::Faint)]),
    });
    lines
}

/// Reads and prints.
///
/// # Errors
/// When gateways cannot be read, or one that was named does not exist.
pub async fn run(arguments: &Get, cluster: &ClusterArguments) -> Result<(), Failure> {
    let cluster = Cluster::find(cluster).await?;
    if arguments.watch {
        return watch(arguments, &cluster).await;
    }
    let (found, missing) = arguments.selection.read(&cluster).await?;
    let now = Timestamp::now();
    let rows: Vec<Row> = found.iter().map(|gateway| Row::of(gateway, now)).collect();
    let rows: Vec<&Row> = rows.iter().filter(|row| row.stuck || !arguments.stuck).collect();
    match arguments.output {
        Some(form) if form.data().is_some() => {
            let data = form.data().unwrap_or(Data::Json);
            output::print(&data.text(&Items { items: rows })?)?;
        }
        Some(Form::Name) => output::print(&names(&rows))?,
        _ if rows.is_empty() && missing.is_empty() => {
            let which = if arguments.stuck { "stuck ApiGateways" } else { "ApiGateways" };
            eprintln!("No {which} in {}.", arguments.selection.place(&cluster));
        }
        _ if rows.is_empty() => {}
        form => {
            let look = arguments.look(form, now);
            let lines = look.table(&rows, &mut Table::default());
            output::print(&output::text(&lines, output::colours()))?;
        }
    }
    tell_all(&missing)
}

fn names(rows: &[&Row]) -> String {
    rows.iter().map(|row| format!("apigateway.phasegate.dev/{}\n", row.name)).collect()
}

impl Get {
    /// Whether what is printed depends on whether a gateway is stuck.
    fn tells_stuck(&self) -> bool {
        self.stuck || self.output.is_some_and(|form| form.data().is_some())
    }

    fn look(&self, form: Option<Form>, now: Timestamp) -> Look {
        Look { namespaces: self.selection.all_namespaces, wide: form == Some(Form::Wide), now }
    }
}

/// What is known, and what was shown of it.
struct Following<'a> {
    arguments: &'a Get,
    rows: BTreeMap<Key, Row>,
    /// Those that changed since they were printed, or are gone.
    changed: BTreeSet<Key>,
    /// Those that were printed.
    printed: BTreeSet<Key>,
    listed: bool,
    trouble: Option<String>,
    columns: Table,
}

async fn watch(arguments: &Get, cluster: &Cluster) -> Result<(), Failure> {
    let selection = &arguments.selection;
    let mut live = Live::follow(cluster, selection.api(cluster), selection.watch());
    let mut following = Following {
        arguments,
        rows: BTreeMap::new(),
        changed: BTreeSet::new(),
        printed: BTreeSet::new(),
        listed: false,
        trouble: None,
        columns: Table::default(),
    };
    let on_screen = stdout().is_terminal() && arguments.output.is_none_or(|form| form == Form::Wide);
    let mut screen = Screen::default();
    let mut size = None;
    // What comes in a burst is shown together.
    let mut redraw = ticks(Duration::from_millis(100));
    let mut clock = ticks(Duration::from_secs(1));
    let mut due = false;
    loop {
        tokio::select! {
            news = live.next() => {
                following.take(news?, on_screen);
                due = true;
            }
            _ = clock.tick() => {
                following.tick();
                due |= on_screen;
            }
            _ = redraw.tick(), if due && following.listed => {
                due = false;
                let text = if on_screen {
                    let now_size = terminal_size::terminal_size().map(|(width, height)| (width.0, height.0));
                    let cleared = if size.is_some() && size != now_size { screen.clear() } else { "" };
                    size = now_size;
                    format!("{cleared}{}", screen.show(following.page(now_size)))
                } else {
                    following.changes()?
                };
                output::print(&text)?;
            }
        }
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Following<'_> {
    fn take(&mut self, news: News, on_screen: bool) {
        match news {
            News::Is(gateway) => {
                let row = Row::of(&gateway, Timestamp::now());
                let key = (row.namespace.clone(), row.name.clone());
                if self.arguments.selection.names(&row.name) && self.rows.get(&key) != Some(&row) {
                    self.changed.insert(key.clone());
                    self.rows.insert(key, row);
                }
            }
            News::Gone(key) => {
                if self.rows.remove(&key).is_some() {
                    self.changed.insert(key);
                }
            }
            News::Listed => self.listed = true,
            News::Away(words) => {
                if !on_screen {
                    eprintln!("{words}; trying again");
                }
                self.trouble = Some(words);
            }
            News::Back(after) => {
                if !on_screen {
                    eprintln!("the API server answers again, after {} s", after.as_secs());
                }
                self.trouble = None;
            }
        }
    }

    fn tick(&mut self) {
        let now = Timestamp::now();
        for (key, row) in &mut self.rows {
            let before = row.stuck;
            row.tick(now);
            if row.stuck != before && self.arguments.tells_stuck() {
                self.changed.insert(key.clone());
            }
        }
    }

    fn page(&mut self, size: Option<(u16, u16)>) -> Vec<String> {
        let (width, height) = size.unwrap_or((80, 24));
        let look = self.arguments.look(self.arguments.output, Timestamp::now());
        self.changed.clear();
        let asked_for = self.rows.values().filter(|row| row.stuck || !self.arguments.stuck);
        let lines = page(asked_for.collect(), &look, height.into(), self.trouble.as_deref(), &mut self.columns);
        let colours = output::colours();
        lines.iter().map(|line| line.render(colours, Some(width.into()))).collect()
    }

    /// What changed since the last time, as text. The first time, all that there is.
    fn changes(&mut self) -> Result<String, Failure> {
        let mut changed = Vec::new();
        for key in std::mem::take(&mut self.changed) {
            let row = self.rows.get(&key).cloned();
            let asked_for = row.as_ref().is_some_and(|row| row.stuck || !self.arguments.stuck);
            // What was printed is printed once more when it is no longer one of those that are asked for.
            let was_printed = if asked_for { !self.printed.insert(key.clone()) } else { self.printed.remove(&key) };
            if asked_for || was_printed {
                changed.push((key, row));
            }
        }
        if let Some(data) = self.arguments.output.and_then(Form::data) {
            let begin = if data == Data::Yaml { "---\n" } else { "" };
            let texts = changed.into_iter().map(|((namespace, name), row)| {
                let text = match row {
                    Some(row) => data.text(&row),
                    None => data.text(&Gone { namespace, name, gone: true }),
                };
                text.map(|text| format!("{begin}{text}"))
            });
            return texts.collect();
        }
        if self.arguments.output == Some(Form::Name) {
            return Ok(names(&changed.iter().filter_map(|(_, row)| row.as_ref()).collect::<Vec<_>>()));
        }
        let look = self.arguments.look(self.arguments.output, Timestamp::now());
        let begins = self.columns.is_empty();
        let titles = look.titles();
        let cells = changed.iter().map(|((namespace, name), row)| match row {
            Some(row) => look.cells(row),
            None => {
                let namespace = look.namespaces.then(|| plain(namespace));
                let gone = [plain(name), plain("-"), piece("Gone", Tone::Faint)];
                namespace.into_iter().chain(gone).collect()
            }
        });
        let cells: Vec<_> = begins.then_some(titles).into_iter().chain(cells).collect();
        if begins {
            self.columns.fit(&cells);
        }
        let lines: Vec<_> = cells.iter().map(|cells| self.columns.line(cells)).collect();
        Ok(output::text(&lines, output::colours()))
    }
}

/// What `-w -o json` prints of a gateway that is gone.
#[derive(Debug, Serialize)]
struct Gone {
    namespace: String,
    name: String,
    gone: bool,
}
