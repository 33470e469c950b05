//! Objects that may not be readable.

use kube::core::DeserializeGuard;

/// An object as the API server has it, or why this version cannot read it: one that another version wrote, or
/// whose schema let something through. It is watched, listed and reported like the others; nothing else is done.
pub type Guarded<K> = DeserializeGuard<K>;
