//! Failures: a sentence that says what is wrong, advice, and the exit code.

use std::process::ExitCode;

use clap::error::ErrorKind;
use kube::core::Status;
use phasegate::api::ObjectKey;

use crate::terminal::{self, Shown};

/// The exit code of every failure without a code of its own.
pub const FAILED: u8 = 1;
/// The exit code if a gateway did not start within its deadline.
pub const TIMED_OUT: u8 = 2;
/// The exit code if a gateway is stopped, or asked to stop, although the command waits for it to serve.
pub const STOPPED: u8 = 3;
/// The exit code if the gateway does not exist.
pub const NOT_FOUND: u8 = 4;
/// The exit code if this version decides differently from what is recorded.
pub const DIFFERENT: u8 = 5;
/// The exit code if the command's own timeout passed, as for coreutils' `timeout`.
pub const TOO_LATE: u8 = 124;

/// The reason why a command failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What is wrong, with the name of the object. If it is empty, nothing is printed.
    pub sentence: String,
    /// What to do about it.
    pub advice: String,
}

impl Failure {
    /// A failure with an exit code of its own.
    pub fn new(code: u8, sentence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into(), advice: advice.into() }
    }

    /// Prints the failure on stderr.
    pub fn tell(&self) -> ExitCode {
        if !self.sentence.is_empty() {
            terminal::tell(&Shown::sentence(&format!("error: {}", self.sentence)));
        }
        if !self.advice.is_empty() {
            terminal::tell(&Shown::sentence(&format!("hint: {}", self.advice)));
        }
        ExitCode::from(self.code)
    }
}

/// The reader of stdout is gone (`| head`): the command ends without an error.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(0, "", "");
        }
        Self::new(FAILED, format!("failed to write the output: {error}"), "Check where the output goes.")
    }
}

/// The gateway of this key does not exist.
pub fn not_found(key: &ObjectKey) -> Failure {
    Failure::new(
        NOT_FOUND,
        format!("ApiGateway {} not found in namespace {}", key.name, key.namespace),
        "List gateways with kubectl phasegate get -A; set the namespace with -n.",
    )
}

/// No kubeconfig was found.
pub fn no_kubeconfig(error: &anyhow::Error) -> Failure {
    Failure::new(
        FAILED,
        format!("cannot connect to a cluster: {error:#}"),
        "Set --kubeconfig or KUBECONFIG, and --context (kubectl config get-contexts lists contexts).",
    )
}

/// A request that was refused or not answered. The sentence begins with `what`: what could not be done.
pub fn of_request(what: &str, server: &str, error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => of_status(what, status),
        kube::Error::SerdeError(error) => Failure::new(
            FAILED,
            format!("{what}: this version of kubectl-phasegate cannot parse it: {error}"),
            "Use the kubectl-phasegate of the operator's version.",
        ),
        kube::Error::Auth(error) => Failure::new(
            FAILED,
            format!("{what}: failed to load the kubeconfig's credentials: {}", chain(error)),
            "Log in again, or choose another user with --context or --user.",
        ),
        kube::Error::Service(error) => unreachable(what, server, error.as_ref()),
        error => unreachable(what, server, error),
    }
}

fn unreachable(what: &str, server: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(
        FAILED,
        format!("{what}: the API server {server} is unreachable: {}", chain(error)),
        "Check the network or VPN, or choose another cluster with --context.",
    )
}

fn of_status(what: &str, status: &Status) -> Failure {
    let words = status.message.trim();
    let named = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
    let (sentence, advice) = match status.code {
        401 => (
            format!("{what}: the API server rejects the kubeconfig's credentials"),
            "Log in again, or choose another user with --context or --user.".to_owned(),
        ),
        403 => (
            format!("{what}: {words}"),
            "Ask the cluster administrator for a Role that allows it, or choose another user with --context or --user."
                .to_owned(),
        ),
        404 if !named => (
            format!("{what}: the cluster has no such kind"),
            "Install the CustomResourceDefinitions (kubectl apply --server-side -f crds), or choose another cluster \
             with --context."
                .to_owned(),
        ),
        _ => (format!("{what}: {words}"), "Correct the named field and try again.".to_owned()),
    };
    Failure::new(FAILED, sentence, advice)
}

/// An error and its causes, each once, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !sentence.contains(&words) {
            sentence = format!("{sentence}: {words}");
        }
        cause = error.source();
    }
    sentence.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The output of `--help` and `--version` is printed whole. An error of clap becomes one sentence.
pub fn of_usage(error: &clap::Error) -> Failure {
    let rendered = error.to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Ok(()) => Failure::new(0, "", ""),
            Err(error) => error.into(),
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Failure::new(FAILED, "no command given", "List commands with kubectl phasegate --help.")
        }
        _ => {
            // Usage and tips follow after an empty line.
            let complaint = rendered.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
            let words: Vec<&str> = complaint.split_whitespace().collect();
            Failure::new(FAILED, words.join(" "), "Add --help to see the command's arguments.")
        }
    }
}
