//! Tracks which objects of a watch exist.
//!
//! **Architecture invariant:** an object with another uid is another object. A relist reports its predecessor
//! as gone.

use std::collections::HashMap;

use kube::Resource;
use kube::runtime::watcher::Event;

use crate::api::{ObjectKey, uid_of};

/// Reports which objects appeared, changed or disappeared, including those that disappeared while the watch was
/// interrupted.
pub(super) struct KnownObjects<K> {
    /// The uid by namespace and name.
    present: HashMap<ObjectKey, String>,
    listed: Vec<K>,
}

pub(super) struct Identity {
    pub(super) key: ObjectKey,
    pub(super) uid: String,
}

pub(super) struct Changes<K> {
    pub(super) appeared: Vec<K>,
    pub(super) gone: Vec<Identity>,
}

impl<K> Default for KnownObjects<K> {
    fn default() -> Self {
        Self { present: HashMap::new(), listed: Vec::new() }
    }
}

impl<K: Resource + Clone> KnownObjects<K> {
    pub(super) fn take_in(&mut self, event: &Event<K>) -> Changes<K> {
        match event {
            Event::Apply(object) => {
                self.present.insert(ObjectKey::of(object), uid(object));
                Changes { appeared: vec![object.clone()], gone: Vec::new() }
            }
            Event::Delete(object) => {
                let gone = Identity { key: ObjectKey::of(object), uid: uid(object) };
                if self.present.get(&gone.key) == Some(&gone.uid) {
                    self.present.remove(&gone.key);
                }
                Changes { appeared: Vec::new(), gone: vec![gone] }
            }
            Event::Init => {
                self.listed.clear();
                Changes { appeared: Vec::new(), gone: Vec::new() }
            }
            Event::InitApply(object) => {
                self.listed.push(object.clone());
                Changes { appeared: Vec::new(), gone: Vec::new() }
            }
            Event::InitDone => {
                let appeared = std::mem::take(&mut self.listed);
                let present = appeared.iter().map(|object| (ObjectKey::of(object), uid(object))).collect();
                let before = std::mem::replace(&mut self.present, present);
                let is_gone = |(key, uid): &(ObjectKey, String)| self.present.get(key) != Some(uid);
                let gone = before.into_iter().filter(is_gone).map(|(key, uid)| Identity { key, uid }).collect();
                Changes { appeared, gone }
            }
        }
    }

    /// Whether an object of this name exists, with any uid.
    pub(super) fn has(&self, key: &ObjectKey) -> bool {
        self.present.contains_key(key)
    }
}

fn uid<K: Resource>(object: &K) -> String {
    uid_of(object.meta()).to_owned()
}
