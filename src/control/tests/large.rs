//! A gateway of which the cache keeps a part: it is read before anything is decided.

use serde_json::json;

use super::objects::{GATEWAY, STATUS, but, json_of, named, starting};
use super::world::{Row, World, play};
use crate::api::{ApiGateway, Completeness, Guarded};
use crate::cluster::tests::server::{Exchange, get, miss, put};

/// The gateway as it is: it asks to be stopped since the cache saw it.
fn whole() -> ApiGateway {
    but(starting(), |g| {
        g.spec.state = crate::api::DesiredState::Stopped;
        g.metadata.resource_version = Some("7".to_owned());
        g.spec.env = serde_json::from_value(json!([{ "name": "A", "value": "x" }])).unwrap();
    })
}

fn kept_in_part(w: &mut World) {
    w.guarded_gateway(Guarded(Ok(starting()), Completeness::InPart));
}

fn read() -> Exchange {
    get(GATEWAY, json_of(&whole()))
}

const LARGE: &[Row] = &[
    Row {
        name: "what is decided is decided of all of it as it is now",
        given: kept_in_part,
        script: |_| vec![read(), put(STATUS).with("/metadata/resourceVersion", "7").with("/spec/env/0/name", "A")],
        ends: "Now",
        writes: &["Stopping Stopped, Ready False Stopping"],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "nothing is decided where it cannot be read",
        given: kept_in_part,
        script: |_| vec![read().unavailable()],
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["an outage"],
    },
    Row {
        name: "nor where it is gone",
        given: kept_in_part,
        script: |_| vec![miss(GATEWAY)],
        ends: "OnChange",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "nor where it is another one by now",
        given: kept_in_part,
        script: |_| vec![get(GATEWAY, json_of(&but(named("shop"), |g| g.metadata.uid = Some("another".to_owned()))))],
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
];

#[tokio::test(start_paused = true)]
async fn a_pass_over_a_gateway_that_is_kept_in_part_begins_with_reading_it() {
    play(LARGE).await;
}
