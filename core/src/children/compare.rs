//! Comparing an object with what is desired.
//!
//! It works on JSON, where every kind looks the same. A child's specification is ours as a whole: what is there that nobody
//! desires and that the API server does not fill in is an edit. Of the metadata, its own and that of its pods, only our keys are.

use std::ops::ControlFlow;

use serde_json::Value;

use super::defaults::is_default;
use super::places::{NEVER_RESTORED, OWNERS};
use super::quantity::{is_quantity, same_quantity};

/// Maps that are one value: a key that somebody adds changes their meaning.
const WHOLE_MAPS: &[&str] = &["selector", "matchLabels", "nodeSelector", "limits", "requests"];

/// Fields that the API server's own validation does not let change, by kind: only a new object has another value. A
/// refusal is no sign of it, however it ends; a policy's words may be the same.
const UNCHANGEABLE: &[(&str, &str)] = &[("Deployment", "/spec/selector")];

/// A place in an object. It is spelled out only where something differs: most comparisons find nothing.
#[derive(Clone, Copy)]
struct Place<'a> {
    above: Option<&'a Place<'a>>,
    key: Key<'a>,
    /// Whether what nobody desires may not be there.
    ours: bool,
}

#[derive(Clone, Copy)]
enum Key<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    const ROOT: Place<'static> = Place { above: None, key: Key::Name(""), ours: false };

    fn below(&'a self, key: Key<'a>) -> Self {
        let ours = match key {
            Key::Name("spec") if self.above.is_none() => true,
            // The metadata of the pods.
            Key::Name("metadata") if self.is_one_of(&["template"]) => false,
            _ => self.ours,
        };
        Self { above: Some(self), key, ours }
    }

    fn is_one_of(&self, names: &[&str]) -> bool {
        matches!(self.key, Key::Name(name) if names.contains(&name))
    }

    fn path(&self) -> String {
        let Some(above) = self.above else { return String::new() };
        match self.key {
            Key::Name(name) => format!("{}/{name}", above.path()),
            Key::Index(index) => format!("{}/{index}", above.path()),
        }
    }
}

/// A place at which an object differs from what is desired.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference<'a> {
    /// The path, with keys as they are.
    pub path: String,
    /// What is desired there.
    pub desired: Option<&'a Value>,
    /// What is there.
    pub found: Option<&'a Value>,
}

/// Where `observed` differs from `desired`: the path of the first difference.
pub fn difference(desired: &Value, observed: &Value) -> Option<String> {
    first(&Walk { root: desired, is_default }, observed)
}

/// Where `observed` differs from an object that holds what the API server filled in, too.
pub(super) fn difference_from_stored(stored: &Value, observed: &Value) -> Option<String> {
    first(&Walk { root: stored, is_default: |_, path, _| NEVER_RESTORED.contains(&path) }, observed)
}

fn first(walk: &Walk<'_>, observed: &Value) -> Option<String> {
    let mut first = None;
    // What ends the walk is of no interest.
    let _ = walk.at(Some(walk.root), Some(observed), &Place::ROOT, &mut |found| {
        first = Some(found.path);
        ControlFlow::Break(())
    });
    first
}

/// All places where `observed` differs from `desired`.
pub fn differences<'a>(desired: &'a Value, observed: &'a Value) -> Vec<Difference<'a>> {
    let mut all = Vec::new();
    // It never ends early.
    let _ = Walk { root: desired, is_default }.at(Some(desired), Some(observed), &Place::ROOT, &mut |found| {
        all.push(found);
        ControlFlow::Continue(())
    });
    all
}

/// Whether an object has to be made anew to be as desired: it differs in a field that cannot be changed. A selector that asks
/// for more than is desired does not: admission adds labels when an object is created, and what serves is not deleted for that.
pub fn must_be_made_anew(kind: &str, desired: &Value, observed: &Value) -> bool {
    unchangeable(kind).any(|path| !asks_for_all_of(desired.pointer(path), observed.pointer(path)))
}

/// Whether a label selector asks for every label that is desired, and perhaps for others.
fn asks_for_all_of(desired: Option<&Value>, observed: Option<&Value>) -> bool {
    let labels = |selector: Option<&Value>| selector?.get("matchLabels")?.as_object().cloned();
    match (labels(desired), labels(observed)) {
        (Some(desired), Some(observed)) => desired.iter().all(|(key, value)| observed.get(key) == Some(value)),
        _ => desired == observed,
    }
}

/// The fields of an object that cannot be changed.
pub(super) fn unchangeable(kind: &str) -> impl Iterator<Item = &'static str> {
    UNCHANGEABLE.iter().filter(move |(of, _)| *of == kind).map(|(_, path)| *path)
}

/// What is done with a difference.
type Visit<'v, 'a> = &'v mut dyn FnMut(Difference<'a>) -> ControlFlow<()>;

/// A walk through an object and what is desired of it.
struct Walk<'a> {
    root: &'a Value,
    /// Whether the API server fills in a value at a place of which nothing is desired.
    is_default: fn(&Value, &str, &Value) -> bool,
}

impl<'a> Walk<'a> {
    fn at(
        &self,
        desired: Option<&'a Value>,
        found: Option<&'a Value>,
        place: &Place<'_>,
        visit: Visit<'_, 'a>,
    ) -> ControlFlow<()> {
        match (desired, found) {
            (Some(Value::Object(_)), Some(Value::Object(_))) => self.maps(desired, found, place, visit),
            (Some(Value::Array(wanted)), Some(Value::Array(there))) => {
                let same = if place.path() == OWNERS {
                    wanted.iter().all(|owner| there.contains(owner))
                } else if wanted.len() == there.len() {
                    return wanted.iter().zip(there).enumerate().try_for_each(|(index, (wanted, there))| {
                        self.at(Some(wanted), Some(there), &place.below(Key::Index(index)), visit)
                    });
                } else {
                    false
                };
                if same { ControlFlow::Continue(()) } else { differs(desired, found, place, visit) }
            }
            (Some(wanted), Some(there)) if wanted == there => ControlFlow::Continue(()),
            (Some(wanted), Some(there)) => {
                let path = place.path();
                if is_quantity(&path) && same_quantity(wanted, there) {
                    return ControlFlow::Continue(());
                }
                differs(desired, found, place, visit)
            }
            // Of a field that has a default of its own, `false` is a value like `true`.
            (Some(wanted), None) if is_empty(wanted) && !wanted.is_boolean() => ControlFlow::Continue(()),
            (Some(_), None) => differs(desired, found, place, visit),
            (None, Some(there)) if !place.ours || is_empty(there) => ControlFlow::Continue(()),
            (None, Some(Value::Object(_))) if !place.is_one_of(WHOLE_MAPS) => self.maps(desired, found, place, visit),
            (None, Some(there)) if (self.is_default)(self.root, &place.path(), there) => ControlFlow::Continue(()),
            (None, Some(_)) => differs(desired, found, place, visit),
            (None, None) => ControlFlow::Continue(()),
        }
    }

    fn maps(
        &self,
        desired: Option<&'a Value>,
        found: Option<&'a Value>,
        place: &Place<'_>,
        visit: Visit<'_, 'a>,
    ) -> ControlFlow<()> {
        let (wanted, there) = (desired.and_then(Value::as_object), found.and_then(Value::as_object));
        let is_whole = place.is_one_of(WHOLE_MAPS) && wanted.is_some_and(|wanted| !wanted.contains_key("matchLabels"));
        if is_whole && wanted.map(|map| map.len()) != there.map(|map| map.len()) {
            return differs(desired, found, place, visit);
        }
        for (key, value) in wanted.into_iter().flatten() {
            let other = there.and_then(|there| there.get(key));
            self.at(Some(value), other, &place.below(Key::Name(key)), visit)?;
        }
        for (key, value) in there.into_iter().flatten() {
            if wanted.is_none_or(|wanted| !wanted.contains_key(key)) {
                self.at(None, Some(value), &place.below(Key::Name(key)), visit)?;
            }
        }
        ControlFlow::Continue(())
    }
}

fn differs<'a>(
    desired: Option<&'a Value>,
    found: Option<&'a Value>,
    place: &Place<'_>,
    visit: Visit<'_, 'a>,
) -> ControlFlow<()> {
    visit(Difference { path: place.path(), desired, found })
}

/// The API server leaves out what is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    }
}
