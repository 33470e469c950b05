//! Delivered positions, kept in an annotation of a Lease beside the one of leader election.
//!
//! A Lease, because the operator may already write Leases in its own namespace and nothing else there.
//!
//! **Architecture invariant:** positions are written by compare-and-swap, and only while this process is leader.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::ObjectKey;
use crate::cluster::calls::{CallError, Calls};
use crate::outbox::Positions;

/// The annotation with the positions.
const ANNOTATION: &str = "phasegate.dev/delivered-events";

/// The stored positions.
pub(super) struct Stored {
    calls: Calls,
    key: ObjectKey,
    /// The Lease as it was last read or written.
    lease: Option<Lease>,
}

impl Stored {
    pub(super) fn new(calls: Calls, key: ObjectKey) -> Self {
        Self { calls, key, lease: None }
    }

    /// Reads the positions; `None` if there are none yet.
    pub(super) async fn read(&mut self) -> Result<Option<Positions>, CallError> {
        self.lease = self.calls.get(&self.key).await?;
        let annotations = self.lease.as_ref().and_then(|lease| lease.metadata.annotations.as_ref());
        Ok(annotations.and_then(|all| all.get(ANNOTATION)).map(|text| Positions::parse(text)))
    }

    /// Writes the positions.
    pub(super) async fn write(&mut self, text: String) -> Result<(), CallError> {
        let mut lease = self.lease.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.key.name.clone()),
                namespace: Some(self.key.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        lease.metadata.annotations.get_or_insert_default().insert(ANNOTATION.to_owned(), text);
        let written = match &self.lease {
            None => self.calls.create(&lease).await,
            Some(_) => self.calls.replace(&lease).await,
        };
        match written {
            Ok(stored) => {
                self.lease = serde_json::from_str(&stored).ok();
                Ok(())
            }
            Err(error) => {
                if error.is_stale() {
                    // What another leader delivered meanwhile may be sent again, with the same ids.
                    self.read().await?;
                }
                Err(error)
            }
        }
    }
}
