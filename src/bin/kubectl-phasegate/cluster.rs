//! The way to the cluster, found as kubectl finds it, and what is read there in the same way by several commands.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, ListParams};
use kube::config::KubeConfigOptions;
use kube::{Client, Resource};
use phasegate::api::{ApiGateway, ObjectKey};
use phasegate::cluster::{PAGE, kubeconfig};
use serde::de::DeserializeOwned;

use crate::failure::{self, Failure};

/// Which cluster, and which namespace of it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArguments {
    /// The namespace. None: that of the context
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,

    /// The kubeconfig. None: KUBECONFIG, or ~/.kube/config, or in a pod its service account
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig. None: the current one
    #[arg(long, global = true)]
    pub context: Option<String>,

    /// The cluster of the kubeconfig. None: the context's
    #[arg(long, global = true)]
    pub cluster: Option<String>,

    /// The user of the kubeconfig. None: the context's
    #[arg(long, global = true)]
    pub user: Option<String>,

    /// Ask as somebody else, who you may impersonate
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate: Option<String>,
}

/// A cluster that can be asked.
#[derive(Clone)]
pub struct Cluster {
    /// Asks the API server.
    pub client: Client,
    /// The namespace that was named, or the context's.
    pub namespace: String,
    /// The API server's address, for sentences.
    pub server: String,
}

impl Cluster {
    /// Finds the way to the API server, without asking it anything.
    ///
    /// # Errors
    /// When no kubeconfig or context can be used.
    pub async fn find(arguments: &ClusterArguments) -> Result<Self, Failure> {
        let options = KubeConfigOptions {
            context: arguments.context.clone(),
            cluster: arguments.cluster.clone(),
            user: arguments.user.clone(),
        };
        let mut config = kubeconfig::read(arguments.kubeconfig.as_deref(), &options)
            .await
            .map_err(|error| failure::no_kubeconfig(&error))?;
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(10));
        // Longer than a watch is silent, so that only a connection that is dead ends by it.
        config.read_timeout = Some(Duration::from_secs(90));
        if arguments.impersonate.is_some() {
            config.auth_info.impersonate = arguments.impersonate.clone();
        }
        let server = config.cluster_url.to_string();
        let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| failure::no_kubeconfig(&error.into()))?;
        Ok(Self { client, namespace, server })
    }

    /// The objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The key of an object in the namespace.
    pub fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::new(&self.namespace, name)
    }

    /// Reads a gateway of the namespace.
    ///
    /// # Errors
    /// When it does not exist or cannot be read.
    pub async fn gateway(&self, name: &str) -> Result<ApiGateway, Failure> {
        match self.api::<ApiGateway>().get_opt(name).await {
            Ok(Some(gateway)) => Ok(gateway),
            Ok(None) => Err(failure::not_found(&self.key(name))),
            Err(error) => Err(self.refused(&format!("ApiGateway {} cannot be read", self.key(name)), &error)),
        }
    }

    /// Words a request that went wrong.
    pub fn refused(&self, what: &str, error: &kube::Error) -> Failure {
        failure::of_request(what, &self.server, error)
    }
}

/// All objects of a list, which is read page by page.
///
/// # Errors
/// When a page cannot be read.
pub async fn listed<K>(api: &Api<K>, which: ListParams) -> kube::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let (mut found, mut which) = (Vec::new(), which.limit(PAGE));
    loop {
        let page = api.list(&which).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => which = which.continue_token(&token),
            None => return Ok(found),
        }
    }
}
