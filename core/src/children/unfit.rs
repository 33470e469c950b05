//! What of a spec is not sent to anybody: whoever reads it would compute, or allocate, without end. The definitions refuse it;
//! this is for what was stored before they did, and for what they cannot count.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::expansion;
use crate::api::ApiGatewaySpec;
use crate::parse::quantity::quantity;

/// A field that is not sent to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Its path.
    pub field: String,
    /// Its value, where that is short and no secret.
    pub value: Option<String>,
    /// What it should be.
    pub why: &'static str,
}

const NO_QUANTITY: &str = "it is no quantity such as 250m, 1.5, 64Mi or 1e3, of at most 19 digits, 18 decimals and an exponent of 2 \
                           digits";
const TOO_LONG: &str = "with the variables that it refers to it is longer than a program can be started with: 128 KiB, or 2 MiB \
                        together with the others";

/// The first field of a spec that is not sent to anybody.
pub fn unfit(spec: &ApiGatewaySpec) -> Option<Unfit> {
    resources(spec)
        .or_else(|| volumes(spec))
        .or_else(|| divisors(spec))
        .or_else(|| expansion::too_long(spec).map(|field| Unfit { field, value: None, why: TOO_LONG }))
}

fn resources(spec: &ApiGatewaySpec) -> Option<Unfit> {
    let resources = spec.resources.as_ref()?;
    [("limits", &resources.limits), ("requests", &resources.requests)].into_iter().find_map(|(kind, quantities)| {
        let (name, found) = quantities.iter().find(|(_, found)| !is_sound(found))?;
        Some(no_quantity(format!("spec.resources.{kind}.{name}"), found))
    })
}

fn volumes(spec: &ApiGatewaySpec) -> Option<Unfit> {
    let sizes = spec.volumes.iter().map(|volume| volume.empty_dir.as_ref()?.size_limit.as_ref());
    let (index, found) = first_unsound(sizes)?;
    Some(no_quantity(format!("spec.volumes[{index}].emptyDir.sizeLimit"), found))
}

fn divisors(spec: &ApiGatewaySpec) -> Option<Unfit> {
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

fn no_quantity(field: String, found: &Quantity) -> Unfit {
    Unfit { field, value: Some(found.0.clone()), why: NO_QUANTITY }
}
