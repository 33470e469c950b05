//! Which object is worked on next: plain data, with the time as an argument.
//!
//! An object waits at most once and is worked on at most once at a time; whoever is woken
//! meanwhile is worked on once more. Namespaces take turns, and none may take all the places:
//! five thousand gateways of one tenant, or hanging calls for one tenant's gateways, do not keep
//! another tenant waiting.
//!
//! May import `api`. Invariants: pure; what is woken is worked on, and nothing is worked on twice at the same time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::api::ObjectKey;

/// An object to work on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace and name. Documents are in no namespace: their name is their gateway's id.
    pub object: ObjectKey,
    /// What it is.
    pub kind: Kind,
}

/// What is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An `ApiGateway`.
    Gateway,
    /// An `Environment`.
    Environment,
    /// The documents of a gateway in a registry, by the gateway's id there.
    Document,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Environment, Self::Document];

    /// The kind as the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "ApiGateway",
            Self::Environment => "Environment",
            Self::Document => "Document",
        }
    }
}

/// How far the work on an object has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Somebody asks for something about which nothing has been done yet.
    New,
    /// What takes others longest was begun, and our own part is not done.
    HalfWay,
    /// Our own part was done, and something came of it.
    UnderWay,
}

/// When an object is worked on again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once: a transition was recorded, and its clock runs.
    AtOnce,
    /// When others have had their turn, at this stage.
    InTurn(Stage),
    /// After a time, if nothing happens before.
    After(Duration),
    /// Soon: the cache is behind the API server, which the next look finds. How soon, and that it is later every time,
    /// says the worker, who counts.
    Behind,
    /// When something happens.
    WhenWoken,
}

impl From<Option<Duration>> for Next {
    fn from(later: Option<Duration>) -> Self {
        match later {
            None => Self::WhenWoken,
            Some(Duration::ZERO) => Self::InTurn(Stage::UnderWay),
            Some(later) => Self::After(later),
        }
    }
}

/// How long what is half-way waits behind the new at most. What is new comes first: the earlier all Deployments of a
/// mass start are there, the more the controllers behind us can do at once. But a clock runs for what is half-way.
const HALF_WAY_WAITS: Duration = Duration::from_secs(4);

/// How long what is under way waits behind all else at most. It is in no danger: readiness is judged before the deadline.
const UNDER_WAY_WAITS: Duration = Duration::from_secs(120);

/// Of so many turns of a namespace one is for the new, and another for what is under way, however much is overdue.
const TURNS: usize = 4;

/// A namespace may take up to this many times as many places as are free. So one alone leaves a
/// quarter of them to whoever comes next, and the more are busy the less each of them has.
const SHARE_OF_FREE: usize = 3;

/// What waits, what is being worked on, and what is due later.
pub struct Queue {
    places: usize,
    lanes: HashMap<String, Lane>,
    /// The namespaces in which something waits, the next one first.
    turns: VecDeque<String>,
    waiting: HashMap<Key, Instant>,
    running: HashMap<Key, Instant>,
    /// Woken while it was worked on.
    again: HashSet<Key>,
    timers: BTreeSet<(Instant, Key)>,
    due: HashMap<Key, Instant>,
    /// When something was last begun or ended.
    moved: Instant,
}

#[derive(Default)]
struct Lane {
    new: VecDeque<Key>,
    half_way: VecDeque<Key>,
    under_way: VecDeque<Key>,
    running: usize,
    turns: usize,
}

impl Lane {
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

/// How the queue is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How many objects wait for a place.
    pub waiting: usize,
    /// How many objects are being worked on.
    pub running: usize,
    /// How long the one that waits longest has been waiting.
    pub oldest_wait: Duration,
    /// What has been worked on for longest, and for how long.
    pub longest_run: Option<(Key, Duration)>,
    /// How long ago something was begun or ended.
    pub still: Duration,
}

impl Queue {
    /// A queue with room for `places` objects to be worked on at once.
    pub fn new(places: usize, now: Instant) -> Self {
        Self {
            places,
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            waiting: HashMap::new(),
            running: HashMap::new(),
            again: HashSet::new(),
            timers: BTreeSet::new(),
            due: HashMap::new(),
            moved: now,
        }
    }

    /// Something happened that concerns an object: it is worked on as soon as it can be.
    pub fn wake(&mut self, key: Key, stage: Stage, now: Instant) {
        // What was due later is done with it.
        self.unset(&key);
        if self.running.contains_key(&key) {
            self.again.insert(key);
        } else if !self.waiting.contains_key(&key) {
            self.enqueue(key, stage, now);
        }
    }

    /// The next object to work on, if there is one and a place for it.
    pub fn begin(&mut self, now: Instant) -> Option<Key> {
        self.wake_due(now);
        let free = self.places.saturating_sub(self.running.len());
        if free == 0 {
            return None;
        }
        // Each namespace that has its share already is passed over once.
        for _ in 0..self.turns.len() {
            let namespace = self.turns.pop_front()?;
            let lane = self.lanes.get_mut(&namespace)?;
            if lane.running >= SHARE_OF_FREE * free {
                self.turns.push_back(namespace);
                continue;
            }
            let key = lane.next(&self.waiting, now)?;
            lane.running += 1;
            if !lane.is_empty() {
                self.turns.push_back(namespace);
            }
            self.waiting.remove(&key);
            self.running.insert(key.clone(), now);
            self.moved = now;
            return Some(key);
        }
        None
    }

    /// Work on an object has ended. It is worked on again as `next` says.
    pub fn end(&mut self, key: &Key, next: Next, now: Instant) {
        self.running.remove(key);
        self.moved = now;
        if let Some(lane) = self.lanes.get_mut(&key.object.namespace) {
            lane.running = lane.running.saturating_sub(1);
            if lane.running == 0 && lane.is_empty() {
                self.lanes.remove(&key.object.namespace);
            }
        }
        let again = self.again.remove(key);
        match next {
            Next::InTurn(stage) => self.enqueue(key.clone(), stage, now),
            _ if again => self.enqueue(key.clone(), Stage::UnderWay, now),
            Next::AtOnce | Next::Behind => self.enqueue(key.clone(), Stage::UnderWay, now),
            Next::After(later) => {
                if let Some(at) = now.checked_add(later) {
                    self.unset(key);
                    self.timers.insert((at, key.clone()));
                    self.due.insert(key.clone(), at);
                }
            }
            Next::WhenWoken => {}
        }
    }

    /// When [`Self::begin`] has something to do although nothing happens before.
    pub fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How the queue is doing.
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
        let lane = self.lanes.entry(key.object.namespace.clone()).or_default();
        if lane.is_empty() {
            self.turns.push_back(key.object.namespace.clone());
        }
        lane.of(stage).push_back(key.clone());
        self.waiting.insert(key, now);
    }

    fn wake_due(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().cloned()
            && at <= now
        {
            self.wake(key, Stage::UnderWay, now);
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

    fn filled(places: usize, now: Instant, namespaces: &[(&str, usize)]) -> Queue {
        let mut queue = Queue::new(places, now);
        for (namespace, count) in namespaces {
            for number in 0..*count {
                queue.wake(key(namespace, &number.to_string()), Stage::New, now);
            }
        }
        queue
    }

    /// How many of each namespace are begun until nothing more can be.
    fn begun(queue: &mut Queue, now: Instant) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        while let Some(key) = queue.begin(now) {
            *counts.entry(key.object.namespace).or_default() += 1;
        }
        counts
    }

    #[test]
    fn an_object_waits_once_however_often_it_is_woken() {
        let now = Instant::now();
        let mut queue = Queue::new(4, now);
        for _ in 0..3 {
            queue.wake(key("a", "shop"), Stage::New, now);
        }
        assert_eq!(queue.begin(now), Some(key("a", "shop")));
        assert_eq!(queue.begin(now), None);
    }

    #[test]
    fn an_object_that_is_woken_while_it_is_worked_on_is_worked_on_once_more_and_not_at_once() {
        let now = Instant::now();
        let mut queue = filled(4, now, &[("a", 1)]);
        let shop = queue.begin(now).unwrap();
        queue.wake(shop.clone(), Stage::New, now);
        queue.wake(shop.clone(), Stage::New, now);
        assert_eq!(queue.begin(now), None);
        queue.end(&shop, Next::WhenWoken, now);
        assert_eq!(queue.begin(now), Some(shop.clone()));
        queue.end(&shop, Next::WhenWoken, now);
        assert_eq!(queue.begin(now), None);
    }

    #[test]
    fn the_kinds_of_one_name_are_different_objects() {
        let now = Instant::now();
        let mut queue = filled(4, now, &[("a", 1)]);
        let gateway = queue.begin(now).unwrap();
        let environment = Key { kind: Kind::Environment, ..gateway };
        queue.wake(environment.clone(), Stage::New, now);
        assert_eq!(queue.begin(now), Some(environment));
    }

    #[test]
    fn what_is_due_later_comes_when_it_is_due_and_not_before() {
        let now = Instant::now();
        let mut queue = filled(4, now, &[("a", 1)]);
        let shop = queue.begin(now).unwrap();
        queue.end(&shop, Next::After(5 * SECOND), now);
        assert_eq!(queue.next_due(), Some(now + 5 * SECOND));
        assert_eq!(queue.begin(now + 4 * SECOND), None);
        assert_eq!(queue.begin(now + 5 * SECOND), Some(shop));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn an_event_takes_the_place_of_what_was_due_later() {
        let now = Instant::now();
        let mut queue = filled(4, now, &[("a", 1)]);
        let shop = queue.begin(now).unwrap();
        queue.end(&shop, Next::After(5 * SECOND), now);
        queue.wake(shop.clone(), Stage::New, now + SECOND);
        assert_eq!(queue.next_due(), None);
        assert_eq!(queue.begin(now + SECOND), Some(shop.clone()));
        queue.end(&shop, Next::WhenWoken, now + SECOND);
        assert_eq!(queue.begin(now + 9 * SECOND), None);
    }

    #[test]
    fn what_is_to_be_done_again_at_once_goes_behind_what_waits() {
        let now = Instant::now();
        let mut queue = Queue::new(1, now);
        queue.wake(key("a", "shop"), Stage::UnderWay, now);
        queue.wake(key("a", "bank"), Stage::UnderWay, now);
        let first = queue.begin(now).unwrap();
        queue.end(&first, Next::AtOnce, now);
        let second = queue.begin(now).unwrap();
        assert_ne!(second, first);
        queue.end(&second, Next::WhenWoken, now);
        assert_eq!(queue.begin(now), Some(first));
    }

    #[test]
    fn one_namespace_alone_leaves_a_quarter_of_the_places_to_whoever_comes_next() {
        let now = Instant::now();
        let mut queue = filled(64, now, &[("flood", 5_000)]);
        assert_eq!(begun(&mut queue, now), HashMap::from([("flood".to_owned(), 48)]));
        queue.wake(key("other", "shop"), Stage::New, now);
        assert_eq!(queue.begin(now), Some(key("other", "shop")));
    }

    #[test]
    fn a_newcomer_finds_a_place_beside_three_floods() {
        let now = Instant::now();
        let mut queue = filled(64, now, &[("a", 500), ("b", 500), ("c", 500)]);
        let counts = begun(&mut queue, now);
        assert!(counts.values().all(|count| (18..=21).contains(count)), "{counts:?}");
        queue.wake(key("other", "shop"), Stage::New, now);
        assert_eq!(queue.begin(now), Some(key("other", "shop")));
    }

    #[test]
    fn namespaces_take_turns() {
        let now = Instant::now();
        let mut queue = filled(1, now, &[("a", 3), ("b", 1), ("c", 2)]);
        let mut order = Vec::new();
        while let Some(key) = queue.begin(now) {
            queue.end(&key, Next::WhenWoken, now);
            order.push(key.object.namespace);
        }
        assert_eq!(order, ["a", "b", "c", "a", "c", "a"]);
    }

    #[test]
    fn what_is_new_comes_before_what_is_under_way_and_has_waited_for_less_than_two_minutes() {
        let now = Instant::now();
        let mut queue = filled(1, now, &[("a", 3)]);
        queue.wake(key("a", "going"), Stage::UnderWay, now);
        assert_eq!(queue.begin(now + 119 * SECOND), Some(key("a", "0")));
        queue.end(&key("a", "0"), Next::WhenWoken, now + 119 * SECOND);
        assert_eq!(queue.begin(now + 120 * SECOND), Some(key("a", "going")));
        queue.end(&key("a", "going"), Next::WhenWoken, now + 120 * SECOND);
        assert_eq!(queue.begin(now + 120 * SECOND), Some(key("a", "1")));
    }

    #[test]
    fn what_is_half_way_waits_for_four_seconds_behind_what_is_new_and_never_behind_what_is_under_way() {
        let now = Instant::now();
        let mut queue = filled(1, now, &[("a", 3)]);
        let half_way = queue.begin(now).unwrap();
        // Woken by its own first child.
        queue.wake(half_way.clone(), Stage::New, now);
        queue.end(&half_way, Next::InTurn(Stage::HalfWay), now);
        queue.wake(key("a", "going"), Stage::UnderWay, now);
        assert_eq!(queue.begin(now + 3 * SECOND), Some(key("a", "1")));
        queue.end(&key("a", "1"), Next::WhenWoken, now + 3 * SECOND);
        assert_eq!(queue.begin(now + 4 * SECOND), Some(half_way.clone()));
        queue.end(&half_way, Next::InTurn(Stage::HalfWay), now + 4 * SECOND);
        assert_eq!(queue.begin(now + 4 * SECOND), Some(key("a", "2")));
        queue.end(&key("a", "2"), Next::WhenWoken, now + 4 * SECOND);
        assert_eq!(queue.begin(now + 4 * SECOND), Some(half_way));
    }

    #[test]
    fn where_everything_is_overdue_the_new_have_a_turn_what_is_half_way_two_and_what_is_under_way_one() {
        let now = Instant::now();
        let mut queue = Queue::new(1, now);
        for number in 0..2 {
            let half_way = key("a", &format!("half-way-{number}"));
            queue.wake(half_way.clone(), Stage::New, now);
            queue.begin(now);
            queue.end(&half_way, Next::InTurn(Stage::HalfWay), now);
        }
        for name in ["new-0", "new-1"] {
            queue.wake(key("a", name), Stage::New, now);
        }
        for name in ["going-0", "going-1"] {
            queue.wake(key("a", name), Stage::UnderWay, now);
        }
        let later = now + 120 * SECOND;
        let mut begun = Vec::new();
        while let Some(key) = queue.begin(later) {
            queue.end(&key, Next::WhenWoken, later);
            begun.push(key.object.name);
        }
        assert_eq!(begun, ["half-way-0", "half-way-1", "new-0", "going-0", "going-1", "new-1"]);
    }

    #[test]
    fn what_is_new_has_every_fourth_turn_however_much_is_overdue() {
        let now = Instant::now();
        let mut queue = filled(1, now, &[("a", 3)]);
        for number in 0..20 {
            queue.wake(key("a", &format!("going-{number:02}")), Stage::UnderWay, now);
        }
        let later = now + 120 * SECOND;
        let mut begun = Vec::new();
        while let Some(key) = queue.begin(later) {
            queue.end(&key, Next::WhenWoken, later);
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
            let key = queue.begin(now).unwrap();
            assert_eq!(queue.begin(now), None);
            queue.end(&key, Next::WhenWoken, now);
        }
        assert_eq!(queue.begin(now), None);
    }

    #[test]
    fn a_place_is_free_again_when_its_work_has_ended() {
        let now = Instant::now();
        let mut queue = filled(4, now, &[("a", 10)]);
        assert_eq!(begun(&mut queue, now).values().sum::<usize>(), 3);
        queue.end(&key("a", "0"), Next::WhenWoken, now);
        assert_eq!(queue.begin(now), Some(key("a", "3")));
    }

    #[test]
    fn the_load_tells_what_waits_and_what_runs_and_for_how_long() {
        let now = Instant::now();
        let mut queue = filled(1, now, &[("a", 3)]);
        queue.begin(now + SECOND);
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
