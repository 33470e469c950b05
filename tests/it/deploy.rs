//! The manifests of deploy/ install as documented, for the cluster or for one namespace, and uninstall without
//! leftovers.

use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ListParams, PostParams};
use phasegate::api::ApiGateway;
use serde_json::{Value, json};

use crate::harness::cluster::{Cluster, client_of};
use crate::harness::{World, environment, gateway, output, private_world, root, run, scratch, until};

const INSTALLED: &str = "phasegate-system";

fn apply(cluster: &Cluster, flags: &[&str], what: &str) {
    run(cluster.kubectl().args(["apply", "--validate=strict"]).args(flags).arg(root().join(what))).unwrap();
}

fn delete(cluster: &Cluster, flag: &str, what: &str) {
    run(cluster.kubectl().args(["delete", flag]).arg(root().join(what))).unwrap();
}

/// The path of a file in the cluster's folder. It is deleted with the cluster.
fn file_of(cluster: &Cluster, name: &str) -> std::path::PathBuf {
    cluster.operator_kubeconfig().with_file_name(name)
}

/// Strict validation refuses unknown fields.
#[tokio::test]
async fn what_is_installed_as_documented_runs_gateways_and_is_removed_without_a_trace() {
    let world = private_world("install").await;
    let cluster = &world.cluster;
    let systems = Api::<Deployment>::namespaced(world.client.clone(), INSTALLED);

    apply(cluster, &["--server-side", "-f"], "crds");
    apply(cluster, &["-k"], "deploy/base");
    apply(cluster, &["-k"], "deploy/policy");
    apply(cluster, &["-f"], "deploy/samples/namespaces.yaml");
    apply(cluster, &["-f"], "deploy/samples");

    // Its pods pass Pod Security admission in a restricted namespace.
    let available =
        |object: &Deployment| object.status.as_ref().and_then(|status| status.available_replicas) == Some(2);
    let deployment = until(systems, "phasegate", "available twice", available).await;
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    let container = &pod.containers[0];
    let mut arguments: Vec<String> = container.args.clone().unwrap();
    assert!(arguments.contains(&"--http-bind=0.0.0.0:8080".to_owned()), "{arguments:?}");
    assert_eq!(container.ports.as_ref().unwrap()[0].container_port, 8080);
    // No container really runs in this cluster. The program runs outside of it instead: as the ServiceAccount, with
    // the arguments of the Deployment, on another address.
    arguments.retain(|argument| !argument.starts_with("--http-bind"));
    arguments.push("--http-bind=127.0.0.1:0".to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let account = file_of(cluster, "installed.kubeconfig");
    cluster.write_account_kubeconfig(INSTALLED, pod.service_account_name.as_deref().unwrap(), &account).unwrap();
    let log = std::fs::File::create(file_of(cluster, "installed.log")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_phasegate"));
    let mut operator = cluster.supervise(&account, program, &arguments, log).unwrap();

    let own = Api::namespaced(world.client.clone(), INSTALLED);
    until(own, "phasegate", "held", |lease: &Lease| lease.spec.as_ref().unwrap().holder_identity.is_some()).await;
    world.create::<phasegate::api::Environment>(environment("dev", "shop", None)).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "replicas": 2, "host": "a.example.com" }))).await;
    world.until_started("shop").await;

    // The order of docs/src/how-to/install.md: gateways first, while the operator and the policy still exist.
    run(cluster.kubectl().args(["delete", "apigateways,environments", "--all", "--all-namespaces"])).unwrap();
    world.until_nothing_is_left().await;
    operator.end().unwrap();
    delete(cluster, "-k", "deploy/policy");
    delete(cluster, "-k", "deploy/base");
    delete(cluster, "-f", "crds");

    assert_eq!(Api::<Namespace>::all(world.client.clone()).get_opt(INSTALLED).await.unwrap(), None);
    let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,\
                 roles,rolebindings,serviceaccounts,deployments,networkpolicies,poddisruptionbudgets,leases,pods";
    // The ServiceAccount that the harness created for the operator has an additional label, which excludes it.
    let ours = "app.kubernetes.io/name=phasegate,!phasegate.dev/test-run";
    let left = output(cluster.kubectl().args(["get", kinds, "--all-namespaces", "-o", "name", "-l", ours])).unwrap();
    assert_eq!(left, "");
    let definitions = Api::<CustomResourceDefinition>::all(world.client.clone());
    let left = definitions.list(&ListParams::default()).await.unwrap();
    assert!(left.iter().all(|definition| definition.spec.group != "phasegate.dev"), "{left:?}");
}

#[tokio::test]
async fn the_namespaced_variant_works_in_its_namespace_and_is_refused_everywhere_else() {
    // The namespace of deploy/namespaced/settings.yaml.
    let world = World::audited_named("gateways").await;
    let cluster = &world.cluster;
    apply(cluster, &["-k"], "deploy/namespaced");
    let system = Api::<Deployment>::namespaced(world.client.clone(), INSTALLED);
    let pod = system.get("phasegate").await.unwrap().spec.unwrap().template.spec.unwrap();
    let namespaces = pod.containers[0].env.as_ref().unwrap().iter().find(|env| env.name == "PHASEGATE_NAMESPACES");
    assert_eq!(namespaces.unwrap().value.as_ref(), Some(&world.namespace));
    let account = file_of(cluster, "namespaced.kubeconfig");
    cluster.write_account_kubeconfig(INSTALLED, "phasegate", &account).unwrap();

    let _operator = world.operator_as(&account, &["--leader-election"]);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "replicas": 2, "host": "b.example.com" }))).await;
    world.until_started("shop").await;

    let theirs = client_of(&account).await.unwrap();
    let elsewhere = World::audited("elsewhere").await;
    let all = ListParams::default();
    let refused = |error: kube::Error| {
        let kube::Error::Api(status) = error else { panic!("{error}") };
        assert_eq!(status.code, 403, "{status:?}");
    };
    for namespace in [elsewhere.namespace.as_str(), INSTALLED, "default"] {
        refused(Api::<ApiGateway>::namespaced(theirs.clone(), namespace).list(&all).await.unwrap_err());
        let service = json!({ "metadata": { "name": "shop" }, "spec": { "ports": [{ "port": 80 }] } });
        let service: Service = serde_json::from_value(service).unwrap();
        let services = Api::<Service>::namespaced(theirs.clone(), namespace);
        refused(services.create(&PostParams::default(), &service).await.unwrap_err());
    }
    refused(Api::<ApiGateway>::all(theirs.clone()).list(&all).await.unwrap_err());
    refused(Api::<Namespace>::all(theirs.clone()).list(&all).await.unwrap_err());
    refused(Api::<Secret>::namespaced(theirs, &world.namespace).list(&all).await.unwrap_err());
    delete(cluster, "-k", "deploy/namespaced");
}

/// The objects that kustomize builds from a folder.
fn built(world: &World, folder: &Path) -> Vec<Value> {
    let text = output(world.cluster.kubectl().arg("kustomize").arg(folder)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

/// Writes a kustomize overlay of folders of deploy/, as resources or components.
pub fn overlay(name: &str, folders: &[impl AsRef<str>]) -> PathBuf {
    let overlay = scratch(&format!("overlay-{name}")).unwrap();
    let up = "../".repeat(overlay.components().count() - 1);
    let root = root().canonicalize().unwrap();
    let (mut resources, mut components) = (Vec::new(), Vec::new());
    for folder in folders {
        let folder = root.join(folder.as_ref());
        let kustomization = std::fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
        let list = if kustomization.contains("\nkind: Component\n") { &mut components } else { &mut resources };
        list.push(format!("{up}{}", folder.strip_prefix("/").unwrap().display()));
    }
    let text = json!({ "resources": resources, "components": components }).to_string();
    std::fs::write(overlay.join("kustomization.yaml"), text).unwrap();
    overlay
}

fn the<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let ours = |object: &&Value| object["metadata"]["name"] == "phasegate" && object["kind"] == kind;
    objects.iter().find(ours).unwrap()
}

/// Asserts that the program accepts the values of these variables of a pod: it fails for lack of a cluster, not for an
/// invalid value. Returns the values.
pub fn taken_by_the_program(pod: &Value, names: &[&str]) -> Vec<String> {
    let env = pod["containers"][0]["env"].as_array().unwrap();
    let value =
        |name: &&str| env.iter().find(|set| set["name"] == **name).unwrap()["value"].as_str().unwrap().to_owned();
    let values: Vec<String> = names.iter().map(value).collect();
    let mut operator = std::process::Command::new(env!("CARGO_BIN_EXE_phasegate"));
    operator.envs(names.iter().zip(&values)).args(["run", "--kubeconfig", "/nowhere"]);
    assert_eq!(operator.output().unwrap().status.code(), Some(4));
    values
}

/// Checks what kustomize builds from deploy/hardened, a variant of deploy/base.
#[tokio::test]
async fn the_hardened_variant_narrows_and_leaves_for_the_api_server_alone() {
    let world = World::new("hardened").await;
    let objects = built(&world, &root().join("deploy/hardened"));

    let pod = &the(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    let names = ["PHASEGATE_ALLOWED_NODE_LABELS", "PHASEGATE_ALLOWED_TOLERATIONS", "PHASEGATE_MAX_START_DEADLINE"];
    taken_by_the_program(pod, &names);

    let rules = the(&objects, "NetworkPolicy")["spec"]["egress"].as_array().unwrap();
    let beside_names: Vec<_> = rules.iter().filter(|rule| rule["ports"][0]["port"] != 53).collect();
    assert_eq!(beside_names.len(), 1, "{rules:?}");
    assert_eq!(beside_names[0]["to"], json!([{ "ipBlock": { "cidr": "10.0.0.1/32" } }]));
}

/// A cluster administrator with tenants adds this component to a variant, in an overlay as in the component's comment.
#[tokio::test]
async fn the_component_for_tenants_gives_hosts_by_permission_and_so_many() {
    let world = World::new("tenants-variant").await;
    let objects = built(&world, &overlay("for-tenants", &["deploy/base", "deploy/tenants"]));

    let pod = &the(&objects, "Deployment")["spec"]["template"]["spec"];
    let names = ["PHASEGATE_HOSTS_NEED_PERMISSION", "PHASEGATE_MAX_HOSTS_PER_NAMESPACE"];
    assert_eq!(taken_by_the_program(pod, &names), ["true", "100"]);
}
