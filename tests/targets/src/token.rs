//! Where a change stream goes on, as a document of the operator's own collection says it. Whoever may write there may write
//! anything.

use mongodb::bson::{self, Document, doc};
use phasegate::registry::store::token_in;

/// The input is that document.
pub fn target(input: &[u8]) {
    let Ok(kept) = Document::from_reader(input) else { return };
    let Some(token) = token_in(&kept) else { return };
    let written = bson::serialize_to_bson(&token).expect("what was read can be kept");
    assert_eq!(token_in(&doc! { "token": written }), Some(token), "a token that is kept is another one");
}
