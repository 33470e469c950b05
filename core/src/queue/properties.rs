//! What holds of the queue in any order of events.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use super::{Key, Kind, Queue, Requeue, Stage};
use crate::api::ObjectKey;

const NAMESPACES: usize = 3;
const NAMES: usize = 4;

/// The same cases in each run of the tests; others where somebody asks for a number of them (`PROPTEST_CASES`).
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let rng_seed = if asked.cases == 256 { RngSeed::Fixed(0) } else { asked.rng_seed };
    ProptestConfig { rng_seed, failure_persistence: None, ..asked }
}

#[derive(Clone, Debug)]
enum Event {
    Add(Key, Stage),
    Take,
    /// The work on one of the running keys ends.
    Done(usize, Requeue),
    Pass(Duration),
}

fn key() -> impl Strategy<Value = Key> {
    (0..NAMESPACES, 0..NAMES).prop_map(|(namespace, name)| Key {
        object: ObjectKey::new(format!("tenant-{namespace}"), format!("shop-{name}")),
        kind: Kind::Gateway,
    })
}

fn stage() -> impl Strategy<Value = Stage> {
    select(&[Stage::New, Stage::HalfWay, Stage::UnderWay][..])
}

fn next() -> impl Strategy<Value = Requeue> {
    let later = select(&[0, 1, 60, u64::MAX][..]).prop_map(|seconds| Requeue::After(Duration::from_secs(seconds)));
    prop_oneof![
        Just(Requeue::Now),
        stage().prop_map(Requeue::InTurn),
        later,
        Just(Requeue::CacheBehind),
        Just(Requeue::OnChange)
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (key(), stage()).prop_map(|(key, stage)| Event::Add(key, stage)),
        3 => Just(Event::Take),
        2 => (any::<usize>(), next()).prop_map(|(which, next)| Event::Done(which, next)),
        1 => (0..100_u64).prop_map(|seconds| Event::Pass(Duration::from_secs(seconds))),
    ]
}

/// A queue, and what is to be expected of it.
struct World {
    queue: Queue,
    now: Instant,
    running: Vec<Key>,
    /// Who is to be worked on, since somebody asked for it.
    owed: HashSet<Key>,
    /// Who may be, since its time may have come.
    timed: HashSet<Key>,
}

impl World {
    fn new(slots: usize) -> Self {
        let now = Instant::now();
        let queue = Queue::new(slots, now);
        Self { queue, now, running: Vec::new(), owed: HashSet::new(), timed: HashSet::new() }
    }

    fn meet(&mut self, event: Event) {
        match event {
            Event::Add(key, stage) => {
                self.queue.add(key.clone(), stage, self.now);
                self.owed.insert(key);
            }
            Event::Take => drop(self.take()),
            Event::Done(which, next) if !self.running.is_empty() => {
                let key = self.running.swap_remove(which % self.running.len());
                self.done(&key, next);
            }
            Event::Done(..) => {}
            Event::Pass(time) => self.now += time,
        }
    }

    fn take(&mut self) -> Option<Key> {
        let key = self.queue.take(self.now)?;
        assert!(!self.running.contains(&key), "{key:?} is worked on twice at a time");
        assert!(self.owed.remove(&key) || self.timed.remove(&key), "{key:?} is worked on, and nobody asked for it");
        self.running.push(key.clone());
        Some(key)
    }

    fn done(&mut self, key: &Key, next: Requeue) {
        self.queue.done(key, next, self.now);
        match next {
            Requeue::Now | Requeue::InTurn(_) | Requeue::CacheBehind => drop(self.owed.insert(key.clone())),
            Requeue::After(_) => drop(self.timed.insert(key.clone())),
            Requeue::OnChange => {}
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_object_is_worked_on_once_at_a_time_and_whoever_was_woken_is(
        slots in 1..6_usize,
        events in vec(event(), 0..200),
    ) {
        let mut world = World::new(slots);
        events.into_iter().for_each(|event| world.meet(event));
        for key in std::mem::take(&mut world.running) {
            world.done(&key, Requeue::OnChange);
        }
        while let Some(key) = world.take() {
            world.running.clear();
            world.done(&key, Requeue::OnChange);
        }
        prop_assert_eq!(&world.owed, &HashSet::new());
        let load = world.queue.load(world.now);
        prop_assert_eq!((load.waiting, load.running), (0, 0));
        prop_assert_eq!(&world.queue.namespaces.len(), &0);
    }

    /// Whoever waits is overdue after two minutes, which are as many turns here at most; then one of four turns of its namespace
    /// is for the longest of its kind.
    #[test]
    fn whoever_waits_has_its_turn_however_often_others_are_woken(
        turns in vec((vec((key(), stage()), 0..4), 1..10_u64, next()), 0..300),
    ) {
        let most = 120 + NAMESPACES * 4 * (NAMES + 1);
        let mut world = World::new(4);
        let mut waits: HashMap<Key, usize> = HashMap::new();
        for (woken, seconds, next) in turns {
            for (key, stage) in woken {
                world.meet(Event::Add(key.clone(), stage));
                waits.entry(key).or_default();
            }
            world.meet(Event::Pass(Duration::from_secs(seconds)));
            let Some(key) = world.take() else { continue };
            world.running.clear();
            waits.remove(&key);
            world.done(&key, next);
            if world.owed.contains(&key) {
                waits.insert(key, 0);
            }
            for (key, wait) in &mut waits {
                *wait += 1;
                prop_assert!(*wait <= most, "{:?} waits for {} turns", key, wait);
            }
        }
    }
}
