//! What a platform's documents ask for: which objects are wanted, or why a document is refused. Pure.
//!
//! Everything about one gateway id is decided at once: the gateway's document, its environments', and the
//! objects that are there. A document is checked once (`checked`); the object is rendered from what was checked
//! (`render`) and compared with the one that is there (`compare`), or its fault is answered (`answers`).
//!
//! May import the core, and of `registry` `document` and `identity`. Invariants: the same documents and objects give the
//! same acts, and an object is applied only as a document that was checked asks for it.

mod answers;
mod checked;
mod compare;
mod render;

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mongodb::bson::{Bson, Document, doc};
use serde_json::Value;

use super::document::{
    Answer, Collection, DELETED, Defaults, Documents, EnvironmentDocument, GatewayDocument, Read, Unreadable, is,
    or_null,
};
use super::identity::{carries, environment_name, mirrored, platforms_id};
use crate::api::{ApiGateway, Environment, INTENT_ANNOTATION, ObjectKey};
use crate::decide::say;
use answers::{
    DUPLICATE, INVALID_NAME, OBJECT_TAKEN, answer_environment, answer_gateway, answer_unreadable, environment_as_read,
    gateway_as_read, refusal,
};
pub use answers::{REFUSED, is_answer};
use checked::{Asked, CheckedEnvironment, CheckedGateway};
use compare::difference;
use render::Rendered;

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
    pub place: ObjectKey,
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
                    "{} documents have the gatewayId {:?}; nothing is done until one is left",
                    documents.gateways.len(),
                    say(gateway_id)
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
            Some(place) if self.is_kubectls(&place) => vec![Act::Look(place)],
            _ => Vec::new(),
        }
    }

    /// The place of the gateway whose mirror this id would be.
    fn mirror(&self) -> Option<ObjectKey> {
        mirrored(self.gateway_id)
    }

    fn gateway_at(&self, place: &ObjectKey) -> Option<&ApiGateway> {
        self.objects.gateways.iter().find(|gateway| ObjectKey::of(*gateway) == *place)
    }

    fn is_kubectls(&self, place: &ObjectKey) -> bool {
        self.gateway_at(place).is_some_and(|gateway| platforms_id(gateway).is_none())
    }

    fn about(&self, document: &GatewayDocument) -> Vec<Act> {
        if self.gateway_id.contains('.') {
            return self.about_mirror(document);
        }
        let wanted = checked::gateway(document, self.defaults).and_then(|asked| match asked {
            Asked::Deletion(place) => Ok(self.delete(document, &place)),
            Asked::Object(asked) => self.wanted(&asked),
        });
        wanted.unwrap_or_else(|answer| answer_gateway(document, Some(&answer)).into_iter().collect())
    }

    fn about_mirror(&self, document: &GatewayDocument) -> Vec<Act> {
        let mirror = self.mirror();
        if let Some(place) = &mirror {
            if self.is_kubectls(place) {
                return vec![Act::Look(place.clone())];
            }
            if document.uid.is_some() {
                // Recorded by an operator once, and its object is gone.
                let watched = self.objects.watched.as_ref().is_none_or(|watched| watched.contains(&place.namespace));
                let gone = watched && self.gateway_at(place).is_none();
                return if gone {
                    self.remove(document, doc! { "uid": or_null(document.uid.as_ref()) })
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
            say(self.gateway_id)
        );
        answer_gateway(document, Some(&refusal(INVALID_NAME, message))).into_iter().collect()
    }

    /// The objects that are this document's: at its place, or where it was recorded before.
    fn objects_of(&self, document: &GatewayDocument, place: &ObjectKey) -> impl Iterator<Item = &ApiGateway> {
        let uid = document.uid.as_deref();
        self.objects.gateways.iter().filter(move |gateway| {
            platforms_id(gateway) == Some(self.gateway_id)
                && (ObjectKey::of(*gateway) == *place || uid == Some(gateway.uid()))
        })
    }

    fn delete(&self, document: &GatewayDocument, place: &ObjectKey) -> Vec<Act> {
        let mut acts = Vec::new();
        let mut left = false;
        for gateway in self.objects_of(document, place) {
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
        let mut filter = doc! { "_id": is(document.id.clone()) };
        filter.extend(fence);
        acts.push(Act::Remove(Collection::Gateways, filter));
        acts
    }

    /// What is to be done about the gateway that a document wants.
    fn wanted(&self, asked: &CheckedGateway<'_>) -> Result<Vec<Act>, Answer> {
        let CheckedGateway { document, place, .. } = asked;
        let elsewhere = self
            .objects_of(document, place)
            .filter(|gateway| ObjectKey::of(*gateway) != *place && !gateway.is_being_deleted())
            .map(|gateway| Act::DeleteGateway(ObjectKey::of(gateway)));
        let mut acts: Vec<Act> = elsewhere.collect();
        let found = self.gateway_at(place);
        if let Some(found) = found {
            if platforms_id(found) != Some(self.gateway_id) {
                let owner = platforms_id(found).map_or("kubectl".to_owned(), |id| format!("the gateway {:?}", say(id)));
                let message = format!("the ApiGateway {place} is there already, and {owner}'s");
                return Err(refusal(OBJECT_TAKEN, message));
            }
            if found.is_being_deleted() {
                // It comes back once it is gone.
                return Ok(acts);
            }
        }
        let rendered = render::gateway(asked, found, self.defaults)?;
        let path = match found {
            None => Some("/".to_owned()),
            Some(found) => difference(&found.metadata, &found.spec, &rendered),
        };
        if let Some(path) = path {
            let before = found.map(|found| &found.metadata);
            let document = gateway_as_read(document);
            acts.push(apply(Collection::Gateways, place, rendered, before, path, document));
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
        let ObjectKey { namespace, name } = ObjectKey::of(gateway);
        let place = ObjectKey::new(namespace, environment_name(&name, &document.name));
        let found = self.objects.environments.iter().find(|environment| ObjectKey::of(*environment) == place);
        let ours = found.filter(|found| carries(&found.metadata, self.gateway_id));
        let goes = ours.is_some_and(|found| found.metadata.deletion_timestamp.is_some());
        match checked::environment(document, place, self.defaults)? {
            Asked::Deletion(_) if goes => Ok(None),
            Asked::Deletion(place) if ours.is_some() => Ok(Some(Act::DeleteEnvironment(place))),
            Asked::Deletion(_) => {
                let filter = doc! { "_id": is(document.id.clone()), "state": DELETED };
                Ok(Some(Act::Remove(Collection::Environments, filter)))
            }
            Asked::Object(asked) if found.is_some() && ours.is_none() => {
                let message = format!("the Environment {} is there already, and somebody else's", asked.place);
                Err(refusal(OBJECT_TAKEN, message))
            }
            Asked::Object(_) if goes => Ok(None),
            Asked::Object(asked) => Ok(wanted_environment(&asked, gateway, ours)),
        }
    }
}

/// What is to be done about the environment that a document wants.
fn wanted_environment(
    asked: &CheckedEnvironment<'_>,
    gateway: &ApiGateway,
    found: Option<&Environment>,
) -> Option<Act> {
    let CheckedEnvironment { document, place, .. } = asked;
    let rendered = render::environment(asked, gateway);
    let path = match found {
        None => Some("/".to_owned()),
        // A host that a document no longer names is no longer wanted.
        Some(found) if found.spec.host.is_some() && asked.host.is_none() => Some("/spec/host".to_owned()),
        Some(found) => difference(&found.metadata, &found.spec, &rendered),
    };
    let Some(path) = path else {
        let answered = document.error.as_ref().is_some_and(is_answer);
        return answer_environment(document, None).filter(|_| answered);
    };
    let before = found.map(|found| &found.metadata);
    Some(apply(Collection::Environments, place, rendered, before, path, environment_as_read(document)))
}

/// Applies an object that differs at `path` from the one that is there. Where that one carries the same request,
/// somebody else has edited it.
fn apply(
    collection: Collection,
    place: &ObjectKey,
    rendered: Rendered,
    found: Option<&ObjectMeta>,
    path: String,
    document: Document,
) -> Act {
    let Rendered { object, token, spec: _ } = rendered;
    let annotations = found.and_then(|found| found.annotations.as_ref());
    let edited = annotations.and_then(|annotations| annotations.get(INTENT_ANNOTATION)) == Some(&token);
    Act::Apply(Apply {
        collection,
        place: place.clone(),
        object,
        exists: found.is_some(),
        reverts: edited.then_some(path),
        document,
    })
}

fn unreadable<T>(documents: &[Read<T>]) -> impl Iterator<Item = &Unreadable> {
    documents.iter().filter_map(|document| document.as_ref().err().map(Box::as_ref))
}

#[cfg(test)]
mod tests;
