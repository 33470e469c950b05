//! How things are printed: aligned tables, colours on a terminal only, JSON and YAML.

use std::fmt;
use std::io::{IsTerminal, stdout};

use clap::ValueEnum;
use phasegate::shown;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::DoubleQuoted;

use crate::failure::{FAILED, Failure};
use crate::terminal::{self, LONGEST, Shown};

/// A form for programs.
// Variants without doc comments: with them the help would take three lines for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Data {
    Json,
    Yaml,
}

impl Data {
    /// The text of a value, with a line break at its end.
    ///
    /// # Errors
    /// When it cannot be written in this form; this would be a fault of this program.
    pub fn text(self, value: &impl Serialize) -> Result<Shown, Failure> {
        let text = match self {
            Self::Json => json(value).map_err(|error| error.to_string()),
            Self::Yaml => yaml(value).map_err(|error| error.to_string()),
        };
        match text {
            Ok(text) => Ok(Shown::text(&format!("{}\n", text.trim_end()))),
            Err(error) => Err(Failure::new(FAILED, format!("the result cannot be printed: {error}"), "Report it.")),
        }
    }
}

fn json(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(shown::json(&serde_json::to_string_pretty(value)?).into_owned())
}

fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_saphyr::to_string(value)?;
    if shown::yaml(&text) == text {
        return Ok(text);
    }
    // Escapes are understood between double quotes only.
    let quoted = serde_saphyr::to_string(&Quoted(&serde_json::to_value(value)?))?;
    Ok(shown::yaml(&quoted).into_owned())
}

/// A value whose texts are in double quotes where something in them is hidden.
struct Quoted<'a>(&'a Value);

impl Serialize for Quoted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) if text.contains(shown::is_hidden) => DoubleQuoted(text).serialize(serializer),
            Value::Array(list) => serializer.collect_seq(list.iter().map(Quoted)),
            Value::Object(fields) => serializer.collect_map(fields.iter().map(|(key, value)| (key, Quoted(value)))),
            other => other.serialize(serializer),
        }
    }
}

/// Prints a text that ends with a line break.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &Shown) -> Result<(), Failure> {
    Ok(terminal::print(text)?)
}

/// What a piece of text means. On a terminal it becomes a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As asked.
    Good,
    /// On its way.
    Busy,
    /// Something is wrong.
    Bad,
    /// Less important.
    Faint,
    /// A title.
    Title,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Busy => Some("33"),
            Self::Bad => Some("31"),
            Self::Faint => Some("2"),
            Self::Title => Some("1"),
        }
    }
}

/// Whether texts for stdout are coloured: on a terminal that can, unless NO_COLOR asks for none.
pub fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    stdout().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text, without line breaks and whatever else is hidden.
    text: String,
    /// What it means.
    tone: Tone,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text of this tone.
pub fn piece(text: impl AsRef<str>, tone: Tone) -> Piece {
    let text = shown::cut(&shown::piece(text.as_ref()), LONGEST).into_owned();
    Piece { text, tone }
}

/// A text without a tone.
pub fn plain(text: impl AsRef<str>) -> Piece {
    piece(text, Tone::Plain)
}

/// One line of output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<Piece>);

impl Line {
    /// The line as it is printed, without a line break. `width`: the most characters it may have.
    pub fn render(&self, colours: bool, width: Option<usize>) -> Shown {
        let mut left = width.unwrap_or(usize::MAX);
        let mut rendered = String::new();
        for piece in &self.0 {
            let text: String = piece.text.chars().take(left).collect();
            left -= text.chars().count();
            match piece.tone.code().filter(|_| colours && !text.is_empty()) {
                Some(code) => rendered.push_str(&format!("\u{1b}[{code}m{text}\u{1b}[0m")),
                None => rendered.push_str(&text),
            }
        }
        Shown::sequence(rendered)
    }
}

/// Lines as a text, one below the other.
pub fn text(lines: &[Line], colours: bool) -> Shown {
    lines.iter().map(|line| Shown::sequence(format!("{}\n", line.render(colours, None)))).collect()
}

/// Columns that are wide enough for what was put into them so far.
#[derive(Clone, Debug, Default)]
pub struct Table {
    widths: Vec<usize>,
}

impl Table {
    const GAP: usize = 3;

    /// Widens the columns for these rows.
    pub fn fit<'a>(&mut self, rows: impl IntoIterator<Item = &'a Vec<Piece>>) {
        for row in rows {
            self.widths.resize(self.widths.len().max(row.len()), 0);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
    }

    /// Whether nothing was put into it yet.
    pub fn is_empty(&self) -> bool {
        self.widths.is_empty()
    }

    /// A row in these columns. The last column is not filled up.
    pub fn line(&self, row: &[Piece]) -> Line {
        let mut pieces = Vec::with_capacity(2 * row.len());
        for (number, cell) in row.iter().enumerate() {
            pieces.push(cell.clone());
            if number + 1 < row.len() {
                let width = self.widths.get(number).copied().unwrap_or_default();
                let fill = width.saturating_sub(cell.text.chars().count()) + Self::GAP;
                pieces.push(plain(" ".repeat(fill)));
            }
        }
        Line(pieces)
    }
}

/// A whole table: a line for the titles, and one for each row.
pub fn table(titles: &[&str], rows: &[Vec<Piece>]) -> Vec<Line> {
    let titles: Vec<Piece> = titles.iter().map(|title| plain(*title)).collect();
    let mut table = Table::default();
    table.fit([&titles]);
    table.fit(rows);
    std::iter::once(&titles).chain(rows).map(|row| table.line(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_the_last_ends_with_its_text() {
        let rows = [vec![plain("a"), plain("Größe"), plain("x")], vec![plain("long"), plain("b"), plain("")]];
        let text = text(&table(&["ONE", "TWO", "THREE"], &rows), false);
        assert_eq!(&*text, "ONE    TWO     THREE\na      Größe   x\nlong   b       \n");
    }

    #[test]
    fn a_line_is_cut_at_the_terminals_width_and_its_colours_end() {
        let line = Line(vec![plain("ab"), piece("cdef", Tone::Bad), piece("gh", Tone::Good)]);
        assert_eq!(&*line.render(true, Some(4)), "ab\u{1b}[31mcd\u{1b}[0m");
        assert_eq!(&*line.render(false, None), "abcdefgh");
    }

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        assert_eq!(piece("a\u{1b}[2Jb\nc\u{202e}d", Tone::Plain).text, "a [2Jb c d");
        assert_eq!(piece("a".repeat(9_999), Tone::Plain).text.chars().count(), LONGEST + 1);
    }

    #[test]
    fn data_says_what_others_wrote_and_moves_no_cursor_either() {
        let words = "a\u{1b}[2J\u{9b}\u{7f}\nb\u{202e}c\u{200b}\u{2028}\u{e0041} \"'\\: #";
        let value = serde_json::json!({ "list": [words, "plain: text"], "words": words });
        for data in [Data::Json, Data::Yaml] {
            let told = data.text(&value).unwrap();
            assert!(!told.contains(|char| shown::is_hidden(char) && char != '\n'), "{told}");
            let read: Value = serde_saphyr::from_str(&told).unwrap();
            assert_eq!(read, value, "{told}");
        }
        let in_order = Data::Yaml.text(&(1, "plain")).unwrap();
        assert_eq!(&*in_order, "- 1\n- plain\n");
    }
}
