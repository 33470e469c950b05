//! What a gateway may ask for: whoever runs the operator narrows it for all by flags, and for the gateways of one namespace
//! by annotations of the Namespace. Both have to allow a thing, so an annotation never gives what a flag takes.
//!
//! `entry` reads lists, `images` and `nodes` know what an entry covers. May import `api`, `parse` and `words`. Invariants: what cannot be
//! read allows nothing; where nothing is said, anything is allowed.

mod entry;
mod images;
mod nodes;

use std::collections::BTreeMap;
use std::time::Duration;

use super::words::{human, say};
use crate::api::ApiGatewaySpec;
use crate::parse;
pub use entry::{Entry, listed};
pub use images::ImagePrefix;
pub use nodes::{NodeLabel, Taint};

/// What is allowed of one kind of thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed<T> {
    /// Nobody narrows it.
    #[default]
    Any,
    /// This, and no more.
    Only(T),
    /// Somebody narrows it in words that cannot be read: what is wrong with them.
    Unreadable(String),
}

impl<T> Allowed<T> {
    /// What an annotation says, if it is there.
    fn of(text: Option<&String>, parse: impl FnOnce(&str) -> Result<T, String>) -> Self {
        match text.map(|text| parse(text)) {
            None => Self::Any,
            Some(Ok(what)) => Self::Only(what),
            Some(Err(why)) => Self::Unreadable(why),
        }
    }

    /// What a flag says. An empty variable is one that is not set.
    fn flag(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Self, String> {
        if text.is_empty() { Ok(Self::Any) } else { parse(text).map(Self::Only) }
    }

    /// What is allowed instead, in words, where something does not fit.
    fn instead_of(&self, fits: impl FnOnce(&T) -> bool, words: impl FnOnce(&T) -> String) -> Option<String> {
        match self {
            Self::Any => None,
            Self::Only(what) if fits(what) => None,
            Self::Only(what) => Some(format!("allows {}", words(what))),
            Self::Unreadable(why) => Some(format!("is not valid ({}), so it allows nothing", say(why))),
        }
    }
}

impl<T: Entry> Allowed<Vec<T>> {
    /// A flag with a list.
    ///
    /// # Errors
    /// Which entry is wrong, and why.
    pub fn list_of_flag(text: &str) -> Result<Self, String> {
        Self::flag(text, listed)
    }

    fn list_instead_of(&self, fits: impl Fn(&T) -> bool) -> Option<String> {
        self.instead_of(|list| list.iter().any(fits), |list| entry::only(list))
    }
}

impl Allowed<i32> {
    /// A flag with a number.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn number_of_flag(text: &str) -> Result<Self, String> {
        Self::flag(text, number)
    }
}

impl Allowed<Duration> {
    /// A flag with a duration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn duration_of_flag(text: &str) -> Result<Self, String> {
        Self::flag(text, parse::duration)
    }
}

fn number(text: &str) -> Result<i32, String> {
    let number = text.trim().parse().ok().filter(|number| (0..=1000).contains(number));
    number.ok_or_else(|| "it is no number from 0 to 1000".to_owned())
}

/// What somebody who narrows says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Where images may come from.
    pub image_prefixes: Allowed<Vec<ImagePrefix>>,
    /// The node labels that may be asked for.
    pub node_labels: Allowed<Vec<NodeLabel>>,
    /// The taints that may be tolerated.
    pub tolerations: Allowed<Vec<Taint>>,
    /// The ingress classes that may be named.
    pub ingress_classes: Allowed<Vec<String>>,
    /// The most replicas.
    pub max_replicas: Allowed<i32>,
    /// The longest start deadline.
    pub max_start_deadline: Allowed<Duration>,
}

impl Allowance {
    /// Whatever the schema takes.
    pub const ANYTHING: Self = Self {
        image_prefixes: Allowed::Any,
        node_labels: Allowed::Any,
        tolerations: Allowed::Any,
        ingress_classes: Allowed::Any,
        max_replicas: Allowed::Any,
        max_start_deadline: Allowed::Any,
    };

    /// What the annotations of a Namespace say.
    pub fn of_namespace(annotations: &BTreeMap<String, String>) -> Self {
        let value = |name: &Narrows| annotations.get(name.annotation);
        Self {
            image_prefixes: Allowed::of(value(&IMAGES), listed),
            node_labels: Allowed::of(value(&NODE_LABELS), listed),
            tolerations: Allowed::of(value(&TOLERATIONS), listed),
            ingress_classes: Allowed::of(value(&INGRESS_CLASSES), listed),
            max_replicas: Allowed::of(value(&REPLICAS), number),
            max_start_deadline: Allowed::of(value(&START_DEADLINE), |text| parse::duration(text.trim())),
        }
    }

    /// The start deadline of a gateway that names none, where `default` is the operator's.
    pub fn start_deadline(&self, default: Duration) -> Duration {
        match self.max_start_deadline {
            Allowed::Only(greatest) => default.min(greatest),
            Allowed::Any | Allowed::Unreadable(_) => default,
        }
    }
}

/// How the two who narrow one thing say it.
struct Narrows {
    flag: &'static str,
    annotation: &'static str,
}

const IMAGES: Narrows =
    Narrows { flag: "--allowed-image-prefixes", annotation: "phasegate.dev/allowed-image-prefixes" };
const NODE_LABELS: Narrows = Narrows { flag: "--allowed-node-labels", annotation: "phasegate.dev/allowed-node-labels" };
const TOLERATIONS: Narrows = Narrows { flag: "--allowed-tolerations", annotation: "phasegate.dev/allowed-tolerations" };
const INGRESS_CLASSES: Narrows =
    Narrows { flag: "--ingress-classes", annotation: "phasegate.dev/allowed-ingress-classes" };
const REPLICAS: Narrows = Narrows { flag: "--max-replicas", annotation: "phasegate.dev/max-replicas" };
const START_DEADLINE: Narrows =
    Narrows { flag: "--max-start-deadline", annotation: "phasegate.dev/max-start-deadline" };

/// Something that a gateway asks for and may not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed {
    /// The field that asks for it.
    pub field: String,
    /// What it asks for, in words.
    pub asked: String,
    /// Who does not allow it: a flag or an annotation.
    pub by: String,
    /// What that allows, in words.
    pub instead: String,
}

/// What a gateway asks for and may not have, of its pods and of its Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaches {
    /// Of its pods: they are left as they are until it is allowed.
    pub pods: Option<NotAllowed>,
    /// The class of its Ingress: that keeps what it routes.
    pub ingress_class: Option<NotAllowed>,
}

impl Breaches {
    /// Of a spec, under what the operator and what the namespace allow.
    pub fn of(spec: &ApiGatewaySpec, operator: &Allowance, namespace: &Allowance) -> Self {
        let first = |checks: &[(Narrows, Check)]| {
            checks.iter().find_map(|(narrows, check)| {
                let flag =
                    check(spec, operator).map(|breach| breach.by(format!("the operator's flag {}", narrows.flag)));
                flag.or_else(|| {
                    let by = || format!("the annotation {} of the namespace", narrows.annotation);
                    check(spec, namespace).map(|breach| breach.by(by()))
                })
            })
        };
        Self { pods: first(PODS), ingress_class: first(INGRESS) }
    }
}

struct Breach {
    field: String,
    asked: String,
    instead: String,
}

impl Breach {
    fn by(self, by: String) -> NotAllowed {
        let Self { field, asked, instead } = self;
        NotAllowed { field, asked, by, instead }
    }
}

type Check = fn(&ApiGatewaySpec, &Allowance) -> Option<Breach>;

/// First match wins.
const PODS: &[(Narrows, Check)] = &[
    (IMAGES, image),
    (NODE_LABELS, node_selector),
    (NODE_LABELS, topology_spread),
    (TOLERATIONS, tolerations),
    (REPLICAS, replicas),
    (START_DEADLINE, start_deadline),
];

const INGRESS: &[(Narrows, Check)] = &[(INGRESS_CLASSES, ingress_class)];

fn image(spec: &ApiGatewaySpec, allowance: &Allowance) -> Option<Breach> {
    let instead = allowance.image_prefixes.list_instead_of(|prefix| prefix.covers(&spec.image))?;
    Some(Breach { field: "spec.image".to_owned(), asked: images::in_words(&spec.image), instead })
}

fn node_selector(spec: &ApiGatewaySpec, allowance: &Allowance) -> Option<Breach> {
    spec.node_selector.iter().find_map(|(key, value)| {
        let instead = allowance.node_labels.list_instead_of(|label| label.covers(key, Some(value)))?;
        Some(Breach { field: "spec.nodeSelector".to_owned(), asked: quoted(&format!("{key}={value}")), instead })
    })
}

/// Pods that are spread over the values of a label go to nodes that have it.
fn topology_spread(spec: &ApiGatewaySpec, allowance: &Allowance) -> Option<Breach> {
    let keys = spec.topology_spread.iter().map(|spread| &spread.topology_key).enumerate();
    keys.filter(|(_, key)| !nodes::is_on_every_node(key)).find_map(|(at, key)| {
        let instead = allowance.node_labels.list_instead_of(|label| label.covers(key, None))?;
        Some(Breach { field: format!("spec.topologySpread[{at}].topologyKey"), asked: quoted(key), instead })
    })
}

fn tolerations(spec: &ApiGatewaySpec, allowance: &Allowance) -> Option<Breach> {
    spec.tolerations.iter().enumerate().find_map(|(at, toleration)| {
        let instead = allowance.tolerations.list_instead_of(|taint| taint.covers(toleration))?;
        Some(Breach { field: format!("spec.tolerations[{at}]"), asked: nodes::in_words(toleration), instead })
    })
}

fn replicas(spec: &ApiGatewaySpec, allowance: &Allowance) -> Option<Breach> {
    let asked = spec.replicas.unwrap_or(1);
    let instead = allowance.max_replicas.instead_of(|most| asked <= *most, |most| format!("at most {most}"))?;
    Some(Breach { field: "spec.replicas".to_owned(), asked: asked.to_string(), instead })
}

/// A gateway that names none has the operator's, or the longest that is allowed where that is less.
fn start_deadline(spec: &ApiGatewaySpec, allowance: &Allowance) -> Option<Breach> {
    let named = spec.start_deadline.map(Duration::from);
    let fits = |longest: &Duration| named.is_none_or(|named| named <= *longest);
    let instead = allowance.max_start_deadline.instead_of(fits, |longest| format!("at most {}", human(*longest)))?;
    let asked = named.map_or_else(|| "(absent)".to_owned(), human);
    Some(Breach { field: "spec.startDeadline".to_owned(), asked, instead })
}

/// Who names none has the cluster's default, which an admin chose.
fn ingress_class(spec: &ApiGatewaySpec, allowance: &Allowance) -> Option<Breach> {
    let class = spec.ingress_class_name.as_ref()?;
    let instead = allowance.ingress_classes.list_instead_of(|allowed| allowed == class)?;
    Some(Breach { field: "spec.ingressClassName".to_owned(), asked: quoted(class), instead })
}

fn quoted(text: &str) -> String {
    format!("{:?}", say(text))
}
