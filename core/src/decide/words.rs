//! How things are worded, for conditions, Events and the plugin.

use std::time::Duration;

use crate::shown::{line, on_one_line};

/// How much is told of somebody else's words: a condition's message and an Event's note have limits.
const LONGEST: usize = 300;

/// How many bytes a message has at most: a status of as many as there can be is to have room in its object. It is met where
/// others have long names, or a list of theirs has no end.
pub(super) const LONGEST_MESSAGE: usize = 2_048;

/// What a text begins with, in so many bytes at most.
pub(super) fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Somebody else's words, on one line, without what a terminal would obey, and at most 300 characters long.
pub fn say(words: &str) -> String {
    line(words, LONGEST)
}

/// A sentence of ours, as it goes into a status or an Event: whatever it quotes, it is a line, and no longer than there is room for.
pub(super) fn plain(words: &str) -> String {
    const CUT: &str = "…";
    let line = on_one_line(words);
    if line.len() <= LONGEST_MESSAGE {
        return line;
    }
    format!("{}{CUT}", beginning(&line, LONGEST_MESSAGE - CUT.len()))
}

/// What a container said last. It may come from its log: its end counts, and what is a secret by its name or its place
/// in an address is left out. That is no promise; a program that logs a secret in other ways tells it.
pub(super) fn say_last(words: &str) -> String {
    let line = without_secrets(&on_one_line(words));
    let surplus = line.chars().count().saturating_sub(LONGEST);
    match line.char_indices().nth(surplus) {
        Some((begin, _)) if surplus > 0 => format!("…{}", &line[begin..]),
        _ => line,
    }
}

/// What stands where a secret was.
const LEFT_OUT: &str = "***";

fn without_secrets(line: &str) -> String {
    let mut hides_next = false;
    let words = line.split(' ').map(|word| {
        let hidden = std::mem::take(&mut hides_next);
        let lower = word.to_lowercase();
        hides_next = ["bearer", "basic"].contains(&lower.as_str())
            || (word.ends_with([':', '=']) && is_secrets_name(&lower))
            || (hidden && matches!(lower.as_str(), "=" | ":"));
        if hidden && !hides_next { LEFT_OUT.to_owned() } else { without_value(&without_credentials(word)) }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `scheme://user:password@host` without the user.
fn without_credentials(word: &str) -> String {
    let parts = word.split_once("://").and_then(|(scheme, rest)| {
        let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let at = rest[..authority].rfind('@')?;
        Some(format!("{scheme}://{LEFT_OUT}{}", &rest[at..]))
    });
    parts.unwrap_or_else(|| word.to_owned())
}

/// `password=…`, `token:…` and the like without what follows.
fn without_value(word: &str) -> String {
    let parts = word.split_once(['=', ':']).filter(|(name, value)| !value.is_empty() && is_secrets_name(name));
    parts.map_or_else(|| word.to_owned(), |(name, _)| format!("{name}={LEFT_OUT}"))
}

fn is_secrets_name(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
        "apikey",
        "api_key",
        "api-key",
        "private_key",
    ];
    let name = name.to_lowercase();
    NAMES.iter().any(|part| name.contains(part))
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

/// A text with one full stop at its end.
pub(super) fn ended(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}
