//! Parsers for the texts that flags, documents and manifests share.
//!
//! **Architecture invariant:** this module imports nothing of this crate. A text is valid for flags, documents
//! and manifests alike, or for none of them.

pub mod quantity;

use std::str::FromStr;
use std::time::Duration;

/// Parses a duration as the API writes it (`90s`, `5m`, `1h30m`). The minimum is one second.
///
/// # Errors
/// A message that says what is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let no_duration = || "must be a duration such as 90s, 5m or 1h30m".to_owned();
    // The same bounds as the schema of the spec.
    let bounded = text.len() <= 20
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
        && text.split(|c: char| !c.is_ascii_digit()).all(|digits| digits.len() <= 6);
    if !bounded {
        return Err(no_duration());
    }
    let parsed = stored_duration(text).ok_or_else(no_duration)?;
    if Duration::from(parsed) < Duration::from_secs(1) {
        return Err("must be at least 1s".to_owned());
    }
    Ok(parsed.into())
}

/// Parses a duration that no schema has bounded, so that it can be stored or printed. kube's own parser panics
/// on a negative or overflowing duration.
pub fn stored_duration(text: &str) -> Option<kube::core::Duration> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | 'µ' | 'μ');
    let bounded = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.chars().all(is_part)
        && text.split(|c: char| !c.is_ascii_digit()).all(|digits| digits.len() <= 12);
    bounded.then(|| kube::core::Duration::from_str(text).ok()).flatten()
}

/// Parses `KEY=VALUE`.
///
/// # Errors
/// A message that says what is wrong with the text.
pub fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}

/// Parses a namespace name, or the empty text: an empty environment variable counts as unset.
///
/// # Errors
/// A message that says what is wrong with the name.
pub fn namespace_or_nothing(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { namespace(text) }
}

/// Parses a namespace name: a DNS-1123 label.
///
/// # Errors
/// A message that says what is wrong with the name.
pub fn namespace(text: &str) -> Result<String, String> {
    if is_dns_1123_label(text) { Ok(text.to_owned()) } else { Err("must be a valid namespace name".to_owned()) }
}

/// Parses a name that begins with a letter, as a Service's name must: a DNS-1035 label.
///
/// # Errors
/// A message that says what is wrong with the name.
pub fn label(text: &str) -> Result<String, String> {
    let valid = is_dns_1123_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
    let wrong = || {
        "must be at most 63 lower-case letters, digits and '-', begin with a letter and end with a letter or digit"
            .to_owned()
    };
    if valid { Ok(text.to_owned()) } else { Err(wrong()) }
}

fn is_dns_1123_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 63 && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_begins_with_a_letter_and_a_namespace_may_begin_with_a_digit() {
        for text in ["a", "shop", "shop-1", "a--b", &"a".repeat(63)] {
            assert_eq!((namespace(text), label(text)), (Ok(text.to_owned()), Ok(text.to_owned())));
        }
        assert_eq!(namespace("1-shop"), Ok("1-shop".to_owned()));
        assert!(label("1-shop").is_err());
    }

    #[test]
    fn a_duration_that_is_stored_is_read_or_is_none_and_nothing_panics() {
        for (text, nanos) in
            [("1h30m", 5_400_000_000_000), ("3599996400.5s", 3_599_996_400_500_000_000), ("1µs", 1_000)]
        {
            assert_eq!(stored_duration(text).map(|read| Duration::from(read).as_nanos()), Some(nanos), "{text}");
        }
        let long = "9".repeat(400) + "h";
        for text in ["", "-1s", "1h-2h", "1e30h", "9999999999999h", "infs", "nans", "NaNh", "1", "1y", "--", &long] {
            assert_eq!(stored_duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_kubernetes_does_not_take_as_a_name_is_neither_a_label_nor_a_namespace() {
        for text in ["", "-a", "a-", "-", "Shop", "a_b", "a.b", "ä", "a b", &"a".repeat(64)] {
            assert!(label(text).is_err(), "{text}");
            assert!(namespace(text).is_err(), "{text}");
        }
    }
}
