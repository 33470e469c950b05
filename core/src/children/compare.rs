//! Comparing an object with what is desired, and putting what is desired into it.
//!
//! Both work on JSON, where every kind looks the same. Others' fields are left alone; lists
//! that are ours are ours as a whole, so that an entry that somebody adds is removed.

use serde_json::{Map, Value};

use super::DESIRED_ANNOTATION;

/// Maps that are compared and written whole: a key that somebody adds changes their meaning.
const WHOLE_MAPS: &[&str] = &["selector", "matchLabels", "nodeSelector", "limits", "requests"];

/// Fields that are not there unless they are desired: what somebody sets is an edit, and what
/// the spec drops goes. Not `ingressClassName`, which the API server fills in where a cluster has
/// a default class.
const NOTHING_UNLESS_DESIRED: &[&str] = &[
    // A Deployment.
    "/spec/paused",
    "/spec/minReadySeconds",
    "/spec/template/spec/initContainers",
    "/spec/template/spec/nodeSelector",
    "/spec/template/spec/affinity",
    "/spec/template/spec/tolerations",
    "/spec/template/spec/imagePullSecrets",
    "/spec/template/spec/topologySpreadConstraints",
    "/spec/template/spec/serviceAccountName",
    "/spec/template/spec/serviceAccount",
    "/spec/template/spec/hostNetwork",
    "/spec/template/spec/hostPID",
    "/spec/template/spec/hostIPC",
    "/spec/template/spec/containers/0/securityContext/privileged",
    "/spec/template/spec/containers/0/securityContext/capabilities/add",
    "/spec/template/spec/containers/0/command",
    "/spec/template/spec/containers/0/args",
    "/spec/template/spec/containers/0/env",
    "/spec/template/spec/containers/0/envFrom",
    "/spec/template/spec/containers/0/resources/limits",
    "/spec/template/spec/containers/0/resources/requests",
    // A Service, of whatever type it was in between.
    "/spec/externalName",
    // An Ingress.
    "/spec/tls",
    "/spec/defaultBackend",
    // A PodDisruptionBudget, whose selector is one of labels.
    "/spec/minAvailable",
    "/spec/selector/matchExpressions",
];

/// Fields that the API server's own validation does not let change, by kind: only a new object has another value. A
/// refusal is no sign of it, however it ends; a policy's words may be the same.
const UNCHANGEABLE: &[(&str, &str)] = &[("Deployment", "/spec/selector")];

/// Owners that somebody adds beside ours are theirs to keep.
const OWNERS: &str = "/metadata/ownerReferences";

/// A place in an object. It is spelled out only where something differs: most comparisons find nothing.
#[derive(Clone, Copy)]
struct Place<'a> {
    above: Option<&'a Place<'a>>,
    key: Key<'a>,
}

#[derive(Clone, Copy)]
enum Key<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    const ROOT: Place<'static> = Place { above: None, key: Key::Name("") };

    fn below(&'a self, key: Key<'a>) -> Self {
        Self { above: Some(self), key }
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

/// Where `observed` differs from `desired`: the path of the first difference.
pub fn difference(desired: &Value, observed: &Value) -> Option<String> {
    let hash = |object| at(object, "/metadata/annotations").and_then(|annotations| annotations.get(DESIRED_ANNOTATION));
    differs(desired, observed, &Place::ROOT)
        .or_else(|| surplus(desired, observed).next().map(str::to_owned))
        .or_else(|| (hash(desired) != hash(observed)).then(|| format!("/metadata/annotations/{DESIRED_ANNOTATION}")))
}

/// Whether an object has to be made anew to be as desired: it differs in a field that cannot be changed.
pub fn must_be_made_anew(kind: &str, desired: &Value, observed: &Value) -> bool {
    let mut fields = UNCHANGEABLE.iter().filter(|(of, _)| *of == kind).map(|(_, path)| *path);
    fields.any(|path| at(desired, path) != at(observed, path))
}

/// What is there although it is not desired.
fn surplus<'a>(desired: &'a Value, observed: &'a Value) -> impl Iterator<Item = &'static str> + 'a {
    NOTHING_UNLESS_DESIRED
        .iter()
        .copied()
        .filter(|path| at(observed, path).is_some_and(|found| !is_empty(found)) && at(desired, path).is_none())
}

/// What is at a path without escapes, for which `Value::pointer` would make copies of every part.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/').skip(1).try_fold(object, |value, part| match value {
        Value::Object(map) => map.get(part),
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

fn differs(desired: &Value, observed: &Value, place: &Place<'_>) -> Option<String> {
    let here = || Some(place.path());
    match (desired, observed) {
        (Value::Object(desired), Value::Object(observed)) => {
            let whole = place.is_one_of(WHOLE_MAPS) && !desired.contains_key("matchLabels");
            if whole && desired.len() != observed.len() {
                return here();
            }
            desired.iter().find_map(|(key, value)| {
                let place = place.below(Key::Name(key));
                match observed.get(key) {
                    Some(found) => differs(value, found, &place),
                    None if is_empty(value) => None,
                    None => Some(place.path()),
                }
            })
        }
        (Value::Array(desired), Value::Array(observed)) if place.path() == OWNERS => {
            if desired.iter().all(|owner| observed.contains(owner)) { None } else { here() }
        }
        (Value::Array(desired), Value::Array(observed)) => {
            if desired.len() != observed.len() {
                return here();
            }
            let pairs = desired.iter().zip(observed).enumerate();
            pairs
                .into_iter()
                .find_map(|(index, (desired, observed))| differs(desired, observed, &place.below(Key::Index(index))))
        }
        (desired, observed) if desired == observed => None,
        (desired, observed) => {
            let path = place.path();
            if is_quantity(&path) && same_quantity(desired, observed) { None } else { Some(path) }
        }
    }
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

fn is_quantity(path: &str) -> bool {
    // The name of an extended resource has a slash.
    path.contains("/limits/")
        || path.contains("/requests/")
        || path.ends_with("/sizeLimit")
        || path.ends_with("/divisor")
}

/// Whether two quantities are the same number: the API server rewrites `1000m` as `1`.
fn same_quantity(a: &Value, b: &Value) -> bool {
    match (a.as_str().and_then(quantity), b.as_str().and_then(quantity)) {
        (Some(a), Some(b)) => (a - b).abs() <= f64::EPSILON * a.abs().max(b.abs()),
        _ => false,
    }
}

fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: &[(&str, f64)] = &[
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    if let Ok(plain) = text.parse::<f64>() {
        return Some(plain);
    }
    let (suffix, factor) = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix))?;
    text.strip_suffix(suffix)?.parse::<f64>().ok().map(|number| number * factor)
}

/// The freshly read object with our parts replaced and others' fields kept.
pub fn merge(fresh: &Value, desired: &Value) -> Value {
    let mut merged = overlay(fresh, desired, "");
    if let (Some(Value::Array(before)), Some(Value::Array(ours))) = (fresh.pointer(OWNERS), merged.pointer_mut(OWNERS))
    {
        // There is one controller, and what is written here is ours.
        let same = |a: &Value, b: &Value| a.get("uid") == b.get("uid");
        let controls = |owner: &Value| owner.get("controller") == Some(&Value::Bool(true));
        let others =
            before.iter().filter(|owner| !controls(owner) && !ours.iter().any(|our| same(our, owner))).cloned();
        let others: Vec<Value> = others.collect();
        ours.extend(others);
    }
    let surplus: Vec<&str> = surplus(desired, &merged).collect();
    for pointer in surplus {
        if let Some((parent, key)) = pointer.rsplit_once('/')
            && let Some(Value::Object(parent)) = merged.pointer_mut(parent)
        {
            parent.remove(key);
        }
    }
    merged
}

fn overlay(fresh: &Value, desired: &Value, key: &str) -> Value {
    match (fresh, desired) {
        (Value::Object(fresh), Value::Object(desired)) => {
            let whole = WHOLE_MAPS.contains(&key) && !desired.contains_key("matchLabels");
            let mut merged = if whole { Map::new() } else { fresh.clone() };
            for (key, value) in desired {
                let value = match fresh.get(key) {
                    Some(found) => overlay(found, value, key),
                    None => value.clone(),
                };
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        // Lists and scalars are ours as a whole.
        (_, desired) => desired.clone(),
    }
}
