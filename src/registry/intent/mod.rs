//! Intake: which objects a platform's documents ask for, or why a document is refused. Pure.
//!
//! Everything about one gateway id is decided at once: its gateway's document, its environments' documents, and
//! the existing objects. A document is validated once (`checked`); its object is rendered (`render`) and
//! compared with the existing one (`compare`), or its fault is written into the document (`errors`).
//!
//! **Architecture invariant:** this module imports only the core, and of `registry` only `document` and
//! `identity`. The same documents and objects give the same actions. An object is applied only as a validated
//! document asks for it.

mod checked;
mod compare;
mod errors;
mod render;

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mongodb::bson::{Bson, Document, doc};
use serde_json::Value;

use super::document::{
    Collection, DELETED, Defaults, DocumentError, Documents, EnvironmentDocument, GatewayDocument, Read, Unreadable,
    is, or_null,
};
use super::identity::{carries, environment_name, mirrored, platforms_id};
use crate::api::{ApiGateway, Environment, INTENT_ANNOTATION, ObjectKey};
use crate::decide::say;
use checked::{CheckedEnvironment, CheckedGateway, DesiredObject};
use compare::difference;
use errors::{
    DUPLICATE, INVALID_NAME, OBJECT_TAKEN, environment_as_read, gateway_as_read, set_environment_error,
    set_gateway_error, set_unreadable_error,
};
pub use errors::{REFUSED, is_intake_error, refusal};
use render::Rendered;

/// An action for one gateway id.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Apply an object (server-side apply).
    Apply(Apply),
    /// Delete a gateway.
    DeleteGateway(ObjectKey),
    /// Delete an environment.
    DeleteEnvironment(ObjectKey),
    /// Set or clear the error of a document.
    SetError(ErrorUpdate),
    /// Remove a document.
    Remove(Collection, Document),
    /// Requeue the gateway itself, since its mirror may have been edited.
    Requeue(ObjectKey),
}

/// A new error of a document, fenced by what was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorUpdate {
    /// The collection of the document.
    pub collection: Collection,
    /// A filter that finds the document as it was read.
    pub filter: Document,
    /// The error; `None` clears it.
    pub answer: Option<DocumentError>,
}

/// An object to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Apply {
    /// `ApiGateway` or `Environment`.
    pub collection: Collection,
    /// Its namespace and name.
    pub place: ObjectKey,
    /// The object, with the platform's fields only.
    pub object: Value,
    /// Whether it exists already.
    pub exists: bool,
    /// The field that somebody else edited, if that is the reason.
    pub reverts: Option<String>,
    /// The document that asks for it, for an error if the object is refused.
    pub source: Source,
}

/// The document that asks for an object, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// A filter that finds the document while it asks for the same.
    pub filter: Document,
    /// Its current error.
    pub current_error: Option<DocumentError>,
}

/// The objects related to one gateway id.
#[derive(Default)]
pub struct Objects {
    /// Gateways with the id, and any gateway in the place of the document's object.
    pub gateways: Vec<ApiGateway>,
    /// Environments of these gateways, and any environment in the place of a document's object.
    pub environments: Vec<Environment>,
    /// The watched namespaces; `None`: all. Only there it is known that an object is gone.
    pub watched: Option<Vec<String>>,
}

/// Decides about a gateway id.
pub fn decide(gateway_id: &str, documents: &Documents, objects: &Objects, defaults: &Defaults) -> Vec<Action> {
    let decision = Decision { gateway_id, documents, objects, defaults };
    let mut actions = decision.faults();
    match documents.gateways.as_slice() {
        [] => actions.extend(decision.without_document()),
        [Ok(document)] => actions.extend(decision.about(document)),
        [Err(_)] => {}
        several => {
            let own = decision.own_of(several);
            actions.extend(own.map(|document| decision.about(document)).into_iter().flatten());
            let answer = decision.duplicate(several.len(), own.is_some());
            let others = several.iter().filter_map(|document| document.as_ref().ok());
            let others = others.filter(|other| own.is_none_or(|own| own.id != other.id));
            actions.extend(others.filter_map(|document| set_gateway_error(document, Some(&answer))));
        }
    }
    actions
}

struct Decision<'a> {
    gateway_id: &'a str,
    documents: &'a Documents,
    objects: &'a Objects,
    defaults: &'a Defaults,
}

impl Decision<'_> {
    /// Sets errors of unreadable documents.
    fn faults(&self) -> Vec<Action> {
        let gateways = unreadable(&self.documents.gateways).map(|document| (Collection::Gateways, document));
        let environments =
            unreadable(&self.documents.environments).map(|document| (Collection::Environments, document));
        gateways
            .chain(environments)
            .filter_map(|(collection, document)| set_unreadable_error(collection, document))
            .collect()
    }

    /// Of several documents with this id, the one that records the existing object. A second document must not
    /// disturb the first.
    fn own_of<'d>(&self, several: &'d [Read<GatewayDocument>]) -> Option<&'d GatewayDocument> {
        let is_of_this_id = |gateway: &&ApiGateway| match platforms_id(gateway) {
            Some(id) => id == self.gateway_id,
            None => self.mirror() == Some(ObjectKey::of(*gateway)),
        };
        let is_there = |uid: &str| self.objects.gateways.iter().filter(is_of_this_id).any(|found| found.uid() == uid);
        let readable = several.iter().filter_map(|document| document.as_ref().ok());
        let mut own = readable.filter(|document| document.uid.as_deref().is_some_and(is_there));
        own.next().filter(|_| own.next().is_none())
    }

    fn duplicate(&self, count: usize, has_own: bool) -> DocumentError {
        let id = say(self.gateway_id);
        let message = if has_own {
            format!(
                "another document with gatewayId {id:?} owns the ApiGateway: remove this one, or choose another gatewayId"
            )
        } else {
            format!("{count} documents have the gatewayId {id:?}: remove all but one")
        };
        refusal(DUPLICATE, message)
    }

    fn without_document(&self) -> Vec<Action> {
        match self.mirror() {
            // The removed document may have been the mirror of an existing gateway.
            Some(place) if self.is_kubectls(&place) => vec![Action::Requeue(place)],
            _ => Vec::new(),
        }
    }

    /// The gateway that this id would be the mirror of.
    fn mirror(&self) -> Option<ObjectKey> {
        mirrored(self.gateway_id)
    }

    fn gateway_at(&self, place: &ObjectKey) -> Option<&ApiGateway> {
        self.objects.gateways.iter().find(|gateway| ObjectKey::of(*gateway) == *place)
    }

    fn is_kubectls(&self, place: &ObjectKey) -> bool {
        self.gateway_at(place).is_some_and(|gateway| platforms_id(gateway).is_none())
    }

    fn about(&self, document: &GatewayDocument) -> Vec<Action> {
        if self.gateway_id.contains('.') {
            return self.about_mirror(document);
        }
        let wanted = checked::gateway(document, self.defaults).and_then(|asked| match asked {
            DesiredObject::Deletion(place) => Ok(self.delete(document, &place)),
            DesiredObject::Object(asked) => self.wanted(&asked),
        });
        wanted.unwrap_or_else(|answer| set_gateway_error(document, Some(&answer)).into_iter().collect())
    }

    fn about_mirror(&self, document: &GatewayDocument) -> Vec<Action> {
        let mirror = self.mirror();
        if let Some(place) = &mirror {
            if self.is_kubectls(place) {
                return vec![Action::Requeue(place.clone())];
            }
            if document.uid.is_some() {
                // An operator recorded it once, and its object is gone.
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
            "the gatewayId {:?} contains a dot, which is reserved for gateways created with kubectl",
            say(self.gateway_id)
        );
        set_gateway_error(document, Some(&refusal(INVALID_NAME, message))).into_iter().collect()
    }

    /// The objects of this document: at its place, or where it was recorded before.
    fn objects_of(&self, document: &GatewayDocument, place: &ObjectKey) -> impl Iterator<Item = &ApiGateway> {
        let uid = document.uid.as_deref();
        self.objects.gateways.iter().filter(move |gateway| {
            platforms_id(gateway) == Some(self.gateway_id)
                && (ObjectKey::of(*gateway) == *place || uid == Some(gateway.uid()))
        })
    }

    fn delete(&self, document: &GatewayDocument, place: &ObjectKey) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut left = false;
        for gateway in self.objects_of(document, place) {
            left = true;
            if !gateway.is_being_deleted() {
                actions.push(Action::DeleteGateway(ObjectKey::of(gateway)));
            }
        }
        if left { actions } else { self.remove(document, doc! { "state": DELETED }) }
    }

    /// Removes all documents of the id, environments first; otherwise nothing would find those again.
    fn remove(&self, document: &GatewayDocument, fence: Document) -> Vec<Action> {
        let ids: Vec<Bson> = self.documents.environments().map(|environment| environment.id.clone()).collect();
        let mut actions = Vec::new();
        if !ids.is_empty() {
            actions.push(Action::Remove(Collection::Environments, doc! { "_id": { "$in": ids } }));
        }
        let mut filter = doc! { "_id": is(document.id.clone()) };
        filter.extend(fence);
        actions.push(Action::Remove(Collection::Gateways, filter));
        actions
    }

    /// The actions for a document that wants a gateway.
    fn wanted(&self, asked: &CheckedGateway<'_>) -> Result<Vec<Action>, DocumentError> {
        let CheckedGateway { document, place, .. } = asked;
        let elsewhere = self
            .objects_of(document, place)
            .filter(|gateway| ObjectKey::of(*gateway) != *place && !gateway.is_being_deleted())
            .map(|gateway| Action::DeleteGateway(ObjectKey::of(gateway)));
        let mut actions: Vec<Action> = elsewhere.collect();
        let found = self.gateway_at(place);
        if let Some(found) = found {
            if platforms_id(found) != Some(self.gateway_id) {
                let owner = platforms_id(found).map_or("kubectl".to_owned(), |id| format!("the gateway {:?}", say(id)));
                let message = format!("the ApiGateway {place} already exists and belongs to {owner}");
                return Err(refusal(OBJECT_TAKEN, message));
            }
            if found.is_being_deleted() {
                // The object is recreated once it is gone.
                return Ok(actions);
            }
        }
        let rendered = render::gateway(asked, found, self.defaults)?;
        let path = match found {
            None => Some("/".to_owned()),
            Some(found) => difference(&found.metadata, &found.spec, &rendered),
        };
        if let Some(path) = path {
            let before = found.map(|found| &found.metadata);
            let source = Source { filter: gateway_as_read(document), current_error: document.error.clone() };
            actions.push(apply(Collection::Gateways, place, rendered, before, path, source));
            return Ok(actions);
        }
        if document.error.as_ref().is_some_and(is_intake_error) {
            actions.extend(set_gateway_error(document, None));
        }
        if let Some(found) = found {
            actions.extend(self.environments(found));
        }
        Ok(actions)
    }

    fn environments(&self, gateway: &ApiGateway) -> Vec<Action> {
        let mut names = BTreeSet::new();
        let several: BTreeSet<&str> = self
            .documents
            .environments()
            .filter(|document| !names.insert(document.name.as_str()))
            .map(|document| document.name.as_str())
            .collect();
        let actions = self.documents.environments().filter_map(|document| {
            if several.contains(document.name.as_str()) {
                let message = format!("several documents of this gateway have the name {:?}", say(&document.name));
                return set_environment_error(document, Some(&refusal(DUPLICATE, message)));
            }
            match self.environment(document, gateway) {
                Ok(action) => action,
                Err(answer) => set_environment_error(document, Some(&answer)),
            }
        });
        actions.collect()
    }

    fn environment(
        &self,
        document: &EnvironmentDocument,
        gateway: &ApiGateway,
    ) -> Result<Option<Action>, DocumentError> {
        let ObjectKey { namespace, name } = ObjectKey::of(gateway);
        let place = ObjectKey::new(namespace, environment_name(&name, &document.name));
        let found = self.objects.environments.iter().find(|environment| ObjectKey::of(*environment) == place);
        let ours = found.filter(|found| carries(&found.metadata, self.gateway_id));
        let goes = ours.is_some_and(|found| found.metadata.deletion_timestamp.is_some());
        match checked::environment(document, place, self.defaults)? {
            DesiredObject::Deletion(_) if goes => Ok(None),
            DesiredObject::Deletion(place) if ours.is_some() => Ok(Some(Action::DeleteEnvironment(place))),
            DesiredObject::Deletion(_) => {
                let filter = doc! { "_id": is(document.id.clone()), "state": DELETED };
                Ok(Some(Action::Remove(Collection::Environments, filter)))
            }
            DesiredObject::Object(asked) if found.is_some() && ours.is_none() => {
                let message = format!("the Environment {} already exists and has another owner", asked.place);
                Err(refusal(OBJECT_TAKEN, message))
            }
            DesiredObject::Object(_) if goes => Ok(None),
            DesiredObject::Object(asked) => Ok(wanted_environment(&asked, gateway, ours)),
        }
    }
}

/// The action for a document that wants an environment.
fn wanted_environment(
    asked: &CheckedEnvironment<'_>,
    gateway: &ApiGateway,
    found: Option<&Environment>,
) -> Option<Action> {
    let CheckedEnvironment { document, place, .. } = asked;
    let rendered = render::environment(asked, gateway);
    let path = match found {
        None => Some("/".to_owned()),
        // The document names no host any more.
        Some(found) if found.spec.host.is_some() && asked.host.is_none() => Some("/spec/host".to_owned()),
        Some(found) => difference(&found.metadata, &found.spec, &rendered),
    };
    let Some(path) = path else {
        let answered = document.error.as_ref().is_some_and(is_intake_error);
        return set_environment_error(document, None).filter(|_| answered);
    };
    let before = found.map(|found| &found.metadata);
    let source = Source { filter: environment_as_read(document), current_error: document.error.clone() };
    Some(apply(Collection::Environments, place, rendered, before, path, source))
}

/// Applies an object that differs at `path` from the existing one. If that carries the same request, somebody
/// else edited it.
fn apply(
    collection: Collection,
    place: &ObjectKey,
    rendered: Rendered,
    found: Option<&ObjectMeta>,
    path: String,
    source: Source,
) -> Action {
    let Rendered { object, token, spec: _ } = rendered;
    let annotations = found.and_then(|found| found.annotations.as_ref());
    let edited = annotations.and_then(|annotations| annotations.get(INTENT_ANNOTATION)) == Some(&token);
    Action::Apply(Apply {
        collection,
        place: place.clone(),
        object,
        exists: found.is_some(),
        reverts: edited.then_some(path),
        source,
    })
}

fn unreadable<T>(documents: &[Read<T>]) -> impl Iterator<Item = &Unreadable> {
    documents.iter().filter_map(|document| document.as_ref().err().map(Box::as_ref))
}

#[cfg(test)]
mod tests;
