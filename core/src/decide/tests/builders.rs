//! Small pieces from which the tests put situations together. A situation is a fixture and
//! what is different in it: `but(started(), |g| g.spec.suspend = true)`.

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::api::{
    ApiGateway, ApiGatewayStatus, Attempt, DesiredState, Failure, HostClaim, Phase, REGISTRY_FINALIZER,
    RESTART_ANNOTATION, RETRY_ANNOTATION, Reason, StartRetries, State, Transition, UnknownFields,
};
use crate::children::Inheritance;
use crate::decide::allowance::{Allowance, NotAllowed};
use crate::decide::observed::{
    Child, EnvironmentFacts, HostVerdict, MissingDependency, Moment, Observed, PodEvent, PodTrouble, Pods, Presence,
    ProbeResult, Refusal, RegistryFacts, Rollout, Settings, Target, Tried, Trouble, Unanswered, UnexplainedWait,
};
use crate::decide::{Plan, conditions, decide, requests};

pub const HOST: &str = "shop.example.com";

/// Two different limits, so that a mix-up shows.
pub static SETTINGS: Settings = Settings {
    start_deadline: Duration::from_secs(300),
    stop_partial_starts: false,
    cleanup_stuck_after: Duration::from_secs(600),
    allowance: Allowance::ANYTHING,
    default_parent_refs: Vec::new(),
    ingress_annotations: BTreeMap::new(),
    inheritance: Inheritance { labels: Vec::new(), annotations: Vec::new() },
    registry_deletion_timeout: Duration::from_secs(900),
};

/// The same thing, with one difference. Another spec of a gateway is another generation, as the API server has it.
pub fn but<T: Clone + 'static>(thing: T, edit: impl FnOnce(&mut T)) -> T {
    let mut edited = thing.clone();
    edit(&mut edited);
    if let (Some(before), Some(after)) =
        ((&thing as &dyn Any).downcast_ref::<ApiGateway>(), (&mut edited as &mut dyn Any).downcast_mut::<ApiGateway>())
        && before.spec != after.spec
    {
        after.metadata.generation = before.metadata.generation.map(|generation| generation + 1);
    }
    edited
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many seconds after the tests' epoch, at which attempt 1 begins.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + second).unwrap()
}

/// So many seconds after the attempt and the phase began.
pub fn after(seconds: u64) -> Moment {
    Moment {
        now: at(i64::try_from(seconds).unwrap()),
        attempt: secs(seconds),
        held: Duration::ZERO,
        phase: secs(seconds),
        failure: Duration::ZERO,
        deletion: Duration::ZERO,
        unrecorded: Duration::ZERO,
    }
}

/// So many seconds after the timeout.
pub fn after_failure(seconds: u64) -> Moment {
    Moment { failure: secs(seconds), ..after(400 + seconds) }
}

// Gateways.

/// A gateway that the operator has never seen.
pub fn fresh() -> ApiGateway {
    let spec = serde_json::from_value(json!({ "image": "ghcr.io/acme/gateway:1", "host": HOST })).unwrap();
    let mut gateway = ApiGateway::new("shop", spec);
    gateway.metadata.namespace = Some("tenants".to_owned());
    gateway.metadata.uid = Some("uid-of-shop".to_owned());
    gateway.metadata.generation = Some(1);
    gateway
}

/// A gateway in a phase that it reached a moment ago, with everything asked so far taken up.
pub fn recorded(phase: Phase, state: State) -> ApiGateway {
    let gateway = but(fresh(), |g| {
        g.status = Some(ApiGatewayStatus {
            phase: Some(phase.clone()),
            state: Some(state),
            observed_generation: Some(1),
            attempt: Some(attempt(1)),
            transitions: 1,
            hosts: vec![HostClaim { host: HOST.to_owned(), since: MicroTime(at(0)) }],
            history: vec![Transition {
                at: MicroTime(at(0)),
                from: None,
                to: phase,
                state,
                reason: Reason::StartRequested,
                message: "so far".to_owned(),
                seconds: 0,
                others: UnknownFields::new(),
            }],
            ..ApiGatewayStatus::default()
        });
    });
    taken_up(gateway)
}

pub fn attempt(number: i64) -> Attempt {
    Attempt {
        number,
        started_at: MicroTime(at(0)),
        held_seconds: 0,
        held_since: None,
        retries_left: None,
        others: UnknownFields::new(),
    }
}

/// The same gateway, where everything that it asks now was taken up before.
pub fn taken_up(gateway: ApiGateway) -> ApiGateway {
    but(gateway, |g| {
        let tokens = requests::tokens(g);
        status(g).handled = Some(tokens);
    })
}

pub fn status(gateway: &mut ApiGateway) -> &mut ApiGatewayStatus {
    gateway.status.get_or_insert_default()
}

pub fn created() -> ApiGateway {
    but(recorded(Phase::Created, State::Running), |g| {
        status(g).attempt = None;
        status(g).hosts.clear();
    })
}

pub fn starting() -> ApiGateway {
    recorded(Phase::Starting, State::Running)
}

/// Its second attempt is its first restart.
pub fn restarting() -> ApiGateway {
    but(recorded(Phase::Starting, State::Restarting), |g| {
        status(g).attempt = Some(attempt(2));
        status(g).restarts = 1;
    })
}

pub fn started() -> ApiGateway {
    recorded(Phase::Started, State::Running)
}

fn failed(gateway: ApiGateway) -> ApiGateway {
    but(gateway, |g| {
        status(g).last_failure = Some(Failure {
            reason: Reason::ImagePullFailed,
            message: "pod shop-1: image \"ghcr.io/acme/gateway:1\" cannot be pulled: denied".to_owned(),
            hint: "Check spec.image.".to_owned(),
            at: MicroTime(at(400)),
            attempt: 1,
            others: UnknownFields::new(),
        });
    })
}

pub fn timed_out() -> ApiGateway {
    failed(recorded(Phase::Started, State::Stopped))
}

pub fn stopping_after_timeout() -> ApiGateway {
    failed(recorded(Phase::Stopping, State::Stopped))
}

pub fn stopped_after_timeout() -> ApiGateway {
    failed(recorded(Phase::Stopped, State::Stopped))
}

/// The user asked for it, and still does.
pub fn stopping_as_asked() -> ApiGateway {
    taken_up(but(recorded(Phase::Stopping, State::Stopped), asks_stopped))
}

pub fn stopped_as_asked() -> ApiGateway {
    taken_up(but(recorded(Phase::Stopped, State::Stopped), asks_stopped))
}

pub fn of_a_later_version() -> ApiGateway {
    recorded(Phase::Unknown("Hibernating".to_owned()), State::Running)
}

/// A gateway that somebody deleted, and that waits for its record to be forgotten.
pub fn deleting() -> ApiGateway {
    but(but(recorded(Phase::Deleting, State::Stopped), deletes), is_kept)
}

/// Every place of the state machine, and one that is not of it.
pub fn in_every_phase() -> Vec<(&'static str, ApiGateway)> {
    vec![
        ("none", fresh()),
        ("Created", created()),
        ("Starting", starting()),
        ("Starting, state Restarting", restarting()),
        ("Started", started()),
        ("Started, state Stopped", timed_out()),
        ("Stopping after a timeout", stopping_after_timeout()),
        ("Stopping as asked", stopping_as_asked()),
        ("Stopped after a timeout", stopped_after_timeout()),
        ("Stopped as asked", stopped_as_asked()),
        ("Deleting", recorded(Phase::Deleting, State::Stopped)),
        ("of a later version", of_a_later_version()),
    ]
}

// What the user does to them.

pub fn asks_running(gateway: &mut ApiGateway) {
    gateway.spec.state = DesiredState::Running;
}

pub fn asks_stopped(gateway: &mut ApiGateway) {
    gateway.spec.state = DesiredState::Stopped;
}

pub fn asks_restarting(gateway: &mut ApiGateway) {
    gateway.spec.state = DesiredState::Restarting;
}

pub fn suspends(gateway: &mut ApiGateway) {
    gateway.spec.suspend = true;
}

pub fn resumes(gateway: &mut ApiGateway) {
    gateway.spec.suspend = false;
}

pub fn deletes(gateway: &mut ApiGateway) {
    gateway.metadata.deletion_timestamp = Some(Time(at(0)));
}

pub fn is_kept(gateway: &mut ApiGateway) {
    gateway.metadata.finalizers.get_or_insert_default().push(REGISTRY_FINALIZER.to_owned());
}

pub fn changes_the_image(gateway: &mut ApiGateway) {
    gateway.spec.image = "ghcr.io/acme/gateway:2".to_owned();
}

pub fn asks_for_a_retry(gateway: &mut ApiGateway) {
    annotate(gateway, RETRY_ANNOTATION, "2025-06-15T15:06:40Z");
}

pub fn asks_for_a_restart(gateway: &mut ApiGateway) {
    annotate(gateway, RESTART_ANNOTATION, "2025-06-15T15:06:40Z");
}

pub fn annotate(gateway: &mut ApiGateway, key: &str, value: &str) {
    gateway.metadata.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}

pub fn drops_the_host(gateway: &mut ApiGateway) {
    gateway.spec.host = None;
}

/// The same gateway, with so many of the operator's own retries left, all of this taken up.
pub fn with_retries(gateway: ApiGateway, left: i32, backoff: Option<Duration>) -> ApiGateway {
    taken_up(but(gateway, |g| {
        g.spec.start_retries = Some(StartRetries { limit: 3, backoff: backoff.map(Into::into) });
        status(g).attempt = Some(Attempt { retries_left: Some(left), ..attempt(1) });
    }))
}

/// The same gateway, with a hash of its spec that an older operator wrote.
pub fn hashed_by_an_older_version(gateway: ApiGateway) -> ApiGateway {
    but(gateway, |g| status(g).handled.as_mut().unwrap().spec_hash = "v0:0123456789abcdef".to_owned())
}

// Worlds.

/// Nothing is there, and the steps of the attempt were tried.
pub fn nothing() -> Observed {
    Observed { ingress: Presence::Missing, tried: Tried::Late, ..Observed::nothing() }
}

/// Everything is as desired, and no pod is ready yet.
pub fn coming_up() -> Observed {
    Observed {
        deployment: Presence::Equal,
        service: Presence::Equal,
        ingress: Presence::Equal,
        rollout: Rollout { desired: 1, replicas: 1, ..Rollout::default() },
        pods: Pods { total: 1, ..Pods::default() },
        ..nothing()
    }
}

/// Everything is as desired and ready.
pub fn serving() -> Observed {
    Observed {
        rollout: Rollout { complete: true, desired: 1, replicas: 1, ready: 1, available: 1, ..Rollout::default() },
        ..coming_up()
    }
}

/// The old pods serve while a change is rolled out.
pub fn rolling_out() -> Observed {
    Observed {
        rollout: Rollout { complete: false, desired: 1, replicas: 2, ready: 1, available: 1, ..Rollout::default() },
        pods: Pods { total: 2, ..Pods::default() },
        ..coming_up()
    }
}

/// The same world as a process sees it that has not tried the steps of this attempt.
pub fn untried(observed: Observed) -> Observed {
    but(observed, |o| o.tried = Tried::Never)
}

pub fn host_taken(observed: Observed) -> Observed {
    but(observed, |o| o.host = HostVerdict::Taken { host: HOST.to_owned(), by: "tenants/other".to_owned() })
}

pub fn child(observed: Observed, child: Child, presence: Presence) -> Observed {
    but(observed, |o| *o.child_mut(child) = presence)
}

pub fn name_taken(observed: Observed) -> Observed {
    child(observed, Child::Service, Presence::Foreign("Helm release \"shop\"".to_owned()))
}

pub fn predecessor_goes(observed: Observed) -> Observed {
    child(observed, Child::Deployment, Presence::Predecessor)
}

pub fn host_not_allowed(observed: Observed) -> Observed {
    but(observed, |o| {
        o.host =
            HostVerdict::NotAllowed { host: HOST.to_owned(), allowed: "tenants.example.net".to_owned(), no_name: None };
    })
}

/// Its pods ask for what they may not have.
pub fn not_allowed(observed: Observed) -> Observed {
    but(observed, |o| o.violations.pods = Some(violation("spec.image")))
}

pub fn class_not_allowed(observed: Observed) -> Observed {
    but(observed, |o| o.violations.ingress_class = Some(violation("spec.ingressClassName")))
}

pub fn violation(field: &str) -> NotAllowed {
    NotAllowed {
        field: field.to_owned(),
        asked: "\"theirs\"".to_owned(),
        by: "the operator flag --so".to_owned(),
        instead: "allows only ours".to_owned(),
    }
}

pub fn registry_away(observed: Observed) -> Observed {
    but(observed, |o| o.registry.unavailable = Some("connection refused".to_owned()))
}

/// The last write of a child was neither carried out nor refused.
pub fn unanswered(observed: Observed, child: Child, by: MissingDependency) -> Observed {
    not_answered(observed, Target::Child(child), by)
}

/// The last write of something was neither carried out nor refused.
pub fn not_answered(observed: Observed, what: Target, by: MissingDependency) -> Observed {
    let lasted = Duration::ZERO;
    let unanswered = Unanswered { what, by, words: "connection refused".to_owned(), lasted };
    but(observed, |o| o.unanswered = Some(unanswered))
}

/// An admission webhook.
pub fn webhook() -> MissingDependency {
    MissingDependency::Webhook("no.example.com".to_owned())
}

/// The API server refused the last write of a child.
pub fn refused(observed: Observed, child: Child) -> Observed {
    denied(observed, Target::Child(child))
}

/// The API server refused the last write of something.
pub fn denied(observed: Observed, what: Target) -> Observed {
    let message = "denied by policy".to_owned();
    but(observed, |o| o.refusal = Some(Refusal { what, message, quota: false }))
}

/// The same world, with a registry outside Kubernetes that has everything.
pub fn external(observed: Observed) -> Observed {
    but(observed, |o| o.registry.external = true)
}

/// The same world, where that registry is as it is said.
pub fn registry(observed: Observed, edit: impl FnOnce(&mut RegistryFacts)) -> Observed {
    but(external(observed), |o| edit(&mut o.registry))
}

pub fn unrecorded(observed: Observed) -> Observed {
    registry(observed, |r| r.recorded = false)
}

pub fn untold(observed: Observed) -> Observed {
    registry(observed, |r| r.reported = false)
}

pub fn remembered(observed: Observed) -> Observed {
    registry(observed, |r| r.forgotten = false)
}

pub fn different() -> Presence {
    Presence::Different("/spec/template".to_owned())
}

pub fn pods(observed: Observed, total: usize, terminating: usize) -> Observed {
    but(observed, |o| {
        o.pods.total = total;
        o.pods.terminating = terminating;
    })
}

/// The same world, with environments that are active or not.
pub fn environments(observed: Observed, active: &[bool]) -> Observed {
    but(observed, |o| {
        o.environments = active
            .iter()
            .enumerate()
            .map(|(index, active)| EnvironmentFacts {
                name: format!("env-{index}"),
                active: *active,
                refused: false,
                claimed: true,
            })
            .collect();
    })
}

pub fn refused_environment() -> EnvironmentFacts {
    EnvironmentFacts { name: "prod".to_owned(), active: false, refused: true, claimed: false }
}

/// The same world, where a pod is in trouble.
pub fn in_trouble(observed: Observed, pod: &str, trouble: Trouble) -> Observed {
    but(observed, |o| {
        let pod = pod.to_owned();
        o.pods.troubles.push(PodTrouble { pod, template: None, container: None, node: None, trouble });
    })
}

/// The same world, where a pod cannot pull its image.
pub fn image_not_pullable(observed: Observed, pod: &str) -> Observed {
    let image = "ghcr.io/acme/gateway:1".to_owned();
    in_trouble(observed, pod, Trouble::ImagePull { image, message: "Back-off pulling image: denied".to_owned() })
}

pub fn unschedulable(observed: Observed, pod: &str) -> Observed {
    in_trouble(observed, pod, Trouble::Unschedulable("0/3 nodes are available: 3 Insufficient cpu.".to_owned()))
}

/// Its container ended, too soon for a probe to have ended it.
pub fn ended(code: i32, message: &str) -> Trouble {
    Trouble::Ended { code, out_of_memory: false, message: message.to_owned(), brief: true }
}

/// The same world, where a pod has been silent for so many seconds, and its Events were read just now if they said
/// something.
pub fn silent(observed: Observed, seconds: u64, pod_event: Option<PodEvent>) -> Observed {
    followed(observed, Trouble::Unready { was_ready: false }, seconds, pod_event)
}

/// The same, of a pod whose trouble is this one.
pub fn followed(observed: Observed, trouble: Trouble, seconds: u64, pod_event: Option<PodEvent>) -> Observed {
    but(in_trouble(observed, "shop-1", trouble), |o| {
        let about = o.pods.troubles.last().unwrap().clone();
        let read_at = pod_event.is_some().then(|| secs(seconds));
        o.pods.unexplained = Some(UnexplainedWait { about, lasted: secs(seconds), read_at, pod_event });
    })
}

/// A probe's answer.
pub fn probe(words: &str) -> PodEvent {
    PodEvent::Probe(ProbeResult { container: None, words: words.to_owned() })
}

// Deciding.

/// One pass: the decision, with its status recorded.
pub fn pass(gateway: &mut ApiGateway, observed: &Observed, moment: &Moment) -> Plan {
    let plan = decide(gateway, observed, moment, &SETTINGS);
    if let Some(status) = &plan.status {
        gateway.status = Some(status.clone());
    }
    plan
}

/// The status after one pass.
pub fn status_after(gateway: &ApiGateway, observed: &Observed, moment: &Moment) -> ApiGatewayStatus {
    let mut gateway = gateway.clone();
    pass(&mut gateway, observed, moment);
    gateway.status_or_default()
}

/// A condition as `True Reason` or `False Reason`; empty where there is none.
pub fn said(status: &ApiGatewayStatus, type_: &str) -> String {
    conditions::find(&status.conditions, type_)
        .map_or_else(String::new, |found| format!("{} {}", found.status, found.reason))
}

pub fn message(status: &ApiGatewayStatus, type_: &str) -> String {
    conditions::find(&status.conditions, type_).map_or_else(String::new, |found| found.message.clone())
}
