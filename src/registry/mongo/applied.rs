//! Tracks objects that were applied for documents, as far as the watch caches do not show them yet.
//!
//! **Architecture invariant:** this module sends no request, and the time is an argument.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::api::{ApiGateway, Environment, ObjectKey};
use crate::children;
use crate::registry::cache::GatewayIds;
use crate::registry::document::{Collection, DocumentError};
use crate::registry::identity::{id_in, platforms_id};

/// Objects that were applied for documents, and those that were refused.
#[derive(Default)]
pub struct AppliedObjects(Mutex<State>);

#[derive(Default)]
struct State {
    /// The places of a gateway id's objects.
    of_id: HashMap<String, HashMap<ObjectKey, Fingerprint>>,
    ids: HashMap<ObjectKey, String>,
    /// Gateways that were applied and that the cache may not show yet.
    fresh_gateways: HashMap<ObjectKey, ApiGateway>,
    /// The same for environments.
    fresh_environments: HashMap<ObjectKey, Environment>,
    /// Places where an apply is in progress.
    in_progress: HashSet<(Collection, ObjectKey)>,
    /// Gateway ids that wait for a foreign object to leave a place.
    blocked: HashMap<(Collection, ObjectKey), BTreeSet<String>>,
    /// Filters of documents whose errors the database refuses to store, until this time.
    unanswerable: HashMap<String, Instant>,
    /// Objects that the API server refused.
    refused: HashMap<(Collection, ObjectKey), Refused>,
}

/// Hash of the fields that intake reads, so that a status change is no news.
type Fingerprint = u64;

struct Refused {
    object: String,
    answer: DocumentError,
    until: Option<Instant>,
}

/// Guards the apply of an object at a place until it is dropped. Without it, two documents for one place would
/// both find it empty, and the second apply would take over the first one's object.
pub struct ApplyGuard<'a> {
    applied: &'a AppliedObjects,
    at: (Collection, ObjectKey),
}

impl Drop for ApplyGuard<'_> {
    fn drop(&mut self) {
        self.applied.lock().in_progress.remove(&self.at);
    }
}

fn fingerprint(meta: &ObjectMeta) -> Fingerprint {
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, &meta.labels, &meta.annotations).hash(&mut hasher);
    (meta.deletion_timestamp.is_some(), &meta.finalizers).hash(&mut hasher);
    hasher.finish()
}

impl AppliedObjects {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each use leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an apply at a place; `None` if another is in progress.
    pub fn begin(&self, collection: Collection, place: &ObjectKey) -> Option<ApplyGuard<'_>> {
        let at = (collection, place.clone());
        let is_first = self.lock().in_progress.insert(at.clone());
        is_first.then(|| ApplyGuard { applied: self, at })
    }

    /// The places of a gateway id's objects.
    pub fn places_of(&self, gateway_id: &str) -> Vec<ObjectKey> {
        self.lock().of_id.get(gateway_id).into_iter().flat_map(|seen| seen.keys().cloned()).collect()
    }

    /// A gateway that was applied and that the cache may not show yet.
    pub fn fresh_gateway(&self, place: &ObjectKey) -> Option<ApiGateway> {
        self.lock().fresh_gateways.get(place).cloned()
    }

    /// An environment that was applied and that the cache may not show yet.
    pub fn fresh_environment(&self, place: &ObjectKey) -> Option<Environment> {
        self.lock().fresh_environments.get(place).cloned()
    }

    /// Records an applied gateway. Its place is known from now on, whatever the cache shows.
    pub fn applied_gateway(&self, place: &ObjectKey, gateway: ApiGateway, is_cached: bool) {
        let mut state = self.lock();
        if let Some(id) = platforms_id(&gateway).map(str::to_owned) {
            state.of_id.entry(id.clone()).or_default().entry(place.clone()).or_insert(0);
            state.ids.insert(place.clone(), id);
        }
        if !is_cached {
            state.fresh_gateways.insert(place.clone(), gateway);
        }
    }

    /// Records an applied environment.
    pub fn applied_environment(&self, place: &ObjectKey, environment: Environment, is_cached: bool) {
        if !is_cached {
            self.lock().fresh_environments.insert(place.clone(), environment);
        }
    }

    /// Records that a gateway id waits for a foreign object to leave a place.
    pub fn block(&self, collection: Collection, place: ObjectKey, gateway_id: &str) {
        self.lock().blocked.entry((collection, place)).or_default().insert(gateway_id.to_owned());
    }

    /// Records that the API server refused an object, and until when that holds; `None`: for good.
    pub fn refuse(
        &self,
        collection: Collection,
        place: &ObjectKey,
        object: &Value,
        answer: DocumentError,
        until: Option<Instant>,
    ) {
        let refused = Refused { object: children::hash(object), answer, until };
        self.lock().refused.insert((collection, place.clone()), refused);
    }

    /// The refusal of this object, if it still holds, and for how long.
    pub fn refusal(
        &self,
        collection: Collection,
        place: &ObjectKey,
        object: &Value,
        now: Instant,
    ) -> Option<(DocumentError, Option<Duration>)> {
        let key = (collection, place.clone());
        let mut state = self.lock();
        let refused = state.refused.get(&key)?;
        let over = refused.until.is_some_and(|until| until <= now);
        if over || refused.object != children::hash(object) {
            state.refused.remove(&key);
            return None;
        }
        Some((refused.answer.clone(), refused.until.map(|until| until.saturating_duration_since(now))))
    }

    /// Records that the database refused to store an error in a document, which is not tried again before
    /// `until`.
    pub fn cannot_answer(&self, filter: String, now: Instant, until: Instant) {
        let mut state = self.lock();
        // Entries of removed documents expire.
        state.unanswerable.retain(|_, until| *until > now);
        state.unanswerable.insert(filter, until);
    }

    /// The wait before an error may be stored again; `None`: no wait.
    pub fn answer_waits(&self, filter: &str, now: Instant) -> Option<Duration> {
        let mut state = self.lock();
        let left = state.unanswerable.get(filter)?.saturating_duration_since(now);
        if left.is_zero() {
            state.unanswerable.remove(filter);
        }
        (!left.is_zero()).then_some(left)
    }

    /// Records a new or changed gateway. Returns the affected gateway ids.
    pub fn saw_gateway(&self, gateway: &ApiGateway) -> GatewayIds {
        let place = ObjectKey::of(gateway);
        let id = platforms_id(gateway);
        let mut state = self.lock();
        state.fresh_gateways.remove(&place);
        let mut affected = state.unblock(Collection::Gateways, &place);
        affected.extend(state.moved(&place, id));
        if let Some(id) = id {
            let now = fingerprint(&gateway.metadata);
            let before = state.of_id.entry(id.to_owned()).or_default().insert(place.clone(), now);
            state.ids.insert(place, id.to_owned());
            if before != Some(now) {
                affected.insert(id.to_owned());
            }
        }
        affected
    }

    /// Records that a gateway is gone. Returns the affected gateway ids.
    pub fn lost_gateway(&self, place: &ObjectKey) -> GatewayIds {
        let mut state = self.lock();
        state.fresh_gateways.remove(place);
        let mut affected = state.unblock(Collection::Gateways, place);
        affected.extend(state.moved(place, None));
        affected
    }

    /// Records a new or changed environment. Returns the affected gateway ids.
    pub fn saw_environment(&self, environment: &Environment) -> GatewayIds {
        let place = ObjectKey::of(environment);
        let mut state = self.lock();
        state.fresh_environments.remove(&place);
        let mut affected = state.unblock(Collection::Environments, &place);
        affected.extend(id_in(&environment.metadata).map(str::to_owned));
        affected
    }

    /// Records that an environment is gone. Returns the affected gateway ids.
    pub fn lost_environment(&self, place: &ObjectKey) -> GatewayIds {
        let mut state = self.lock();
        state.fresh_environments.remove(place);
        let mut affected = state.unblock(Collection::Environments, place);
        // Its gateway is not known any more; it may be any whose name is a prefix.
        let ObjectKey { namespace, name } = place;
        let gateways = name.match_indices('-').map(|(end, _)| ObjectKey::new(namespace, &name[..end]));
        affected.extend(gateways.filter_map(|gateway| state.ids.get(&gateway).cloned()));
        affected
    }
}

impl State {
    /// Records the id at a place. Returns the earlier id, if it differs.
    fn moved(&mut self, place: &ObjectKey, id: Option<&str>) -> Option<String> {
        let before = self.ids.get(place).filter(|before| Some(before.as_str()) != id)?.clone();
        self.ids.remove(place);
        if let Some(places) = self.of_id.get_mut(&before) {
            places.remove(place);
            if places.is_empty() {
                self.of_id.remove(&before);
            }
        }
        Some(before)
    }

    fn unblock(&mut self, collection: Collection, place: &ObjectKey) -> GatewayIds {
        self.blocked.remove(&(collection, place.clone())).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::api::{GATEWAY_ID_ANNOTATION, REGISTRY_LABEL, REGISTRY_MONGODB};

    fn place() -> ObjectKey {
        ObjectKey::new("tenants", "shop")
    }

    fn shop(id: &str) -> ApiGateway {
        let mut gateway =
            ApiGateway::new("shop", serde_json::from_value(json!({ "image": "acme/gateway:1" })).unwrap());
        gateway.metadata.namespace = Some("tenants".to_owned());
        gateway.metadata.labels = Some([(REGISTRY_LABEL.to_owned(), REGISTRY_MONGODB.to_owned())].into());
        gateway.metadata.annotations = Some([(GATEWAY_ID_ANNOTATION.to_owned(), id.to_owned())].into());
        gateway
    }

    fn affected<const N: usize>(ids: [&str; N]) -> GatewayIds {
        ids.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_gateway_that_comes_to_carry_another_id_concerns_both() {
        let made = AppliedObjects::default();
        assert_eq!(made.saw_gateway(&shop("a")), affected(["a"]));
        assert_eq!(made.saw_gateway(&shop("a")), affected([]), "nothing that documents ask for has changed");
        assert_eq!(made.saw_gateway(&shop("b")), affected(["a", "b"]));
        assert_eq!((made.places_of("a"), made.places_of("b")), (Vec::new(), vec![place()]));
        assert_eq!(made.lost_gateway(&place()), affected(["b"]));
    }

    #[test]
    fn who_waits_for_a_place_is_concerned_by_whoever_is_in_it() {
        let made = AppliedObjects::default();
        made.block(Collection::Gateways, place(), "a");
        assert_eq!(made.lost_gateway(&place()), affected(["a"]));
        assert_eq!(made.lost_gateway(&place()), affected([]));
    }

    #[test]
    fn at_one_place_one_object_is_made_at_a_time() {
        let made = AppliedObjects::default();
        let first = made.begin(Collection::Gateways, &place());
        assert!(first.is_some() && made.begin(Collection::Gateways, &place()).is_none());
        assert!(made.begin(Collection::Environments, &place()).is_some(), "of another kind");
        drop(first);
        assert!(made.begin(Collection::Gateways, &place()).is_some());
    }

    #[test]
    fn what_was_applied_is_fresh_until_the_cache_has_it() {
        let made = AppliedObjects::default();
        made.applied_gateway(&place(), shop("a"), false);
        assert!(made.fresh_gateway(&place()).is_some());
        assert_eq!(made.places_of("a"), [place()]);
        made.saw_gateway(&shop("a"));
        assert!(made.fresh_gateway(&place()).is_none());
        made.applied_gateway(&place(), shop("a"), true);
        assert!(made.fresh_gateway(&place()).is_none());
    }

    #[test]
    fn an_environment_that_is_gone_concerns_the_gateways_whose_names_its_own_begins_with() {
        let made = AppliedObjects::default();
        made.saw_gateway(&shop("a"));
        assert_eq!(made.lost_environment(&ObjectKey::new("tenants", "shop-dev-1")), affected(["a"]));
        assert_eq!(made.lost_environment(&ObjectKey::new("others", "shop-dev-1")), affected([]));
    }

    #[test]
    fn a_document_that_cannot_be_answered_is_not_asked_about_for_a_while() {
        let made = AppliedObjects::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(300);
        made.cannot_answer("{ _id: 1 }".to_owned(), now, later);
        assert_eq!(made.answer_waits("{ _id: 1 }", now), Some(Duration::from_secs(300)));
        assert_eq!((made.answer_waits("{ _id: 2 }", now), made.answer_waits("{ _id: 1 }", later)), (None, None));
    }

    #[test]
    fn a_refusal_stands_for_the_object_that_was_refused_and_as_long_as_it_may() {
        let made = AppliedObjects::default();
        let now = Instant::now();
        let answer = DocumentError { reason: "ObjectRefused".to_owned(), message: "no".to_owned() };
        let refused = |object: &Value, now| made.refusal(Collection::Gateways, &place(), object, now);
        let later = now + Duration::from_secs(300);
        made.refuse(Collection::Gateways, &place(), &json!({ "port": 0 }), answer.clone(), Some(later));
        let waits = Duration::from_secs(300);
        assert_eq!(refused(&json!({ "port": 0 }), now), Some((answer.clone(), Some(waits))));
        assert_eq!(refused(&json!({ "port": 0 }), later), None);
        made.refuse(Collection::Gateways, &place(), &json!({ "port": 0 }), answer.clone(), None);
        assert_eq!(refused(&json!({ "port": 0 }), later), Some((answer, None)));
        assert_eq!(refused(&json!({ "port": 1 }), now), None);
    }
}
