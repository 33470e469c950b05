//! The clusters that tests run on, and how many run at the same time.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::cluster::Cluster;

/// A running cluster, and the place that it takes among those that run at the same time.
pub struct Hosting {
    cluster: Cluster,
    // Given back after the cluster has ended: fields go in their order.
    _place: Option<SemaphorePermit<'static>>,
}

impl Deref for Hosting {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Hosting {
    /// A cluster that lasts as long as the tests.
    fn lasting(cluster: anyhow::Result<Cluster>) -> Arc<Self> {
        let cluster = cluster.unwrap();
        cluster.install_crds().unwrap();
        Arc::new(Self { cluster, _place: None })
    }

    /// A cluster for one test, which ends with it.
    pub(crate) async fn private(start: fn() -> anyhow::Result<Cluster>) -> Arc<Self> {
        // Those tests wait most of their time for what is not to happen: with fewer places they decide how long all tests take.
        static PLACES: Semaphore = Semaphore::const_new(3);
        let place = PLACES.acquire().await.unwrap();
        let cluster = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
        Arc::new(Self { cluster, _place: Some(place) })
    }
}

/// The cluster of those tests that look into the API server's audit log, or that install something
/// for the whole cluster. It is never somebody else's.
pub(crate) fn audited() -> Arc<Hosting> {
    static CLUSTER: OnceLock<Arc<Hosting>> = OnceLock::new();
    Arc::clone(CLUSTER.get_or_init(|| Hosting::lasting(Cluster::audited())))
}

/// The cluster that the tests share, with the custom resource definitions.
pub(crate) fn shared() -> Arc<Hosting> {
    static CLUSTER: OnceLock<Arc<Hosting>> = OnceLock::new();
    Arc::clone(CLUSTER.get_or_init(|| Hosting::lasting(Cluster::start())))
}
