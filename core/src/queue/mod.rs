//! The work queue: which object is reconciled next. Plain data; the time is an argument.
//!
//! Each key waits at most once and runs at most once at a time. A key that is added while it runs is requeued
//! when it is done. Namespaces take turns, and none may occupy all the slots: neither five thousand gateways of
//! one tenant nor hanging calls for one tenant's gateways delay another tenant.
//!
//! **Architecture invariant:** the queue is pure and imports only `api`. Every key that is added is eventually
//! taken, and no key runs twice at the same time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::api::ObjectKey;

/// The key of an object to reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace and name. Documents have no namespace; their name is the id of their gateway.
    pub object: ObjectKey,
    /// The kind of the object.
    pub kind: Kind,
}

/// The kinds of objects that the operator reconciles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An `ApiGateway`.
    Gateway,
    /// An `Environment`.
    Environment,
    /// The documents of one gateway in a registry, by the gateway's id there.
    Document,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Environment, Self::Document];

    /// The kind as the API spells it. Metrics use it as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "ApiGateway",
            Self::Environment => "Environment",
            Self::Document => "Document",
        }
    }
}

/// How far the work on an object has come. The stage is the priority within a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// New: a request that nobody has worked on yet. Taken first.
    New,
    /// Half-way: the slow part was started elsewhere (the Deployment exists), and the operator still has work
    /// to do.
    HalfWay,
    /// Under way: the operator has done its part and reacts to what came of it.
    UnderWay,
}

/// When to reconcile an object again; like `Action` in kube or `Result` in controller-runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// Immediately: a transition was recorded, and the clock of the attempt runs.
    Now,
    /// After the others in line, at this stage.
    InTurn(Stage),
    /// After a duration, unless a change comes first.
    After(Duration),
    /// Soon: the cache is behind the API server. The worker chooses the delay and lengthens it with each
    /// attempt.
    CacheBehind,
    /// On the next change only.
    OnChange,
}

impl From<Option<Duration>> for Requeue {
    fn from(later: Option<Duration>) -> Self {
        match later {
            None => Self::OnChange,
            Some(Duration::ZERO) => Self::InTurn(Stage::UnderWay),
            Some(later) => Self::After(later),
        }
    }
}

/// The longest time that half-way keys wait behind new ones. New keys come first: the earlier all Deployments
/// of a mass start exist, the more the built-in controllers do in parallel. A half-way key must not wait long,
/// since the clock of its attempt runs.
const HALF_WAY_WAITS: Duration = Duration::from_secs(4);

/// The longest time that keys under way wait behind all others. The wait is harmless: readiness is judged
/// before the deadline.
const UNDER_WAY_WAITS: Duration = Duration::from_secs(120);

/// Of this many turns of a namespace, one goes to new keys and one to keys under way, however much else is
/// overdue.
const TURNS: usize = 4;

/// A namespace may occupy at most this many times the number of free slots. A single namespace thus leaves a
/// quarter of the slots free, and the share shrinks as the operator gets busier.
const SHARE_OF_FREE: usize = 3;

/// The work queue: keys that wait, keys that run, and keys with a timer.
pub struct Queue {
    slots: usize,
    namespaces: HashMap<String, NamespaceQueue>,
    /// Namespaces with waiting keys, in the order of their turns.
    turns: VecDeque<String>,
    waiting: HashMap<Key, Instant>,
    running: HashMap<Key, Instant>,
    /// Keys that were added while they run.
    again: HashSet<Key>,
    timers: BTreeSet<(Instant, Key)>,
    due: HashMap<Key, Instant>,
    /// When a key was last taken or done.
    moved: Instant,
}

#[derive(Default)]
struct NamespaceQueue {
    new: VecDeque<Key>,
    half_way: VecDeque<Key>,
    under_way: VecDeque<Key>,
    running: usize,
    turns: usize,
}

impl NamespaceQueue {
    fn is_empty(&self) -> bool {
        self.new.is_empty() && self.half_way.is_empty() && self.under_way.is_empty()
    }

    fn of(&mut self, stage: Stage) -> &mut VecDeque<Key> {
        match stage {
            Stage::New => &mut self.new,
            Stage::HalfWay => &mut self.half_way,
            Stage::UnderWay => &mut self.under_way,
        }
    }

    fn next(&mut self, waiting: &HashMap<Key, Instant>, now: Instant) -> Option<Key> {
        self.turns = (self.turns + 1) % TURNS;
        let overdue: &[(Stage, Duration)] = match self.turns {
            0 => &[],
            1 => &[(Stage::UnderWay, UNDER_WAY_WAITS), (Stage::HalfWay, HALF_WAY_WAITS)],
            _ => &[(Stage::HalfWay, HALF_WAY_WAITS), (Stage::UnderWay, UNDER_WAY_WAITS)],
        };
        for (stage, limit) in overdue {
            let keys = self.of(*stage);
            let since = keys.front().and_then(|key| waiting.get(key));
            if since.is_some_and(|since| now.saturating_duration_since(*since) >= *limit) {
                return keys.pop_front();
            }
        }
        [Stage::New, Stage::HalfWay, Stage::UnderWay].into_iter().find_map(|stage| self.of(stage).pop_front())
    }
}

/// A snapshot of the queue, for health checks and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Number of keys that wait for a slot.
    pub waiting: usize,
    /// Number of keys that run.
    pub running: usize,
    /// Age of the oldest waiting key.
    pub oldest_wait: Duration,
    /// The key that has been running for longest, and for how long.
    pub longest_run: Option<(Key, Duration)>,
    /// Time since a key was last taken or done.
    pub still: Duration,
}

impl Queue {
    /// An empty queue with `slots` concurrent reconciles.
    pub fn new(slots: usize, now: Instant) -> Self {
        Self {
            slots,
            namespaces: HashMap::new(),
            turns: VecDeque::new(),
            waiting: HashMap::new(),
            running: HashMap::new(),
            again: HashSet::new(),
            timers: BTreeSet::new(),
            due: HashMap::new(),
            moved: now,
        }
    }

    /// Adds a key: it is taken as soon as its turn comes. A pending timer of the key is cancelled.
    pub fn add(&mut self, key: Key, stage: Stage, now: Instant) {
        // The new event replaces the timer.
        self.unset(&key);
        if self.running.contains_key(&key) {
            self.again.insert(key);
        } else if !self.waiting.contains_key(&key) {
            self.enqueue(key, stage, now);
        }
    }

    /// Takes the next key, if one waits and a slot is free.
    pub fn take(&mut self, now: Instant) -> Option<Key> {
        self.add_due(now);
        let free = self.slots.saturating_sub(self.running.len());
        if free == 0 {
            return None;
        }
        // A namespace that has used up its share is skipped once.
        for _ in 0..self.turns.len() {
            let namespace = self.turns.pop_front()?;
            let namespace_queue = self.namespaces.get_mut(&namespace)?;
            if namespace_queue.running >= SHARE_OF_FREE * free {
                self.turns.push_back(namespace);
                continue;
            }
            let key = namespace_queue.next(&self.waiting, now)?;
            namespace_queue.running += 1;
            if !namespace_queue.is_empty() {
                self.turns.push_back(namespace);
            }
            self.waiting.remove(&key);
            self.running.insert(key.clone(), now);
            self.moved = now;
            return Some(key);
        }
        None
    }

    /// Marks a key as done and requeues it as `next` says.
    pub fn done(&mut self, key: &Key, next: Requeue, now: Instant) {
        self.running.remove(key);
        self.moved = now;
        if let Some(namespace_queue) = self.namespaces.get_mut(&key.object.namespace) {
            namespace_queue.running = namespace_queue.running.saturating_sub(1);
            if namespace_queue.running == 0 && namespace_queue.is_empty() {
                self.namespaces.remove(&key.object.namespace);
            }
        }
        let again = self.again.remove(key);
        match next {
            Requeue::InTurn(stage) => self.enqueue(key.clone(), stage, now),
            _ if again => self.enqueue(key.clone(), Stage::UnderWay, now),
            Requeue::Now | Requeue::CacheBehind => self.enqueue(key.clone(), Stage::UnderWay, now),
            Requeue::After(later) => {
                if let Some(at) = now.checked_add(later) {
                    self.unset(key);
                    self.timers.insert((at, key.clone()));
                    self.due.insert(key.clone(), at);
                }
            }
            Requeue::OnChange => {}
        }
    }

    /// When the next timer is due: [`Self::take`] may then return a key without a new event.
    pub fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A snapshot at `now`.
    pub fn load(&self, now: Instant) -> Load {
        let age = |since: &Instant| now.saturating_duration_since(*since);
        let longest = self.running.iter().min_by_key(|(_, since)| **since);
        Load {
            waiting: self.waiting.len(),
            running: self.running.len(),
            oldest_wait: self.waiting.values().min().map(age).unwrap_or_default(),
            longest_run: longest.map(|(key, since)| (key.clone(), age(since))),
            still: age(&self.moved),
        }
    }

    fn enqueue(&mut self, key: Key, stage: Stage, now: Instant) {
        let namespace_queue = self.namespaces.entry(key.object.namespace.clone()).or_default();
        if namespace_queue.is_empty() {
            self.turns.push_back(key.object.namespace.clone());
        }
        namespace_queue.of(stage).push_back(key.clone());
        self.waiting.insert(key, now);
    }

    fn add_due(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().cloned()
            && at <= now
        {
            self.add(key, Stage::UnderWay, now);
        }
    }

    fn unset(&mut self, key: &Key) {
        if let Some(at) = self.due.remove(key) {
            self.timers.remove(&(at, key.clone()));
        }
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(namespace: &str, name: &str) -> Key {
        Key { object: ObjectKey::new(namespace, name), kind: Kind::Gateway }
    }

    fn filled(slots: usize, now: Instant, namespaces: &[(&str, usize)]) -> Queue {
        let mut queue = Queue::new(slots, now);
        for (namespace, count) in namespaces {
            for number in 0..*count {
                queue.add(key(namespace, &number.to_string()), Stage::New, now);
            }
        }
        queue
    }

    /// How many of each namespace are begun until nothing more can be.
    fn begun(queue: &mut Queue, now: Instant) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        while let Some(key) = queue.take(now) {
            *counts.entry(key.object.namespace).or_default() += 1;
        }
        counts
    }

    #[test]
    fn an_object_waits_once_however_often_it_is_woken() {
        let now = Instant::now();
        let mut queue = Queue::new(4, now);
        for _ in 0..3 {
            queue.add(key("a", "shop"), Stage::New, now);
        }
        assert_eq!(queue.take(now), Some(key("a", "shop")));
        assert_eq!(queue.take(now), None);
    }

    #[test]
    fn an_object_that_is_woken_while_it_is_worked_on_is_worked_on_once_more_and_not_at_once() {
        let now = Instant::now();
        let mut queue = filled(4, now, &[("a", 1)]);
        let shop = queue.take(now).unwrap();
        queue.add(shop.clone(), Stage::New, now);
        queue.add(shop.clone(), Stage::New, now);
        assert_eq!(queue.take(now), None);
        queue.done(&shop, Requeue::OnChange, now);
        assert_eq!(queue.take(now), Some(shop.clone()));
        queue.done(&shop, Requeue::OnChange, now);
        assert_eq!(queue.take(now), None);
    }

    #[test]
    fn the_kinds_of_one_name_are_different_objects() {
        let now = Instant::now();
        let mut queue = filled(4, now, &[("a", 1)]);
        let gateway = queue.take(now).unwrap();
        let environment = Key { kind: Kind::Environment, ..gateway };
        queue.add(environment.clone(), Stage::New, now);
        assert_eq!(queue.take(now), Some(environment));
    }

    #[test]
    fn what_is_due_later_comes_when_it_is_due_and_not_before() {
        let now = Instant::now();
        let mut queue = filled(4, now, &[("a", 1)]);
        let shop = queue.take(now).unwrap();
        queue.done(&shop, Requeue::After(5 * SECOND), now);
        assert_eq!(queue.next_due(), Some(now + 5 * SECOND));
        assert_eq!(queue.take(now + 4 * SECOND), None);
        assert_eq!(queue.take(now + 5 * SECOND), Some(shop));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn an_event_takes_the_place_of_what_was_due_later() {
        let now = Instant::now();
        let mut queue = filled(4, now, &[("a", 1)]);
        let shop = queue.take(now).unwrap();
        queue.done(&shop, Requeue::After(5 * SECOND), now);
        queue.add(shop.clone(), Stage::New, now + SECOND);
        assert_eq!(queue.next_due(), None);
        assert_eq!(queue.take(now + SECOND), Some(shop.clone()));
        queue.done(&shop, Requeue::OnChange, now + SECOND);
        assert_eq!(queue.take(now + 9 * SECOND), None);
    }

    #[test]
    fn what_is_to_be_done_again_at_once_goes_behind_what_waits() {
        let now = Instant::now();
        let mut queue = Queue::new(1, now);
        queue.add(key("a", "shop"), Stage::UnderWay, now);
        queue.add(key("a", "bank"), Stage::UnderWay, now);
        let first = queue.take(now).unwrap();
        queue.done(&first, Requeue::Now, now);
        let second = queue.take(now).unwrap();
        assert_ne!(second, first);
        queue.done(&second, Requeue::OnChange, now);
        assert_eq!(queue.take(now), Some(first));
    }

    #[test]
    fn one_namespace_alone_leaves_a_quarter_of_the_places_to_whoever_comes_next() {
        let now = Instant::now();
        let mut queue = filled(64, now, &[("flood", 5_000)]);
        assert_eq!(begun(&mut queue, now), HashMap::from([("flood".to_owned(), 48)]));
        queue.add(key("other", "shop"), Stage::New, now);
        assert_eq!(queue.take(now), Some(key("other", "shop")));
    }

    #[test]
    fn a_newcomer_finds_a_place_beside_three_floods() {
        let now = Instant::now();
        let mut queue = filled(64, now, &[("a", 500), ("b", 500), ("c", 500)]);
        let counts = begun(&mut queue, now);
        assert!(counts.values().all(|count| (18..=21).contains(count)), "{counts:?}");
        queue.add(key("other", "shop"), Stage::New, now);
        assert_eq!(queue.take(now), Some(key("other", "shop")));
    }

    #[test]
    fn namespaces_take_turns() {
        let now = Instant::now();
        let mut queue = filled(1, now, &[("a", 3), ("b", 1), ("c", 2)]);
        let mut order = Vec::new();
        while let Some(key) = queue.take(now) {
            queue.done(&key, Requeue::OnChange, now);
            order.push(key.object.namespace);
        }
        assert_eq!(order, ["a", "b", "c", "a", "c", "a"]);
    }

    #[test]
    fn what_is_new_comes_before_what_is_under_way_and_has_waited_for_less_than_two_minutes() {
        let now = Instant::now();
        let mut queue = filled(1, now, &[("a", 3)]);
        queue.add(key("a", "going"), Stage::UnderWay, now);
        assert_eq!(queue.take(now + 119 * SECOND), Some(key("a", "0")));
        queue.done(&key("a", "0"), Requeue::OnChange, now + 119 * SECOND);
        assert_eq!(queue.take(now + 120 * SECOND), Some(key("a", "going")));
        queue.done(&key("a", "going"), Requeue::OnChange, now + 120 * SECOND);
        assert_eq!(queue.take(now + 120 * SECOND), Some(key("a", "1")));
    }

    #[test]
    fn what_is_half_way_waits_for_four_seconds_behind_what_is_new_and_never_behind_what_is_under_way() {
        let now = Instant::now();
        let mut queue = filled(1, now, &[("a", 3)]);
        let half_way = queue.take(now).unwrap();
        // Woken by its own first child.
        queue.add(half_way.clone(), Stage::New, now);
        queue.done(&half_way, Requeue::InTurn(Stage::HalfWay), now);
        queue.add(key("a", "going"), Stage::UnderWay, now);
        assert_eq!(queue.take(now + 3 * SECOND), Some(key("a", "1")));
        queue.done(&key("a", "1"), Requeue::OnChange, now + 3 * SECOND);
        assert_eq!(queue.take(now + 4 * SECOND), Some(half_way.clone()));
        queue.done(&half_way, Requeue::InTurn(Stage::HalfWay), now + 4 * SECOND);
        assert_eq!(queue.take(now + 4 * SECOND), Some(key("a", "2")));
        queue.done(&key("a", "2"), Requeue::OnChange, now + 4 * SECOND);
        assert_eq!(queue.take(now + 4 * SECOND), Some(half_way));
    }

    #[test]
    fn where_everything_is_overdue_the_new_have_a_turn_what_is_half_way_two_and_what_is_under_way_one() {
        let now = Instant::now();
        let mut queue = Queue::new(1, now);
        for number in 0..2 {
            let half_way = key("a", &format!("half-way-{number}"));
            queue.add(half_way.clone(), Stage::New, now);
            queue.take(now);
            queue.done(&half_way, Requeue::InTurn(Stage::HalfWay), now);
        }
        for name in ["new-0", "new-1"] {
            queue.add(key("a", name), Stage::New, now);
        }
        for name in ["going-0", "going-1"] {
            queue.add(key("a", name), Stage::UnderWay, now);
        }
        let later = now + 120 * SECOND;
        let mut begun = Vec::new();
        while let Some(key) = queue.take(later) {
            queue.done(&key, Requeue::OnChange, later);
            begun.push(key.object.name);
        }
        assert_eq!(begun, ["half-way-0", "half-way-1", "new-0", "going-0", "going-1", "new-1"]);
    }

    #[test]
    fn what_is_new_has_every_fourth_turn_however_much_is_overdue() {
        let now = Instant::now();
        let mut queue = filled(1, now, &[("a", 3)]);
        for number in 0..20 {
            queue.add(key("a", &format!("going-{number:02}")), Stage::UnderWay, now);
        }
        let later = now + 120 * SECOND;
        let mut begun = Vec::new();
        while let Some(key) = queue.take(later) {
            queue.done(&key, Requeue::OnChange, later);
            begun.push(key.object.name);
        }
        let new: Vec<usize> = (0..begun.len()).filter(|turn| !begun[*turn].starts_with("going")).collect();
        assert_eq!(new, [3, 7, 11]);
        assert_eq!(begun.len(), 23);
    }

    #[test]
    fn one_place_is_enough_to_work_on_everything() {
        let now = Instant::now();
        let mut queue = filled(1, now, &[("a", 3)]);
        for _ in 0..3 {
            let key = queue.take(now).unwrap();
            assert_eq!(queue.take(now), None);
            queue.done(&key, Requeue::OnChange, now);
        }
        assert_eq!(queue.take(now), None);
    }

    #[test]
    fn a_place_is_free_again_when_its_work_has_ended() {
        let now = Instant::now();
        let mut queue = filled(4, now, &[("a", 10)]);
        assert_eq!(begun(&mut queue, now).values().sum::<usize>(), 3);
        queue.done(&key("a", "0"), Requeue::OnChange, now);
        assert_eq!(queue.take(now), Some(key("a", "3")));
    }

    #[test]
    fn the_load_tells_what_waits_and_what_runs_and_for_how_long() {
        let now = Instant::now();
        let mut queue = filled(1, now, &[("a", 3)]);
        queue.take(now + SECOND);
        assert_eq!(
            queue.load(now + 10 * SECOND),
            Load {
                waiting: 2,
                running: 1,
                oldest_wait: 10 * SECOND,
                longest_run: Some((key("a", "0"), 9 * SECOND)),
                still: 9 * SECOND,
            }
        );
    }
}
