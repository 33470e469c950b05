//! Several passes in a row: what one remembers and the next goes by.

use super::objects::{DEPLOYMENTS, INGRESSES, SERVICES, STATUS, but, children_of, edited, fresh, starting};
use super::world::World;
use crate::cluster::tests::server::{post, put};
use crate::control::clock::Now;
use crate::control::memory::CACHE_LAG;
use crate::decide::observed::Child;

#[tokio::test(start_paused = true)]
async fn the_pass_after_a_transition_starts_from_what_was_written_although_the_cache_is_behind() {
    let mut w = World::new();
    w.gateway(&fresh());
    let first = w.pass(vec![put(STATUS).with("/status/attempt/number", 1)]).await.unwrap();
    assert_eq!((first.ends.as_str(), first.remembers.as_slice()), ("Now", ["our write".to_owned()].as_slice()));

    // The cache still has a gateway without a status, of which a pass would record the same transition.
    let second = w.pass(vec![post(DEPLOYMENTS)]).await.unwrap();
    assert_eq!(second.ends, "InTurn(HalfWay)");
    let third = w.pass(vec![post(SERVICES), post(INGRESSES)]).await.unwrap();
    assert_eq!(third.ends, "After 5s");
    assert_eq!(third.writes, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_write_over_our_own_write_carries_its_version_and_overtakes_both() {
    let mut w = World::new();
    w.gateway(&fresh());
    w.pass(vec![put(STATUS)]).await.unwrap();
    let refused = post(DEPLOYMENTS).invalid("no such field");
    let status = put(STATUS).with("/metadata/resourceVersion", "w1");
    let second = w.pass(vec![refused, post(SERVICES), post(INGRESSES), status]).await.unwrap();
    assert_eq!(second.writes, ["Starting Running, Ready False AdmissionRefused"]);

    // The cache shows the first of the two: the second is newer.
    w.gateway(&but(fresh(), |g| g.metadata.resource_version = Some("w1".to_owned())));
    assert!(w.ctx.memory.newer_than(&w.cached()).is_some());
    w.gateway(&but(fresh(), |g| g.metadata.resource_version = Some("w3".to_owned())));
    assert!(w.ctx.memory.newer_than(&w.cached()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lost_race_is_decided_again_from_the_cache() {
    let mut w = World::new();
    w.gateway(&fresh());
    w.pass(vec![put(STATUS)]).await.unwrap();
    let refused = post(DEPLOYMENTS).invalid("no such field");
    let lost = put(STATUS).with("/metadata/resourceVersion", "w1").conflicts();
    let second = w.pass(vec![refused, post(SERVICES), post(INGRESSES), lost]).await.unwrap();
    assert_eq!(
        (second.ends.as_str(), second.remembers),
        ("CacheBehind", vec!["created Service".to_owned(), "created Ingress".to_owned(),])
    );

    // Nothing of our own stands any more: this is the cache's version.
    let third = w.pass(vec![put(STATUS).with("/metadata/resourceVersion", "1")]).await.unwrap();
    assert_eq!(third.ends, "Now");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_of_its_attempt_and_is_over_when_the_steps_succeed() {
    let mut w = World::new();
    w.has(starting(), []);
    w.created(&[Child::Deployment, Child::Ingress]);
    let refused = w.pass(vec![post(SERVICES).invalid("no such field"), put(STATUS)]).await.unwrap();
    assert_eq!(refused.tells, ["Warning AdmissionRefused"]);

    let again = w.pass(vec![post(SERVICES)]).await.unwrap();
    assert_eq!(again.remembers, ["tried", "created Deployment", "created Service", "created Ingress", "our write"]);
    // Now that it is over the status says so.
    let over = w.pass(vec![put(STATUS)]).await.unwrap();
    assert_eq!(over.writes, ["Starting Running, Ready False Starting"]);
    assert_eq!(over.tells, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_the_cache_does_not_show_in_five_seconds_is_created_again() {
    let mut w = World::new();
    w.has(starting(), []);
    w.created(&[Child::Deployment, Child::Service, Child::Ingress]);
    tokio::time::sleep(CACHE_LAG).await;
    assert_eq!(w.pass(vec![]).await.unwrap().ends, "After 5s");
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(w.pass(vec![post(DEPLOYMENTS)]).await.unwrap().ends, "InTurn(HalfWay)");
}

#[tokio::test(start_paused = true)]
async fn children_that_were_found_as_desired_are_compared_once() {
    let mut w = World::new();
    let children = children_of(&starting());
    w.has(starting(), [children.deployment, children.service.clone(), children.ingress]);
    assert_eq!(w.ctx.memory.recall(&w.cached()).settled(), None);
    w.pass(vec![]).await.unwrap();
    let settled = w.ctx.memory.recall(&w.cached()).settled();
    assert!(settled.is_some());

    // The same version in other words, which nobody looks at.
    w.children([edited(children.service)]);
    assert_eq!(w.pass(vec![]).await.unwrap().ends, "After 300s");
    assert_eq!(w.ctx.memory.recall(&w.cached()).settled(), settled);
}

#[tokio::test(start_paused = true)]
async fn of_a_gateway_that_went_meanwhile_nothing_is_kept() {
    let mut w = World::new();
    w.gateway(&fresh());
    let memory = std::sync::Arc::clone(&w.ctx.memory);
    let gone = put(STATUS).then(move || memory.forget("uid-of-shop"));
    let ended = w.pass(vec![gone]).await.unwrap();
    assert_eq!((ended.ends.as_str(), ended.remembers), ("Now", vec![]));
}

#[tokio::test(start_paused = true)]
async fn time_in_which_nobody_answered_is_no_part_of_an_attempt() {
    let mut w = World::new();
    w.has(starting(), []);
    w.created(&[Child::Deployment]);
    // A pass that meets the attempt's beginning while all is well.
    w.pass(vec![post(SERVICES).unavailable()]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(100)).await;
    w.ctx.outages.began();
    let gateway = w.cached();
    let mut remembered = w.ctx.memory.recall(&gateway);
    let moment = remembered.stopwatches.moment(&gateway, Now::read(), &w.ctx.outages);
    assert!(moment.attempt.as_secs() < 10, "nothing was heard since the beginning: {moment:?}");
    assert!(moment.phase.as_secs() >= 100, "{moment:?}");
}
