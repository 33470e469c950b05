//! The state machine as a Mermaid diagram, drawn from the edges that it may take.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::phase::EDGES;
use super::place::Place;

/// The diagram. The same edges give the same text, so a test can hold the README to it.
pub fn mermaid() -> String {
    let mut text = "stateDiagram-v2\n".to_owned();
    let places: BTreeSet<Place> = EDGES.iter().flat_map(|(from, to)| [*from, *to]).collect();
    for place in places {
        if let Some(label) = label(place) {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "    {place:?}: {label}");
        }
    }
    for (from, to) in EDGES {
        let _ = writeln!(text, "    {} --> {}", node(*from), node(*to));
    }
    text
}

/// What `status.phase` and `status.state` say at a place; nothing before the first transition.
fn label(place: Place) -> Option<String> {
    let (phase, state) = (place.phase()?, place.state()?);
    Some(match place {
        // A gateway that waits to be begun is not held to anything yet.
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
