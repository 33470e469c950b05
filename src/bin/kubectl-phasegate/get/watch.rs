//! `get -w`: the fleet, live. A terminal shows a page that is redrawn where it changed; other outputs get one
//! line for each change.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use phasegate::api::ObjectKey;
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Form, Get, TableLayout, names};
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::fleet::{self, Row};
use crate::live::{Live, LiveEvent};
use crate::live_display::LiveDisplay;
use crate::output::{self, Data, Line, Style, Table, piece, plain};
use crate::terminal::{self, Shown};

/// The rows that fit on a terminal, and a line with the number of all rows.
fn page(
    mut rows: Vec<&Row>,
    layout: &TableLayout,
    height: usize,
    trouble: Option<&str>,
    columns: &mut Table,
) -> Vec<Line> {
    // Three lines are reserved: the titles, the last line, and the cursor's line.
    let room = height.saturating_sub(3).max(1);
    let mut below = fleet::summary(rows.iter().copied());
    if rows.len() > room {
        below = format!("{below}; {} not shown (--stuck, -l)", rows.len() - room);
        rows.sort_by_key(|row| row.urgency());
        rows.truncate(room);
    }
    let mut lines = layout.table(&rows, columns);
    lines.push(match trouble {
        Some(trouble) => Line(vec![piece(format!("{below}; {trouble}"), Style::Bad)]),
        None => Line(vec![piece(below, Style::Faint)]),
    });
    lines
}

/// What a terminal shows.
#[derive(Default)]
struct Page {
    display: LiveDisplay,
    size: Option<(u16, u16)>,
}

impl Page {
    /// The bytes to send so that the terminal shows the current fleet.
    fn draw(&mut self, following: &mut Following<'_>) -> Shown {
        let size = terminal_size::terminal_size().map(|(width, height)| (width.0, height.0));
        let cleared = if self.size.is_some() && self.size != size { self.display.clear() } else { "" };
        self.size = size;
        Shown::sequence(format!("{cleared}{}", self.display.show(following.page(size))))
    }
}

/// The known rows, and what was printed of them.
struct Following<'a> {
    arguments: &'a Get,
    rows: BTreeMap<ObjectKey, Row>,
    /// The rows that changed or disappeared since they were printed.
    changed: BTreeSet<ObjectKey>,
    /// The rows that were printed.
    printed: BTreeSet<ObjectKey>,
    listed: bool,
    trouble: Option<String>,
    columns: Table,
}

/// Follows the fleet until the command is interrupted.
///
/// # Errors
/// The first list fails, or the output cannot be written.
pub async fn run(arguments: &Get, cluster: &Cluster) -> Result<(), Failure> {
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
    let mut page = on_screen.then(Page::default);
    // Changes of a burst are shown together.
    let mut redraw = ticks(Duration::from_millis(100));
    let mut clock = ticks(Duration::from_secs(1));
    let mut due = false;
    loop {
        tokio::select! {
            news = live.next() => {
                following.take(news?, on_screen, Timestamp::now());
                due = true;
            }
            _ = clock.tick() => {
                due |= following.tick() || on_screen;
            }
            _ = redraw.tick(), if due && following.listed => {
                due = false;
                output::print(&match &mut page {
                    Some(page) => page.draw(&mut following),
                    None => following.changes()?,
                })?;
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
    fn take(&mut self, news: LiveEvent, on_screen: bool, now: Timestamp) {
        match news {
            LiveEvent::Is(gateway) => {
                let row = Row::of(&gateway, now);
                let key = ObjectKey::of(&*gateway);
                if self.arguments.selection.names(&row.name) && self.is_news(&key, &row, now) {
                    self.changed.insert(key.clone());
                    self.rows.insert(key, row);
                }
            }
            LiveEvent::Gone(key) => {
                if self.rows.remove(&key).is_some() {
                    self.changed.insert(key);
                }
            }
            LiveEvent::Listed => self.listed = true,
            LiveEvent::Away(words) => {
                if !on_screen {
                    terminal::tell(&Shown::sentence(&format!("{words}; retrying")));
                }
                self.trouble = Some(words);
            }
            LiveEvent::Back(after) => {
                if !on_screen {
                    let words = format!("the API server is reachable again after {} s", after.as_secs());
                    terminal::tell(&Shown::sentence(&words));
                }
                self.trouble = None;
            }
        }
    }

    /// Whether a row has changed. Changes by time alone are reported by [`Self::tick`].
    fn is_news(&mut self, key: &ObjectKey, row: &Row, now: Timestamp) -> bool {
        let Some(known) = self.rows.get_mut(key) else { return true };
        if !self.arguments.tells_stuck() {
            known.tick(now);
        }
        known != row
    }

    /// Updates the rows for the current time. Returns whether that alone changes the output.
    fn tick(&mut self) -> bool {
        let before = self.changed.len();
        let now = Timestamp::now();
        for (key, row) in &mut self.rows {
            let was_stuck = row.stuck;
            row.tick(now);
            if row.stuck != was_stuck && self.arguments.tells_stuck() {
                self.changed.insert(key.clone());
            }
        }
        self.changed.len() > before
    }

    fn page(&mut self, size: Option<(u16, u16)>) -> Vec<Shown> {
        let (width, height) = size.unwrap_or((80, 24));
        let layout = self.arguments.layout(Timestamp::now());
        self.changed.clear();
        let asked_for = self.rows.values().filter(|row| self.arguments.wants(row));
        let lines = page(asked_for.collect(), &layout, height.into(), self.trouble.as_deref(), &mut self.columns);
        let colours = output::colours();
        lines.iter().map(|line| line.render(colours, Some(width.into()))).collect()
    }

    /// The changes since the last call, as text. The first call returns all rows.
    fn changes(&mut self) -> Result<Shown, Failure> {
        let mut changed = Vec::new();
        for key in std::mem::take(&mut self.changed) {
            let row = self.rows.get(&key).cloned();
            let asked_for = row.as_ref().is_some_and(|row| self.arguments.wants(row));
            // A row that was printed is printed once more when the arguments no longer select it.
            let was_printed = if asked_for { !self.printed.insert(key.clone()) } else { self.printed.remove(&key) };
            if asked_for || was_printed {
                changed.push((key, row));
            }
        }
        if let Some(data) = self.arguments.output.and_then(Form::data) {
            let begin = Shown::text(if data == Data::Yaml { "---\n" } else { "" });
            let texts = changed.into_iter().map(|(ObjectKey { namespace, name }, row)| {
                let text = match row {
                    Some(row) => data.text(&row),
                    None => data.text(&Gone { namespace, name, gone: true }),
                };
                text.map(|text| Shown::from_iter([begin.clone(), text]))
            });
            return texts.collect();
        }
        if self.arguments.output == Some(Form::Name) {
            return Ok(names(&changed.iter().filter_map(|(_, row)| row.as_ref()).collect::<Vec<_>>()));
        }
        let layout = self.arguments.layout(Timestamp::now());
        let begins = self.columns.is_empty();
        let titles = layout.titles();
        let cells = changed.iter().map(|(ObjectKey { namespace, name }, row)| match row {
            Some(row) => layout.cells(row),
            None => layout.namespaced(namespace, vec![plain(name), plain("-"), piece("Gone", Style::Faint)]),
        });
        let cells: Vec<_> = begins.then_some(titles).into_iter().chain(cells).collect();
        if begins {
            self.columns.fit(&cells);
        }
        let lines: Vec<_> = cells.iter().map(|cells| self.columns.line(cells)).collect();
        Ok(output::for_stdout(&lines))
    }
}

/// The output of `-w -o json` for a deleted gateway.
#[derive(Debug, Serialize)]
struct Gone {
    namespace: String,
    name: String,
    gone: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use k8s_openapi::jiff::Span;
    use phasegate::api::ApiGateway;

    use super::*;
    use crate::samples;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        get: Get,
    }

    fn asked(flags: &[&str]) -> Get {
        Arguments::try_parse_from(["get", "-w"].iter().chain(flags)).unwrap().get
    }

    fn following(arguments: &Get) -> Following<'_> {
        Following {
            arguments,
            rows: BTreeMap::new(),
            changed: BTreeSet::new(),
            printed: BTreeSet::new(),
            listed: true,
            trouble: None,
            columns: Table::default(),
        }
    }

    fn is(name: &str, mut gateway: ApiGateway) -> LiveEvent {
        gateway.metadata.name = Some(name.to_owned());
        LiveEvent::Is(Box::new(phasegate::api::Guarded::whole(gateway)))
    }

    /// The names and phases of what is printed.
    fn printed(following: &mut Following<'_>) -> Vec<String> {
        let text = following.changes().unwrap();
        let word = |line: &str, number: usize| line.split_whitespace().nth(number).unwrap_or_default().to_owned();
        text.lines().map(|line| format!("{} {}", word(line, 0), word(line, 2))).collect()
    }

    #[test]
    fn what_is_no_longer_stuck_is_printed_once_more_and_then_no_longer() {
        let get = asked(&["--stuck"]);
        let mut following = following(&get);
        following.take(is("a", samples::timed_out()), false, samples::NOW);
        following.take(is("b", samples::stopped()), false, samples::NOW);
        assert_eq!(printed(&mut following), ["NAME PHASE", "a Stopped"]);
        following.take(is("a", samples::restarting()), false, samples::NOW);
        assert_eq!(printed(&mut following), ["a Starting"]);
        following.take(is("a", samples::started()), false, samples::NOW);
        assert_eq!(printed(&mut following), [] as [&str; 0]);
        following.take(is("b", samples::timed_out()), false, samples::NOW);
        following.take(LiveEvent::Gone(ObjectKey::new("tenants", "b")), false, samples::NOW);
        following.take(is("a", samples::timed_out()), false, samples::NOW);
        assert_eq!(printed(&mut following), ["a Stopped"]);
    }

    #[test]
    fn what_is_going_to_fail_is_among_the_stuck_with_its_cause() {
        let get = asked(&["--stuck"]);
        let mut following = following(&get);
        following.take(is("a", samples::failing()), false, samples::NOW);
        following.take(is("b", samples::starting()), false, samples::NOW);
        let text = following.changes().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with("CAUSE"), "{text}");
        assert!(lines[1].starts_with("a ") && lines[1].ends_with("cannot be pulled. Check spec.image."), "{text}");
    }

    #[test]
    fn what_is_told_again_unchanged_is_not_printed_again() {
        let get = asked(&[]);
        let mut following = following(&get);
        following.take(is("a", samples::started()), false, samples::NOW);
        assert_eq!(printed(&mut following), ["NAME PHASE", "a Started"]);
        following.take(is("a", samples::started()), false, samples::NOW);
        assert_eq!(printed(&mut following), [] as [&str; 0]);
        following.take(LiveEvent::Gone(ObjectKey::new("tenants", "a")), false, samples::NOW);
        assert_eq!(printed(&mut following), ["a Gone"]);
    }

    /// As after an outage, when all are listed once more.
    #[test]
    fn what_time_alone_made_of_it_is_not_printed_again_where_that_is_not_told() {
        let later = samples::NOW.checked_add(Span::new().hours(2)).unwrap();
        for (arguments, again) in [(vec![], vec![]), (vec!["--stuck"], vec!["a Starting"])] {
            let get = asked(&arguments);
            let mut following = following(&get);
            following.take(is("a", samples::starting()), false, samples::NOW);
            printed(&mut following);
            following.take(is("a", samples::starting()), false, later);
            assert!(following.rows.values().all(|row| row.stuck));
            assert_eq!(printed(&mut following), again as Vec<&str>, "{arguments:?}");
        }
    }

    #[test]
    fn of_more_than_fit_those_in_trouble_have_the_room() {
        let get = asked(&[]);
        let mut following = following(&get);
        for (name, gateway) in [
            ("a", samples::started()),
            ("b", samples::restarting()),
            ("c", samples::started()),
            ("d", samples::timed_out()),
        ] {
            following.take(is(name, gateway), true, samples::NOW);
        }
        let page = following.page(Some((200, 5)));
        let first: Vec<_> = page.iter().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(first, ["NAME", "d", "b", "4"]);
        assert_eq!(&*page[3], "4 gateways: 2 ready, 1 in progress, 1 stuck; 2 not shown (--stuck, -l)");
        following.take(LiveEvent::Away("the API server is unreachable".to_owned()), true, samples::NOW);
        assert!(following.page(Some((200, 10)))[5].ends_with("1 stuck; the API server is unreachable"));
    }
}
