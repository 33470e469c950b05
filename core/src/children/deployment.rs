//! Renders the Deployment. Its pods satisfy the `restricted` Pod Security standard.
//!
//! **Architecture invariant:** the same gateway and context render the same Deployment. The stored one decides
//! only whether its startup probe's threshold is kept.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, HTTPGetAction, Lifecycle,
    LifecycleHandler, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
    SecretVolumeSource, SecurityContext, SleepAction, TCPSocketAction, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    COUNT_ANNOTATION, INPUTS_ANNOTATION, STARTUP_ANNOTATION, hash, label_selector, metadata, pod_labels, spec_hash,
};
use crate::api::ApiGateway;

/// The name of the gateway's container, the only one that is rendered.
pub const CONTAINER: &str = "gateway";
/// The name of the container's port.
pub(super) const PORT: &str = "http";
/// How long a pod serves after it was told to stop, so that its endpoint is removed first.
const PRE_STOP_SECONDS: i64 = 5;
const DEFAULT_GRACE_SECONDS: i64 = 30;
/// Annotation of the pod template. A new value restarts the pods.
const RESTART_ANNOTATION: &str = "phasegate.dev/restart";

pub(super) fn render(gateway: &ApiGateway, start_deadline: Duration) -> Deployment {
    let restarts = gateway.status.as_ref().map_or(0, |status| status.restarts);
    let mut metadata = metadata(gateway);
    let inputs = format!("{}-{restarts}", spec_hash(&gateway.spec));
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(INPUTS_ANNOTATION.to_owned(), inputs);
    if gateway.spec.replicas.is_some() {
        annotations.insert(COUNT_ANNOTATION.to_owned(), "spec".to_owned());
    }
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: gateway.spec.replicas,
            selector: label_selector(gateway),
            template: template(gateway, restarts, start_deadline),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                }),
            }),
            progress_deadline_seconds: Some(progress_deadline(start_deadline)),
            revision_history_limit: Some(3),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// Kubernetes requires more than `minReadySeconds`, which is 0 here.
fn progress_deadline(start_deadline: Duration) -> i32 {
    i32::try_from(start_deadline.as_secs().max(1)).unwrap_or(i32::MAX)
}

fn template(gateway: &ApiGateway, restarts: i64, start_deadline: Duration) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels(gateway)),
            annotations: (restarts > 0)
                .then(|| [(RESTART_ANNOTATION.to_owned(), restarts.to_string())].into_iter().collect()),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(gateway, start_deadline)),
    }
}

fn pod(gateway: &ApiGateway, start_deadline: Duration) -> PodSpec {
    let spec = &gateway.spec;
    PodSpec {
        containers: vec![container(gateway, start_deadline)],
        volumes: Some(volumes(gateway)),
        image_pull_secrets: non_empty(spec.image_pull_secrets.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(grace(gateway)),
        node_selector: (!spec.node_selector.is_empty()).then(|| spec.node_selector.clone()),
        tolerations: non_empty(spec.tolerations.clone()),
        topology_spread_constraints: non_empty(
            spec.topology_spread
                .iter()
                .map(|spread| TopologySpreadConstraint {
                    label_selector: Some(label_selector(gateway)),
                    max_skew: spread.max_skew,
                    topology_key: spread.topology_key.clone(),
                    when_unsatisfiable: spread.when_unsatisfiable.to_string(),
                    ..TopologySpreadConstraint::default()
                })
                .collect(),
        ),
        ..PodSpec::default()
    }
}

fn grace(gateway: &ApiGateway) -> i64 {
    gateway.spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS)
}

fn container(gateway: &ApiGateway, start_deadline: Duration) -> Container {
    let spec = &gateway.spec;
    Container {
        name: CONTAINER.to_owned(),
        image: Some(spec.image.clone()),
        command: non_empty(spec.command.clone()),
        args: non_empty(spec.args.clone()),
        env: non_empty(spec.env.clone()),
        env_from: non_empty(spec.env_from.clone()),
        ports: Some(vec![ContainerPort {
            name: Some(PORT.to_owned()),
            container_port: spec.port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: spec.resources.as_ref().map(|resources| ResourceRequirements {
            limits: (!resources.limits.is_empty()).then(|| resources.limits.clone()),
            requests: (!resources.requests.is_empty()).then(|| resources.requests.clone()),
            claims: None,
        }),
        readiness_probe: Some(Probe { period_seconds: Some(2), failure_threshold: Some(3), ..probe(gateway) }),
        // The other probes begin once the container accepts connections. A restarted container gets the same
        // time, since it is the same program.
        startup_probe: Some(Probe {
            period_seconds: Some(STARTUP_PERIOD_SECONDS),
            failure_threshold: Some(startup_failures(start_deadline)),
            tcp_socket: Some(port_is_open()),
            ..Probe::default()
        }),
        // Replaces a started pod that accepts no connections for half a minute. A failing path alone only
        // removes the pod from the Service.
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            failure_threshold: Some(3),
            tcp_socket: Some(port_is_open()),
            ..Probe::default()
        }),
        // Without a termination message, the end of the container's log explains why it ended.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: PRE_STOP_SECONDS.min(grace(gateway)) }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts(gateway)),
        ..Container::default()
    }
}

/// The period of the readiness probe, so that the startup probe does not delay readiness.
const STARTUP_PERIOD_SECONDS: i32 = 2;

/// The least time for a container to accept connections. A shorter deadline ends the attempt, but a container
/// that restarts on a busy node may need longer and must not be killed.
const SHORTEST_STARTUP: Duration = Duration::from_secs(40);

/// Annotates the Deployment with what its pods were rendered from. Called last, once the template is complete.
pub(super) fn note_startup(deployment: &mut Deployment, start_deadline: Duration) {
    let Some(spec) = &deployment.spec else { return };
    let startup = startup(startup_failures(start_deadline), &spec.template);
    deployment.metadata.annotations.get_or_insert_default().insert(STARTUP_ANNOTATION.to_owned(), startup);
}

/// A margin after the deadline: the operator judges the attempt, whose clock began before the container did.
const JUDGED: Duration = Duration::from_secs(10);

/// The failure threshold of the startup probe: slightly longer than a start may take.
fn startup_failures(start_deadline: Duration) -> i32 {
    let seconds = start_deadline.max(SHORTEST_STARTUP).saturating_add(JUDGED).as_secs();
    i32::try_from(seconds.div_ceil(STARTUP_PERIOD_SECONDS.unsigned_abs().into())).unwrap_or(i32::MAX)
}

/// The threshold of the startup probe, and the hash of everything else that pods are rendered from.
fn startup(failures: i32, template: &PodTemplateSpec) -> String {
    let mut rest = template.clone();
    startup_probes(&mut rest).for_each(|probe| probe.failure_threshold = None);
    format!("{failures}-{}", hash(&rest))
}

fn startup_probes(template: &mut PodTemplateSpec) -> impl Iterator<Item = &mut Probe> {
    let containers = template.spec.as_mut().into_iter().flat_map(|pods| &mut pods.containers);
    containers.filter_map(|container| container.startup_probe.as_mut())
}

/// Keeps the startup probe's current threshold if everything else in the template is the same, so that a new
/// deadline alone rolls no pods. Edits of the template are not kept.
pub(super) fn keep_startup(desired: &mut Deployment, found: &Deployment) {
    let written = found.metadata.annotations.as_ref().and_then(|annotations| annotations.get(STARTUP_ANNOTATION));
    let (Some(written), Some(spec)) = (written, desired.spec.as_mut()) else { return };
    let failures = written.split_once('-').and_then(|(failures, _)| failures.parse().ok());
    let Some(failures) = failures.filter(|failures| startup(*failures, &spec.template) == *written) else { return };
    startup_probes(&mut spec.template).for_each(|probe| probe.failure_threshold = Some(failures));
    desired.metadata.annotations.get_or_insert_default().insert(STARTUP_ANNOTATION.to_owned(), written.clone());
}

fn probe(gateway: &ApiGateway) -> Probe {
    match &gateway.spec.readiness_path {
        Some(path) => Probe {
            http_get: Some(HTTPGetAction {
                path: Some(path.clone()),
                port: IntOrString::String(PORT.to_owned()),
                ..HTTPGetAction::default()
            }),
            ..Probe::default()
        },
        None => Probe { tcp_socket: Some(port_is_open()), ..Probe::default() },
    }
}

fn port_is_open() -> TCPSocketAction {
    TCPSocketAction { port: IntOrString::String(PORT.to_owned()), host: None }
}

fn volumes(gateway: &ApiGateway) -> Vec<Volume> {
    let tmp = Volume { name: "tmp".to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() };
    let asked = gateway.spec.volumes.iter().map(|volume| Volume {
        name: volume.name.clone(),
        config_map: volume.config_map.as_ref().map(|from| ConfigMapVolumeSource {
            name: from.name.clone(),
            optional: from.optional.then_some(true),
            ..ConfigMapVolumeSource::default()
        }),
        secret: volume.secret.as_ref().map(|from| SecretVolumeSource {
            secret_name: Some(from.name.clone()),
            optional: from.optional.then_some(true),
            ..SecretVolumeSource::default()
        }),
        empty_dir: volume
            .empty_dir
            .as_ref()
            .map(|empty| EmptyDirVolumeSource { size_limit: empty.size_limit.clone(), medium: None }),
        ..Volume::default()
    });
    std::iter::once(tmp).chain(asked).collect()
}

fn mounts(gateway: &ApiGateway) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    std::iter::once(mount("tmp", "/tmp", false))
        .chain(gateway.spec.volumes.iter().map(|volume| mount(&volume.name, &volume.mount_path, volume.read_only)))
        .collect()
}

fn non_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
