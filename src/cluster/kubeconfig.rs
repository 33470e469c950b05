//! Finds the API server: through a kubeconfig as kubectl does, or through a service account as a pod does.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// Reads the kubeconfig that kubectl would use. In a pod without any, uses its service account.
///
/// # Errors
/// If there is neither a usable kubeconfig nor a service account.
pub async fn read(path: Option<&Path>, options: &KubeConfigOptions) -> anyhow::Result<Config> {
    match path {
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, options).await,
            Err(error) => Err(error),
        },
        None => Config::from_kubeconfig(options).await,
    }
    .or_else(|error| {
        let in_a_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let named = options.context.is_some() || options.cluster.is_some() || options.user.is_some();
        if path.is_none() && !named && in_a_pod {
            return Config::incluster().context("failed to load the pod's service account");
        }
        Err(described(error, path))
    })
}

/// What is wrong with which kubeconfig. Never includes other content of the file.
fn described(error: KubeconfigError, path: Option<&Path>) -> anyhow::Error {
    let kubeconfig = match (&error, path) {
        (KubeconfigError::ReadConfig(_, path), _) => format!("kubeconfig {}", path.display()),
        (_, Some(path)) => format!("kubeconfig {}", path.display()),
        (_, None) => "the kubeconfig".to_owned(),
    };
    match error {
        KubeconfigError::ReadConfig(error, _) => anyhow!("{kubeconfig}: {error}"),
        KubeconfigError::Parse(error) => {
            let described = error.to_string();
            let place = described.lines().next().unwrap_or_default().trim_start_matches("error: ");
            anyhow!("{kubeconfig} is not a kubeconfig: {place}")
        }
        KubeconfigError::CurrentContextNotSet => anyhow!("{kubeconfig} has no current context"),
        KubeconfigError::LoadContext(context) => anyhow!("{kubeconfig} has no context {context:?}"),
        error => anyhow!("{kubeconfig}: {error}"),
    }
}
