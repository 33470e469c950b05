//! Handlers of watch events: update caches, claims and memory, then requeue affected objects.
//!
//! **Architecture invariant:** a handler decides nothing and sends no request.

use std::sync::Arc;

use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;

use super::known::{Identity, KnownObjects};
use super::requeue::ScopeRequeue;
use crate::api::{ApiGateway, Environment, Guarded, ObjectKey};
use crate::cache::caches::Caches;
use crate::cache::index::{Cache, Cached};
use crate::children;
use crate::control::memory::Memory;
use crate::decide::hosts::{Claimant, ClaimantKind};
use crate::registry::Registry;
use crate::sink::Outbox;

/// Keeps gateways, their claims and what is remembered of them in sync with the cluster.
pub(super) fn of_gateways(
    mut writer: Writer<Guarded<ApiGateway>>,
    memory: Arc<Memory>,
    registry: Registry,
    outbox: Outbox,
    requeue: ScopeRequeue,
) -> impl FnMut(Event<Guarded<ApiGateway>>) + Send + 'static {
    let mut known = KnownObjects::default();
    move |event| {
        writer.apply_watcher_event(&event);
        if let Event::Delete(gateway) = &event {
            outbox.deleted(gateway);
        }
        let changes = known.take_in(&event);
        for object in &changes.appeared {
            match &object.0 {
                Ok(gateway) => {
                    if children::concerns_routes(gateway) {
                        requeue.caches.routes().ask();
                    }
                    requeue.learn_gateway(gateway);
                    registry.saw_gateway(gateway);
                    outbox.saw(gateway);
                }
                Err(object) => requeue.learn_unreadable(ClaimantKind::Gateway, object),
            }
        }
        for Identity { key, uid } in &changes.gone {
            memory.forget(uid);
            outbox.gone(uid);
            if !known.has(key) {
                requeue.forget(&Claimant { object: key.clone(), kind: ClaimantKind::Gateway });
                registry.lost_gateway(key);
            }
            requeue.learn_environments_of(key);
            requeue.environments_of(key);
        }
        for object in &changes.appeared {
            let key = ObjectKey::of(object);
            if !object.0.as_ref().is_ok_and(|gateway| memory.is_echo(gateway)) {
                requeue.gateway(&key);
            }
            requeue.environments_of(&key);
        }
    }
}

/// Keeps environments and their claims in sync with the cluster.
pub(super) fn of_environments(
    mut writer: Writer<Guarded<Environment>>,
    memory: Arc<Memory>,
    registry: Registry,
    requeue: ScopeRequeue,
) -> impl FnMut(Event<Guarded<Environment>>) + Send + 'static {
    let mut known = KnownObjects::default();
    move |event| {
        writer.apply_watcher_event(&event);
        let changes = known.take_in(&event);
        let complete = matches!(event, Event::InitDone);
        let affected = requeue.caches.environments.apply_event(event);
        for object in &changes.appeared {
            match &object.0 {
                Ok(environment) => {
                    requeue.learn_environment(environment);
                    registry.saw_environment(environment);
                }
                Err(object) => requeue.learn_unreadable(ClaimantKind::Environment, object),
            }
            requeue.environment(&ObjectKey::of(object));
        }
        for Identity { key, uid } in &changes.gone {
            memory.forget(uid);
            if !known.has(key) {
                requeue.forget(&Claimant { object: key.clone(), kind: ClaimantKind::Environment });
                registry.lost_environment(key);
            }
        }
        affected.gateways.iter().for_each(|gateway| requeue.gateway(gateway));
        affected.environment.iter().for_each(|environment| requeue.environment(environment));
        if complete {
            requeue.caches.environments.mark_ready();
        }
    }
}

/// Applies a watch's events to a cache, and requeues the affected objects.
pub(super) fn fill<T>(
    requeue: &ScopeRequeue,
    cache: fn(&Caches) -> &Cache<T>,
    affected: fn(&ObjectKey, &ScopeRequeue),
) -> impl FnMut(Event<T::Object>) + Send + 'static
where
    T: Cached + Send + Sync + 'static,
{
    let requeue = requeue.clone();
    move |event| {
        let complete = matches!(event, Event::InitDone);
        let keys = cache(&requeue.caches).apply_event(event);
        keys.iter().for_each(|key| affected(key, &requeue));
        if complete {
            cache(&requeue.caches).mark_ready();
        }
    }
}
