//! Environments, by the gateway that they belong to, and which of them count: the oldest, up to a bound. So what a tenant
//! makes more of costs nobody anything but the sentence that says so.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::Event;

use super::index::{Cache, Kept};
use crate::api::{Environment, Guarded, MOST_ENVIRONMENTS, ObjectKey};

impl Kept for Environment {
    type Object = Guarded<Self>;

    fn keep(object: Self::Object) -> Option<(ObjectKey, Self)> {
        let environment = object.0.ok()?;
        Some((environment.gateway_key(), environment))
    }

    fn says_the_same(&self, newer: &Self) -> bool {
        self.metadata.resource_version == newer.metadata.resource_version
    }
}

/// The environments of a scope.
#[derive(Default)]
pub struct Environments {
    kept: Cache<Environment>,
    seats: Mutex<Seats>,
    incoming: Mutex<Seats>,
}

/// Whom a change concerns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Concerned {
    /// The gateways whose environments are others, or say something else.
    pub gateways: Vec<ObjectKey>,
    /// The environment that counts from now on, or does not any more, because another one went or came.
    pub environment: Option<ObjectKey>,
}

impl Environments {
    /// Takes in one event of the watch. Returns who is to look again.
    pub fn absorb(&self, event: Event<Guarded<Environment>>) -> Concerned {
        let environment = self.seat(&event);
        Concerned { gateways: self.kept.absorb(event), environment }
    }

    fn seat(&self, event: &Event<Guarded<Environment>>) -> Option<ObjectKey> {
        match event {
            Event::Apply(object) => lock(&self.seats).put(object),
            Event::Delete(object) => lock(&self.seats).take(&ObjectKey::of(object)),
            Event::Init => {
                *lock(&self.incoming) = Seats::default();
                None
            }
            Event::InitApply(object) => {
                lock(&self.incoming).put(object);
                None
            }
            // Everybody who is listed is looked at.
            Event::InitDone => {
                *lock(&self.seats) = std::mem::take(&mut *lock(&self.incoming));
                None
            }
        }
    }

    /// The environments of a gateway that count, by name.
    pub fn of(&self, gateway: &ObjectKey) -> Vec<(String, Arc<Environment>)> {
        let mut names = lock(&self.seats).counted(gateway);
        names.sort();
        names.into_iter().filter_map(|name| Some((name.clone(), self.kept.one_of(gateway, &name)?))).collect()
    }

    /// Whether an environment is one of those.
    pub fn counts(&self, environment: &Environment) -> bool {
        lock(&self.seats).counts(&ObjectKey::of(environment))
    }

    /// Those whom a complete list concerns were told of it.
    pub fn is_told(&self) {
        self.kept.is_told();
    }

    /// Waits for the first complete list.
    pub async fn wait_until_ready(&self) {
        self.kept.wait_until_ready().await;
    }
}

fn lock(seats: &Mutex<Seats>) -> MutexGuard<'_, Seats> {
    // Nothing in here panics, so nothing is left half-changed.
    seats.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in the order of a gateway's environments: the oldest first, and of one second by name.
type Seat = (Timestamp, String);

/// The environments of each gateway in their order.
#[derive(Default)]
struct Seats {
    of_gateways: HashMap<ObjectKey, BTreeSet<Seat>>,
    places: HashMap<ObjectKey, (ObjectKey, Seat)>,
}

impl Seats {
    /// An environment as it is now. Returns the one that does not count any more.
    fn put(&mut self, object: &Guarded<Environment>) -> Option<ObjectKey> {
        let key = ObjectKey::of(object);
        // One that cannot be read is nobody's. One that is being deleted keeps its seat until it is gone: its host is given up
        // when the gateway routes it no more, and for that it has to be looked at.
        let Ok(environment) = &object.0 else { return self.take(&key) };
        let created = environment.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |created| created.0);
        let (gateway, seat) = (environment.gateway_key(), (created, key.name.clone()));
        if self.places.get(&key).is_some_and(|(of, at)| (of, at) == (&gateway, &seat)) {
            return None;
        }
        // Its gateway cannot change, and so one that is made anew is younger than all.
        self.take(&key);
        let seats = self.of_gateways.entry(gateway.clone()).or_default();
        seats.insert(seat.clone());
        let first_out = seats.iter().nth(MOST_ENVIRONMENTS).filter(|first| seat < **first);
        let moved = first_out.map(|(_, name)| ObjectKey::new(&gateway.namespace, name));
        self.places.insert(key, (gateway, seat));
        moved
    }

    /// An environment is gone. Returns the one that counts in its stead.
    fn take(&mut self, key: &ObjectKey) -> Option<ObjectKey> {
        let (gateway, seat) = self.places.remove(key)?;
        let seats = self.of_gateways.get_mut(&gateway)?;
        seats.remove(&seat);
        let last_in = seats.iter().nth(MOST_ENVIRONMENTS - 1).filter(|last| seat < **last);
        let moved = last_in.map(|(_, name)| ObjectKey::new(&gateway.namespace, name));
        if seats.is_empty() {
            self.of_gateways.remove(&gateway);
        }
        moved
    }

    fn counted(&self, gateway: &ObjectKey) -> Vec<String> {
        let seats = self.of_gateways.get(gateway).into_iter().flatten();
        seats.take(MOST_ENVIRONMENTS).map(|(_, name)| name.clone()).collect()
    }

    fn counts(&self, key: &ObjectKey) -> bool {
        let Some((gateway, seat)) = self.places.get(key) else { return true };
        let first_out = self.of_gateways.get(gateway).and_then(|seats| seats.iter().nth(MOST_ENVIRONMENTS));
        first_out.is_none_or(|first| seat < first)
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
            let concerned = environments.absorb(Event::Apply(guarded(&numbered(number))));
            assert_eq!(concerned.environment, None, "a younger one displaces nobody");
        }
        environments
    }

    fn moved(concerned: Concerned) -> Option<String> {
        concerned.environment.map(|key| key.name)
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
        assert_eq!(moved(environments.absorb(gone(201))), None, "it did not count");
        assert_eq!(moved(environments.absorb(gone(7))).as_deref(), Some("env-0200"));
        assert!(environments.counts(&numbered(200)) && !environments.counts(&numbered(202)));

        let mut goes = numbered(8);
        goes.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(moved(environments.absorb(Event::Apply(guarded(&goes)))), None, "it is still there");
        assert!(
            environments.of(&shop()).iter().any(|(name, _)| name == "env-0008"),
            "it is looked at with its gateway"
        );
        assert_eq!(moved(environments.absorb(gone(8))).as_deref(), Some("env-0202"));

        let older = environment("older", 0);
        assert_eq!(moved(environments.absorb(Event::Apply(guarded(&older)))).as_deref(), Some("env-0202"));
        assert!(environments.counts(&older) && !environments.counts(&numbered(202)));
        assert_eq!(environments.of(&shop()).len(), MOST_ENVIRONMENTS);
    }

    #[test]
    fn a_list_seats_everybody_anew() {
        let environments = full(1);
        environments.absorb(Event::Init);
        for number in 1..=MOST_ENVIRONMENTS {
            environments.absorb(Event::InitApply(guarded(&numbered(number))));
        }
        assert!(!environments.counts(&numbered(200)), "until it is complete");
        environments.absorb(Event::InitDone);
        assert!(environments.counts(&numbered(200)));
        assert_eq!(environments.of(&shop())[0].0, "env-0001");
    }
}
