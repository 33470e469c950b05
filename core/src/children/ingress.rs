//! Renders the Ingress: one rule for each host of the gateway and of its environments. A gateway without hosts
//! gets none, since a rule without a host matches all traffic.
//!
//! **Architecture invariant:** `render` does not read the stored Ingress. The same gateway and context render
//! the same Ingress.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};

use super::deployment::PORT;
use super::{RenderContext, metadata, stamped};
use crate::api::{ApiGateway, MOST_ENVIRONMENTS};

/// Whether a gateway gets an Ingress.
pub fn wants_ingress(gateway: &ApiGateway, context: &RenderContext) -> bool {
    gateway.spec.exposure().by_ingress() && (gateway.spec.host().is_some() || !context.environment_hosts.is_empty())
}

pub(super) fn render(gateway: &ApiGateway, context: &RenderContext) -> Option<Ingress> {
    if !wants_ingress(gateway, context) {
        return None;
    }
    let hosts: Vec<&String> = gateway.spec.host().into_iter().chain(&context.environment_hosts).collect();
    let mut metadata = metadata(gateway);
    metadata.annotations.get_or_insert_default().extend(context.ingress_annotations.clone());
    Some(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: gateway.spec.ingress_class_name.clone(),
            rules: Some(hosts.iter().map(|host| rule(gateway, host)).collect()),
            tls: gateway.spec.tls.as_ref().map(|tls| {
                let hosts = Some(hosts.into_iter().cloned().collect());
                vec![IngressTLS { hosts, secret_name: Some(tls.secret_name.clone()) }]
            }),
            default_backend: None,
        }),
        status: None,
    })
}

fn rule(gateway: &ApiGateway, host: &str) -> IngressRule {
    let path = HTTPIngressPath {
        path: Some(gateway.spec.path.clone().unwrap_or_else(|| "/".to_owned())),
        path_type: "Prefix".to_owned(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: gateway.name_or_empty().to_owned(),
                port: Some(ServiceBackendPort { name: Some(PORT.to_owned()), number: None }),
            }),
            resource: None,
        },
    };
    IngressRule { host: Some(host.to_owned()), http: Some(HTTPIngressRuleValue { paths: vec![path] }) }
}

/// The found Ingress, reduced to the rules of `hosts`; a rule is taken from `rendered` if it is there. `None`
/// if no rule remains.
pub fn keep_routes(found: &Ingress, rendered: Option<&Ingress>, hosts: &[String]) -> Option<Ingress> {
    let rule_of = |ingress: &Ingress, host: &String| {
        let rules = ingress.spec.as_ref()?.rules.as_ref()?;
        rules.iter().find(|rule| rule.host.as_ref() == Some(host)).cloned()
    };
    let rules: Vec<IngressRule> = hosts
        .iter()
        .filter_map(|host| rule_of(found, host).or_else(|| rendered.and_then(|rendered| rule_of(rendered, host))))
        .collect();
    if rules.is_empty() {
        return None;
    }
    let mut kept = found.clone();
    kept.metadata.resource_version = None;
    kept.metadata.generation = None;
    kept.status = None;
    let spec = kept.spec.get_or_insert_default();
    for tls in spec.tls.iter_mut().flatten() {
        tls.hosts = Some(rules.iter().filter_map(|rule| rule.host.clone()).collect());
    }
    spec.rules = Some(rules);
    Some(if kept.spec == found.spec { kept } else { stamped(kept) })
}

/// The most hosts of an Ingress that the operator writes: the gateway's own and those of its environments.
pub const MOST_HOSTS: usize = 1 + MOST_ENVIRONMENTS;

/// The hosts with a rule in an Ingress.
pub fn routed_hosts(ingress: &Ingress) -> Vec<String> {
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    rules.filter_map(|rule| rule.host.clone()).collect()
}

/// Whether an Ingress has a rule for a host.
pub fn routes(ingress: &Ingress, host: &str) -> bool {
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    rules.into_iter().any(|rule| rule.host.as_deref() == Some(host))
}
