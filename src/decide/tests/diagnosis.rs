//! Why a gateway did not start: the deepest cause, in words that name the object.

use super::builders::*;
use crate::api::{ApiGateway, Reason};
use crate::decide::diagnosis::{Cause, cause_of_failure, how_to_retry, is_quota, obstacle_cause, visible_cause};
use crate::decide::observed::{Child, Moment, Observed, Presence, Refusal};
use crate::decide::phase::{Obstacle, Situation};
use crate::decide::requests::Requests;
use crate::decide::say;

fn pods_refused(observed: Observed, words: &str) -> Observed {
    but(observed, |o| o.rollout.replica_failure = Some(words.to_owned()))
}

fn child_refused(observed: Observed, words: &str, quota: bool) -> Observed {
    but(observed, |o| {
        o.refusal = Some(Refusal { child: Child::Service, message: words.to_owned(), quota, immutable: false })
    })
}

const QUOTA: &str =
    "pods \"shop-1\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3";
const POLICY: &str = "pods \"shop-1\" is forbidden: violates PodSecurity \"restricted:latest\"";

fn situation<'a>(gateway: &'a ApiGateway, observed: &'a Observed, moment: &'a Moment) -> Situation<'a> {
    Situation { gateway, observed, moment, settings: &SETTINGS, requests: Requests::default() }
}

fn failure(observed: &Observed) -> Cause {
    cause_of_failure(&situation(&starting(), observed, &after(300)))
}

/// The cause has this reason, its message names these, and it says what to do.
#[track_caller]
fn assert_cause(cause: &Cause, reason: Reason, parts: &[&str]) {
    assert_eq!(cause.reason, reason, "{cause:?}");
    assert!(parts.iter().all(|part| cause.message.contains(part)), "{parts:?} in {:?}", cause.message);
    assert!(!cause.hint.is_empty());
}

#[test]
fn nothing_is_wrong_with_a_gateway_that_is_on_its_way() {
    for observed in [nothing(), coming_up(), rolling_out(), serving()] {
        assert_eq!(visible_cause(&observed), None);
    }
}

#[test]
fn an_image_that_cannot_be_pulled_names_the_pod_the_image_and_the_kubelets_words() {
    let cause = visible_cause(&image_not_pullable(coming_up(), "shop-1")).unwrap();
    assert_cause(&cause, Reason::ImagePullFailed, &["shop-1", "ghcr.io/acme/gateway:1", "denied"]);
    assert!(cause.hint.contains("spec.image") && cause.hint.contains("imagePullSecrets"));
}

#[test]
fn a_pod_without_a_node_names_the_pod_and_the_schedulers_words() {
    let cause = visible_cause(&unschedulable(coming_up(), "shop-1")).unwrap();
    assert_cause(&cause, Reason::Unschedulable, &["shop-1", "3 Insufficient cpu"]);
    assert!(cause.hint.contains("spec.resources"));
}

#[test]
fn pods_that_cannot_be_created_name_the_rule() {
    let quota = visible_cause(&pods_refused(coming_up(), QUOTA)).unwrap();
    assert_cause(&quota, Reason::QuotaExceeded, &["pods of the Deployment", "exceeded quota: small"]);
    assert!(quota.hint.contains("ResourceQuota"));
    let policy = visible_cause(&pods_refused(coming_up(), POLICY)).unwrap();
    assert_cause(&policy, Reason::AdmissionRefused, &["pods of the Deployment", "restricted:latest"]);
}

#[test]
fn a_child_that_the_api_server_refused_is_named() {
    let policy = visible_cause(&child_refused(nothing(), "denied by policy", false)).unwrap();
    assert_cause(&policy, Reason::AdmissionRefused, &["Service", "denied by policy"]);
    let quota = visible_cause(&child_refused(nothing(), "no more services", true)).unwrap();
    assert_cause(&quota, Reason::QuotaExceeded, &["Service", "no more services"]);
}

#[test]
fn a_quota_is_told_from_an_admission_rule_by_its_words() {
    assert!(is_quota(QUOTA));
    assert!(is_quota("is forbidden: failed quota: small: must specify limits.cpu"));
    assert!(!is_quota(POLICY));
    assert!(!is_quota("quota.example.com denied the request"));
}

#[test]
fn the_deepest_cause_is_told_first() {
    let refused = child_refused(nothing(), "denied by policy", false);
    assert_eq!(visible_cause(&refused).unwrap().reason, Reason::AdmissionRefused);
    let no_pods = pods_refused(refused, QUOTA);
    assert_eq!(visible_cause(&no_pods).unwrap().reason, Reason::QuotaExceeded, "the Deployment before the operator");
    let no_node = unschedulable(no_pods, "shop-1");
    assert_eq!(visible_cause(&no_node).unwrap().reason, Reason::Unschedulable, "a pod before the Deployment");
    let no_image = image_not_pullable(no_node, "shop-2");
    assert_eq!(visible_cause(&no_image).unwrap().reason, Reason::ImagePullFailed, "the pull before the scheduler");
    assert_eq!(
        failure(&name_taken(no_image)).reason,
        Reason::ImagePullFailed,
        "what is visible before what is in the way"
    );
}

#[test]
fn of_several_pods_the_first_is_named() {
    let both = image_not_pullable(image_not_pullable(coming_up(), "shop-1"), "shop-2");
    assert!(visible_cause(&both).unwrap().message.contains("shop-1"));
}

#[test]
fn what_is_in_the_way_is_named() {
    let gateway = starting();
    let (observed, moment) = (nothing(), after(60));
    let s = situation(&gateway, &observed, &moment);
    let host = Obstacle::HostTaken { host: HOST.to_owned(), by: "tenants/other".to_owned() };
    assert_cause(&obstacle_cause(&s, &host), Reason::HostTaken, &[HOST, "tenants/other"]);
    let name = Obstacle::NameTaken { child: Child::Ingress, by: "Helm release".to_owned() };
    assert_cause(&obstacle_cause(&s, &name), Reason::NameTaken, &["Ingress", "shop", "Helm release"]);
    assert!(obstacle_cause(&s, &name).hint.contains("Ingress"));
    let old = Obstacle::WaitingForDeletion { child: Child::Deployment };
    assert_cause(&obstacle_cause(&s, &old), Reason::WaitingForDeletion, &["Deployment", "shop", "earlier gateway"]);
    let forbidden = Obstacle::HostNotAllowed { host: HOST.to_owned(), allowed: "tenants.example.net".to_owned() };
    assert_cause(&obstacle_cause(&s, &forbidden), Reason::HostNotAllowed, &[HOST, "tenants.example.net"]);
    let class = Obstacle::IngressClassNotAllowed { class: "internal".to_owned(), allowed: "public".to_owned() };
    assert_cause(&obstacle_cause(&s, &class), Reason::IngressClassNotAllowed, &["internal", "public"]);
    assert_cause(&failure(&host_taken(nothing())), Reason::HostTaken, &[HOST]);
}

#[test]
fn a_slow_start_names_the_step_and_the_seconds() {
    let rows: Vec<(Observed, &str)> = vec![
        (nothing(), "step 2 of 5: the Deployment was not created"),
        (
            child(serving(), Child::Deployment, Presence::Terminating),
            "step 2 of 5: the Deployment is still being deleted",
        ),
        (child(coming_up(), Child::Deployment, different()), "step 2 of 5: the Deployment is not as desired"),
        (but(coming_up(), |o| o.rollout.desired = 3), "step 2 of 5: 0 of 3 replicas are available"),
        (child(coming_up(), Child::Service, Presence::Missing), "step 3 of 5: the Service was not created"),
        (child(serving(), Child::Ingress, Presence::Missing), "step 4 of 5: the Ingress was not created"),
        (environments(serving(), &[true, false, false]), "step 5 of 5: 2 environments are not active"),
        (
            but(environments(serving(), &[false]), |o| o.environments.push(refused_environment())),
            "step 5 of 5: 1 environments are not active",
        ),
        (
            child(but(coming_up(), |o| o.rollout.desired = 2), Child::PodDisruptionBudget, Presence::Missing),
            "step 2 of 5: 0 of 2 replicas are available",
        ),
    ];
    for (observed, expected) in rows {
        assert_cause(&failure(&observed), Reason::SlowStart, &[expected, "after 300 s"]);
    }
}

#[test]
fn a_slow_start_leaves_held_time_out() {
    let held = but(starting(), |g| status(g).attempt.as_mut().unwrap().held_seconds = 600);
    let (observed, moment) = (coming_up(), after(900));
    assert_cause(&cause_of_failure(&situation(&held, &observed, &moment)), Reason::SlowStart, &["after 300 s"]);
}

#[test]
fn how_to_retry_names_the_annotation() {
    assert!(how_to_retry().contains("phasegate.dev/retry-requested-at"));
}

#[test]
fn others_words_are_told_on_one_line_and_not_for_ever() {
    assert_eq!(say("two\n  lines\tand a tab "), "two lines and a tab");
    let short = "é".repeat(300);
    assert_eq!(say(&short), short);
    let long = say(&"é".repeat(301));
    assert_eq!((long.chars().count(), long.ends_with("é…")), (301, true));
}
