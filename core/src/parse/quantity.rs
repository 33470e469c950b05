//! Bounded Kubernetes quantities. Kubernetes computes with every digit of a quantity: `1e9999999` keeps the API
//! server busy for minutes, and no timeout ends it. This module therefore rejects quantities that are longer
//! than any real one.
//!
//! **Architecture invariant:** no number is computed before its length is checked.

/// A quantity that Kubernetes computes at once: up to 19 digits, 18 decimals, and a suffix or an exponent of
/// two digits.
pub const PATTERN: &str =
    "^[+]?([0-9]{1,19}([.][0-9]{0,18})?|[.][0-9]{1,18})([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$";

/// The longest such quantity, in characters.
pub const LONGEST: usize = 43;

const DIGITS: usize = 19;
const DECIMALS: usize = 18;
const EXPONENT_DIGITS: usize = 2;

const SUFFIXES: &[(&str, f64)] = &[
    ("", 1.0),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// Returns the approximate value of a quantity; `None` if the text is no quantity or is outside the bounds.
pub fn quantity(text: &str) -> Option<f64> {
    if text.len() > LONGEST {
        return None;
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let bounded = whole.len() <= DIGITS && decimals.len() <= DECIMALS && whole.len() + decimals.len() > 0;
    if !bounded || decimals.contains('.') {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    match SUFFIXES.iter().find(|(known, _)| *known == suffix) {
        Some((_, factor)) => Some(number * factor),
        None => Some(number * 10_f64.powi(exponent(suffix)?)),
    }
}

fn exponent(suffix: &str) -> Option<i32> {
    let signed = suffix.strip_prefix(['e', 'E'])?;
    let digits = signed.strip_prefix(['+', '-']).unwrap_or(signed);
    let bounded = (1..=EXPONENT_DIGITS).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit());
    if bounded { signed.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same texts go to a real API server in `refusals`.
    #[test]
    fn what_kubernetes_computes_at_once_is_a_quantity() {
        for (text, number) in [
            ("0", 0.0),
            ("1", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("+2", 2.0),
            ("250m", 0.25),
            ("100u", 1e-4),
            ("5n", 5e-9),
            ("64Mi", 67_108_864.0),
            ("2E", 2e18),
            ("2Ei", 2_305_843_009_213_693_952.0),
            ("1e3", 1000.0),
            ("1E3", 1000.0),
            ("1e+03", 1000.0),
            ("1e-3", 0.001),
            ("9223372036854775807", 9_223_372_036_854_775_807.0),
            ("+9999999999999999999.999999999999999999e-99", 1e-80),
        ] {
            let found = quantity(text).unwrap_or(f64::NAN);
            assert!((found - number).abs() <= number.abs() * 1e-12, "{text}: {found}");
        }
    }

    #[test]
    fn what_would_keep_somebody_computing_is_none_nor_is_what_is_no_number() {
        let long = ["9".repeat(20), format!("0.{}", "1".repeat(19)), "0".repeat(1_000_000)];
        let texts = [
            "1e9999999",
            "1e999999",
            "1e100",
            "1e-100",
            "1E+100",
            "1e000",
            "1e",
            "1e+",
            "1e1.5",
            "e3",
            "",
            ".",
            "+",
            "1..2",
            "1.2.3",
            "-1",
            "1 ",
            " 1",
            "1Kib",
            "1ki",
            "1K",
            "1Zi",
            "0x10",
            "inf",
            "nan",
            "infinity",
            "１",
            "1e１",
            "1\n",
        ];
        for text in texts.into_iter().chain(long.iter().map(String::as_str)) {
            assert_eq!(quantity(text), None, "{:.40}", text);
        }
    }
}
