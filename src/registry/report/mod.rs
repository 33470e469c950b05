//! What a gateway's documents should say, and the fence of every write. Pure.
//!
//! A fence is part of the filter: a write that is late, or from an operator that is no longer leader, finds
//! nothing to write to.
//!
//! **Architecture invariant:** this module imports only the core, and of `registry` only `document`, `identity`
//! and `intent`. Each write follows from the object, its environments, their documents and the flags; the
//! caller decides when to make it.

mod environments;
mod fences;
mod words;

use mongodb::bson::{Bson, Document, doc};

use super::document::{DELETED, Defaults, Documents, GatewayDocument, is};
use super::identity::{self, Identity};
use crate::api::{ApiGateway, ObjectKey};
use crate::decide::observed::RegistryFacts;
pub use environments::{EnvironmentView, Switch};

/// A gateway, its environments and their documents.
pub struct Situation<'a> {
    /// The object with its recorded status.
    pub gateway: &'a ApiGateway,
    /// Its environments.
    pub environments: &'a [EnvironmentView],
    /// The cached documents of its id.
    pub documents: &'a Documents,
    /// Defaults from the flags.
    pub defaults: &'a Defaults,
}

/// One write to one document.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The filter, including the fence.
    pub filter: Document,
    /// The update.
    pub update: Document,
}

/// Filters of the documents to remove with a gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Forget {
    /// Its own document.
    pub gateway: Option<Document>,
    /// Its environments' documents.
    pub environments: Option<Document>,
}

impl Situation<'_> {
    fn identity(&self) -> Identity {
        Identity::of(self.gateway)
    }

    /// The gateway's document, unless it is about an object at another place.
    fn document(&self) -> Option<&GatewayDocument> {
        self.documents.gateway(self.gateway.uid())
    }

    /// Whether the registry ignores this gateway: a platform's document that is gone, or that is about an
    /// object at another place. Copying an id takes no document over.
    fn is_nobodys(&self) -> bool {
        if !self.identity().platforms {
            return false;
        }
        self.document().is_none_or(|document| {
            let mine = document.uid.as_deref() == Some(self.gateway.uid());
            !mine && identity::place(document, self.defaults) != ObjectKey::of(self.gateway)
        })
    }

    /// Whether somebody deleted the object without the platform's request.
    fn is_deleted_by_others(&self) -> bool {
        let asked = self.document().is_some_and(|document| document.state.as_deref() == Some(DELETED));
        self.identity().platforms && self.gateway.is_being_deleted() && !asked
    }

    /// The facts for a decision.
    pub fn facts(&self) -> RegistryFacts {
        let settled = RegistryFacts { external: true, ..RegistryFacts::settled() };
        if self.is_nobodys() || self.is_deleted_by_others() {
            return settled;
        }
        let to = |active| self.to_switch(active).next().is_some();
        RegistryFacts {
            recorded: self.is_recorded(),
            reported: self.is_reported(),
            to_activate: to(true),
            to_deactivate: to(false),
            forgotten: self.to_forget().is_none(),
            ..settled
        }
    }

    /// Whether the gateway's own document records this object.
    pub fn is_gateway_recorded(&self) -> bool {
        self.own_document().is_some_and(|document| document.seq.is_some())
    }

    fn is_recorded(&self) -> bool {
        self.is_gateway_recorded()
            && self.unrecorded_environments().is_empty()
            && self.surplus_environments().is_empty()
    }

    /// The gateway's document, if it records this object.
    fn own_document(&self) -> Option<&GatewayDocument> {
        self.document().filter(|document| document.uid.as_deref() == Some(self.gateway.uid()))
    }

    fn is_reported(&self) -> bool {
        let Some(document) = self.own_document() else { return true };
        let told = self.gateway.status.is_none() || document.seq >= Some(self.seq());
        told && !self.is_to_be_put_back(document) && !self.tells_another_failure(document)
    }

    fn seq(&self) -> i64 {
        seq(self.gateway)
    }

    /// What to remove with the gateway; `None` if it stays or is gone already.
    pub fn to_forget(&self) -> Option<Forget> {
        if self.is_nobodys() || self.is_deleted_by_others() {
            return None;
        }
        let platforms = self.identity().platforms;
        let gateway = self.own_document().map(|document| {
            let mut filter = doc! { "_id": is(document.id.clone()), "uid": self.gateway.uid() };
            if platforms {
                filter.insert("state", DELETED);
            }
            filter
        });
        if gateway.is_none() && platforms {
            return None;
        }
        let ids: Vec<Bson> = self.documents.environments().map(|document| document.id.clone()).collect();
        let environments = (!ids.is_empty()).then(|| doc! { "_id": { "$in": ids } });
        (gateway.is_some() || environments.is_some()).then_some(Forget { gateway, environments })
    }
}

/// The number of a gateway's last transition.
pub fn seq(gateway: &ApiGateway) -> i64 {
    gateway.status.as_ref().map_or(0, |status| status.transitions)
}

#[cfg(test)]
mod tests;
