//! Values seen in places that hold users' own values. They are removed from all other texts.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::{AhoCorasick, Input, MatchKind};
use phasegate::shown;

/// The replacement for removed text.
pub const REDACTED: &str = "REDACTED";

/// The minimum length of a value, and of a value that is secret by its name. Shorter ones occur in many texts
/// by chance.
const SHORTEST: usize = 5;
const SHORTEST_SECRET: usize = 4;

/// The number of bytes of a long value's beginning or end that identify it, because messages are truncated.
const PART: usize = 24;

/// Common values that reveal nothing.
const ORDINARY: [&str; 15] = [
    "always",
    "debug",
    "default",
    "development",
    "disabled",
    "enabled",
    "error",
    "false",
    "gateway",
    "https",
    "localhost",
    "never",
    "production",
    "staging",
    "warning",
];

/// The values seen so far.
#[derive(Debug, Default)]
pub struct SeenValues {
    values: BTreeSet<String>,
    /// Built when a text is searched, and rebuilt after more values were seen.
    search: OnceCell<Search>,
}

impl SeenValues {
    /// Remembers a value that is not secret by its name.
    pub fn remember(&mut self, value: &str) {
        let is_number = value.len() < 8 && value.bytes().all(|byte| byte.is_ascii_digit());
        if value.chars().count() >= SHORTEST && !is_number && !ORDINARY.contains(&value.to_lowercase().as_str()) {
            self.insert(value);
        }
    }

    /// Remembers a value that is secret by its name.
    pub fn remember_secret(&mut self, value: &str) {
        if value.chars().count() >= SHORTEST_SECRET {
            self.insert(value);
        }
    }

    /// Adds each form in which a value is repeated: whole, line by line, on one line without what is hidden in it,
    /// and as a JSON string, with and without escapes for that.
    fn insert(&mut self, value: &str) {
        let line = shown::on_one_line(value);
        for form in value.lines().map(str::trim).chain([value, &line]) {
            let quoted = serde_json::to_string(form).unwrap_or_default();
            let quoted = quoted.trim_start_matches('"').trim_end_matches('"');
            for form in [form, quoted, &shown::json(quoted)] {
                if form.chars().count() >= SHORTEST_SECRET && self.values.insert(form.to_owned()) {
                    self.search.take();
                }
            }
        }
    }

    /// A text without the values.
    pub fn taken_out(&self, text: &str) -> String {
        if self.values.is_empty() {
            return text.to_owned();
        }
        self.search.get_or_init(|| Search::of(&self.values)).taken_out(text)
    }
}

/// A search for all values in one pass.
#[derive(Debug)]
struct Search {
    /// `None` if there are more values than the automaton supports.
    automaton: Option<AhoCorasick>,
    /// For each pattern, the values that begin with it, and those that end with it.
    patterns: Vec<(Vec<String>, Vec<String>)>,
}

impl Search {
    fn of(values: &BTreeSet<String>) -> Self {
        let mut patterns: BTreeMap<&str, (Vec<String>, Vec<String>)> = BTreeMap::new();
        for value in values {
            let (begin, end) = if value.len() <= PART { (value.as_str(), value.as_str()) } else { parts(value) };
            patterns.entry(begin).or_default().0.push(value.clone());
            patterns.entry(end).or_default().1.push(value.clone());
        }
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns.keys());
        Self { automaton: automaton.ok(), patterns: patterns.into_values().collect() }
    }

    fn taken_out(&self, text: &str) -> String {
        let Some(automaton) = &self.automaton else { return REDACTED.to_owned() };
        let mut told = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(found) = automaton.find(Input::new(text).range(at..)) {
            let (begins, ends) = &self.patterns[found.pattern()];
            let longest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or_default();
            let after = longest(&mut begins.iter().map(|value| common(text[found.start()..].chars(), value.chars())));
            let before =
                longest(&mut ends.iter().map(|value| common(text[at..found.end()].chars().rev(), value.chars().rev())));
            let start = found.start().min(found.end() - before);
            told.push_str(&text[at..start]);
            told.push_str(REDACTED);
            at = found.end().max(found.start() + after);
        }
        told.push_str(&text[at..]);
        told
    }
}

/// The first and the last bytes of a long value.
fn parts(value: &str) -> (&str, &str) {
    let end = (0..=PART).rev().find(|at| value.is_char_boundary(*at)).unwrap_or_default();
    let begin = (0..=value.len() - PART).rev().find(|at| value.is_char_boundary(*at)).unwrap_or_default();
    (&value[..end], &value[begin..])
}

/// The number of bytes that two texts have in common from here on.
fn common(one: impl Iterator<Item = char>, other: impl Iterator<Item = char>) -> usize {
    one.zip(other).take_while(|(one, other)| one == other).map(|(char, _)| char.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(values: &[&str], text: &str) -> String {
        let mut seen_values = SeenValues::default();
        values.iter().for_each(|value| seen_values.remember(value));
        seen_values.taken_out(text)
    }

    #[test]
    fn a_value_is_taken_out_wherever_it_stands_and_a_part_of_another_hides_neither() {
        assert_eq!(told(&["correct horse"], "no correct horse, xcorrect horsex"), "no REDACTED, xREDACTEDx");
        assert_eq!(told(&["horse", "horse-battery"], "horse-battery horse"), "REDACTED REDACTED");
        assert_eq!(told(&["über-geheim"], "das über-geheim da"), "das REDACTED da");
        assert_eq!(told(&[], "text"), "text");
    }

    #[test]
    fn a_value_of_several_lines_is_found_on_one_in_each_and_in_json() {
        let value = "first line\n  second \"line\"\n";
        assert_eq!(told(&[value], "said: first line second \"line\""), "said: REDACTED");
        assert_eq!(told(&[value], "second \"line\""), "REDACTED");
        assert_eq!(told(&[value], "{\"a\":\"first line\\n  second \\\"line\\\"\"}"), "{\"a\":\"REDACTED\"}");
    }

    #[test]
    fn a_value_is_found_without_what_is_hidden_in_it_and_in_escapes() {
        let value = "\u{feff}swordfish\u{200b}es";
        assert_eq!(told(&[value], "said: \u{feff}swordfish\u{200b}es"), "said: REDACTED");
        assert_eq!(told(&[value], "said: swordfishes"), "said: REDACTED");
        assert_eq!(told(&["\u{200b}sword\"fish"], "{\"a\":\"\u{200b}sword\\\"fish\"}"), "{\"a\":\"REDACTED\"}");
        assert_eq!(told(&[value], r#"{"a":"\ufeffswordfish\u200bes"}"#), r#"{"a":"REDACTED"}"#);
    }

    #[test]
    fn a_long_value_is_found_where_a_message_was_cut() {
        let value = "0123456789abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEFGHIJ";
        assert_eq!(told(&[value], "begins 0123456789abcdefghijklmnopqrs…"), "begins REDACTED…");
        assert_eq!(told(&[value], "…mnopqrstuvwxyz-0123456789-ABCDEFGHIJ ends"), "…REDACTED ends");
        assert_eq!(told(&[value], &format!("<{value}>")), "<REDACTED>");
        assert_eq!(
            told(&[value], "0123456789abcdef is too little to know it by"),
            "0123456789abcdef is too little to know it by"
        );
    }

    #[test]
    fn what_many_have_and_what_is_short_stays() {
        for value in ["true", "8080", "54321", "DEBUG", "production", "abcd"] {
            assert_eq!(told(&[value], value), value);
        }
        let mut seen_values = SeenValues::default();
        seen_values.remember_secret("4711");
        assert_eq!(seen_values.taken_out("pin 4711"), "pin REDACTED");
    }
}
