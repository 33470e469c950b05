//! The policies of deploy/policy allow an ApiGateway only Secrets and ConfigMaps that its author may read, and protect
//! the operator's metadata from forgery.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Config};
use phasegate::api::{ApiGateway, Environment};
use serde_json::{Value, json};

use crate::harness::{World, eventually, gateway, root, run};

/// A namespace of a cluster with the policies, and users who may write gateways in it.
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

    /// A client for gateways as this user.
    async fn of(&self, user: &str) -> Api<ApiGateway> {
        let kubeconfig = kube::config::Kubeconfig::read_from(&self.world.cluster.kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        config.auth_info.impersonate = Some(user.to_owned());
        Api::namespaced(Client::try_from(config).unwrap(), &self.world.namespace)
    }

    /// Creates a gateway as this user, as a dry run. Returns the API server's message if it refuses.
    async fn create(&self, user: &str, spec: &Value) -> Result<(), String> {
        let object = serde_json::from_value(gateway("shop", spec.clone())).unwrap();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        match self.of(user).await.create(&dry, &object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.message),
            Err(error) => panic!("{error}"),
        }
    }

    /// Patches the spec of a gateway as this user, as a dry run. Returns the API server's message if it refuses.
    async fn patched(&self, user: &str, name: &str, spec: &Value) -> Result<(), String> {
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        match self.of(user).await.patch(name, &dry, &Patch::Merge(json!({ "spec": spec }))).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.message),
            Err(error) => panic!("{error}"),
        }
    }

    /// Like `patched`, and removes the fields of `from` that `to` does not have.
    async fn moved(&self, user: &str, name: &str, from: &Value, to: &Value) -> Result<(), String> {
        let mut spec = to.clone();
        for field in from.as_object().unwrap().keys() {
            let gone = to.get(field).cloned().unwrap_or(Value::Null);
            spec[field] = gone;
        }
        self.patched(user, name, &spec).await
    }

    /// Waits until the policies are enforced: policies and roles take effect with a delay.
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

/// A place where a gateway can reference the Secret or ConfigMap `inner`.
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
            "{field}: you may not get {kind} inner in namespace {namespace}; use a {kind} that you may read, or ask \
             an author who may read it"
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
    // The policies do not refuse the operator's writes of the status.
    world.until_started("shop").await;

    let theirs = tenancy.of("colleague").await;
    let merge = |patch: Value| Patch::Merge(patch);
    let params = PatchParams::default();
    theirs.patch("shop", &params, &merge(json!({ "spec": { "replicas": 2 } }))).await.unwrap();
    theirs.patch_scale("shop", &params, &merge(json!({ "spec": { "replicas": 1 } }))).await.unwrap();
    let mut again = with_secrets(1)["env"].clone();
    again[0]["name"] = json!("AGAIN");
    let moved = json!({ "spec": { "env": again } });
    theirs.patch("shop", &params, &merge(moved)).await.unwrap();
    let added = json!({ "spec": { "envFrom": [{ "secretRef": { "name": "another" } }] } });
    let error = theirs.patch("shop", &params, &merge(added)).await.unwrap_err();
    assert!(error.to_string().contains("spec.envFrom.secretRef: you may not get Secret another"), "{error}");
}

/// The names of [`places`], in their order.
const MOVES: [&str; 8] = ["env", "envFrom", "volume", "pull", "tls", "configEnv", "configEnvFrom", "configVolume"];

/// Where a user without read access may move a reference to a Secret or ConfigMap: the old place, and the allowed new
/// ones.
const MAY_MOVE: [(&str, &[&str]); 8] = [
    // A reference to one key gives no access to the other keys.
    ("env", &["env"]),
    ("envFrom", &["env", "envFrom", "volume"]),
    ("volume", &["env", "envFrom", "volume"]),
    ("pull", &["pull", "tls"]),
    ("tls", &["pull", "tls"]),
    ("configEnv", &["configEnv"]),
    ("configEnvFrom", &["configEnv", "configEnvFrom", "configVolume"]),
    ("configVolume", &["configEnv", "configEnvFrom", "configVolume"]),
];

#[tokio::test]
async fn a_secret_or_config_map_moves_only_between_places_that_the_same_eyes_see() {
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
                let sentence = format!("{}: you may not get {} inner in namespace", place(to).field, place(to).kind);
                assert!(said.as_ref().is_err_and(|said| said.contains(&sentence)), "{from} to {to}: {said:?}");
            }
        }
    }
    for (reference, kind, one, all) in
        [("secretKeyRef", "Secret", "env", "volume"), ("configMapKeyRef", "ConfigMap", "configenv", "configvolume")]
    {
        let key = json!({ reference: { "name": "inner", "key": "admin" } });
        let another = json!({ "env": [{ "name": "DB", "valueFrom": key }] });
        let said = tenancy.patched("colleague", one, &another).await.unwrap_err();
        let sentence = format!("spec.env[DB].valueFrom.{reference}: you may not get {kind} inner");
        assert!(said.contains(&sentence), "{said}");
        assert_eq!(tenancy.patched("colleague", all, &another).await, Ok(()), "it is seen there");
    }
    // An unchanged reference does not hide a second reference to the same Secret.
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
    let keys = |i| json!({ "name": format!("E{i}"), "valueFrom": { "secretKeyRef": { "name": "s0", "key": format!("k{i}") } } });
    let one = json!({ "image": "acme/gateway:1", "env": (0..20).map(keys).collect::<Vec<_>>() });
    assert_eq!(tenancy.create("reader", &one).await, Ok(()), "twenty keys of one");
    // Allowed references do not hide one that is not allowed.
    let mut nine = with_secrets(9);
    nine["imagePullSecrets"] = json!([{ "name": "another" }]);
    let said = tenancy.create("reader", &nine).await.unwrap_err();
    assert!(said.contains("spec.imagePullSecrets: you may not get Secret another"), "{said}");
    tenancy
        .eventually("a hundred allowed", async || tenancy.create("colleague", &with_secrets(100)).await.is_ok())
        .await;
}

/// The operator's metadata as a tenant would forge it, and the field that the refusal names.
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
        assert!(refused.contains(field) && refused.contains("do not change it"), "{refused}");
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let refused = theirs.patch("shop", &params, &patch).await.unwrap_err().to_string();
        assert!(refused.contains(field), "{refused}");
        tenancy
            .eventually("allowed to who may write the status", async || {
                like_the_operator.create(&dry, &made).await.is_ok()
            })
            .await;
    }
    // Tenants cannot change or remove the operator's existing metadata, except the finalizer. They can write the
    // metadata of other clients.
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

#[tokio::test]
async fn lists_of_the_metadata_have_an_end() {
    let tenancy = Tenancy::new("lists").await;
    let theirs = tenancy.of("tina").await;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let labels = |count: usize| -> Value {
        (0..count).map(|number| (format!("example.com/{number}"), json!("x"))).collect::<serde_json::Map<_, _>>().into()
    };
    let finalizers = |count: usize| json!((0..count).map(|number| format!("example.com/{number}")).collect::<Vec<_>>());
    let owners = |count: usize| {
        let owner =
            |number| json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": format!("{number}") });
        json!((0..count).map(owner).collect::<Vec<_>>())
    };
    let made = |field: &str, list: Value| -> ApiGateway {
        let mut object = gateway("shop", json!({ "image": "acme/gateway:1", "state": "Stopped" }));
        object["metadata"][field] = list;
        serde_json::from_value(object).unwrap()
    };
    for (field, fits, too_many, sentence) in [
        ("labels", labels(64), labels(65), "metadata.labels: an object may have at most 64 labels"),
        ("finalizers", finalizers(16), finalizers(17), "metadata.finalizers: an object may have at most 16 finalizers"),
        ("ownerReferences", owners(16), owners(17), "metadata.ownerReferences: an object may have at most 16 owners"),
    ] {
        tenancy
            .eventually("refused with the field's name", async || {
                let refused = theirs.create(&dry, &made(field, too_many.clone())).await;
                refused.is_err_and(|error| error.to_string().contains(sentence))
            })
            .await;
        theirs.create(&dry, &made(field, fits)).await.unwrap();
    }
}
