//! What every reconcile shares.

use std::sync::Arc;

use crate::api::ApiGateway;
use crate::calls::Calls;
use crate::decide::hosts::Holder;
use crate::decide::observed::Settings;
use crate::memory::Memory;
use crate::record::Herald;
use crate::watch::Caches;

/// What every reconcile shares.
pub struct Context {
    /// Bounded calls to the API server.
    pub calls: Calls,
    /// The caches of one scope.
    pub caches: Arc<Caches>,
    /// What this process remembers about each gateway.
    pub memory: Arc<Memory>,
    /// The operator's flags.
    pub settings: Settings,
    /// Tells Events.
    pub herald: Herald,
}

impl Context {
    /// Namespace and name of a gateway, as the caches know it.
    pub fn holder(gateway: &ApiGateway) -> Holder {
        (gateway.namespace_or_empty().to_owned(), gateway.name_or_empty().to_owned())
    }
}
