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

#[test]
fn readmes_failure_table_has_every_reason() {
    let readme = readme();
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with('|')).collect();
    let missing: Vec<_> =
        Reason::ALL.iter().filter(|reason| !rows.iter().any(|row| row.contains(&format!("`{reason}`")))).collect();
    assert!(missing.is_empty(), "README.md's failure table says nothing about {missing:?}");
}
