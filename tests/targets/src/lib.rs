//! What is fuzzed: what reads others' bytes, and what has to hold of it whatever they are. `cargo fuzz` calls these functions (the
//! folder `fuzz`), and so does the test that replays the seeds.
//!
//! A target fails by a panic: its own, since something does not hold, or that of what it calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod children;
pub mod document;
pub mod duration;
pub mod image;
pub mod manifest;
pub mod quantity;
pub mod status;
pub mod token;

/// What is done with an input.
pub type Target = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: [(&str, Target); 8] = [
    ("children", children::target),
    ("document", document::target),
    ("duration", duration::target),
    ("image", image::target),
    ("manifest", manifest::target),
    ("quantity", quantity::target),
    ("status", status::target),
    ("token", token::target),
];

/// An input as text, where it is one.
fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}
