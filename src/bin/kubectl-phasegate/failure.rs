//! What went wrong, in a sentence, what to do about it, and the exit code.

use std::process::ExitCode;

use clap::error::ErrorKind;
use kube::core::Status;
use phasegate::api::ObjectKey;

use crate::terminal::{self, Shown};

/// Anything that has no code of its own.
pub const FAILED: u8 = 1;
/// A gateway did not start within its deadline.
pub const TIMED_OUT: u8 = 2;
/// A gateway is stopped, or asked to stop, where it was to serve.
pub const STOPPED: u8 = 3;
/// There is no such gateway.
pub const NOT_FOUND: u8 = 4;
/// The command's own timeout passed, as `timeout` of coreutils says it.
pub const TOO_LATE: u8 = 124;

/// Why a command did not do what it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What is wrong, with the name of what it is about. Empty: nothing is to be said.
    pub sentence: String,
    /// What to do about it.
    pub advice: String,
}

impl Failure {
    /// A failure with an exit code of its own.
    pub fn new(code: u8, sentence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into(), advice: advice.into() }
    }

    /// Tells it on stderr.
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

/// Nobody reads on (`| head`): the command ends, and nothing is wrong.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(0, "", "");
        }
        Self::new(FAILED, format!("the output cannot be written: {error}"), "Look at where it is sent.")
    }
}

/// There is no gateway of this key.
pub fn not_found(key: &ObjectKey) -> Failure {
    Failure::new(
        NOT_FOUND,
        format!("there is no ApiGateway {} in namespace {}", key.name, key.namespace),
        "Look for it with kubectl phasegate get -A; another namespace is chosen with -n.",
    )
}

/// The way to the API server is not known.
pub fn no_kubeconfig(error: &anyhow::Error) -> Failure {
    Failure::new(
        FAILED,
        format!("no way to a cluster: {error:#}"),
        "Name a kubeconfig with --kubeconfig or KUBECONFIG, and a context of it with --context; \
         kubectl config get-contexts lists them.",
    )
}

/// A request that was refused or not answered. `what` is said first: what could not be done.
pub fn of_request(what: &str, server: &str, error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => of_status(what, status),
        kube::Error::SerdeError(error) => Failure::new(
            FAILED,
            format!("{what}: this version of kubectl-phasegate does not understand it: {error}"),
            "Use the kubectl-phasegate of the operator's version.",
        ),
        kube::Error::Auth(error) => Failure::new(
            FAILED,
            format!("{what}: the credentials of the kubeconfig cannot be had: {}", chain(error)),
            "Log in again, or choose another user with --context or --user.",
        ),
        kube::Error::Service(error) => unreachable(what, server, error.as_ref()),
        error => unreachable(what, server, error),
    }
}

fn unreachable(what: &str, server: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(
        FAILED,
        format!("{what}: the API server {server} cannot be reached: {}", chain(error)),
        "Check the network or VPN to it, or choose another cluster with --context.",
    )
}

fn of_status(what: &str, status: &Status) -> Failure {
    let words = status.message.trim();
    let named = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
    let (sentence, advice) = match status.code {
        401 => (
            format!("{what}: the API server does not accept the credentials of the kubeconfig"),
            "Log in again, or choose another user with --context or --user.".to_owned(),
        ),
        403 => (
            format!("{what}: {words}"),
            "Ask who runs the cluster for a Role that allows it, or choose another user with --context or --user."
                .to_owned(),
        ),
        404 if !named => (
            format!("{what}: the cluster does not know the kind"),
            "Install the definitions (kubectl apply --server-side -f crds), or choose the cluster that has them with \
             --context."
                .to_owned(),
        ),
        _ => (format!("{what}: {words}"), "Change what the API server names, and try again.".to_owned()),
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

/// clap's answer to `--help` and `--version` is printed whole, its complaints as a sentence.
pub fn of_usage(error: &clap::Error) -> Failure {
    let rendered = error.to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Ok(()) => Failure::new(0, "", ""),
            Err(error) => error.into(),
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Failure::new(FAILED, "no command was given", "kubectl phasegate --help lists them.")
        }
        _ => {
            // Usage and tips follow after an empty line.
            let complaint = rendered.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
            let words: Vec<&str> = complaint.split_whitespace().collect();
            Failure::new(FAILED, words.join(" "), "Add --help to see what the command takes.")
        }
    }
}
