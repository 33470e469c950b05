//! The fences of the writes to documents, each a part of its filter.

use mongodb::bson::{DateTime, Document, doc};

use crate::registry::document::{ACTIVE, DELETED};

/// The fence of a report: the same object, and an earlier transition.
pub fn reports(gateway_id: &str, uid: &str, seq: i64) -> Document {
    doc! { "gatewayId": gateway_id, "uid": uid, "seq": { "$lt": seq } }
}

/// The fence of a record: nobody's document, or that of an object that was not created later. A document
/// whose number was taken away is recorded again; and one that records an object from the future (after `tomorrow`) records none.
pub fn takes_over(gateway_id: &str, uid: &str, created: DateTime, tomorrow: DateTime) -> Document {
    doc! {
        "gatewayId": gateway_id,
        "$or": [
            { "uid": null },
            { "uid": uid, "seq": null },
            { "uid": { "$ne": uid }, "recordedAt": null },
            { "uid": { "$ne": uid }, "recordedAt": { "$lte": created } },
            { "uid": { "$ne": uid }, "recordedAt": { "$gt": tomorrow } },
        ],
    }
}

/// The fence of a switch: documents that nobody has switched, that another object has, or an earlier
/// transition of this one.
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
