//! An object that may be of another version.

use kube::core::DeserializeGuard;

/// An object as a watch brings it: one that this version cannot read keeps its metadata and stops no other.
pub type Guarded<K> = DeserializeGuard<K>;
