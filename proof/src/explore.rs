//! Breadth-first exploration: every state that can be reached is visited once.
//!
//! A state is kept as its 64-bit hash, with the state that it was first reached from and by which action. A
//! counterexample is replayed from the first state, so it is a shortest one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::bridge::Bridge;
use crate::liveness;
use crate::story;
use crate::world::actions::Next;
use crate::world::{State, World};

/// Hashes are their own hashes.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = (self.0 << 8) | u64::from(*byte));
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The states that were visited, by number, and the steps between them.
#[derive(Default)]
pub(crate) struct Graph {
    numbers: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    /// Where each state was first reached from, and by which of the next states.
    parents: Vec<(u32, u16)>,
    depths: Vec<u16>,
    /// Whether what was requested last holds.
    pub(crate) met: Vec<bool>,
    /// Where the fair steps of each state begin in `steps`.
    pub(crate) begins: Vec<u32>,
    /// Fair steps: the next state, and the kind of the action.
    pub(crate) steps: Vec<(u32, u8)>,
    /// The kinds of fair actions that are possible in each state.
    pub(crate) possible: Vec<u64>,
}

/// What an exploration found.
#[derive(Debug)]
pub struct Report {
    /// The name of the world.
    pub world: &'static str,
    /// The number of states.
    pub states: usize,
    /// The number of steps between them.
    pub steps: u64,
    /// The longest of the shortest ways to a state.
    pub depth: u16,
    /// The number of different decisions of the production code.
    pub decisions: usize,
    /// Whether every reachable state was visited.
    pub complete: bool,
    /// How long it took.
    pub took: Duration,
    /// What must hold and does not, as a numbered story.
    pub broken: Option<String>,
}

impl Report {
    /// One line for a table.
    pub fn line(&self) -> String {
        format!(
            "{:24} {:>9} states {:>10} steps, depth {:>3}, {:>6} decisions, {:>6.1} s, {}",
            self.world,
            self.states,
            self.steps,
            self.depth,
            self.decisions,
            self.took.as_secs_f64(),
            if self.complete { "complete" } else { "bounded" },
        )
    }
}

/// Explores a world, up to a number of states. Runs are judged only if every state was visited.
pub fn explore(world: &World, most: usize) -> Report {
    let began = Instant::now();
    let mut bridge = Bridge::new(world.host, world.registry);
    let mut graph = Graph::default();
    let first = world.first(&mut bridge);
    let mut frontier = VecDeque::from([first.clone()]);
    graph.add(&first, (0, 0), 0);
    let (mut at, mut steps, mut found, mut broken) = (0_u32, 0_u64, Vec::new(), None);
    while let Some(state) = frontier.pop_front() {
        world.next(&mut bridge, &state, &mut found);
        let depth = graph.depths[at as usize] + 1;
        graph.begin(world, &mut bridge, &state);
        for (order, Next { action, state }) in found.drain(..).enumerate() {
            let order = u16::try_from(order).unwrap_or(u16::MAX);
            match state {
                Ok(state) => {
                    steps += 1;
                    let (number, is_new) = graph.add(&state, (at, order), depth);
                    graph.step(action.fairness(), number);
                    if is_new {
                        frontier.push_back(state);
                    }
                }
                Err(why) => broken = broken.or(Some((why, order))),
            }
        }
        if broken.is_some() || graph.parents.len() >= most {
            break;
        }
        at += 1;
    }
    let complete = frontier.is_empty() && broken.is_none();
    let broken = match broken {
        Some((why, order)) => {
            let mut way = graph.way(at);
            way.push(order);
            Some(story::tell(world, &way, &why))
        }
        None if complete => {
            graph.end();
            liveness::unmet(&graph).map(|number| {
                let way = graph.way(number);
                let state = story::replay(world, &mut bridge, &way);
                let why = world.unmet(&mut bridge, &state).unwrap_or_default();
                story::tell(world, &way, &format!("it can stay so for ever: {why}"))
            })
        }
        None => None,
    };
    Report {
        world: world.name,
        states: graph.parents.len(),
        steps,
        depth: graph.depths.iter().copied().max().unwrap_or(0),
        decisions: bridge.decisions(),
        complete,
        took: began.elapsed(),
        broken,
    }
}

impl Graph {
    /// Adds a state. Returns its number, and whether it is new.
    fn add(&mut self, state: &State, parent: (u32, u16), depth: u16) -> (u32, bool) {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        let next = u32::try_from(self.parents.len()).unwrap_or(u32::MAX);
        match self.numbers.entry(hasher.finish()) {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(vacant) => {
                vacant.insert(next);
                self.parents.push(parent);
                self.depths.push(depth);
                (next, true)
            }
        }
    }

    /// Begins the steps of the next state. States are visited in the order of their numbers.
    fn begin(&mut self, world: &World, bridge: &mut Bridge, state: &State) {
        self.begins.push(u32::try_from(self.steps.len()).unwrap_or(u32::MAX));
        self.met.push(world.unmet(bridge, state).is_none());
        self.possible.push(0);
    }

    fn step(&mut self, fairness: Option<u8>, to: u32) {
        let (Some(kind), Some(possible)) = (fairness, self.possible.last_mut()) else { return };
        *possible |= 1 << kind;
        self.steps.push((to, kind));
    }

    fn end(&mut self) {
        self.begins.push(u32::try_from(self.steps.len()).unwrap_or(u32::MAX));
    }

    /// The way from the first state: which of the next states, each time.
    fn way(&self, mut to: u32) -> Vec<u16> {
        let mut way = Vec::new();
        while to != 0 {
            let (parent, order) = self.parents[to as usize];
            way.push(order);
            to = parent;
        }
        way.reverse();
        way
    }
}
