//! What the documents of a gateway's environments should say.
//!
//! **Architecture invariant:** the filter of a `Switch` is always a fence with the uid and the number of the
//! transition.

use k8s_openapi::jiff::Timestamp;
use mongodb::bson::{Document, doc};

use super::Situation;
use super::fences::switches;
use crate::registry::document::{ACTIVE, DELETED, EnvironmentDocument, INACTIVE, moment};
use crate::registry::identity;

/// An environment's object, as far as documents mirror it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentView {
    /// The object's name.
    pub name: String,
    /// Its host.
    pub host: Option<String>,
    /// Whether it is Active.
    pub active: bool,
}

/// One write to documents of environments.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch {
    /// The filter, including the fence.
    pub filter: Document,
    /// The update.
    pub update: Document,
    /// The names of the environments.
    pub names: Vec<String>,
}

impl Situation<'_> {
    /// The documents whose state is behind that of their object.
    pub(super) fn to_switch(&self, active: bool) -> impl Iterator<Item = &EnvironmentDocument> {
        self.documents.environments().filter(move |document| {
            let state = document.state.as_deref();
            let is = state == Some(ACTIVE);
            let newer = document.uid.as_deref() == Some(self.gateway.uid()) && document.seq > Some(self.seq());
            is != active && state != Some(DELETED) && !newer && self.is_active(document) == active
                // A document without a state counts as inactive.
                && (active || is)
        })
    }

    fn is_active(&self, document: &EnvironmentDocument) -> bool {
        self.view_of(document).is_some_and(|view| view.active)
    }

    fn view_of(&self, document: &EnvironmentDocument) -> Option<&EnvironmentView> {
        let platforms = self.identity().platforms;
        let of = |view: &&EnvironmentView| {
            if platforms {
                view.name == identity::environment_name(self.gateway.name_or_empty(), &document.name)
            } else {
                view.name == document.name
            }
        };
        self.environments.iter().find(of)
    }

    /// One write that switches all these documents; `None` if there are none.
    pub fn switch(&self, active: bool) -> Option<Switch> {
        let names: Vec<String> = self.to_switch(active).map(|document| document.name.clone()).collect();
        if names.is_empty() {
            return None;
        }
        let gateway_id = self.identity().gateway_id;
        let (uid, seq) = (self.gateway.uid(), self.seq());
        Some(Switch {
            filter: switches(&gateway_id, &names, active, uid, seq),
            update: doc! { "$set": { "state": if active { ACTIVE } else { INACTIVE }, "uid": uid, "seq": seq } },
            names,
        })
    }

    /// Environments of a kubectl gateway whose documents are to be written, each with its current document.
    pub fn unrecorded_environments(&self) -> Vec<(&EnvironmentView, Option<&EnvironmentDocument>)> {
        if self.identity().platforms {
            return Vec::new();
        }
        let document_of = |name: &str| self.documents.environments().find(|document| document.name == name);
        let views = self.environments.iter().map(|view| (view, document_of(&view.name)));
        views.filter(|(view, document)| document.is_none_or(|document| document.host != view.host)).collect()
    }

    /// Documents of a kubectl gateway whose environments are gone.
    pub fn surplus_environments(&self) -> Vec<&EnvironmentDocument> {
        if self.identity().platforms {
            return Vec::new();
        }
        self.documents.environments().filter(|document| self.view_of(document).is_none()).collect()
    }

    /// The first document of a kubectl gateway's environment.
    pub fn first_environment(&self, view: &EnvironmentView, now: Timestamp) -> Document {
        let mut document = doc! {
            "gatewayId": self.identity().gateway_id,
            "name": &view.name,
            "state": INACTIVE,
            "createdAt": moment(now),
        };
        if let Some(host) = &view.host {
            document.insert("host", host);
        }
        document
    }
}
