//! A platform's documents, as types. Pure.
//!
//! Only the fields below are read and written; whatever else a platform keeps in its documents stays as
//! it is.

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
    /// Of gateways.
    Gateways,
    /// Of environments.
    Environments,
}

/// `Environment.state` of one that is served.
pub const ACTIVE: &str = "Active";
/// `Environment.state` of one that is not.
pub const INACTIVE: &str = "Inactive";
/// The one word by which a platform has a gateway or an environment removed.
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

/// A document of `ApiGateway`.
#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GatewayDocument {
    /// The document's own key.
    #[serde(rename = "_id")]
    pub id: Bson,
    /// Which gateway it is about.
    pub gateway_id: String,
    /// The object's namespace. Absent: the operator's default.
    pub namespace: Option<String>,
    /// The object's name. Absent: the gateway's id.
    pub name: Option<String>,
    /// The uid of the object that is recorded here.
    pub uid: Option<String>,
    /// The number of that object's last transition that was told.
    pub seq: Option<i64>,
    /// When the object that is recorded was created.
    pub recorded_at: Option<DateTime>,
    /// The operator's last word in `state`.
    pub by: Option<By>,
    /// What is wanted; after the operator's last word, what it holds the gateway to.
    pub state: Option<String>,
    /// What the operator is doing.
    pub phase: Option<String>,
    /// The platform's fields, named as those of the custom resource.
    pub spec: Option<Document>,
    /// What is wrong.
    pub error: Option<Answer>,
    /// When `state` was last written, in whatever form the platform has it.
    pub updated_at: Option<Bson>,
}

/// The operator's mark on its own word: a document that still equals it asks nothing.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct By {
    /// Which operator wrote it.
    pub operator: String,
    /// The transition that it told.
    pub seq: i64,
    /// The `state` that it wrote.
    pub state: String,
    /// The `updatedAt` that it wrote.
    pub updated_at: Bson,
    /// The hash of the `spec` at which it wrote.
    pub spec_hash: String,
}

/// What is wrong with a gateway or a document.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// As one word.
    pub reason: String,
    /// As a sentence.
    pub message: String,
}

/// A document of `Environment`.
#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentDocument {
    /// The document's own key.
    #[serde(rename = "_id")]
    pub id: Bson,
    /// The gateway that it belongs to.
    pub gateway_id: String,
    /// Its name, unique in the gateway.
    pub name: String,
    /// A host of its own.
    pub host: Option<String>,
    /// Whether it is served. The operator's alone, but for `Deleted`.
    pub state: Option<String>,
    /// The uid of the gateway that switched it last.
    pub uid: Option<String>,
    /// The number of that gateway's last transition then.
    pub seq: Option<i64>,
    /// What is wrong.
    pub error: Option<Answer>,
    /// When the platform wrote it.
    pub updated_at: Option<Bson>,
}

/// A document that does not have the form that it should have. Nothing large is kept of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// The document's own key; null where that is too large to be asked for.
    pub id: Bson,
    /// Which gateway it is about; empty where it does not say.
    pub gateway_id: String,
    /// `state` and `updatedAt` as they are, as far as a filter can ask for them.
    pub fence: Document,
    /// `error` as it is.
    pub error: Option<Bson>,
    /// What is wrong with its form.
    pub fault: String,
}

/// A document, readable or not.
pub type Read<T> = Result<T, Box<Unreadable>>;

/// What the documents of the two collections have in common.
pub trait Kept: Sized + Clone + PartialEq {
    /// The fields that are read.
    const FIELDS: &'static [&'static str];

    /// Reads a document.
    ///
    /// # Errors
    /// When it does not have the form that it should have.
    fn read(document: Document) -> Read<Self>;

    /// The document's own key.
    fn id(&self) -> &Bson;

    /// Which gateway it is about.
    fn gateway_id(&self) -> &str;

    /// The uid of the object that wrote last, and the number of its transition.
    fn written_by(&self) -> (Option<&str>, Option<i64>);
}

/// What a query is to return: nothing but the fields that are read.
pub fn projection<T: Kept>() -> Document {
    T::FIELDS.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect()
}

impl Kept for GatewayDocument {
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
}

impl Kept for EnvironmentDocument {
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
}

fn decoded<T: Kept + for<'de> Deserialize<'de>>(document: Document) -> Read<T> {
    if gateway_id_in(&document).is_empty() {
        return Err(unreadable(&document, format!("gatewayId must be a text of 1 to {LONGEST_ID} characters")));
    }
    if !size::fits(document.get("_id"), size::FENCE) {
        return Err(unreadable(&document, "its _id is larger than it can be asked for".to_owned()));
    }
    let fields = T::FIELDS.iter().filter_map(|field| document.get(field));
    if !size::fits(fields, size::DOCUMENT) {
        let fault =
            format!("it is larger than {} KiB, or nested more than {} deep", size::DOCUMENT / 1024, size::DEEPEST);
        return Err(unreadable(&document, fault));
    }
    bson::deserialize_from_document(document.clone()).map_err(|_| {
        // The library does not say which field it is about.
        let mends = |field: &&&str| {
            let mut without = document.clone();
            without.remove(field);
            let mut with = without.clone();
            with.insert(**field, "");
            [without, with].into_iter().any(|other| bson::deserialize_from_document::<T>(other).is_ok())
        };
        let fault = match T::FIELDS.iter().find(mends) {
            Some(field) if document.contains_key(field) => format!("{field} is of a type that it cannot have"),
            Some(field) => format!("{field} is missing"),
            None => "several of its fields are missing, or of a type that they cannot have".to_owned(),
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
    })
}

/// The gateway's id; empty where there is none, or none that could be an object's.
fn gateway_id_in(document: &Document) -> &str {
    document.get_str("gatewayId").ok().filter(|id| id.len() <= LONGEST_ID).unwrap_or_default()
}

impl GatewayDocument {
    /// Whether all of it is what the operator wrote last: then it asks nothing.
    pub fn is_our_word(&self) -> bool {
        self.by.as_ref().is_some_and(|by| {
            self.state.as_ref() == Some(&by.state)
                && self.updated_at.as_ref() == Some(&by.updated_at)
                && self.spec_hash() == by.spec_hash
        })
    }

    /// What tells one request of the platform from another. A new `updatedAt` alone is none: a platform
    /// may write its documents again and again.
    pub fn token(&self) -> String {
        let since = self.by.as_ref().map_or_else(|| "-".to_owned(), |by| by.seq.to_string());
        format!("{}:{}:{since}", self.state.as_deref().unwrap_or_default(), self.spec_hash())
    }

    /// The platform's fields as JSON.
    pub fn spec_json(&self) -> Map<String, Value> {
        // It was read without a fault.
        self.spec.as_ref().and_then(|spec| plain(spec, "spec").ok()).unwrap_or_default()
    }

    /// The hash of the platform's fields.
    pub fn spec_hash(&self) -> String {
        children::hash(&self.spec_json())
    }
}

/// How long a gateway's id may be, in bytes: it is a key in the operator's memory, and the name of an object where no
/// other is given.
pub const LONGEST_ID: usize = 253;

/// A document as JSON: whole numbers as such, whatever a driver made of them, and what is null left out.
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
    // Beyond this, a double does not count in ones.
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
        Bson::Double(_) => return Err(format!("{path} is no number that JSON has")),
        Bson::Document(inner) => Value::Object(plain(inner, path)?),
        Bson::Array(list) => {
            let mut values = Vec::with_capacity(list.len());
            for (index, item) in list.iter().enumerate() {
                let path = format!("{path}[{index}]");
                values.push(json(item, &path)?.ok_or_else(|| format!("{path} is null"))?);
            }
            Value::Array(values)
        }
        other => return Err(format!("{path} is of a type that JSON does not have ({:?})", other.element_type())),
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

impl From<&Answer> for Bson {
    fn from(answer: &Answer) -> Self {
        Self::Document(doc! { "reason": &answer.reason, "message": &answer.message })
    }
}

impl From<&By> for Bson {
    fn from(by: &By) -> Self {
        Self::Document(doc! {
            "operator": &by.operator,
            "seq": by.seq,
            "state": &by.state,
            "updatedAt": by.updated_at.clone(),
            "specHash": &by.spec_hash,
        })
    }
}

/// A state as documents spell it.
pub fn word(state: State) -> &'static str {
    state.as_str()
}

/// What a document's `state` asks a gateway to be held to.
pub fn state_of(word: &str) -> Option<State> {
    [State::Running, State::Stopped, State::Restarting].into_iter().find(|state| state.as_str() == word)
}

/// The state that a token of [`GatewayDocument::token`] asks for; `None`: the text is no token.
pub fn asked_by(text: &str) -> Option<State> {
    let mut parts = text.split(':');
    let state = state_of(parts.next()?)?;
    (parts.count() == 2).then_some(state)
}

/// A moment as documents carry it: in milliseconds.
pub fn moment(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millisecond())
}

/// A value as a filter asks for it: null where it is absent.
pub fn or_null<T: Clone + Into<Bson>>(value: Option<&T>) -> Bson {
    is(value.map_or(Bson::Null, |value| value.clone().into()))
}

/// This value, as a filter asks for it. What somebody else wrote may look like an operator (`{ $gt: … }`, a regular
/// expression), and would be one if it stood in a filter by itself.
pub fn is(value: impl Into<Bson>) -> Bson {
    let asked = match value.into() {
        // Servers do not agree on what equals a regular expression.
        Bson::RegularExpression(_) => doc! { "$exists": true },
        value => doc! { "$eq": value },
    };
    Bson::Document(asked)
}

/// What the flags say about documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The namespace of gateways whose documents name none.
    pub namespace: String,
    /// The namespaces that a document may name.
    pub allowed: Vec<String>,
    /// The image of gateways whose documents name none.
    pub image: Option<String>,
    /// The port of gateways whose documents name none.
    pub port: Option<u16>,
    /// Below which hosts are made up: `<gatewayId>.<domain>`.
    pub domain: Option<String>,
    /// Who writes, in the mark on the operator's own word.
    pub operator: String,
}

/// All that is known of one gateway id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// The gateway's documents: one, where the platform's data is in order.
    pub gateways: Vec<Read<GatewayDocument>>,
    /// Its environments' documents.
    pub environments: Vec<Read<EnvironmentDocument>>,
}

impl Documents {
    /// The gateway's document: of several, the one that records the object `uid`.
    pub fn gateway(&self, uid: &str) -> Option<&GatewayDocument> {
        let mut readable = self.gateways.iter().filter_map(|document| document.as_ref().ok());
        let records = |document: &&GatewayDocument| document.uid.as_deref() == Some(uid);
        readable.clone().find(records).or_else(|| readable.next())
    }

    /// The environments' documents that can be read.
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
        let by = By { operator: "op".to_owned(), seq, state: state.to_owned(), updated_at: at.into(), spec_hash: hash };
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
        assert!(fault.starts_with("spec.env[0].value is of a type"), "{fault}");
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
            assert_eq!(read.fault, "it is larger than 1024 KiB, or nested more than 32 deep", "{field}");
            assert_eq!((read.gateway_id.as_str(), &read.fence), ("g1", &fence), "{field}");
        }
        let long = GatewayDocument::read(with(ancestors(), doc! { "gatewayId": "g".repeat(254) })).unwrap_err();
        assert_eq!(
            (long.gateway_id.as_str(), long.fault.as_str()),
            ("", "gatewayId must be a text of 1 to 253 characters")
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
            assert_eq!(fault, "spec.replicas is no number that JSON has");
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
