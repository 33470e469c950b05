//! A policy that stamps each write causes few writes, although the stored object always differs from the sent one.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use phasegate::api::ApiGateway;
use serde_json::json;

use crate::harness::{Policies, Policy, PolicyEffect, World, audit_entries, gateway};

const GATEWAYS: usize = 10;
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// The maximum number of writes of a child in the first minute, and in the third.
const FIRST: usize = 20;
const THIRD: usize = 2;

/// The version before the write, in an annotation and in a field of the spec.
const STAMP: &str = r#"[JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("field.example/seen"),
    value: has(object.metadata.resourceVersion) ? object.metadata.resourceVersion : "0"}]"#;
const TOLERATION: &str = r#"[JSONPatch{op: "add", path: "/spec/template/spec/tolerations", value: [{"key": "seen",
    "operator": "Equal", "value": has(object.metadata.resourceVersion) ? string(object.metadata.resourceVersion) : "0"}]}]"#;
const TYPE: &str = r#"[JSONPatch{op: "replace", path: "/spec/type", value: "NodePort"}]"#;
const TLS: &str = r#"[JSONPatch{op: "add", path: "/spec/tls", value: [{"secretName":
    has(object.metadata.resourceVersion) ? "seen-" + object.metadata.resourceVersion : "seen"}]}]"#;

/// The times at which the operator wrote children, by resource and name, from the API server's audit log.
fn writes(world: &World) -> BTreeMap<(String, String), Vec<Timestamp>> {
    let mut writes = BTreeMap::<_, Vec<Timestamp>>::new();
    for noted in audit_entries(&world.cluster, &world.namespace) {
        if !noted.operator.is_empty() && noted.is_write() && noted.is_of_child() {
            writes.entry((noted.resource, noted.object)).or_default().push(noted.at);
        }
    }
    writes
}

/// The time from a gateway's creation until it had started.
fn took(gateway: &ApiGateway) -> SignedDuration {
    let started = gateway.status.as_ref().unwrap().history.last().unwrap().at.0;
    started.duration_since(gateway.metadata.creation_timestamp.as_ref().unwrap().0)
}

/// `PHASEGATE_STAMPED` sets the duration in seconds. With three minutes, the third has its own limit.
#[tokio::test]
async fn a_policy_that_stamps_every_write_costs_few_writes_and_nobody_else_a_thing() {
    let seconds = std::env::var("PHASEGATE_STAMPED").map_or(20, |seconds| seconds.parse().unwrap());
    let world = World::audited("stamped").await;
    let neighbour = world.beside("neighbour").await;
    let stamps = [("apps/deployments", TOLERATION), ("/services", TYPE), ("networking.k8s.io/ingresses", TLS)]
        .map(|(resource, patches)| (resource, format!("{STAMP} + {patches}")));
    let policies = stamps.each_ref().map(|(resource, patches)| Policy {
        of: "gw-",
        resource,
        operations: &["CREATE", "UPDATE"],
        does: PolicyEffect::Changes(patches),
    });
    let _policies = Policies::new(&world, &policies).await;
    let _operator = world.operator_with(&["--namespaces", &neighbour.namespace]);
    let starts = async |name: &str| {
        neighbour.apply(&gateway(name, json!({ "image": "acme/gateway:1" }))).await;
        took(&neighbour.until_started(name).await)
    };
    let usual = starts("before").await;

    let names: Vec<String> = (0..GATEWAYS).map(|number| format!("gw-{number}")).collect();
    for name in &names {
        let host = format!("{name}.{}.example.com", world.namespace);
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1", "replicas": 2, "host": host }))).await;
    }
    for name in &names {
        let started = world.until_started(name).await;
        world.until_ready_again(&started).await;
        // The operator ignores a foreign label, but the policy stamps the write, and also the write that reverts the
        // stamp.
        let label = Patch::Merge(json!({ "metadata": { "labels": { "theirs": "yes" } } }));
        for kind in ["Deployment", "Service", "Ingress"] {
            world.of_kind(kind).patch(name, &PatchParams::default(), &label).await.unwrap();
        }
    }
    let beside = starts("meanwhile").await;
    let first = Timestamp::now();
    let created = writes(&world);
    let last = created.values().filter_map(|at| at.first()).max().unwrap();
    let end = *last + SignedDuration::from_secs(seconds);
    tokio::time::sleep(Duration::try_from(end.duration_since(first)).unwrap_or_default()).await;

    let writes = writes(&world);
    assert!(writes.len() == 4 * GATEWAYS, "only {:?} were written", writes.keys());
    let mut most = [0; 3];
    for (child, at) in writes {
        let in_minute = |minute: i32| {
            let begin = at[0] + MINUTE * minute;
            at.iter().filter(|at| (begin..begin + MINUTE).contains(*at)).count()
        };
        let counts = [0, 1, 2].map(in_minute);
        assert!(counts[0] < FIRST && counts[2] <= THIRD, "{child:?} was written {counts:?} times a minute: {at:?}");
        most = [0, 1, 2].map(|minute| most[minute].max(counts[minute]));
    }
    println!(
        "at most {most:?} writes of a child in each minute; another tenant's start took {beside}, before it {usual}"
    );
    // A creationTimestamp is in whole seconds.
    assert!(beside <= usual * 3 + SignedDuration::from_secs(3), "{beside} beside them, {usual} without them");
}
