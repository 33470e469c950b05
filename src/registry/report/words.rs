//! What a gateway's own document should say.

use k8s_openapi::jiff::Timestamp;
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::{Map, Value, json};

use super::fences::{reports, takes_over};
use super::{Situation, Write};
use crate::api::{ApiGatewayStatus, INTENT_ANNOTATION, Phase, State, condition};
use crate::children;
use crate::decide::held::is_held_stopped;
use crate::decide::requests::Requests;
use crate::decide::{Place, conditions};
use crate::registry::document::{DocumentError, GatewayDocument, OperatorMark, document_of, moment, or_null, word};
use crate::registry::intent;
use crate::shown::line;

/// The longest reason, in bytes.
const LONGEST_REASON: usize = 100;

impl Situation<'_> {
    /// Whether somebody else edited the mirror of a kubectl gateway.
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

    /// Whether the document's error is outdated without a new transition: a partial start has completed, or
    /// something else keeps the first attempt from beginning.
    pub(super) fn tells_another_failure(&self, document: &GatewayDocument) -> bool {
        // An error of intake comes first.
        if document.seq != Some(self.seq()) || document.error.as_ref().is_some_and(intent::is_intake_error) {
            return false;
        }
        self.gateway.status.as_ref().is_some_and(|status| match (&status.last_failure, self.hindrance()) {
            (Some(_), _) => false,
            (None, hindrance) => document.error != hindrance,
        })
    }

    /// What keeps the first attempt from beginning, if none has failed.
    fn hindrance(&self) -> Option<DocumentError> {
        let status = self.gateway.status.as_ref()?;
        let rests = matches!(Place::of_status(status), Some(Place::Created | Place::Stopped));
        if !rests || !self.gateway.spec.state.asks_to_run() {
            return None;
        }
        let stalled = conditions::find(&status.conditions, condition::STALLED);
        let stalled = stalled.filter(|stalled| stalled.status == "True")?;
        // Whoever may write a status may write any text into it.
        let told = intent::refusal(&line(&stalled.reason, LONGEST_REASON), &stalled.message);
        (!intent::is_intake_error(&told)).then_some(told)
    }

    /// The error that a document should have.
    fn failure(&self, status: &ApiGatewayStatus) -> Option<DocumentError> {
        if Place::of_status(status) == Some(Place::Deleting) {
            return None;
        }
        let failed = status.last_failure.as_ref().map(|failure| {
            let message = format!("{} {}", failure.message, failure.hint);
            intent::refusal(failure.reason.as_str(), &message)
        });
        failed.or_else(|| self.hindrance())
    }

    fn phase(&self) -> Option<&Phase> {
        self.gateway.status.as_ref()?.phase.as_ref()
    }

    /// A mirror's `state`: what the gateway is held to.
    fn mirrored_state(&self) -> &'static str {
        match self.gateway.status.as_ref().and_then(|status| status.state) {
            Some(state) => word(state),
            None if self.gateway.spec.state.asks_to_run() => word(State::Running),
            None => word(State::Stopped),
        }
    }

    /// A mirror's `spec`. A user's texts may be values in it, and never keys.
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

    /// The new `state` of a platform's document. `None` while the object carries a request that its status has
    /// not taken up: the platform's request is then about to be followed.
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

    /// Records this object in a document that records an earlier one, or none.
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
            filter: takes_over(&self.identity().gateway_id, uid, created.max(away(now, -CLOCKS)), away(now, CLOCKS)),
            update: doc! { "$set": set },
        }
    }

    /// The first document of a kubectl gateway.
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

    /// `state` with the mark of the operator's own write.
    fn word(&self, state: &str, spec: Option<Map<String, Value>>, seq: i64, now: Timestamp) -> Document {
        let at = moment(now);
        let hash = match &spec {
            Some(spec) => children::hash(spec),
            None => self.own_document().map(GatewayDocument::spec_hash).unwrap_or_default(),
        };
        let by = OperatorMark {
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

    /// Reports the last transition; `None` if it was reported.
    pub fn report(&self, now: Timestamp) -> Option<Write> {
        let document = self.own_document()?;
        if self.is_reported() {
            return None;
        }
        let status = self.gateway.status.as_ref()?;
        let (uid, seq) = (self.gateway.uid(), self.seq());
        let mut filter = reports(&document.gateway_id, uid, seq);
        if document.seq == Some(seq) {
            // Reported before and edited by somebody since: it is restored, unless it changed since it was
            // read.
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
        match self.failure(status) {
            Some(failure) => {
                set.insert("error", Bson::from(&failure));
            }
            // Intake's error is about the document; a transition does not clear it.
            None if document.error.as_ref().is_some_and(|error| !intent::is_intake_error(error)) => {
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

/// Tolerance for clock differences and cache lag, in milliseconds.
const CLOCKS: i64 = 10 * 60 * 1_000;

/// The moment so many milliseconds from now.
fn away(now: Timestamp, milliseconds: i64) -> DateTime {
    DateTime::from_millis(now.as_millisecond().saturating_add(milliseconds))
}
