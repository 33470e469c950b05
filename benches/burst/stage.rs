//! Where everything takes place: one control plane of its own, and a fresh namespace for every burst.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use phasegate_harness::cluster::{self, Cluster};
use serde_json::json;

use crate::requests::Requests;

/// The control plane and those who ask it.
pub struct Stage {
    /// The control plane; it ends with this program.
    pub cluster: Cluster,
    /// The user, who also watches and cleans up.
    pub user: Client,
    /// The operator's own credentials, for the contestants that are no operator.
    pub contestant: Client,
}

impl Stage {
    /// Starts a control plane, and waits until it has nothing left to do.
    pub async fn set() -> Result<Self> {
        let cluster = tokio::task::spawn_blocking(|| {
            let cluster = Cluster::private()?;
            cluster.install_crds()?;
            anyhow::Ok(cluster)
        })
        .await??;
        let user = cluster.client().await?;
        let contestant = cluster::client_of(&cluster.operator_kubeconfig()).await?;
        // The garbage collector takes half a minute to learn of a new kind.
        Requests::until_quiet(&user, Duration::from_secs(35)).await?;
        Ok(Self { cluster, user, contestant })
    }

    /// Makes a namespace, as a platform makes one for its tenants.
    pub async fn open(&self, namespace: &str) -> Result<()> {
        let object = json!({
            "metadata": { "name": namespace, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
        });
        let namespaces: Api<Namespace> = Api::all(self.user.clone());
        namespaces.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        // Pods need it, and the controller manager makes it a moment later.
        let accounts: Api<ServiceAccount> = Api::namespaced(self.user.clone(), namespace);
        await_condition(accounts, "default", |found: Option<&ServiceAccount>| found.is_some()).await?;
        Ok(())
    }

    /// Removes a namespace with all it holds, and waits until nobody works on it any more, so that
    /// the next burst does not pay for this one.
    pub async fn clear(&self, namespace: &str) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.user.clone());
        namespaces.delete(namespace, &DeleteParams::default()).await?;
        let gone = await_condition(namespaces, namespace, |found: Option<&Namespace>| found.is_none());
        tokio::time::timeout(Duration::from_secs(900), gone).await.context("the namespace does not go away")??;
        Requests::until_quiet(&self.user, Duration::from_secs(4)).await
    }
}
