//! Liveness: every fair run reaches a state where what was requested last holds, and stays there.
//!
//! A run is fair if no action that stays possible is left out for ever, and if faults and edits end. So a fair
//! run ends in a strongly connected component of the fair steps in which every action that is possible in all
//! of its states is also taken. Each state of such a component must hold what was requested.
//!
//! A checker that follows paths to their ends does not find this: a run that fails for ever has no end.

use crate::explore::Graph;

/// A state that breaks it, if there is one.
pub(crate) fn unmet(graph: &Graph) -> Option<u32> {
    let components = components(graph);
    let most = components.iter().copied().max().map_or(0, |most| most as usize + 1);
    let mut facts = vec![Component { always: u64::MAX, taken: 0, unmet: None }; most];
    for (state, component) in components.iter().enumerate() {
        let facts = &mut facts[*component as usize];
        facts.always &= graph.possible[state];
        for (to, kind) in graph.steps_of(state) {
            if components[*to as usize] == *component {
                facts.taken |= 1 << kind;
            }
        }
        if !graph.met[state] && facts.unmet.is_none() {
            facts.unmet = u32::try_from(state).ok();
        }
    }
    facts.iter().filter(|facts| facts.always & !facts.taken == 0).filter_map(|facts| facts.unmet).min()
}

#[derive(Clone)]
struct Component {
    /// What is possible in all of its states.
    always: u64,
    /// What leads from one of its states to another of them.
    taken: u64,
    /// The first state in which what was requested does not hold.
    unmet: Option<u32>,
}

impl Graph {
    fn steps_of(&self, state: usize) -> &[(u32, u8)] {
        &self.steps[self.begins[state] as usize..self.begins[state + 1] as usize]
    }
}

/// The strongly connected component of each state: Tarjan's algorithm, with a stack of its own.
fn components(graph: &Graph) -> Vec<u32> {
    const UNSEEN: u32 = u32::MAX;
    let count = graph.met.len();
    let (mut order, mut low, mut component) = (vec![UNSEEN; count], vec![0_u32; count], vec![UNSEEN; count]);
    let (mut open, mut calls, mut next, mut components) = (Vec::new(), Vec::new(), 0_u32, 0_u32);
    for root in 0..count {
        if order[root] != UNSEEN {
            continue;
        }
        calls.push((root, 0_usize));
        while let Some((state, at)) = calls.pop() {
            if at == 0 {
                (order[state], low[state]) = (next, next);
                next += 1;
                open.push(state);
            } else {
                let child = graph.steps_of(state)[at - 1].0 as usize;
                low[state] = low[state].min(low[child]);
            }
            let mut descends = false;
            for (offset, (to, _)) in graph.steps_of(state)[at..].iter().enumerate() {
                let to = *to as usize;
                if order[to] == UNSEEN {
                    calls.push((state, at + offset + 1));
                    calls.push((to, 0));
                    descends = true;
                    break;
                }
                if component[to] == UNSEEN {
                    low[state] = low[state].min(order[to]);
                }
            }
            if !descends && low[state] == order[state] {
                while let Some(member) = open.pop() {
                    component[member] = components;
                    if member == state {
                        break;
                    }
                }
                components += 1;
            }
        }
    }
    component
}
