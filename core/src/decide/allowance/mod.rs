//! Restrictions on what gateways may ask for: from the operator's flags for all gateways, and from annotations
//! of a Namespace for its gateways. Both must allow a thing, so an annotation can only restrict further.
//!
//! `entry` parses lists; `images`, `nodes` and `parents` define what an entry covers.
//!
//! **Architecture invariant:** this module imports only `api`, `parse` and `words`. An unparsable restriction
//! allows nothing. A missing one allows anything.

mod entry;
mod images;
mod nodes;
mod parents;

use std::collections::BTreeMap;
use std::time::Duration;

use super::words::{human, say};
use crate::api::ApiGatewaySpec;
use crate::parse;
pub use entry::{Entry, listed};
pub use images::ImagePrefix;
pub use nodes::{NodeLabel, Taint};
pub use parents::{AllowedParent, default_parent};

/// What is allowed of one kind of thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed<T> {
    /// No restriction.
    #[default]
    Any,
    /// Only this.
    Only(T),
    /// An unparsable restriction, which allows nothing; the parse error.
    Unreadable(String),
}

impl<T> Allowed<T> {
    /// From an annotation, if it is there.
    fn of(text: Option<&String>, parse: impl FnOnce(&str) -> Result<T, String>) -> Self {
        match text.map(|text| parse(text)) {
            None => Self::Any,
            Some(Ok(what)) => Self::Only(what),
            Some(Err(why)) => Self::Unreadable(why),
        }
    }

    /// From a flag. An empty environment variable counts as unset.
    fn flag(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Self, String> {
        if text.is_empty() { Ok(Self::Any) } else { parse(text).map(Self::Only) }
    }

    /// What is allowed instead, as text, if something is not allowed.
    fn instead_of(&self, fits: impl FnOnce(&T) -> bool, words: impl FnOnce(&T) -> String) -> Option<String> {
        match self {
            Self::Any => None,
            Self::Only(what) if fits(what) => None,
            Self::Only(what) => Some(format!("allows {}", words(what))),
            Self::Unreadable(why) => Some(format!("is invalid ({}) and allows nothing", say(why))),
        }
    }
}

impl<T: Entry> Allowed<Vec<T>> {
    /// Parses a flag with a list.
    ///
    /// # Errors
    /// A message that names the invalid entry and says why.
    pub fn list_of_flag(text: &str) -> Result<Self, String> {
        Self::flag(text, listed)
    }

    fn list_instead_of(&self, fits: impl Fn(&T) -> bool) -> Option<String> {
        self.instead_of(|list| list.iter().any(fits), |list| entry::only(list))
    }
}

impl Allowed<i32> {
    /// Parses a flag with a number.
    ///
    /// # Errors
    /// A message that says what is wrong with it.
    pub fn number_of_flag(text: &str) -> Result<Self, String> {
        Self::flag(text, number)
    }
}

impl Allowed<Duration> {
    /// Parses a flag with a duration.
    ///
    /// # Errors
    /// A message that says what is wrong with it.
    pub fn duration_of_flag(text: &str) -> Result<Self, String> {
        Self::flag(text, parse::duration)
    }
}

fn number(text: &str) -> Result<i32, String> {
    let number = text.trim().parse().ok().filter(|number| (0..=1000).contains(number));
    number.ok_or_else(|| "must be a number from 0 to 1000".to_owned())
}

/// The restrictions of one source: the flags, or a Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Allowed image sources.
    pub image_prefixes: Allowed<Vec<ImagePrefix>>,
    /// Node labels that the spec may select.
    pub node_labels: Allowed<Vec<NodeLabel>>,
    /// Taints that the spec may tolerate.
    pub tolerations: Allowed<Vec<Taint>>,
    /// Ingress classes that the spec may name.
    pub ingress_classes: Allowed<Vec<String>>,
    /// Parent Gateways that the spec may name.
    pub parent_refs: Allowed<Vec<AllowedParent>>,
    /// The most replicas.
    pub max_replicas: Allowed<i32>,
    /// The longest start deadline.
    pub max_start_deadline: Allowed<Duration>,
}

impl Allowance {
    /// No restrictions.
    pub const ANYTHING: Self = Self {
        image_prefixes: Allowed::Any,
        node_labels: Allowed::Any,
        tolerations: Allowed::Any,
        ingress_classes: Allowed::Any,
        parent_refs: Allowed::Any,
        max_replicas: Allowed::Any,
        max_start_deadline: Allowed::Any,
    };

    /// Reads the annotations of a Namespace.
    pub fn of_namespace(annotations: &BTreeMap<String, String>) -> Self {
        let value = |name: &Narrows| annotations.get(name.annotation);
        Self {
            image_prefixes: Allowed::of(value(&IMAGES), listed),
            node_labels: Allowed::of(value(&NODE_LABELS), listed),
            tolerations: Allowed::of(value(&TOLERATIONS), listed),
            ingress_classes: Allowed::of(value(&INGRESS_CLASSES), listed),
            parent_refs: Allowed::of(value(&PARENT_REFS), listed),
            max_replicas: Allowed::of(value(&REPLICAS), number),
            max_start_deadline: Allowed::of(value(&START_DEADLINE), |text| parse::duration(text.trim())),
        }
    }

    /// The start deadline of a gateway without its own; `default` is the operator's.
    pub fn start_deadline(&self, default: Duration) -> Duration {
        match self.max_start_deadline {
            Allowed::Only(greatest) => default.min(greatest),
            Allowed::Any | Allowed::Unreadable(_) => default,
        }
    }
}

/// The flag and the annotation of one restriction.
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
const PARENT_REFS: Narrows = Narrows { flag: "--allowed-parent-refs", annotation: "phasegate.dev/allowed-parent-refs" };
const REPLICAS: Narrows = Narrows { flag: "--max-replicas", annotation: "phasegate.dev/max-replicas" };
const START_DEADLINE: Narrows =
    Narrows { flag: "--max-start-deadline", annotation: "phasegate.dev/max-start-deadline" };

/// A violation of a restriction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed {
    /// The field of the spec.
    pub field: String,
    /// Its value, as text.
    pub asked: String,
    /// The flag or annotation that does not allow it.
    pub by: String,
    /// What that allows, as text.
    pub instead: String,
}

/// The violations of a gateway, by what they affect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// Of its pods, which stay as they are.
    pub pods: Option<NotAllowed>,
    /// Of its ingress class. The Ingress keeps its routes.
    pub ingress_class: Option<NotAllowed>,
    /// Of a parent Gateway. The HTTPRoute keeps its routes.
    pub parent_ref: Option<NotAllowed>,
}

impl Violations {
    /// No violations.
    pub const NONE: Self = Self { pods: None, ingress_class: None, parent_ref: None };

    /// Checks a spec in the namespace `own` against the restrictions of the operator and of the namespace.
    pub fn of(spec: &ApiGatewaySpec, own: &str, operator: &Allowance, namespace: &Allowance) -> Self {
        let asked = Asked { spec, own };
        let first = |checks: &[(Narrows, Check)]| {
            checks.iter().find_map(|(narrows, check)| {
                let flag = check(&asked, operator)
                    .map(|violation| violation.by(format!("the operator flag {}", narrows.flag)));
                flag.or_else(|| {
                    let by = || format!("the namespace annotation {}", narrows.annotation);
                    check(&asked, namespace).map(|violation| violation.by(by()))
                })
            })
        };
        Self { pods: first(PODS), ingress_class: first(INGRESS), parent_ref: first(HTTP_ROUTE) }
    }
}

struct Violation {
    field: String,
    asked: String,
    instead: String,
}

impl Violation {
    fn by(self, by: String) -> NotAllowed {
        let Self { field, asked, instead } = self;
        NotAllowed { field, asked, by, instead }
    }
}

/// The spec, and its namespace.
struct Asked<'a> {
    spec: &'a ApiGatewaySpec,
    own: &'a str,
}

type Check = fn(&Asked<'_>, &Allowance) -> Option<Violation>;

/// Checks of the pods; the first match wins.
const PODS: &[(Narrows, Check)] = &[
    (IMAGES, image),
    (NODE_LABELS, node_selector),
    (NODE_LABELS, topology_spread),
    (TOLERATIONS, tolerations),
    (REPLICAS, replicas),
    (START_DEADLINE, start_deadline),
];

const INGRESS: &[(Narrows, Check)] = &[(INGRESS_CLASSES, ingress_class)];

const HTTP_ROUTE: &[(Narrows, Check)] = &[(PARENT_REFS, parent_ref)];

fn image(Asked { spec, .. }: &Asked<'_>, allowance: &Allowance) -> Option<Violation> {
    let instead = allowance.image_prefixes.list_instead_of(|prefix| prefix.covers(&spec.image))?;
    Some(Violation { field: "spec.image".to_owned(), asked: images::in_words(&spec.image), instead })
}

fn node_selector(Asked { spec, .. }: &Asked<'_>, allowance: &Allowance) -> Option<Violation> {
    spec.node_selector.iter().find_map(|(key, value)| {
        let instead = allowance.node_labels.list_instead_of(|label| label.covers(key, Some(value)))?;
        Some(Violation { field: "spec.nodeSelector".to_owned(), asked: quoted(&format!("{key}={value}")), instead })
    })
}

/// A topology spread over a label selects the nodes with that label.
fn topology_spread(Asked { spec, .. }: &Asked<'_>, allowance: &Allowance) -> Option<Violation> {
    let keys = spec.topology_spread.iter().map(|spread| &spread.topology_key).enumerate();
    keys.filter(|(_, key)| !nodes::is_on_every_node(key)).find_map(|(at, key)| {
        let instead = allowance.node_labels.list_instead_of(|label| label.covers(key, None))?;
        Some(Violation { field: format!("spec.topologySpread[{at}].topologyKey"), asked: quoted(key), instead })
    })
}

fn tolerations(Asked { spec, .. }: &Asked<'_>, allowance: &Allowance) -> Option<Violation> {
    spec.tolerations.iter().enumerate().find_map(|(at, toleration)| {
        let instead = allowance.tolerations.list_instead_of(|taint| taint.covers(toleration))?;
        Some(Violation { field: format!("spec.tolerations[{at}]"), asked: nodes::in_words(toleration), instead })
    })
}

fn replicas(Asked { spec, .. }: &Asked<'_>, allowance: &Allowance) -> Option<Violation> {
    let asked = spec.replicas.unwrap_or(1);
    let instead = allowance.max_replicas.instead_of(|most| asked <= *most, |most| format!("at most {most}"))?;
    Some(Violation { field: "spec.replicas".to_owned(), asked: asked.to_string(), instead })
}

/// A gateway without a deadline gets the operator's default, or the longest allowed one if that is shorter.
fn start_deadline(Asked { spec, .. }: &Asked<'_>, allowance: &Allowance) -> Option<Violation> {
    let named = spec.start_deadline.map(Duration::from);
    let fits = |longest: &Duration| named.is_none_or(|named| named <= *longest);
    let instead = allowance.max_start_deadline.instead_of(fits, |longest| format!("at most {}", human(*longest)))?;
    let asked = named.map_or_else(|| "(absent)".to_owned(), human);
    Some(Violation { field: "spec.startDeadline".to_owned(), asked, instead })
}

/// Without a class the cluster's default applies, which an admin chose.
fn ingress_class(Asked { spec, .. }: &Asked<'_>, allowance: &Allowance) -> Option<Violation> {
    let class = spec.ingress_class_name.as_ref().filter(|_| spec.exposure().by_ingress())?;
    let instead = allowance.ingress_classes.list_instead_of(|allowed| allowed == class)?;
    Some(Violation { field: "spec.ingressClassName".to_owned(), asked: quoted(class), instead })
}

/// Without parents the operator's default applies.
fn parent_ref(Asked { spec, own }: &Asked<'_>, allowance: &Allowance) -> Option<Violation> {
    let named = spec.parent_refs.iter().enumerate().filter(|_| spec.exposure().by_route());
    named.into_iter().find_map(|(at, parent)| {
        let namespace = parent.namespace_or(own);
        let instead = allowance.parent_refs.list_instead_of(|allowed| allowed.covers(namespace, &parent.name, own))?;
        let asked = quoted(&format!("{namespace}/{}", parent.name));
        Some(Violation { field: format!("spec.parentRefs[{at}]"), asked, instead })
    })
}

fn quoted(text: &str) -> String {
    format!("{:?}", say(text))
}
