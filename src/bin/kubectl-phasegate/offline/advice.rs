//! What is valid, and will not come out as it is written: known without a cluster, and no fault.

use phasegate::children::{more, rounded};
use serde::Serialize;
use serde_json::Value;

/// What is to be known of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The path of the field.
    pub field: String,
    /// What will become of it.
    pub message: String,
}

/// What is to be known of a gateway that is valid.
pub fn of(object: &Value) -> Vec<Advice> {
    let resources = &object["spec"]["resources"];
    let mut advice = Vec::new();
    for kind in ["limits", "requests"] {
        for (name, value) in resources[kind].as_object().into_iter().flatten() {
            let asked = text(value);
            if let Some(stored) = rounded(&asked) {
                let message = format!("{asked} is stored as {stored}: the API server rounds up to thousandths");
                advice.push(Advice { field: format!("spec.resources.{kind}.{name}"), message });
            }
        }
    }
    for (name, limit) in resources["limits"].as_object().into_iter().flatten() {
        let limit = text(limit);
        let asked = resources["requests"].get(name).map(text);
        if let Some(asked) = asked.filter(|asked| more(asked, &limit)) {
            let message =
                format!("{asked} is more than the limit of {limit}: the API server will refuse the Deployment");
            advice.push(Advice { field: format!("spec.resources.requests.{name}"), message });
        }
    }
    advice
}

/// A quantity may be written as a number.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
