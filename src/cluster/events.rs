//! Records Events in the background.
//!
//! **Architecture invariant:** an Event never delays or fails a reconcile.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use tokio::sync::mpsc;

use super::calls::{Calls, FIELD_MANAGER};
use crate::decide::PlannedEvent;
use crate::shown::on_one_line;

/// The reference to an object of which only the metadata is known.
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

/// Records Events in the background: a slow or failing write delays no reconcile.
///
/// kube's Recorder aggregates Events of one reason and repeats the first message. This recorder writes each
/// Event with its own message, so that a gateway's second failure is visible.
#[derive(Clone)]
pub struct EventRecorder {
    events: mpsc::Sender<Event>,
    identity: Arc<str>,
}

impl EventRecorder {
    /// A recorder, and the future that writes its Events. If too many are queued, further ones are dropped.
    pub fn new(calls: Calls, identity: &str) -> (Self, impl Future<Output = ()> + Send + 'static) {
        const WAITING: usize = 1_000;
        let (sender, mut receiver) = mpsc::channel::<Event>(WAITING);
        let telling = async move {
            while let Some(event) = receiver.recv().await {
                if let Err(error) = calls.create(&event).await {
                    tracing::warn!(%error, reason = event.reason, "failed to record an Event");
                }
            }
        };
        (Self { events: sender, identity: identity.into() }, telling)
    }

    /// Queues an Event. [`about`] makes the reference for an unreadable object.
    pub fn record(&self, planned: &PlannedEvent, about: ObjectReference) {
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                // Named as client-go does: unique for an object and a moment.
                name: Some(format!("{}.{:x}", about.name.as_deref().unwrap_or_default(), now.as_nanosecond())),
                namespace: about.namespace.clone(),
                ..ObjectMeta::default()
            },
            type_: Some(if planned.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(planned.reason.to_string()),
            note: Some(shortened(&planned.message)),
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(about),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            // The field has a limit of 128 characters.
            reporting_instance: Some(self.identity.chars().take(128).collect()),
            ..Event::default()
        };
        if self.events.try_send(event).is_err() {
            tracing::warn!(reason = %planned.reason, "the Event queue is full; dropped an Event");
        }
    }
}

/// The note has a limit of 1,024 bytes.
fn shortened(message: &str) -> String {
    let mut line = on_one_line(message);
    let mut end = line.len().min(1_000);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown::is_hidden;

    #[test]
    fn a_note_is_a_line_that_the_api_server_has_room_for() {
        let words = format!("evil\u{1b}]52;c;eA==\u{7}\u{9b}31m\u{202e}\u{200b}\r\n{}", "ä".repeat(9_000));
        let note = shortened(&words);
        assert!(note.starts_with("evil]52;c;eA==31m ää") && !note.contains(is_hidden), "{note:?}");
        assert!((999..=1_000).contains(&note.len()), "{} bytes", note.len());
        assert_eq!(shortened("as it is"), "as it is");
    }
}
