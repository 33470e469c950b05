//! Links within the repository lead to an existing file and heading.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{BOOK, REPOSITORY, documents, files, lines, read};
use crate::harness::root;

/// A page without code blocks and inline code.
fn prose(page: &str) -> String {
    let text = lines(page).filter(|(_, is_code)| !is_code).map(|(line, _)| line);
    text.map(|line| format!("{}\n", line.split('`').step_by(2).collect::<Vec<_>>().join("code"))).collect()
}

/// The targets of a page's links.
pub fn targets(page: &str) -> Vec<String> {
    let prose = prose(page);
    let rest = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    rest.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors that GitHub and mdBook generate from a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = lines(page).filter(|(line, is_code)| !is_code && line.starts_with('#'));
    let anchors = headings.map(|(heading, _)| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    });
    let numbered = anchors.map(|anchor| {
        let count = seen.entry(anchor.clone()).or_default();
        *count += 1;
        if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
    });
    numbered.collect()
}

/// The error in a link of a document, if any.
fn fault(document: &str, target: &str) -> Option<String> {
    let of_repository = target.strip_prefix(REPOSITORY);
    if of_repository.is_none() && target.contains("://") {
        return None;
    }
    let (path, anchor) =
        of_repository.unwrap_or(target).split_once('#').unwrap_or((of_repository.unwrap_or(target), ""));
    let folder = if of_repository.is_some() { Path::new("") } else { Path::new(document).parent().unwrap() };
    let file = if path.is_empty() { root().join(document) } else { root().join(folder).join(path) };
    let Ok(file) = file.canonicalize() else { return Some("there is no such file".to_owned()) };
    let book = root().join(BOOK).canonicalize().unwrap();
    if of_repository.is_none() && document.starts_with(BOOK) && !file.starts_with(&book) {
        return Some(format!("the book does not have it: write {REPOSITORY}…"));
    }
    if anchor.is_empty() || anchors(&std::fs::read_to_string(file).ok()?).contains(anchor) {
        return None;
    }
    Some("there is no such heading".to_owned())
}

#[test]
fn each_link_of_a_document_leads_to_a_file_and_a_heading_of_the_repository() {
    let mut faults = Vec::new();
    for document in documents() {
        for target in targets(&read(&document)) {
            faults.extend(fault(&document, &target).map(|fault| format!("{document}: {target}: {fault}")));
        }
    }
    assert_eq!(faults, [""; 0]);
}

/// Alerts, forms and manifests link to documents by URL.
#[test]
fn each_address_of_a_document_leads_to_a_file_and_a_heading_of_the_repository() {
    let mut found = vec![root().join("Cargo.toml"), root().join("core/Cargo.toml"), root().join("docs/book.toml")];
    for folder in ["deploy", ".github", "src", "core/src"] {
        files(&root().join(folder), &mut found);
    }
    let mut count = 0;
    for file in found {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        for rest in text.split(REPOSITORY).skip(1) {
            let target = rest.split(|c: char| c.is_whitespace() || "\"'`)>".contains(c)).next().unwrap_or_default();
            // The URL has a placeholder of a template.
            if target.contains('{') {
                continue;
            }
            count += 1;
            assert_eq!(fault("", &format!("{REPOSITORY}{target}")), None, "{}: {target}", file.display());
        }
    }
    assert!(count > 20, "only {count} addresses were found");
}

#[test]
fn what_leads_nowhere_is_found() {
    for (target, words) in [
        ("nowhere.md", "no such file"),
        ("install.md#nowhere", "no such heading"),
        ("#nowhere", "no such heading"),
        ("../../../README.md", "the book does not have it"),
        ("https://github.com/phasegate/phasegate/blob/main/nowhere.md", "no such file"),
    ] {
        let fault = fault("docs/src/how-to/install.md", target).unwrap_or_default();
        assert!(fault.contains(words), "{target}: {fault}");
    }
    for target in ["install.md#with-helm", "#uninstall", "https://example.com/nowhere", "../tutorial.md"] {
        assert_eq!(fault("docs/src/how-to/install.md", target), None, "{target}");
    }
}

#[test]
fn code_is_no_link_and_no_heading() {
    let page = "# A `b` C\n```sh\n# no heading [x](y)\n```\n[a](b) and `[c](d)`\n# A `b` C\n";
    assert_eq!(targets(page), ["b"]);
    assert_eq!(anchors(page), ["a-b-c", "a-b-c-1"].map(str::to_owned).into());
}
