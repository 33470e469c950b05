//! Paths in children that others may write.

/// Owner references that others add are kept.
pub const OWNERS: &str = "/metadata/ownerReferences";

/// Fields that others own where the spec is silent: an autoscaler's count, an address, a cluster default.
pub(super) const KEPT_UNLESS_DESIRED: &[&str] = &[
    "/spec/replicas",
    "/spec/clusterIP",
    "/spec/clusterIPs",
    "/spec/ipFamilies",
    "/spec/ipFamilyPolicy",
    "/spec/ingressClassName",
];

/// The subset for an object with a known accepted form, which contains the rest.
pub(super) const NEVER_RESTORED: &[&str] = &["/spec/replicas", "/spec/clusterIP", "/spec/clusterIPs"];

/// The fields that each cluster fills in differently. Their values are recorded, so that an edit is found even
/// after a restart of the operator.
pub(super) const FILLED_IN: &[(&str, &str)] =
    &[("Service", "/spec/ipFamilyPolicy"), ("Ingress", "/spec/ingressClassName")];
