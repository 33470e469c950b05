//! The operator reports what admission policies refuse, and deletes no serving child because of them.

use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use phasegate::api::{ApiGateway, Environment, condition};
use phasegate::children::NAME_LABEL;
use serde_json::{Value, json};

use crate::harness::{
    CHILDREN, Policies, Policy, PolicyEffect, STARTED, World, audit_entries, environment, gateway, is_active, is_true,
    message, path,
};

/// A field that a policy makes immutable, and the reason why the operator has to change it.
struct Frozen {
    /// The gateway's name.
    name: &'static str,
    kind: &'static str,
    resource: &'static str,
    /// The field's JSON pointer.
    field: &'static str,
    /// A patch of the child before the policy exists.
    edited: Option<Value>,
    /// A patch of the gateway's spec, once the policy exists.
    asked: Value,
    /// The field's value after the policy is deleted.
    becomes: Value,
}

fn frozen(namespace: &str) -> Vec<Frozen> {
    let elsewhere = format!("elsewhere.{namespace}.example.com");
    vec![
        Frozen {
            name: "image",
            kind: "Deployment",
            resource: "apps/deployments",
            field: "/spec/template/spec/containers/0/image",
            edited: None,
            asked: json!({ "image": "acme/gateway:2" }),
            becomes: json!("acme/gateway:2"),
        },
        Frozen {
            name: "replicas",
            kind: "Deployment",
            resource: "apps/deployments",
            field: "/spec/replicas",
            edited: None,
            asked: json!({ "replicas": 3 }),
            becomes: json!(3),
        },
        Frozen {
            name: "exposed",
            kind: "Service",
            resource: "/services",
            field: "/spec/type",
            edited: Some(json!({ "spec": { "type": "NodePort" } })),
            asked: json!({}),
            becomes: json!("ClusterIP"),
        },
        Frozen {
            name: "host",
            kind: "Ingress",
            resource: "networking.k8s.io/ingresses",
            field: "/spec/rules/0/host",
            edited: None,
            asked: json!({ "host": elsewhere }),
            becomes: json!(elsewhere),
        },
        Frozen {
            name: "budget",
            kind: "PodDisruptionBudget",
            resource: "policy/poddisruptionbudgets",
            field: "/spec/maxUnavailable",
            edited: Some(json!({ "spec": { "maxUnavailable": "50%" } })),
            asked: json!({}),
            becomes: json!(1),
        },
    ]
}

impl Frozen {
    /// The policy's CEL expression: the field is equal in `object` and `oldObject`.
    fn is_unchanged(&self) -> String {
        let parts = self.field.split('/').skip(1).map(|part| match part.parse::<usize>() {
            Ok(index) => format!("[{index}]"),
            Err(_) => format!(".{part}"),
        });
        let field: String = parts.collect();
        format!("object{field} == oldObject{field}")
    }

    /// The message in the form of the API server's own validation errors.
    fn words(&self) -> String {
        format!("{}: Invalid value: field is immutable", self.field.trim_start_matches('/').replace('/', "."))
    }

    fn is(&self, child: &DynamicObject) -> Option<Value> {
        child.data.pointer(self.field).cloned()
    }
}

/// The uids of a gateway's children.
async fn uids(world: &World, name: &str) -> Vec<Option<String>> {
    let mut uids = Vec::new();
    for kind in CHILDREN {
        uids.push(world.of_kind(kind).get(name).await.unwrap().uid());
    }
    uids
}

/// The delete requests for children in the audit log.
fn deletions(world: &World) -> Vec<String> {
    let noted = audit_entries(&world.cluster, &world.namespace);
    let deleted = noted.iter().filter(|noted| noted.is_of_child() && noted.verb.starts_with("delete"));
    deleted.map(|noted| format!("{noted:?}")).collect()
}

/// A gateway with every child.
fn whole(name: &str, namespace: &str) -> Value {
    let host = format!("{name}.{namespace}.example.com");
    gateway(name, json!({ "image": "acme/gateway:1", "replicas": 2, "host": host }))
}

#[tokio::test]
async fn a_policy_that_calls_a_field_immutable_costs_no_child_that_serves() {
    let world = World::audited("frozen").await;
    let _operator = world.operator();
    let rows = frozen(&world.namespace);
    let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    for name in &names {
        world.apply(&whole(name, &world.namespace)).await;
    }
    let mut before = Vec::new();
    for name in &names {
        let started = world.until_started(name).await;
        world.until_ready_again(&started).await;
        before.push(uids(&world, name).await);
        world.patch(name, json!({ "spec": { "suspend": true } })).await;
        world.until_condition(name, condition::STALLED, "False", "Suspended").await;
    }
    for row in &rows {
        if let Some(edit) = &row.edited {
            let api = world.of_kind(row.kind);
            api.patch(row.name, &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
        }
    }
    let refusals: Vec<(String, String)> = rows.iter().map(|row| (row.is_unchanged(), row.words())).collect();
    let policies = rows.iter().zip(&refusals).map(|(row, (unless, words))| Policy {
        of: row.name,
        resource: row.resource,
        operations: &["UPDATE"],
        does: PolicyEffect::Refuses(unless, words),
    });
    let policies = Policies::new(&world, &policies.collect::<Vec<_>>()).await;

    for row in &rows {
        let mut spec = row.asked.clone();
        spec["suspend"] = json!(false);
        world.patch(row.name, json!({ "spec": spec })).await;
    }

    for (row, before) in rows.iter().zip(&before) {
        let refused = world.until_condition(row.name, condition::RECONCILING, "True", "AdmissionRefused").await;
        let words = message(&refused, condition::RECONCILING);
        assert!(words.contains(&row.words()) && words.contains(row.kind), "{}: {words}", row.name);
        assert!(is_true(&refused, condition::AVAILABLE), "{}: what serves goes on", row.name);
        assert_eq!(path(&refused), STARTED, "{}", row.name);
        world.until_event(row.name, "AdmissionRefused").await;
        assert_eq!(uids(&world, row.name).await, *before, "{}", row.name);
        let child = world.of_kind(row.kind).get(row.name).await.unwrap();
        assert_ne!(row.is(&child), Some(row.becomes.clone()), "{}", row.name);
    }

    drop(policies);
    for (row, before) in rows.iter().zip(&before) {
        world.until_condition(row.name, condition::READY, "True", "Started").await;
        let child = world.of_kind(row.kind).get(row.name).await.unwrap();
        assert_eq!(row.is(&child), Some(row.becomes.clone()), "{}", row.name);
        assert_eq!(uids(&world, row.name).await, *before, "{}", row.name);
    }
    assert_eq!(deletions(&world), Vec::<String>::new());
}

/// A cluster may require a label on every object, for example for billing.
#[tokio::test]
async fn a_policy_that_wants_a_label_on_every_object_is_met_by_one_that_is_inherited_and_quoted_otherwise() {
    const WORDS: &str = "every object needs the label team";
    const RESOURCES: [&str; 6] = [
        "apps/deployments",
        "apps/replicasets",
        "/pods",
        "/services",
        "networking.k8s.io/ingresses",
        "policy/poddisruptionbudgets",
    ];
    let policies = RESOURCES.map(|resource| Policy {
        of: "shop",
        resource,
        operations: &["CREATE", "UPDATE"],
        does: PolicyEffect::Refuses("\"team\" in object.metadata.labels", WORDS),
    });
    let (world, without) = (World::new("labelled").await, World::new("unlabelled").await);
    let _policies = [Policies::new(&world, &policies).await, Policies::new(&without, &policies).await];
    let _operators = [world.operator_with(&["--inherited-labels=team"]), without.operator()];
    for world in [&world, &without] {
        let mut shop = whole("shop", &world.namespace);
        shop["metadata"]["labels"] = json!({ "team": "a" });
        world.apply(&shop).await;
    }

    let started = world.until_started("shop").await;
    assert_eq!(path(&started), STARTED);
    world.until_ready_again(&started).await;

    let refused = without.until_condition("shop", condition::RECONCILING, "True", "AdmissionRefused").await;
    let words = message(&refused, condition::RECONCILING);
    assert!(words.contains(WORDS), "{words}");
    assert_eq!(without.children().await, Vec::<String>::new());
}

async fn count(world: &World, kind: &str, name: &str, event: &str) -> usize {
    let events = world.until_event_about(kind, name, "AdmissionRefused").await;
    events.iter().filter(|told| *told == event).count()
}

/// Labels an object so that the policies of the gateway `shop` match it.
fn labelled(mut object: Value) -> Value {
    object["metadata"]["labels"] = json!({ NAME_LABEL: "shop" });
    object
}

async fn refuses_statuses<'a>(world: &'a World, resource: &str, words: &str) -> Policies<'a> {
    let policy = Policy { of: "shop", resource, operations: &["UPDATE"], does: PolicyEffect::Refuses("false", words) };
    Policies::new(world, &[policy]).await
}

#[tokio::test]
async fn an_environment_whose_status_a_policy_refuses_is_a_cause_with_its_words_until_it_is_not() {
    let world = World::audited("refused-envs").await;
    // "eu" has to claim a host first. "dev" has no host and only becomes active.
    let host = "eu.refused-envs.example.com";
    world.create::<Environment>(labelled(environment("dev", "shop", None))).await;
    world.create::<Environment>(labelled(environment("eu", "shop", Some(host)))).await;
    let policy = refuses_statuses(&world, "phasegate.dev/environments/status", "no environment on Fridays").await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "6s" }))).await;
    let _operator = world.operator();

    let told = world.until_condition("shop", condition::RECONCILING, "True", "AdmissionRefused").await;

    let words = message(&told, condition::READY);
    assert!(words.contains("the status of Environment ") && words.contains("no environment on Fridays"), "{words}");
    assert!(!words.contains("hange the field"), "{words}");
    let late = |gateway: &ApiGateway| gateway.status.as_ref().is_some_and(|status| status.history.len() > 1);
    let late = world.until("shop", "judged", late).await;
    assert_eq!(path(&late), [STARTED[0], "Started/Running StartDeadlineExceeded"]);
    let story = &late.status.as_ref().unwrap().history[1].message;
    assert!(story.contains("no environment on Fridays"), "{story}");
    let warned = "Warning AdmissionRefused";
    assert_eq!(count(&world, "Environment", "eu", warned).await, 1);
    assert_eq!(count(&world, "ApiGateway", "shop", warned).await, 1);
    // The gateway is available, but not Ready without its Environments.
    let told = world.until_condition("shop", condition::RECONCILING, "True", "AdmissionRefused").await;
    assert!(is_true(&told, condition::AVAILABLE) && !is_true(&told, condition::READY), "{told:?}");

    drop(policy);
    for name in ["dev", "eu"] {
        world.until::<Environment>(name, "active", is_active).await;
    }
    world.until_condition("shop", condition::READY, "True", "Started").await;
}

#[tokio::test]
async fn a_status_that_a_policy_refuses_is_told_by_one_event_with_its_words() {
    let world = World::audited("refused-status").await;
    world.apply(&labelled(gateway("shop", json!({ "image": "acme/gateway:1" })))).await;
    let policy = refuses_statuses(&world, "phasegate.dev/apigateways/status", "nothing is to be told").await;
    let _operator = world.operator();

    world.until_event("shop", "AdmissionRefused").await;
    let events = world.api::<Event>().list(&ListParams::default()).await.unwrap();
    let told = events.iter().find(|event| event.reason.as_deref() == Some("AdmissionRefused")).unwrap();
    let words = told.note.as_deref().unwrap();
    assert!(words.contains("the status of the ApiGateway") && words.contains("nothing is to be told"), "{words}");

    drop(policy);
    assert_eq!(path(&world.until_started("shop").await), STARTED);
    assert_eq!(count(&world, "ApiGateway", "shop", "Warning AdmissionRefused").await, 1);
}
