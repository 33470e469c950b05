//! The documents have no broken links, their pages are in the book, and their generated parts match the code.

mod generated;
mod links;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::contract::{code, generates, sources};
use crate::harness::root;

/// The URL of the repository's files for readers of the book.
pub const REPOSITORY: &str = "https://github.com/phasegate/phasegate/blob/main/";

const BOOK: &str = "docs/src";

pub fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The lines of a page, each with whether it is in a code block.
fn lines(page: &str) -> impl Iterator<Item = (&str, bool)> {
    page.lines().scan(false, |is_code, line| {
        let is_fence = line.trim_start().starts_with("```");
        *is_code ^= is_fence;
        Some((line, is_fence || *is_code))
    })
}

fn level(heading: &str) -> usize {
    heading.bytes().take_while(|byte| *byte == b'#').count()
}

/// The text below a heading, up to the next heading of the same or a higher level.
pub fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, below) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let ends = |line: &str| line.starts_with('#') && level(line) <= level(heading);
    let next = lines(below).find(|(line, is_code)| !is_code && ends(line));
    next.map_or(below, |(line, _)| &below[..line.as_ptr() as usize - below.as_ptr() as usize])
}

/// The blocks of shell commands, in order.
pub fn commands(text: &str) -> Vec<String> {
    text.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0.to_owned()).collect()
}

/// The cells of a table row.
pub fn cells(row: &str) -> Vec<&str> {
    row.trim().trim_matches('|').split('|').map(str::trim).collect()
}

/// Asserts that a file is generated from the current code. `make generate` writes it.
fn generated(file: &str, text: &str) {
    if generates() {
        std::fs::write(root().join(file), text).unwrap();
    }
    assert!(read(file) == text, "{file} is not what the code gives: run make generate");
}

/// Asserts the same of a part of a file, between two comments.
pub fn generated_between(file: &str, name: &str, block: &str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let page = read(file);
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("{file} has no line {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{file} has no {end}"));
    generated(file, &format!("{before}{begin}{block}{end}{after}"));
}

/// The Markdown files of a folder and its subfolders, by their path from the root.
fn markdown(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    files(&root().join(folder), &mut found);
    let names = found.iter().map(|file| file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
    names.filter(|name| name.ends_with(".md")).collect()
}

/// The files of a folder and its subfolders.
pub fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// All documents.
fn documents() -> Vec<String> {
    let of_root = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut all: Vec<String> = of_root.filter(|name| name.ends_with(".md")).collect();
    for folder in ["docs", "deploy", "tests", ".github"] {
        all.extend(markdown(folder));
    }
    all.sort();
    all
}

#[test]
fn the_readme_is_read_in_minutes() {
    let count = read("README.md").lines().count();
    assert!((150..=200).contains(&count), "README.md has {count} lines");
}

#[test]
fn each_page_is_in_the_books_summary_once() {
    let summary = read("docs/src/SUMMARY.md");
    let mut listed: Vec<String> = links::targets(&summary).iter().map(|page| format!("{BOOK}/{page}")).collect();
    listed.sort();
    let mut pages = markdown(BOOK);
    pages.retain(|page| !page.ends_with("/SUMMARY.md"));
    pages.sort();
    assert_eq!(listed, pages);
}

/// The README's commands are those of the book's pages, which tests run.
#[test]
fn the_readmes_ways_to_install_are_those_of_the_book() {
    let (readme, book) = (read("README.md"), read("docs/src/how-to/install.md"));
    let blocks = commands(section(&readme, "## Install"));
    assert_eq!(blocks.len(), 2, "Helm, kustomize");
    for line in blocks.iter().flat_map(|block| block.lines()) {
        assert!(book.lines().any(|of_book| of_book == line), "docs/src/how-to/install.md does not have: {line}");
    }
}

/// A path in backticks that begins with one of the repository's folders exists.
#[test]
fn files_that_documents_name_are_there() {
    const FOLDERS: [&str; 9] =
        ["core/", "src/", "tests/", "docs/", "deploy/", "fuzz/", "benches/", "examples/", ".github/"];
    let mut missing = Vec::new();
    for document in documents() {
        let page = read(&document);
        let prose = lines(&page).filter(|(_, is_code)| !is_code).map(|(line, _)| line);
        for path in prose.flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let is_path = FOLDERS.iter().any(|folder| path.starts_with(folder));
            let is_one = !path.contains(['*', ' ', '{', '…']);
            if is_path && is_one && !root().join(path).exists() {
                missing.push(format!("{document}: {path}"));
            }
        }
    }
    assert_eq!(missing, [""; 0]);
}

/// Labels, annotations and finalizers of the project, as defined in the code.
#[test]
fn metadata_of_the_project_is_documented_and_no_other() {
    let mut found = Vec::new();
    for folder in ["core/src", "src"] {
        sources(&root().join(folder), &mut found);
    }
    let names = |text: &str, quote: char| {
        let rest = text.split(&format!("{quote}phasegate.dev/")).skip(1).map(str::to_owned).collect::<Vec<_>>();
        let names = rest.into_iter().map(|rest| rest.split(quote).next().unwrap_or_default().to_owned());
        let is_name = |name: &String| !name.is_empty() && !name.starts_with("v1") && !name.contains([' ', '"', '\\']);
        names.filter(is_name).collect::<BTreeSet<String>>()
    };
    let in_code: BTreeSet<String> =
        found.iter().flat_map(|file| names(&code(&std::fs::read_to_string(file).unwrap()), '"')).collect();
    let documented = names(&read("docs/src/reference/status.md"), '`');
    assert_eq!(documented, in_code, "docs/src/reference/status.md, and the code");
}

/// Each log line that the runbook searches for is one that the operator writes.
#[test]
fn lines_of_the_log_that_the_runbook_looks_for_are_in_the_code() {
    let mut found = Vec::new();
    sources(&root().join("src"), &mut found);
    let code: String = found.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let runbook = read("docs/src/operations/runbook.md");
    let commands = runbook.lines().filter(|line| line.contains(" logs "));
    let looked_for: Vec<&str> = commands.flat_map(|line| line.split("grep '").skip(1)).collect();
    assert!(looked_for.len() >= 4, "{looked_for:?}");
    for words in looked_for.iter().filter_map(|rest| rest.split('\'').next()) {
        assert!(code.contains(words), "no line of the log has: {words}");
    }
}
