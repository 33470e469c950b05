//! The plugin's help, and what it says to arguments that it does not know.

use super::{Said, assert_snapshot, bare};

fn said(arguments: &[&str]) -> Said {
    bare(arguments).output().unwrap().into()
}

#[test]
fn help_is_given_for_the_plugin_and_for_each_of_its_commands() {
    let help = said(&["--help"]).ok();
    assert_snapshot("help", &help);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for command in lines.map_while(|line| line.split_whitespace().next()) {
        let help = said(&[command, "--help"]).ok();
        assert!(help.contains("\nExamples:\n"), "{command}: {help}");
        assert!(help.contains(&format!("\nUsage: kubectl phasegate {command} ")), "{command}: {help}");
        assert_snapshot(&format!("help-{command}"), &help);
    }
}
