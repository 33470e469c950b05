//! Bounds the length of variables and arguments after the kubelet expands references such as `$(NAME)`. A
//! variable made of references multiplies: ten variables can outgrow a node's memory.
//!
//! **Architecture invariant:** this module expands no text. It adds lengths, so its own memory does not grow
//! with the references.

use std::collections::HashMap;

use crate::api::ApiGatewaySpec;

/// A limit on expanded texts.
struct Measure {
    /// The assumed length of a value that only a Secret, a ConfigMap or the pod's status knows.
    not_known_here: usize,
    /// The longest single argument or variable.
    longest: usize,
    /// The total of all of them.
    most: usize,
    /// Why a longer one is invalid.
    why: &'static str,
}

/// Two limits, for two purposes. First, the program must start: Linux refuses longer arguments. A password in
/// an address refers to little, so an unknown value counts little here. Second, the kubelet must have the
/// memory for the expansion: here an unknown value counts as much as a Secret or ConfigMap can hold, and the
/// total is about what the variables of a pod can come to without any reference.
const MEASURES: [Measure; 2] = [
    Measure {
        not_known_here: 4 * 1024,
        longest: 128 * 1024,
        most: 2 * 1024 * 1024,
        why: "its value with expanded references exceeds what a process can start with: 128 KiB, or 2 MiB for all \
              variables",
    },
    Measure {
        not_known_here: 1024 * 1024,
        longest: usize::MAX,
        most: 128 * 1024 * 1024,
        why: "all variables together refer to values of Secrets, ConfigMaps or the pod more than 128 times, each up \
              to 1 MiB",
    },
];

/// The first variable or argument that expands beyond a limit, and the reason.
pub(super) fn too_long(spec: &ApiGatewaySpec) -> Option<(String, &'static str)> {
    let values = spec.env.iter().filter_map(|variable| variable.value.as_ref());
    // Without references nothing expands.
    if !values.chain(&spec.command).chain(&spec.args).any(|text| text.contains("$(")) {
        return None;
    }
    MEASURES.iter().find_map(|measure| Some((first_beyond(spec, measure)?, measure.why)))
}

fn first_beyond(spec: &ApiGatewaySpec, measure: &Measure) -> Option<String> {
    let of_others = !spec.env_from.is_empty();
    let mut lengths = Lengths { measure, known: HashMap::new(), of_others, all: 0, refer: false };
    for (index, variable) in spec.env.iter().enumerate() {
        let Some(value) = variable.value.as_deref().filter(|_| variable.value_from.is_none()) else {
            lengths.known.insert(&variable.name, measure.not_known_here);
            continue;
        };
        let long = lengths.add(value);
        if long.is_none() {
            return Some(format!("spec.env[{index}].value"));
        }
        lengths.known.insert(&variable.name, long?);
    }
    [("command", &spec.command), ("args", &spec.args)].into_iter().find_map(|(field, texts)| {
        let index = texts.iter().position(|text| lengths.add(text).is_none())?;
        Some(format!("spec.{field}[{index}]"))
    })
}

/// The lengths of the variables seen so far, and the total.
struct Lengths<'a> {
    measure: &'a Measure,
    known: HashMap<&'a str, usize>,
    /// Whether an unseen name may be a variable from a Secret or a ConfigMap.
    of_others: bool,
    all: usize,
    refer: bool,
}

impl Lengths<'_> {
    /// The expanded length of a text; `None` if a limit is exceeded.
    fn add(&mut self, text: &str) -> Option<usize> {
        let Measure { not_known_here, longest, most, why: _ } = *self.measure;
        let not_met = self.of_others.then_some(not_known_here);
        let (long, refers) = expanded(text, |name| self.known.get(name).copied().or(not_met));
        self.all = self.all.saturating_add(long);
        self.refer |= refers;
        let too_long = (refers && long > longest) || (self.refer && self.all > most);
        (!too_long).then_some(long)
    }
}

/// The expanded length of a text, and whether it contains a reference. `size` returns the length of a variable,
/// if it exists.
fn expanded(text: &str, size: impl Fn(&str) -> Option<usize>) -> (usize, bool) {
    let (mut long, mut grows, mut rest) = (0_usize, false, text);
    while let Some(at) = rest.find('$') {
        long = long.saturating_add(at);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            (long, rest) = (long.saturating_add(1), after);
            continue;
        }
        let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) else {
            long = long.saturating_add(1);
            if !rest.contains(')') {
                break;
            }
            continue;
        };
        match size(name) {
            Some(size) => (long, grows) = (long.saturating_add(size), true),
            None => long = long.saturating_add(name.len() + 3),
        }
        rest = after;
    }
    (long.saturating_add(rest.len()), grows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn spec(more: Value) -> ApiGatewaySpec {
        let mut spec = json!({ "image": "acme/gateway:1" });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    fn field(more: Value) -> Option<String> {
        too_long(&spec(more)).map(|(field, _)| field)
    }

    #[test]
    fn a_text_is_as_long_as_what_is_put_into_it() {
        let size =
            |name: &str| [("A", 10), ("LONG", 1000)].into_iter().find(|(known, _)| *known == name).map(|(_, n)| n);
        for (text, expected) in [
            ("", (0, false)),
            ("plain", (5, false)),
            ("$(A)", (10, true)),
            ("a$(A)b$(LONG)c", (1013, true)),
            ("$$(A)", (4, false)),
            ("$$$(A)", (11, true)),
            ("$(B)", (4, false)),
            ("$A", (2, false)),
            ("$", (1, false)),
            ("$(A", (3, false)),
            ("$($($(", (6, false)),
            ("$($(A)", (6, false)),
            ("1 $ and $(A)", (18, true)),
        ] {
            assert_eq!(expanded(text, size), expected, "{text}");
        }
        assert_eq!(expanded("$(A)", |_| Some(usize::MAX)), (usize::MAX, true));
        let many = "$(".repeat(1_000_000);
        assert_eq!(expanded(&many, size), (2_000_000, false), "and it does not take long");
    }

    #[test]
    fn references_that_multiply_are_told_by_the_first_that_is_too_long() {
        let value = |name: &str, value: &str| json!({ "name": name, "value": value });
        let from = |name: &str| json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } });
        let kilobyte = "x".repeat(1024);
        let rows = [
            ("a few references", json!([value("A", &kilobyte), value("B", &"$(A)".repeat(100))]), None),
            (
                "ten of ten of ten",
                json!([
                    value("A", &kilobyte),
                    value("B", &"$(A)".repeat(100)),
                    value("C", "$(B)$(B)"),
                    value("D", &"$(C)".repeat(8000)),
                ]),
                Some("spec.env[2].value"),
            ),
            ("no reference back", json!([value("B", &"$(A)".repeat(8000)), value("A", &kilobyte)]), None),
            ("of a Secret", json!([from("A"), value("B", "postgres://$(A):$(A)@$(A)/$(A)")]), None),
            ("of a Secret, often", json!([from("A"), value("B", &"$(A)".repeat(33))]), Some("spec.env[1].value")),
            ("long by itself", json!([value("A", &kilobyte.repeat(200))]), None),
            (
                "much by itself",
                json!((0..100).map(|n| value(&format!("A{n}"), &kilobyte.repeat(30))).collect::<Vec<_>>()),
                None,
            ),
            (
                "much together",
                json!(
                    (0..30)
                        .map(|n| value(
                            &format!("A{n}"),
                            &if n == 0 { kilobyte.repeat(100) } else { "$(A0)".to_owned() }
                        ))
                        .collect::<Vec<_>>()
                ),
                Some("spec.env[20].value"),
            ),
        ];
        for (what, env, expected) in rows {
            assert_eq!(field(json!({ "env": env })).as_deref(), expected, "{what}");
        }
        let env = || json!([value("A", &kilobyte)]);
        for (field, expected) in [("command", "spec.command[1]"), ("args", "spec.args[1]")] {
            let asked = json!({ "env": env(), field: ["run", "$(A)".repeat(200)] });
            assert_eq!(self::field(asked).as_deref(), Some(expected));
        }
        let all = json!({ "envFrom": [{ "configMapRef": { "name": "c" } }], "args": ["$(WHO)".repeat(33)] });
        assert_eq!(field(all).as_deref(), Some("spec.args[0]"));
    }

    #[test]
    fn what_others_have_may_be_a_megabyte_each_time_and_is_referred_to_so_often_at_most() {
        let from = json!({ "name": "A", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k" } } });
        let refers = |times: usize| {
            let variables = (0..times).map(|n| json!({ "name": format!("B{n}"), "value": "$(A)" }));
            json!({ "env": std::iter::once(from.clone()).chain(variables).collect::<Vec<_>>() })
        };
        assert_eq!(too_long(&spec(refers(99))), None, "what people write");
        let (field, why) = too_long(&spec(refers(200))).unwrap();
        assert_eq!((field.as_str(), why.contains("more than 128 times")), ("spec.env[129].value", true));
        // Through others, too.
        let value = |name: &str, value: String| json!({ "name": name, "value": value });
        let chain =
            [from, value("B", "$(A)".repeat(25)), value("C", "$(B)".to_owned()), value("D", "$(C)$(A)".to_owned())];
        let mut env = chain.to_vec();
        assert_eq!(too_long(&spec(json!({ "env": env }))), None);
        env.extend((0..3).map(|n| value(&format!("E{n}"), "$(D)".to_owned())));
        assert_eq!(self::field(json!({ "env": env })).as_deref(), Some("spec.env[6].value"));
    }
}
