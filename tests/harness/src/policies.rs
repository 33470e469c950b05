//! Policies of other people's clusters, which change or refuse what is written of some gateways in one namespace.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};

use crate::wait::eventually;
use crate::world::World;

/// What a policy does, as CEL has it.
#[derive(Clone, Copy, Debug)]
pub enum Does<'a> {
    /// Makes these changes, a list of JSON patches.
    Changes(&'a str),
    /// Refuses what this is not true of, in these words.
    Refuses(&'a str, &'a str),
}

/// A policy on objects of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// It concerns what has the label of a gateway whose name begins so.
    pub of: &'a str,
    /// The kind, as `group/plural`.
    pub resource: &'a str,
    /// `CREATE`, `UPDATE` and so on.
    pub operations: &'a [&'a str],
    /// What it does.
    pub does: Does<'a>,
}

/// Policies that are in force in a world's namespace. They end with this value.
pub struct Policies<'a> {
    world: &'a World,
    names: Vec<String>,
}

/// The kinds of a policy and of what binds it to a namespace.
const KINDS: [&str; 2] = ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"];

impl<'a> Policies<'a> {
    /// Returns once each of them is in force.
    pub async fn new(world: &'a World, policies: &[Policy<'_>]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = |_: &Policy| format!("{}-{}", world.namespace, NUMBER.fetch_add(1, Ordering::Relaxed));
        let held = Self { world, names: policies.iter().map(name).collect() };
        for (policy, name) in policies.iter().zip(&held.names) {
            held.make(name, policy).await;
        }
        join_all(policies.iter().zip(&held.names).map(|(policy, name)| held.until_in_force(name, policy))).await;
        held
    }

    async fn make(&self, name: &str, policy: &Policy<'_>) {
        let kind = match policy.does {
            Does::Changes(_) => KINDS[0],
            Does::Refuses(..) => KINDS[1],
        };
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
            Does::Changes(patches) => {
                let expression = format!("{IS_PROBE} ? {MARK} : ({patches})");
                spec["reinvocationPolicy"] = json!("IfNeeded");
                spec["mutations"] = json!([{ "patchType": "JSONPatch", "jsonPatch": { "expression": expression } }]);
            }
            Does::Refuses(unless, words) => {
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

    /// A policy needs a few seconds. It concerns a ConfigMap as well, which is not stored.
    async fn until_in_force(&self, name: &str, policy: &Policy<'_>) {
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let object: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": probe(name) } })).unwrap();
        let is_met = async || {
            let answer = self.world.api::<ConfigMap>().create(&dry_run, &object).await;
            let met = match (policy.does, answer) {
                (Does::Changes(_), Ok(stored)) => stored.data.is_some(),
                (Does::Refuses(_, words), Err(refused)) => refused.to_string().contains(words),
                _ => false,
            };
            met.then_some(())
        };
        let waited = eventually(Duration::from_millis(100), is_met).await;
        assert!(waited.is_some(), "{policy:?} is not in force");
    }
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
        let kinds = KINDS.map(|kind| format!("{0},{1}", plural(&format!("{kind}Binding")), plural(kind))).join(",");
        let mut kubectl = self.world.cluster.kubectl();
        kubectl.args(["delete", &kinds, "--ignore-not-found", "--wait=false"]).args(&self.names);
        if let Err(error) = crate::command::run(&mut kubectl) {
            eprintln!("policies are left behind: {error}");
        }
    }
}
