//! Durations, as flags, manifests and stored objects have them.

use std::time::Duration;

use phasegate::api::StartRetries;
use phasegate::decide::human;
use phasegate::parse;
use serde_json::json;

/// The input is a duration.
pub fn target(input: &[u8]) {
    let Some(text) = crate::text(input) else { return };
    // Where an object is read, it is one or it is none.
    let stored: Result<StartRetries, _> = serde_json::from_value(json!({ "limit": 1, "backoff": text }));
    let Ok(asked) = parse::duration(text) else { return };
    let read = stored.expect("what a flag takes is read in an object, too").backoff.map(Duration::from);
    assert_eq!(read, Some(asked), "{text:?} is one thing in a flag and another in an object");
    assert!(asked >= Duration::from_secs(1));
    if asked.as_secs() < 3_600 * 1_000_000 {
        let told = human(asked);
        assert_eq!(parse::duration(&told), Ok(Duration::from_secs(asked.as_secs())), "{text:?} is told as {told:?}");
    }
}
