//! Manifests, as `kubectl phasegate validate` reads them. The plugin is a program and no library: its files are included.

use std::path::PathBuf;
use std::sync::OnceLock;

use phasegate::api::{ApiGateway, Environment};
use phasegate::children::{RenderContext, render};
use serde::de::DeserializeOwned;
use serde_json::Value;

#[path = "../../../src/bin/kubectl-phasegate/offline/advice.rs"]
mod advice;
#[allow(dead_code)]
#[path = "../../../src/bin/kubectl-phasegate/offline/check.rs"]
mod check;
#[path = "../../../src/bin/kubectl-phasegate/offline/fault.rs"]
mod fault;
#[path = "../../../src/bin/kubectl-phasegate/offline/manifests.rs"]
mod manifests;
#[path = "../../../src/bin/kubectl-phasegate/offline/schema.rs"]
mod schema;

use check::{Definitions, Verdict};
use manifests::Manifest;

/// The input is a file of manifests.
pub fn target(input: &[u8]) {
    match manifests::read(&[PathBuf::from("-")], false, input) {
        Ok(found) => found.iter().for_each(checked),
        Err(sentence) => assert!(sentence.starts_with("stdin"), "it does not name the file: {sentence}"),
    }
}

fn checked(manifest: &Manifest) {
    assert!(manifest.place.to_string().starts_with("stdin, document "));
    if let Some(object) = accepted(&manifest.object) {
        assert_eq!(accepted(&object).as_ref(), Some(&object), "what is accepted changes when it is applied again");
        advice::of(&object);
        if object["kind"] == "ApiGateway" {
            let gateway = read::<ApiGateway>(&object);
            render(&gateway, &RenderContext::default());
        } else {
            read::<Environment>(&object);
        }
    }
}

/// An object of ours with its defaults, where there is no fault in it.
pub(crate) fn accepted(object: &Value) -> Option<Value> {
    static DEFINITIONS: OnceLock<Definitions> = OnceLock::new();
    let definitions = DEFINITIONS.get_or_init(|| Definitions::new().unwrap());
    match definitions.check(object) {
        Verdict::Checked { object, faults, .. } if faults.is_empty() => Some(object),
        Verdict::Checked { .. } => None,
        Verdict::NotOurs { kind } => {
            assert!(!kind.ends_with(" of phasegate.dev/v1alpha1"), "{kind}");
            None
        }
    }
}

/// What the definitions accept, the operator can read.
fn read<T: DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"))
}
