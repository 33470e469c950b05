#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::api::{Environment, Guarded};

/// The environment `name` of a gateway, in this version; of no gateway: one that cannot be read.
fn environment(name: &str, gateway: &str, version: &str) -> Guarded<Environment> {
    let gateway_ref = if gateway.is_empty() { json!(7) } else { json!({ "name": gateway }) };
    serde_json::from_value(json!({
        "apiVersion": "phasegate.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": name, "namespace": "a", "uid": name, "resourceVersion": version },
        "spec": { "gatewayRef": gateway_ref },
    }))
    .unwrap()
}

fn apply(name: &str, gateway: &str, version: &str) -> Event<Guarded<Environment>> {
    Event::Apply(environment(name, gateway, version))
}

/// A complete list of names, gateways and versions.
fn list(all: &[(&str, &str, &str)]) -> Vec<Event<Guarded<Environment>>> {
    let listed = all.iter().map(|(name, gateway, version)| Event::InitApply(environment(name, gateway, version)));
    [Event::Init].into_iter().chain(listed).chain([Event::InitDone]).collect()
}

fn absorbed(cache: &Cache<Environment>, events: Vec<Event<Guarded<Environment>>>) -> Vec<String> {
    let mut affected: Vec<_> =
        events.into_iter().flat_map(|event| cache.apply_event(event)).map(|key| key.name).collect();
    affected.sort();
    affected
}

fn of(cache: &Cache<Environment>, gateway: &str) -> Vec<String> {
    cache.of(&ObjectKey::new("a", gateway)).into_iter().map(|(name, _)| name).collect()
}

/// What happens after `dev` and `prod` of the gateway `shop` were listed.
struct Row {
    name: &'static str,
    events: fn() -> Vec<Event<Guarded<Environment>>>,
    /// The gateways that look again.
    wakes: &'static [&'static str],
    /// The environments of `shop` afterwards, and those of `blog`.
    left: [&'static [&'static str]; 2],
}

const TABLE: &[Row] = &[
    Row {
        name: "the same list again is no news",
        events: || list(&[("dev", "shop", "1"), ("prod", "shop", "1")]),
        wakes: &[],
        left: [&["dev", "prod"], &[]],
    },
    Row {
        name: "one that changed while the watch was interrupted",
        events: || list(&[("dev", "shop", "2"), ("prod", "shop", "1")]),
        wakes: &["shop"],
        left: [&["dev", "prod"], &[]],
    },
    Row {
        name: "one that went while the watch was interrupted",
        events: || list(&[("prod", "shop", "1")]),
        wakes: &["shop"],
        left: [&["prod"], &[]],
    },
    Row { name: "all that went", events: || list(&[]), wakes: &["shop"], left: [&[], &[]] },
    Row {
        name: "one that came",
        events: || list(&[("dev", "shop", "1"), ("prod", "shop", "1"), ("test", "blog", "1")]),
        wakes: &["blog"],
        left: [&["dev", "prod"], &["test"]],
    },
    Row {
        name: "one that was made anew for another gateway concerns both",
        events: || list(&[("dev", "blog", "2"), ("prod", "shop", "1")]),
        wakes: &["blog", "shop"],
        left: [&["prod"], &["dev"]],
    },
    Row {
        name: "the same, told as it happens",
        events: || vec![apply("dev", "blog", "2")],
        wakes: &["blog", "shop"],
        left: [&["prod"], &["dev"]],
    },
    Row {
        name: "one that went after it came to another gateway concerns that one alone",
        events: || {
            let gone = Event::Delete(environment("dev", "blog", "3"));
            vec![apply("dev", "blog", "2"), gone]
        },
        wakes: &["blog", "blog", "shop"],
        left: [&["prod"], &[]],
    },
    Row {
        name: "one that cannot be read any more is gone from its gateway",
        events: || vec![apply("dev", "", "2")],
        wakes: &["shop"],
        left: [&["prod"], &[]],
    },
    Row {
        name: "a deletion of what was never there",
        events: || vec![Event::Delete(environment("test", "shop", "1"))],
        wakes: &[],
        left: [&["dev", "prod"], &[]],
    },
    Row {
        name: "a list that breaks off and begins anew is the second alone",
        events: || {
            let mut events = vec![Event::Init, Event::InitApply(environment("test", "blog", "1"))];
            events.extend(list(&[("dev", "shop", "1"), ("prod", "shop", "1")]));
            events
        },
        wakes: &[],
        left: [&["dev", "prod"], &[]],
    },
    Row {
        name: "until a list is complete what was known stands",
        events: || vec![Event::Init, Event::InitApply(environment("dev", "blog", "2"))],
        wakes: &[],
        left: [&["dev", "prod"], &[]],
    },
];

#[test]
fn whoever_differs_from_before_looks_again() {
    for row in TABLE {
        let cache = Cache::<Environment>::default();
        let first = absorbed(&cache, list(&[("prod", "shop", "1"), ("dev", "shop", "1")]));
        assert_eq!(first, ["shop"], "{}", row.name);
        assert_eq!(absorbed(&cache, (row.events)()), row.wakes, "{}", row.name);
        assert_eq!([of(&cache, "shop"), of(&cache, "blog")], row.left.map(<[&str]>::to_vec), "{}", row.name);
    }
}
