//! The plugin has help for every command, and refuses invalid arguments with a hint.

use super::{RouteVerdict, assert_snapshot, bare};

fn said(arguments: &[&str]) -> RouteVerdict {
    bare(arguments).output().unwrap().into()
}

#[test]
fn help_is_given_for_the_plugin_and_for_each_of_its_commands() {
    let help = said(&["--help"]).ok();
    assert_snapshot("help", &help);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A long description continues on the next line, with deeper indentation.
    let commands: Vec<&str> = lines.filter(|line| !line.starts_with("   ")).map(|line| line.trim()).collect();
    assert!(commands.len() >= 10, "{commands:?}");
    for command in commands.iter().filter_map(|line| line.split(' ').next()) {
        let help = said(&[command, "--help"]).ok();
        assert!(help.contains("\nExamples:\n"), "{command}: {help}");
        assert!(help.contains(&format!("\nUsage: kubectl phasegate {command} ")), "{command}: {help}");
        assert_snapshot(&format!("help-{command}"), &help);
    }
}

#[test]
fn what_is_no_argument_is_refused_with_one_and_a_hint() {
    let mut told = Vec::new();
    for arguments in [
        &[] as &[&str],
        &["walk"],
        &["get", "--banana"],
        &["get", "shop", "-A"],
        &["get", "-o", "xml"],
        &["status"],
        &["wait", "shop"],
        &["wait", "shop", "--for", "godot"],
        &["wait", "shop", "--for", "gone", "--timeout", "soon"],
        &["stop", "shop", "--all"],
        &["stop", "deploy/shop"],
        &["restart", "shop", "--max-parallel", "0"],
        &["stop", "shop", "--dry-run", "--wait"],
        &["suspend", "shop", "--wait"],
    ] {
        let refused = said(arguments).failed(1);
        told.push(format!("$ kubectl phasegate {}\n{refused}", arguments.join(" ")));
    }
    assert_snapshot("usage", &told.concat());
}
