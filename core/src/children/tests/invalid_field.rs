//! What of a spec is not sent to anybody, field by field.

use serde_json::json;

use super::super::invalid_field;
use super::gateway;

#[test]
fn a_quantity_without_bounds_is_told_wherever_it_stands() {
    const BOMB: &str = "1e9999999";
    let divisor = |divisor: &str| {
        json!({ "env": [
            { "name": "PLAIN", "value": "1" },
            { "name": "CPU", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu", "divisor": divisor } } },
        ] })
    };
    let size = |size: &str| {
        json!({ "volumes": [
            { "name": "all", "mountPath": "/all", "emptyDir": {} },
            { "name": "some", "mountPath": "/some", "emptyDir": { "sizeLimit": size } },
        ] })
    };
    let resource = |kind: &str, name: &str, amount: &str| json!({ "resources": { kind: { "cpu": 1, name: amount } } });
    let rows = [
        (resource("limits", "memory", BOMB), resource("limits", "memory", "1e9"), "spec.resources.limits.memory"),
        (
            resource("requests", "ephemeral-storage", BOMB),
            resource("requests", "ephemeral-storage", "1Gi"),
            "spec.resources.requests.ephemeral-storage",
        ),
        (
            resource("limits", "example.com/gpu", "1e-9999999"),
            resource("limits", "example.com/gpu", "2"),
            "spec.resources.limits.example.com/gpu",
        ),
        (size(BOMB), size("64Mi"), "spec.volumes[1].emptyDir.sizeLimit"),
        (divisor(BOMB), divisor("1m"), "spec.env[1].valueFrom.resourceFieldRef.divisor"),
    ];
    for (fault, mended, field) in rows {
        let found = invalid_field(&gateway(&fault).spec).unwrap();
        assert_eq!(found.field, field);
        assert!(found.value.unwrap().starts_with("1e"), "{field}");
        assert_eq!(invalid_field(&gateway(&mended).spec), None, "{mended}");
    }
}

#[test]
fn what_a_kubelet_would_multiply_is_told_and_the_value_is_not() {
    let doubled = |name: &str, of: &str| json!({ "name": name, "value": of.repeat(1000) });
    let spec = json!({ "env": [doubled("A", "x"), doubled("B", "$(A)"), doubled("C", "$(B)")] });
    let found = invalid_field(&gateway(&spec).spec).unwrap();
    assert_eq!((found.field.as_str(), found.value), ("spec.env[1].value", None));
    let spec =
        json!({ "env": [doubled("A", "x"), { "name": "B", "value": "$(A)$(A)" }], "args": ["--a=$(B)", "$$(HOME)"] });
    assert_eq!(invalid_field(&gateway(&spec).spec), None);
}
