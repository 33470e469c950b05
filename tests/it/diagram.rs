//! The README's diagram, and the book's tables of transitions and reasons, match the code.

use std::collections::BTreeMap;

use phasegate::api::Reason;
use phasegate::decide::diagram::mermaid;

use crate::docs::{cells, generated_between, read};

#[test]
fn readmes_diagram_is_that_of_the_edges() {
    let drawn = format!("```mermaid\n{}\n```\n", mermaid().trim_end());
    generated_between("README.md", "diagram", &drawn);
}

#[test]
fn the_books_transitions_are_those_of_the_edges() {
    generated_between("docs/src/explanation/machine.md", "transitions", &transitions(&mermaid()));
}

/// The diagram as a table, for viewers that do not render diagrams.
fn transitions(diagram: &str) -> String {
    let lines = diagram.lines().map(str::trim);
    let labels: BTreeMap<&str, &str> = lines.clone().filter_map(|line| line.split_once(": ")).collect();
    let label = |node: &str| match node {
        "[*]" => "(a new object)".to_owned(),
        node => labels[node].to_owned(),
    };
    let mut from: Vec<(&str, Vec<String>)> = Vec::new();
    for (node, to) in lines.filter_map(|line| line.split_once(" --> ")) {
        match from.iter_mut().find(|(known, _)| *known == node) {
            Some((_, all)) => all.push(label(to)),
            None => from.push((node, vec![label(to)])),
        }
    }
    let rows = from.into_iter().map(|(node, to)| format!("| {} | {} |\n", label(node), to.join("; ")));
    format!("| from | to |\n|---|---|\n{}", rows.collect::<String>())
}

/// The reasons in the page's tables, in the page's order. A row may have several.
fn reasons_in(page: &str) -> Vec<String> {
    let first_cells = page.lines().filter(|line| line.starts_with("| `")).map(|row| cells(row)[0].to_owned());
    first_cells
        .flat_map(|cell| cell.split(", ").map(|reason| reason.trim_matches('`').to_owned()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn the_books_tables_of_reasons_have_each_reason_once_and_no_other() {
    let page = read("docs/src/reference/reasons.md");
    let mut told = reasons_in(&page);
    let mut all: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    told.sort_unstable();
    all.sort_unstable();
    assert_eq!(told, all, "docs/src/reference/reasons.md");
}
