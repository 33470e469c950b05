//! The connection to the cluster, configured as kubectl's is, and the reads that several commands share.
//!
//! **Architecture invariant**: every command connects here, with the rights of its user. The client's own
//! retries are off.

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
    /// Namespace. Default: the namespace of the context
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,

    /// Path of the kubeconfig. Default: KUBECONFIG, then ~/.kube/config, then the pod's service account
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig. Default: the current context
    #[arg(long, global = true)]
    pub context: Option<String>,

    /// Cluster of the kubeconfig. Default: the cluster of the context
    #[arg(long, global = true)]
    pub cluster: Option<String>,

    /// User of the kubeconfig. Default: the user of the context
    #[arg(long, global = true)]
    pub user: Option<String>,

    /// User to impersonate
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate: Option<String>,
}

/// A connection to a cluster.
#[derive(Clone)]
pub struct Cluster {
    /// The client for the API server.
    pub client: Client,
    /// The namespace from the arguments, or the context's.
    pub namespace: String,
    /// The API server's address, for messages.
    pub server: String,
}

impl Cluster {
    /// Configures the connection without a request.
    ///
    /// # Errors
    /// No usable kubeconfig or context was found.
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
        // The timeout is longer than the silence of a healthy watch, so that it ends dead connections only.
        config.read_timeout = Some(Duration::from_secs(90));
        if arguments.impersonate.is_some() {
            config.auth_info.impersonate = arguments.impersonate.clone();
        }
        let server = config.cluster_url.to_string();
        let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| failure::no_kubeconfig(&error.into()))?;
        Ok(Self { client, namespace, server })
    }

    /// The same connection, for another namespace.
    pub fn at(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
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
    /// The gateway does not exist or cannot be read.
    pub async fn gateway(&self, name: &str) -> Result<ApiGateway, Failure> {
        match self.api::<ApiGateway>().get_opt(name).await {
            Ok(Some(gateway)) => Ok(gateway),
            Ok(None) => Err(failure::not_found(&self.key(name))),
            Err(error) => Err(self.refused(&format!("failed to read ApiGateway {}", self.key(name)), &error)),
        }
    }

    /// The failure for a request that was refused or not answered.
    pub fn refused(&self, what: &str, error: &kube::Error) -> Failure {
        failure::of_request(what, &self.server, error)
    }
}

/// All objects of a list, read page by page.
///
/// # Errors
/// A page cannot be read.
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
