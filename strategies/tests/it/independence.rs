//! The operator stands without this crate.

use std::process::Command;

use phasegate_harness::root;
use serde_json::Value;

#[test]
fn phasegate_and_its_core_do_not_depend_on_the_designs() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--no-deps"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let depends = |package: &Value, on: &str| {
        package["dependencies"].as_array().unwrap().iter().any(|dependency| dependency["name"] == on)
    };
    let packages = metadata["packages"].as_array().unwrap();
    let found: Vec<&Value> = packages.iter().filter(|package| depends(package, "phasegate-strategies")).collect();
    assert!(found.is_empty(), "{found:?}");
    let designs = packages.iter().find(|package| package["name"] == "phasegate-strategies").unwrap();
    assert!(depends(designs, "phasegate-core") && !depends(designs, "phasegate"));
}
