//! Fields whose value the operator refuses to pass on: a reader would compute or allocate without end. The CRDs
//! refuse most of them; this check covers objects that were stored before the CRDs did, and what a schema
//! cannot count.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::expansion;
use crate::api::ApiGatewaySpec;
use crate::parse::quantity::quantity;

/// A field with such a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// Its path.
    pub field: String,
    /// Its value, if it is short and no secret.
    pub value: Option<String>,
    /// What the value should be.
    pub why: &'static str,
}

const NO_QUANTITY: &str = "must be a quantity such as 250m, 1.5, 64Mi or 1e3, with at most 19 digits, 18 decimals and \
                           an exponent of 2 digits";
/// The first such field of a spec.
pub fn invalid_field(spec: &ApiGatewaySpec) -> Option<InvalidField> {
    resources(spec)
        .or_else(|| volumes(spec))
        .or_else(|| divisors(spec))
        .or_else(|| expansion::too_long(spec).map(|(field, why)| InvalidField { field, value: None, why }))
}

fn resources(spec: &ApiGatewaySpec) -> Option<InvalidField> {
    let resources = spec.resources.as_ref()?;
    [("limits", &resources.limits), ("requests", &resources.requests)].into_iter().find_map(|(kind, quantities)| {
        let (name, found) = quantities.iter().find(|(_, found)| !is_sound(found))?;
        Some(no_quantity(format!("spec.resources.{kind}.{name}"), found))
    })
}

fn volumes(spec: &ApiGatewaySpec) -> Option<InvalidField> {
    let sizes = spec.volumes.iter().map(|volume| volume.empty_dir.as_ref()?.size_limit.as_ref());
    let (index, found) = first_unsound(sizes)?;
    Some(no_quantity(format!("spec.volumes[{index}].emptyDir.sizeLimit"), found))
}

fn divisors(spec: &ApiGatewaySpec) -> Option<InvalidField> {
    let fields = spec.env.iter().map(|variable| variable.value_from.as_ref()?.resource_field_ref.as_ref());
    let (index, found) = first_unsound(fields.map(|field| field?.divisor.as_ref()))?;
    Some(no_quantity(format!("spec.env[{index}].valueFrom.resourceFieldRef.divisor"), found))
}

fn first_unsound<'a>(found: impl Iterator<Item = Option<&'a Quantity>>) -> Option<(usize, &'a Quantity)> {
    found.enumerate().find_map(|(index, found)| Some((index, found.filter(|found| !is_sound(found))?)))
}

fn is_sound(found: &Quantity) -> bool {
    quantity(&found.0).is_some()
}

fn no_quantity(field: String, found: &Quantity) -> InvalidField {
    InvalidField { field, value: Some(found.0.clone()), why: NO_QUANTITY }
}
