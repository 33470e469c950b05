//! `completion`: scripts for the completion of shells.

use clap::ValueEnum;
use clap_complete::generate;
use clap_complete::shells::{Bash, Fish, PowerShell, Zsh};

use crate::failure::Failure;
use crate::output;
use crate::terminal::Shown;

/// The program's own name, by which kubectl finds the plugin.
const PROGRAM: &str = "kubectl-phasegate";

/// The script that kubectl runs to complete `kubectl phasegate …`, in every shell. It prints one candidate on
/// each line, and then whether files may follow (`:0`) or not (`:4`).
const KUBECTL: &str = r#"#!/usr/bin/env bash
source <(kubectl-phasegate completion bash)
COMP_WORDS=(kubectl-phasegate "$@")
COMP_CWORD=$#
COMPREPLY=()
_kubectl_phasegate kubectl-phasegate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
if [ "${#COMPREPLY[@]}" -gt 0 ]; then
    printf '%s\n' "${COMPREPLY[@]}" :4
else
    echo :0
fi
"#;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  # for kubectl phasegate, in every shell with kubectl completion (needs bash in PATH)
  kubectl phasegate completion kubectl > ~/.local/bin/kubectl_complete-phasegate
  chmod +x ~/.local/bin/kubectl_complete-phasegate

  # for kubectl-phasegate, in one shell
  source <(kubectl-phasegate completion bash)
  kubectl-phasegate completion zsh > \"${fpath[1]}/_kubectl-phasegate\"
  kubectl-phasegate completion fish > ~/.config/fish/completions/kubectl-phasegate.fish";

/// The arguments of `completion`.
#[derive(Debug, clap::Args)]
pub struct Completion {
    /// The shell; kubectl completes the plugin in every shell
    shell: Shell,
}

/// Who completes; kubectl asks a script of its own for its plugins.
// Variants without doc comments: with them the help would take three lines for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Fish,
    Kubectl,
    Powershell,
    Zsh,
}

/// clap_complete uses two names for the commands of a program with a dash in its name, and then finds none of
/// them. The script is therefore generated for a name without a dash and registered for the real one.
fn for_bash(command: &mut clap::Command) -> String {
    const WITHOUT_DASH: &str = "kubectl_phasegate";
    let mut script = Vec::new();
    generate(Bash, command, WITHOUT_DASH, &mut script);
    let served = |name: &str| format!(" -o default {name}\n");
    String::from_utf8_lossy(&script).replace(&served(WITHOUT_DASH), &served(PROGRAM))
}

/// Prints a script that completes `command`, the whole command line.
///
/// # Errors
/// The script cannot be written.
pub fn run(arguments: &Completion, mut command: clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    match arguments.shell {
        Shell::Bash => script = for_bash(&mut command).into_bytes(),
        Shell::Fish => generate(Fish, &mut command, PROGRAM, &mut script),
        Shell::Kubectl => script.extend_from_slice(KUBECTL.as_bytes()),
        Shell::Powershell => generate(PowerShell, &mut command, PROGRAM, &mut script),
        Shell::Zsh => generate(Zsh, &mut command, PROGRAM, &mut script),
    }
    output::print(&Shown::text(&String::from_utf8_lossy(&script)))
}
