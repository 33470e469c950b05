//! The state machine as a Mermaid diagram, generated from [`EDGES`].
//!
//! **Architecture invariant:** nodes and arrows follow from [`EDGES`] alone, and labels from [`Place`].

use std::collections::BTreeSet;
use std::fmt::Write;

use super::phase::EDGES;
use super::place::Place;

/// Returns the diagram. The output is deterministic; a test compares the published diagram with it.
pub fn mermaid() -> String {
    let mut text = "stateDiagram-v2\n".to_owned();
    let places: BTreeSet<Place> = EDGES.iter().flat_map(|(from, to)| [*from, *to]).collect();
    for place in places {
        if let Some(label) = label(place) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "    {place:?}: {label}");
        }
    }
    for (from, to) in EDGES {
        let _ = writeln!(text, "    {} --> {}", node(*from), node(*to));
    }
    text
}

/// `status.phase` and `status.state` at a node; `None` before the first transition.
fn label(place: Place) -> Option<String> {
    let (phase, state) = (place.phase()?, place.state()?);
    Some(match place {
        // A gateway that has not begun has no state yet.
        Place::Created => phase.to_string(),
        _ => format!("{phase}, state {}", state.as_str()),
    })
}

fn node(place: Place) -> String {
    match place {
        Place::New => "[*]".to_owned(),
        place => format!("{place:?}"),
    }
}
