//! The mistakes that `make mutants` plants (tests/planted) apply to the code as it is, and name the test that finds each.

use std::path::PathBuf;
use std::process::Command;

use crate::docs::{files, generated_between};
use crate::harness::root;

const FOLDER: &str = "tests/planted";

/// The test targets of `tests/mutants.sh`, with the folders of their tests.
const TARGETS: [(&str, &[&str]); 4] =
    [("core", &["core/src"]), ("proof", &["proof/src"]), ("lib", &["src"]), ("it", &["tests/it"])];

/// The most mistakes that need a control plane.
const MOST_INTEGRATION: usize = 6;

/// A mistake, as its patch describes it.
struct Mistake {
    name: String,
    what: String,
    target: String,
    test: String,
    patch: String,
}

fn mistakes() -> Vec<Mistake> {
    let mut found = Vec::new();
    files(&root().join(FOLDER), &mut found);
    found.sort();
    let mistake = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        let name = name.strip_suffix(".patch").unwrap_or_else(|| panic!("{name} is no patch")).to_owned();
        let text = std::fs::read_to_string(file).unwrap();
        let (header, patch) = text.split_once("\ndiff --git ").unwrap_or_else(|| panic!("{name} has no header"));
        let value = |key: &str| {
            let values: Vec<&str> = header.lines().filter_map(|line| line.strip_prefix(key)).collect();
            assert_eq!(values.len(), 1, "{name} names one {key:?}");
            values[0].to_owned()
        };
        let what = header.lines().take_while(|line| !line.starts_with("Test: "));
        let what = what.collect::<Vec<_>>().join(" ");
        Mistake { what, target: value("Test: "), test: value("Caught by: "), patch: patch.to_owned(), name }
    };
    found.iter().map(mistake).collect()
}

#[test]
fn every_planted_mistake_applies_to_the_code_as_it_is() {
    for Mistake { name, .. } in mistakes() {
        let file = format!("{FOLDER}/{name}.patch");
        let applied = Command::new("git").current_dir(root()).args(["apply", "--check", &file]).output().unwrap();
        let said = String::from_utf8_lossy(&applied.stderr);
        assert!(applied.status.success(), "{file} does not apply. Plant the mistake again: {said}");
    }
}

#[test]
fn every_planted_mistake_names_a_test_that_exists() {
    for Mistake { name, target, test, .. } in mistakes() {
        let folders = TARGETS.iter().find(|(other, _)| *other == target).map(|(_, folders)| *folders);
        let folders = folders.unwrap_or_else(|| panic!("{name} names the target {target:?}"));
        let mut sources = Vec::new();
        folders.iter().for_each(|folder| files(&root().join(folder), &mut sources));
        let function = format!("fn {}(", test.rsplit("::").next().unwrap());
        let has_it = |file: &PathBuf| std::fs::read_to_string(file).is_ok_and(|text| text.contains(&function));
        assert!(sources.iter().any(has_it), "{name}: {target} has no test {test}");
    }
}

#[test]
fn the_mistakes_are_many_and_in_the_operators_code() {
    let mistakes = mistakes();
    assert!(mistakes.len() >= 30, "only {}", mistakes.len());
    for Mistake { name, what, patch, .. } in &mistakes {
        assert!(what.ends_with('.'), "{name} says what the mistake is: {what:?}");
        let changed: Vec<&str> = patch.lines().filter_map(|line| line.strip_prefix("+++ b/")).collect();
        let is_the_operators = |file: &&str| !file.contains("tests") && !file.starts_with("proof");
        assert!(!changed.is_empty() && changed.iter().all(is_the_operators), "{name} changes {changed:?}");
    }
    let integration = mistakes.iter().filter(|mistake| mistake.target == "it").count();
    assert!(integration <= MOST_INTEGRATION, "{integration} mistakes need a control plane");
}

#[test]
fn the_page_lists_every_planted_mistake() {
    let mut table = "| mistake | what it is | found by |\n|---|---|---|\n".to_owned();
    for (target, _) in TARGETS {
        for Mistake { name, what, test, .. } in mistakes().iter().filter(|mistake| mistake.target == target) {
            table += &format!("| `{name}` | {what} | {target}: `{test}` |\n");
        }
    }
    generated_between("docs/src/explanation/mistakes.md", "planted", &table);
}
