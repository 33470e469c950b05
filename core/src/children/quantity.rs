//! Compares quantities by value: `1000m` and `1` are equal.

use serde_json::Value;

use crate::parse::quantity::quantity;

/// Whether the field at a path is a quantity.
pub(super) fn is_quantity(path: &str) -> bool {
    // Names of extended resources contain a slash.
    path.contains("/limits/")
        || path.contains("/requests/")
        || path.ends_with("/sizeLimit")
        || path.ends_with("/divisor")
}

/// Whether two quantities are the same number. The API server rewrites `1000m` as `1`.
pub(super) fn same_quantity(a: &Value, b: &Value) -> bool {
    match (a.as_str().and_then(quantity), b.as_str().and_then(quantity)) {
        (Some(a), Some(b)) => same(a, b),
        _ => false,
    }
}

/// The quantity that the API server stores for this one, if it differs: it rounds up to thousandths.
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

/// Whether two numbers are equal except for rounding: `3n` and `0.003u`.
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
