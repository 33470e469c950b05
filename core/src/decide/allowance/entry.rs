//! Lists, as flags and annotations have them: entries that are separated by commas, or the word `none`.

/// One entry of a list.
pub trait Entry: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    fn parse(text: &str) -> Result<Self, String>;

    /// As it is written.
    fn text(&self) -> &str;
}

/// What stands for a list without entries.
const NONE: &str = "none";

/// Reads a list.
///
/// # Errors
/// Which entry is wrong, and why.
pub fn listed<T: Entry>(text: &str) -> Result<Vec<T>, String> {
    let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries == [NONE] {
        return Ok(Vec::new());
    }
    let read = |entry: &&str| match *entry {
        NONE => Err(format!("{NONE:?} stands alone, or not at all")),
        entry => T::parse(entry).map_err(|why| format!("{entry:?}: {why}")),
    };
    entries.iter().map(read).collect()
}

/// A list in words.
pub(super) fn only<T: Entry>(list: &[T]) -> String {
    /// A message has limits.
    const NAMED: usize = 10;
    let named: Vec<&str> = list.iter().take(NAMED).map(Entry::text).collect();
    match (named.as_slice(), list.len().saturating_sub(NAMED)) {
        ([], _) => NONE.to_owned(),
        (_, 0) => format!("only {}", named.join(", ")),
        (_, more) => format!("only {} and {more} more", named.join(", ")),
    }
}

/// The name of an ingress class.
impl Entry for String {
    fn parse(text: &str) -> Result<Self, String> {
        let valid = text.len() <= 253
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.');
        if valid { Ok(text.to_owned()) } else { Err("it is no name of an object".to_owned()) }
    }

    fn text(&self) -> &str {
        self
    }
}
