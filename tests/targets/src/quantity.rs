//! Quantities. Small ones are computed here exactly, and compared with what the operator says.

use std::cmp::Ordering;

use phasegate::children::{difference, more, rounded};
use serde_json::{Value, json};

/// The input is some quantities, a line each.
pub fn target(input: &[u8]) {
    let Some(text) = crate::text(input) else { return };
    let quantities: Vec<&str> = text.lines().take(8).collect();
    for one in &quantities {
        assert!(!more(one, one), "{one:?} is more than itself");
        rounding(one);
        for other in &quantities {
            comparing(one, other);
            for third in quantities.iter().filter(|third| more(one, other) && more(other, third)) {
                assert!(more(one, third), "{one:?} > {other:?} > {third:?}, and not the first than the last");
            }
        }
    }
}

fn rounding(quantity: &str) {
    let Some(stored) = rounded(quantity) else { return };
    if let (Some(asked), Some(stored)) = (exact(quantity), exact(&stored)) {
        assert!(stored > asked && stored - asked < THOUSANDTH, "{quantity:?} is rounded to {stored:?}");
        assert_eq!(stored % THOUSANDTH, 0);
        assert_ne!(asked % THOUSANDTH, 0, "{quantity:?} is rounded");
    }
}

fn comparing(one: &str, other: &str) {
    let order = match (more(one, other), more(other, one)) {
        (true, true) => panic!("{one:?} and {other:?} are more than each other"),
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => Ordering::Equal,
    };
    let limits = |quantity: &str| json!({ "spec": { "limits": { "cpu": Value::from(quantity) } } });
    let same = difference(&limits(one), &limits(other)).is_none();
    assert_eq!(same, difference(&limits(other), &limits(one)).is_none(), "{one:?} and {other:?}");
    if let (Some(a), Some(b)) = (exact(one), exact(other)) {
        assert_eq!(order, a.cmp(&b), "{one:?} and {other:?}");
        assert_eq!(same, a == b, "{one:?} and {other:?}");
    }
}

/// In parts of 10⁻¹⁵.
const ONE: i128 = 1_000_000_000_000_000;
const THOUSANDTH: i128 = ONE / 1_000;

/// A quantity of at most nine digits, where it can be told in whole parts: `None` of any other.
fn exact(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, suffix) = text.split_at(end);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{decimals}");
    if digits.is_empty() || digits.len() > 9 || decimals.contains('.') {
        return None;
    }
    let parts = digits.parse::<i128>().ok()?.checked_mul(scale(suffix)?)?;
    let divisor = 10_i128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    (parts % divisor == 0).then_some(parts / divisor)
}

/// How many parts one of a suffix has.
fn scale(suffix: &str) -> Option<i128> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi"].iter().zip(1..).find(|(known, _)| **known == suffix);
    if let Some((_, power)) = binary {
        return ONE.checked_mul(1_024_i128.checked_pow(power)?);
    }
    let power: i32 = match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            exponent.parse().ok().filter(|power| (-9..=12).contains(power))?
        }
    };
    10_i128.checked_pow(u32::try_from(15 + power).ok()?)
}
