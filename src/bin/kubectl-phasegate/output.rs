//! Output: aligned tables, colours on a terminal, JSON and YAML.
//!
//! **Architecture invariant**: every text passes through [`Shown`] before it is printed, so that a value of an
//! object never controls the terminal.

use std::fmt;
use std::io::{IsTerminal, stdout};

use clap::ValueEnum;
use phasegate::shown;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::DoubleQuoted;

use crate::failure::{FAILED, Failure};
use crate::terminal::{self, LONGEST, Shown};

/// An output format for programs.
// Variants without doc comments: with them the help would take three lines for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Data {
    Json,
    Yaml,
}

impl Data {
    /// The text of a value, with a final line break.
    ///
    /// # Errors
    /// The value cannot be written in this format. This is a fault of this program.
    pub fn text(self, value: &impl Serialize) -> Result<Shown, Failure> {
        let text = match self {
            Self::Json => json(value).map_err(|error| error.to_string()),
            Self::Yaml => yaml(value).map_err(|error| error.to_string()),
        };
        match text {
            Ok(text) => Ok(Shown::text(&format!("{}\n", text.trim_end()))),
            Err(error) => Err(Failure::new(FAILED, format!("failed to print the result: {error}"), "Report it.")),
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
    // YAML interprets escapes between double quotes only.
    let quoted = serde_saphyr::to_string(&Quoted(&serde_json::to_value(value)?))?;
    Ok(shown::yaml(&quoted).into_owned())
}

/// A value whose strings are in double quotes if they contain hidden characters.
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
/// The text cannot be written.
pub fn print(text: &Shown) -> Result<(), Failure> {
    Ok(terminal::print(text)?)
}

/// The meaning of a piece of text. On a terminal it becomes a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// No particular meaning.
    #[default]
    Plain,
    /// The desired state.
    Good,
    /// In progress.
    Busy,
    /// A failure.
    Bad,
    /// Less important.
    Faint,
    /// A title.
    Title,
}

impl Style {
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

/// Whether text on stdout is coloured: stdout is a terminal that supports colours, and NO_COLOR is unset.
pub fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    stdout().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// How many characters a line of stdout may have before it is wrapped: those of the terminal, and any number in a pipe.
fn width() -> Option<usize> {
    terminal_size::terminal_size_of(stdout()).map(|(width, _)| usize::from(width.0))
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text, without line breaks and other hidden characters.
    text: String,
    /// Its meaning.
    style: Style,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text in this style.
pub fn piece(text: impl AsRef<str>, style: Style) -> Piece {
    let text = shown::cut(&shown::piece(text.as_ref()), LONGEST).into_owned();
    Piece { text, style }
}

/// A text without a style.
pub fn plain(text: impl AsRef<str>) -> Piece {
    piece(text, Style::Plain)
}

/// One line of output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<Piece>);

impl Line {
    /// The line as it is printed, without a line break. `width` is the maximum number of characters.
    pub fn render(&self, colours: bool, width: Option<usize>) -> Shown {
        let mut left = width.unwrap_or(usize::MAX);
        let mut rendered = String::new();
        for piece in &self.0 {
            let text: String = piece.text.chars().take(left).collect();
            left -= text.chars().count();
            match piece.style.code().filter(|_| colours && !text.is_empty()) {
                Some(code) => rendered.push_str(&format!("\u{1b}[{code}m{text}\u{1b}[0m")),
                None => rendered.push_str(&text),
            }
        }
        Shown::sequence(rendered)
    }

    /// The line broken at the blanks of its last piece. That goes on below where it began, or on lines of its own where
    /// little room is left beside the others.
    fn wrapped(&self, width: usize) -> Vec<Self> {
        let length = |pieces: &[Piece]| pieces.iter().map(|piece| piece.text.chars().count()).sum::<usize>();
        let Some((last, before)) = self.0.split_last().filter(|_| length(&self.0) > width) else {
            return vec![self.clone()];
        };
        let beside = length(before);
        let fits_beside = beside == 0 || beside + Self::NARROWEST <= width;
        let indent = if fits_beside { beside } else { Self::INDENT };
        let others = match before.split_last() {
            Some((gap, others)) if gap.text.trim().is_empty() => others,
            _ => before,
        };
        let mut lines = if fits_beside { Vec::new() } else { vec![Self(others.to_vec())] };
        for part in broken(&last.text, width.saturating_sub(indent)) {
            let mut pieces = match lines.is_empty() {
                true => before.to_vec(),
                false => vec![plain(" ".repeat(indent))],
            };
            pieces.push(Piece { text: part, style: last.style });
            lines.push(Self(pieces));
        }
        lines
    }

    /// The fewest characters that a column is wrapped into.
    const NARROWEST: usize = 36;

    /// How far a column is indented that is wrapped on lines of its own.
    const INDENT: usize = 6;
}

/// Splits a text at blanks into parts of at most `most` characters. A longer word stays whole, so that it can be copied.
fn broken(text: &str, most: usize) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match parts.last_mut().filter(|part| part.chars().count() + 1 + word.chars().count() <= most) {
            Some(part) => part.extend([" ", word]),
            None => parts.push(word.to_owned()),
        }
    }
    parts
}

/// Lines as one text for stdout, wrapped at the width of the terminal.
pub fn for_stdout(lines: &[Line]) -> Shown {
    text(lines, colours(), width())
}

/// Lines as one text. Lines wider than `width` are wrapped.
pub fn text(lines: &[Line], colours: bool, width: Option<usize>) -> Shown {
    let wrapped = lines.iter().flat_map(|line| match width {
        Some(width) => line.wrapped(width),
        None => vec![line.clone()],
    });
    wrapped.map(|line| Shown::sequence(format!("{}\n", line.render(colours, None)))).collect()
}

/// Columns that are wide enough for all rows added so far.
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

    /// Whether no row was added yet.
    pub fn is_empty(&self) -> bool {
        self.widths.is_empty()
    }

    /// A row in these columns. The last column is not padded.
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

/// A whole table: one line of titles, then one line for each row.
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
        let text = text(&table(&["ONE", "TWO", "THREE"], &rows), false, None);
        assert_eq!(&*text, "ONE    TWO     THREE\na      Größe   x\nlong   b       \n");
    }

    #[test]
    fn a_line_is_cut_at_the_terminals_width_and_its_colours_end() {
        let line = Line(vec![plain("ab"), piece("cdef", Style::Bad), piece("gh", Style::Good)]);
        assert_eq!(&*line.render(true, Some(4)), "ab\u{1b}[31mcd\u{1b}[0m");
        assert_eq!(&*line.render(false, None), "abcdefgh");
    }

    #[test]
    fn a_last_column_is_wrapped_below_itself_or_below_the_others() {
        let wrapped = |before: &str, last: &str| {
            let line = Line(vec![plain(before), plain("  "), piece(last, Style::Bad)]);
            text(&[line], false, Some(50)).to_string()
        };
        let words = "the quick brown fox jumps over the lazy dog and runs";
        assert_eq!(wrapped("URL", "it fits"), "URL  it fits\n");
        let below = "Cause  the quick brown fox jumps over the lazy dog\n       and runs\n";
        assert_eq!(wrapped("Cause", words), below);
        let wide = "  Deployment shop   0 of 1 available";
        let on_its_own = format!("{wide}\n      the quick brown fox jumps over the lazy dog\n      and runs\n");
        assert_eq!(wrapped(wide, words), on_its_own);
        let address = "a".repeat(60);
        assert_eq!(wrapped("URL", &address), format!("URL  {address}\n"), "a word stays whole");
        let coloured = Line(vec![plain("ab "), piece(words, Style::Bad)]);
        let expected =
            "ab \u{1b}[31mthe quick brown fox jumps over the lazy\u{1b}[0m\n   \u{1b}[31mdog and runs\u{1b}[0m\n";
        assert_eq!(&*text(&[coloured], true, Some(45)), expected);
    }

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        assert_eq!(piece("a\u{1b}[2Jb\nc\u{202e}d", Style::Plain).text, "a [2Jb c d");
        assert_eq!(piece("a".repeat(9_999), Style::Plain).text.chars().count(), LONGEST + 1);
    }

    #[test]
    fn data_says_what_others_wrote_and_moves_no_cursor_either() {
        let words = "a\u{1b}[2J\u{9b}\u{7f}\nb\u{202e}c\u{200b}\u{2028}\u{e0041} \"'\\: #";
        // Nothing else in this makes a writer of YAML quote it.
        let soft = "soft\u{200b}ly";
        // A field of another version's status may be called anything.
        let value = serde_json::json!({ "list": [words, "plain: text", soft], "words": words, words: { words: 1 } });
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
