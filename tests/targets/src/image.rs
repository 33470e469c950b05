//! References of images: what the definition accepts, and what is read of them where others' words quote one.

use std::collections::BTreeMap;

use phasegate::children::difference;
use phasegate::decide::allowance::{Allowance, Violations};
use phasegate::decide::observed::Trouble;
use serde_json::json;

use crate::{manifest, status};

/// The input is a reference, and after a line's end what a kubelet says of it.
pub fn target(input: &[u8]) {
    let Some(text) = crate::text(input) else { return };
    let (image, words) = text.split_once('\n').unwrap_or((text, ""));
    let object = json!({
        "apiVersion": "phasegate.dev/v1alpha1", "kind": "ApiGateway",
        "metadata": { "name": "shop" }, "spec": { "image": image },
    });
    if manifest::accepted(&object).is_some() {
        assert!(image.len() <= 512 && image.bytes().all(|byte| byte.is_ascii_graphic()), "{image:?} is accepted");
        let repository = image.split('@').next().unwrap().rsplit_once('/').map_or("", |(path, _)| path);
        assert!(!repository.bytes().any(|byte| byte.is_ascii_uppercase()), "{image:?} is accepted");
        only_what_is_below_a_prefix_is_covered(image);
    }
    one_pull_policy_is_the_default(image);
    status::decide_about_a_pod(Trouble::ImagePull { image: image.to_owned(), message: words.to_owned() });
}

/// Whoever narrows images to one place gets them from there.
fn only_what_is_below_a_prefix_is_covered(image: &str) {
    const PREFIX: &str = "ghcr.io/acme";
    let annotations = BTreeMap::from([("phasegate.dev/allowed-image-prefixes".to_owned(), PREFIX.to_owned())]);
    let spec = serde_json::from_value(json!({ "image": image })).unwrap();
    let violations = Violations::of(&spec, "tenants", &Allowance::ANYTHING, &Allowance::of_namespace(&annotations));
    let is_below = image.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']));
    assert!(violations.pods.is_some() || is_below, "{image:?} is not below {PREFIX}");
}

fn one_pull_policy_is_the_default(image: &str) {
    let deployment = |policy: Option<&str>| {
        let mut container = json!({ "name": "gateway", "image": image });
        if let Some(policy) = policy {
            container["imagePullPolicy"] = json!(policy);
        }
        json!({ "kind": "Deployment", "spec": { "template": { "spec": { "containers": [container] } } } })
    };
    let is_default = |policy: &&str| difference(&deployment(None), &deployment(Some(policy))).is_none();
    let defaults = ["Always", "IfNotPresent", "Never"].iter().filter(|policy| is_default(policy)).count();
    assert_eq!(defaults, 1, "{image:?} has one pull policy by default");
}
