//! How long variables and arguments become once a kubelet has put in what they refer to: `$(NAME)`. A reference to a variable
//! that is made of references multiplies, and ten variables can become more than a node has memory.

use std::collections::HashMap;

use crate::api::ApiGatewaySpec;

/// The longest argument or variable with which Linux starts a program.
const LONGEST: usize = 128 * 1024;
/// The most that all of them together may have.
const MOST: usize = 2 * 1024 * 1024;
/// What a reference counts whose value is in a Secret, a ConfigMap or the pod's status.
const NOT_KNOWN_HERE: usize = 4 * 1024;

/// The first variable or argument that a kubelet would make longer than a program can be started with.
pub(super) fn too_long(spec: &ApiGatewaySpec) -> Option<String> {
    let values = spec.env.iter().filter_map(|variable| variable.value.as_ref());
    // What is as it was written is as long as it is: nobody computes anything.
    if !values.chain(&spec.command).chain(&spec.args).any(|text| text.contains("$(")) {
        return None;
    }
    let mut lengths = Lengths { known: HashMap::new(), of_others: !spec.env_from.is_empty(), all: 0, refer: false };
    for (index, variable) in spec.env.iter().enumerate() {
        let Some(value) = variable.value.as_deref().filter(|_| variable.value_from.is_none()) else {
            lengths.known.insert(&variable.name, NOT_KNOWN_HERE);
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

/// How long the variables are that were met, and all texts together.
struct Lengths<'a> {
    known: HashMap<&'a str, usize>,
    /// Whether a name that was not met may be a variable of a Secret or a ConfigMap.
    of_others: bool,
    all: usize,
    refer: bool,
}

impl Lengths<'_> {
    /// How long a text becomes; `None`: too long.
    fn add(&mut self, text: &str) -> Option<usize> {
        let not_met = self.of_others.then_some(NOT_KNOWN_HERE);
        let (long, refers) = expanded(text, |name| self.known.get(name).copied().or(not_met));
        self.all = self.all.saturating_add(long);
        self.refer |= refers;
        let too_long = (refers && long > LONGEST) || (self.refer && self.all > MOST);
        (!too_long).then_some(long)
    }
}

/// How long a text becomes, and whether anything was put in. `size`: how long a variable is, where there is one.
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
            assert_eq!(too_long(&spec(json!({ "env": env }))).as_deref(), expected, "{what}");
        }
        let env = || json!([value("A", &kilobyte)]);
        for (field, expected) in [("command", "spec.command[1]"), ("args", "spec.args[1]")] {
            let asked = spec(json!({ "env": env(), field: ["run", "$(A)".repeat(200)] }));
            assert_eq!(too_long(&asked).as_deref(), Some(expected));
        }
        let all = json!({ "envFrom": [{ "configMapRef": { "name": "c" } }], "args": ["$(WHO)".repeat(33)] });
        assert_eq!(too_long(&spec(all)).as_deref(), Some("spec.args[0]"));
    }
}
