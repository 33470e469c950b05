//! Quantities, as far as two spellings of one have to be told from two quantities.

use serde_json::Value;

use crate::parse::quantity::quantity;

/// Whether a quantity stands at a path.
pub(super) fn is_quantity(path: &str) -> bool {
    // The name of an extended resource has a slash.
    path.contains("/limits/")
        || path.contains("/requests/")
        || path.ends_with("/sizeLimit")
        || path.ends_with("/divisor")
}

/// Whether two quantities are the same number: the API server rewrites `1000m` as `1`.
pub(super) fn same_quantity(a: &Value, b: &Value) -> bool {
    match (a.as_str().and_then(quantity), b.as_str().and_then(quantity)) {
        (Some(a), Some(b)) => (a - b).abs() <= f64::EPSILON * a.abs().max(b.abs()),
        _ => false,
    }
}

/// The quantity of a resource that the API server stores for this one, where that is another: it knows no smaller part than a
/// thousandth, and rounds up.
pub fn rounded(text: &str) -> Option<String> {
    let thousandths = quantity(text)? * 1000.0;
    let whole = thousandths.round();
    let is_whole = (thousandths - whole).abs() <= 4.0 * f64::EPSILON * thousandths.abs().max(1.0);
    (!is_whole).then(|| {
        let up = thousandths.ceil();
        if up % 1000.0 == 0.0 { format!("{}", up / 1000.0) } else { format!("{up}m") }
    })
}

/// Whether one quantity is more than another.
pub fn more(one: &str, other: &str) -> bool {
    matches!((quantity(one), quantity(other)), (Some(one), Some(other)) if one > other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_smaller_than_a_thousandth_is_rounded_up() {
        for (asked, stored) in
            [("1.5m", "2m"), ("0.0333", "34m"), ("0.3333333Gi", "357913905542m"), ("100u", "1m"), ("0.9999999", "1")]
        {
            assert_eq!(rounded(asked).as_deref(), Some(stored), "{asked}");
        }
        for whole in ["1000m", ".5", "1e3", "0.1Gi", "0.5", "250m", "1", "64Mi", "0", "100000u", "2E", "none"] {
            assert_eq!(rounded(whole), None, "{whole}");
        }
    }
}
