//! Valid fields that will be stored or rendered differently than written. This is known without a cluster and
//! is not a fault.

use phasegate::children::{more, rounded};
use serde::Serialize;
use serde_json::Value;

/// Advice about a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The path of the field.
    pub field: String,
    /// What will become of it.
    pub message: String,
}

/// The advice for a valid gateway.
pub fn of(object: &Value) -> Vec<Advice> {
    let resources = &object["spec"]["resources"];
    let mut advice = Vec::new();
    for kind in ["limits", "requests"] {
        for (name, value) in resources[kind].as_object().into_iter().flatten() {
            let asked = text(value);
            if let Some(stored) = rounded(&asked) {
                let message = format!("the API server rounds {asked} up to {stored} (thousandths)");
                advice.push(Advice { field: format!("spec.resources.{kind}.{name}"), message });
            }
        }
    }
    for (name, limit) in resources["limits"].as_object().into_iter().flatten() {
        let limit = text(limit);
        let asked = resources["requests"].get(name).map(text);
        if let Some(asked) = asked.filter(|asked| more(asked, &limit)) {
            let message = format!("{asked} exceeds the limit {limit}: the API server will reject the Deployment");
            advice.push(Advice { field: format!("spec.resources.requests.{name}"), message });
        }
    }
    advice
}

/// The text of a quantity, which may be written as a number.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
