//! Facts about gateways from the document cache.
//!
//! **Architecture invariant:** this module makes no call and changes nothing.

use super::Mongo;
use crate::api::ApiGateway;
use crate::decide::Place;
use crate::decide::observed::RegistryFacts;
use crate::registry::document::Documents;
use crate::registry::identity::Identity;
use crate::registry::report::{EnvironmentView, Situation};

impl Mongo {
    /// Why the registry cannot be asked now.
    pub fn unavailable(&self) -> Option<String> {
        let unread = || (!self.cache.is_complete()).then(|| "its documents are not listed yet".to_owned());
        self.breaker.words().or_else(unread)
    }

    /// The facts about a gateway.
    pub fn facts(&self, gateway: &ApiGateway, environments: &[EnvironmentView]) -> RegistryFacts {
        // Read first: if the cache becomes complete afterwards, nobody is informed, so an object that finds it
        // incomplete must wait.
        let unavailable = self.unavailable();
        let facts = if self.cache.is_complete() {
            let documents = self.cache.of(&Identity::of(gateway).gateway_id);
            self.situation(gateway, environments, &documents).facts()
        } else {
            nothing_known(gateway, environments)
        };
        RegistryFacts { unavailable, ..facts }
    }

    pub(super) fn situation<'a>(
        &'a self,
        gateway: &'a ApiGateway,
        environments: &'a [EnvironmentView],
        documents: &'a Documents,
    ) -> Situation<'a> {
        Situation { gateway, environments, documents, defaults: &self.defaults }
    }
}

/// The facts before anything is known: what was recorded once is recorded, and nothing proceeds that waits for
/// documents.
fn nothing_known(gateway: &ApiGateway, environments: &[EnvironmentView]) -> RegistryFacts {
    let place = Place::of_gateway(gateway);
    let waits =
        matches!(place, Some(Place::Starting | Place::Restarting | Place::Stopping)) && !environments.is_empty();
    RegistryFacts {
        external: true,
        recorded: !matches!(place, Some(Place::New | Place::Created)),
        to_activate: waits,
        to_deactivate: waits,
        forgotten: false,
        ..RegistryFacts::settled()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::api::ObjectKey;
    use crate::cluster::claim::Claim;
    use crate::metrics::Metrics;
    use crate::queue::{Key, Kind, WorkQueue};
    use crate::registry::config::{Secret, Settings};
    use crate::registry::document::{Defaults, EnvironmentDocument, GatewayDocument};

    fn nothing_read_yet(queue: &WorkQueue) -> Mongo {
        let settings = Settings {
            uri: Secret::new("mongodb://db:27017".to_owned()),
            hosts: "db:27017".to_owned(),
            database: "platform".to_owned(),
            username: None,
            password: None,
            scan_interval: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            defaults: Defaults::default(),
        };
        Mongo::new(settings, Claim::unconditional(), queue.clone(), Metrics::default())
    }

    fn shop() -> (ApiGateway, Key) {
        let spec = serde_json::from_value(json!({ "image": "acme/gateway:1" })).unwrap();
        let mut gateway = ApiGateway::new("shop", spec);
        gateway.metadata.namespace = Some("tenants".to_owned());
        (gateway, Key { object: ObjectKey::new("tenants", "shop"), kind: Kind::Gateway })
    }

    #[test]
    fn facts_are_only_read_and_nobody_waits_for_having_read_them() {
        let queue = WorkQueue::new(4);
        let mongo = nothing_read_yet(&queue);
        assert!(mongo.facts(&shop().0, &[]).unavailable.is_some());
        mongo.requeue_waiting();
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn who_waits_stays_waiting_until_the_documents_were_read_and_the_database_answers() {
        let queue = WorkQueue::new(4);
        let mongo = nothing_read_yet(&queue);
        let (gateway, key) = shop();
        mongo.wait(key.clone());
        mongo.cache.listed::<GatewayDocument>();
        mongo.cache.listed::<EnvironmentDocument>();
        mongo.breaker.trip("connection refused");
        mongo.wait(key.clone());
        assert_eq!(mongo.facts(&gateway, &[]).unavailable.as_deref(), Some("connection refused"));
        assert_eq!(queue.take(), None);
        mongo.breaker.reset();
        assert_eq!(mongo.facts(&gateway, &[]).unavailable, None);
        // It came back between the pass that found it away and the end of that pass.
        mongo.wait(key.clone());
        assert_eq!(queue.take(), Some(key));
    }
}
