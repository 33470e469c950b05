//! What is not sent any more.

use std::time::Duration;

use super::{deployment, deployment_is_edited, half_way, nothing_is_there};
use crate::cluster::tests::server::{Exchange, get, post};
use crate::control::tests::objects::{DEPLOYMENT, INGRESSES, SERVICES, edited, fresh};
use crate::control::tests::world::{Row, World, play};

/// The exchange in which the claim is lost.
fn loses_the_claim(exchange: Exchange, w: &World) -> Exchange {
    let claim = w.claim.clone();
    exchange.then(move || claim.give_up())
}

/// The claim lasts for so many seconds.
fn claims_for(w: &World, seconds: u64) {
    w.claim.extend(tokio::time::Instant::now() + Duration::from_secs(seconds));
}

const CLAIMS: &[Row] = &[
    Row {
        name: "an operator that is not leader writes no child",
        given: |w| {
            nothing_is_there(w);
            w.claim.give_up();
        },
        script: |_| vec![],
        ends: "Failed: this replica is not leader",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "an operator that is not leader writes no status",
        given: |w| {
            w.gateway(&fresh());
            w.claim.give_up();
        },
        script: |_| vec![],
        ends: "Failed: this replica is not leader",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "leadership is lost with the first of two writes: the second is not sent",
        given: half_way,
        script: |w| vec![loses_the_claim(post(SERVICES), w)],
        ends: "Failed: this replica is not leader",
        writes: &[],
        tells: &[],
        remembers: &["created Deployment", "created Service"],
    },
    Row {
        name: "leadership is lost between the read and the write of an update",
        given: deployment_is_edited,
        script: |w| vec![loses_the_claim(get(DEPLOYMENT, edited(deployment())), w)],
        ends: "Failed: this replica is not leader",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "leadership is lost with a refusal: its status is not sent",
        given: half_way,
        script: |w| vec![post(SERVICES).invalid("no such field"), loses_the_claim(post(INGRESSES), w)],
        ends: "Failed: this replica is not leader",
        writes: &[],
        tells: &[],
        remembers: &["tried", "refused the Service", "created Deployment", "created Ingress"],
    },
    Row {
        name: "a claim expires by itself while the API server thinks about a read",
        given: |w| {
            deployment_is_edited(w);
            claims_for(w, 3);
        },
        script: |_| vec![get(DEPLOYMENT, edited(deployment())).takes(Duration::from_secs(4))],
        ends: "Failed: this replica is not leader",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a write that hangs ends with the claim, and nobody is out of reach",
        given: |w| {
            half_way(w);
            claims_for(w, 3);
        },
        script: |_| vec![post(SERVICES).hangs()],
        ends: "Failed: this replica is not leader",
        writes: &[],
        tells: &[],
        remembers: &["created Deployment"],
    },
];

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_once_the_claim_has_expired() {
    play(CLAIMS).await;
}
