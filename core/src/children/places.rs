//! Places in children that others have a say in.

/// Owners that somebody adds beside ours are theirs to keep.
pub(super) const OWNERS: &str = "/metadata/ownerReferences";

/// Fields that are not the spec's to say where it says nothing: an autoscaler's, an address, the cluster's default.
pub(super) const KEPT_UNLESS_DESIRED: &[&str] = &[
    "/spec/replicas",
    "/spec/clusterIP",
    "/spec/clusterIPs",
    "/spec/ipFamilies",
    "/spec/ipFamilyPolicy",
    "/spec/ingressClassName",
];

/// The same of an object whose accepted form is known: the rest is in that.
pub(super) const NEVER_RESTORED: &[&str] = &["/spec/replicas", "/spec/clusterIP", "/spec/clusterIPs"];

/// Of those, what each cluster fills in as it likes: it is recorded, and an edit of it is found after a restart, too.
pub(super) const FILLED_IN: &[(&str, &str)] =
    &[("Service", "/spec/ipFamilyPolicy"), ("Ingress", "/spec/ingressClassName")];
