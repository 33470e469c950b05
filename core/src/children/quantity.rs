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
        (Some(a), Some(b)) => same(a, b),
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
    matches!((quantity(one), quantity(other)), (Some(one), Some(other)) if one > other && !same(one, other))
}

/// Whether two numbers are one, computed on different ways: `3n` and `0.003u`.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 4.0 * f64::EPSILON * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_quantity_are_none_that_is_more() {
        for (a, b) in [("3n", "0.003u"), ("0.1Gi", "107374182.4"), ("1000m", "1"), ("0.3", "300m"), ("1E", "1e18")] {
            assert!(same_quantity(&a.into(), &b.into()), "{a} and {b}");
            assert_eq!((more(a, b), more(b, a)), (false, false), "{a} and {b}");
        }
        assert!(more("999999999n", "999999998n") && !more("999999998n", "999999999n"));
    }

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
