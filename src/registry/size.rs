//! How much of a document there may be. Pure.
//!
//! A database takes 16 MiB in one document; no object in Kubernetes could have so much, and all that is read of documents is kept in
//! memory.

use mongodb::bson::Bson;

/// What is read of a document, in bytes. An object in Kubernetes has at most as much.
pub const DOCUMENT: usize = 1024 * 1024;
/// What a filter asks for, in bytes.
pub const FENCE: usize = 1024;
/// How deep documents and lists may be nested in each other. What a gateway's spec has is five deep.
pub const DEEPEST: usize = 32;

/// Whether values have at most `limit` bytes together, and are nested no deeper than [`DEEPEST`].
pub fn fits<'a>(values: impl IntoIterator<Item = &'a Bson>, limit: usize) -> bool {
    let mut left = limit;
    values.into_iter().all(|value| takes(value, &mut left, DEEPEST))
}

fn takes(value: &Bson, left: &mut usize, depth: usize) -> bool {
    /// What a number, a moment or an end takes.
    const LITTLE: usize = 16;
    let (own, depth_left) = match value {
        Bson::String(text) | Bson::Symbol(text) | Bson::JavaScriptCode(text) => (text.len(), Some(depth)),
        Bson::Binary(binary) => (binary.bytes.len(), Some(depth)),
        Bson::RegularExpression(regex) => (regex.pattern.as_str().len() + regex.options.as_str().len(), Some(depth)),
        Bson::JavaScriptCodeWithScope(code) => (code.code.len(), depth.checked_sub(1)),
        Bson::Document(_) | Bson::Array(_) => (0, depth.checked_sub(1)),
        _ => (0, Some(depth)),
    };
    let (Some(rest), Some(depth)) = (left.checked_sub(own.saturating_add(LITTLE)), depth_left) else { return false };
    *left = rest;
    let keyed = |left: &mut usize, key: &str, value: &Bson| {
        let rest = left.checked_sub(key.len());
        *left = rest.unwrap_or_default();
        rest.is_some() && takes(value, left, depth)
    };
    match value {
        Bson::Document(document) => document.iter().all(|(key, value)| keyed(left, key, value)),
        Bson::JavaScriptCodeWithScope(code) => code.scope.iter().all(|(key, value)| keyed(left, key, value)),
        Bson::Array(list) => list.iter().all(|value| takes(value, left, depth)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::doc;

    #[test]
    fn what_is_larger_than_its_limit_does_not_fit_whatever_it_is_made_of() {
        let long = "x".repeat(2_000);
        let keys: Bson = doc! { &long: 1 }.into();
        let many: Bson = Bson::Array(vec![Bson::Null; 100]);
        for value in [Bson::from(long.as_str()), keys, many, doc! { "a": [{ "b": &long }] }.into()] {
            assert!(!fits([&value], FENCE), "{value}");
            assert!(fits([&value], DOCUMENT));
        }
        assert!(fits([&Bson::from("Running"), &Bson::Int64(1), &doc! { "$gt": "" }.into()], FENCE));
        let half = Bson::from("x".repeat(600));
        assert!(fits([&half], FENCE) && !fits([&half, &half], FENCE), "together");
    }

    #[test]
    fn what_is_nested_too_deep_does_not_fit() {
        let nested = |depth: usize| (0..depth).fold(Bson::Null, |inner, _| doc! { "a": inner }.into());
        let listed = |depth: usize| (0..depth).fold(Bson::Null, |inner, _| Bson::Array(vec![inner]));
        for value in [nested(DEEPEST), listed(DEEPEST)] {
            assert!(fits([&value], DOCUMENT));
        }
        for value in [nested(DEEPEST + 1), listed(DEEPEST + 1)] {
            assert!(!fits([&value], DOCUMENT));
        }
    }
}
