//! Renders the Service: port 80 in front of the pods.
//!
//! **Architecture invariant:** this module does not look at the stored Service: the same gateway renders the
//! same Service.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::deployment::PORT;
use super::{metadata, selected};
use crate::api::ApiGateway;

/// The port of every gateway's Service.
pub(super) const SERVICE_PORT: i32 = 80;

pub(super) fn render(gateway: &ApiGateway) -> Service {
    Service {
        metadata: metadata(gateway),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selected(gateway)),
            ports: Some(vec![ServicePort {
                name: Some(PORT.to_owned()),
                port: SERVICE_PORT,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String(PORT.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
