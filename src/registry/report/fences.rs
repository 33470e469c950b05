//! Fences of the writes to documents, as parts of their filters.
//!
//! **Architecture invariant:** a fence is part of the filter of a write, so that the database checks it
//! atomically.

use mongodb::bson::{DateTime, Document, doc};

use crate::registry::document::{ACTIVE, DELETED};

/// The fence of a report: the same object, and an earlier transition.
pub fn reports(gateway_id: &str, uid: &str, seq: i64) -> Document {
    doc! { "gatewayId": gateway_id, "uid": uid, "seq": { "$lt": seq } }
}

/// The fence of a record: no object is recorded, or one that was not created later. A document without a number
/// is recorded again. An object created after `earlier` cannot be recorded yet, since an existing object was
/// there all the time and caches have had the time to show it; nor can one from the future, after `later`.
pub fn takes_over(gateway_id: &str, uid: &str, earlier: DateTime, later: DateTime) -> Document {
    doc! {
        "gatewayId": gateway_id,
        "$or": [
            { "uid": null },
            { "uid": uid, "seq": null },
            { "uid": { "$ne": uid }, "recordedAt": null },
            { "uid": { "$ne": uid }, "recordedAt": { "$lte": earlier } },
            { "uid": { "$ne": uid }, "recordedAt": { "$gt": later } },
        ],
    }
}

/// The fence of a switch: documents that were never switched, that another object switched, or that have an
/// earlier transition of this one.
pub fn switches(gateway_id: &str, names: &[String], active: bool, uid: &str, seq: i64) -> Document {
    let state = if active {
        doc! { "$nin": [ACTIVE, DELETED] }
    } else {
        doc! { "$eq": ACTIVE }
    };
    doc! {
        "gatewayId": gateway_id,
        "name": { "$in": names },
        "state": state,
        "$or": [{ "uid": null }, { "uid": { "$ne": uid } }, { "seq": null }, { "seq": { "$lte": seq } }],
    }
}
