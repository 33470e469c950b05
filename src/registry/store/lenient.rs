//! Tolerates invalid UTF-8. A server stores it, and the driver would fail the whole batch, or every attempt to
//! resume a change stream.

/// Replaces bytes that are no UTF-8 with replacement characters.
pub use mongodb::bson::Utf8Lossy as Lenient;
use mongodb::bson::error::Result;
use mongodb::bson::{Document, RawDocument};

/// Decodes a document as it was sent.
///
/// # Errors
/// If it is no BSON.
pub fn document(raw: &RawDocument) -> Result<Document> {
    Lenient::<Document>::try_from(raw).map(|Lenient(document)| document)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use mongodb::bson::{self, doc};
    use mongodb::change_stream::event::ChangeStreamEvent;

    use super::*;

    /// The same bytes, with the text `odd` as three that are no UTF-8.
    fn spoiled(document: &Document) -> Vec<u8> {
        let mut bytes = bson::serialize_to_vec(document).unwrap();
        while let Some(at) = bytes.windows(3).position(|window| window == b"odd") {
            bytes[at..at + 3].copy_from_slice(&[0xff, 0xfe, 0xfd]);
        }
        bytes
    }

    #[test]
    fn a_text_that_is_no_utf_8_is_read_and_so_is_the_rest() {
        let bytes = spoiled(&doc! { "gatewayId": "shop", "console": "odd", "spec": { "image": "odd" } });
        let raw = RawDocument::from_bytes(&bytes).unwrap();
        assert!(Document::try_from(raw).is_err(), "the driver's own way");
        let read = document(raw).unwrap();
        assert_eq!(read.get_str("gatewayId").unwrap(), "shop");
        assert!(read.get_str("console").unwrap().contains('\u{fffd}'));
    }

    #[test]
    fn a_change_stream_goes_on_over_one() {
        let event = doc! {
            "_id": { "_data": "82" }, "operationType": "update", "documentKey": { "_id": 1 },
            "updateDescription": { "updatedFields": { "console": "odd" }, "removedFields": [] },
            "fullDocument": { "_id": 1, "console": "odd" },
        };
        let bytes = spoiled(&event);
        assert!(bson::deserialize_from_slice::<ChangeStreamEvent<Document>>(&bytes).is_err());
        let Lenient(read) = bson::deserialize_from_slice::<Lenient<ChangeStreamEvent<Document>>>(&bytes).unwrap();
        assert_eq!(read.document_key, Some(doc! { "_id": 1 }));
    }
}
