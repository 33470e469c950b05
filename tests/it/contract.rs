//! The published custom resource definitions keep their contract with users, and the state machine that they
//! describe stays pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use phasegate::api::{self, Environment};
use serde_json::{Value, json};

use crate::harness::{World, gateway, root};

/// Whether generated files are rewritten, as `make generate` does.
pub fn generates() -> bool {
    std::env::var("PHASEGATE_GENERATE").is_ok_and(|value| value == "1")
}

#[test]
fn crds_are_those_of_the_types() {
    let folder = root().join("crds");
    let mut expected = Vec::new();
    for (plural, yaml) in api::crds_yaml().unwrap() {
        let file = folder.join(format!("{plural}.yaml"));
        if generates() {
            std::fs::write(&file, &yaml).unwrap();
        }
        let published = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(published == yaml, "{} is not that of the types: run make generate", file.display());
        expected.push(file);
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert_eq!(found, expected, "crds/ holds what is applied with it, and nothing else");
}

#[test]
fn every_field_is_described() {
    let crds = api::crds().unwrap();
    let mut fields = Vec::new();
    for (_, crd) in &crds {
        properties(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &kind(crd), &mut fields);
    }
    let described = |schema: &Value| schema["description"].as_str().is_some_and(|text| !text.trim().is_empty());
    // The API server sets the description of metadata. A CRD cannot set it.
    let ours = |path: &str| !path.ends_with(".metadata") && !path.ends_with(".metadata.name");
    let silent: Vec<_> =
        fields.iter().filter(|(path, schema)| ours(path) && !described(schema)).map(|(path, _)| path).collect();
    assert!(fields.len() > 100, "the walk found only {} fields", fields.len());
    assert!(silent.is_empty(), "kubectl explain says nothing about {silent:#?}");
}

#[test]
fn no_field_may_be_null() {
    for (_, crd) in api::crds().unwrap() {
        let mut found = Vec::new();
        keys(&crd, &kind(&crd), &mut found);
        let nullable: Vec<_> = found.iter().filter(|path| path.ends_with(".nullable")).collect();
        assert!(nullable.is_empty(), "{nullable:#?}");
    }
}

fn kind(crd: &Value) -> String {
    crd["spec"]["names"]["kind"].as_str().unwrap().to_owned()
}

/// Collects every property of a schema, at every depth, with its path.
fn properties<'a>(schema: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        properties(property, &path, found);
        found.push((path, property));
    }
    for (of, each) in [("items", "[]"), ("additionalProperties", "[*]")] {
        if let Some(schema) = schema.get(of) {
            properties(schema, &format!("{path}{each}"), found);
        }
    }
}

/// Collects every key of an object, at every depth, by its path.
fn keys(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{path}.{key}");
                keys(value, &path, found);
                found.push(path);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, path, found)),
        _ => {}
    }
}

/// Creates a gateway whose status fills every printer column.
async fn reported(world: &World) {
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let ready = json!({
        "type": "Ready",
        "status": "True",
        "reason": "Started",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let status = json!({
        "state": "Running",
        "phase": "Started",
        "replicas": 3,
        "readyReplicas": 2,
        "selector": "app=shop",
        "url": "http://shop.example.com/",
        "conditions": [ready],
        "environments": { "active": 1, "total": 4 },
    });
    world.patch_status("shop", json!({ "status": status })).await;
}

fn lines(world: &World, arguments: &[&str]) -> Vec<Vec<String>> {
    let output = world.kubectl(arguments);
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    stdout.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[tokio::test]
async fn a_list_of_gateways_shows_how_each_is_and_why() {
    let world = World::new("columns").await;
    reported(&world).await;

    let narrow = lines(&world, &["get", "agw"]);
    assert_eq!(narrow[0], ["NAME", "STATE", "PHASE", "READY", "REPLICAS", "URL", "REASON", "AGE"]);
    assert_eq!(narrow[1][..7], ["shop", "Running", "Started", "True", "2", "http://shop.example.com/", "Started"]);

    let wide = lines(&world, &["get", "agw", "-o", "wide"]);
    assert_eq!(wide[0][..8], narrow[0]);
    assert_eq!(wide[0][8..], ["IMAGE", "ENVIRONMENTS"]);
    assert_eq!(wide[1][8..], ["acme/gateway:1", "1"]);
}

#[tokio::test]
async fn short_names_and_the_category_find_both_kinds() {
    let world = World::new("shortnames").await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let dev = json!({
        "metadata": { "name": "dev" },
        "spec": { "gatewayRef": { "name": "shop" }, "host": "dev.example.com" },
    });
    world.create::<Environment>(dev).await;

    assert_eq!(lines(&world, &["get", "agw", "-o", "name"]), [["apigateway.phasegate.dev/shop"]]);
    assert_eq!(lines(&world, &["get", "agwenv", "-o", "name"]), [["environment.phasegate.dev/dev"]]);
    assert_eq!(
        lines(&world, &["get", "phasegate", "-o", "name"]),
        [["apigateway.phasegate.dev/shop"], ["environment.phasegate.dev/dev"]]
    );
    let environments = lines(&world, &["get", "agwenv"]);
    assert_eq!(environments[0], ["NAME", "GATEWAY", "STATE", "HOST", "AGE"]);
    assert_eq!(environments[1][..2], ["dev", "shop"]);
}

#[tokio::test]
async fn kubectl_and_autoscalers_scale_a_gateway() {
    let world = World::new("scale").await;
    reported(&world).await;
    assert_eq!(world.gateway("shop").await.spec.replicas, Some(1), "the convention of Deployments");

    lines(&world, &["scale", "agw/shop", "--replicas=2"]);

    assert_eq!(world.gateway("shop").await.spec.replicas, Some(2));
    let scale = world.kubectl(&["get", "agw", "shop", "--subresource=scale", "-o", "json"]);
    let scale: Value = serde_json::from_slice(&scale.stdout).unwrap();
    assert_eq!(scale["spec"], json!({ "replicas": 2 }));
    assert_eq!(scale["status"], json!({ "replicas": 3, "selector": "app=shop" }));
}

/// The state machine decides from its arguments alone. The core is a separate crate, so that the compiler keeps
/// executors and clients out of it. `core/clippy.toml` keeps out the current time, files and the environment.
#[test]
fn the_core_depends_on_no_client_no_executor_and_no_database() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "phasegate-core", "--edges", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains("phasegate-core") && crates.contains("kube-core"), "{tree}");
    for forbidden in ["tokio", "kube-client", "kube-runtime", "hyper", "mongodb"] {
        assert!(!crates.contains(forbidden), "{forbidden} is in\n{tree}");
    }
}

/// These modules use bson for documents, and nothing else of MongoDB.
#[test]
fn what_is_read_from_and_told_to_documents_is_computed_without_a_database_or_a_clock() {
    const FORBIDDEN: [&str; 11] = [
        "tokio",
        "kube::Client",
        "kube::Api",
        "kube::api",
        "kube::client",
        "kube::runtime",
        "Timestamp::now",
        "Instant::now",
        "SystemTime::now",
        "crate::cluster",
        "crate::control",
    ];
    let mut files = Vec::new();
    for name in ["document", "intent", "report"] {
        let path = root().join("src/registry").join(name);
        if path.is_dir() {
            sources(&path, &mut files);
        }
        files.extend(Some(path.with_extension("rs")).filter(|file| file.is_file()));
    }
    assert!(files.len() >= 3, "only {files:?}");
    for file in files {
        let code = code(&std::fs::read_to_string(&file).unwrap());
        for forbidden in FORBIDDEN {
            assert!(!mentions(&code, forbidden), "{} mentions {forbidden}", file.display());
        }
    }
}

#[test]
fn a_mention_is_found_in_code_and_not_in_comments_or_tests() {
    for (source, forbidden, mentioned) in [
        ("use kube::Client;", "kube::Client", true),
        ("use kube::{\n    Client,\n    ResourceExt,\n};", "kube::Client", true),
        ("use kube::{ResourceExt, core::Client};\nstruct S;", "kube::Api", false),
        ("use kube::ResourceExt; // not kube::Client", "kube::Client", false),
        ("/// As kube::Client does.\nstruct S;", "kube::Client", false),
        ("let now = jiff::Timestamp::now();", "Timestamp::now", true),
        ("fn f() {}\n#[cfg(test)]\nmod tests {\n    use tokio::time;\n}", "tokio", false),
        ("#[cfg(test)]\nmod tests;\nuse tokio::time;", "tokio", true),
        ("let tokio_like = 1;", "tokio", false),
    ] {
        assert_eq!(mentions(&code(source), forbidden), mentioned, "{forbidden} in {source}");
    }
}

/// Collects the Rust files under a folder, without those of tests.
pub fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A file's code, without comments and without the tests at its end.
pub fn code(source: &str) -> String {
    let before = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    before.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Whether code mentions a path, alone or in a grouped import.
fn mentions(code: &str, path: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let holds = |text: &str, word: &str| {
        text.match_indices(word)
            .any(|(at, _)| !text[..at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word))
    };
    let grouped = path.rsplit_once("::").is_some_and(|(parent, name)| {
        code.split(&format!("{parent}::{{")).skip(1).any(|group| holds(group.split('}').next().unwrap_or(group), name))
    });
    holds(code, path) || grouped
}

#[test]
fn each_program_is_built_without_what_only_the_other_needs() {
    let of_the_operator = ["cloudevents-sdk", "mongodb", "prometheus-client", "tracing-subscriber"];
    let of_the_plugin = ["cel", "clap_complete", "kube-cel", "zip"];
    for (feature, needed, left_out) in
        [("operator", &of_the_operator, &of_the_plugin), ("plugin", &of_the_plugin, &of_the_operator)]
    {
        let tree = std::process::Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "-p", "phasegate", "--no-default-features", "--features", feature])
            .args(["-e", "normal", "--prefix", "none", "--format", "{p}"])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout).unwrap();
        let crates: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        let missing: Vec<_> = needed.iter().filter(|name| !crates.contains(name)).collect();
        let superfluous: Vec<_> = left_out.iter().filter(|name| crates.contains(name)).collect();
        assert!(missing.is_empty() && superfluous.is_empty(), "{feature} lacks {missing:?} and has {superfluous:?}");
    }
}
