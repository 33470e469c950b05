//! `get -w`: the fleet, live. On a terminal a page that is drawn anew where it changed; elsewhere a line for each change.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use phasegate::api::ObjectKey;
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Form, Get, Look, names};
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::fleet::{self, Row};
use crate::live::{Live, News};
use crate::output::{self, Data, Line, Table, Tone, piece, plain};
use crate::screen::Screen;
use crate::terminal::{self, Shown};

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

/// What a terminal shows.
#[derive(Default)]
struct Page {
    screen: Screen,
    size: Option<(u16, u16)>,
}

impl Page {
    /// What has to be sent so that the terminal shows the fleet as it is.
    fn draw(&mut self, following: &mut Following<'_>) -> Shown {
        let size = terminal_size::terminal_size().map(|(width, height)| (width.0, height.0));
        let cleared = if self.size.is_some() && self.size != size { self.screen.clear() } else { "" };
        self.size = size;
        Shown::sequence(format!("{cleared}{}", self.screen.show(following.page(size))))
    }
}

/// What is known, and what was shown of it.
struct Following<'a> {
    arguments: &'a Get,
    rows: BTreeMap<ObjectKey, Row>,
    /// Those that changed since they were printed, or are gone.
    changed: BTreeSet<ObjectKey>,
    /// Those that were printed.
    printed: BTreeSet<ObjectKey>,
    listed: bool,
    trouble: Option<String>,
    columns: Table,
}

/// Follows the fleet until somebody ends it.
///
/// # Errors
/// When the gateways cannot be listed at first, or nothing can be printed.
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
    // What comes in a burst is shown together.
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
    fn take(&mut self, news: News, on_screen: bool, now: Timestamp) {
        match news {
            News::Is(gateway) => {
                let row = Row::of(&gateway, now);
                let key = ObjectKey::of(&*gateway);
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
                    terminal::tell(&Shown::sentence(&format!("{words}; trying again")));
                }
                self.trouble = Some(words);
            }
            News::Back(after) => {
                if !on_screen {
                    let words = format!("the API server answers again, after {} s", after.as_secs());
                    terminal::tell(&Shown::sentence(&words));
                }
                self.trouble = None;
            }
        }
    }

    /// Lets time pass, and says whether that alone is worth printing.
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
        let look = self.arguments.look(Timestamp::now());
        self.changed.clear();
        let asked_for = self.rows.values().filter(|row| self.arguments.wants(row));
        let lines = page(asked_for.collect(), &look, height.into(), self.trouble.as_deref(), &mut self.columns);
        let colours = output::colours();
        lines.iter().map(|line| line.render(colours, Some(width.into()))).collect()
    }

    /// What changed since the last time, as text. The first time, all that there is.
    fn changes(&mut self) -> Result<Shown, Failure> {
        let mut changed = Vec::new();
        for key in std::mem::take(&mut self.changed) {
            let row = self.rows.get(&key).cloned();
            let asked_for = row.as_ref().is_some_and(|row| self.arguments.wants(row));
            // What was printed is printed once more when it is no longer one of those that are asked for.
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
        let look = self.arguments.look(Timestamp::now());
        let begins = self.columns.is_empty();
        let titles = look.titles();
        let cells = changed.iter().map(|(ObjectKey { namespace, name }, row)| match row {
            Some(row) => look.cells(row),
            None => look.namespaced(namespace, vec![plain(name), plain("-"), piece("Gone", Tone::Faint)]),
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

#[cfg(test)]
mod tests {
    use clap::Parser;
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

    fn is(name: &str, mut gateway: ApiGateway) -> News {
        gateway.metadata.name = Some(name.to_owned());
        News::Is(Box::new(phasegate::api::Guarded::whole(gateway)))
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
        following.take(News::Gone(ObjectKey::new("tenants", "b")), false, samples::NOW);
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
        following.take(News::Gone(ObjectKey::new("tenants", "a")), false, samples::NOW);
        assert_eq!(printed(&mut following), ["a Gone"]);
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
        assert_eq!(&*page[3], "4 gateways: 2 ready, 1 on their way, 1 stuck; 2 have no room (--stuck, -l)");
        following.take(News::Away("the API server cannot be reached".to_owned()), true, samples::NOW);
        assert!(following.page(Some((200, 10)))[5].ends_with("1 stuck; the API server cannot be reached"));
    }
}
