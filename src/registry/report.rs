//! What the documents are to say of a gateway, and the fences of every write. Pure.
//!
//! A fence is part of the filter: a write that comes too late, or from an operator that is no longer
//! leader, finds nothing to write to.

use k8s_openapi::jiff::Timestamp;
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::{Map, Value, json};

use super::document::{Answer, By, Documents, EnvironmentDocument, GatewayDocument, document_of};
use super::intent::{self, Defaults};
use crate::api::{
    ApiGateway, GATEWAY_ID_ANNOTATION, INTENT_ANNOTATION, ObjectKey, Phase, REGISTRY_LABEL, REGISTRY_MONGODB, State,
};
use crate::children;
use crate::decide::observed::RegistryFacts;
use crate::decide::requests::Requests;
use crate::decide::say;

/// `Environment.state` of one that is served.
pub const ACTIVE: &str = "Active";
/// `Environment.state` of one that is not.
pub const INACTIVE: &str = "Inactive";
/// The one word by which a platform has a gateway or an environment removed.
pub const DELETED: &str = "Deleted";

/// Who a gateway is in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id in the documents.
    pub gateway_id: String,
    /// Whether the platform owns it; else it was made with kubectl, and the documents mirror it.
    pub platforms: bool,
}

impl Identity {
    /// Who a gateway is.
    pub fn of(gateway: &ApiGateway) -> Self {
        match platforms_id(gateway) {
            Some(id) => Self { gateway_id: id.to_owned(), platforms: true },
            None => Self {
                gateway_id: mirrored_id(gateway.namespace_or_empty(), gateway.name_or_empty()),
                platforms: false,
            },
        }
    }
}

/// The id under which a gateway made with kubectl is mirrored. No platform's own id holds a dot.
pub fn mirrored_id(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}

/// The id that intake gave a gateway, if it made it.
pub fn platforms_id(gateway: &ApiGateway) -> Option<&str> {
    let label = gateway.metadata.labels.as_ref()?.get(REGISTRY_LABEL)?;
    if label == REGISTRY_MONGODB { gateway.annotation(GATEWAY_ID_ANNOTATION) } else { None }
}

/// An environment as Kubernetes has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentView {
    /// The object's name.
    pub name: String,
    /// Its host.
    pub host: Option<String>,
    /// Whether it is Active.
    pub active: bool,
}

/// A gateway, its environments and what the registry says of them.
pub struct Situation<'a> {
    /// The object, with the status that was recorded.
    pub gateway: &'a ApiGateway,
    /// Its environments.
    pub environments: &'a [EnvironmentView],
    /// What is known of its id.
    pub documents: &'a Documents,
    /// What the flags say.
    pub defaults: &'a Defaults,
}

/// One write to one document.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// What it must be like, the fence included.
    pub filter: Document,
    /// What is written.
    pub update: Document,
}

/// One write to documents of environments.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch {
    /// What they must be like, the fence included.
    pub filter: Document,
    /// What is written.
    pub update: Document,
    /// Their names.
    pub names: Vec<String>,
}

/// The documents that go with a gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Forget {
    /// Its own.
    pub gateway: Option<Document>,
    /// Its environments'.
    pub environments: Option<Document>,
}

impl Situation<'_> {
    fn identity(&self) -> Identity {
        Identity::of(self.gateway)
    }

    /// The gateway's document, unless it speaks of an object elsewhere.
    fn document(&self) -> Option<&GatewayDocument> {
        self.documents.gateway(self.gateway.uid())
    }

    /// Whether the registry has nothing to do with this gateway: a platform's document that is gone, or that
    /// is about an object of another place. Nobody takes a document over by copying its id.
    fn is_nobodys(&self) -> bool {
        if !self.identity().platforms {
            return false;
        }
        let here = (self.gateway.namespace_or_empty(), self.gateway.name_or_empty());
        self.document().is_none_or(|document| {
            let ObjectKey { namespace, name } = intent::place(document, self.defaults);
            let mine = document.uid.as_deref() == Some(self.gateway.uid());
            !mine && (namespace.as_str(), name.as_str()) != here
        })
    }

    /// Whether somebody deleted the object although the platform did not ask for it.
    fn is_deleted_by_others(&self) -> bool {
        let asked = self.document().is_some_and(|document| document.state.as_deref() == Some(DELETED));
        self.identity().platforms && self.gateway.is_being_deleted() && !asked
    }

    /// What a decision needs to know.
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

    /// The gateway's document, where it records this object.
    fn own_document(&self) -> Option<&GatewayDocument> {
        self.document().filter(|document| document.uid.as_deref() == Some(self.gateway.uid()))
    }

    fn is_reported(&self) -> bool {
        let Some(document) = self.own_document() else { return true };
        let told = self.gateway.status.is_none() || document.seq >= Some(self.seq());
        told && !self.is_to_be_put_back(document)
    }

    /// Whether somebody else wrote into the mirror of a gateway that is kubectl's.
    fn is_to_be_put_back(&self, document: &GatewayDocument) -> bool {
        if self.identity().platforms || document.seq > Some(self.seq()) {
            return false;
        }
        let state = self.mirrored_state();
        document.state.as_deref() != Some(state)
            || document.spec_json() != self.mirrored_spec()
            || document.phase.as_deref().is_some_and(|phase| {
                document.seq == Some(self.seq()) && self.phase().is_some_and(|now| now.as_str() != phase)
            })
    }

    fn phase(&self) -> Option<&Phase> {
        self.gateway.status.as_ref()?.phase.as_ref()
    }

    fn seq(&self) -> i64 {
        seq(self.gateway)
    }

    /// What a mirror says in `state`: what the gateway is held to.
    fn mirrored_state(&self) -> &'static str {
        match self.gateway.status.as_ref().and_then(|status| status.state) {
            Some(state) => word(state),
            None if self.gateway.spec.state.asks_to_run() => word(State::Running),
            None => word(State::Stopped),
        }
    }

    /// What a mirror says in `spec`. A user's texts may be values in it, and never keys.
    fn mirrored_spec(&self) -> Map<String, Value> {
        let spec = &self.gateway.spec;
        let mut map = Map::new();
        map.insert("image".to_owned(), json!(spec.image));
        map.insert("port".to_owned(), json!(spec.port));
        if let Some(host) = &spec.host {
            map.insert("host".to_owned(), json!(host));
        }
        if let Some(replicas) = spec.replicas {
            map.insert("replicas".to_owned(), json!(replicas));
        }
        map
    }

    /// What `state` of a platform's document is to become. Nothing while the object asks for what the status
    /// has not taken up: the platform's word is then about to be followed.
    fn told_state(&self, document: &GatewayDocument) -> Option<&'static str> {
        let taken_in = document.is_our_word() || self.gateway.annotation(INTENT_ANNOTATION) == Some(&document.token());
        let status = self.gateway.status.as_ref()?;
        let state = status.state?;
        if !taken_in || matches!(status.phase, Some(Phase::Deleting)) {
            return None;
        }
        let requests = Requests::of(self.gateway);
        let held = status.handled.as_ref().is_some_and(|handled| handled.state.asks_to_run());
        let told = match (self.gateway.spec.state.asks_to_run(), state) {
            (false, State::Stopped) => true,
            (false, _) => false,
            (true, State::Stopped) => held && !requests.start && !requests.restart,
            (true, State::Running | State::Restarting) => !requests.restart,
        };
        (told && document.state.as_deref() != Some(word(state))).then(|| word(state))
    }

    /// Writes this object into a document that records an earlier one, or none.
    pub fn take_over(&self, now: Timestamp) -> Write {
        let uid = self.gateway.uid();
        let created = self.recorded_at();
        let mut set = doc! {
            "uid": uid,
            "seq": 0_i64,
            "recordedAt": created,
            "namespace": self.gateway.namespace_or_empty(),
            "name": self.gateway.name_or_empty(),
        };
        if !self.identity().platforms {
            set.extend(self.word(self.mirrored_state(), Some(self.mirrored_spec()), 0, now));
        }
        Write { filter: takes_over(&self.identity().gateway_id, uid, created), update: doc! { "$set": set } }
    }

    /// The first document of a gateway that is kubectl's.
    pub fn first_document(&self, now: Timestamp) -> Document {
        let mut document = doc! {
            "gatewayId": self.identity().gateway_id,
            "namespace": self.gateway.namespace_or_empty(),
            "name": self.gateway.name_or_empty(),
            "uid": self.gateway.uid(),
            "seq": 0_i64,
            "recordedAt": self.recorded_at(),
            "phase": Phase::Created.as_str(),
            "createdAt": moment(now),
        };
        document.extend(self.word(self.mirrored_state(), Some(self.mirrored_spec()), 0, now));
        document
    }

    fn recorded_at(&self) -> DateTime {
        moment(self.gateway.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |created| created.0))
    }

    /// `state` and the mark that it is the operator's own.
    fn word(&self, state: &str, spec: Option<Map<String, Value>>, seq: i64, now: Timestamp) -> Document {
        let at = moment(now);
        let hash = match &spec {
            Some(spec) => children::hash(spec),
            None => self.own_document().map(GatewayDocument::spec_hash).unwrap_or_default(),
        };
        let by = By {
            operator: self.defaults.operator.clone(),
            seq,
            state: state.to_owned(),
            updated_at: at.into(),
            spec_hash: hash,
        };
        let mut word = doc! { "state": state, "by": Bson::from(&by), "updatedAt": at };
        if let Some(spec) = spec {
            word.insert("spec", document_of(&spec));
        }
        word
    }

    /// Tells the last transition. `None`: it is told already.
    pub fn report(&self, now: Timestamp) -> Option<Write> {
        let document = self.own_document()?;
        if self.is_reported() {
            return None;
        }
        let status = self.gateway.status.as_ref()?;
        let (uid, seq) = (self.gateway.uid(), self.seq());
        let mut filter = reports(&document.gateway_id, uid, seq);
        if document.seq == Some(seq) {
            // Told already, and edited by somebody: it is put back, unless it changed since it was read.
            filter.insert("seq", seq);
            filter.insert("phase", read(document.phase.as_ref()));
        }
        let mut set = doc! { "seq": seq };
        let mut unset = Document::new();
        if let Some(phase) = &status.phase {
            set.insert("phase", phase.as_str());
        }
        if let Some(last) = status.history.last() {
            set.insert("reason", last.reason.as_str());
        }
        if let Some(attempt) = &status.attempt {
            set.insert("attempt", attempt.number);
        }
        let failure = status.last_failure.as_ref().filter(|_| status.phase != Some(Phase::Deleting));
        match failure {
            Some(failure) => {
                let message = say(&format!("{} {}", failure.message, failure.hint));
                let answer = Answer { reason: failure.reason.to_string(), message };
                set.insert("error", Bson::from(&answer));
            }
            // What intake answered is about the document, and no transition's to clear.
            None if document.error.as_ref().is_some_and(|error| !intent::is_answer(error)) => {
                unset.insert("error", "");
            }
            None => {}
        }
        let state = if self.identity().platforms { self.told_state(document) } else { Some(self.mirrored_state()) };
        if let Some(state) = state {
            let spec = (!self.identity().platforms).then(|| self.mirrored_spec());
            let same = document.state.as_deref() == Some(state)
                && spec.as_ref().is_none_or(|spec| document.spec_json() == *spec);
            if !same {
                filter.insert("state", read(document.state.as_ref()));
                filter.insert("updatedAt", read(document.updated_at.as_ref()));
                set.extend(self.word(state, spec, seq, now));
            }
        }
        let mut update = doc! { "$set": set };
        if !unset.is_empty() {
            update.insert("$unset", unset);
        }
        Some(Write { filter, update })
    }

    /// The environments' documents whose state is behind that of their object.
    fn to_switch(&self, active: bool) -> impl Iterator<Item = &EnvironmentDocument> {
        self.documents.environments().filter(move |document| {
            let state = document.state.as_deref();
            let is = state == Some(ACTIVE);
            let newer = document.uid.as_deref() == Some(self.gateway.uid()) && document.seq > Some(self.seq());
            is != active && state != Some(DELETED) && !newer && self.is_active(document) == active
                // What says nothing is inactive.
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
                view.name == intent::environment_name(self.gateway.name_or_empty(), &document.name)
            } else {
                view.name == document.name
            }
        };
        self.environments.iter().find(of)
    }

    /// Switches the documents of those environments that were switched, in one write. `None`: there are none.
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

    /// The environments of a gateway that is kubectl's whose documents are to be written: the name, the host,
    /// and the host that the document has, where there is one.
    pub fn unrecorded_environments(&self) -> Vec<(&EnvironmentView, Option<&EnvironmentDocument>)> {
        if self.identity().platforms {
            return Vec::new();
        }
        let document_of = |name: &str| self.documents.environments().find(|document| document.name == name);
        let views = self.environments.iter().map(|view| (view, document_of(&view.name)));
        views.filter(|(view, document)| document.is_none_or(|document| document.host != view.host)).collect()
    }

    /// The documents of a gateway that is kubectl's whose environments are gone.
    pub fn surplus_environments(&self) -> Vec<&EnvironmentDocument> {
        if self.identity().platforms {
            return Vec::new();
        }
        self.documents.environments().filter(|document| self.view_of(document).is_none()).collect()
    }

    /// The first document of an environment of a gateway that is kubectl's.
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

    /// What goes with the gateway. `None`: it stays, or is gone.
    pub fn to_forget(&self) -> Option<Forget> {
        if self.is_nobodys() || self.is_deleted_by_others() {
            return None;
        }
        let platforms = self.identity().platforms;
        let gateway = self.own_document().map(|document| {
            let mut filter = doc! { "_id": document.id.clone(), "uid": self.gateway.uid() };
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

/// The fence of a report: the same object, and an earlier transition.
pub fn reports(gateway_id: &str, uid: &str, seq: i64) -> Document {
    doc! { "gatewayId": gateway_id, "uid": uid, "seq": { "$lt": seq } }
}

/// The fence of a record: nobody's document, or that of an object that was not created later. A document
/// whose number was taken away is recorded again.
pub fn takes_over(gateway_id: &str, uid: &str, created: DateTime) -> Document {
    doc! {
        "gatewayId": gateway_id,
        "$or": [
            { "uid": null },
            { "uid": uid, "seq": null },
            { "uid": { "$ne": uid }, "recordedAt": null },
            { "uid": { "$ne": uid }, "recordedAt": { "$lte": created } },
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

/// A value as a filter asks for it: what is absent is null there.
pub fn read<T: Clone + Into<Bson>>(value: Option<&T>) -> Bson {
    value.map_or(Bson::Null, |value| value.clone().into())
}

/// A moment as documents carry it: in milliseconds.
pub fn moment(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millisecond())
}

fn word(state: State) -> &'static str {
    match state {
        State::Running => "Running",
        State::Stopped => "Stopped",
        State::Restarting => "Restarting",
    }
}

#[cfg(test)]
mod tests;
