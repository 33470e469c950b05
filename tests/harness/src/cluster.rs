//! The cluster of the tests and the demo: a local control plane, or, only with `USE_EXISTING_CLUSTER=true`, the
//! cluster of the current context.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::command::{output, run};
use crate::paths::root;
use crate::supervised::{Supervised, execute, module, supervisor};

/// The folder with the custom resource definitions of the Gateway API.
const GATEWAY_API: &str = "tests/gateway-api";

/// A running cluster. It ends when this value is dropped, or when the process ends for any reason, because its
/// supervisor watches a pipe.
pub struct Cluster {
    /// The kubeconfig of an administrator.
    pub kubeconfig: PathBuf,
    /// A kubectl of a matching version.
    pub kubectl: PathBuf,
    /// The program that supervises processes.
    supervisor: PathBuf,
    // The folder for files of this run. It is removed with the run.
    folder: PathBuf,
    // Its drop ends the cluster. On an existing cluster, it removes the created objects.
    _supervised: Supervised,
    existing: bool,
}

/// The label of namespaces and cluster-scoped objects that were created for this run and are removed with it.
pub const RUN_LABEL: &str = "phasegate.dev/test-run";

/// The label of roles and accounts for a registry outside Kubernetes.
pub const REGISTRY_ACCOUNT_LABEL: &str = "phasegate.dev/test-registry";

/// The value of [`RUN_LABEL`] in this run.
pub fn run_id() -> String {
    std::process::id().to_string()
}

/// Whether the tests use the cluster of the current context.
pub fn is_existing() -> bool {
    std::env::var("USE_EXISTING_CLUSTER").is_ok_and(|value| value == "true")
}

impl Cluster {
    /// Starts a cluster, or connects to the existing one.
    pub fn start() -> Result<Self> {
        let supervisor = supervisor()?;
        if is_existing() { Self::existing(supervisor) } else { Self::local(supervisor, &[]) }
    }

    /// Starts a cluster for the caller alone.
    pub fn private() -> Result<Self> {
        Self::local(supervisor()?, &[])
    }

    /// Starts a cluster for the caller alone. Its API server writes an audit log.
    pub fn audited() -> Result<Self> {
        Self::local(supervisor()?, &["--audit-log"])
    }

    /// The audit log of an audited cluster: one JSON object on each line.
    pub fn audit_log(&self) -> PathBuf {
        self.kubeconfig.with_file_name("audit.log")
    }

    fn existing(supervisor: PathBuf) -> Result<Self> {
        let kubectl = PathBuf::from("kubectl");
        let context = Command::new(&kubectl).args(["config", "current-context"]).output();
        let context =
            context.context("USE_EXISTING_CLUSTER=true needs kubectl: https://kubernetes.io/docs/tasks/tools/")?;
        ensure!(context.status.success(), "USE_EXISTING_CLUSTER=true, but there is no current context");
        let kubeconfig = match std::env::var_os("KUBECONFIG") {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".kube/config"),
        };
        // The test runner would capture eprintln's output.
        writeln!(
            std::io::stderr(),
            "using the cluster of context {}",
            String::from_utf8_lossy(&context.stdout).trim()
        )?;
        let folder = std::env::temp_dir().join(format!("phasegate-run-{}", run_id()));
        DirBuilder::new().mode(0o700).create(&folder).with_context(|| folder.display().to_string())?;
        let supervised = remover(&kubectl, &folder)?;
        let cluster = Self { kubeconfig, kubectl, supervisor, folder, _supervised: supervised, existing: true };
        cluster.make_operator_account()?;
        Ok(cluster)
    }

    /// Starts a local cluster. It retries, because another process may take one of the ports between their
    /// choice and their use.
    fn local(supervisor: PathBuf, flags: &[&str]) -> Result<Self> {
        const TRIES: usize = 3;
        let mut tried = Self::local_once(supervisor.clone(), flags);
        for _ in 1..TRIES {
            if tried.is_ok() {
                break;
            }
            tried = Self::local_once(supervisor.clone(), flags);
        }
        tried
    }

    fn local_once(supervisor: PathBuf, flags: &[&str]) -> Result<Self> {
        let kubectl = built_kubectl(&supervisor)?;
        let mut supervised = Supervised::start(
            Command::new(&supervisor)
                .args(["run", "--until-stdin-closes"])
                .args(flags)
                .current_dir(module())
                .stdout(Stdio::piped()),
        )?;
        let stdout = supervised.stdout().context("the supervisor has no stdout")?;
        for line in BufReader::new(stdout).lines() {
            if let Some(path) = line?.strip_prefix("export KUBECONFIG=") {
                let kubeconfig = PathBuf::from(path);
                let folder = kubeconfig.parent().context("a kubeconfig is in a folder")?.to_owned();
                let cluster =
                    Self { kubeconfig, kubectl, supervisor, folder, _supervised: supervised, existing: false };
                cluster.make_operator_account()?;
                return Ok(cluster);
            }
        }
        bail!("the local control plane did not start; see above")
    }

    /// A kubectl command for this cluster.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Installs the custom resource definitions and waits until they are served.
    pub fn install_crds(&self) -> Result<()> {
        self.install_definitions("crds")
    }

    /// Installs the definitions in a folder of the repository.
    pub fn install_definitions(&self, folder: &str) -> Result<()> {
        let crds = root().join(folder);
        run(self.kubectl().args(["apply", "--server-side", "--force-conflicts", "-f"]).arg(&crds))?;
        run(self.kubectl().args(["wait", "--for=condition=Established", "--timeout=300s", "-f"]).arg(&crds))
    }

    /// Installs the Gateway API's definition of routes.
    pub fn install_gateway_api(&self) -> Result<()> {
        self.install_definitions(GATEWAY_API)
    }

    /// Removes the Gateway API's definition, with all routes.
    pub fn remove_gateway_api(&self) -> Result<()> {
        run(self.kubectl().args(["delete", "--ignore-not-found", "-f"]).arg(root().join(GATEWAY_API)))
    }

    /// Creates the ServiceAccount and permissions of deploy/rbac under names of this run, because an existing
    /// cluster may have an installed operator.
    fn make_operator_account(&self) -> Result<()> {
        let namespace = operator_namespace();
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        let kustomization = json!({
            "namePrefix": account_prefix(),
            "labels": [{ "pairs": { RUN_LABEL: run_id() } }],
        });
        self.apply_account("rbac", kustomization, Some(object))?;
        self.write_account_kubeconfig(&namespace, &operator_account(), &self.operator_kubeconfig())
    }

    /// Applies the objects of a kustomization under names of this run.
    fn apply_account(&self, folder: &str, mut kustomization: Value, object: Option<Value>) -> Result<()> {
        let overlay = self.folder.join(folder);
        std::fs::create_dir(&overlay)?;
        let mut resources = vec![json!(relative(&overlay, &root().join("deploy/rbac"))?)];
        if let Some(object) = object {
            std::fs::write(overlay.join("object.json"), object.to_string())?;
            resources.push(json!("object.json"));
        }
        kustomization["namespace"] = json!(operator_namespace());
        kustomization["resources"] = json!(resources);
        std::fs::write(overlay.join("kustomization.yaml"), kustomization.to_string())?;
        run(self.kubectl().args(["apply", "--server-side", "-k"]).arg(&overlay))
    }

    /// The kubeconfig of an operator with a registry outside Kubernetes, with the permissions of deploy/mongodb
    /// as well. Its account is created on first use.
    pub fn registry_kubeconfig(&self) -> Result<PathBuf> {
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join("registry.kubeconfig");
        if !path.exists() {
            let prefix = format!("{}registry-", account_prefix());
            let kustomization = json!({
                "namePrefix": prefix,
                "labels": [{ "pairs": { RUN_LABEL: run_id(), REGISTRY_ACCOUNT_LABEL: "true" } }],
                "components": [relative(&self.folder.join("rbac"), &root().join("deploy/mongodb"))?],
            });
            self.apply_account("registry", kustomization, None)?;
            self.write_account_kubeconfig(&operator_namespace(), &format!("{prefix}phasegate"), &path)?;
        }
        Ok(path)
    }

    /// The kubeconfig of the operator's ServiceAccount, with the permissions of deploy/rbac only. Its context
    /// has the account's namespace, in which the account may hold a Lease.
    pub fn operator_kubeconfig(&self) -> PathBuf {
        self.folder.join("operator.kubeconfig")
    }

    /// Writes a kubeconfig with a token of a ServiceAccount, readable by its owner only.
    pub fn write_account_kubeconfig(&self, namespace: &str, account: &str, path: &Path) -> Result<()> {
        // The token outlives any run of the tests.
        let token = output(self.kubectl().args(["create", "token", account, "-n", namespace, "--duration=3h"]))?;
        let view = ["config", "view", "--minify", "--flatten", "-o", "json"];
        let mut kubeconfig: Value = serde_json::from_str(&output(self.kubectl().args(view))?)?;
        let cluster = kubeconfig["clusters"][0]["name"].clone();
        kubeconfig["users"] = json!([{ "name": account, "user": { "token": token.trim() } }]);
        let context = json!({ "cluster": cluster, "user": account, "namespace": namespace });
        kubeconfig["contexts"] = json!([{ "name": account, "context": context }]);
        kubeconfig["current-context"] = json!(account);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(file.write_all(kubeconfig.to_string().as_bytes())?)
    }

    /// Starts a supervised program with a kubeconfig, and writes its output to `log`.
    pub fn supervise(&self, kubeconfig: &Path, program: &Path, arguments: &[&str], log: File) -> Result<Supervised> {
        Supervised::start(
            execute(&self.supervisor, program)
                .args(arguments)
                .env("KUBECONFIG", kubeconfig)
                .stdout(log.try_clone()?)
                .stderr(log),
        )
    }

    /// A client for an administrator.
    pub async fn client(&self) -> Result<kube::Client> {
        client_of(&self.kubeconfig).await
    }

    /// Whether the cluster existed before the tests.
    pub fn is_existing(&self) -> bool {
        self.existing
    }
}

/// The output of `kubectl kustomize`. It needs no cluster.
pub fn kustomized(folder: &str) -> Result<String> {
    let kubectl = if is_existing() { PathBuf::from("kubectl") } else { built_kubectl(&supervisor()?)? };
    output(Command::new(kubectl).arg("kustomize").arg(root().join(folder)))
}

fn built_kubectl(supervisor: &Path) -> Result<PathBuf> {
    let built = Command::new(supervisor).arg("kubectl-path").current_dir(module()).stderr(Stdio::inherit()).output()?;
    ensure!(built.status.success(), "the local control plane could not be built; see above");
    Ok(PathBuf::from(String::from_utf8(built.stdout)?.trim()))
}

/// The namespace of the operator's ServiceAccount.
pub fn operator_namespace() -> String {
    format!("phasegate-operator-{}", run_id())
}

/// The name of the operator's ServiceAccount.
pub fn operator_account() -> String {
    format!("{}phasegate", account_prefix())
}

fn account_prefix() -> String {
    format!("run-{}-", run_id())
}

/// A client for the user of a kubeconfig.
pub async fn client_of(kubeconfig: &Path) -> Result<kube::Client> {
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig)?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    config.connect_timeout = Some(Duration::from_secs(10));
    Ok(kube::Client::try_from(config)?)
}

/// The relative path between two folders, which kustomize requires for bases.
fn relative(from: &Path, to: &Path) -> Result<PathBuf> {
    let up = from.canonicalize()?.components().skip(1).map(|_| "..").collect::<PathBuf>();
    Ok(up.join(to.canonicalize()?.strip_prefix("/")?))
}

/// Removes from an existing cluster exactly what this run created. It does so after this process has ended, for any
/// reason.
fn remover(kubectl: &Path, folder: &Path) -> Result<Supervised> {
    let mut ours = Vec::new();
    for crd in ["apigateways.phasegate.dev", "environments.phasegate.dev"] {
        let found = Command::new(kubectl).args(["get", "crd", crd, "--ignore-not-found", "-o", "name"]).output()?;
        ensure!(found.status.success(), "kubectl get crd failed: {}", String::from_utf8_lossy(&found.stderr));
        if found.stdout.is_empty() {
            ours.push(crd);
        }
    }
    // No running operator removes the registry's finalizer, and a namespace stays until its objects are deleted.
    let script = r#"cat >/dev/null
        namespaces=$("$0" get namespaces -l "$1" -o name)
        "$0" delete namespaces -l "$1" --ignore-not-found --wait=false
        "$0" get apigateways.phasegate.dev -A -o \
            jsonpath='{range .items[?(@.metadata.finalizers)]}namespace/{.metadata.namespace} {.metadata.name}{"\n"}{end}' |
        while read -r namespace name; do
            printf '%s\n' "$namespaces" | grep -qxF "$namespace" || continue
            "$0" patch apigateway "$name" -n "${namespace#*/}" --type merge -p '{"metadata": {"finalizers": null}}' </dev/null
        done
        "$0" delete namespaces,clusterrolebindings,clusterroles -l "$1" --ignore-not-found
        rm -r "$2"
        shift 2
        if [ $# -gt 0 ]; then "$0" delete crd "$@" --ignore-not-found; fi"#;
    let label = format!("{RUN_LABEL}={}", run_id());
    // A process group of its own, so that Ctrl-C does not reach it.
    Supervised::start(
        Command::new("sh")
            .args(["-c", script])
            .arg(kubectl)
            .arg(label)
            .arg(folder)
            .args(ours)
            .stdout(Stdio::null())
            .process_group(0),
    )
}
