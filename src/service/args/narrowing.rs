//! The flags that narrow what gateways may ask for.

use std::time::Duration;

use crate::decide::allowance::{Allowance, Allowed, ImagePrefix, NodeLabel, Taint};

type Images = Allowed<Vec<ImagePrefix>>;
type NodeLabels = Allowed<Vec<NodeLabel>>;
type Tolerations = Allowed<Vec<Taint>>;
type Classes = Allowed<Vec<String>>;
type Count = Allowed<i32>;
type Deadline = Allowed<Duration>;

/// What gateways may ask for. A namespace's annotations narrow it further.
#[derive(Clone, Debug, clap::Args)]
pub struct Narrowing {
    /// Where images may come from, separated by commas: a registry and the beginning of a path in whole parts
    /// (`ghcr.io/acme,docker.io/library`). None: anywhere.
    #[arg(long, env = "PHASEGATE_ALLOWED_IMAGE_PREFIXES", default_value = "", hide_default_value = true, value_parser = Images::list_of_flag)]
    allowed_image_prefixes: Images,

    /// The node labels that nodeSelector and topologySpread may name, separated by commas: `key`, `key=value` or
    /// `prefix/*`; the word `none` allows none. To spread over hosts, zones and regions is always allowed. None: any.
    #[arg(long, env = "PHASEGATE_ALLOWED_NODE_LABELS", default_value = "", hide_default_value = true, value_parser = NodeLabels::list_of_flag)]
    allowed_node_labels: NodeLabels,

    /// The taints that gateways may tolerate, separated by commas: `key`, `key=value` or `prefix/*`, each also with
    /// `:Effect`; the word `none` allows none. None: any.
    #[arg(long, env = "PHASEGATE_ALLOWED_TOLERATIONS", default_value = "", hide_default_value = true, value_parser = Tolerations::list_of_flag)]
    allowed_tolerations: Tolerations,

    /// The ingress classes that a gateway may name, separated by commas; the word `none` allows none but the
    /// cluster's default. None: any.
    #[arg(long, env = "PHASEGATE_INGRESS_CLASSES", default_value = "", hide_default_value = true, value_parser = Classes::list_of_flag)]
    ingress_classes: Classes,

    /// How many replicas a gateway may ask for. None: as many as the definition allows.
    #[arg(long, env = "PHASEGATE_MAX_REPLICAS", default_value = "", hide_default_value = true, value_parser = Count::number_of_flag)]
    max_replicas: Count,

    /// The longest start deadline that a gateway may name. One that names none has the operator's default, or this
    /// where it is shorter. None: any.
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
            max_replicas,
            max_start_deadline,
        } = self.clone();
        Allowance {
            image_prefixes: allowed_image_prefixes,
            node_labels: allowed_node_labels,
            tolerations: allowed_tolerations,
            ingress_classes,
            max_replicas,
            max_start_deadline,
        }
    }
}
