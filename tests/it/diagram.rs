//! The README's diagram and failure table follow from the code.

use phasegate::api::Reason;
use phasegate::decide::diagram::mermaid;

use crate::contract::generates;
use crate::harness::root;

const BEGIN: &str = "<!-- diagram -->\n";
const END: &str = "<!-- /diagram -->";

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

#[test]
fn readmes_diagram_is_that_of_the_edges() {
    let readme = readme();
    let (before, rest) = readme.split_once(BEGIN).expect("README.md has the line <!-- diagram -->");
    let (block, after) = rest.split_once(END).expect("README.md has the line <!-- /diagram --> after it");
    let drawn = format!("```mermaid\n{}\n```\n", mermaid().trim_end());
    if generates() {
        let readme = format!("{before}{BEGIN}{drawn}{END}{after}");
        std::fs::write(root().join("README.md"), readme).unwrap();
        return;
    }
    assert!(block == drawn, "README.md's diagram is not that of the edges: run make generate");
}

/// The reasons that the table below the heading `Reasons` has, in its order; a row may have several.
fn reasons_in(readme: &str) -> Vec<&str> {
    let (_, below) = readme.split_once("\n### Reasons\n").expect("README.md has the heading Reasons");
    let chapter = below.split("\n#").next().unwrap_or_default();
    let rows = chapter.lines().filter(|line| line.starts_with('|')).skip(2);
    let first_cells = rows.map(|row| row.split('|').nth(1).expect("a row has cells"));
    first_cells.flat_map(|cell| cell.split(',').map(|reason| reason.trim().trim_matches('`'))).collect()
}

#[test]
fn readmes_table_of_reasons_has_each_reason_once_and_no_other() {
    let readme = readme();
    let mut told = reasons_in(&readme);
    let mut all: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    told.sort_unstable();
    all.sort_unstable();
    assert_eq!(told, all, "README.md's table of reasons");
}
