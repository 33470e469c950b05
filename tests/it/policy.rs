//! deploy/policy: an ApiGateway names only Secrets and ConfigMaps that its author may read, and nobody forges what the operator
//! writes into metadata.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Config};
use phasegate::api::{ApiGateway, Environment};
use serde_json::{Value, json};

use crate::harness::{World, eventually, gateway, root, run};

/// A namespace of a cluster that has the policies, and people who may write gateways there.
struct Tenancy {
    world: World,
}

impl Tenancy {
    async fn new(test: &str) -> Self {
        let world = World::audited(test).await;
        let tenancy = Self { world };
        let cluster = Arc::clone(&tenancy.world.cluster);
        tokio::task::spawn_blocking(move || {
            static INSTALLED: OnceLock<()> = OnceLock::new();
            INSTALLED.get_or_init(|| {
                let policy = root().join("deploy/policy");
                run(cluster.kubectl().args(["apply", "--validate=strict", "-k"]).arg(policy)).unwrap();
            });
        })
        .await
        .unwrap();
        let rule = json!({ "apiGroups": ["phasegate.dev"], "resources": ["apigateways", "apigateways/scale"], "verbs": ["*"] });
        tenancy.allow("author", &["tina", "reader", "colleague"], rule).await;
        tenancy.until_refused().await;
        tenancy
    }

    async fn allow(&self, name: &str, users: &[&str], rule: Value) {
        let subjects: Vec<Value> = users.iter().map(|user| json!({ "kind": "User", "name": user })).collect();
        let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name });
        self.world.create::<Role>(json!({ "metadata": { "name": name }, "rules": [rule] })).await;
        let binding = json!({ "metadata": { "name": name }, "roleRef": role, "subjects": subjects });
        self.world.create::<RoleBinding>(binding).await;
    }

    async fn allow_to_get(&self, name: &str, user: &str, resource: &str, names: &[String]) {
        let mut rule = json!({ "apiGroups": [""], "resources": [resource], "verbs": ["get"] });
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        self.allow(name, &[user], rule).await;
    }

    /// The gateways as this person sees them.
    async fn of(&self, user: &str) -> Api<ApiGateway> {
        let kubeconfig = kube::config::Kubeconfig::read_from(&self.world.cluster.kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        config.auth_info.impersonate = Some(user.to_owned());
        Api::namespaced(Client::try_from(config).unwrap(), &self.world.namespace)
    }

    /// Whether this person may create such a gateway: nothing, or the API server's words.
    async fn create(&self, user: &str, spec: &Value) -> Result<(), String> {
        let object = serde_json::from_value(gateway("shop", spec.clone())).unwrap();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        match self.of(user).await.create(&dry, &object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.message),
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether this person may change the spec of a gateway so: nothing, or the API server's words. Nothing is changed.
    async fn patched(&self, user: &str, name: &str, spec: &Value) -> Result<(), String> {
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        match self.of(user).await.patch(name, &dry, &Patch::Merge(json!({ "spec": spec }))).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.message),
            Err(error) => panic!("{error}"),
        }
    }

    /// The same, where fields that `to` does not have go.
    async fn moved(&self, user: &str, name: &str, from: &Value, to: &Value) -> Result<(), String> {
        let mut spec = to.clone();
        for field in from.as_object().unwrap().keys() {
            let gone = to.get(field).cloned().unwrap_or(Value::Null);
            spec[field] = gone;
        }
        self.patched(user, name, &spec).await
    }

    /// Policies and roles take effect a moment after they were written.
    async fn until_refused(&self) {
        for place in [places().remove(0), places().pop().unwrap()] {
            self.eventually("refused", async || {
                self.create("tina", &place.spec).await.is_err_and(|said| said.contains("denied request"))
            })
            .await;
        }
    }

    async fn eventually(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let waited = eventually(Duration::from_millis(100), async || holds().await.then_some(()));
        assert!(waited.await.is_some(), "never {what}");
    }
}

/// A place where a gateway can name a Secret or ConfigMap called `inner`.
struct Place {
    resource: &'static str,
    kind: &'static str,
    field: &'static str,
    spec: Value,
}

fn places() -> Vec<Place> {
    let place = |resource, kind, field, more: Value| {
        let mut spec = json!({ "image": "acme/gateway:1", "host": "shop.example.com" });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Place { resource, kind, field, spec }
    };
    let key = json!({ "name": "inner", "key": "password" });
    let secret = |field, more| place("secrets", "Secret", field, more);
    let config = |field, more| place("configmaps", "ConfigMap", field, more);
    vec![
        secret(
            "spec.env[DB].valueFrom.secretKeyRef",
            json!({ "env": [{ "name": "DB", "valueFrom": { "secretKeyRef": key } }] }),
        ),
        secret("spec.envFrom.secretRef", json!({ "envFrom": [{ "secretRef": { "name": "inner" } }] })),
        secret(
            "spec.volumes[files].secret",
            json!({ "volumes": [{ "name": "files", "mountPath": "/files", "secret": { "name": "inner" } }] }),
        ),
        secret("spec.imagePullSecrets", json!({ "imagePullSecrets": [{ "name": "inner" }] })),
        secret("spec.tls.secretName", json!({ "tls": { "secretName": "inner" } })),
        config(
            "spec.env[DB].valueFrom.configMapKeyRef",
            json!({ "env": [{ "name": "DB", "valueFrom": { "configMapKeyRef": key } }] }),
        ),
        config("spec.envFrom.configMapRef", json!({ "envFrom": [{ "configMapRef": { "name": "inner" } }] })),
        config(
            "spec.volumes[files].configMap",
            json!({ "volumes": [{ "name": "files", "mountPath": "/files", "configMap": { "name": "inner" } }] }),
        ),
    ]
}

fn with_secrets(count: usize) -> Value {
    let env = |i| json!({ "name": format!("E{i}"), "valueFrom": { "secretKeyRef": { "name": format!("s{i}"), "key": "k" } } });
    json!({ "image": "acme/gateway:1", "env": (0..count).map(env).collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_name_is_refused_wherever_it_stands_unless_its_author_may_get_that_one() {
    let tenancy = Tenancy::new("places").await;
    for resource in ["secrets", "configmaps"] {
        tenancy.allow_to_get(resource, "reader", resource, &["inner".to_owned()]).await;
    }
    for Place { resource, kind, field, spec } in places() {
        let namespace = &tenancy.world.namespace;
        let said = tenancy.create("tina", &spec).await.unwrap_err();
        let sentence = format!(
            "{field}: you may not get {kind} inner in namespace {namespace}; name one that you may read, or have \
             somebody who may read it name it"
        );
        assert!(said.ends_with(&sentence), "{field}: {said}");
        tenancy
            .eventually(&format!("allowed: {resource} in {field}"), async || {
                tenancy.create("reader", &spec).await.is_ok()
            })
            .await;
        let other: Value = serde_json::from_str(&spec.to_string().replace("inner", "other")).unwrap();
        assert!(tenancy.create("reader", &other).await.is_err(), "{field}");
    }
    assert_eq!(tenancy.create("tina", &json!({ "image": "acme/gateway:1", "host": "shop.example.com" })).await, Ok(()));
}

#[tokio::test]
async fn who_changes_something_else_needs_no_secret_and_who_adds_a_name_does() {
    let tenancy = Tenancy::new("colleague").await;
    let world = &tenancy.world;
    let _operator = world.operator();
    world.apply(&gateway("shop", with_secrets(2))).await;
    // The operator's writes of the status are not hindered.
    world.until_started("shop").await;

    let theirs = tenancy.of("colleague").await;
    let merge = |patch: Value| Patch::Merge(patch);
    let params = PatchParams::default();
    theirs.patch("shop", &params, &merge(json!({ "spec": { "replicas": 2 } }))).await.unwrap();
    theirs.patch_scale("shop", &params, &merge(json!({ "spec": { "replicas": 1 } }))).await.unwrap();
    let moved = json!({ "spec": { "env": with_secrets(1)["env"], "envFrom": [{ "secretRef": { "name": "s1" } }] } });
    theirs.patch("shop", &params, &merge(moved)).await.unwrap();
    let added = json!({ "spec": { "envFrom": [{ "secretRef": { "name": "another" } }] } });
    let error = theirs.patch("shop", &params, &merge(added)).await.unwrap_err();
    assert!(error.to_string().contains("spec.envFrom.secretRef: you may not get Secret another"), "{error}");
}

/// The names of [`places`] for Secrets, in their order.
const MOVES: [&str; 5] = ["env", "envFrom", "volume", "pull", "tls"];

/// What somebody may do who may not read the Secret: where it is named, and where it may be named instead.
const MAY_MOVE: [(&str, &[&str]); 5] = [
    ("env", &["env", "envFrom", "volume"]),
    ("envFrom", &["env", "envFrom", "volume"]),
    ("volume", &["env", "envFrom", "volume"]),
    ("pull", &["pull", "tls"]),
    ("tls", &["pull", "tls"]),
];

#[tokio::test]
async fn a_secret_moves_only_between_places_that_the_same_eyes_see() {
    let tenancy = Tenancy::new("moves").await;
    let places = places();
    let place = |name: &str| &places[MOVES.iter().position(|known| *known == name).unwrap()];
    for (from, allowed) in MAY_MOVE {
        let name = from.to_lowercase();
        tenancy.world.create::<ApiGateway>(gateway(&name, place(from).spec.clone())).await;
        for to in MOVES {
            let said = tenancy.moved("colleague", &name, &place(from).spec, &place(to).spec).await;
            if allowed.contains(&to) {
                assert_eq!(said, Ok(()), "{from} to {to}");
            } else {
                let sentence = format!("{}: you may not get Secret inner in namespace", place(to).field);
                assert!(said.as_ref().is_err_and(|said| said.contains(&sentence)), "{from} to {to}: {said:?}");
            }
        }
    }
    // A name that stays where it was hides no second mention of it.
    let both = json!({ "envFrom": [{ "secretRef": { "name": "inner" } }] });
    let said = tenancy.patched("colleague", "pull", &both).await.unwrap_err();
    assert!(said.contains("spec.envFrom.secretRef: you may not get Secret inner"), "{said}");
    let both = json!({ "imagePullSecrets": [{ "name": "inner" }], "envFrom": [{ "secretRef": { "name": "inner" } }] });
    let said = tenancy.patched("colleague", "tls", &both).await.unwrap_err();
    assert!(said.contains("spec.envFrom.secretRef: you may not get Secret inner"), "{said}");
}

#[tokio::test]
async fn ten_new_names_are_checked_at_a_time_and_any_number_for_who_may_get_all() {
    let tenancy = Tenancy::new("many").await;
    let names: Vec<String> = (0..20).map(|i| format!("s{i}")).collect();
    tenancy.allow_to_get("twenty", "reader", "secrets", &names).await;
    tenancy.allow_to_get("all", "colleague", "secrets", &[]).await;

    tenancy.eventually("ten allowed", async || tenancy.create("reader", &with_secrets(10)).await.is_ok()).await;
    let said = tenancy.create("reader", &with_secrets(11)).await.unwrap_err();
    assert!(said.contains("spec names 11 Secrets that it did not name before"), "{said}");
    // Ten that are allowed do not hide one that is not.
    let mut nine = with_secrets(9);
    nine["imagePullSecrets"] = json!([{ "name": "another" }]);
    let said = tenancy.create("reader", &nine).await.unwrap_err();
    assert!(said.contains("spec.imagePullSecrets: you may not get Secret another"), "{said}");
    tenancy
        .eventually("a hundred allowed", async || tenancy.create("colleague", &with_secrets(100)).await.is_ok())
        .await;
}

/// What the operator writes into metadata, as a tenant would forge it, and where the refusal says it stands.
fn forged() -> [(Value, &'static str); 4] {
    [
        (
            json!({ "finalizers": ["example.com/a", "phasegate.dev/registry"] }),
            "metadata.finalizers: phasegate.dev/registry is",
        ),
        (json!({ "labels": { "phasegate.dev/registry": "mongodb" } }), "metadata.labels: phasegate.dev/registry is"),
        (
            json!({ "annotations": { "phasegate.dev/gateway-id": "bank" } }),
            "metadata.annotations: phasegate.dev/gateway-id and",
        ),
        (
            json!({ "annotations": { "phasegate.dev/intent": "{}" } }),
            "metadata.annotations: phasegate.dev/gateway-id and",
        ),
    ]
}

#[tokio::test]
async fn what_the_operator_writes_into_metadata_nobody_else_does() {
    let tenancy = Tenancy::new("forged").await;
    let world = &tenancy.world;
    let status = json!({ "apiGroups": ["phasegate.dev"], "resources": ["apigateways/status"], "verbs": ["update"] });
    tenancy.allow("operator", &["reader"], status).await;
    let theirs = tenancy.of("tina").await;
    let like_the_operator = tenancy.of("reader").await;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let with = |metadata: &Value| -> ApiGateway {
        let mut object = gateway("shop", json!({ "image": "acme/gateway:1" }));
        object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        serde_json::from_value(object).unwrap()
    };
    let params = PatchParams::default();
    let shop = world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    for (metadata, field) in forged() {
        let mut made = with(&metadata);
        made.metadata.name = Some("other".to_owned());
        let refused = theirs.create(&dry, &made).await.unwrap_err().to_string();
        assert!(refused.contains(field) && refused.contains("leave it as it is"), "{refused}");
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let refused = theirs.patch("shop", &params, &patch).await.unwrap_err().to_string();
        assert!(refused.contains(field), "{refused}");
        tenancy
            .eventually("allowed to who may write the status", async || {
                like_the_operator.create(&dry, &made).await.is_ok()
            })
            .await;
    }
    // What is there already stays, but for the finalizer; and what is others' is theirs.
    for (metadata, _) in forged() {
        world.patch(&shop.metadata.name.clone().unwrap(), json!({ "metadata": metadata })).await;
    }
    theirs.patch("shop", &params, &Patch::Merge(json!({ "spec": { "replicas": 2 } }))).await.unwrap();
    let changed = json!({ "metadata": { "annotations": { "phasegate.dev/gateway-id": "another" } } });
    assert!(theirs.patch("shop", &params, &Patch::Merge(changed)).await.is_err());
    for taken in [json!({ "labels": null }), json!({ "annotations": null })] {
        assert!(theirs.patch("shop", &params, &Patch::Merge(json!({ "metadata": taken }))).await.is_err());
    }
    theirs.patch("shop", &params, &Patch::Merge(json!({ "metadata": { "finalizers": null } }))).await.unwrap();
    let others = json!({
        "finalizers": ["example.com/a"], "labels": { "phasegate.dev/team": "a" },
        "annotations": { "phasegate.dev/retry-requested-at": "now" },
    });
    let mut made = with(&others);
    made.metadata.name = Some("other".to_owned());
    theirs.create(&dry, &made).await.unwrap();

    let environment = json!({
        "metadata": { "name": "dev", "labels": { "phasegate.dev/registry": "mongodb" } }, "spec": { "gatewayRef": { "name": "shop" } },
    });
    let environments = json!({ "apiGroups": ["phasegate.dev"], "resources": ["environments"], "verbs": ["*"] });
    tenancy.allow("environments", &["tina"], environments).await;
    let theirs: Api<Environment> = Api::namespaced(theirs.into_client(), &world.namespace);
    let environment: Environment = serde_json::from_value(environment).unwrap();
    tenancy
        .eventually("refused with the label's name", async || {
            theirs.create(&dry, &environment).await.is_err_and(|error| error.to_string().contains("metadata.labels"))
        })
        .await;
}
