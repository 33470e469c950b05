//! What a platform's documents ask for: which objects are wanted, or why a document is refused. Pure.
//!
//! Everything about one gateway id is decided at once: the gateway's document, its environments', and the
//! objects that are there.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use mongodb::bson::{Bson, Document, doc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::document::{Answer, Documents, EnvironmentDocument, GatewayDocument, Read, Unreadable};
use super::report::{DELETED, platforms_id, read};
use crate::api::{
    ApiGateway, Environment, GATEWAY_ID_ANNOTATION, INTENT_ANNOTATION, ObjectKey, REGISTRY_FINALIZER, REGISTRY_LABEL,
    REGISTRY_MONGODB, RESTART_ANNOTATION, RETRY_ANNOTATION,
};
use crate::children;
use crate::decide::say;

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

/// What is to be done about one gateway id.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Apply an object.
    Apply(Apply),
    /// Delete a gateway.
    DeleteGateway(ObjectKey),
    /// Delete an environment.
    DeleteEnvironment(ObjectKey),
    /// Answer in a document, or take an answer back.
    Answer(AnswerIn),
    /// Remove a document.
    Remove(Collection, Document),
    /// Let the gateway itself be looked at: its mirror may have been edited.
    Look(ObjectKey),
}

/// One of the two collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collection {
    /// Of gateways.
    Gateways,
    /// Of environments.
    Environments,
}

/// An answer in a document, which is the one that it was read as.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerIn {
    /// Which collection.
    pub collection: Collection,
    /// Which document, as it was read.
    pub filter: Document,
    /// What is wrong; `None`: nothing any more.
    pub answer: Option<Answer>,
}

/// An object to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Apply {
    /// `ApiGateway` or `Environment`.
    pub collection: Collection,
    /// Its namespace and name.
    pub holder: ObjectKey,
    /// The object, with no other fields than those that are the platform's.
    pub object: Value,
    /// Whether it is there already.
    pub exists: bool,
    /// The field that somebody else had edited, where that is why.
    pub reverts: Option<String>,
    /// The document that asks for it, as it was read: to answer there if it is refused.
    pub document: Document,
}

/// The objects that have to do with one gateway id.
#[derive(Default)]
pub struct Objects {
    /// Those that carry the id, and whoever is where its object is to be.
    pub gateways: Vec<ApiGateway>,
    /// Those of these gateways, and whoever is where one of its environments is to be.
    pub environments: Vec<Environment>,
    /// The namespaces that are watched; `None`: all. Only there can it be said that an object is gone.
    pub watched: Option<Vec<String>>,
}

/// Reasons of answers. Those of transitions are others, so that neither clears the other's.
const ANSWERS: &[&str] =
    &[UNDECODABLE, DUPLICATE, UNKNOWN_STATE, INVALID_NAME, NAMESPACE_NOT_ALLOWED, OBJECT_TAKEN, NO_IMAGE, REFUSED];
const UNDECODABLE: &str = "UndecodableDocument";
const DUPLICATE: &str = "DuplicateGatewayId";
const UNKNOWN_STATE: &str = "UnknownState";
const INVALID_NAME: &str = "InvalidName";
const NAMESPACE_NOT_ALLOWED: &str = "NamespaceNotAllowed";
const OBJECT_TAKEN: &str = "ObjectTaken";
const NO_IMAGE: &str = "NoImage";
/// The reason of an answer in the API server's words.
pub const REFUSED: &str = "ObjectRefused";

/// Whether an answer is one of intake's.
pub fn is_answer(answer: &Answer) -> bool {
    ANSWERS.contains(&answer.reason.as_str())
}

/// Where the object of a document is to be.
pub fn place(document: &GatewayDocument, defaults: &Defaults) -> ObjectKey {
    let namespace = document.namespace.as_deref().unwrap_or(&defaults.namespace);
    let name = document.name.as_deref().unwrap_or(&document.gateway_id);
    ObjectKey::new(namespace, name)
}

/// The name of the object of an environment.
pub fn environment_name(gateway: &str, name: &str) -> String {
    format!("{gateway}-{name}")
}

/// Namespace and name in the id of a gateway that is mirrored.
pub fn mirrored(gateway_id: &str) -> Option<ObjectKey> {
    let (namespace, name) = gateway_id.split_once('.')?;
    (is_namespace(namespace) && is_label(name)).then(|| ObjectKey::new(namespace, name))
}

fn refusal(reason: &str, message: String) -> Answer {
    Answer { reason: reason.to_owned(), message }
}

/// Decides what is to be done about a gateway id.
pub fn decide(gateway_id: &str, documents: &Documents, objects: &Objects, defaults: &Defaults) -> Vec<Act> {
    let decision = Decision { gateway_id, documents, objects, defaults };
    let mut acts = decision.faults();
    match documents.gateways.as_slice() {
        [] => acts.extend(decision.without_document()),
        [Ok(document)] => acts.extend(decision.about(document)),
        [Err(_)] => {}
        _ => {
            let answer = refusal(
                DUPLICATE,
                format!(
                    "{} documents have the gatewayId {gateway_id:?}; nothing is done until one is left",
                    documents.gateways.len()
                ),
            );
            acts.extend(documents.gateways.iter().filter_map(|document| {
                let document = document.as_ref().ok()?;
                answer_gateway(document, Some(&answer))
            }));
        }
    }
    acts
}

struct Decision<'a> {
    gateway_id: &'a str,
    documents: &'a Documents,
    objects: &'a Objects,
    defaults: &'a Defaults,
}

impl Decision<'_> {
    /// Answers in documents that cannot be read.
    fn faults(&self) -> Vec<Act> {
        let gateways = unreadable(&self.documents.gateways).map(|document| (Collection::Gateways, document));
        let environments =
            unreadable(&self.documents.environments).map(|document| (Collection::Environments, document));
        gateways
            .chain(environments)
            .filter_map(|(collection, document)| answer_unreadable(collection, document))
            .collect()
    }

    fn without_document(&self) -> Vec<Act> {
        match self.mirror() {
            // Who removed the document may have removed it from the mirror of a gateway that is there.
            Some(holder) if self.is_kubectls(&holder) => vec![Act::Look(holder)],
            _ => Vec::new(),
        }
    }

    /// The place of the gateway whose mirror this id would be.
    fn mirror(&self) -> Option<ObjectKey> {
        mirrored(self.gateway_id)
    }

    fn gateway_at(&self, holder: &ObjectKey) -> Option<&ApiGateway> {
        self.objects.gateways.iter().find(|gateway| is_at(&gateway.metadata, holder))
    }

    fn is_kubectls(&self, holder: &ObjectKey) -> bool {
        self.gateway_at(holder).is_some_and(|gateway| platforms_id(gateway).is_none())
    }

    fn about(&self, document: &GatewayDocument) -> Vec<Act> {
        if self.gateway_id.contains('.') {
            return self.about_mirror(document);
        }
        if document.state.as_deref() == Some(DELETED) {
            return self.delete(document);
        }
        match self.wanted(document) {
            Err(answer) => answer_gateway(document, Some(&answer)).into_iter().collect(),
            Ok(acts) => acts,
        }
    }

    fn about_mirror(&self, document: &GatewayDocument) -> Vec<Act> {
        let mirror = self.mirror();
        if let Some(holder) = &mirror {
            if self.is_kubectls(holder) {
                return vec![Act::Look(holder.clone())];
            }
            if document.uid.is_some() {
                // Recorded by an operator once, and its object is gone.
                let watched = self.objects.watched.as_ref().is_none_or(|watched| watched.contains(&holder.namespace));
                let gone = watched && self.gateway_at(holder).is_none();
                return if gone {
                    self.remove(document, doc! { "uid": read(document.uid.as_ref()) })
                } else {
                    Vec::new()
                };
            }
        }
        if document.state.as_deref() == Some(DELETED) {
            return self.remove(document, doc! { "state": DELETED });
        }
        let message = format!(
            "the gatewayId {:?} holds a dot: such ids are those of gateways made with kubectl, and there is none",
            self.gateway_id
        );
        answer_gateway(document, Some(&refusal(INVALID_NAME, message))).into_iter().collect()
    }

    /// The objects that are this document's: at its place, or where it was recorded before.
    fn objects_of(&self, document: &GatewayDocument) -> impl Iterator<Item = &ApiGateway> {
        let place = place(document, self.defaults);
        let uid = document.uid.clone();
        self.objects.gateways.iter().filter(move |gateway| {
            platforms_id(gateway) == Some(self.gateway_id)
                && (is_at(&gateway.metadata, &place) || uid.as_deref() == Some(gateway.uid()))
        })
    }

    fn delete(&self, document: &GatewayDocument) -> Vec<Act> {
        let mut acts = Vec::new();
        let mut left = false;
        for gateway in self.objects_of(document) {
            left = true;
            if !gateway.is_being_deleted() {
                acts.push(Act::DeleteGateway(ObjectKey::of(gateway)));
            }
        }
        if left { acts } else { self.remove(document, doc! { "state": DELETED }) }
    }

    /// Removes all documents of the id; the environments' first, or nothing would find them again.
    fn remove(&self, document: &GatewayDocument, fence: Document) -> Vec<Act> {
        let ids: Vec<Bson> = self.documents.environments().map(|environment| environment.id.clone()).collect();
        let mut acts = Vec::new();
        if !ids.is_empty() {
            acts.push(Act::Remove(Collection::Environments, doc! { "_id": { "$in": ids } }));
        }
        let mut filter = doc! { "_id": document.id.clone() };
        filter.extend(fence);
        acts.push(Act::Remove(Collection::Gateways, filter));
        acts
    }

    /// What is wanted of a document that is to be a gateway.
    fn wanted(&self, document: &GatewayDocument) -> Result<Vec<Act>, Answer> {
        let place = self.checked_place(document)?;
        let mut acts: Vec<Act> = self
            .objects_of(document)
            .filter(|gateway| !is_at(&gateway.metadata, &place) && !gateway.is_being_deleted())
            .map(|gateway| Act::DeleteGateway(ObjectKey::of(gateway)))
            .collect();
        let found = self.gateway_at(&place);
        if let Some(found) = found {
            if platforms_id(found) != Some(self.gateway_id) {
                let owner = platforms_id(found).map_or("kubectl".to_owned(), |id| format!("the gateway {id:?}"));
                let message =
                    format!("the ApiGateway {}/{} is there already, and {owner}'s", place.namespace, place.name);
                return Err(refusal(OBJECT_TAKEN, message));
            }
            if found.is_being_deleted() {
                // It comes back once it is gone.
                return Ok(acts);
            }
        }
        let (object, spec) = self.gateway(document, &place, found)?;
        let difference = match found {
            None => Some("/".to_owned()),
            Some(found) => difference(&found.metadata, &found.spec, &object, &spec),
        };
        if let Some(path) = difference {
            let asked = object["metadata"]["annotations"][INTENT_ANNOTATION].as_str();
            let edited = found.is_some_and(|found| found.annotation(INTENT_ANNOTATION) == asked);
            acts.push(Act::Apply(Apply {
                collection: Collection::Gateways,
                holder: place,
                object,
                exists: found.is_some(),
                reverts: edited.then_some(path),
                document: gateway_as_read(document),
            }));
            return Ok(acts);
        }
        if document.error.as_ref().is_some_and(is_answer) {
            acts.extend(answer_gateway(document, None));
        }
        if let Some(found) = found {
            acts.extend(self.environments(found));
        }
        Ok(acts)
    }

    fn checked_place(&self, document: &GatewayDocument) -> Result<ObjectKey, Answer> {
        let state = document.state.as_deref().unwrap_or_default();
        if !matches!(state, "Running" | "Stopped" | "Restarting") {
            let message = format!("state {:?} is none of Running, Stopped, Restarting and Deleted", say(state));
            return Err(refusal(UNKNOWN_STATE, message));
        }
        let ObjectKey { namespace, name } = place(document, self.defaults);
        if !is_label(&name) || name.len() > 50 {
            let what = if document.name.is_some() {
                "the name"
            } else {
                "the gatewayId, which is the name where none is given,"
            };
            let message = format!(
                "{what} {:?} must be at most 50 lower-case letters, digits and '-', begin with a letter and end with a \
                 letter or digit",
                say(&name)
            );
            return Err(refusal(INVALID_NAME, message));
        }
        if !self.defaults.allowed.contains(&namespace) {
            let message = format!(
                "the namespace {:?} is none of those that documents may name: {}",
                say(&namespace),
                self.defaults.allowed.join(", ")
            );
            return Err(refusal(NAMESPACE_NOT_ALLOWED, message));
        }
        Ok(ObjectKey { namespace, name })
    }

    /// The object that is wanted, and its spec.
    fn gateway(
        &self,
        document: &GatewayDocument,
        place: &ObjectKey,
        found: Option<&ApiGateway>,
    ) -> Result<(Value, Map<String, Value>), Answer> {
        // The operator's own word asks for nothing: what was asked before stands.
        let asked_before =
            found.filter(|_| document.is_our_word()).and_then(|found| found.annotation(INTENT_ANNOTATION));
        let token = asked_before.map_or_else(|| document.token(), str::to_owned);
        let state = token.split(':').next().unwrap_or_default().to_owned();

        let mut spec = document.spec_json();
        let defaults = self.defaults;
        if let (None, Some(image)) = (spec.get("image"), &defaults.image) {
            spec.insert("image".to_owned(), json!(image));
        }
        if !spec.contains_key("image") {
            let message = "spec.image is missing, and the operator was given no --gateway-image".to_owned();
            return Err(refusal(NO_IMAGE, message));
        }
        if let (None, Some(port)) = (spec.get("port"), defaults.port) {
            spec.insert("port".to_owned(), json!(port));
        }
        if let (None, Some(domain)) = (spec.get("host"), &defaults.domain) {
            spec.insert("host".to_owned(), json!(format!("{}.{domain}", self.gateway_id)));
        }
        spec.insert("state".to_owned(), json!(state));

        let mut annotations = BTreeMap::from([(GATEWAY_ID_ANNOTATION, self.gateway_id), (INTENT_ANNOTATION, &token)]);
        match state.as_str() {
            // Where it serves already, a retry says nothing.
            "Running" => drop(annotations.insert(RETRY_ANNOTATION, &token)),
            "Restarting" => drop(annotations.insert(RESTART_ANNOTATION, &token)),
            _ => {}
        }
        let mut object = json!({
            "apiVersion": ApiGateway::api_version(&()),
            "kind": ApiGateway::kind(&()),
            "metadata": {
                "namespace": place.namespace,
                "name": place.name,
                "labels": { REGISTRY_LABEL: REGISTRY_MONGODB },
                "annotations": annotations,
                "finalizers": [REGISTRY_FINALIZER],
            },
            "spec": spec,
        });
        if let Some(found) = found {
            // One that is made anew meanwhile is another.
            object["metadata"]["uid"] = json!(found.uid());
        }
        Ok((object, spec))
    }

    fn environments(&self, gateway: &ApiGateway) -> Vec<Act> {
        let mut names = BTreeSet::new();
        let several: BTreeSet<&str> = self
            .documents
            .environments()
            .filter(|document| !names.insert(document.name.as_str()))
            .map(|document| document.name.as_str())
            .collect();
        let acts = self.documents.environments().filter_map(|document| {
            if several.contains(document.name.as_str()) {
                let message = format!("several documents of this gateway have the name {:?}", say(&document.name));
                return answer_environment(document, Some(&refusal(DUPLICATE, message)));
            }
            match self.environment(document, gateway) {
                Ok(act) => act,
                Err(answer) => answer_environment(document, Some(&answer)),
            }
        });
        acts.collect()
    }

    fn environment(&self, document: &EnvironmentDocument, gateway: &ApiGateway) -> Result<Option<Act>, Answer> {
        let ObjectKey { namespace, name: gateway_name } = ObjectKey::of(gateway);
        let name = environment_name(&gateway_name, &document.name);
        let place = ObjectKey { namespace, name };
        let found = self.objects.environments.iter().find(|environment| is_at(&environment.metadata, &place));
        let ours = found.is_none_or(|found| carries(&found.metadata, self.gateway_id));
        if document.state.as_deref() == Some(DELETED) {
            return Ok(Some(match found.filter(|_| ours) {
                Some(found) if found.metadata.deletion_timestamp.is_some() => return Ok(None),
                Some(_) => Act::DeleteEnvironment(place),
                None => Act::Remove(Collection::Environments, doc! { "_id": document.id.clone(), "state": DELETED }),
            }));
        }
        if !is_label(&place.name) || place.name.len() > 50 {
            let message = format!(
                "the name {:?} must be lower-case letters, digits and '-', end with a letter or digit, and have at most \
                 50 characters together with the gateway's",
                say(&document.name)
            );
            return Err(refusal(INVALID_NAME, message));
        }
        if !ours {
            let message =
                format!("the Environment {}/{} is there already, and somebody else's", place.namespace, place.name);
            return Err(refusal(OBJECT_TAKEN, message));
        }
        if found.is_some_and(|found| found.metadata.deletion_timestamp.is_some()) {
            return Ok(None);
        }
        let made_up =
            || self.defaults.domain.as_ref().map(|domain| format!("{}-{}.{domain}", self.gateway_id, document.name));
        let mut spec = Map::new();
        spec.insert("gatewayRef".to_owned(), json!({ "name": gateway_name }));
        if let Some(host) = document.host.clone().or_else(made_up) {
            spec.insert("host".to_owned(), json!(host));
        }
        let token = children::hash(&spec);
        let object = json!({
            "apiVersion": Environment::api_version(&()),
            "kind": Environment::kind(&()),
            "metadata": {
                "namespace": place.namespace,
                "name": place.name,
                "labels": { REGISTRY_LABEL: REGISTRY_MONGODB },
                "annotations": { GATEWAY_ID_ANNOTATION: self.gateway_id, INTENT_ANNOTATION: token },
                // With the gateway its environments go.
                "ownerReferences": [{
                    "apiVersion": ApiGateway::api_version(&()),
                    "kind": ApiGateway::kind(&()),
                    "name": gateway_name,
                    "uid": gateway.uid(),
                }],
            },
            "spec": spec,
        });
        let difference = match found {
            None => Some("/".to_owned()),
            // A host that a document no longer names is no longer wanted.
            Some(found) if found.spec.host.is_some() && !spec.contains_key("host") => Some("/spec/host".to_owned()),
            Some(found) => difference(&found.metadata, &found.spec, &object, &spec),
        };
        let Some(path) = difference else {
            let answered = document.error.as_ref().is_some_and(is_answer);
            return Ok(if answered { answer_environment(document, None) } else { None });
        };
        let edited = found.is_some_and(|found| found.annotations().get(INTENT_ANNOTATION) == Some(&token));
        Ok(Some(Act::Apply(Apply {
            collection: Collection::Environments,
            holder: place,
            object,
            exists: found.is_some(),
            reverts: edited.then_some(path),
            document: environment_as_read(document),
        })))
    }
}

fn unreadable<T>(documents: &[Read<T>]) -> impl Iterator<Item = &Unreadable> {
    documents.iter().filter_map(|document| document.as_ref().err().map(Box::as_ref))
}

fn is_at(meta: &ObjectMeta, ObjectKey { namespace, name }: &ObjectKey) -> bool {
    meta.namespace.as_ref() == Some(namespace) && meta.name.as_ref() == Some(name)
}

/// Whether an object was made from the documents of a gateway id.
pub fn carries(meta: &ObjectMeta, gateway_id: &str) -> bool {
    let label = meta.labels.as_ref().and_then(|labels| labels.get(REGISTRY_LABEL));
    let id = meta.annotations.as_ref().and_then(|annotations| annotations.get(GATEWAY_ID_ANNOTATION));
    label.is_some_and(|label| label == REGISTRY_MONGODB) && id.is_some_and(|id| id == gateway_id)
}

fn is_namespace(text: &str) -> bool {
    // A namespace may begin with a digit.
    is_label(&format!("a{text}"))
}

/// A name that Kubernetes takes: lower-case letters, digits and '-', with a letter first.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(inner) && !text.ends_with('-')
}

/// Where an object is not as it is wanted: the path of the first difference.
fn difference<S>(meta: &ObjectMeta, found: &S, wanted: &Value, spec: &Map<String, Value>) -> Option<String>
where
    S: Serialize + DeserializeOwned,
{
    let meta = serde_json::to_value(meta).unwrap_or_default();
    for field in ["labels", "annotations", "ownerReferences"] {
        let Some(wanted) = wanted["metadata"].get(field) else { continue };
        if !covers(meta.get(field), wanted) {
            return Some(format!("/metadata/{field}"));
        }
    }
    // Both in the form that the type gives them; what does not have it, the API server refuses in its words.
    let Ok(typed) = serde_json::from_value::<S>(Value::Object(spec.clone())) else { return Some("/spec".to_owned()) };
    let (Ok(typed), Ok(found)) = (serde_json::to_value(&typed), serde_json::to_value(found)) else {
        return Some("/spec".to_owned());
    };
    let differs = |key: &&String| match typed.get(key.as_str()) {
        Some(wanted) => !covers(found.get(key.as_str()), wanted),
        None => found.get(key.as_str()).is_some_and(|found| !found.is_null()),
    };
    // A field that the type does not know is the API server's to refuse.
    let unknown = |key: &&String| typed.get(key.as_str()).is_none() && !is_optional(spec, key);
    let key = spec.keys().find(|key| unknown(key) || differs(key))?;
    Some(format!("/spec/{key}"))
}

/// Whether a field is one that the types leave out where it says nothing.
fn is_optional(spec: &Map<String, Value>, key: &str) -> bool {
    match spec.get(key) {
        Some(Value::Bool(false) | Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

/// Whether what is wanted is there; what others added beside it is theirs.
fn covers(found: Option<&Value>, wanted: &Value) -> bool {
    match (found, wanted) {
        (None | Some(Value::Null), wanted) => wanted.is_null(),
        (Some(Value::Object(found)), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| covers(found.get(key), value))
        }
        (Some(Value::Array(found)), Value::Array(wanted)) => {
            let key =
                |value: &Value| ["uid", "name", "topologyKey"].into_iter().find_map(|key| value.get(key).cloned());
            if wanted.iter().all(|value| key(value).is_some()) && !wanted.is_empty() {
                // Lists that are maps to the API server.
                wanted.iter().all(|value| {
                    let same = found.iter().find(|other| key(other) == key(value));
                    covers(same, value)
                })
            } else {
                found.len() == wanted.len()
                    && found.iter().zip(wanted).all(|(found, wanted)| covers(Some(found), wanted))
            }
        }
        (Some(found), wanted) => found == wanted,
    }
}

fn answer_gateway(document: &GatewayDocument, answer: Option<&Answer>) -> Option<Act> {
    (document.error.as_ref() != answer).then(|| {
        Act::Answer(AnswerIn {
            collection: Collection::Gateways,
            filter: gateway_as_read(document),
            answer: answer.cloned(),
        })
    })
}

fn answer_environment(document: &EnvironmentDocument, answer: Option<&Answer>) -> Option<Act> {
    (document.error.as_ref() != answer).then(|| {
        Act::Answer(AnswerIn {
            collection: Collection::Environments,
            filter: environment_as_read(document),
            answer: answer.cloned(),
        })
    })
}

fn answer_unreadable(collection: Collection, document: &Unreadable) -> Option<Act> {
    let answer = refusal(UNDECODABLE, format!("the document cannot be read: {}", say(&document.fault)));
    if document.error == Some(Bson::from(&answer)) {
        return None;
    }
    let filter = doc! {
        "_id": document.id.clone(),
        "state": read(document.state.as_ref()),
        "updatedAt": read(document.updated_at.as_ref()),
    };
    Some(Act::Answer(AnswerIn { collection, filter, answer: Some(answer) }))
}

fn gateway_as_read(document: &GatewayDocument) -> Document {
    doc! {
        "_id": document.id.clone(),
        "state": read(document.state.as_ref()),
        "updatedAt": read(document.updated_at.as_ref()),
    }
}

fn environment_as_read(document: &EnvironmentDocument) -> Document {
    doc! { "_id": document.id.clone(), "name": &document.name, "host": read(document.host.as_ref()) }
}

#[cfg(test)]
mod tests;
