//! Wording helpers for conditions, Events and the plugin.
//!
//! **Architecture invariant:** `say`, `plain` and `say_last` return one line of bounded length without hidden
//! characters, whatever they quote.

use std::time::Duration;

use crate::secrets;
use crate::shown::{line, on_one_line};

/// The most characters of a foreign message that are quoted, since conditions and Events have limits.
const LONGEST: usize = 300;

/// The most bytes of a message, so that a status with the maximum number of messages fits into its object. Long
/// names and unbounded lists of others reach it.
pub(super) const LONGEST_MESSAGE: usize = 2_048;

/// The beginning of a text, at most `bytes` long.
pub(super) fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A foreign message, sanitized, on one line, at most 300 characters long.
pub fn say(words: &str) -> String {
    line(words, LONGEST)
}

/// A message of our own for a status or an Event: on one line, within the limit, whatever it quotes.
pub(super) fn plain(words: &str) -> String {
    const CUT: &str = "…";
    let line = on_one_line(words);
    if line.len() <= LONGEST_MESSAGE {
        return line;
    }
    format!("{}{CUT}", beginning(&line, LONGEST_MESSAGE - CUT.len()))
}

/// A container's termination message. It may be the end of a log, so its last part counts, and secrets are
/// redacted by their name or their place in a URL. This is best effort: a program may log a secret in other
/// ways.
pub(super) fn say_last(words: &str) -> String {
    let line = without_secrets(&on_one_line(words));
    let surplus = line.chars().count().saturating_sub(LONGEST);
    match line.char_indices().nth(surplus) {
        Some((begin, _)) if surplus > 0 => format!("…{}", &line[begin..]),
        _ => line,
    }
}

/// The replacement for a secret.
const LEFT_OUT: &str = "***";

fn without_secrets(line: &str) -> String {
    let mut hides_next = false;
    // The last two words that are not a lone sign.
    let mut before = ["", ""];
    let words = line.split(' ').map(|word| {
        let hidden = std::mem::take(&mut hides_next);
        let is_sign = matches!(word, "=" | ":");
        hides_next = names_secret(before, word) || (hidden && is_sign);
        if !is_sign {
            before = [before[1], word];
        }
        if hidden && !hides_next { LEFT_OUT.to_owned() } else { without_values(&without_credentials(word)) }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether the next word is a secret: after `password:`, `API key =`, or `password` and a lone `=`.
fn names_secret(before: [&str; 2], word: &str) -> bool {
    if ["bearer", "basic"].contains(&word.to_lowercase().as_str()) {
        return true;
    }
    [':', '='].into_iter().any(|sign| match word.strip_suffix(sign) {
        Some("") => secrets::is_before(before[1], sign) || secrets::is_of_words(before[0], before[1]),
        Some(name) => secrets::is_before(name, sign) || secrets::is_of_words(before[1], name),
        None => false,
    })
}

/// `scheme://user:password@host` without the credentials.
fn without_credentials(word: &str) -> String {
    let parts = word.split_once("://").and_then(|(scheme, rest)| {
        let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let at = rest[..authority].rfind('@')?;
        Some(format!("{scheme}://{LEFT_OUT}{}", &rest[at..]))
    });
    parts.unwrap_or_else(|| word.to_owned())
}

/// `password=…`, `token:…` and the like without their values; a word may contain several.
fn without_values(word: &str) -> String {
    let mut hides = false;
    let parts = word.split_inclusive([',', ';', '&', '?']).map(|part| {
        let (text, end) = part.split_at(part.trim_end_matches([',', ';', '&', '?']).len());
        let Some(at) = text.find(['=', ':']) else {
            // A part without a sign continues the value before it.
            return if hides { String::new() } else { part.to_owned() };
        };
        let (name, sign) = (&text[..at], text[at..].chars().next().unwrap_or_default());
        hides = at + 1 < text.len() && secrets::is_before(name, sign);
        if hides { format!("{name}={LEFT_OUT}{end}") } else { part.to_owned() }
    });
    parts.collect()
}

/// A duration as a user would write it.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, 0, 0) => format!("{h}h"),
        (h, m, 0) => format!("{h}h{m}m"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

/// The text with exactly one full stop at its end.
pub(super) fn ended(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}
