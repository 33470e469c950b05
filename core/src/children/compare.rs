//! Compares a child with its desired state.
//!
//! The comparison works on JSON, which looks the same for every kind. The operator owns the whole spec of a
//! child: a value that is neither desired nor a default of the API server is drift. Of the metadata (the
//! child's and that of its pods), it owns only its own keys.
//!
//! **Architecture invariant:** kinds differ in tables only: of immutable fields here, and of `defaults` and
//! `paths`.

use std::ops::ControlFlow;

use serde_json::Value;

use super::defaults::is_default;
use super::paths::{NEVER_RESTORED, OWNERS};
use super::quantity::{is_quantity, same_quantity};

/// Maps that count as one value: an added key changes their meaning.
const WHOLE_MAPS: &[&str] = &["selector", "matchLabels", "nodeSelector", "limits", "requests"];

/// Immutable fields by kind: the API server's own validation refuses a change, so a new object is needed. The
/// operator knows them from this table and never infers them from a refusal, since a policy's message may read
/// the same.
const UNCHANGEABLE: &[(&str, &str)] = &[("Deployment", "/spec/selector")];

/// A path in an object. The text is built only where something differs; most comparisons find nothing.
#[derive(Clone, Copy)]
struct Location<'a> {
    above: Option<&'a Location<'a>>,
    key: Key<'a>,
    /// Whether an undesired value is drift here.
    ours: bool,
}

#[derive(Clone, Copy)]
enum Key<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> Location<'a> {
    const ROOT: Location<'static> = Location { above: None, key: Key::Name(""), ours: false };

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

/// A difference between an object and its desired state.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference<'a> {
    /// The path, with its keys unescaped.
    pub path: String,
    /// The desired value.
    pub desired: Option<&'a Value>,
    /// The value that was found.
    pub found: Option<&'a Value>,
}

/// The path of the first difference between `desired` and `observed`.
pub fn difference(desired: &Value, observed: &Value) -> Option<String> {
    first(&Walk { root: desired, is_default }, observed)
}

/// The path of the first difference between `observed` and a stored object, which includes the API server's
/// defaults.
pub(super) fn difference_from_stored(stored: &Value, observed: &Value) -> Option<String> {
    first(&Walk { root: stored, is_default: |_, path, _| NEVER_RESTORED.contains(&path) }, observed)
}

fn first(walk: &Walk<'_>, observed: &Value) -> Option<String> {
    let mut first = None;
    // The walk's own result does not matter.
    let _ = walk.at(Some(walk.root), Some(observed), &Location::ROOT, &mut |found| {
        first = Some(found.path);
        ControlFlow::Break(())
    });
    first
}

/// All differences between `desired` and `observed`.
pub fn differences<'a>(desired: &'a Value, observed: &'a Value) -> Vec<Difference<'a>> {
    let mut all = Vec::new();
    // The walk never breaks.
    let _ = Walk { root: desired, is_default }.at(Some(desired), Some(observed), &Location::ROOT, &mut |found| {
        all.push(found);
        ControlFlow::Continue(())
    });
    all
}

/// Whether the object must be recreated: an immutable field differs. A selector with additional labels is no
/// reason: admission may add labels on creation, and recreating the object would interrupt a gateway that
/// serves.
pub fn must_be_made_anew(kind: &str, desired: &Value, observed: &Value) -> bool {
    unchangeable(kind).any(|path| !asks_for_all_of(desired.pointer(path), observed.pointer(path)))
}

/// Whether a label selector requires every desired label, and perhaps others.
fn asks_for_all_of(desired: Option<&Value>, observed: Option<&Value>) -> bool {
    let labels = |selector: Option<&Value>| selector?.get("matchLabels")?.as_object().cloned();
    match (labels(desired), labels(observed)) {
        (Some(desired), Some(observed)) => desired.iter().all(|(key, value)| observed.get(key) == Some(value)),
        _ => desired == observed,
    }
}

/// The immutable fields of a kind.
pub(super) fn unchangeable(kind: &str) -> impl Iterator<Item = &'static str> {
    UNCHANGEABLE.iter().filter(move |(of, _)| *of == kind).map(|(_, path)| *path)
}

/// Called with each difference.
type Visit<'v, 'a> = &'v mut dyn FnMut(Difference<'a>) -> ControlFlow<()>;

/// A walk through an object and its desired state.
struct Walk<'a> {
    root: &'a Value,
    /// Whether a value at a path with no desired value is a default of the API server.
    is_default: fn(&Value, &str, &Value) -> bool,
}

impl<'a> Walk<'a> {
    fn at(
        &self,
        desired: Option<&'a Value>,
        found: Option<&'a Value>,
        location: &Location<'_>,
        visit: Visit<'_, 'a>,
    ) -> ControlFlow<()> {
        match (desired, found) {
            (Some(Value::Object(_)), Some(Value::Object(_))) => self.maps(desired, found, location, visit),
            (Some(Value::Array(wanted)), Some(Value::Array(there))) => {
                let same = if location.path() == OWNERS {
                    wanted.iter().all(|owner| there.contains(owner))
                } else if wanted.len() == there.len() {
                    return wanted.iter().zip(there).enumerate().try_for_each(|(index, (wanted, there))| {
                        self.at(Some(wanted), Some(there), &location.below(Key::Index(index)), visit)
                    });
                } else {
                    false
                };
                if same { ControlFlow::Continue(()) } else { differs(desired, found, location, visit) }
            }
            (Some(wanted), Some(there)) if wanted == there => ControlFlow::Continue(()),
            (Some(wanted), Some(there)) => {
                let path = location.path();
                if is_quantity(&path) && same_quantity(wanted, there) {
                    return ControlFlow::Continue(());
                }
                differs(desired, found, location, visit)
            }
            // For a field with a default, `false` is a value like `true`.
            (Some(wanted), None) if is_empty(wanted) && !wanted.is_boolean() => ControlFlow::Continue(()),
            (Some(_), None) => differs(desired, found, location, visit),
            (None, Some(there)) if !location.ours || is_empty(there) => ControlFlow::Continue(()),
            (None, Some(Value::Object(_))) if !location.is_one_of(WHOLE_MAPS) => {
                self.maps(desired, found, location, visit)
            }
            (None, Some(there)) if (self.is_default)(self.root, &location.path(), there) => ControlFlow::Continue(()),
            (None, Some(_)) => differs(desired, found, location, visit),
            (None, None) => ControlFlow::Continue(()),
        }
    }

    fn maps(
        &self,
        desired: Option<&'a Value>,
        found: Option<&'a Value>,
        location: &Location<'_>,
        visit: Visit<'_, 'a>,
    ) -> ControlFlow<()> {
        let (wanted, there) = (desired.and_then(Value::as_object), found.and_then(Value::as_object));
        let is_whole =
            location.is_one_of(WHOLE_MAPS) && wanted.is_some_and(|wanted| !wanted.contains_key("matchLabels"));
        if is_whole && wanted.map(|map| map.len()) != there.map(|map| map.len()) {
            return differs(desired, found, location, visit);
        }
        for (key, value) in wanted.into_iter().flatten() {
            let other = there.and_then(|there| there.get(key));
            self.at(Some(value), other, &location.below(Key::Name(key)), visit)?;
        }
        for (key, value) in there.into_iter().flatten() {
            if wanted.is_none_or(|wanted| !wanted.contains_key(key)) {
                self.at(None, Some(value), &location.below(Key::Name(key)), visit)?;
            }
        }
        ControlFlow::Continue(())
    }
}

fn differs<'a>(
    desired: Option<&'a Value>,
    found: Option<&'a Value>,
    location: &Location<'_>,
    visit: Visit<'_, 'a>,
) -> ControlFlow<()> {
    visit(Difference { path: location.path(), desired, found })
}

/// The API server omits empty values.
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
