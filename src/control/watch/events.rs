//! What the events of the gateways' and the environments' watches change, and whom they wake.

use std::sync::Arc;

use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;

use super::known::{Identity, Known};
use super::wake::Wake;
use crate::api::{ApiGateway, Environment, Guarded, ObjectKey};
use crate::cache::caches::Caches;
use crate::cache::index::{Cache, Kept};
use crate::control::memory::Memory;
use crate::decide::hosts::{Claimant, ClaimantKind};
use crate::registry::Registry;

/// Keeps gateways, what they claim and what is remembered of them in step with those that exist.
pub(super) fn of_gateways(
    mut writer: Writer<Guarded<ApiGateway>>,
    memory: Arc<Memory>,
    registry: Registry,
    wake: Wake,
) -> impl FnMut(Event<Guarded<ApiGateway>>) + Send + 'static {
    let mut known = Known::default();
    move |event| {
        writer.apply_watcher_event(&event);
        let changes = known.take_in(&event);
        for object in &changes.appeared {
            match &object.0 {
                Ok(gateway) => {
                    wake.learn_gateway(gateway);
                    registry.saw_gateway(gateway);
                }
                Err(object) => wake.learn_unreadable(ClaimantKind::Gateway, object),
            }
        }
        for Identity { key, uid } in &changes.gone {
            memory.forget(uid);
            if !known.has(key) {
                wake.forget(&Claimant { object: key.clone(), kind: ClaimantKind::Gateway });
                registry.lost_gateway(key);
            }
            wake.learn_environments_of(key);
            wake.environments_of(key);
        }
        for object in &changes.appeared {
            let key = ObjectKey::of(object);
            if !object.0.as_ref().is_ok_and(|gateway| memory.is_echo(gateway)) {
                wake.gateway(&key);
            }
            wake.environments_of(&key);
        }
    }
}

/// Keeps environments, and what they claim, in step with those that exist.
pub(super) fn of_environments(
    mut writer: Writer<Guarded<Environment>>,
    memory: Arc<Memory>,
    registry: Registry,
    wake: Wake,
) -> impl FnMut(Event<Guarded<Environment>>) + Send + 'static {
    let mut known = Known::default();
    move |event| {
        writer.apply_watcher_event(&event);
        let changes = known.take_in(&event);
        let complete = matches!(event, Event::InitDone);
        let concerned = wake.caches.environments.absorb(event);
        for object in &changes.appeared {
            match &object.0 {
                Ok(environment) => {
                    wake.learn_environment(environment);
                    registry.saw_environment(environment);
                }
                Err(object) => wake.learn_unreadable(ClaimantKind::Environment, object),
            }
            wake.environment(&ObjectKey::of(object));
        }
        for Identity { key, uid } in &changes.gone {
            memory.forget(uid);
            if !known.has(key) {
                wake.forget(&Claimant { object: key.clone(), kind: ClaimantKind::Environment });
                registry.lost_environment(key);
            }
        }
        concerned.gateways.iter().for_each(|gateway| wake.gateway(gateway));
        concerned.environment.iter().for_each(|environment| wake.environment(environment));
        if complete {
            wake.caches.environments.is_told();
        }
    }
}

/// Puts a watch's events into a cache, and wakes whom they concern.
pub(super) fn fill<T>(
    wake: &Wake,
    cache: fn(&Caches) -> &Cache<T>,
    concerned: fn(&ObjectKey, &Wake),
) -> impl FnMut(Event<T::Object>) + Send + 'static
where
    T: Kept + Send + Sync + 'static,
{
    let wake = wake.clone();
    move |event| {
        let complete = matches!(event, Event::InitDone);
        let keys = cache(&wake.caches).absorb(event);
        keys.iter().for_each(|key| concerned(key, &wake));
        if complete {
            cache(&wake.caches).is_told();
        }
    }
}
