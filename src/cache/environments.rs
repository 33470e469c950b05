//! Environments by gateway. Only the oldest ones count, up to a limit, so that surplus environments of a tenant
//! cost no more than the message that says so.
//!
//! **Architecture invariant:** the order is by age, so that a new environment displaces nobody.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::Event;

use super::index::{Cache, Cached};
use crate::api::{Environment, Guarded, MOST_ENVIRONMENTS, ObjectKey};

impl Cached for Environment {
    type Object = Guarded<Self>;

    fn from_object(object: Self::Object) -> Option<(ObjectKey, Self)> {
        let environment = object.0.ok()?;
        Some((environment.gateway_key(), environment))
    }

    fn is_unchanged(&self, newer: &Self) -> bool {
        self.metadata.resource_version == newer.metadata.resource_version
    }
}

/// The environments of a scope.
#[derive(Default)]
pub struct Environments {
    kept: Cache<Environment>,
    ranking: Mutex<Ranking>,
    incoming: Mutex<Ranking>,
}

/// The objects that an event affects.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// Gateways whose environments changed.
    pub gateways: Vec<ObjectKey>,
    /// An environment that counts from now on, or stops counting, because another one went or came.
    pub environment: Option<ObjectKey>,
}

impl Environments {
    /// Applies a watch event. Returns the objects to requeue.
    pub fn apply_event(&self, event: Event<Guarded<Environment>>) -> Affected {
        let environment = self.rank(&event);
        Affected { gateways: self.kept.apply_event(event), environment }
    }

    fn rank(&self, event: &Event<Guarded<Environment>>) -> Option<ObjectKey> {
        match event {
            Event::Apply(object) => lock(&self.ranking).put(object),
            Event::Delete(object) => lock(&self.ranking).take(&ObjectKey::of(object)),
            Event::Init => {
                *lock(&self.incoming) = Ranking::default();
                None
            }
            Event::InitApply(object) => {
                lock(&self.incoming).put(object);
                None
            }
            // Every listed environment is requeued anyway.
            Event::InitDone => {
                *lock(&self.ranking) = std::mem::take(&mut *lock(&self.incoming));
                None
            }
        }
    }

    /// The environments of a gateway that count, by name.
    pub fn of(&self, gateway: &ObjectKey) -> Vec<(String, Arc<Environment>)> {
        let mut names = lock(&self.ranking).counted(gateway);
        names.sort();
        names.into_iter().filter_map(|name| Some((name.clone(), self.kept.one_of(gateway, &name)?))).collect()
    }

    /// Whether an environment counts.
    pub fn counts(&self, environment: &Environment) -> bool {
        lock(&self.ranking).counts(&ObjectKey::of(environment))
    }

    /// Called once the objects that a complete list affects were requeued.
    pub fn mark_ready(&self) {
        self.kept.mark_ready();
    }

    /// Waits for the first complete list.
    pub async fn wait_until_ready(&self) {
        self.kept.wait_until_ready().await;
    }
}

fn lock(ranking: &Mutex<Ranking>) -> MutexGuard<'_, Ranking> {
    // Nothing in here panics, so nothing is left half-changed.
    ranking.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The order of a gateway's environments: by age, then by name.
type Rank = (Timestamp, String);

/// The ordered environments of each gateway.
#[derive(Default)]
struct Ranking {
    of_gateways: HashMap<ObjectKey, BTreeSet<Rank>>,
    places: HashMap<ObjectKey, (ObjectKey, Rank)>,
}

impl Ranking {
    /// Adds or updates an environment. Returns the one that stops counting.
    fn put(&mut self, object: &Guarded<Environment>) -> Option<ObjectKey> {
        let key = ObjectKey::of(object);
        // An unreadable environment belongs to no gateway. A terminating one keeps its rank until it is gone:
        // it gives up its host only once the gateway stops routing it, which takes another reconcile.
        let Ok(environment) = &object.0 else { return self.take(&key) };
        let created = environment.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |created| created.0);
        let (gateway, rank) = (environment.gateway_key(), (created, key.name.clone()));
        if self.places.get(&key).is_some_and(|(of, at)| (of, at) == (&gateway, &rank)) {
            return None;
        }
        // The gateway reference is immutable, so a recreated environment ranks last.
        self.take(&key);
        let ranking = self.of_gateways.entry(gateway.clone()).or_default();
        ranking.insert(rank.clone());
        let first_out = ranking.iter().nth(MOST_ENVIRONMENTS).filter(|first| rank < **first);
        let moved = first_out.map(|(_, name)| ObjectKey::new(&gateway.namespace, name));
        self.places.insert(key, (gateway, rank));
        moved
    }

    /// Removes an environment. Returns the one that counts in its place.
    fn take(&mut self, key: &ObjectKey) -> Option<ObjectKey> {
        let (gateway, rank) = self.places.remove(key)?;
        let ranking = self.of_gateways.get_mut(&gateway)?;
        ranking.remove(&rank);
        let last_in = ranking.iter().nth(MOST_ENVIRONMENTS - 1).filter(|last| rank < **last);
        let moved = last_in.map(|(_, name)| ObjectKey::new(&gateway.namespace, name));
        if ranking.is_empty() {
            self.of_gateways.remove(&gateway);
        }
        moved
    }

    fn counted(&self, gateway: &ObjectKey) -> Vec<String> {
        let ranking = self.of_gateways.get(gateway).into_iter().flatten();
        ranking.take(MOST_ENVIRONMENTS).map(|(_, name)| name.clone()).collect()
    }

    fn counts(&self, key: &ObjectKey) -> bool {
        let Some((gateway, rank)) = self.places.get(key) else { return true };
        let first_out = self.of_gateways.get(gateway).and_then(|ranking| ranking.iter().nth(MOST_ENVIRONMENTS));
        first_out.is_none_or(|first| rank < first)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::api::{EnvironmentSpec, GatewayRef};

    /// An environment of `shop`, created at a second.
    fn environment(name: &str, second: usize) -> Environment {
        let gateway_ref = GatewayRef { name: "shop".to_owned() };
        let mut environment = Environment::new(name, EnvironmentSpec { gateway_ref, host: None });
        environment.metadata.namespace = Some("tenants".to_owned());
        environment.metadata.uid = Some(format!("uid-of-{name}-{second}"));
        let created = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        environment.metadata.creation_timestamp = Some(Time(created));
        environment
    }

    fn numbered(number: usize) -> Environment {
        environment(&format!("env-{number:04}"), number)
    }

    fn guarded(environment: &Environment) -> Guarded<Environment> {
        Guarded::whole(environment.clone())
    }

    fn shop() -> ObjectKey {
        ObjectKey::new("tenants", "shop")
    }

    fn full(more: usize) -> Environments {
        let environments = Environments::default();
        for number in 0..MOST_ENVIRONMENTS + more {
            let affected = environments.apply_event(Event::Apply(guarded(&numbered(number))));
            assert_eq!(affected.environment, None, "a younger one displaces nobody");
        }
        environments
    }

    fn moved(affected: Affected) -> Option<String> {
        affected.environment.map(|key| key.name)
    }

    #[test]
    fn the_oldest_count_and_those_that_are_too_many_do_not() {
        let environments = full(2);
        let names: Vec<String> = environments.of(&shop()).into_iter().map(|(name, _)| name).collect();
        assert_eq!((names.len(), names[0].as_str(), names[199].as_str()), (200, "env-0000", "env-0199"));
        for (number, expected) in [(0, true), (199, true), (200, false), (201, false)] {
            assert_eq!(environments.counts(&numbered(number)), expected, "{number}");
        }
    }

    #[test]
    fn where_one_goes_the_next_is_looked_at_and_where_an_older_one_comes_the_last() {
        let environments = full(3);
        let gone = |number| Event::Delete(guarded(&numbered(number)));
        assert_eq!(moved(environments.apply_event(gone(201))), None, "it did not count");
        assert_eq!(moved(environments.apply_event(gone(7))).as_deref(), Some("env-0200"));
        assert!(environments.counts(&numbered(200)) && !environments.counts(&numbered(202)));

        let mut goes = numbered(8);
        goes.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(moved(environments.apply_event(Event::Apply(guarded(&goes)))), None, "it is still there");
        assert!(
            environments.of(&shop()).iter().any(|(name, _)| name == "env-0008"),
            "it is looked at with its gateway"
        );
        assert_eq!(moved(environments.apply_event(gone(8))).as_deref(), Some("env-0202"));

        let older = environment("older", 0);
        assert_eq!(moved(environments.apply_event(Event::Apply(guarded(&older)))).as_deref(), Some("env-0202"));
        assert!(environments.counts(&older) && !environments.counts(&numbered(202)));
        assert_eq!(environments.of(&shop()).len(), MOST_ENVIRONMENTS);
    }

    #[test]
    fn a_list_seats_everybody_anew() {
        let environments = full(1);
        environments.apply_event(Event::Init);
        for number in 1..=MOST_ENVIRONMENTS {
            environments.apply_event(Event::InitApply(guarded(&numbered(number))));
        }
        assert!(!environments.counts(&numbered(200)), "until it is complete");
        environments.apply_event(Event::InitDone);
        assert!(environments.counts(&numbered(200)));
        assert_eq!(environments.of(&shop())[0].0, "env-0001");
    }
}
