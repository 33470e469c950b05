//! Sanitizes text from other sources before it is shown: in a status, an Event, a document, a log or on a
//! terminal.
//!
//! **Architecture invariant:** every foreign text that is shown passes through this module. No terminal obeys
//! any of it, and no text can imitate another. This module imports nothing of this crate.

use std::borrow::Cow;

/// Whether a terminal obeys a character, cannot show it, or shows two texts alike because of it: control and
/// format characters, line and paragraph separators, and the characters that Unicode makes ignorable.
pub fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Puts a text on one line, with single blanks between words and at most `longest` characters.
pub fn line(words: &str, longest: usize) -> String {
    cut(&on_one_line(words), longest).into_owned()
}

/// Puts a text on one line, with single blanks between words.
pub fn on_one_line(words: &str) -> String {
    let seen = words.split_whitespace().map(|word| word.chars().filter(|char| !is_hidden(*char)).collect::<String>());
    seen.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Cuts a text to at most `longest` characters and marks the cut.
pub fn cut(text: &str, longest: usize) -> Cow<'_, str> {
    match text.char_indices().nth(longest) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Sanitizes a piece of a line. Blanks stay; each hidden character becomes a blank.
pub fn piece(text: &str) -> Cow<'_, str> {
    blanked(text, is_hidden)
}

/// Sanitizes a text of several lines. Line breaks and tabs stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    blanked(text, is_hidden_in_lines)
}

fn is_hidden_in_lines(char: char) -> bool {
    is_hidden(char) && !matches!(char, '\n' | '\t')
}

fn blanked(text: &str, goes: fn(char) -> bool) -> Cow<'_, str> {
    if text.contains(goes) { Cow::Owned(text.replace(goes, " ")) } else { Cow::Borrowed(text) }
}

/// Escapes hidden characters in JSON text. A program that parses it reads the same values: between values, JSON
/// has no such characters except line breaks and tabs.
pub fn json(text: &str) -> Cow<'_, str> {
    escaped(text, |char, escaped| {
        for unit in char.encode_utf16(&mut [0; 2]) {
            escaped.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

/// Escapes hidden characters in YAML. Every text with such characters must be in double quotes.
pub fn yaml(text: &str) -> Cow<'_, str> {
    escaped(text, |char, escaped| escaped.push_str(&format!("\\U{:08x}", u32::from(char))))
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_hidden_in_lines) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if is_hidden_in_lines(char) { escape(char, &mut escaped) } else { escaped.push(char) }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What must not reach anybody's eyes as it is, one of each kind.
    const HIDDEN: [(&str, char); 22] = [
        ("NUL", '\0'),
        ("BEL", '\u{7}'),
        ("carriage return", '\r'),
        ("ESC", '\u{1b}'),
        ("DEL", '\u{7f}'),
        ("NEL", '\u{85}'),
        ("CSI of C1", '\u{9b}'),
        ("OSC of C1", '\u{9d}'),
        ("soft hyphen", '\u{ad}'),
        ("Arabic letter mark", '\u{61c}'),
        ("Hangul filler", '\u{3164}'),
        ("zero width space", '\u{200b}'),
        ("zero width joiner", '\u{200d}'),
        ("right-to-left mark", '\u{200f}'),
        ("line separator", '\u{2028}'),
        ("paragraph separator", '\u{2029}'),
        ("right-to-left override", '\u{202e}'),
        ("word joiner", '\u{2060}'),
        ("right-to-left isolate", '\u{2067}'),
        ("variation selector", '\u{fe0f}'),
        ("byte order mark", '\u{feff}'),
        ("tag", '\u{e0041}'),
    ];

    #[test]
    fn nothing_hidden_is_shown_of_others_words() {
        for (name, char) in HIDDEN {
            let text = format!("a{char}b");
            assert_eq!(line(&text, 10), if char.is_whitespace() { "a b" } else { "ab" }, "{name}");
            assert_eq!((piece(&text), lines(&text)), ("a b".into(), "a b".into()), "{name}");
        }
    }

    #[test]
    fn what_people_write_is_shown_as_it_is() {
        for text in
            ["Größe", "日本語", "Привет", "שלום", "مرحبا", "e\u{301}", "naïve – “quoted” … 100 %", "🦀", "a\u{a0}b"]
        {
            assert_eq!((piece(text), lines(text)), (text.into(), text.into()));
            assert_eq!(json(text), text);
        }
    }

    #[test]
    fn a_line_has_single_blanks_a_piece_keeps_its_own_and_lines_keep_theirs() {
        let text = "  one\ttwo\r\n  three\n";
        assert_eq!(line(text, 100), "one two three");
        assert_eq!(piece(text), "  one two    three ");
        assert_eq!(lines(text), "  one\ttwo \n  three\n");
        assert_eq!(line(" \u{200b} \u{1b} ", 100), "");
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        assert_eq!((line("Größe", 5), line("Größen", 5)), ("Größe".to_owned(), "Größe…".to_owned()));
    }

    #[test]
    fn data_says_the_same_in_escapes() {
        for (name, char) in HIDDEN {
            let value = serde_json::json!({ "words": format!("a{char}b") });
            let text = serde_json::to_string_pretty(&value).unwrap_or_default();
            let told = json(&text);
            assert!(!told.contains(|char| is_hidden(char) && char != '\n'), "{name}: {told:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&told).ok(), Some(value), "{name}");
        }
        assert_eq!(yaml("a: \"\u{202e}\u{e0041}\"\n"), "a: \"\\U0000202e\\U000e0041\"\n");
    }
}
