//! The labels of metrics.
//!
//! **Architecture invariant:** each set of values is an enum, so no name and no text of a tenant becomes a
//! label (bounded cardinality).

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
    /// Verbs of API requests, as RBAC names them.
    Verb {
        /// Read one object.
        Get = "get",
        /// List objects.
        List = "list",
        /// Watch objects.
        Watch = "watch",
        /// Create an object.
        Create = "create",
        /// Replace an object, or its status.
        Update = "update",
        /// Patch an object, or its status.
        Patch = "patch",
        /// Delete an object.
        Delete = "delete",
    }
}

label_values! {
    /// The resources that the operator accesses.
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
        /// `HTTPRoute`.
        HttpRoutes = "httproutes",
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
        /// `CustomResourceDefinition`.
        CustomResourceDefinitions = "customresourcedefinitions",
        /// Any other.
        Other = "other",
    }
}

impl Resource {
    /// The resource with this plural.
    pub fn of(plural: &str) -> Self {
        Self::ALL.iter().copied().find(|resource| resource.as_str() == plural).unwrap_or(Self::Other)
    }
}

label_values! {
    /// Results of a reconcile.
    Outcome {
        /// Success.
        Ok = "ok",
        /// The cache is behind; requeued.
        Stale = "stale",
        /// The API server refused a child.
        Refused = "refused",
        /// The registry could not be written to.
        Registry = "registry",
        /// Another operator is leader.
        NotLeader = "not_leader",
        /// An API call failed.
        Failed = "failed",
        /// A defect of the operator.
        Panicked = "panicked",
    }
}

label_values! {
    /// Operations on the registry.
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
        /// Report a transition.
        Report = "report",
        /// Activate documents of environments.
        Activate = "activate",
        /// Deactivate documents of environments.
        Deactivate = "deactivate",
        /// Write an error into a document.
        Answer = "answer",
        /// Remove documents.
        Remove = "remove",
        /// Open a change stream.
        Watch = "watch",
        /// Store the resume token of a change stream.
        Token = "token",
    }
}

label_values! {
    /// Results of a registry request.
    RegistryOutcome {
        /// Success.
        Ok = "ok",
        /// The registry is unavailable.
        Unavailable = "unavailable",
        /// Another operator is leader.
        NotLeader = "not_leader",
        /// A document with this key exists already.
        Duplicate = "duplicate",
        /// The registry refused the request.
        Refused = "refused",
        /// The documents changed meanwhile.
        Changed = "changed",
    }
}

label_values! {
    /// Why a sink did not take an event.
    EventFailure {
        /// No connection, or none that held.
        Unreachable = "unreachable",
        /// No response in time.
        TimedOut = "timed_out",
        /// Status 3xx. Redirects are not followed.
        Redirect = "redirect",
        /// Status 401 or 403.
        Unauthorized = "unauthorized",
        /// Status 429.
        Throttled = "throttled",
        /// Another status 4xx that is about the sink.
        ClientError = "client_error",
        /// Status 5xx.
        ServerError = "server_error",
        /// Status 400, 413, 415 or 422: the event is not sent again.
        Refused = "refused",
        /// The secrets cannot be read.
        Unsigned = "unsigned",
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct FailureLabels {
    pub class: &'static str,
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
        // Values of other versions share one label, since the set is closed.
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
