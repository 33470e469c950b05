//! What is met in a child's place.

use super::{deployment, deployment_is_edited, half_way, nothing_is_there};
use crate::cluster::tests::server::{get, post, put};
use crate::control::tests::objects::{
    DEPLOYMENT, DEPLOYMENTS, SERVICE, SERVICES, STATUS, children_of, edited, foreign_object, predecessors, starting,
    terminating,
};
use crate::control::tests::world::{Row, play};

const SURPRISES: &[Row] = &[
    Row {
        name: "a foreign object has the name: the same pass says so, and creates nothing else",
        given: half_way,
        script: |_| {
            let found = foreign_object(children_of(&starting()).service);
            vec![post(SERVICES).already_exists(), get(SERVICE, found), put(STATUS)]
        },
        ends: "CacheBehind",
        writes: &["Starting Running, Ready False NameTaken"],
        tells: &["Warning NameTaken"],
        remembers: &["tried", "created Deployment", "our write"],
    },
    Row {
        name: "an earlier gateway's child is still there: the same pass waits for its deletion",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).already_exists(), get(DEPLOYMENT, predecessors(deployment())), put(STATUS)],
        ends: "CacheBehind",
        writes: &["Starting Running, Ready False WaitingForDeletion"],
        tells: &[],
        remembers: &["tried", "our write"],
    },
    Row {
        name: "our own child is being deleted: there is nothing to say",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).already_exists(), get(DEPLOYMENT, terminating(deployment()))],
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "an update finds a foreign object in the child's place and leaves it alone",
        given: deployment_is_edited,
        script: |_| vec![get(DEPLOYMENT, foreign_object(deployment())), put(STATUS)],
        ends: "CacheBehind",
        writes: &["Starting Running, Ready False NameTaken"],
        tells: &["Warning NameTaken"],
        remembers: &["tried", "our write"],
    },
    Row {
        name: "an update finds the child being deleted and does not write it",
        given: deployment_is_edited,
        script: |_| vec![get(DEPLOYMENT, terminating(edited(deployment())))],
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
];

#[tokio::test(start_paused = true)]
async fn whoever_is_in_a_childs_place_is_told_in_the_pass_that_meets_them() {
    play(SURPRISES).await;
}
