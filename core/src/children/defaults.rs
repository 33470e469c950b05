//! Defaults that the API server fills in. A value of this table is no drift; any other undesired value is.
//!
//! Admission may fill in more. The operator learns that from the answer to a write.

use serde_json::{Value, json};

/// A default, or several of which the API server picks one.
enum Default {
    /// Exactly this text.
    Is(&'static str),
    /// Exactly this number.
    Number(i64),
    /// Any value: the cluster chooses an address, a class, a count.
    Any,
    /// The pull policy that follows from the image's tag.
    PullPolicy,
}

/// By kind and path; `*` matches any index or name.
const DEFAULTS: &[(&str, &str, Default)] = {
    use Default::{Any, Is, Number, PullPolicy};
    &[
        // An autoscaler owns what the spec omits.
        ("Deployment", "/spec/replicas", Any),
        ("Deployment", "/spec/template/spec/dnsPolicy", Is("ClusterFirst")),
        ("Deployment", "/spec/template/spec/restartPolicy", Is("Always")),
        ("Deployment", "/spec/template/spec/schedulerName", Is("default-scheduler")),
        ("Deployment", "/spec/template/spec/containers/*/imagePullPolicy", PullPolicy),
        ("Deployment", "/spec/template/spec/containers/*/terminationMessagePath", Is("/dev/termination-log")),
        ("Deployment", "/spec/template/spec/containers/*/terminationMessagePolicy", Is("File")),
        ("Deployment", "/spec/template/spec/containers/*/ports/*/protocol", Is("TCP")),
        ("Deployment", "/spec/template/spec/containers/*/env/*/valueFrom/fieldRef/apiVersion", Is("v1")),
        ("Deployment", "/spec/template/spec/containers/*/env/*/valueFrom/resourceFieldRef/divisor", Is("0")),
        ("Deployment", "/spec/template/spec/containers/*/*/timeoutSeconds", Number(1)),
        ("Deployment", "/spec/template/spec/containers/*/*/periodSeconds", Number(10)),
        ("Deployment", "/spec/template/spec/containers/*/*/successThreshold", Number(1)),
        ("Deployment", "/spec/template/spec/containers/*/*/failureThreshold", Number(3)),
        ("Deployment", "/spec/template/spec/containers/*/*/httpGet/scheme", Is("HTTP")),
        ("Deployment", "/spec/template/spec/volumes/*/*/defaultMode", Number(420)),
        ("Service", "/spec/clusterIP", Any),
        ("Service", "/spec/clusterIPs", Any),
        ("Service", "/spec/ipFamilies", Any),
        ("Service", "/spec/ipFamilyPolicy", Is("SingleStack")),
        ("Service", "/spec/internalTrafficPolicy", Is("Cluster")),
        ("Service", "/spec/sessionAffinity", Is("None")),
        // A cluster may have a default class.
        ("Ingress", "/spec/ingressClassName", Any),
    ]
};

/// Whether `value` is what the API server fills in at a path with no desired value.
pub(super) fn is_default(desired: &Value, path: &str, value: &Value) -> bool {
    let kind = desired.get("kind").and_then(Value::as_str).unwrap_or_default();
    let mut defaults = DEFAULTS.iter().filter(|(of, pattern, _)| *of == kind && matches(pattern, path));
    defaults.any(|(_, _, default)| match default {
        Default::Is(text) => value.as_str() == Some(text),
        Default::Number(number) => *value == json!(number),
        Default::Any => true,
        Default::PullPolicy => {
            let image = path.strip_suffix("imagePullPolicy").and_then(|of| desired.pointer(&format!("{of}image")));
            image.and_then(Value::as_str).is_some_and(|image| value.as_str() == Some(pull_policy(image)))
        }
    })
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(part), Some(key)) if part == "*" || part == key => {}
            _ => return false,
        }
    }
}

/// The pull policy of a container that names none.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    let tag = name.split_once(':').map(|(_, tag)| tag);
    match tag {
        _ if name.contains('@') => "IfNotPresent",
        None | Some("latest") => "Always",
        Some(_) => "IfNotPresent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_policy_follows_from_the_tag() {
        for (image, policy) in [
            ("acme/gateway", "Always"),
            ("acme/gateway:latest", "Always"),
            ("registry:5000/acme/gateway", "Always"),
            ("acme/gateway:1", "IfNotPresent"),
            ("registry:5000/acme/gateway:1", "IfNotPresent"),
            ("acme/gateway@sha256:0123", "IfNotPresent"),
            ("acme/gateway:latest@sha256:0123", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
