//! The fleet in memory, as the watch reported it.
//!
//! **Architecture invariant**: only the watch changes the fleet. Each change increments the version, so that open
//! pages are updated.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use phasegate::api::ObjectKey;
use tokio::sync::watch;

use super::entry::Entry;
use crate::live::LiveEvent;

/// The fleet.
#[derive(Debug, Default)]
pub struct Fleet {
    /// The gateways.
    pub entries: BTreeMap<ObjectKey, Entry>,
    /// Why the API server is unreachable, if it is.
    pub trouble: Option<String>,
}

/// The fleet, shared between the watch and the pages.
#[derive(Debug)]
pub struct Store {
    fleet: Mutex<Fleet>,
    version: watch::Sender<u64>,
}

impl Default for Store {
    fn default() -> Self {
        Self { fleet: Mutex::default(), version: watch::channel(0).0 }
    }
}

impl Store {
    /// The current fleet. The guard must not live across an await.
    pub fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fleet with what depends on the current time.
    pub fn fleet_at(&self, now: Timestamp) -> MutexGuard<'_, Fleet> {
        let mut fleet = self.fleet();
        fleet.entries.values_mut().for_each(|entry| entry.row.tick(now));
        fleet
    }

    /// Why the API server is unreachable, if it is.
    pub fn trouble(&self) -> Option<String> {
        self.fleet().trouble.clone()
    }

    /// Changes of the version.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Applies an event of the watch.
    pub fn take(&self, news: LiveEvent, now: Timestamp) {
        let mut fleet = self.fleet();
        match news {
            LiveEvent::Is(gateway) => {
                let entry = Entry::of(&gateway, now);
                fleet.entries.insert(ObjectKey::of(&*gateway), entry);
            }
            LiveEvent::Gone(key) => drop(fleet.entries.remove(&key)),
            LiveEvent::Listed => {}
            LiveEvent::Away(words) => fleet.trouble = Some(words),
            LiveEvent::Back(_) => fleet.trouble = None,
        }
        drop(fleet);
        self.version.send_modify(|version| *version += 1);
    }
}
