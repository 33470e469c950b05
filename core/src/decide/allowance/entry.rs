//! Lists in flags and annotations: entries separated by commas, or the word `none`.
//!
//! **Architecture invariant:** one invalid entry makes the whole list invalid. No part of such a list is used.

/// One entry of a list.
pub trait Entry: Sized {
    /// Parses an entry.
    ///
    /// # Errors
    /// A message that says what is wrong with it.
    fn parse(text: &str) -> Result<Self, String>;

    /// The entry as it was written.
    fn text(&self) -> &str;
}

/// An empty list.
const NONE: &str = "none";

/// Parses a list.
///
/// # Errors
/// A message that names the invalid entry and says why.
pub fn listed<T: Entry>(text: &str) -> Result<Vec<T>, String> {
    let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries == [NONE] {
        return Ok(Vec::new());
    }
    let read = |entry: &&str| match *entry {
        NONE => Err(format!("{NONE:?} must be the only entry")),
        entry => T::parse(entry).map_err(|why| format!("{entry:?}: {why}")),
    };
    entries.iter().map(read).collect()
}

/// The list as text for messages.
pub(super) fn only<T: Entry>(list: &[T]) -> String {
    /// Messages have limits.
    const NAMED: usize = 10;
    let named: Vec<&str> = list.iter().take(NAMED).map(Entry::text).collect();
    match (named.as_slice(), list.len().saturating_sub(NAMED)) {
        ([], _) => NONE.to_owned(),
        (_, 0) => format!("only {}", named.join(", ")),
        (_, more) => format!("only {} and {more} more", named.join(", ")),
    }
}

/// Names of ingress classes.
impl Entry for String {
    fn parse(text: &str) -> Result<Self, String> {
        let valid = text.len() <= 253
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.');
        if valid { Ok(text.to_owned()) } else { Err("must be an object name".to_owned()) }
    }

    fn text(&self) -> &str {
        self
    }
}
