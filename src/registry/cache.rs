//! The document cache: documents of both collections, by the gateway that they are about.
//!
//! A change stream or a scan fills it, and so do the answers to our own writes.
//!
//! **Architecture invariant:** the cache may be behind, so nothing is written that relies on it alone: every
//! write is fenced by its filter.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mongodb::bson::{self, Bson, doc};
use tokio::sync::watch;

use super::document::{Documents, EnvironmentDocument, GatewayDocument, Read, StoredDocument};
use super::size::MemoryBudget;

/// The cached documents of both collections.
pub struct DocumentCache {
    gateways: Mutex<CollectionCache<GatewayDocument>>,
    environments: Mutex<CollectionCache<EnvironmentDocument>>,
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

impl Default for DocumentCache {
    fn default() -> Self {
        Self {
            gateways: Mutex::default(),
            environments: Mutex::default(),
            listed: watch::Sender::new(Listed::default()),
        }
    }
}

/// A kind of document in the [`DocumentCache`].
pub trait CachedDocument: StoredDocument + Send + 'static {
    /// The cache of its collection.
    fn collection_cache(cache: &DocumentCache) -> MutexGuard<'_, CollectionCache<Self>>;

    /// Its flag in [`Listed`].
    fn listed(all: &mut Listed) -> &mut bool;
}

impl CachedDocument for GatewayDocument {
    fn collection_cache(cache: &DocumentCache) -> MutexGuard<'_, CollectionCache<Self>> {
        // Nothing in a cache panics, so it is never left half-changed.
        cache.gateways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(all: &mut Listed) -> &mut bool {
        &mut all.gateways
    }
}

impl CachedDocument for EnvironmentDocument {
    fn collection_cache(cache: &DocumentCache) -> MutexGuard<'_, CollectionCache<Self>> {
        cache.environments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(all: &mut Listed) -> &mut bool {
        &mut all.environments
    }
}

/// The serialized `_id`. Keys of different types could share one text.
type Key = Vec<u8>;

/// The cached documents of one collection.
pub struct CollectionCache<T> {
    kept: HashMap<Key, Entry<T>>,
    by_gateway: HashMap<String, BTreeSet<Key>>,
    /// Counts updates, so that the answer to a request does not overwrite what arrived meanwhile.
    clock: u64,
    /// When a document was last removed.
    forgotten: u64,
    budget: MemoryBudget,
}

struct Entry<T> {
    read: Read<T>,
    at: u64,
    size: usize,
}

impl<T> Default for CollectionCache<T> {
    fn default() -> Self {
        Self {
            kept: HashMap::new(),
            by_gateway: HashMap::new(),
            clock: 0,
            forgotten: 0,
            budget: MemoryBudget::default(),
        }
    }
}

/// The moment at which a request was sent.
#[derive(Clone, Copy, Debug)]
pub struct ReadStart(u64);

/// The ids of the gateways that a change affects.
pub type GatewayIds = BTreeSet<String>;

impl<T: StoredDocument> CollectionCache<T> {
    /// Updates a document that was just read or written. Returns the affected gateways, if it says anything
    /// new.
    pub fn put(&mut self, read: Read<T>) -> GatewayIds {
        let key = key(id(&read));
        if let (Ok(newer), Some(Entry { read: Ok(before), .. })) = (&read, self.kept.get(&key))
            && is_older(newer, before)
        {
            return GatewayIds::new();
        }
        self.replace(key, read)
    }

    /// Updates a document with the answer to an earlier request. `None`: another update of no earlier
    /// transition arrived meanwhile, and it is unknown which is newer.
    pub fn put_since(&mut self, read_start: ReadStart, read: Read<T>) -> Option<GatewayIds> {
        let overtaken = match self.kept.get(&key(id(&read))) {
            None => self.forgotten > read_start.0,
            Some(Entry { at, .. }) if *at <= read_start.0 => false,
            Some(Entry { read: known, .. }) => match (known, &read) {
                (Ok(known), Ok(read)) => !is_older(known, read),
                _ => true,
            },
        };
        (!overtaken).then(|| self.put(read))
    }

    /// Removes a document that an earlier request did not find. `None`: another update arrived meanwhile.
    pub fn forget_since(&mut self, read_start: ReadStart, id: &Bson) -> Option<GatewayIds> {
        let overtaken = self.kept.get(&key(id)).is_some_and(|entry| entry.at > read_start.0);
        (!overtaken).then(|| self.forget(id))
    }

    fn replace(&mut self, key: Key, read: Read<T>) -> GatewayIds {
        self.clock += 1;
        let at = self.clock;
        let gateway = gateway_id(&read).to_owned();
        let before = self.kept.get(&key).map_or(0, |entry| entry.size);
        self.budget.release(before);
        let (read, size) = within(&mut self.budget, read);
        if let Some(entry) = self.kept.get_mut(&key)
            && entry.read == read
        {
            (entry.at, entry.size) = (at, size);
            return GatewayIds::new();
        }
        // Its memory was released above.
        if let Some(entry) = self.kept.get_mut(&key) {
            entry.size = 0;
        }
        let mut affected = self.take(&key);
        self.by_gateway.entry(gateway.clone()).or_default().insert(key.clone());
        self.kept.insert(key, Entry { read, at, size });
        affected.insert(gateway);
        affected
    }

    /// Removes a document. Returns the affected gateway.
    pub fn forget(&mut self, id: &Bson) -> GatewayIds {
        self.take(&key(id))
    }

    fn take(&mut self, key: &Key) -> GatewayIds {
        let Some(entry) = self.kept.remove(key) else { return GatewayIds::new() };
        self.budget.release(entry.size);
        self.clock += 1;
        self.forgotten = self.clock;
        let gateway = gateway_id(&entry.read).to_owned();
        if let Some(keys) = self.by_gateway.get_mut(&gateway) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_gateway.remove(&gateway);
            }
        }
        GatewayIds::from([gateway])
    }

    /// Marks the beginning of a request.
    pub fn begin(&self) -> ReadStart {
        ReadStart(self.clock)
    }

    /// Replaces everything with a complete list. Returns the gateways whose documents changed.
    pub fn swap(&mut self, read_start: ReadStart, listed: Vec<Read<T>>) -> GatewayIds {
        let mut affected = GatewayIds::new();
        let mut seen = HashSet::new();
        for read in listed {
            let key = key(id(&read));
            seen.insert(key.clone());
            // An update that arrived during the listing is newer than the list.
            if self.kept.get(&key).is_none_or(|entry| entry.at <= read_start.0) {
                affected.extend(self.replace(key, read));
            }
        }
        let is_gone = |(key, entry): &(&Key, &Entry<T>)| entry.at <= read_start.0 && !seen.contains(*key);
        let gone: Vec<Key> = self.kept.iter().filter(is_gone).map(|(key, _)| key.clone()).collect();
        for key in gone {
            affected.extend(self.take(&key));
        }
        affected
    }

    /// The documents about a gateway.
    pub fn of(&self, gateway_id: &str) -> Vec<Read<T>> {
        let keys = self.by_gateway.get(gateway_id).into_iter().flatten();
        keys.filter_map(|key| self.kept.get(key)).map(|entry| entry.read.clone()).collect()
    }

    /// Replaces all documents about a gateway with the answer to an earlier request. Updates that arrived
    /// meanwhile stay.
    pub fn replace_of(&mut self, read_start: ReadStart, gateway_id: &str, now: Vec<Read<T>>) -> GatewayIds {
        let read: BTreeMap<Key, Read<T>> = now.into_iter().map(|read| (key(id(&read)), read)).collect();
        let gone: Vec<Key> = self
            .by_gateway
            .get(gateway_id)
            .into_iter()
            .flatten()
            .filter(|key| !read.contains_key(*key))
            .filter(|key| self.kept.get(*key).is_none_or(|entry| entry.at <= read_start.0))
            .cloned()
            .collect();
        let mut affected = GatewayIds::new();
        for key in gone {
            affected.extend(self.take(&key));
        }
        for (key, read) in read {
            if self.kept.get(&key).is_none_or(|entry| entry.at <= read_start.0) {
                affected.extend(self.replace(key, read));
            }
        }
        affected
    }

    /// Whether a document of any size fits.
    pub fn has_room(&self) -> bool {
        self.budget.has_room()
    }

    /// All gateways with cached documents.
    pub fn gateways(&self) -> GatewayIds {
        self.by_gateway.keys().cloned().collect()
    }
}

/// The document, reduced if it does not fit into the budget, and the size that it takes.
pub fn within<T: StoredDocument>(budget: &mut MemoryBudget, read: Read<T>) -> (Read<T>, usize) {
    match read {
        Ok(document) => {
            let size = document.size();
            if budget.take(size) { (Ok(document), size) } else { (Err(document.without_room()), 0) }
        }
        unreadable => (unreadable, 0),
    }
}

/// Whether `newer` reports an earlier transition than `before`. A change stream delivers our own writes after
/// their answers have arrived.
fn is_older<T: StoredDocument>(newer: &T, before: &T) -> bool {
    let ((uid, seq), (uid_before, seq_before)) = (newer.written_by(), before.written_by());
    uid.is_some() && uid == uid_before && seq < seq_before
}

fn key(id: &Bson) -> Key {
    // Data that was read can be serialized.
    bson::serialize_to_vec(&doc! { "_id": id.clone() }).unwrap_or_else(|_| format!("{id:?}").into_bytes())
}

/// The document's `_id`.
pub fn id<T: StoredDocument>(read: &Read<T>) -> &Bson {
    match read {
        Ok(document) => document.id(),
        Err(unreadable) => &unreadable.id,
    }
}

fn gateway_id<T: StoredDocument>(read: &Read<T>) -> &str {
    match read {
        Ok(document) => document.gateway_id(),
        Err(unreadable) => &unreadable.gateway_id,
    }
}

impl DocumentCache {
    /// All documents of a gateway id.
    pub fn of(&self, gateway_id: &str) -> Documents {
        Documents {
            gateways: GatewayDocument::collection_cache(self).of(gateway_id),
            environments: EnvironmentDocument::collection_cache(self).of(gateway_id),
        }
    }

    /// Whether a document of any size fits.
    pub fn has_room(&self) -> bool {
        GatewayDocument::collection_cache(self).has_room() && EnvironmentDocument::collection_cache(self).has_room()
    }

    /// Whether both collections were listed.
    pub fn is_complete(&self) -> bool {
        self.listed.borrow().is_complete()
    }

    /// Marks a collection as listed. Returns whether the cache became complete.
    pub fn listed<T: CachedDocument>(&self) -> bool {
        let before = self.is_complete();
        self.listed.send_modify(|listed| *T::listed(listed) = true);
        !before && self.is_complete()
    }

    /// Waits until both collections were listed.
    pub async fn wait_until_complete(&self) {
        // The sender lives as long as this, so waiting cannot fail.
        let _ = self.listed.subscribe().wait_for(|listed| listed.is_complete()).await;
    }

    /// All gateways with cached documents.
    pub fn gateways(&self) -> GatewayIds {
        let mut all = GatewayDocument::collection_cache(self).gateways();
        all.extend(EnvironmentDocument::collection_cache(self).gateways());
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

    fn affected<const N: usize>(ids: [&str; N]) -> GatewayIds {
        ids.into_iter().map(str::to_owned).collect()
    }

    fn states(cache: &CollectionCache<GatewayDocument>, gateway: &str) -> Vec<String> {
        cache.of(gateway).into_iter().map(|read| read.unwrap().state.unwrap()).collect()
    }

    /// As a text they would be one: code is told without quotes.
    #[test]
    fn a_key_that_reads_like_anothers_is_another_documents() {
        let mut cache = CollectionCache::default();
        let of = |id: Bson, gateway: &str| {
            GatewayDocument::read(doc! { "_id": id, "gatewayId": gateway, "state": "Running" })
        };
        let text = Bson::from("shop");
        for forged in [Bson::JavaScriptCode("\"shop\"".to_owned()), Bson::Symbol("shop".to_owned())] {
            cache.put(of(text.clone(), "a"));
            assert_eq!(cache.put(of(forged.clone(), "evil")), affected(["evil"]));
            assert_eq!(cache.of("a").len(), 1, "{forged:?}");
            cache.forget(&forged);
            assert_eq!(cache.of("a").len(), 1, "{forged:?}");
        }
    }

    #[test]
    fn what_says_nothing_new_concerns_nobody() {
        let mut cache = CollectionCache::default();
        assert_eq!(cache.put(document(1, "a", doc! {})), affected(["a"]));
        assert_eq!(cache.put(document(1, "a", doc! {})), affected([]));
        assert_eq!(cache.put(document(1, "a", doc! { "theirs": 1 })), affected([]));
        assert_eq!(cache.put(document(1, "a", doc! { "state": "Stopped" })), affected(["a"]));
    }

    #[test]
    fn a_document_that_comes_to_be_about_another_gateway_concerns_both() {
        let mut cache = CollectionCache::default();
        cache.put(document(1, "a", doc! {}));
        assert_eq!(cache.put(document(1, "b", doc! {})), affected(["a", "b"]));
        assert!(cache.of("a").is_empty());
    }

    #[test]
    fn large_documents_have_so_much_room_together_and_one_that_is_gone_leaves_its_own() {
        let large = |id: i32, more: Document| {
            let mut spec = doc! { "args": ["x".repeat(1_000_000)] };
            spec.extend(more);
            document(id, &format!("g{id}"), doc! { "spec": spec })
        };
        let mut cache = CollectionCache::default();
        for id in 0..70 {
            cache.put(large(id, doc! {}));
        }
        cache.put(document(100, "small", doc! {}));
        let is_read = |cache: &CollectionCache<GatewayDocument>, id: i32| cache.of(&format!("g{id}"))[0].is_ok();
        let read = (0..70).filter(|id| is_read(&cache, *id)).count();
        assert_eq!((read, cache.has_room(), cache.of("small")[0].is_ok()), (67, false, true));
        let waits = cache.of("g69")[0].clone().unwrap_err();
        assert!(waits.waits_for_room && waits.fault.contains("(64 MiB)"), "{}", waits.fault);
        assert_eq!(waits.fence, doc! { "state": { "$eq": "Running" }, "updatedAt": { "$eq": null } });
        // Its own room is its own, whatever else it says then.
        cache.put(large(0, doc! { "replicas": 2 }));
        cache.put(large(0, doc! { "replicas": 2 }));
        assert!(is_read(&cache, 0));
        assert_eq!(cache.put(large(69, doc! {})), affected([]));
        cache.forget(&Bson::Int32(1));
        cache.forget(&Bson::Int32(2));
        assert!(cache.has_room());
        assert_eq!(cache.put(large(69, doc! {})), affected(["g69"]));
        assert!(is_read(&cache, 69));
    }

    #[test]
    fn a_list_makes_known_what_is_gone_and_what_is_new() {
        let mut cache = CollectionCache::default();
        cache.put(document(1, "a", doc! {}));
        cache.put(document(2, "b", doc! {}));
        let read_start = cache.begin();
        let listed = vec![document(2, "b", doc! {}), document(3, "c", doc! {})];
        assert_eq!(cache.swap(read_start, listed), affected(["a", "c"]));
        assert_eq!(cache.gateways(), affected(["b", "c"]));
    }

    #[test]
    fn a_list_does_not_overrule_what_came_while_it_was_read() {
        let mut cache = CollectionCache::default();
        cache.put(document(1, "a", doc! {}));
        let read_start = cache.begin();
        cache.put(document(1, "a", doc! { "state": "Stopped" }));
        cache.put(document(2, "b", doc! {}));
        assert_eq!(cache.swap(read_start, vec![document(1, "a", doc! {})]), affected([]));
        assert_eq!((states(&cache, "a"), states(&cache, "b")), (vec!["Stopped".into()], vec!["Running".into()]));
    }

    #[test]
    fn a_version_of_an_earlier_transition_is_no_news() {
        let mut cache = CollectionCache::default();
        cache.put(document(1, "a", doc! { "uid": "u", "seq": 4_i64 }));
        assert_eq!(cache.put(document(1, "a", doc! { "uid": "u", "seq": 3_i64 })), affected([]));
        // A platform that replaces its document whole is heard.
        assert_eq!(cache.put(document(1, "a", doc! {})), affected(["a"]));
    }

    #[test]
    fn an_answer_does_not_overrule_what_came_while_it_was_on_its_way() {
        let mut cache = CollectionCache::default();
        cache.put(document(1, "a", doc! {}));
        let read_start = cache.begin();
        cache.put(document(2, "b", doc! {}));
        assert_eq!(cache.put_since(read_start, document(1, "a", doc! { "phase": "Started" })), Some(affected(["a"])));

        let read_start = cache.begin();
        cache.put(document(1, "a", doc! { "state": "Stopped" }));
        assert_eq!(cache.put_since(read_start, document(1, "a", doc! {})), None);
        assert_eq!(cache.forget_since(read_start, &Bson::Int32(1)), None);
        assert_eq!(cache.replace_of(read_start, "a", vec![document(1, "a", doc! {})]), affected([]));
        assert_eq!(cache.replace_of(read_start, "a", Vec::new()), affected([]));
        assert_eq!(states(&cache, "a"), ["Stopped"]);
    }

    #[test]
    fn an_answer_overrules_what_is_known_to_be_older() {
        let mut cache = CollectionCache::default();
        let read_start = cache.begin();
        let told = |seq: i64| document(1, "a", doc! { "uid": "u", "seq": seq });
        cache.put(told(1));
        assert_eq!(cache.put_since(read_start, told(2)), Some(affected(["a"])));
        assert_eq!(cache.put_since(read_start, told(2)), None);
    }

    #[test]
    fn an_answer_does_not_bring_back_what_went_while_it_was_on_its_way() {
        let mut cache = CollectionCache::default();
        cache.put(document(1, "a", doc! {}));
        let read_start = cache.begin();
        cache.forget(&Bson::Int32(1));
        assert_eq!(cache.put_since(read_start, document(1, "a", doc! {})), None);
        assert_eq!(cache.put_since(cache.begin(), document(1, "a", doc! {})), Some(affected(["a"])));
    }

    #[test]
    fn a_document_that_cannot_be_read_is_known_as_well() {
        let mut cache = CollectionCache::default();
        assert_eq!(cache.put(document(1, "a", doc! { "state": 7 })), affected(["a"]));
        assert!(cache.of("a")[0].is_err());
        assert_eq!(cache.forget(&Bson::Int32(1)), affected(["a"]));
    }

    #[test]
    fn it_is_complete_when_both_collections_were_listed() {
        let known = DocumentCache::default();
        assert!(!known.listed::<EnvironmentDocument>());
        assert!(!known.is_complete());
        assert!(known.listed::<GatewayDocument>());
        assert!(!known.listed::<GatewayDocument>());
    }
}
