//! What the handlers of requests share.
//!
//! **Architecture invariant**: it holds no object of the cluster but the rows of the fleet.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::access::Access;
use super::guard::Guard;
use super::store::Store;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::selection::Selection;

/// What all handlers share.
pub struct Shared {
    /// The connection to the cluster.
    pub cluster: Cluster,
    /// The gateways that are shown.
    pub selection: Selection,
    /// The fleet.
    pub store: Store,
    /// What the user may do.
    pub access: Access,
    /// The secrets.
    pub guard: Guard,
    /// Whether actions are refused.
    pub read_only: bool,
}

/// The state of the handlers.
pub type Console = Arc<Shared>;

impl Shared {
    /// The state of a new process.
    ///
    /// # Errors
    /// The system has no random numbers, or the listener no address.
    pub fn new(
        cluster: Cluster,
        selection: Selection,
        listener: &TcpListener,
        read_only: bool,
    ) -> Result<Console, Failure> {
        let guard = Guard::new(listener.local_addr()?.port())?;
        let (store, access) = (Store::default(), Access::default());
        Ok(Arc::new(Self { cluster, selection, store, access, guard, read_only }))
    }
}
