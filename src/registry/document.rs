//! The platform's documents as types. Pure.
//!
//! **Architecture invariant:** only the fields below are read and written. Whatever else a platform keeps in
//! its documents stays as it is.

use k8s_openapi::jiff::Timestamp;
use mongodb::bson::{self, Bson, DateTime, Document, doc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::size;
use crate::api::State;
use crate::children;

/// The collection of gateways.
pub const GATEWAYS: &str = "ApiGateway";
/// The collection of environments.
pub const ENVIRONMENTS: &str = "Environment";

/// One of the two collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collection {
    /// Documents of gateways.
    Gateways,
    /// Documents of environments.
    Environments,
}

/// `Environment.state` of an environment that is served.
pub const ACTIVE: &str = "Active";
/// `Environment.state` of an environment that is not served.
pub const INACTIVE: &str = "Inactive";
/// The value of `state` with which a platform deletes a gateway or an environment.
pub const DELETED: &str = "Deleted";

/// The fields that are read.
const GATEWAY_FIELDS: &[&str] = &[
    "gatewayId",
    "namespace",
    "name",
    "uid",
    "seq",
    "recordedAt",
    "by",
    "state",
    "phase",
    "spec",
    "error",
    "updatedAt",
];
const ENVIRONMENT_FIELDS: &[&str] = &["gatewayId", "name", "host", "state", "uid", "seq", "error", "updatedAt"];

/// A document of the collection `ApiGateway`.
#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GatewayDocument {
    /// The `_id`.
    #[serde(rename = "_id")]
    pub id: Bson,
    /// The id of the gateway.
    pub gateway_id: String,
    /// The object's namespace. Default: the operator's.
    pub namespace: Option<String>,
    /// The object's name. Default: the gateway's id.
    pub name: Option<String>,
    /// The uid of the recorded object.
    pub uid: Option<String>,
    /// The number of the object's last reported transition.
    pub seq: Option<i64>,
    /// The creation time of the recorded object.
    pub recorded_at: Option<DateTime>,
    /// The operator's last write of `state`.
    pub by: Option<OperatorMark>,
    /// The desired state; after the operator's last write, the state that it enforces.
    pub state: Option<String>,
    /// What the operator is doing.
    pub phase: Option<String>,
    /// The platform's spec, with the field names of the custom resource.
    pub spec: Option<Document>,
    /// The current error.
    pub error: Option<DocumentError>,
    /// When `state` was last written, in whatever type the platform uses.
    pub updated_at: Option<Bson>,
}

/// The operator's mark on its own write. A document that still equals it requests nothing.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OperatorMark {
    /// The operator that wrote it.
    pub operator: String,
    /// The transition that it reported.
    pub seq: i64,
    /// The `state` that it wrote.
    pub state: String,
    /// The `updatedAt` that it wrote.
    pub updated_at: Bson,
    /// The hash of the `spec` at that time.
    pub spec_hash: String,
}

/// An error of a gateway or a document.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// The reason, as one word.
    pub reason: String,
    /// The message, as a sentence.
    pub message: String,
}

/// A document of the collection `Environment`.
#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentDocument {
    /// The `_id`.
    #[serde(rename = "_id")]
    pub id: Bson,
    /// The id of its gateway.
    pub gateway_id: String,
    /// Its name, unique within the gateway.
    pub name: String,
    /// Its own host.
    pub host: Option<String>,
    /// Whether it is served. Only the operator writes it, except for `Deleted`.
    pub state: Option<String>,
    /// The uid of the gateway object that last switched it.
    pub uid: Option<String>,
    /// The number of that object's last transition then.
    pub seq: Option<i64>,
    /// The current error.
    pub error: Option<DocumentError>,
    /// When the platform wrote it.
    pub updated_at: Option<Bson>,
}

/// A document that does not decode. Nothing large is kept of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// The `_id`; null if it is too large for a filter.
    pub id: Bson,
    /// The id of its gateway; empty if it has none.
    pub gateway_id: String,
    /// `state` and `updatedAt` as they are, for filters; only if they are small enough.
    pub fence: Document,
    /// `error` as it is.
    pub error: Option<Bson>,
    /// Why it does not decode.
    pub fault: String,
    /// Whether it is only rejected for lack of memory, which other documents use.
    pub waits_for_room: bool,
}

/// A document that decoded or not.
pub type Read<T> = Result<T, Box<Unreadable>>;

/// What documents of both collections have in common.
pub trait StoredDocument: Sized + Clone + PartialEq {
    /// The fields that are read.
    const FIELDS: &'static [&'static str];

    /// Decodes a document.
    ///
    /// # Errors
    /// The unreadable document, with the reason.
    fn read(document: Document) -> Read<Self>;

    /// The `_id`.
    fn id(&self) -> &Bson;

    /// The id of its gateway.
    fn gateway_id(&self) -> &str;

    /// The uid of the object that last wrote it, and the number of its transition.
    fn written_by(&self) -> (Option<&str>, Option<i64>);

    /// Its size in memory.
    fn size(&self) -> usize;

    /// What is kept of it if the memory budget is exhausted.
    fn without_room(self) -> Box<Unreadable>;
}

/// A projection to the fields that are read.
pub fn projection<T: StoredDocument>() -> Document {
    T::FIELDS.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect()
}

impl StoredDocument for GatewayDocument {
    const FIELDS: &'static [&'static str] = GATEWAY_FIELDS;

    fn read(document: Document) -> Read<Self> {
        let read: Self = decoded(document.clone())?;
        if let Some(fault) = read.spec.as_ref().and_then(|spec| plain(spec, "spec").err()) {
            return Err(unreadable(&document, fault));
        }
        Ok(read)
    }

    fn id(&self) -> &Bson {
        &self.id
    }

    fn gateway_id(&self) -> &str {
        &self.gateway_id
    }

    fn written_by(&self) -> (Option<&str>, Option<i64>) {
        (self.uid.as_deref(), self.seq)
    }

    fn size(&self) -> usize {
        let texts = [&self.namespace, &self.name, &self.state, &self.phase, &self.uid];
        let spec = self.spec.iter().flatten().map(|(key, value)| key.len() + size::of([value]));
        let by = self
            .by
            .as_ref()
            .map_or(0, |by| by.operator.len() + by.state.len() + by.spec_hash.len() + size::of([&by.updated_at]));
        long(texts) + spec.sum::<usize>() + by + error_size(self.error.as_ref()) + size::of(&self.updated_at)
    }

    fn without_room(self) -> Box<Unreadable> {
        let Self { id, gateway_id, state, updated_at, error, .. } = self;
        no_room(id, gateway_id, state, updated_at, error)
    }
}

impl StoredDocument for EnvironmentDocument {
    const FIELDS: &'static [&'static str] = ENVIRONMENT_FIELDS;

    fn read(document: Document) -> Read<Self> {
        decoded(document)
    }

    fn id(&self) -> &Bson {
        &self.id
    }

    fn gateway_id(&self) -> &str {
        &self.gateway_id
    }

    fn written_by(&self) -> (Option<&str>, Option<i64>) {
        (self.uid.as_deref(), self.seq)
    }

    fn size(&self) -> usize {
        let texts = [&self.host, &self.state, &self.uid];
        self.name.len() + long(texts) + error_size(self.error.as_ref()) + size::of(&self.updated_at)
    }

    fn without_room(self) -> Box<Unreadable> {
        let Self { id, gateway_id, state, updated_at, error, .. } = self;
        no_room(id, gateway_id, state, updated_at, error)
    }
}

fn long<const N: usize>(texts: [&Option<String>; N]) -> usize {
    texts.into_iter().flatten().map(String::len).sum()
}

fn error_size(error: Option<&DocumentError>) -> usize {
    error.map_or(0, |error| error.reason.len() + error.message.len())
}

fn no_room(
    id: Bson,
    gateway_id: String,
    state: Option<String>,
    updated_at: Option<Bson>,
    error: Option<DocumentError>,
) -> Box<Unreadable> {
    let mut document = doc! { "_id": id, "gatewayId": gateway_id };
    let fields =
        [("state", state.map(Bson::from)), ("updatedAt", updated_at), ("error", error.as_ref().map(Bson::from))];
    document.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    let fault = format!(
        "the memory for documents larger than {} KiB is used up ({} MiB): make this document or others smaller",
        size::LARGE / 1024,
        size::ALL_LARGE / (1024 * 1024)
    );
    Box::new(Unreadable { waits_for_room: true, ..*unreadable(&document, fault) })
}

fn decoded<T: StoredDocument + for<'de> Deserialize<'de>>(document: Document) -> Read<T> {
    if gateway_id_in(&document).is_empty() {
        return Err(unreadable(&document, format!("gatewayId must be a string of 1 to {LONGEST_ID} characters")));
    }
    if !size::fits(document.get("_id"), size::FENCE) {
        return Err(unreadable(&document, "its _id is too large to query".to_owned()));
    }
    let fields = T::FIELDS.iter().filter_map(|field| document.get(field));
    if !size::fits(fields, size::DOCUMENT) {
        let fault = format!(
            "it is larger than {} KiB or nested more than {} levels deep",
            size::DOCUMENT.bytes / 1024,
            size::DEEPEST
        );
        return Err(unreadable(&document, fault));
    }
    bson::deserialize_from_document(document.clone()).map_err(|_| {
        // The library does not name the field at fault.
        let mends = |field: &&&str| {
            let mut without = document.clone();
            without.remove(field);
            let mut with = without.clone();
            with.insert(**field, "");
            [without, with].into_iter().any(|other| bson::deserialize_from_document::<T>(other).is_ok())
        };
        let fault = match T::FIELDS.iter().find(mends) {
            Some(field) if document.contains_key(field) => format!("{field} has an invalid type"),
            Some(field) => format!("{field} is missing"),
            None => "several fields are missing or have an invalid type".to_owned(),
        };
        unreadable(&document, fault)
    })
}

fn unreadable(document: &Document, fault: String) -> Box<Unreadable> {
    let small = |field: &str| document.get(field).filter(|value| size::fits([*value], size::FENCE)).cloned();
    let is_asked_for = |field: &&str| document.get(field).is_none() || small(field).is_some();
    let fields = ["state", "updatedAt"].into_iter().filter(is_asked_for);
    Box::new(Unreadable {
        id: small("_id").unwrap_or(Bson::Null),
        gateway_id: gateway_id_in(document).to_owned(),
        fence: fields.map(|field| (field.to_owned(), or_null(small(field).as_ref()))).collect(),
        error: small("error"),
        fault,
        waits_for_room: false,
    })
}

/// The gateway's id; empty if it is missing or longer than any valid one.
fn gateway_id_in(document: &Document) -> &str {
    document.get_str("gatewayId").ok().filter(|id| id.len() <= LONGEST_ID).unwrap_or_default()
}

impl GatewayDocument {
    /// Whether the document equals the operator's last write, and so requests nothing.
    pub fn is_our_word(&self) -> bool {
        self.by.as_ref().is_some_and(|by| {
            self.state.as_ref() == Some(&by.state)
                && self.updated_at.as_ref() == Some(&by.updated_at)
                && self.spec_hash() == by.spec_hash
        })
    }

    /// The token of the platform's request: it differs between requests. A new `updatedAt` alone is no request,
    /// since a platform may rewrite its documents at any time.
    pub fn token(&self) -> String {
        let since = self.by.as_ref().map_or_else(|| "-".to_owned(), |by| by.seq.to_string());
        format!("{}:{}:{since}", self.state.as_deref().unwrap_or_default(), self.spec_hash())
    }

    /// The platform's spec as JSON.
    pub fn spec_json(&self) -> Map<String, Value> {
        // It was decoded before.
        self.spec.as_ref().and_then(|spec| plain(spec, "spec").ok()).unwrap_or_default()
    }

    /// The hash of the platform's spec.
    pub fn spec_hash(&self) -> String {
        children::hash(&self.spec_json())
    }
}

/// The longest gateway id, in bytes. It is a key in memory, and the default name of the object.
pub const LONGEST_ID: usize = 253;

/// A document as JSON. Whole numbers become integers, whatever type a driver chose; nulls are omitted.
fn plain(document: &Document, path: &str) -> Result<Map<String, Value>, String> {
    let mut map = Map::new();
    for (key, value) in document {
        if let Some(value) = json(value, &format!("{path}.{key}"))? {
            map.insert(key.clone(), value);
        }
    }
    Ok(map)
}

fn json(value: &Bson, path: &str) -> Result<Option<Value>, String> {
    // Beyond this, a double does not represent every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    Ok(Some(match value {
        Bson::Null | Bson::Undefined => return Ok(None),
        Bson::String(text) => Value::from(text.as_str()),
        Bson::Boolean(is) => Value::from(*is),
        Bson::Int32(number) => Value::from(*number),
        Bson::Int64(number) => Value::from(*number),
        #[allow(clippy::cast_possible_truncation)]
        Bson::Double(number) if number.fract() == 0.0 && number.abs() < EXACT => Value::from(*number as i64),
        Bson::Double(number) if number.is_finite() => Value::from(*number),
        Bson::Double(_) => return Err(format!("{path} is not a JSON number")),
        Bson::Document(inner) => Value::Object(plain(inner, path)?),
        Bson::Array(list) => {
            let mut values = Vec::with_capacity(list.len());
            for (index, item) in list.iter().enumerate() {
                let path = format!("{path}[{index}]");
                values.push(json(item, &path)?.ok_or_else(|| format!("{path} is null"))?);
            }
            Value::Array(values)
        }
        other => return Err(format!("{path} has a type that JSON lacks ({:?})", other.element_type())),
    }))
}

/// JSON as a document. Its keys must be the schema's own: no user's text may become a key.
pub fn document_of(map: &Map<String, Value>) -> Document {
    map.iter().map(|(key, value)| (key.clone(), bson_of(value))).collect()
}

fn bson_of(value: &Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(is) => Bson::Boolean(*is),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => i32::try_from(whole).map_or(Bson::Int64(whole), Bson::Int32),
            None => Bson::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Bson::String(text.clone()),
        Value::Array(list) => Bson::Array(list.iter().map(bson_of).collect()),
        Value::Object(map) => Bson::Document(document_of(map)),
    }
}

impl From<&DocumentError> for Bson {
    fn from(answer: &DocumentError) -> Self {
        Self::Document(doc! { "reason": &answer.reason, "message": &answer.message })
    }
}

impl From<&OperatorMark> for Bson {
    fn from(by: &OperatorMark) -> Self {
        Self::Document(doc! {
            "operator": &by.operator,
            "seq": by.seq,
            "state": &by.state,
            "updatedAt": by.updated_at.clone(),
            "specHash": &by.spec_hash,
        })
    }
}

/// The spelling of a state in documents.
pub fn word(state: State) -> &'static str {
    state.as_str()
}

/// The state that a document's `state` asks for.
pub fn state_of(word: &str) -> Option<State> {
    [State::Running, State::Stopped, State::Restarting].into_iter().find(|state| state.as_str() == word)
}

/// The state in a [`GatewayDocument::token`]; `None` if the text is no token.
pub fn asked_by(text: &str) -> Option<State> {
    let mut parts = text.split(':');
    let state = state_of(parts.next()?)?;
    (parts.count() == 2).then_some(state)
}

/// A timestamp in the milliseconds of documents.
pub fn moment(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millisecond())
}

/// A value for a filter; null if it is absent.
pub fn or_null<T: Clone + Into<Bson>>(value: Option<&T>) -> Bson {
    is(value.map_or(Bson::Null, |value| value.clone().into()))
}

/// A value for a filter, wrapped in `$eq`. A value that somebody else wrote may look like an operator (`{ $gt:
/// … }`, a regular expression), and would act as one if it stood in a filter by itself.
pub fn is(value: impl Into<Bson>) -> Bson {
    let asked = match value.into() {
        // Servers differ in what equals a regular expression.
        Bson::RegularExpression(_) => doc! { "$exists": true },
        value => doc! { "$eq": value },
    };
    Bson::Document(asked)
}

/// Defaults for documents, from the flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The namespace of gateways whose documents name none.
    pub namespace: String,
    /// The namespaces that documents may name.
    pub allowed: Vec<String>,
    /// The image of gateways whose documents name none.
    pub image: Option<String>,
    /// The port of gateways whose documents name none.
    pub port: Option<u16>,
    /// The domain of generated hosts: `<gatewayId>.<domain>`.
    pub domain: Option<String>,
    /// The operator's name in the mark on its own writes.
    pub operator: String,
}

/// All documents of a gateway id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// The gateway's documents: exactly one, if the platform's data is consistent.
    pub gateways: Vec<Read<GatewayDocument>>,
    /// Its environments' documents.
    pub environments: Vec<Read<EnvironmentDocument>>,
}

impl Documents {
    /// The gateway's document. Of several, the one that records the object `uid`.
    pub fn gateway(&self, uid: &str) -> Option<&GatewayDocument> {
        let mut readable = self.gateways.iter().filter_map(|document| document.as_ref().ok());
        let records = |document: &&GatewayDocument| document.uid.as_deref() == Some(uid);
        readable.clone().find(records).or_else(|| readable.next())
    }

    /// Whether any of them waits for memory.
    pub fn wait_for_room(&self) -> bool {
        let gateways = self.gateways.iter().filter_map(|read| read.as_ref().err());
        let environments = self.environments.iter().filter_map(|read| read.as_ref().err());
        gateways.chain(environments).any(|document| document.waits_for_room)
    }

    /// The readable documents of environments.
    pub fn environments(&self) -> impl Iterator<Item = &EnvironmentDocument> {
        self.environments.iter().filter_map(|document| document.as_ref().ok())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn ancestors() -> Document {
        doc! {
            "_id": 1, "gatewayId": "g1", "state": "Running", "phase": "Created",
            "lockedAt": DateTime::from_millis(0), "createdAt": DateTime::from_millis(1),
            "updatedAt": DateTime::from_millis(1), "theirs": { "any": ["thing"] },
        }
    }

    fn read(document: Document) -> GatewayDocument {
        GatewayDocument::read(document).unwrap()
    }

    fn with(mut document: Document, more: Document) -> Document {
        document.extend(more);
        document
    }

    /// The document after the operator wrote `state` as transition `seq`.
    fn told(state: &str, seq: i64) -> Document {
        let at = DateTime::from_millis(50);
        let hash = read(ancestors()).spec_hash();
        let by = OperatorMark {
            operator: "op".to_owned(),
            seq,
            state: state.to_owned(),
            updated_at: at.into(),
            spec_hash: hash,
        };
        with(ancestors(), doc! { "state": state, "updatedAt": at, "by": Bson::from(&by) })
    }

    #[test]
    fn the_ancestors_documents_are_read_and_ask_for_what_their_state_says() {
        let document = read(ancestors());
        assert!(!document.is_our_word());
        assert!(document.token().starts_with("Running:") && document.token().ends_with(":-"), "{}", document.token());
    }

    #[test]
    fn numbers_are_whole_whatever_the_driver_made_of_them() {
        let spec = |port: Bson| read(with(ancestors(), doc! { "spec": { "port": port } }));
        for port in [Bson::Int32(80), Bson::Int64(80), Bson::Double(80.0)] {
            assert_eq!(Value::Object(spec(port.clone()).spec_json()), json!({ "port": 80 }));
            assert_eq!(spec(port).spec_hash(), spec(Bson::Int32(80)).spec_hash());
        }
    }

    #[test]
    fn what_is_null_is_absent_and_the_order_of_fields_says_nothing() {
        let one = read(with(ancestors(), doc! { "spec": { "image": "a:1", "host": null, "port": 1 } }));
        let other = read(with(ancestors(), doc! { "spec": { "port": 1, "image": "a:1" } }));
        assert_eq!(one.token(), other.token());
    }

    #[test]
    fn what_json_does_not_have_is_named() {
        let odd = doc! { "spec": { "env": [{ "name": "A", "value": DateTime::from_millis(0) }] } };
        let fault = GatewayDocument::read(with(ancestors(), odd)).unwrap_err().fault;
        assert!(fault.starts_with("spec.env[0].value has a type"), "{fault}");
    }

    #[test]
    fn a_document_of_another_form_is_unreadable_and_keeps_what_an_answer_is_fenced_by() {
        let unreadable = GatewayDocument::read(with(ancestors(), doc! { "spec": "small" })).unwrap_err();
        let fence = doc! { "state": { "$eq": "Running" }, "updatedAt": { "$eq": DateTime::from_millis(1) } };
        assert_eq!(unreadable.fence, fence);
        assert_eq!((unreadable.id, unreadable.gateway_id.as_str()), (Bson::Int32(1), "g1"));
        for id in [Bson::Null, Bson::Int32(7), Bson::String(String::new())] {
            let unreadable = GatewayDocument::read(with(ancestors(), doc! { "gatewayId": id })).unwrap_err();
            assert_eq!(unreadable.gateway_id, "");
        }
    }

    #[test]
    fn of_what_is_too_large_or_too_deep_little_is_kept_and_an_answer_can_still_be_written() {
        let large = "x".repeat(2_000_000);
        let deep = (0..50).fold(Bson::Null, |inner, _| doc! { "a": inner }.into());
        for (field, value, fence) in [
            (
                "spec",
                doc! { "image": &large }.into(),
                doc! { "state": { "$eq": "Running" }, "updatedAt": { "$eq": 1 } },
            ),
            ("spec", deep, doc! { "state": { "$eq": "Running" }, "updatedAt": { "$eq": 1 } }),
            ("state", Bson::from(large.as_str()), doc! { "updatedAt": { "$eq": 1 } }),
            ("updatedAt", Bson::from(large.as_str()), doc! { "state": { "$eq": "Running" } }),
        ] {
            let mut document = with(ancestors(), doc! { "updatedAt": 1 });
            document.insert(field, value);
            let read = GatewayDocument::read(document).unwrap_err();
            assert_eq!(read.fault, "it is larger than 1024 KiB or nested more than 32 levels deep", "{field}");
            assert_eq!((read.gateway_id.as_str(), &read.fence), ("g1", &fence), "{field}");
        }
        let long = GatewayDocument::read(with(ancestors(), doc! { "gatewayId": "g".repeat(254) })).unwrap_err();
        assert_eq!(
            (long.gateway_id.as_str(), long.fault.as_str()),
            ("", "gatewayId must be a string of 1 to 253 characters")
        );
        let keyed = GatewayDocument::read(with(ancestors(), doc! { "_id": &large })).unwrap_err();
        assert_eq!(keyed.id, Bson::Null);
        let fits = GatewayDocument::read(with(ancestors(), doc! { "spec": { "args": ["x".repeat(900_000)] } }));
        assert!(fits.is_ok(), "as much as an object may have");
    }

    #[test]
    fn what_looks_like_an_operator_is_asked_for_as_a_value() {
        let operator = doc! { "$ne": "x" };
        let odd = with(ancestors(), doc! { "state": operator.clone(), "updatedAt": { "$gt": 0 } });
        let fence = GatewayDocument::read(odd).unwrap_err().fence;
        assert_eq!(fence, doc! { "state": { "$eq": operator }, "updatedAt": { "$eq": { "$gt": 0 } } });
        let regex =
            Bson::RegularExpression(bson::Regex { pattern: ".*".try_into().unwrap(), options: "".try_into().unwrap() });
        assert_eq!(is(regex), Bson::from(doc! { "$exists": true }));
    }

    #[test]
    fn what_is_no_number_is_named() {
        for number in [f64::NAN, f64::INFINITY] {
            let odd = doc! { "spec": { "replicas": number } };
            let fault = GatewayDocument::read(with(ancestors(), odd)).unwrap_err().fault;
            assert_eq!(fault, "spec.replicas is not a JSON number");
        }
    }

    #[test]
    fn a_document_is_our_word_until_its_state_its_time_or_its_spec_changes() {
        assert!(read(told("Stopped", 4)).is_our_word());
        assert!(!read(with(told("Stopped", 4), doc! { "state": "Running" })).is_our_word());
        assert!(!read(with(told("Stopped", 4), doc! { "updatedAt": DateTime::from_millis(51) })).is_our_word());
        assert!(!read(with(told("Stopped", 4), doc! { "spec": { "replicas": 2 } })).is_our_word());
        assert!(read(with(told("Stopped", 4), doc! { "phase": "Stopped", "seq": 6_i64 })).is_our_word());
    }

    #[test]
    fn a_heartbeat_is_no_new_request_and_the_same_state_after_our_word_is_one() {
        let beat = with(ancestors(), doc! { "updatedAt": DateTime::from_millis(9) });
        assert_eq!(read(beat).token(), read(ancestors()).token());
        let again = with(told("Stopped", 4), doc! { "state": "Running", "updatedAt": DateTime::from_millis(60) });
        assert_ne!(read(again).token(), read(ancestors()).token());
    }

    #[test]
    fn of_several_documents_the_one_that_records_the_object_is_its_own() {
        let one = GatewayDocument::read(ancestors());
        let other = GatewayDocument::read(with(ancestors(), doc! { "_id": 2, "uid": "u" }));
        let documents = Documents { gateways: vec![one, other], environments: Vec::new() };
        assert_eq!(documents.gateway("u").unwrap().id, Bson::Int32(2));
        assert_eq!(documents.gateway("x").unwrap().id, Bson::Int32(1));
    }

    #[test]
    fn json_and_documents_carry_the_same() {
        let Value::Object(map) = json!({ "image": "a:1", "port": 8080, "list": [{ "x": 0.5 }], "is": true }) else {
            unreachable!()
        };
        assert_eq!(plain(&document_of(&map), "spec").unwrap(), map);
    }
}
