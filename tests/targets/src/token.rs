//! Where a change stream goes on, as a document of the operator's own collection says it. Whoever may write there may write
//! anything.

use mongodb::bson::{self, Document, doc};
use mongodb::change_stream::event::ResumeToken;
use phasegate::registry::store::token_in;

/// The input is that document.
pub fn target(input: &[u8]) {
    let Ok(kept) = Document::from_reader(input) else { return };
    let Some(token) = token_in(&kept) else { return };
    let written = as_kept(&token);
    let again = token_in(&written).expect("what was kept can be read");
    // As bytes: a number that is none equals nothing.
    let bytes = |document: &Document| document.to_vec().expect("a document has bytes");
    assert_eq!(bytes(&as_kept(&again)), bytes(&written), "a token that is kept is another one");
}

fn as_kept(token: &ResumeToken) -> Document {
    doc! { "token": bson::serialize_to_bson(token).expect("what was read can be kept") }
}
