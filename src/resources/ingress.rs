//! The Ingress: the host's rule. No host, no Ingress: a rule without one catches everybody's traffic.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};

use super::deployment::PORT;
use super::metadata;
use crate::api::ApiGateway;

pub(super) fn render(gateway: &ApiGateway) -> Option<Ingress> {
    let host = gateway.spec.host.clone()?;
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
    Some(Ingress {
        metadata: metadata(gateway),
        spec: Some(IngressSpec {
            ingress_class_name: gateway.spec.ingress_class_name.clone(),
            rules: Some(vec![IngressRule {
                host: Some(host.clone()),
                http: Some(HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            tls: gateway
                .spec
                .tls
                .as_ref()
                .map(|tls| vec![IngressTLS { hosts: Some(vec![host]), secret_name: Some(tls.secret_name.clone()) }]),
            default_backend: None,
        }),
        status: None,
    })
}
