//! Events, told in the background.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use tokio::sync::mpsc;

use super::calls::{Calls, FIELD_MANAGER};
use crate::decide::Note;
use crate::shown::on_one_line;

/// What an Event is about, of an object whose metadata alone is known.
pub fn about<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        ..ObjectReference::default()
    }
}

/// Tells Events in the background: a slow or failing Event delays no reconcile.
///
/// kube's own Recorder repeats the first words for a reason where the same reason comes again
/// within minutes; here the second failure of a gateway is told in its own words.
#[derive(Clone)]
pub struct Herald {
    events: mpsc::Sender<Event>,
    identity: Arc<str>,
}

impl Herald {
    /// A herald, and what tells its Events for as long as somebody runs it. When many are waiting, further ones are
    /// dropped.
    pub fn new(calls: Calls, identity: &str) -> (Self, impl Future<Output = ()> + Send + 'static) {
        const WAITING: usize = 1_000;
        let (sender, mut receiver) = mpsc::channel::<Event>(WAITING);
        let telling = async move {
            while let Some(event) = receiver.recv().await {
                if let Err(error) = calls.create(&event).await {
                    tracing::warn!(%error, reason = event.reason, "an Event could not be told");
                }
            }
        };
        (Self { events: sender, identity: identity.into() }, telling)
    }

    /// Tells an Event about an object. [`about`] makes the reference of one that could not be read as a whole.
    pub fn tell(&self, note: &Note, about: ObjectReference) {
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                // As client-go names them: unique for an object and a moment.
                name: Some(format!("{}.{:x}", about.name.as_deref().unwrap_or_default(), now.as_nanosecond())),
                namespace: about.namespace.clone(),
                ..ObjectMeta::default()
            },
            type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(note.reason.to_string()),
            note: Some(shortened(&note.message)),
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(about),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            // An Event's field may have 128 characters.
            reporting_instance: Some(self.identity.chars().take(128).collect()),
            ..Event::default()
        };
        if self.events.try_send(event).is_err() {
            tracing::warn!(reason = %note.reason, "too many Events are waiting; one was dropped");
        }
    }
}

/// An Event's note may have 1,024 bytes.
fn shortened(message: &str) -> String {
    let mut line = on_one_line(message);
    let mut end = line.len().min(1_000);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}
