//! The operator uses every verb of the roles in deploy/rbac, and the roles grant nothing dangerous.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use kube::Api;
use kube::api::{ListParams, PostParams};
use phasegate::api::{Environment, Phase, State, condition};
use phasegate::children::{self, HttpRoute};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::cluster::{REGISTRY_ACCOUNT_LABEL, RUN_LABEL, operator_account, operator_namespace, run_id};
use crate::harness::{STARTED, World, environment, gateway, gateway_api, message, path};

/// API group, resource (with its subresource) and verb.
pub type Permission = (String, String, String);

fn permission(group: &str, resource: &str, verb: &str) -> Permission {
    (group.to_owned(), resource.to_owned(), verb.to_owned())
}

/// The rules that deploy/rbac grants to the operator of this run.
pub async fn rules(world: &World) -> Vec<PolicyRule> {
    rules_of(world, &format!("{RUN_LABEL}={},!{REGISTRY_ACCOUNT_LABEL}", run_id())).await
}

/// The rules of the roles with these labels.
pub async fn rules_of(world: &World, labels: &str) -> Vec<PolicyRule> {
    let ours = ListParams::default().labels(labels);
    let cluster: Api<ClusterRole> = Api::all(world.client.clone());
    let roles: Api<Role> = Api::namespaced(world.client.clone(), &operator_namespace());
    let mut rules = Vec::new();
    rules.extend(cluster.list(&ours).await.unwrap().into_iter().filter_map(|role| role.rules).flatten());
    rules.extend(roles.list(&ours).await.unwrap().into_iter().filter_map(|role| role.rules).flatten());
    rules
}

pub fn permissions(rules: &[PolicyRule]) -> Vec<Permission> {
    let mut all = Vec::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                all.extend(rule.verbs.iter().map(|verb| permission(group, resource, verb)));
            }
        }
    }
    all
}

/// One rule for each permission except the removed one.
pub fn without(all: &[Permission], taken: Option<&Permission>) -> Vec<Value> {
    let kept = all.iter().filter(|permission| Some(*permission) != taken);
    kept.map(|(group, resource, verb)| json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] }))
        .collect()
}

/// A ServiceAccount with these rules: in its own namespace and, for Namespaces, in the cluster.
pub async fn account(world: &World, rules: Vec<Value>) -> PathBuf {
    let name = world.namespace.as_str();
    let (cluster, own): (Vec<Value>, Vec<Value>) = rules
        .into_iter()
        .partition(|rule| [json!(["namespaces"]), json!(["customresourcedefinitions"])].contains(&rule["resources"]));
    let subjects = json!([{ "kind": "ServiceAccount", "name": "operator", "namespace": name }]);
    let metadata = json!({ "metadata": { "name": name, "labels": { RUN_LABEL: run_id() } } });
    let with = |more: Value| {
        let mut object = metadata.clone();
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let bound = |kind: &str| {
        let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
        with(json!({ "roleRef": role, "subjects": subjects }))
    };
    world.create::<ServiceAccount>(json!({ "metadata": { "name": "operator" } })).await;
    world.create::<Role>(with(json!({ "rules": own }))).await;
    world.create::<RoleBinding>(bound("Role")).await;
    let roles: Api<ClusterRole> = Api::all(world.client.clone());
    let role = serde_json::from_value(with(json!({ "rules": cluster }))).unwrap();
    roles.create(&PostParams::default(), &role).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(world.client.clone());
    let binding = serde_json::from_value(bound("ClusterRole")).unwrap();
    bindings.create(&PostParams::default(), &binding).await.unwrap();
    let user = format!("system:serviceaccount:{name}:operator");
    for rule in [cluster.last(), own.last()].into_iter().flatten() {
        let of = |field: &str| rule[field][0].as_str().unwrap();
        let (resource, subresource) = of("resources").split_once('/').unwrap_or((of("resources"), ""));
        let asked = json!({
            "namespace": if resource == "namespaces" { "" } else { name }, "group": of("apiGroups"), "verb": of("verbs"),
            "resource": resource, "subresource": subresource,
        });
        world.until_allowed(&user, &["system:serviceaccounts", "system:authenticated"], asked).await;
    }

    let path = world.cluster.operator_kubeconfig().with_file_name(format!("{name}.kubeconfig"));
    let (cluster, namespace, file) = (Arc::clone(&world.cluster), name.to_owned(), path.clone());
    let write = move || cluster.write_account_kubeconfig(&namespace, "operator", &file).unwrap();
    tokio::task::spawn_blocking(write).await.unwrap();
    path
}

/// The requests that the API server denied, from its audit log. A request is in the log before its response is sent.
#[derive(Clone)]
pub struct Denials {
    log: PathBuf,
    users: watch::Receiver<BTreeSet<String>>,
}

impl Denials {
    pub fn follow(log: PathBuf) -> Self {
        let (sender, users) = watch::channel(BTreeSet::new());
        let mut lines = BufReader::new(File::open(&log).unwrap());
        tokio::spawn(async move {
            let (mut line, mut every) = (String::new(), tokio::time::interval(Duration::from_millis(100)));
            while !sender.is_closed() {
                every.tick().await;
                while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
                    if let Some((user, _)) = denial(&line) {
                        sender.send_modify(|users| users.extend([user]));
                    }
                    line.clear();
                }
            }
        });
        Self { log, users }
    }

    /// All permissions that a user has been denied so far.
    pub fn of(&self, user: &str) -> BTreeSet<Permission> {
        let lines = BufReader::new(File::open(&self.log).unwrap()).lines();
        let denials = lines.filter_map(|line| denial(&line.unwrap()));
        denials.filter(|(refused, _)| refused == user).map(|(_, permission)| permission).collect()
    }

    pub async fn first_of(&mut self, user: &str) {
        self.users.wait_for(|users| users.contains(user)).await.unwrap();
    }
}

/// The user and the missing permission, if that is why a request was denied. An admission plugin checks owner
/// references, and requires another permission than the request itself.
fn denial(line: &str) -> Option<(String, Permission)> {
    if !line.contains("\"code\":403") {
        return None;
    }
    let entry: Value = serde_json::from_str(line).ok()?;
    let text = |path: &str| entry.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let message = text("/responseStatus/message");
    let (group, mut resource) = (text("/objectRef/apiGroup"), text("/objectRef/resource"));
    let missing = if message.contains("cannot set blockOwnerDeletion") {
        permission("phasegate.dev", "apigateways/finalizers", "update")
    } else if message.contains("cannot set an ownerRef on a resource you can't delete") {
        (group, resource, "delete".to_owned())
    } else if text("/verb") == "patch" && message.contains("cannot create resource") {
        // Server-side apply creates an object that does not exist.
        (group, resource, "create".to_owned())
    } else {
        if let Some(subresource) = entry.pointer("/objectRef/subresource").and_then(Value::as_str) {
            resource = format!("{resource}/{subresource}");
        }
        (group, resource, text("/verb"))
    };
    Some((text("/user/username"), missing))
}

/// Does everything that an operator does: start, repair, report an unreadable object, stop.
async fn everything(world: &World) {
    // The pod's status does not have the cause, so the operator reads the pod's Events, a while later.
    let unready = json!({ "image": "acme/never-ready-probe:1", "startDeadline": "12s" });
    world.apply(&gateway("unready", unready)).await;
    let host = format!("{}.example.com", world.namespace);
    world.create::<Environment>(environment("dev", "shop", Some(&format!("dev.{host}")))).await;
    let spec = json!({
        "image": "acme/gateway:1", "replicas": 2, "host": host, "tls": { "secretName": "shop-tls" },
        "exposure": "Both", "parentRefs": [{ "name": "public" }],
    });
    let _controller = world.accepts_routes();
    world.apply(&gateway("shop", spec)).await;
    world.until_started("shop").await;

    world.patch_object::<Deployment>("shop", json!({ "spec": { "replicas": 3 } })).await;
    world.patch_object::<Service>("shop", json!({ "metadata": { "ownerReferences": null } })).await;
    world.patch_object::<Ingress>("shop", json!({ "spec": { "tls": null } })).await;
    world.patch_object::<PodDisruptionBudget>("shop", json!({ "spec": { "maxUnavailable": "50%" } })).await;
    world.patch_object::<HttpRoute>("shop", json!({ "spec": { "hostnames": ["theirs.example.com"] } })).await;
    let repaired = "what is desired";
    world.until("shop", repaired, |object: &Deployment| object.spec.as_ref().unwrap().replicas == Some(2)).await;
    world.until("shop", repaired, |object: &Service| object.metadata.owner_references.is_some()).await;
    world.until("shop", repaired, |object: &Ingress| object.spec.as_ref().unwrap().tls.is_some()).await;
    let routes = |route: &HttpRoute| children::hostnames(route).any(|other| other == host);
    world.until("shop", repaired, routes).await;
    let budget = |object: &PodDisruptionBudget| {
        let spec = serde_json::to_value(&object.spec).unwrap();
        spec["maxUnavailable"] == json!(1)
    };
    world.until("shop", repaired, budget).await;

    // A time that is valid in the API server's date format, but out of range.
    let never = "9999-12-31T23:59:59.000000-23:59";
    world.apply(&gateway("garbled", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    world.until_phase("garbled", Phase::Stopped, State::Stopped).await;
    world.patch_status("garbled", json!({ "status": { "attempt": { "number": 1, "startedAt": never } } })).await;
    world.create::<Environment>(environment("bad", "shop", None)).await;
    world.until("bad", "Active", |object: &Environment| object.status.is_some()).await;
    let bad = json!({ "status": { "activatedAt": never } }).to_string();
    let written = world.kubectl(&["patch", "agwenv", "bad", "--subresource=status", "--type=merge", "-p", &bad]);
    assert!(written.status.success(), "{written:?}");
    world.until_event("garbled", "Undecodable").await;
    world.until_event_about("Environment", "bad", "Undecodable").await;

    world.until_event("unready", "ReadinessFailing").await;
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
}

/// Runs an operator with `all` permissions except the removed one, and returns the permissions that it was denied.
async fn refused(all: &[Permission], taken: Option<&Permission>, mut denials: Denials) -> BTreeSet<Permission> {
    let world = World::audited("verbs").await;
    let account = account(&world, without(all, taken)).await;
    let user = format!("system:serviceaccount:{}:operator", world.namespace);
    let mut operator = world.operator_as(&account, &["--leader-election"]);
    tokio::select! {
        () = everything(&world) => {}
        () = denials.first_of(&user) => {}
    }
    // The operator releases its Lease when it ends, which needs a permission too.
    operator.end();
    denials.of(&user)
}

/// Removes no permission, then each of these in turn, `at_once` in parallel. The denied permission must be the removed
/// one.
pub async fn assert_each_is_missed<'a, F>(
    permissions: &[&'a Permission],
    at_once: usize,
    refused: impl Fn(Option<&'a Permission>) -> F,
) where
    F: Future<Output = BTreeSet<Permission>>,
{
    let cases = std::iter::once(None).chain(permissions.iter().copied().map(Some));
    let outcomes: Vec<(Option<&Permission>, BTreeSet<Permission>)> = futures::stream::iter(cases)
        .map(|taken| refused(taken).map(move |missed| (taken, missed)))
        .buffer_unordered(at_once)
        .collect()
        .await;
    let wrong: Vec<_> = outcomes.iter().filter(|(taken, missed)| taken.iter().copied().ne(missed)).collect();
    assert!(wrong.is_empty(), "taken away, and what was refused for it: {wrong:#?}");
}

#[tokio::test]
async fn every_permission_is_used_and_no_other_is_missed() {
    let _held = gateway_api::of_audited_cluster().await;
    let world = World::audited("roles").await;
    world.install_gateway_api().await;
    let all = permissions(&rules(&world).await);
    assert!(all.len() > 40, "{all:?}");
    let denials = Denials::follow(world.cluster.audit_log());

    // As many in parallel as two cores can run.
    assert_each_is_missed(&all.iter().collect::<Vec<_>>(), 6, |taken| refused(&all, taken, denials.clone())).await;
}

#[tokio::test]
async fn a_permission_that_a_write_lacks_is_named_and_holds_the_clock_until_it_is_granted() {
    let world = World::audited("lacks").await;
    let all = permissions(&rules(&world).await);
    let taken = permission("apps", "deployments", "create");
    let kubeconfig = account(&world, without(&all, Some(&taken))).await;
    let _operator = world.operator_as(&kubeconfig, &[]);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "8s" }))).await;

    let told = world.until_condition("shop", condition::RECONCILING, "True", "OperatorNotPermitted").await;
    let words = message(&told, condition::READY);
    assert!(words.contains("cannot create resource \"deployments\"") && words.contains("deploy/rbac"), "{words}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(path(&world.gateway("shop").await), ["Starting/Running StartRequested"]);

    let roles = world.api::<Role>();
    let mut role = roles.get(&world.namespace).await.unwrap();
    role.rules.as_mut().unwrap().push(PolicyRule {
        api_groups: Some(vec![taken.0]),
        resources: Some(vec![taken.1]),
        verbs: vec![taken.2],
        ..PolicyRule::default()
    });
    roles.replace(&world.namespace, &PostParams::default(), &role).await.unwrap();
    assert_eq!(path(&world.until_started("shop").await), STARTED);
}

#[tokio::test]
async fn an_operator_that_may_not_look_for_routes_says_so_to_who_asks_for_one_and_works_for_all_others() {
    let world = World::audited("no-routes").await;
    let all = permissions(&rules(&world).await);
    let taken = permission("apiextensions.k8s.io", "customresourcedefinitions", "list");
    let kubeconfig = account(&world, without(&all, Some(&taken))).await;
    let shop = json!({ "image": "acme/gateway:1", "host": "a.no-routes.example.com", "exposure": "HTTPRoute" });
    world.apply(&gateway("shop", shop)).await;
    let _operator = world.operator_as(&kubeconfig, &[]);
    world.apply(&gateway("plain", json!({ "image": "acme/gateway:1", "host": "b.no-routes.example.com" }))).await;

    let told = world.until_condition("shop", condition::STALLED, "True", "ExposureUnsupported").await;
    let words = message(&told, condition::READY);
    assert!(words.contains("the operator may not read them") && words.contains("deploy/rbac"), "{words}");
    world.until_started("plain").await;
}

/// Permissions that would let an operator impersonate other users or read unrelated data.
const DANGEROUS: [(&str, &str); 18] = [
    ("", "secrets"),
    ("", "configmaps"),
    ("", "serviceaccounts"),
    ("", "serviceaccounts/token"),
    ("", "pods/exec"),
    ("", "pods/attach"),
    ("", "pods/portforward"),
    ("", "pods/ephemeralcontainers"),
    ("", "nodes"),
    ("", "nodes/proxy"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("certificates.k8s.io", "certificatesigningrequests"),
];

#[tokio::test]
async fn no_role_has_a_wildcard_or_says_anything_of_what_is_dangerous() {
    let world = World::new("safe-roles").await;
    let rules = rules(&world).await;
    for (group, resource, verb) in permissions(&rules) {
        let named = format!("{verb} {group}/{resource}");
        assert!(![&group, &resource, &verb].contains(&&"*".to_owned()), "{named}");
        let is_of_routes = resource == "customresourcedefinitions" && ["list", "watch"].contains(&verb.as_str());
        assert!(is_of_routes || !DANGEROUS.contains(&(group.as_str(), resource.as_str())), "{named}");
        assert!(
            !["escalate", "bind", "impersonate", "patch", "deletecollection"].contains(&verb.as_str())
                || resource.ends_with("/status"),
            "{named}"
        );
    }
    assert!(rules.iter().all(|rule| rule.non_resource_urls.is_none()));
    let of_definitions =
        |rule: &&PolicyRule| rule.resources.iter().flatten().any(|of| of == "customresourcedefinitions");
    let named: Vec<_> =
        rules.iter().filter(of_definitions).flat_map(|rule| rule.resource_names.iter().flatten()).collect();
    assert_eq!(named, ["httproutes.gateway.networking.k8s.io"], "no definition but that of HTTPRoutes");
}

#[tokio::test]
async fn the_api_server_allows_the_operator_nothing_that_is_dangerous() {
    let world = World::new("safe").await;
    let user = format!("system:serviceaccount:{}:{}", operator_namespace(), operator_account());
    let groups = ["system:serviceaccounts", "system:authenticated"];
    let may = async |namespace: &str, group: &str, resource: &str, verb: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let asked = json!({
            "namespace": namespace, "group": group, "resource": resource, "subresource": subresource, "verb": verb,
        });
        let review = json!({ "spec": { "user": user, "groups": groups, "resourceAttributes": asked } });
        let reviews: Api<SubjectAccessReview> = Api::all(world.client.clone());
        let review = serde_json::from_value(review).unwrap();
        reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
    };
    assert!(may(&world.namespace, "apps", "deployments", "create").await);

    let own = operator_namespace();
    for namespace in [world.namespace.as_str(), own.as_str(), "kube-system"] {
        for (group, resource) in DANGEROUS {
            for verb in ["get", "list", "watch", "create", "update", "patch", "delete", "escalate", "bind", "*"] {
                assert!(!may(namespace, group, resource, verb).await, "{verb} {group}/{resource} in {namespace}");
            }
        }
        for resource in ["users", "groups", "serviceaccounts"] {
            assert!(!may(namespace, "", resource, "impersonate").await, "{resource} in {namespace}");
        }
        assert!(!may(namespace, "*", "*", "*").await);
    }
    assert!(may(&own, "coordination.k8s.io", "leases", "update").await);
    assert!(!may(&world.namespace, "coordination.k8s.io", "leases", "update").await);
}
