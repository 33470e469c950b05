//! What a gateway's own document is to say.

use k8s_openapi::jiff::Timestamp;
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::{Map, Value, json};

use super::fences::{reports, takes_over};
use super::{Situation, Write};
use crate::api::{INTENT_ANNOTATION, Phase, State};
use crate::children;
use crate::decide::held::is_held_stopped;
use crate::decide::requests::Requests;
use crate::decide::{Place, say};
use crate::registry::document::{Answer, By, GatewayDocument, document_of, moment, or_null, word};
use crate::registry::intent;

impl Situation<'_> {
    /// Whether somebody else wrote into the mirror of a gateway that is kubectl's.
    pub(super) fn is_to_be_put_back(&self, document: &GatewayDocument) -> bool {
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

    /// Whether the failure that a document tells is over although no transition has followed: a gateway that served on
    /// at its deadline is complete by now.
    pub(super) fn tells_what_is_over(&self, document: &GatewayDocument) -> bool {
        let over = self.gateway.status.as_ref().is_some_and(|status| status.last_failure.is_none());
        over && document.seq == Some(self.seq())
            && document.error.as_ref().is_some_and(|error| !intent::is_answer(error))
    }

    fn phase(&self) -> Option<&Phase> {
        self.gateway.status.as_ref()?.phase.as_ref()
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
        if !taken_in || Place::of_status(status) == Some(Place::Deleting) {
            return None;
        }
        let requests = Requests::of(self.gateway);
        let told = match (self.gateway.spec.state.asks_to_run(), state) {
            (false, State::Stopped) => true,
            (false, _) => false,
            (true, State::Stopped) => is_held_stopped(status) && !requests.start && !requests.restart,
            (true, State::Running | State::Restarting) => !requests.restart,
            (true, State::Unknown(_)) => false,
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
        Write {
            filter: takes_over(&self.identity().gateway_id, uid, created, tomorrow(now)),
            update: doc! { "$set": set },
        }
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
            filter.insert("phase", or_null(document.phase.as_ref()));
            filter.insert("error.reason", or_null(document.error.as_ref().map(|error| &error.reason)));
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
        let failure = status.last_failure.as_ref().filter(|_| Place::of_status(status) != Some(Place::Deleting));
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
                filter.insert("state", or_null(document.state.as_ref()));
                filter.insert("updatedAt", or_null(document.updated_at.as_ref()));
                set.extend(self.word(state, spec, seq, now));
            }
        }
        let mut update = doc! { "$set": set };
        if !unset.is_empty() {
            update.insert("$unset", unset);
        }
        Some(Write { filter, update })
    }
}

/// A day from now: what the API server's clock and ours may differ by is less.
fn tomorrow(now: Timestamp) -> DateTime {
    const DAY_IN_MILLISECONDS: i64 = 86_400_000;
    DateTime::from_millis(now.as_millisecond().saturating_add(DAY_IN_MILLISECONDS))
}
