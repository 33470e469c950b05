//! The seeds, replayed once; and inputs that are large or deep, which take no longer than they are long.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use phasegate_targets::TARGETS;

/// How large an input may be.
const LARGE: usize = 64 << 10;
/// What a large one takes is some hundredths of a second; what grows with its square takes minutes.
const BOUND: Duration = Duration::from_secs(20);

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(of)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The inputs that are kept of a target.
fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder("seeds").join(name)).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_target_has_seeds_and_a_file_for_cargo_fuzz() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("seeds")), targets);
    assert_eq!(names(&folder("fuzz_targets")), targets);
}

#[test]
fn what_has_to_hold_holds_of_every_seed() {
    for (name, target) in TARGETS {
        for (path, seed) in seeds(name) {
            println!("{}", path.display());
            target(&seed);
        }
    }
}

#[test]
fn large_and_deep_inputs_take_no_longer_than_they_are_long() {
    const PARTS: [&str; 16] = [
        "[",
        "{\"a\":",
        "{\"spec\":",
        "- ",
        "a: &a\n",
        "9",
        "1e9",
        "1h",
        "a/",
        ":",
        "\n",
        "é",
        "\u{1b}[",
        "\"",
        "1Ki\n",
        "a.",
    ];
    for (name, target) in TARGETS {
        let parts = PARTS.map(|part| part.as_bytes().to_vec());
        for part in parts.into_iter().chain(seeds(name).into_iter().map(|(_, seed)| seed)) {
            let large: Vec<u8> = part.iter().copied().cycle().take(if part.is_empty() { 0 } else { LARGE }).collect();
            let begun = Instant::now();
            target(&large);
            assert!(
                begun.elapsed() < BOUND,
                "{name}: {:?} of {:.80?}",
                begun.elapsed(),
                String::from_utf8_lossy(&part)
            );
        }
    }
}
