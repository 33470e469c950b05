//! Admission policies as other teams install them: they change or refuse writes of some gateways' objects in
//! one namespace.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};

use crate::wait::eventually;
use crate::world::World;

/// The effect of a policy, in CEL.
#[derive(Clone, Copy, Debug)]
pub enum PolicyEffect<'a> {
    /// Applies these changes, a list of JSON patches.
    Changes(&'a str),
    /// Refuses a write unless this expression is true, with this message.
    Refuses(&'a str, &'a str),
}

/// A policy for objects of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The policy applies to objects with the label of a gateway that has this prefix in its name.
    pub of: &'a str,
    /// The kind, as `group/plural`.
    pub resource: &'a str,
    /// `CREATE`, `UPDATE` and so on.
    pub operations: &'a [&'a str],
    /// Its effect.
    pub does: PolicyEffect<'a>,
}

/// Policies in effect in a world's namespace. They are removed when this value is dropped.
pub struct Policies<'a> {
    world: &'a World,
    /// Each policy's kind and name. The oldest supported Kubernetes does not serve each kind.
    policies: Vec<(&'static str, String)>,
}

impl PolicyEffect<'_> {
    /// The kind of a policy with this effect.
    fn kind(self) -> &'static str {
        match self {
            Self::Changes(_) => "MutatingAdmissionPolicy",
            Self::Refuses(..) => "ValidatingAdmissionPolicy",
        }
    }
}

impl<'a> Policies<'a> {
    /// Returns when each policy is in effect.
    pub async fn new(world: &'a World, policies: &[Policy<'_>]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let named = |policy: &Policy| {
            (policy.does.kind(), format!("{}-{}", world.namespace, NUMBER.fetch_add(1, Ordering::Relaxed)))
        };
        let held = Self { world, policies: policies.iter().map(named).collect() };
        for (policy, (_, name)) in policies.iter().zip(&held.policies) {
            held.make(name, policy).await;
        }
        let made = policies.iter().zip(&held.policies);
        join_all(made.map(|(policy, (_, name))| held.until_in_force(name, policy))).await;
        held
    }

    async fn make(&self, name: &str, policy: &Policy<'_>) {
        let kind = policy.does.kind();
        let (group, plural) = policy.resource.split_once('/').unwrap();
        let rule = |group: &str, plural: &str, operations: &[&str]| json!({ "apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": [plural] });
        let of =
            format!("object.metadata.?labels[?\"phasegate.dev/gateway\"].orValue(\"\").startsWith({:?})", policy.of);
        let concerned = format!("{IS_PROBE} ? object.metadata.name == {:?} : {of}", probe(name));
        let mut spec = json!({
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [
                rule(group, plural, policy.operations), rule("", "configmaps", &["CREATE"]),
            ] },
            "matchConditions": [{ "name": "concerned", "expression": concerned }],
        });
        let mut binding = json!({
            "policyName": name,
            "matchResources": { "namespaceSelector": {
                "matchLabels": { "kubernetes.io/metadata.name": self.world.namespace },
            } },
        });
        match policy.does {
            PolicyEffect::Changes(patches) => {
                let expression = format!("{IS_PROBE} ? {MARK} : ({patches})");
                spec["reinvocationPolicy"] = json!("IfNeeded");
                spec["mutations"] = json!([{ "patchType": "JSONPatch", "jsonPatch": { "expression": expression } }]);
            }
            PolicyEffect::Refuses(unless, words) => {
                let expression = format!("{IS_PROBE} ? false : ({unless})");
                spec["validations"] = json!([{ "expression": expression, "message": words }]);
                binding["validationActions"] = json!(["Deny"]);
            }
        }
        self.create(kind, name, spec).await;
        self.create(&format!("{kind}Binding"), name, binding).await;
    }

    async fn create(&self, kind: &str, name: &str, spec: Value) {
        let of_api = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        let resource = ApiResource::from_gvk_with_plural(&of_api, &plural(kind));
        let mut object = DynamicObject::new(name, &resource);
        object.data = json!({ "spec": spec });
        let api: Api<DynamicObject> = Api::all_with(self.world.client.clone(), &resource);
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// Removes them, and waits until they are no longer in effect.
    pub async fn lift(self) {
        let (world, policies) = (self.world, self.policies.clone());
        drop(self);
        for (_, name) in policies {
            let is_lifted = async || probed(world, &name).await.is_ok_and(|stored| stored.data.is_none()).then_some(());
            assert!(eventually(Duration::from_millis(100), is_lifted).await.is_some(), "{name} is still in force");
        }
    }

    /// A policy takes effect after a few seconds.
    async fn until_in_force(&self, name: &str, policy: &Policy<'_>) {
        let is_met = async || {
            let met = match (policy.does, probed(self.world, name).await) {
                (PolicyEffect::Changes(_), Ok(stored)) => stored.data.is_some(),
                (PolicyEffect::Refuses(_, words), Err(refused)) => refused.to_string().contains(words),
                _ => false,
            };
            met.then_some(())
        };
        let waited = eventually(Duration::from_millis(100), is_met).await;
        assert!(waited.is_some(), "{policy:?} is not in force");
    }
}

/// The result of a dry-run write of a ConfigMap to which the policy applies as well.
async fn probed(world: &World, policy: &str) -> kube::Result<ConfigMap> {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let object: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": probe(policy) } })).unwrap();
    world.api::<ConfigMap>().create(&dry_run, &object).await
}

const IS_PROBE: &str = "request.resource.resource == \"configmaps\"";
const MARK: &str = r#"[JSONPatch{op: "add", path: "/data", value: {"in": "force"}}]"#;

fn probe(policy: &str) -> String {
    format!("probe-{policy}")
}

fn plural(kind: &str) -> String {
    kind.strip_suffix("Policy").map_or_else(|| format!("{kind}s"), |of| format!("{of}Policies")).to_lowercase()
}

impl Drop for Policies<'_> {
    fn drop(&mut self) {
        let of = |(kind, name): &(&str, String)| {
            [format!("{}/{name}", plural(&format!("{kind}Binding"))), format!("{}/{name}", plural(kind))]
        };
        if self.policies.is_empty() {
            return;
        }
        let mut kubectl = self.world.cluster.kubectl();
        kubectl.args(["delete", "--ignore-not-found", "--wait=false"]).args(self.policies.iter().flat_map(of));
        if let Err(error) = crate::command::run(&mut kubectl) {
            eprintln!("policies are left behind: {error}");
        }
    }
}
