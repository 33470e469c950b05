//! The flags that narrow what gateways may ask for.

use std::time::Duration;

use crate::decide::allowance::{Allowance, Allowed, AllowedParent, ImagePrefix, NodeLabel, Taint};

type Images = Allowed<Vec<ImagePrefix>>;
type NodeLabels = Allowed<Vec<NodeLabel>>;
type Tolerations = Allowed<Vec<Taint>>;
type Classes = Allowed<Vec<String>>;
type Parents = Allowed<Vec<AllowedParent>>;
type Count = Allowed<i32>;
type Deadline = Allowed<Duration>;

/// Limits on the specs of gateways. Annotations of a namespace can narrow them further.
#[derive(Clone, Debug, clap::Args)]
pub struct Narrowing {
    /// Allowed image prefixes, comma-separated: a registry and whole path elements
    /// (`ghcr.io/acme,docker.io/library`). Default: any image.
    #[arg(long, env = "PHASEGATE_ALLOWED_IMAGE_PREFIXES", default_value = "", hide_default_value = true, value_parser = Images::list_of_flag)]
    allowed_image_prefixes: Images,

    /// Node labels that nodeSelector and topologySpread may use, comma-separated: `key`, `key=value` or `prefix/*`;
    /// `none` allows none. Spreading over hosts, zones and regions is always allowed. Default: any label.
    #[arg(long, env = "PHASEGATE_ALLOWED_NODE_LABELS", default_value = "", hide_default_value = true, value_parser = NodeLabels::list_of_flag)]
    allowed_node_labels: NodeLabels,

    /// Taints that gateways may tolerate, comma-separated: `key`, `key=value` or `prefix/*`, each with an optional
    /// `:Effect`; `none` allows none. Default: any taint.
    #[arg(long, env = "PHASEGATE_ALLOWED_TOLERATIONS", default_value = "", hide_default_value = true, value_parser = Tolerations::list_of_flag)]
    allowed_tolerations: Tolerations,

    /// Ingress classes that gateways may use, comma-separated; `none` allows only the cluster's default class.
    /// Default: any class.
    #[arg(long, env = "PHASEGATE_INGRESS_CLASSES", default_value = "", hide_default_value = true, value_parser = Classes::list_of_flag)]
    ingress_classes: Classes,

    /// Gateways (Gateway API) that spec.parentRefs may name, comma-separated: `NAMESPACE/NAME`, `NAMESPACE/*`, and
    /// `./NAME` or `./*` for the namespace of the ApiGateway; `none` allows only --default-parent-refs. Default: any
    /// Gateway.
    #[arg(long, env = "PHASEGATE_ALLOWED_PARENT_REFS", default_value = "", hide_default_value = true, value_parser = Parents::list_of_flag)]
    allowed_parent_refs: Parents,

    /// Maximum of spec.replicas. Default: the maximum of the CustomResourceDefinition.
    #[arg(long, env = "PHASEGATE_MAX_REPLICAS", default_value = "", hide_default_value = true, value_parser = Count::number_of_flag)]
    max_replicas: Count,

    /// Maximum of spec.startDeadline. Also caps --start-deadline for gateways without one. Default: unlimited.
    #[arg(long, env = "PHASEGATE_MAX_START_DEADLINE", default_value = "", hide_default_value = true, value_parser = Deadline::duration_of_flag)]
    max_start_deadline: Deadline,
}

impl Narrowing {
    /// What the flags allow.
    pub fn allowance(&self) -> Allowance {
        let Self {
            allowed_image_prefixes,
            allowed_node_labels,
            allowed_tolerations,
            ingress_classes,
            allowed_parent_refs,
            max_replicas,
            max_start_deadline,
        } = self.clone();
        Allowance {
            image_prefixes: allowed_image_prefixes,
            node_labels: allowed_node_labels,
            tolerations: allowed_tolerations,
            ingress_classes,
            parent_refs: allowed_parent_refs,
            max_replicas,
            max_start_deadline,
        }
    }
}
