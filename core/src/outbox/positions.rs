//! Delivered positions as one text, small enough for an annotation.

use std::collections::HashMap;

use crate::children;

/// The longest text. All annotations of an object together have a limit of 256 KiB.
const LONGEST: usize = 240_000;

/// Delivered positions by the token of a gateway's uid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(HashMap<u64, i64>);

/// The token of a uid: 40 bits of its hash. A uid has 36 characters, and thousands of them do not fit.
pub fn token(uid: &str) -> u64 {
    children::hash(&uid).get(..10).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

impl Positions {
    /// Reads positions. What is not a position is left out, so that its gateway's events are sent again. If two
    /// gateways share a token, the lower position counts for both.
    pub fn parse(text: &str) -> Self {
        let mut positions = HashMap::new();
        for (token, sequence) in text.split(',').filter_map(|entry| entry.split_once('=')) {
            if let (Ok(token), Ok(sequence)) = (u64::from_str_radix(token, 16), sequence.parse::<i64>()) {
                let position = positions.entry(token).or_insert(sequence);
                *position = sequence.min(*position);
            }
        }
        Self(positions)
    }

    /// The position of a token.
    pub fn get(&self, token: u64) -> Option<i64> {
        self.0.get(&token).copied()
    }

    /// Writes positions: the text, and how many did not fit.
    pub fn text(positions: impl Iterator<Item = (u64, i64)>) -> (String, usize) {
        let mut sorted: Vec<(u64, i64)> = positions.collect();
        sorted.sort_unstable();
        let (mut text, mut left_out) = (String::new(), 0);
        for (token, sequence) in sorted {
            let entry = format!("{token:010x}={sequence}");
            if text.len() + entry.len() < LONGEST {
                if !text.is_empty() {
                    text.push(',');
                }
                text.push_str(&entry);
            } else {
                left_out += 1;
            }
        }
        (text, left_out)
    }
}
