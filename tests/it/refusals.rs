//! The API server rejects invalid objects before the operator sees them, and names the field and the fault.

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::response::Status;
use kube::{Api, Error};
use phasegate::api::Environment;
use serde_json::{Value, json};

use crate::harness::{World, gateway};
use crate::plugin;

/// A faulty object, its field and message, and the same object without the fault.
struct Row {
    fault: Value,
    field: &'static str,
    sentence: &'static str,
    mended: Value,
}

fn row(fault: Value, field: &'static str, sentence: &'static str, mended: Value) -> Row {
    Row { fault, field, sentence, mended }
}

/// A gateway with an image and these fields in its spec.
fn with(fields: Value) -> Value {
    let mut spec = json!({ "image": "acme/gateway:1" });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    gateway("shop", spec)
}

fn named(name: &str) -> Value {
    gateway(name, json!({ "image": "acme/gateway:1" }))
}

fn environment(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "phasegate.dev/v1alpha1",
        "kind": "Environment",
        "metadata": { "name": name },
        "spec": spec,
    })
}

fn variables(count: usize) -> Value {
    (0..count).map(|number| json!({ "name": format!("VARIABLE_{number}") })).collect()
}

/// Creates an object without storing it, as `kubectl create --dry-run=server` does.
async fn create(world: &World, object: &Value) -> Result<DynamicObject, Error> {
    let resource = match object["kind"].as_str().unwrap() {
        "Environment" => ApiResource::erase::<Environment>(&()),
        _ => ApiResource::erase::<phasegate::api::ApiGateway>(&()),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    let params = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&params, &serde_json::from_value(object.clone()).unwrap()).await
}

/// The causes of an object's rejection, each as `field: sentence`.
fn causes<K: std::fmt::Debug>(answer: Result<K, Error>, object: &Value) -> Vec<String> {
    let status: Box<Status> = match answer {
        Err(Error::Api(status)) => status,
        other => panic!("{object} was not refused: {other:?}"),
    };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "{object}: {status:?}");
    let causes = status.details.unwrap().causes;
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

/// The errors of `kubectl phasegate validate` for each object of a file, as `field: sentence`.
fn offline_causes(test: &str, objects: &[&Value]) -> Vec<Vec<String>> {
    let documents: String = objects.iter().map(|object| format!("---\n{object}\n")).collect();
    let file = plugin::file(&format!("refused-{test}.yaml"), &documents);
    let said = plugin::bare(&["validate", "-o", "json", "-f", file.to_str().unwrap()]).output().unwrap();
    let told: Vec<Value> = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    assert_eq!(told.len(), objects.len());
    let text = |fault: &Value, key: &str| fault[key].as_str().unwrap().to_owned();
    let causes = |object: &Value| {
        let faults = object["faults"].as_array().unwrap();
        faults.iter().map(|fault| format!("{}: {}", text(fault, "field"), text(fault, "message"))).collect()
    };
    told.iter().map(causes).collect()
}

/// Asserts that the API server and the offline plugin reject each object with the same message, and that both accept it
/// without the fault.
async fn each_is_refused(test: &str, rows: Vec<Row>) {
    let world = World::new(test).await;
    let offline = offline_causes(test, &rows.iter().flat_map(|row| [&row.fault, &row.mended]).collect::<Vec<_>>());
    for (Row { fault, field, sentence, mended }, offline) in rows.into_iter().zip(offline.chunks(2)) {
        let mut causes = causes(create(&world, &fault).await, &fault);
        // Drops the notice that the rules were not evaluated, and the scale subresource's error for the same field.
        causes.retain(|cause| !cause.starts_with("<nil>: ") && !cause.starts_with('.'));
        causes.sort();
        let mut said = offline[0].clone();
        said.sort();
        assert_eq!(said, causes, "{fault}: the plugin and the API server");
        assert!(offline[1].is_empty(), "{mended} was to be accepted by the plugin: {:?}", offline[1]);
        let told = |cause: &String| cause.starts_with(&format!("{field}: ")) && cause.ends_with(sentence);
        assert!(causes.iter().any(told), "{fault} was to be refused with {field}: {sentence}, not with {causes:#?}");
        let accepted = create(&world, &mended).await;
        assert!(accepted.is_ok(), "{mended} was to be accepted: {accepted:?}");
    }
}

#[tokio::test]
async fn an_image_that_no_registry_can_have_is_refused() {
    const NO_REFERENCE: &str =
        "image must be an image reference such as ghcr.io/acme/gateway:1.4, with registry and repository in lower case";
    let image = |image: &str| gateway("shop", json!({ "image": image }));
    each_is_refused(
        "images",
        vec![
            row(image(""), "spec.image", "image must not be empty", image("gateway")),
            row(image("ghcr.io/Acme/gateway:1"), "spec.image", NO_REFERENCE, image("ghcr.io/acme/gateway:V1")),
            row(image("acme/gateway:1 "), "spec.image", NO_REFERENCE, image("acme/gateway:1")),
            row(image("acme/gateway@sha256:12"), "spec.image", NO_REFERENCE, image("acme/gateway")),
            row(gateway("shop", json!({})), "spec.image", "Required value", image("acme/gateway")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_host_that_is_more_or_less_than_a_name_is_refused() {
    const NO_HOST: &str = "host must be a lower-case DNS name such as shop.example.com, without scheme, port or path, \
                           and not an IP address";
    const NUMBERED: &str = "host must not end with a number: clients parse such a name as an IP address";
    const RESERVED: &str =
        "host must not be localhost or svc, or a subdomain of them: these names are for local and cluster use";
    let host = |host: &str| with(json!({ "host": host }));
    let refused = |fault: &str| row(host(fault), "spec.host", NO_HOST, host("shop.example.com"));
    let numbered = |fault: &str| row(host(fault), "spec.host", NUMBERED, host("1.example.com"));
    let reserved = |fault: &str| row(host(fault), "spec.host", RESERVED, host("shop.example.com"));
    let of_environment = |host: &str| environment("dev", json!({ "gatewayRef": { "name": "shop" }, "host": host }));
    each_is_refused(
        "hosts",
        vec![
            refused("https://shop.example.com"),
            refused("shop.example.com:8443"),
            refused("shop.example.com/api"),
            refused("Shop.example.com"),
            refused("192.0.2.7"),
            refused("2001:db8::7"),
            refused("shop.*.example.com"),
            refused("127.1"),
            numbered("0x7f000001"),
            numbered("*.1.2.3.4"),
            numbered("shop.0x7f"),
            reserved("localhost"),
            reserved("*.localhost"),
            reserved("kubernetes.default.svc"),
            row(of_environment("*.1.2.3.4"), "spec.host", NUMBERED, of_environment("dev.example.com")),
            row(of_environment("a.localhost"), "spec.host", RESERVED, of_environment("dev.example.com")),
            row(
                environment("dev", json!({ "gatewayRef": { "name": "shop" }, "host": "https://dev.example.com" })),
                "spec.host",
                "host must be a lower-case DNS name such as dev.shop.example.com, without scheme, port or path, and not an IP address",
                environment("dev", json!({ "gatewayRef": { "name": "shop" }, "host": "dev.example.com" })),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn numbers_out_of_range_are_refused() {
    let port = |port: i64| with(json!({ "port": port }));
    let replicas = |replicas: i64| with(json!({ "replicas": replicas }));
    each_is_refused(
        "numbers",
        vec![
            row(port(0), "spec.port", "should be greater than or equal to 1", port(1)),
            row(port(70_000), "spec.port", "should be less than or equal to 65535", port(65_535)),
            row(replicas(-1), "spec.replicas", "should be greater than or equal to 0", replicas(0)),
            row(replicas(1001), "spec.replicas", "should be less than or equal to 1000", replicas(1000)),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_time_that_is_no_duration_is_refused() {
    const NO_DEADLINE: &str =
        "startDeadline must be a duration such as 90s, 5m or 1h30m, each number of at most 6 digits";
    const NO_BACKOFF: &str = "backoff must be a duration such as 30s or 5m, each number of at most 6 digits";
    let deadline = |text: &str| with(json!({ "startDeadline": text }));
    let backoff = |text: &str| with(json!({ "startRetries": { "limit": 3, "backoff": text } }));
    let late = |fault: &str, sentence| row(deadline(fault), "spec.startDeadline", sentence, deadline("1s"));
    let slow = |fault: &str, sentence| row(backoff(fault), "spec.startRetries.backoff", sentence, backoff("1s"));
    each_is_refused(
        "durations",
        vec![
            late("0s", "startDeadline must be at least 1s"),
            late("999ms", "startDeadline must be at least 1s"),
            late("banana", NO_DEADLINE),
            late("3 days", NO_DEADLINE),
            late("-5m", NO_DEADLINE),
            late("300", NO_DEADLINE),
            late("", NO_DEADLINE),
            // More than the API server can calculate with: the error must not come from its arithmetic.
            late("9999999h", NO_DEADLINE),
            late("999999h999999h999999h", "Too long: may not be more than 20 bytes"),
            slow("0s", "backoff must be at least 1s"),
            slow("banana", NO_BACKOFF),
            slow("9999999h", NO_BACKOFF),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_value_of_another_type_is_refused() {
    let one_more = |field: &str, value: Value| with(json!({ field: value }));
    let of_type = |field: &str, value: Value, path, sentence, mended| {
        row(one_more(field, value), path, sentence, one_more(field, mended))
    };
    each_is_refused(
        "types",
        vec![
            of_type("port", json!("80"), "spec.port", "must be of type integer: \"string\"", json!(80)),
            of_type("replicas", json!(1.5), "spec.replicas", "must be of type int32: \"float64\"", json!(1)),
            of_type("suspend", json!("yes"), "spec.suspend", "must be of type boolean: \"string\"", json!(null)),
            of_type("args", json!("-v"), "spec.args", "must be of type array: \"string\"", json!(["-v"])),
            of_type("host", json!(["a"]), "spec.host", "must be of type string: \"array\"", json!("a")),
            of_type(
                "nodeSelector",
                json!({ "a": true }),
                "spec.nodeSelector.a",
                "must be of type string: \"boolean\"",
                json!({ "a": "true" }),
            ),
            of_type(
                "env",
                json!([{ "name": "A", "value": 1 }]),
                "spec.env[0].value",
                "must be of type string: \"integer\"",
                json!([{ "name": "A", "value": "1" }]),
            ),
            of_type(
                "resources",
                json!({ "limits": { "cpu": [] } }),
                "spec.resources.limits.cpu",
                "must be of type integer,string: \"array\"",
                json!({ "limits": { "cpu": 1 } }),
            ),
            of_type(
                "startRetries",
                json!({ "backoff": "1m" }),
                "spec.startRetries.limit",
                "Required value",
                json!({ "limit": 1 }),
            ),
            of_type("host", json!(""), "spec.host", "should be at least 1 chars long", json!("a")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_state_that_is_none_is_refused_with_those_that_are() {
    let state = |state: &str| with(json!({ "state": state }));
    const STATES: &str = r#"Unsupported value: "Paused": supported values: "Running", "Stopped", "Restarting""#;
    each_is_refused(
        "states",
        vec![
            row(state("Paused"), "spec.state", STATES, state("Running")),
            row(
                state("stopped"),
                "spec.state",
                r#"supported values: "Running", "Stopped", "Restarting""#,
                state("Stopped"),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn too_many_or_equal_environment_variables_are_refused() {
    let env = |env: Value| with(json!({ "env": env }));
    let twice = |first: &str, second: &str| env(json!([{ "name": first }, { "name": second, "value": "2" }]));
    each_is_refused(
        "variables",
        vec![
            row(env(variables(101)), "spec.env", "Too many: 101: must have at most 100 items", env(variables(100))),
            row(twice("A", "A"), "spec.env[1]", r#"Duplicate value: {"name":"A"}"#, twice("A", "B")),
        ],
    )
    .await;
}

/// A quantity that would take the API server minutes to compute is rejected by its text alone, in every field with a
/// quantity.
#[tokio::test]
async fn a_quantity_without_bounds_is_refused_wherever_it_stands() {
    const PATTERN: &str = "in body should match '^[+]?([0-9]{1,19}([.][0-9]{0,18})?|[.][0-9]{1,18})([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$'";
    let limit = |text: &str| with(json!({ "resources": { "limits": { "memory": text } } }));
    let request = |text: &str| with(json!({ "resources": { "requests": { "example.com/gpu": text } } }));
    let size = |text: &str| {
        with(json!({ "volumes": [{ "name": "a", "mountPath": "/a", "emptyDir": { "sizeLimit": text } }] }))
    };
    let divisor = |text: &str| {
        let of = json!({ "resourceFieldRef": { "resource": "limits.cpu", "divisor": text } });
        with(json!({ "env": [{ "name": "CPU", "valueFrom": of }] }))
    };
    let mut rows = vec![
        row(request("1e9999999"), "spec.resources.requests.example.com/gpu", PATTERN, request("1")),
        row(size("1e9999999"), "spec.volumes[0].emptyDir.sizeLimit", PATTERN, size("64Mi")),
        row(divisor("1e9999999"), "spec.env[0].valueFrom.resourceFieldRef.divisor", PATTERN, divisor("1m")),
        row(
            limit(&"9".repeat(44)),
            "spec.resources.limits.memory",
            "Too long: may not be more than 43 bytes",
            limit("9"),
        ),
    ];
    let pairs = [
        ("1e9999999", "1e99"),
        ("1e999999", "1E+03"),
        ("1e-9999999", "1e-3"),
        ("1e100", "1e0"),
        ("99999999999999999999", "9223372036854775807"),
        ("0.1234567890123456789", "0.123456789012345678"),
        ("-1", "+1"),
        ("1Zi", "2Ei"),
        ("0x10", "100u"),
        ("nan", "5n"),
        ("1e1.5", "1."),
        ("", ".5"),
        ("1 ", "250m"),
        ("1\n", "9999999999999999999.99999999999999999e-99"),
    ];
    rows.extend(pairs.map(|(fault, mended)| row(limit(fault), "spec.resources.limits.memory", PATTERN, limit(mended))));
    each_is_refused("quantities", rows).await;
}

#[tokio::test]
async fn more_bytes_than_a_gateway_needs_are_refused_and_those_fit_that_people_use() {
    let env = |count: usize, length: usize| {
        let variable = |number| json!({ "name": format!("VARIABLE_{number}"), "value": "x".repeat(length) });
        with(json!({ "env": (0..count).map(variable).collect::<Vec<_>>() }))
    };
    let texts = |field: &str, count: usize, length: usize| with(json!({ field: vec!["x".repeat(length); count] }));
    let labels = |count: usize, key: usize, value: usize| {
        let label = |number| (format!("{number:0>key$}"), json!("x".repeat(value)));
        with(json!({ "nodeSelector": (0..count).map(label).collect::<serde_json::Map<_, _>>() }))
    };
    let toleration = |key: usize| with(json!({ "tolerations": [{ "key": "x".repeat(key), "operator": "Exists" }] }));
    let secret = |name: usize| with(json!({ "imagePullSecrets": [{ "name": "x".repeat(name) }] }));
    let limits = |count: usize, key: usize| {
        let limit = |number| (format!("{number:0>key$}"), json!(1));
        with(json!({ "resources": { "limits": (0..count).map(limit).collect::<serde_json::Map<_, _>>() } }))
    };
    // A character can have four bytes.
    let wide = |field: &str, count: usize| with(json!({ field: vec!["\u{1f980}".repeat(4096); count] }));
    let all_of_env =
        "the values of env must have at most 262144 bytes in total: move larger values to a ConfigMap or a Secret";
    let all_of_args = "args must have at most 65536 bytes in total";
    each_is_refused(
        "bytes",
        vec![
            row(env(1, 32_769), "spec.env[0].value", "Too long: may not be more than 32768 bytes", env(1, 32_768)),
            row(env(9, 32_768), "spec.env", all_of_env, env(8, 32_768)),
            row(env(100, 2622), "spec.env", all_of_env, env(100, 2621)),
            row(
                texts("args", 1, 8193),
                "spec.args[0]",
                "Too long: may not be more than 8192 bytes",
                texts("args", 8, 8192),
            ),
            row(texts("args", 9, 8192), "spec.args", all_of_args, texts("args", 64, 1024)),
            row(wide("args", 5), "spec.args", all_of_args, wide("args", 4)),
            row(
                texts("command", 9, 8192),
                "spec.command",
                "command must have at most 65536 bytes in total",
                texts("command", 64, 1024),
            ),
            row(labels(33, 5, 1), "spec.nodeSelector", "Too many: 33: must have at most 32 items", labels(32, 317, 63)),
            row(labels(1, 318, 1), "spec.nodeSelector", "a key must have at most 317 characters", labels(1, 317, 1)),
            row(labels(1, 1, 64), "spec.nodeSelector.0", "Too long: may not be more than 63 bytes", labels(1, 1, 63)),
            row(
                toleration(318),
                "spec.tolerations[0].key",
                "Too long: may not be more than 317 bytes",
                toleration(317),
            ),
            row(secret(254), "spec.imagePullSecrets[0].name", "Too long: may not be more than 253 bytes", secret(253)),
            row(limits(33, 5), "spec.resources.limits", "Too many: 33: must have at most 32 items", limits(32, 5)),
            row(
                limits(1, 318),
                "spec.resources.limits",
                "a resource name must have at most 317 characters",
                limits(1, 317),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_name_that_a_service_cannot_have_is_refused() {
    const NO_LABEL: &str = "metadata.name must start with a lower-case letter, end with a letter or digit and contain only lower-case letters, digits and '-': the Service has the same name";
    const NO_LABEL_EITHER: &str = "metadata.name must start with a lower-case letter, end with a letter or digit and contain only lower-case letters, digits and '-'";
    let env = |name: &str| environment(name, json!({ "gatewayRef": { "name": "shop" } }));
    let long = "a".repeat(51);
    let fits = "a".repeat(50);
    each_is_refused(
        "names",
        vec![
            row(named("1shop"), "metadata.name", NO_LABEL, named("shop1")),
            row(named("shop.eu"), "metadata.name", NO_LABEL, named("shop-eu")),
            row(named("Shop"), "metadata.name", "(e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')", named("shop")),
            row(
                named(&long),
                "metadata.name",
                "metadata.name must have at most 50 characters: the pods' names are derived from it",
                named(&fits),
            ),
            row(env("1dev"), "metadata.name", NO_LABEL_EITHER, env("dev1")),
            row(env(&long), "metadata.name", "metadata.name must have at most 50 characters", env(&fits)),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_path_that_leads_astray_or_nowhere_is_refused() {
    let path = |path: &str| with(json!({ "host": "shop.example.com", "path": path }));
    let ready = |path: &str| with(json!({ "readinessPath": path }));
    let tls = |more: Value| {
        let mut object = with(json!({ "tls": { "secretName": "shop-tls" } }));
        object["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let inside = "path must not contain '..', '//' or '/./'";
    each_is_refused(
        "paths",
        vec![
            row(path("api"), "spec.path", "path must start with '/'", path("/api")),
            row(path("/api/../admin"), "spec.path", inside, path("/api/admin")),
            row(path("/api//v1"), "spec.path", inside, path("/api/v1/")),
            row(path("/api/./v1"), "spec.path", inside, path("/api/.v1")),
            row(path("/a?b=c"), "spec.path", "path may hold only letters, digits and - . _ ~ /", path("/~a-b_c.d")),
            row(ready("healthz"), "spec.readinessPath", "readinessPath must start with '/'", ready("/healthz?full=1")),
            row(
                with(json!({ "path": "/api" })),
                "spec.host",
                "path needs a host: without a host there is no Ingress",
                path("/api"),
            ),
            row(tls(json!({})), "spec.host", "tls needs a host", tls(json!({ "host": "shop.example.com" }))),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_volume_that_is_not_exactly_one_thing_is_refused() {
    const NOT_ONE: &str = "a volume must have exactly one of configMap, secret and emptyDir";
    const NO_NAME: &str = "a volume's name must be a DNS label other than tmp";
    const NO_MOUNT: &str = "mountPath must be an absolute path other than /tmp, without ':' or '..'";
    let volumes = |volumes: Value| with(json!({ "volumes": volumes }));
    let named = |names: &[&str]| {
        volumes(names.iter().map(|name| json!({ "name": name, "mountPath": "/data", "emptyDir": {} })).collect())
    };
    let mounted = |path: &str| volumes(json!([{ "name": "data", "mountPath": path, "emptyDir": {} }]));
    each_is_refused(
        "volumes",
        vec![
            row(
                volumes(json!([{ "name": "data", "mountPath": "/data", "emptyDir": {}, "secret": { "name": "s" } }])),
                "spec.volumes[0]",
                NOT_ONE,
                volumes(json!([{ "name": "data", "mountPath": "/data", "secret": { "name": "s" } }])),
            ),
            row(
                volumes(json!([{ "name": "data", "mountPath": "/data" }])),
                "spec.volumes[0]",
                NOT_ONE,
                volumes(json!([{ "name": "data", "mountPath": "/data", "configMap": { "name": "c" } }])),
            ),
            row(
                named(&["data", "data"]),
                "spec.volumes[1]",
                r#"Duplicate value: {"name":"data"}"#,
                named(&["data", "more"]),
            ),
            row(named(&["tmp"]), "spec.volumes[0].name", NO_NAME, named(&["tmp2"])),
            row(named(&["Data"]), "spec.volumes[0].name", NO_NAME, named(&["data"])),
            row(mounted("data"), "spec.volumes[0].mountPath", NO_MOUNT, mounted("/data")),
            row(mounted("/data/../etc"), "spec.volumes[0].mountPath", NO_MOUNT, mounted("/data/etc")),
            row(mounted("/tmp"), "spec.volumes[0].mountPath", NO_MOUNT, mounted("/tmp/data")),
            row(mounted("/tmp/"), "spec.volumes[0].mountPath", NO_MOUNT, mounted("/tmpfs")),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_environment_cannot_move_to_another_gateway() {
    let world = World::new("moving").await;
    world.create::<Environment>(environment("dev", json!({ "gatewayRef": { "name": "shop" } }))).await;
    let environments = world.api::<Environment>();
    let merge = async |spec: Value| {
        environments.patch("dev", &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await
    };

    let moved = json!({ "gatewayRef": { "name": "bank" } });
    let causes = causes(merge(moved.clone()).await, &moved);
    assert!(
        causes.len() == 1
            && causes[0].starts_with("spec.gatewayRef: ")
            && causes[0].ends_with("gatewayRef cannot be changed: delete the Environment and create another"),
        "{causes:#?}"
    );
    merge(json!({ "gatewayRef": { "name": "shop" }, "host": "dev.example.com" })).await.unwrap();
}

#[tokio::test]
async fn what_only_looks_odd_is_accepted_as_it_is() {
    let world = World::new("odd").await;
    let digest = format!("registry.example.com:5000/acme/gateway:1@sha256:{}", "0f".repeat(32));
    for spec in [
        json!({ "image": digest }),
        json!({ "image": "localhost:5000/gateway" }),
        json!({ "image": "acme/my__gateway--x:Release_1.2-RC" }),
        json!({ "image": "acme/gateway:1", "host": "*.shop.example.com" }),
        json!({ "image": "acme/gateway:1", "host": "shop" }),
        json!({ "image": "acme/gateway:1", "host": "localhost.example.com" }),
        json!({ "image": "acme/gateway:1", "host": "xn--bcher-kva.example.com" }),
        json!({ "image": "acme/gateway:1", "host": "7.example.com" }),
        json!({ "image": "acme/gateway:1", "resources": { "requests": { "cpu": 1 }, "limits": { "memory": "1Gi" } } }),
        json!({ "image": "acme/gateway:1", "startDeadline": "1h30m" }),
        json!({ "image": "acme/gateway:1", "startDeadline": "1.5h" }),
        json!({ "image": "acme/gateway:1", "startDeadline": "86400s" }),
        json!({ "image": "acme/gateway:1", "replicas": 0 }),
        json!({ "image": "acme/gateway:1", "state": "Restarting" }),
        json!({ "image": "acme/gateway:1", "volumes": [{ "name": "scratch", "mountPath": "/scratch", "emptyDir": { "sizeLimit": 1048576 } }] }),
    ] {
        let object = gateway("shop", spec.clone());
        let accepted = create(&world, &object).await.unwrap_or_else(|error| panic!("{object}: {error}"));
        for (field, value) in spec.as_object().unwrap() {
            assert_eq!(&accepted.data["spec"][field], value, "{field} of {object} was changed");
        }
    }
}

#[tokio::test]
async fn an_image_is_all_that_must_be_said() {
    let world = World::new("least").await;

    let accepted = create(&world, &named("shop")).await.unwrap();

    assert_eq!(
        accepted.data["spec"],
        json!({ "image": "acme/gateway:1", "port": 8080, "replicas": 1, "state": "Running" })
    );
}
