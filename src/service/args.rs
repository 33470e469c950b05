//! Arguments and environment variables, parsed once into a valid configuration.
//!
//! **Architecture invariant**: values are checked here, before a client exists. Later code does not check them
//! again.

mod narrowing;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use kube::core::{Expression, Selector};

use crate::api::{ObjectKey, ParentRef};
use crate::cache::scopes::Scope;
use crate::children::{self, Inheritance, KeyPattern};
use crate::cluster::lease::Election;
use crate::decide::allowance::default_parent;
use crate::decide::hosts::Policy;
use crate::decide::observed::Settings;
use crate::parse::{annotation, duration, namespace, namespace_or_nothing};
use crate::registry;
use crate::sink;
use narrowing::Narrowing;

/// Start, stop and explain tenant API gateways on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "phasegate", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator until SIGTERM or Ctrl-C.
    Run(Box<Run>),
    /// Print the CustomResourceDefinitions as YAML, for `kubectl apply -f -`.
    Crds,
}

/// The flags of the operator.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Namespaces to watch, comma-separated. Default: all namespaces.
    #[arg(long, env = "PHASEGATE_NAMESPACES", value_delimiter = ',', value_parser = namespace_or_nothing)]
    pub namespaces: Vec<String>,

    /// Label selector of the ApiGateways to reconcile (`shard=a`, `tier!=test`, `shard`, comma-separated). Operators
    /// with different selectors share a fleet. Each watches all gateways, because hosts are unique in the fleet.
    /// Default: all gateways.
    #[arg(long, env = "PHASEGATE_SELECTOR", value_parser = selector)]
    pub selector: Option<Selector>,

    /// Maximum number of concurrent reconciles.
    #[arg(long, env = "PHASEGATE_CONCURRENCY", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,

    /// Default for spec.startDeadline: how long a start may take (`90s`, `5m`, `1h30m`).
    #[arg(long, env = "PHASEGATE_START_DEADLINE", default_value = "5m", value_parser = duration)]
    pub start_deadline: Duration,

    /// Stop a gateway whose start is incomplete at the deadline, even if some of its pods serve. Default: these pods
    /// keep serving, the condition Stalled has the cause, and the start completes automatically. A failed restart
    /// never stops a gateway.
    #[arg(long, env = "PHASEGATE_STOP_PARTIAL_STARTS")]
    pub stop_partial_starts: bool,

    /// How long a stop may take before the condition CleanupStuck is set.
    #[arg(long, env = "PHASEGATE_CLEANUP_STUCK_AFTER", default_value = "5m", value_parser = duration)]
    pub cleanup_stuck_after: Duration,

    /// Allow hosts only in namespaces with the annotation phasegate.dev/allowed-hosts. Default: a namespace without
    /// the annotation may claim any free host.
    #[arg(long, env = "PHASEGATE_HOSTS_NEED_PERMISSION")]
    pub hosts_need_permission: bool,

    /// Maximum number of hosts that gateways and environments of one namespace may claim. Default: unlimited.
    #[arg(long, env = "PHASEGATE_MAX_HOSTS_PER_NAMESPACE", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_hosts_per_namespace: Option<u32>,

    /// How long a released host stays reserved for its namespace. `0s`: not at all.
    #[arg(long, env = "PHASEGATE_KEEP_RELEASED_HOSTS", default_value = "1m", value_parser = duration_or_none)]
    pub keep_released_hosts: Duration,

    /// DNS domain of the cluster. Gateways cannot claim hosts in it.
    #[arg(long, env = "PHASEGATE_CLUSTER_DOMAIN", default_value = "cluster.local", value_parser = domain)]
    pub cluster_domain: String,

    /// Limits on the specs of gateways.
    #[command(flatten)]
    pub narrowing: Narrowing,

    /// Default for spec.parentRefs: Gateways (Gateway API) to attach HTTPRoutes to, as `NAMESPACE/NAME` or
    /// `NAMESPACE/NAME/LISTENER`, comma-separated. Default: none; each gateway has to name its own.
    #[arg(long, env = "PHASEGATE_DEFAULT_PARENT_REFS", value_delimiter = ',', value_parser = default_parent_or_nothing)]
    pub default_parent_refs: Vec<Option<ParentRef>>,

    /// Annotation `KEY=VALUE` for every Ingress. Tenants cannot set Ingress annotations. Repeatable.
    #[arg(long = "ingress-annotation", env = "PHASEGATE_INGRESS_ANNOTATIONS", value_delimiter = '\n', value_parser = annotation)]
    pub ingress_annotations: Vec<(String, String)>,

    /// Labels of an ApiGateway that its children and pods inherit, as keys or prefix/*, comma-separated. Changing
    /// such a label causes a rollout. Default: none.
    #[arg(long, env = "PHASEGATE_INHERITED_LABELS", value_delimiter = ',', value_parser = KeyPattern::parse)]
    pub inherited_labels: Vec<KeyPattern>,

    /// Annotations of an ApiGateway that its children and pods inherit, as keys or prefix/*, comma-separated.
    /// Default: none.
    #[arg(long, env = "PHASEGATE_INHERITED_ANNOTATIONS", value_delimiter = ',', value_parser = KeyPattern::parse)]
    pub inherited_annotations: Vec<KeyPattern>,

    /// Timeout of an API server request. Set it above the timeout of admission webhooks (by default 10s), or a slow
    /// webhook is not identified as the cause.
    #[arg(long, env = "PHASEGATE_CALL_TIMEOUT", default_value = "15s", value_parser = duration)]
    pub call_timeout: Duration,

    /// Enable leader election: one replica is leader, the others are on standby.
    #[arg(long, env = "PHASEGATE_LEADER_ELECTION")]
    pub leader_election: bool,

    /// Namespace of the Lease. Default: the pod's namespace, or that of the kubeconfig's context.
    #[arg(long, env = "PHASEGATE_LEASE_NAMESPACE", value_parser = namespace)]
    pub lease_namespace: Option<String>,

    /// Name of the Lease. Default: `phasegate`; with --selector, a name derived from selector and namespaces, so that
    /// each shard has its own leader.
    #[arg(long, env = "PHASEGATE_LEASE_NAME", value_parser = namespace)]
    pub lease_name: Option<String>,

    /// How long standbys wait for a silent leader before they take over.
    #[arg(long, env = "PHASEGATE_LEASE_DURATION", default_value = "15s", value_parser = duration)]
    pub lease_duration: Duration,

    /// How long a leader that fails to renew its Lease stays leader. Default: two thirds of the Lease duration.
    #[arg(long, env = "PHASEGATE_LEASE_RENEW_DEADLINE", value_parser = duration)]
    pub lease_renew_deadline: Option<Duration>,

    /// Interval of Lease renewals and checks. Default: a fifth of the Lease duration.
    #[arg(long, env = "PHASEGATE_LEASE_RETRY_PERIOD", value_parser = duration)]
    pub lease_retry_period: Option<Duration>,

    /// Identity of this process: holder of the Lease, and part of the user agent. Must be unique. Default: the host
    /// name and a random number.
    #[arg(long, env = "PHASEGATE_IDENTITY", value_parser = identity, default_value_t = some_identity(), hide_default_value = true)]
    pub identity: String,

    /// Address and port of /livez, /readyz and /metrics, such as 0.0.0.0:8080. Default: not served.
    #[arg(long, env = "PHASEGATE_HTTP_BIND")]
    pub http_bind: Option<SocketAddr>,

    /// How long a reconcile may run, or a watch may have no event, before /livez fails. A healthy watch has an event
    /// at least once a minute.
    #[arg(long, env = "PHASEGATE_LIVE_WITHIN", default_value = "3m", value_parser = duration)]
    pub live_within: Duration,

    /// Format of log lines.
    #[arg(long, env = "PHASEGATE_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// Log level, or a filter such as `info,phasegate=debug`.
    #[arg(long, env = "PHASEGATE_LOG", default_value = "info,kube=warn")]
    pub log: String,

    /// Path of the kubeconfig. Default: as kubectl; in a pod, its service account.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig. Default: the current context.
    #[arg(long)]
    pub context: Option<String>,

    /// The registry of gateways.
    #[command(flatten)]
    pub registry: registry::config::Arguments,

    /// The sink of events.
    #[command(flatten)]
    pub sink: sink::config::Arguments,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Run {
    /// The settings that decisions depend on.
    pub fn settings(&self) -> Settings {
        let allowance = self.narrowing.allowance();
        Settings {
            start_deadline: allowance.start_deadline(self.start_deadline),
            stop_partial_starts: self.stop_partial_starts,
            cleanup_stuck_after: self.cleanup_stuck_after,
            allowance,
            default_parent_refs: self.default_parent_refs.iter().flatten().cloned().collect(),
            ingress_annotations: self.ingress_annotations.iter().cloned().collect(),
            inheritance: Inheritance {
                labels: self.inherited_labels.clone(),
                annotations: self.inherited_annotations.clone(),
            },
            registry_deletion_timeout: self.registry.registry_deletion_timeout,
        }
    }

    /// The election to take part in, if any. `namespace` is the client's own.
    pub fn election(&self, namespace: &str) -> Option<Election> {
        self.leader_election.then(|| Election {
            lease: ObjectKey::new(self.lease_namespace.as_deref().unwrap_or(namespace), self.lease_name()),
            identity: self.identity.clone(),
            works_on: self.works_on(),
            duration: self.lease_duration,
            renew_deadline: self.lease_renew_deadline.unwrap_or(self.lease_duration * 2 / 3),
            retry_period: self.lease_retry_period.unwrap_or(self.lease_duration / 5),
        })
    }

    /// The Lease that keeps the delivered positions of events. `namespace` is the client's own.
    pub fn positions(&self, namespace: &str) -> ObjectKey {
        let namespace = self.lease_namespace.as_deref().unwrap_or(namespace);
        ObjectKey::new(namespace, format!("{}-events", self.lease_name()))
    }

    fn lease_name(&self) -> String {
        match (&self.lease_name, &self.selector) {
            (Some(name), _) => name.clone(),
            (None, None) => "phasegate".to_owned(),
            (None, Some(_)) => format!("phasegate-{}", &children::hash(&self.works_on())[..8]),
        }
    }

    /// The policy for hosts.
    pub fn hosts(&self) -> Policy {
        Policy {
            need_permission: self.hosts_need_permission,
            cluster_domain: self.cluster_domain.clone(),
            per_namespace: self.max_hosts_per_namespace.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            kept_for: self.keep_released_hosts,
        }
    }

    /// The gateways that this process works on, as text that is equal for equal selections.
    fn works_on(&self) -> String {
        let labels = self.selector.as_ref().map(|selector| {
            let selector = selector.to_string();
            let mut parts: Vec<&str> = selector.split(',').collect();
            parts.sort_unstable();
            parts.dedup();
            format!("gateways with {}", parts.join(","))
        });
        let namespaces = self.scopes().into_iter().filter_map(|scope| match scope {
            Scope::Cluster => None,
            Scope::Namespace(name) => Some(name),
        });
        let namespaces: Vec<String> = namespaces.collect();
        let place = if namespaces.is_empty() { "every namespace".to_owned() } else { namespaces.join(", ") };
        format!("{} of {place}", labels.unwrap_or_else(|| "all gateways".to_owned()))
    }

    /// Checks the combinations of flags that parsing single values does not.
    ///
    /// # Errors
    /// A sentence that names the flags.
    pub fn check(&self) -> Result<(), String> {
        if self.registry()?.is_some() && self.selector.is_some() {
            return Err("--selector cannot be used with --registry mongodb: documents have no labels".to_owned());
        }
        self.sink.settings()?;
        let Some(Election { duration, renew_deadline, retry_period, .. }) = self.election("") else { return Ok(()) };
        if renew_deadline >= duration {
            return Err(format!(
                "--lease-renew-deadline ({renew_deadline:?}) must be shorter than --lease-duration ({duration:?}): \
                 otherwise two replicas could be leader at once"
            ));
        }
        if retry_period * 2 > renew_deadline {
            return Err(format!(
                "--lease-retry-period ({retry_period:?}) must be at most half of --lease-renew-deadline \
                 ({renew_deadline:?}): otherwise one slow response would lose leadership"
            ));
        }
        Ok(())
    }

    /// The registry outside Kubernetes, if one is configured.
    ///
    /// # Errors
    /// A sentence that names the flags.
    pub fn registry(&self) -> Result<Option<registry::config::Settings>, String> {
        let watched: Vec<String> = self.namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
        self.registry.settings(&watched, &self.identity)
    }

    /// The scopes in which gateways are watched.
    pub fn scopes(&self) -> Vec<Scope> {
        // An empty variable counts as unset.
        let mut namespaces: Vec<String> = self.namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
        if namespaces.is_empty() {
            return vec![Scope::Cluster];
        }
        namespaces.sort();
        namespaces.dedup();
        namespaces.into_iter().map(Scope::Namespace).collect()
    }
}

/// An empty variable counts as unset.
fn default_parent_or_nothing(text: &str) -> Result<Option<ParentRef>, String> {
    if text.is_empty() { Ok(None) } else { default_parent(text.trim()).map(Some) }
}

/// A random identity. Two processes of one host are two candidates, and so is a restarted process.
fn some_identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "phasegate".to_owned());
    format!("{host}_{:016x}", RandomState::new().hash_one(std::process::id()))
}

fn duration_or_none(text: &str) -> Result<Duration, String> {
    if text == "0s" { Ok(Duration::ZERO) } else { duration(text) }
}

fn domain(text: &str) -> Result<String, String> {
    let name = text.trim_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if name.len() <= 253 && name.split('.').all(is_label) {
        Ok(name)
    } else {
        Err("must be a DNS domain such as cluster.local".to_owned())
    }
}

fn identity(text: &str) -> Result<String, String> {
    let valid = !text.is_empty() && text.len() <= 253 && text.chars().all(|c| c.is_ascii_graphic());
    if valid { Ok(text.to_owned()) } else { Err("must be 1 to 253 visible ASCII characters".to_owned()) }
}

fn selector(text: &str) -> Result<Selector, String> {
    let mut selector = Selector::default();
    for part in text.split(',').map(str::trim) {
        let (key, value, expression): (&str, &str, fn(String, String) -> Expression) =
            if let Some((key, value)) = part.split_once("!=") {
                (key, value, Expression::NotEqual)
            } else if let Some((key, value)) = part.split_once('=') {
                (key, value, Expression::Equal)
            } else {
                (part, "", |key, _| Expression::Exists(key))
            };
        if key.is_empty() || !is_label_part(key) || !is_label_part(value) {
            return Err("must be a label selector such as shard=a".to_owned());
        }
        selector.extend(expression(key.to_owned(), value.to_owned()));
    }
    Ok(selector)
}

fn is_label_part(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::decide::allowance::{Allowance, Allowed};
    use kube::core::SelectorExt;

    fn run(arguments: &[&str]) -> Result<Run, clap::Error> {
        let all = ["phasegate", "run"].iter().chain(arguments);
        match Arguments::try_parse_from(all)?.command {
            Command::Run(run) => Ok(*run),
            Command::Crds => unreachable!("the first argument is run"),
        }
    }

    #[test]
    fn the_flags_are_well_formed() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn without_flags_the_settings_are_their_defaults() {
        assert_eq!(run(&[]).unwrap().settings(), Settings::default());
    }

    #[test]
    fn namespaces_are_watched_once_each() {
        let run = run(&["--namespaces", "b,a,b"]).unwrap();
        assert_eq!(run.scopes(), [Scope::Namespace("a".into()), Scope::Namespace("b".into())]);
    }

    #[test]
    fn no_namespaces_are_all_namespaces() {
        assert_eq!(run(&[]).unwrap().scopes(), [Scope::Cluster]);
    }

    #[test]
    fn durations_are_those_of_the_spec() {
        assert_eq!(run(&["--start-deadline", "1h30m"]).unwrap().start_deadline, Duration::from_secs(5400));
        let long = "9".repeat(30) + "h";
        for wrong in ["0s", "banana", "3 days", "-5m", "5m-3s", "500ms", "9999999h", &long, ""] {
            assert!(run(&["--start-deadline", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_selector_picks_by_labels() {
        let selector = run(&["--selector", "shard=a,tier!=test,owner"]).unwrap().selector.unwrap();
        let picks = |labels: &[(&str, &str)]| {
            selector.matches(&labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
        };
        assert!(picks(&[("shard", "a"), ("owner", "me")]));
        assert!(!picks(&[("shard", "b"), ("owner", "me")]));
        assert!(!picks(&[("shard", "a"), ("owner", "me"), ("tier", "test")]));
        assert!(!picks(&[("shard", "a")]));
        for wrong in ["=", "a=b c", "a in (b)", ",", "=a"] {
            assert!(run(&["--selector", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_name_of_the_lease_follows_from_the_selector_unless_it_is_given() {
        let name = |arguments: &[&str]| {
            let run = run(&[&["--leader-election"], arguments].concat()).unwrap();
            run.election("here").unwrap().lease.name
        };
        assert_eq!(name(&[]), "phasegate");
        assert_eq!(name(&["--namespaces", "a"]), "phasegate");
        let shard = name(&["--selector", "shard=a"]);
        assert!(shard.starts_with("phasegate-") && shard.len() == 18, "{shard}");
        assert_ne!(name(&["--selector", "shard=b"]), shard);
        assert_ne!(name(&["--selector", "shard!=a"]), shard);
        assert_ne!(name(&["--selector", "shard=a", "--namespaces", "a"]), shard);
        let both = name(&["--selector", "tier=x, shard=a", "--namespaces", "b,a"]);
        assert_eq!(name(&["--selector", "shard=a,tier=x", "--namespaces", "a,b"]), both);
        assert_eq!(name(&["--selector", "shard=a", "--lease-name", "mine"]), "mine");
    }

    #[test]
    fn what_an_operator_works_on_is_said_in_the_same_words_for_the_same_gateways() {
        let words = |arguments: &[&str]| run(arguments).unwrap().works_on();
        assert_eq!(words(&[]), "all gateways of every namespace");
        assert_eq!(words(&["--namespaces", "b,a,b"]), "all gateways of a, b");
        assert_eq!(words(&["--selector", "tier!=x,shard=a"]), "gateways with shard=a,tier!=x of every namespace");
    }

    #[test]
    fn the_times_of_the_lease_are_derived_from_its_duration_where_they_are_not_given() {
        let times = |arguments: &[&str]| {
            let election = run(arguments).unwrap().election("here").unwrap();
            [election.duration, election.renew_deadline, election.retry_period].map(|time| time.as_secs())
        };
        assert_eq!(times(&["--leader-election"]), [15, 10, 3]);
        assert_eq!(times(&["--leader-election", "--lease-duration", "30s"]), [30, 20, 6]);
        let all = ["--leader-election", "--lease-renew-deadline", "9s", "--lease-retry-period", "2s"];
        assert_eq!(times(&all), [15, 9, 2]);
    }

    #[test]
    fn times_of_the_lease_that_do_not_fit_each_other_are_refused() {
        let check = |arguments: &[&str]| run(arguments).unwrap().check();
        let late = check(&["--leader-election", "--lease-renew-deadline", "15s"]).unwrap_err();
        assert!(late.starts_with("--lease-renew-deadline (15s) must be shorter than --lease-duration (15s)"), "{late}");
        let slow = check(&["--leader-election", "--lease-retry-period", "6s"]).unwrap_err();
        assert!(slow.starts_with("--lease-retry-period (6s) must be at most half of"), "{slow}");
        assert_eq!(check(&["--leader-election"]), Ok(()));
        assert_eq!(check(&["--lease-renew-deadline", "15s"]), Ok(()));
    }

    #[test]
    fn an_identity_can_be_sent_in_a_header() {
        assert_eq!(run(&["--identity", "pod-1"]).unwrap().identity, "pod-1");
        assert!(run(&[]).unwrap().identity.contains('_'));
        for wrong in ["", "a b", "a\nb", "ä"] {
            assert!(run(&["--identity", wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn flags_that_narrow_are_refused_with_the_entry_that_is_wrong() {
        for (flag, value, words) in [
            ("--allowed-image-prefixes", "ghcr.io,acme", "\"acme\": must begin with a registry"),
            ("--allowed-node-labels", "a,b c", "\"b c\": must be key"),
            ("--allowed-tolerations", "a:Sometimes", "\"a:Sometimes\": its effect must be one of"),
            ("--ingress-classes", "Public", "\"Public\": must be an object name"),
            ("--allowed-parent-refs", "infra/a,b", "\"b\": must be NAMESPACE/NAME"),
            ("--default-parent-refs", "public", "must be NAMESPACE/NAME"),
            ("--max-replicas", "-1", "must be a number"),
            ("--max-start-deadline", "0s", "at least 1s"),
        ] {
            let refused = run(&[&format!("{flag}={value}")]).unwrap_err().to_string();
            assert!(refused.contains(words) && refused.contains(flag), "{refused}");
        }
    }

    #[test]
    fn flags_that_are_absent_or_empty_narrow_nothing() {
        let narrowed = |arguments: &[&str]| run(arguments).unwrap().settings().allowance;
        assert_eq!(narrowed(&[]), Allowance::ANYTHING);
        let empty = ["--allowed-image-prefixes=", "--ingress-classes=", "--max-replicas=", "--allowed-tolerations="];
        assert_eq!(narrowed(&empty), Allowance::ANYTHING);
        let none = narrowed(&["--allowed-tolerations=none"]);
        assert_eq!(none.tolerations, Allowed::Only(Vec::new()));
    }

    #[test]
    fn the_default_deadline_is_no_longer_than_the_longest() {
        let deadline = |arguments: &[&str]| run(arguments).unwrap().settings().start_deadline.as_secs();
        assert_eq!(deadline(&["--max-start-deadline", "2m"]), 120);
        assert_eq!(deadline(&["--max-start-deadline", "1h"]), 300);
    }

    #[test]
    fn a_concurrency_of_zero_is_refused() {
        assert!(run(&["--concurrency", "0"]).is_err());
        assert_eq!(run(&["--concurrency", "8"]).unwrap().concurrency, 8);
    }
}
