//! The documents as they were last seen, by the gateway that they are about: a cache like the others.
//!
//! It is filled by a change stream or a scan, and by the answers to our own writes. It may be behind; what
//! is written is fenced for that reason.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mongodb::bson::{self, Bson, doc};
use tokio::sync::watch;

use super::document::{Documents, EnvironmentDocument, GatewayDocument, Kept, Read};

/// All documents that are known.
pub struct Known {
    gateways: Mutex<Shelf<GatewayDocument>>,
    environments: Mutex<Shelf<EnvironmentDocument>>,
    listed: watch::Sender<Listed>,
}

/// Which collections were listed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Listed {
    gateways: bool,
    environments: bool,
}

impl Listed {
    fn is_complete(self) -> bool {
        self.gateways && self.environments
    }
}

impl Default for Known {
    fn default() -> Self {
        Self {
            gateways: Mutex::default(),
            environments: Mutex::default(),
            listed: watch::Sender::new(Listed::default()),
        }
    }
}

/// A kind of document, with its place in [`Known`].
pub trait Shelved: Kept + Send + 'static {
    /// Its shelf.
    fn shelf(known: &Known) -> MutexGuard<'_, Shelf<Self>>;

    /// Its own part of what was listed.
    fn listed(all: &mut Listed) -> &mut bool;
}

impl Shelved for GatewayDocument {
    fn shelf(known: &Known) -> MutexGuard<'_, Shelf<Self>> {
        // Nothing in a shelf panics, so it is never left half-changed.
        known.gateways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(all: &mut Listed) -> &mut bool {
        &mut all.gateways
    }
}

impl Shelved for EnvironmentDocument {
    fn shelf(known: &Known) -> MutexGuard<'_, Shelf<Self>> {
        known.environments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(all: &mut Listed) -> &mut bool {
        &mut all.environments
    }
}

/// A document's own key, as it is stored. As a text, keys of different types could be one.
type Key = Vec<u8>;

/// The documents of one collection.
pub struct Shelf<T> {
    kept: HashMap<Key, Entry<T>>,
    by_gateway: HashMap<String, BTreeSet<Key>>,
    /// Counts what was taken in, so that an answer does not overrule what came while it was on its way.
    clock: u64,
    /// When something was last forgotten.
    forgotten: u64,
}

struct Entry<T> {
    read: Read<T>,
    at: u64,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { kept: HashMap::new(), by_gateway: HashMap::new(), clock: 0, forgotten: 0 }
    }
}

/// The moment at which a request was begun.
#[derive(Clone, Copy, Debug)]
pub struct Begun(u64);

/// Whom a change concerns.
pub type Concerned = BTreeSet<String>;

impl<T: Kept> Shelf<T> {
    /// A document as it was just read or written. Returns the gateways that it concerns, if it says
    /// anything new.
    pub fn put(&mut self, read: Read<T>) -> Concerned {
        let key = key(id(&read));
        if let (Ok(newer), Some(Entry { read: Ok(before), .. })) = (&read, self.kept.get(&key))
            && is_older(newer, before)
        {
            return Concerned::new();
        }
        self.replace(key, read)
    }

    /// A document as a request that was begun then left or found it. `None`: something was taken in meanwhile, of
    /// no earlier transition, and which of the two is newer is not known.
    pub fn put_since(&mut self, begun: Begun, read: Read<T>) -> Option<Concerned> {
        let overtaken = match self.kept.get(&key(id(&read))) {
            None => self.forgotten > begun.0,
            Some(Entry { at, .. }) if *at <= begun.0 => false,
            Some(Entry { read: known, .. }) => match (known, &read) {
                (Ok(known), Ok(read)) => !is_older(known, read),
                _ => true,
            },
        };
        (!overtaken).then(|| self.put(read))
    }

    /// That a request which was begun then did not find a document. `None`: something was taken in meanwhile.
    pub fn forget_since(&mut self, begun: Begun, id: &Bson) -> Option<Concerned> {
        let overtaken = self.kept.get(&key(id)).is_some_and(|entry| entry.at > begun.0);
        (!overtaken).then(|| self.forget(id))
    }

    fn replace(&mut self, key: Key, read: Read<T>) -> Concerned {
        self.clock += 1;
        let at = self.clock;
        let gateway = gateway_id(&read).to_owned();
        if let Some(entry) = self.kept.get_mut(&key)
            && entry.read == read
        {
            entry.at = at;
            return Concerned::new();
        }
        let mut concerned = self.take(&key);
        self.by_gateway.entry(gateway.clone()).or_default().insert(key.clone());
        self.kept.insert(key, Entry { read, at });
        concerned.insert(gateway);
        concerned
    }

    /// A document is gone. Returns the gateway that it concerned.
    pub fn forget(&mut self, id: &Bson) -> Concerned {
        self.take(&key(id))
    }

    fn take(&mut self, key: &Key) -> Concerned {
        let Some(entry) = self.kept.remove(key) else { return Concerned::new() };
        self.clock += 1;
        self.forgotten = self.clock;
        let gateway = gateway_id(&entry.read).to_owned();
        if let Some(keys) = self.by_gateway.get_mut(&gateway) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_gateway.remove(&gateway);
            }
        }
        Concerned::from([gateway])
    }

    /// A request begins.
    pub fn begin(&self) -> Begun {
        Begun(self.clock)
    }

    /// A list has come to its end. Returns the gateways that are concerned by what differs from before.
    pub fn swap(&mut self, begun: Begun, listed: Vec<Read<T>>) -> Concerned {
        let mut concerned = Concerned::new();
        let mut seen = HashSet::new();
        for read in listed {
            let key = key(id(&read));
            seen.insert(key.clone());
            // What came while the list was read is newer than the list.
            if self.kept.get(&key).is_none_or(|entry| entry.at <= begun.0) {
                concerned.extend(self.replace(key, read));
            }
        }
        let is_gone = |(key, entry): &(&Key, &Entry<T>)| entry.at <= begun.0 && !seen.contains(*key);
        let gone: Vec<Key> = self.kept.iter().filter(is_gone).map(|(key, _)| key.clone()).collect();
        for key in gone {
            concerned.extend(self.take(&key));
        }
        concerned
    }

    /// The documents about a gateway.
    pub fn of(&self, gateway_id: &str) -> Vec<Read<T>> {
        let keys = self.by_gateway.get(gateway_id).into_iter().flatten();
        keys.filter_map(|key| self.kept.get(key)).map(|entry| entry.read.clone()).collect()
    }

    /// All documents about a gateway, as a request that was begun then found them. What came meanwhile stays.
    pub fn replace_of(&mut self, begun: Begun, gateway_id: &str, now: Vec<Read<T>>) -> Concerned {
        let read: BTreeMap<Key, Read<T>> = now.into_iter().map(|read| (key(id(&read)), read)).collect();
        let gone: Vec<Key> = self
            .by_gateway
            .get(gateway_id)
            .into_iter()
            .flatten()
            .filter(|key| !read.contains_key(*key))
            .filter(|key| self.kept.get(*key).is_none_or(|entry| entry.at <= begun.0))
            .cloned()
            .collect();
        let mut concerned = Concerned::new();
        for key in gone {
            concerned.extend(self.take(&key));
        }
        for (key, read) in read {
            if self.kept.get(&key).is_none_or(|entry| entry.at <= begun.0) {
                concerned.extend(self.replace(key, read));
            }
        }
        concerned
    }

    /// All gateways of which something is known.
    pub fn gateways(&self) -> Concerned {
        self.by_gateway.keys().cloned().collect()
    }
}

/// Whether the version of a document tells of an earlier transition than one that was seen before. A change
/// stream tells each of our own writes after its answer has arrived.
fn is_older<T: Kept>(newer: &T, before: &T) -> bool {
    let ((uid, seq), (uid_before, seq_before)) = (newer.written_by(), before.written_by());
    uid.is_some() && uid == uid_before && seq < seq_before
}

fn key(id: &Bson) -> Key {
    // What was read can be written.
    bson::serialize_to_vec(&doc! { "_id": id.clone() }).unwrap_or_else(|_| format!("{id:?}").into_bytes())
}

/// The document's own key.
pub fn id<T: Kept>(read: &Read<T>) -> &Bson {
    match read {
        Ok(document) => document.id(),
        Err(unreadable) => &unreadable.id,
    }
}

fn gateway_id<T: Kept>(read: &Read<T>) -> &str {
    match read {
        Ok(document) => document.gateway_id(),
        Err(unreadable) => &unreadable.gateway_id,
    }
}

impl Known {
    /// All that is known of one gateway id.
    pub fn of(&self, gateway_id: &str) -> Documents {
        Documents {
            gateways: GatewayDocument::shelf(self).of(gateway_id),
            environments: EnvironmentDocument::shelf(self).of(gateway_id),
        }
    }

    /// Both collections were listed.
    pub fn is_complete(&self) -> bool {
        self.listed.borrow().is_complete()
    }

    /// A collection was listed. Returns whether that made it complete.
    pub fn listed<T: Shelved>(&self) -> bool {
        let before = self.is_complete();
        self.listed.send_modify(|listed| *T::listed(listed) = true);
        !before && self.is_complete()
    }

    /// Waits until both collections were listed.
    pub async fn wait_until_complete(&self) {
        // The sender lives as long as this, so waiting cannot fail.
        let _ = self.listed.subscribe().wait_for(|listed| listed.is_complete()).await;
    }

    /// All gateways of which something is known.
    pub fn gateways(&self) -> Concerned {
        let mut all = GatewayDocument::shelf(self).gateways();
        all.extend(EnvironmentDocument::shelf(self).gateways());
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use mongodb::bson::{Document, doc};

    fn document(id: i32, gateway: &str, more: Document) -> Read<GatewayDocument> {
        let mut document = doc! { "_id": id, "gatewayId": gateway, "state": "Running" };
        document.extend(more);
        GatewayDocument::read(document)
    }

    fn concerned<const N: usize>(ids: [&str; N]) -> Concerned {
        ids.into_iter().map(str::to_owned).collect()
    }

    fn states(shelf: &Shelf<GatewayDocument>, gateway: &str) -> Vec<String> {
        shelf.of(gateway).into_iter().map(|read| read.unwrap().state.unwrap()).collect()
    }

    /// As a text they would be one: code is told without quotes.
    #[test]
    fn a_key_that_reads_like_anothers_is_another_documents() {
        let mut shelf = Shelf::default();
        let of = |id: Bson, gateway: &str| {
            GatewayDocument::read(doc! { "_id": id, "gatewayId": gateway, "state": "Running" })
        };
        let text = Bson::from("shop");
        for forged in [Bson::JavaScriptCode("\"shop\"".to_owned()), Bson::Symbol("shop".to_owned())] {
            shelf.put(of(text.clone(), "a"));
            assert_eq!(shelf.put(of(forged.clone(), "evil")), concerned(["evil"]));
            assert_eq!(shelf.of("a").len(), 1, "{forged:?}");
            shelf.forget(&forged);
            assert_eq!(shelf.of("a").len(), 1, "{forged:?}");
        }
    }

    #[test]
    fn what_says_nothing_new_concerns_nobody() {
        let mut shelf = Shelf::default();
        assert_eq!(shelf.put(document(1, "a", doc! {})), concerned(["a"]));
        assert_eq!(shelf.put(document(1, "a", doc! {})), concerned([]));
        assert_eq!(shelf.put(document(1, "a", doc! { "theirs": 1 })), concerned([]));
        assert_eq!(shelf.put(document(1, "a", doc! { "state": "Stopped" })), concerned(["a"]));
    }

    #[test]
    fn a_document_that_comes_to_be_about_another_gateway_concerns_both() {
        let mut shelf = Shelf::default();
        shelf.put(document(1, "a", doc! {}));
        assert_eq!(shelf.put(document(1, "b", doc! {})), concerned(["a", "b"]));
        assert!(shelf.of("a").is_empty());
    }

    #[test]
    fn a_list_makes_known_what_is_gone_and_what_is_new() {
        let mut shelf = Shelf::default();
        shelf.put(document(1, "a", doc! {}));
        shelf.put(document(2, "b", doc! {}));
        let begun = shelf.begin();
        let listed = vec![document(2, "b", doc! {}), document(3, "c", doc! {})];
        assert_eq!(shelf.swap(begun, listed), concerned(["a", "c"]));
        assert_eq!(shelf.gateways(), concerned(["b", "c"]));
    }

    #[test]
    fn a_list_does_not_overrule_what_came_while_it_was_read() {
        let mut shelf = Shelf::default();
        shelf.put(document(1, "a", doc! {}));
        let begun = shelf.begin();
        shelf.put(document(1, "a", doc! { "state": "Stopped" }));
        shelf.put(document(2, "b", doc! {}));
        assert_eq!(shelf.swap(begun, vec![document(1, "a", doc! {})]), concerned([]));
        assert_eq!((states(&shelf, "a"), states(&shelf, "b")), (vec!["Stopped".into()], vec!["Running".into()]));
    }

    #[test]
    fn a_version_of_an_earlier_transition_is_no_news() {
        let mut shelf = Shelf::default();
        shelf.put(document(1, "a", doc! { "uid": "u", "seq": 4_i64 }));
        assert_eq!(shelf.put(document(1, "a", doc! { "uid": "u", "seq": 3_i64 })), concerned([]));
        // A platform that replaces its document whole is heard.
        assert_eq!(shelf.put(document(1, "a", doc! {})), concerned(["a"]));
    }

    #[test]
    fn an_answer_does_not_overrule_what_came_while_it_was_on_its_way() {
        let mut shelf = Shelf::default();
        shelf.put(document(1, "a", doc! {}));
        let begun = shelf.begin();
        shelf.put(document(2, "b", doc! {}));
        assert_eq!(shelf.put_since(begun, document(1, "a", doc! { "phase": "Started" })), Some(concerned(["a"])));

        let begun = shelf.begin();
        shelf.put(document(1, "a", doc! { "state": "Stopped" }));
        assert_eq!(shelf.put_since(begun, document(1, "a", doc! {})), None);
        assert_eq!(shelf.forget_since(begun, &Bson::Int32(1)), None);
        assert_eq!(shelf.replace_of(begun, "a", vec![document(1, "a", doc! {})]), concerned([]));
        assert_eq!(shelf.replace_of(begun, "a", Vec::new()), concerned([]));
        assert_eq!(states(&shelf, "a"), ["Stopped"]);
    }

    #[test]
    fn an_answer_overrules_what_is_known_to_be_older() {
        let mut shelf = Shelf::default();
        let begun = shelf.begin();
        let told = |seq: i64| document(1, "a", doc! { "uid": "u", "seq": seq });
        shelf.put(told(1));
        assert_eq!(shelf.put_since(begun, told(2)), Some(concerned(["a"])));
        assert_eq!(shelf.put_since(begun, told(2)), None);
    }

    #[test]
    fn an_answer_does_not_bring_back_what_went_while_it_was_on_its_way() {
        let mut shelf = Shelf::default();
        shelf.put(document(1, "a", doc! {}));
        let begun = shelf.begin();
        shelf.forget(&Bson::Int32(1));
        assert_eq!(shelf.put_since(begun, document(1, "a", doc! {})), None);
        assert_eq!(shelf.put_since(shelf.begin(), document(1, "a", doc! {})), Some(concerned(["a"])));
    }

    #[test]
    fn a_document_that_cannot_be_read_is_known_as_well() {
        let mut shelf = Shelf::default();
        assert_eq!(shelf.put(document(1, "a", doc! { "state": 7 })), concerned(["a"]));
        assert!(shelf.of("a")[0].is_err());
        assert_eq!(shelf.forget(&Bson::Int32(1)), concerned(["a"]));
    }

    #[test]
    fn it_is_complete_when_both_collections_were_listed() {
        let known = Known::default();
        assert!(!known.listed::<EnvironmentDocument>());
        assert!(!known.is_complete());
        assert!(known.listed::<GatewayDocument>());
        assert!(!known.listed::<GatewayDocument>());
    }
}
