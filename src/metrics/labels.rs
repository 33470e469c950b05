//! The labels of metrics. Each set of values is an enum, so that no name and no tenant's word becomes a label.

use prometheus_client::encoding::EncodeLabelSet;

use crate::api::Reason;

macro_rules! label_values {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $variant_doc])+ $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value as the metric spells it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

label_values! {
    /// What is asked of the API server, as RBAC names it.
    Verb {
        /// Read one object.
        Get = "get",
        /// Read many.
        List = "list",
        /// Follow many.
        Watch = "watch",
        /// Create one.
        Create = "create",
        /// Replace one, or its status.
        Update = "update",
        /// Merge into one, or into its status.
        Patch = "patch",
        /// Delete one.
        Delete = "delete",
    }
}

label_values! {
    /// The resources that the operator asks about.
    Resource {
        /// `ApiGateway`.
        ApiGateways = "apigateways",
        /// `Environment`.
        Environments = "environments",
        /// `Deployment`.
        Deployments = "deployments",
        /// `Service`.
        Services = "services",
        /// `Ingress`.
        Ingresses = "ingresses",
        /// `PodDisruptionBudget`.
        PodDisruptionBudgets = "poddisruptionbudgets",
        /// `Pod`.
        Pods = "pods",
        /// `Event`.
        Events = "events",
        /// `Lease`.
        Leases = "leases",
        /// `Namespace`.
        Namespaces = "namespaces",
        /// Whatever else.
        Other = "other",
    }
}

impl Resource {
    /// The resource of this plural.
    pub fn of(plural: &str) -> Self {
        Self::ALL.iter().copied().find(|resource| resource.as_str() == plural).unwrap_or(Self::Other)
    }
}

label_values! {
    /// How a reconcile ended.
    Outcome {
        /// It went through.
        Ok = "ok",
        /// The cache is behind; it is looked at again.
        Stale = "stale",
        /// The API server refused a child.
        Refused = "refused",
        /// The registry could not be written to.
        Registry = "registry",
        /// Another operator is leader.
        NotLeader = "not_leader",
        /// The API server did not carry out a call.
        Failed = "failed",
        /// A defect.
        Panicked = "panicked",
    }
}

label_values! {
    /// What is asked of the registry.
    Operation {
        /// Whether it answers.
        Ping = "ping",
        /// Create an index.
        CreateIndex = "create_index",
        /// Read documents.
        Find = "find",
        /// Insert a document.
        Insert = "insert",
        /// Record a gateway or an environment in its document.
        Record = "record",
        /// Tell a transition.
        Report = "report",
        /// Make environments' documents Active.
        Activate = "activate",
        /// Make environments' documents Inactive.
        Deactivate = "deactivate",
        /// Answer in a document.
        Answer = "answer",
        /// Remove documents.
        Remove = "remove",
        /// Open a change stream.
        Watch = "watch",
        /// Keep where a change stream goes on.
        Token = "token",
    }
}

label_values! {
    /// How a request to the registry ended.
    RegistryOutcome {
        /// It went through.
        Ok = "ok",
        /// The registry is away.
        Unavailable = "unavailable",
        /// Another operator is leader.
        NotLeader = "not_leader",
        /// A document of its key is there already.
        Duplicate = "duplicate",
        /// The registry answered, and did not do it.
        Refused = "refused",
        /// The documents changed meanwhile.
        Changed = "changed",
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ReconcileLabels {
    pub kind: &'static str,
    pub result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct KindLabels {
    pub kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub verb: &'static str,
    pub resource: &'static str,
    pub code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct VerbLabels {
    pub verb: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    pub reason: &'static str,
}

impl From<Reason> for ReasonLabels {
    fn from(reason: Reason) -> Self {
        // Whatever another version says: a label's values are a closed set.
        Self { reason: if reason.is_known() { reason.as_str() } else { "Unknown" } }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ResourceLabels {
    pub resource: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OperationLabels {
    pub registry: &'static str,
    pub operation: &'static str,
    pub result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OperationNameLabels {
    pub registry: &'static str,
    pub operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct RegistryLabels {
    pub registry: &'static str,
}

pub(super) const MONGODB: &str = "mongodb";
