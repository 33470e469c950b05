//! What is dropped of a watched object before it is kept.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use crate::cache::watched::{Watchable, Watched};
use crate::children::{self, UID_LABEL};

/// Drops what no decision looks at.
pub(super) fn metadata<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// A stranger's child is kept only so that it is known to be there.
pub(super) fn child<K: Watchable>(object: &mut Watched<K>) {
    let meta = object.meta_mut();
    let ours = meta.labels.as_ref().is_some_and(|labels| labels.contains_key(UID_LABEL))
        || meta.owner_references.iter().flatten().any(children::is_gateway);
    if !ours {
        *object = Watched::bare(ObjectMeta {
            name: meta.name.take(),
            namespace: meta.namespace.take(),
            uid: meta.uid.take(),
            resource_version: meta.resource_version.take(),
            owner_references: meta.owner_references.take(),
            ..ObjectMeta::default()
        });
    }
}
