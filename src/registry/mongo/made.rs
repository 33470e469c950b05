//! What became of documents, as far as the caches do not say it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::api::{ApiGateway, Environment, ObjectKey};
use crate::children;
use crate::registry::document::{Answer, Collection};
use crate::registry::identity::{id_in, platforms_id};
use crate::registry::known::Concerned;

/// What became of documents: their objects, and those that could not be made.
#[derive(Default)]
pub struct Made(Mutex<State>);

#[derive(Default)]
struct State {
    /// Where the gateways of an id are.
    of_id: HashMap<String, HashMap<ObjectKey, Seen>>,
    ids: HashMap<ObjectKey, String>,
    /// Gateways that were applied and that the cache may not have yet.
    fresh_gateways: HashMap<ObjectKey, ApiGateway>,
    /// Environments, likewise.
    fresh_environments: HashMap<ObjectKey, Environment>,
    /// Ids that wait for whoever is in their object's place.
    blocked: HashMap<(Collection, ObjectKey), BTreeSet<String>>,
    /// Documents that the database does not let be answered, by their filters, until when.
    unanswerable: HashMap<String, Instant>,
    /// What the API server refused.
    refused: HashMap<(Collection, ObjectKey), Refused>,
}

/// What of an object intake looks at, but for its place: so that a status is no news.
type Seen = u64;

struct Refused {
    object: String,
    answer: Answer,
    until: Option<Instant>,
}

fn seen(meta: &ObjectMeta) -> Seen {
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, &meta.labels, &meta.annotations).hash(&mut hasher);
    (meta.deletion_timestamp.is_some(), &meta.finalizers).hash(&mut hasher);
    hasher.finish()
}

impl Made {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each use leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the gateways of an id are.
    pub fn places_of(&self, gateway_id: &str) -> Vec<ObjectKey> {
        self.lock().of_id.get(gateway_id).into_iter().flat_map(|seen| seen.keys().cloned()).collect()
    }

    /// A gateway that was applied and that the cache may not have yet.
    pub fn fresh_gateway(&self, place: &ObjectKey) -> Option<ApiGateway> {
        self.lock().fresh_gateways.get(place).cloned()
    }

    /// An environment that was applied and that the cache may not have yet.
    pub fn fresh_environment(&self, place: &ObjectKey) -> Option<Environment> {
        self.lock().fresh_environments.get(place).cloned()
    }

    /// A gateway was applied: its place is known from now on, whatever the cache says.
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

    /// An environment was applied.
    pub fn applied_environment(&self, place: &ObjectKey, environment: Environment, is_cached: bool) {
        if !is_cached {
            self.lock().fresh_environments.insert(place.clone(), environment);
        }
    }

    /// An id waits for whoever is in its object's place.
    pub fn block(&self, collection: Collection, place: ObjectKey, gateway_id: &str) {
        self.lock().blocked.entry((collection, place)).or_default().insert(gateway_id.to_owned());
    }

    /// The API server refused an object; until then, where it may not do so later.
    pub fn refuse(
        &self,
        collection: Collection,
        place: &ObjectKey,
        object: &Value,
        answer: Answer,
        until: Option<Instant>,
    ) {
        let refused = Refused { object: children::hash(object), answer, until };
        self.lock().refused.insert((collection, place.clone()), refused);
    }

    /// What the API server said when it refused this object, if it did and may not say otherwise now; and in how long it may.
    pub fn refusal(
        &self,
        collection: Collection,
        place: &ObjectKey,
        object: &Value,
        now: Instant,
    ) -> Option<(Answer, Option<Duration>)> {
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

    /// The database refused an answer in a document: too large already, say. It is not asked again before then.
    pub fn cannot_answer(&self, filter: String, now: Instant, until: Instant) {
        let mut state = self.lock();
        // Documents go, and what is known of them with time.
        state.unanswerable.retain(|_, until| *until > now);
        state.unanswerable.insert(filter, until);
    }

    /// In how long an answer may be written that was refused before; `None`: it may.
    pub fn answer_waits(&self, filter: &str, now: Instant) -> Option<Duration> {
        let mut state = self.lock();
        let left = state.unanswerable.get(filter)?.saturating_duration_since(now);
        if left.is_zero() {
            state.unanswerable.remove(filter);
        }
        (!left.is_zero()).then_some(left)
    }

    /// A gateway appeared or changed. Returns the ids that it concerns.
    pub fn saw_gateway(&self, gateway: &ApiGateway) -> Concerned {
        let place = ObjectKey::of(gateway);
        let id = platforms_id(gateway);
        let mut state = self.lock();
        state.fresh_gateways.remove(&place);
        let mut concerned = state.unblock(Collection::Gateways, &place);
        concerned.extend(state.moved(&place, id));
        if let Some(id) = id {
            let now = seen(&gateway.metadata);
            let before = state.of_id.entry(id.to_owned()).or_default().insert(place.clone(), now);
            state.ids.insert(place, id.to_owned());
            if before != Some(now) {
                concerned.insert(id.to_owned());
            }
        }
        concerned
    }

    /// A gateway is gone. Returns the ids that it concerns.
    pub fn lost_gateway(&self, place: &ObjectKey) -> Concerned {
        let mut state = self.lock();
        state.fresh_gateways.remove(place);
        let mut concerned = state.unblock(Collection::Gateways, place);
        concerned.extend(state.moved(place, None));
        concerned
    }

    /// An environment appeared or changed. Returns the ids that it concerns.
    pub fn saw_environment(&self, environment: &Environment) -> Concerned {
        let place = ObjectKey::of(environment);
        let mut state = self.lock();
        state.fresh_environments.remove(&place);
        let mut concerned = state.unblock(Collection::Environments, &place);
        concerned.extend(id_in(&environment.metadata).map(str::to_owned));
        concerned
    }

    /// An environment is gone. Returns the ids that it concerns.
    pub fn lost_environment(&self, place: &ObjectKey) -> Concerned {
        let mut state = self.lock();
        state.fresh_environments.remove(place);
        let mut concerned = state.unblock(Collection::Environments, place);
        // The gateway that it named is not known any more; it may be any whose name its own begins with.
        let ObjectKey { namespace, name } = place;
        let gateways = name.match_indices('-').map(|(end, _)| ObjectKey::new(namespace, &name[..end]));
        concerned.extend(gateways.filter_map(|gateway| state.ids.get(&gateway).cloned()));
        concerned
    }
}

impl State {
    /// What is at a place carries `id` now. Returns the id that it carried before, if that is another.
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

    fn unblock(&mut self, collection: Collection, place: &ObjectKey) -> Concerned {
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

    fn concerned<const N: usize>(ids: [&str; N]) -> Concerned {
        ids.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_gateway_that_comes_to_carry_another_id_concerns_both() {
        let made = Made::default();
        assert_eq!(made.saw_gateway(&shop("a")), concerned(["a"]));
        assert_eq!(made.saw_gateway(&shop("a")), concerned([]), "nothing that documents ask for has changed");
        assert_eq!(made.saw_gateway(&shop("b")), concerned(["a", "b"]));
        assert_eq!((made.places_of("a"), made.places_of("b")), (Vec::new(), vec![place()]));
        assert_eq!(made.lost_gateway(&place()), concerned(["b"]));
    }

    #[test]
    fn who_waits_for_a_place_is_concerned_by_whoever_is_in_it() {
        let made = Made::default();
        made.block(Collection::Gateways, place(), "a");
        assert_eq!(made.lost_gateway(&place()), concerned(["a"]));
        assert_eq!(made.lost_gateway(&place()), concerned([]));
    }

    #[test]
    fn what_was_applied_is_fresh_until_the_cache_has_it() {
        let made = Made::default();
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
        let made = Made::default();
        made.saw_gateway(&shop("a"));
        assert_eq!(made.lost_environment(&ObjectKey::new("tenants", "shop-dev-1")), concerned(["a"]));
        assert_eq!(made.lost_environment(&ObjectKey::new("others", "shop-dev-1")), concerned([]));
    }

    #[test]
    fn a_document_that_cannot_be_answered_is_not_asked_about_for_a_while() {
        let made = Made::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(300);
        made.cannot_answer("{ _id: 1 }".to_owned(), now, later);
        assert_eq!(made.answer_waits("{ _id: 1 }", now), Some(Duration::from_secs(300)));
        assert_eq!((made.answer_waits("{ _id: 2 }", now), made.answer_waits("{ _id: 1 }", later)), (None, None));
    }

    #[test]
    fn a_refusal_stands_for_the_object_that_was_refused_and_as_long_as_it_may() {
        let made = Made::default();
        let now = Instant::now();
        let answer = Answer { reason: "ObjectRefused".to_owned(), message: "no".to_owned() };
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
