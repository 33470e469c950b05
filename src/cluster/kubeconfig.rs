//! How the API server is found: as kubectl finds it, or as a pod does.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// Reads a kubeconfig, found as kubectl finds it, or in a pod its service account where neither a kubeconfig nor
/// anything of one is named.
///
/// # Errors
/// When there is no usable kubeconfig and no service account.
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
            return Config::incluster().context("the pod's service account cannot be used");
        }
        Err(complaint(error, path))
    })
}

/// What is wrong with the kubeconfig, and with which; never what else is in it.
fn complaint(error: KubeconfigError, path: Option<&Path>) -> anyhow::Error {
    let kubeconfig = match (&error, path) {
        (KubeconfigError::ReadConfig(_, path), _) => format!("kubeconfig {}", path.display()),
        (_, Some(path)) => format!("kubeconfig {}", path.display()),
        (_, None) => "the kubeconfig".to_owned(),
    };
    match error {
        KubeconfigError::ReadConfig(error, _) => anyhow!("{kubeconfig}: {error}"),
        KubeconfigError::Parse(error) => {
            let complaint = error.to_string();
            let place = complaint.lines().next().unwrap_or_default().trim_start_matches("error: ");
            anyhow!("{kubeconfig} is no kubeconfig: {place}")
        }
        KubeconfigError::CurrentContextNotSet => anyhow!("{kubeconfig} has no current context"),
        KubeconfigError::LoadContext(context) => anyhow!("{kubeconfig} has no context {context:?}"),
        error => anyhow!("{kubeconfig}: {error}"),
    }
}
