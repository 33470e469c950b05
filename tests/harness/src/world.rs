//! The environment of one test: a namespace, an operator that watches it, and ways to wait.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, ResourceQuota, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::{NamespaceResourceScope, api};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use phasegate_core::api::{ApiGateway, Phase, State, condition};
use phasegate_core::children::HttpRoute;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::{Cluster, RUN_LABEL, operator_namespace, run_id};
use crate::command::run;
use crate::history::unasked;
use crate::hosted_cluster::{HostedCluster, audited, shared};
use crate::objects::{children, is_true, path};
use crate::operator::{Operator, log_of};
use crate::paths::operator_program;
use crate::recording::Recording;
use crate::wait::{DEADLINE, eventually, until};

/// A namespace on a cluster that other tests may use as well.
pub struct World {
    /// The cluster.
    pub cluster: Arc<HostedCluster>,
    /// The administrator's client.
    pub client: Client,
    /// The namespace's name.
    pub namespace: String,
    remove: bool,
}

/// A world on a private cluster, for tests that count requests.
pub async fn private_world(test: &str) -> World {
    private_world_on(test, || {
        let cluster = Cluster::private()?;
        cluster.install_crds()?;
        Ok(cluster)
    })
    .await
}

/// A world on a private cluster that `start` starts. The cluster ends with the test. Few of them run at once,
/// because even an idle cluster is a load.
pub async fn private_world_on(test: &str, start: fn() -> anyhow::Result<Cluster>) -> World {
    World::on(HostedCluster::private(start).await, test).await
}

impl World {
    /// A new namespace on the shared cluster.
    pub async fn new(test: &str) -> Self {
        let cluster = tokio::task::spawn_blocking(shared).await.unwrap();
        Self::on(cluster, test).await
    }

    /// A new namespace on the cluster with an audit log.
    pub async fn audited(test: &str) -> Self {
        Self::on(tokio::task::spawn_blocking(audited).await.unwrap(), test).await
    }

    /// A namespace of this name on the cluster with an audit log.
    pub async fn audited_named(namespace: &str) -> Self {
        Self::named(tokio::task::spawn_blocking(audited).await.unwrap(), namespace.to_owned()).await
    }

    async fn on(cluster: Arc<HostedCluster>, test: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::named(cluster, format!("{test}-{}-{number}", std::process::id())).await
    }

    async fn named(cluster: Arc<HostedCluster>, namespace: String) -> Self {
        let client = cluster.client().await.unwrap();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let object = json!({
            "metadata": {
                "name": namespace,
                "labels": { "pod-security.kubernetes.io/enforce": "restricted", RUN_LABEL: run_id() },
            },
        });
        namespaces.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        let remove = cluster.is_existing();
        let world = Self { cluster, client, namespace, remove };
        // Pods need this account, and the controller manager creates it after the namespace.
        world.until::<api::core::v1::ServiceAccount>("default", "the service account", |_| true).await;
        world
    }

    /// Another namespace on the same cluster.
    pub async fn beside(&self, test: &str) -> Self {
        Self::on(Arc::clone(&self.cluster), test).await
    }

    /// A namespace of this name on the same cluster.
    pub async fn beside_named(&self, namespace: &str) -> Self {
        Self::named(Arc::clone(&self.cluster), namespace.to_owned()).await
    }

    /// The objects of a kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The children of a kind in this namespace, as dynamic objects.
    pub fn of_kind(&self, kind: &str) -> Api<DynamicObject> {
        let resource = match kind {
            "Deployment" => ApiResource::erase::<Deployment>(&()),
            "Service" => ApiResource::erase::<Service>(&()),
            "Ingress" => ApiResource::erase::<Ingress>(&()),
            "HTTPRoute" => ApiResource::erase::<HttpRoute>(&()),
            "PodDisruptionBudget" => ApiResource::erase::<PodDisruptionBudget>(&()),
            other => panic!("{other} is no kind of child"),
        };
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Starts an operator for this namespace.
    pub fn operator(&self) -> Operator {
        self.operator_with(&[])
    }

    /// Starts an operator for this namespace with further flags.
    pub fn operator_with(&self, flags: &[&str]) -> Operator {
        self.operator_as(&self.cluster.operator_kubeconfig(), flags)
    }

    /// Starts an operator for this namespace that takes part in leader election. The Lease has this namespace's
    /// name and is in the namespace of the operator's ServiceAccount.
    pub fn candidate(&self, flags: &[&str]) -> Operator {
        let namespace = operator_namespace();
        let mut all = vec!["--leader-election", "--lease-namespace", &namespace, "--lease-name", &self.namespace];
        all.extend(flags);
        self.operator_with(&all)
    }

    /// Starts an operator for this namespace that sends events to a URL. Its positions are in a Lease of the
    /// namespace's name and `-events`.
    pub fn sender(&self, url: &str, flags: &[&str]) -> Operator {
        let namespace = operator_namespace();
        let mut all =
            vec!["--events-sink", url, "--lease-namespace", &namespace, "--lease-name", self.namespace.as_str()];
        all.extend(flags);
        self.operator_with(&all)
    }

    /// The Leases of candidates.
    pub fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &operator_namespace())
    }

    /// Starts an operator for this namespace with a kubeconfig.
    pub fn operator_as(&self, kubeconfig: &Path, flags: &[&str]) -> Operator {
        self.operator_of(&operator_program().unwrap(), kubeconfig, flags)
    }

    /// Starts an operator of an older version for this namespace: the program in `PHASEGATE_OLDER`, or the
    /// current one if it is unset.
    pub fn older_operator(&self) -> Operator {
        let older = std::env::var_os("PHASEGATE_OLDER").filter(|program| !program.is_empty());
        let program = older.map_or_else(|| operator_program().unwrap(), PathBuf::from);
        self.operator_of(&program, &self.cluster.operator_kubeconfig(), &[])
    }

    fn operator_of(&self, program: &Path, kubeconfig: &Path, flags: &[&str]) -> Operator {
        let mut arguments =
            vec!["run", "--namespaces", self.namespace.as_str(), "--log", "info,phasegate=debug,kube=warn"];
        arguments.extend(flags);
        Operator::start(program, &self.cluster, kubeconfig, &arguments, &log_of(&self.namespace))
    }

    /// The log of all operators of this namespace.
    pub fn operator_log(&self) -> String {
        std::fs::read_to_string(log_of(&self.namespace)).unwrap()
    }

    /// Applies a gateway as a user does, by server-side apply.
    pub async fn apply(&self, gateway: &Value) -> ApiGateway {
        self.apply_as("kubectl", gateway).await.unwrap()
    }

    /// Applies a gateway under a field manager's name.
    pub async fn apply_as(&self, manager: &str, gateway: &Value) -> Result<ApiGateway, kube::Error> {
        let name = gateway["metadata"]["name"].as_str().unwrap();
        let params = PatchParams::apply(manager).force();
        self.api().patch(name, &params, &Patch::Apply(gateway)).await
    }

    /// Creates any object as an administrator.
    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Serialize
            + Clone
            + std::fmt::Debug,
    {
        self.api().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    /// Creates a ResourceQuota and waits until the API server enforces it, which takes a moment.
    pub async fn quota(&self, name: &str, hard: Value) {
        let mut spec = json!({ "hard": hard });
        // No test creates a claim, so that a refused claim shows that the quota is enforced.
        spec["hard"]["persistentvolumeclaims"] = json!("0");
        self.create::<ResourceQuota>(json!({ "metadata": { "name": name }, "spec": spec })).await;
        let resources = json!({ "requests": { "storage": "1Mi" } });
        let spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": resources });
        let probe: PersistentVolumeClaim =
            serde_json::from_value(json!({ "metadata": { "name": "probe" }, "spec": spec })).unwrap();
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let exceeded = format!("exceeded quota: {name}");
        let holds = eventually(Duration::from_millis(50), async || {
            let refused = self.api::<PersistentVolumeClaim>().create(&dry_run, &probe).await.err()?;
            refused.to_string().contains(&exceeded).then_some(())
        });
        assert!(holds.await.is_some(), "the quota {name} does not hold");
    }

    /// Waits until the API server authorizes a request of a user in these groups. New roles and bindings take a
    /// moment.
    pub async fn until_allowed(&self, user: &str, groups: &[&str], asked: Value) {
        self.until_authorized(user, groups, asked, true).await;
    }

    /// Waits until the API server denies a request of a user in these groups, whose permission was removed.
    pub async fn until_denied(&self, user: &str, groups: &[&str], asked: Value) {
        self.until_authorized(user, groups, asked, false).await;
    }

    async fn until_authorized(&self, user: &str, groups: &[&str], asked: Value, wanted: bool) {
        let review = json!({ "spec": { "user": user, "groups": groups, "resourceAttributes": asked } });
        let review = serde_json::from_value(review).unwrap();
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answered = eventually(Duration::from_millis(50), async || {
            let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
            answer.status.is_some_and(|status| status.allowed == wanted).then_some(())
        });
        assert!(answered.await.is_some(), "that {user} is allowed {asked} does not become {wanted}");
    }

    /// Merges a patch into a gateway.
    pub async fn patch(&self, name: &str, patch: Value) -> ApiGateway {
        self.patch_object(name, patch).await
    }

    /// Merges a patch into a gateway once the API server accepts it, because a changed definition takes a
    /// moment.
    pub async fn until_patched(&self, name: &str, patch: Value) -> ApiGateway {
        let api = self.api::<ApiGateway>();
        let patch = Patch::Merge(&patch);
        let taken = eventually(Duration::from_millis(200), async || {
            api.patch(name, &PatchParams::default(), &patch).await.ok()
        });
        taken.await.unwrap_or_else(|| panic!("the API server does not take {patch:?} for {name}"))
    }

    /// Merges a patch into a gateway's status, as another operator might.
    pub async fn patch_status(&self, name: &str, patch: Value) {
        self.patch_status_of::<ApiGateway>(name, patch).await;
    }

    /// Merges a patch into the status of an object of another kind.
    pub async fn patch_status_of<K: Resource<DynamicType = ()>>(&self, name: &str, patch: Value) {
        let resource = kube::api::ApiResource::erase::<K>(&());
        let api: Api<kube::api::DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Reads a gateway.
    pub async fn gateway(&self, name: &str) -> ApiGateway {
        self.api().get(name).await.unwrap()
    }

    /// Deletes a gateway and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        self.api::<ApiGateway>().delete(name, &DeleteParams::default()).await.unwrap();
        self.until_gone::<ApiGateway>(name).await;
    }

    /// Waits until an object satisfies `wanted`, and returns it.
    pub async fn until<K>(&self, name: &str, what: &str, wanted: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Serialize
            + std::fmt::Debug
            + Send
            + 'static,
    {
        until(self.api(), name, what, wanted).await
    }

    /// Waits until a gateway satisfies `wanted`, and asserts that its history contains only requested
    /// transitions.
    async fn until_gateway(&self, name: &str, what: &str, wanted: impl Fn(&ApiGateway) -> bool) -> ApiGateway {
        let gateway = self.until(name, what, wanted).await;
        if let Some(unasked) = unasked(&gateway) {
            panic!("{name} came to {what}, but {unasked}: {:#?}", path(&gateway));
        }
        gateway
    }

    /// Waits until a gateway is in a phase and state.
    pub async fn until_phase(&self, name: &str, phase: Phase, state: State) -> ApiGateway {
        self.until_gateway(name, &format!("{phase} with state {}", state.as_str()), |gateway: &ApiGateway| {
            gateway
                .status
                .as_ref()
                .is_some_and(|status| status.phase == Some(phase.clone()) && status.state == Some(state))
        })
        .await
    }

    /// Waits until a gateway has started and its attempt is complete.
    pub async fn until_started(&self, name: &str) -> ApiGateway {
        self.until_phase(name, Phase::Started, State::Running).await
    }

    /// Waits until a gateway is Ready in the generation of `changed`, a version that the test wrote.
    pub async fn until_ready_again(&self, changed: &ApiGateway) -> ApiGateway {
        self.until_gateway(&changed.name_any(), "the new generation, ready", |gateway: &ApiGateway| {
            is_true(gateway, condition::READY)
                && gateway.status.as_ref().unwrap().observed_generation == changed.metadata.generation
        })
        .await
    }

    /// Waits until a condition of a gateway has a status and a reason.
    pub async fn until_condition(&self, name: &str, type_: &str, status: &str, reason: &str) -> ApiGateway {
        self.until_gateway(name, &format!("{type_}={status} {reason}"), |gateway: &ApiGateway| {
            gateway
                .status
                .iter()
                .flat_map(|status| &status.conditions)
                .any(|condition| condition.type_ == type_ && condition.status == status && condition.reason == reason)
        })
        .await
    }

    /// Waits until an object is gone.
    pub async fn until_gone<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + 'static,
    {
        let waited = tokio::time::timeout(DEADLINE, async {
            let mut objects = Box::pin(watcher::watch_object(self.api::<K>(), name));
            loop {
                match objects.try_next().await {
                    Ok(object) if object.as_ref().expect("the watch goes on").is_none() => return,
                    Ok(_) => {}
                    Err(error) => eprintln!("watching {name}: {error}"),
                }
            }
        })
        .await;
        assert!(waited.is_ok(), "{} {name} is still there after {DEADLINE:?}", K::kind(&()));
    }

    /// All objects of this namespace's gateways in the API server, as `Kind name`.
    pub async fn children(&self) -> Vec<String> {
        children(&self.client, &self.namespace, "phasegate.dev/gateway").await.unwrap()
    }

    /// Waits until no object of any gateway of this namespace is left.
    pub async fn until_nothing_is_left(&self) {
        let gone = async || self.children().await.is_empty().then_some(());
        let waited = eventually(Duration::from_millis(200), gone).await;
        assert!(waited.is_some(), "left behind: {:?}", self.children().await);
    }

    /// The Events about a gateway, as `Type Reason`, once one of them has this reason.
    pub async fn until_event(&self, name: &str, reason: &str) -> Vec<String> {
        self.until_event_about("ApiGateway", name, reason).await
    }

    /// The Events about an object of any kind, as `Type Reason`.
    pub async fn events_about(&self, kind: &str, name: &str) -> Vec<String> {
        let events = self.api::<Event>().list(&ListParams::default()).await.unwrap();
        let about = |event: &&Event| {
            let regarding = event.regarding.as_ref();
            regarding.is_some_and(|object| object.kind.as_deref() == Some(kind) && object.name.as_deref() == Some(name))
        };
        let line = |event: &Event| {
            format!("{} {}", event.type_.clone().unwrap_or_default(), event.reason.clone().unwrap_or_default())
        };
        events.iter().filter(about).map(line).collect()
    }

    /// The Events about an object of any kind, as `Type Reason`, once one of them has this reason.
    pub async fn until_event_about(&self, kind: &str, name: &str, reason: &str) -> Vec<String> {
        let waited = eventually(Duration::from_millis(200), async || {
            let events = self.events_about(kind, name).await;
            events.iter().any(|event| event.ends_with(&format!(" {reason}"))).then_some(events)
        })
        .await;
        waited.unwrap_or_else(|| panic!("no Event {reason} about {kind} {name}"))
    }

    /// Merges a patch into an object of any kind as an administrator.
    pub async fn patch_object<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// Makes the node report a gateway's pods as ready, or as not ready.
    pub async fn set_ready(&self, name: &str, ready: bool) {
        let pods = self.api::<Pod>();
        let status = if ready { "True" } else { "False" };
        let condition = |type_: &str| json!({ "type": type_, "status": status });
        let patch = json!({ "status": { "conditions": [condition("Ready"), condition("ContainersReady")] } });
        let of_gateway = ListParams::default().labels(&format!("phasegate.dev/gateway={name}"));
        for pod in pods.list(&of_gateway).await.unwrap() {
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await.unwrap();
        }
    }

    /// Records every version of an object from now on.
    pub async fn record<K>(&self, name: &str) -> Recording<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        Recording::begin(self.api(), name).await
    }

    /// Writes a manifest to a file and runs kubectl on it.
    pub fn kubectl(&self, arguments: &[&str]) -> std::process::Output {
        self.cluster.kubectl().args(["-n", &self.namespace]).args(arguments).output().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.remove {
            let _ = run(self.cluster.kubectl().args(["delete", "namespace", "--wait=false", &self.namespace]));
        }
        if std::thread::panicking() {
            eprintln!("the operator's log is {}", log_of(&self.namespace).display());
        }
    }
}
