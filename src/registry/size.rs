//! Size limits of documents. Pure.
//!
//! A database accepts 16 MiB in one document. No Kubernetes object could hold that much, and all documents are
//! kept in memory.
//!
//! **Architecture invariant:** `fits` stops counting at the limit. A larger document takes no longer to check
//! than the largest that fits.

use mongodb::bson::Bson;

/// A size limit.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// In bytes.
    pub bytes: usize,
    /// The cost of each value besides its own text.
    each: usize,
    /// The cost of each key besides its own text.
    key: usize,
}

/// The limit of a document, by its size in memory; short values take ten times their size in the database. A
/// Kubernetes object has the same limit.
pub const DOCUMENT: Limit = Limit { bytes: 1024 * 1024, each: size_of::<Bson>(), key: size_of::<String>() + 48 };
/// The limit of a filter's value. Numbers and dates are small.
pub const FENCE: Limit = Limit { bytes: 1024, each: 16, key: 0 };
/// The deepest nesting. A gateway's spec is nested five deep.
pub const DEEPEST: usize = 32;

/// The size from which a document counts as large.
pub const LARGE: usize = 16 * 1024;
/// The total size of a collection's large documents. Small documents always fit, so that a tenant's large ones
/// do not displace another's small one.
pub const ALL_LARGE: usize = 64 * 1024 * 1024;

/// The memory that is left for large documents.
#[derive(Clone, Copy, Debug)]
pub struct MemoryBudget {
    left: usize,
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self { left: ALL_LARGE }
    }
}

impl MemoryBudget {
    /// Reserves memory for a document. Returns whether it fits.
    pub fn take(&mut self, size: usize) -> bool {
        if size <= LARGE {
            return true;
        }
        let left = self.left.checked_sub(size);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// Releases the memory of a document.
    pub fn release(&mut self, size: usize) {
        if size > LARGE {
            self.left = self.left.saturating_add(size).min(ALL_LARGE);
        }
    }

    /// Whether a document of any size fits.
    pub fn has_room(&self) -> bool {
        self.left >= DOCUMENT.bytes
    }
}

/// The total size of values in memory.
pub fn of<'a>(values: impl IntoIterator<Item = &'a Bson>) -> usize {
    let all = Limit { bytes: usize::MAX, ..DOCUMENT };
    let mut left = all.bytes;
    // No value is nested deeper, or it would not have been decoded.
    values.into_iter().all(|value| takes(value, all, &mut left, DEEPEST));
    all.bytes - left
}

/// Whether values are within a limit together, and nested no deeper than [`DEEPEST`].
pub fn fits<'a>(values: impl IntoIterator<Item = &'a Bson>, limit: Limit) -> bool {
    let mut left = limit.bytes;
    values.into_iter().all(|value| takes(value, limit, &mut left, DEEPEST))
}

fn takes(value: &Bson, limit: Limit, left: &mut usize, depth: usize) -> bool {
    let (own, depth_left) = match value {
        Bson::String(text) | Bson::Symbol(text) | Bson::JavaScriptCode(text) => (text.len(), Some(depth)),
        Bson::Binary(binary) => (binary.bytes.len(), Some(depth)),
        Bson::RegularExpression(regex) => (regex.pattern.as_str().len() + regex.options.as_str().len(), Some(depth)),
        Bson::JavaScriptCodeWithScope(code) => (code.code.len(), depth.checked_sub(1)),
        Bson::Document(_) | Bson::Array(_) => (0, depth.checked_sub(1)),
        _ => (0, Some(depth)),
    };
    let (Some(rest), Some(depth)) = (left.checked_sub(own.saturating_add(limit.each)), depth_left) else {
        return false;
    };
    *left = rest;
    let keyed = |left: &mut usize, key: &str, value: &Bson| {
        let rest = left.checked_sub(key.len().saturating_add(limit.key));
        *left = rest.unwrap_or_default();
        rest.is_some() && takes(value, limit, left, depth)
    };
    match value {
        Bson::Document(document) => document.iter().all(|(key, value)| keyed(left, key, value)),
        Bson::JavaScriptCodeWithScope(code) => code.scope.iter().all(|(key, value)| keyed(left, key, value)),
        Bson::Array(list) => list.iter().all(|value| takes(value, limit, left, depth)),
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
    fn large_ones_have_so_much_room_together_and_small_ones_their_own() {
        let mut budget = MemoryBudget::default();
        let size = of([&Bson::from("x".repeat(1_000_000))]);
        assert!((1_000_000..1_000_200).contains(&size), "{size}");
        let taken = (0..100).take_while(|_| budget.take(size)).count();
        assert_eq!(taken, 67);
        assert!(budget.take(LARGE) && !budget.take(size) && !budget.has_room());
        budget.release(LARGE);
        budget.release(size);
        assert!(budget.take(size) && !budget.take(size));
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

    #[test]
    fn a_document_of_nothing_but_small_values_is_as_large_as_it_is_in_memory() {
        let nulls = |count: usize| Bson::Array(vec![Bson::Null; count]);
        let keys = |count: usize| -> Bson {
            Bson::Document((0..count).map(|number| (number.to_string(), Bson::Null)).collect())
        };
        assert!(fits([&nulls(5_000)], DOCUMENT) && fits([&keys(3_000)], DOCUMENT));
        assert!(!fits([&nulls(20_000)], DOCUMENT) && !fits([&keys(10_000)], DOCUMENT));
    }
}
