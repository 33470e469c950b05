//! The clusters of the tests, and how many run at once.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::cluster::Cluster;

/// A running cluster, with its permit among those that run at once.
pub struct HostedCluster {
    cluster: Cluster,
    // Released after the cluster has ended, because fields drop in their order.
    _place: Option<SemaphorePermit<'static>>,
}

impl Deref for HostedCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl HostedCluster {
    /// A cluster that lasts as long as the tests.
    fn lasting(cluster: anyhow::Result<Cluster>) -> Arc<Self> {
        let cluster = cluster.unwrap();
        cluster.install_crds().unwrap();
        Arc::new(Self { cluster, _place: None })
    }

    /// A cluster for one test, which ends with it.
    pub(crate) async fn private(start: fn() -> anyhow::Result<Cluster>) -> Arc<Self> {
        // These tests mostly wait for events that must not occur. Fewer permits would make them determine the
        // duration of the whole suite.
        static PLACES: Semaphore = Semaphore::const_new(3);
        let place = PLACES.acquire().await.unwrap();
        let cluster = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
        Arc::new(Self { cluster, _place: Some(place) })
    }
}

/// The cluster for tests that read the API server's audit log, or that install something cluster-wide. It is
/// never an existing cluster.
pub(crate) fn audited() -> Arc<HostedCluster> {
    static CLUSTER: OnceLock<Arc<HostedCluster>> = OnceLock::new();
    Arc::clone(CLUSTER.get_or_init(|| HostedCluster::lasting(Cluster::audited())))
}

/// The cluster that tests share, with the custom resource definitions.
pub(crate) fn shared() -> Arc<HostedCluster> {
    static CLUSTER: OnceLock<Arc<HostedCluster>> = OnceLock::new();
    Arc::clone(CLUSTER.get_or_init(|| HostedCluster::lasting(Cluster::start())))
}
