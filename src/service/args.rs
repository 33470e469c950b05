//! Arguments and environment, parsed once into a configuration that is valid.

mod narrowing;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use kube::core::{Expression, Selector};

use crate::api::ObjectKey;
use crate::cache::scopes::Scope;
use crate::children::{self, Inheritance, KeyPattern};
use crate::cluster::lease::Election;
use crate::decide::hosts::Policy;
use crate::decide::observed::Settings;
use crate::parse::{annotation, duration, namespace, namespace_or_nothing};
use crate::registry;
use narrowing::Narrowing;

/// Starts, stops and explains tenant API gateways on Kubernetes.
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
    /// Run the operator until it is told to end (SIGTERM or Ctrl-C).
    Run(Box<Run>),
    /// Print the custom resource definitions as YAML, for `kubectl apply -f -`.
    Crds,
}

/// The operator's flags.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The namespaces to watch, separated by commas. None: all.
    #[arg(long, env = "PHASEGATE_NAMESPACES", value_delimiter = ',', value_parser = namespace_or_nothing)]
    pub namespaces: Vec<String>,

    /// Work only on ApiGateways with these labels (`shard=a`, `tier!=test`, `shard`, separated by
    /// commas). Operators with different selectors share a fleet between them; all are watched,
    /// so that hosts are compared over the whole fleet.
    #[arg(long, env = "PHASEGATE_SELECTOR", value_parser = selector)]
    pub selector: Option<Selector>,

    /// How many gateways are worked on at once.
    #[arg(long, env = "PHASEGATE_CONCURRENCY", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,

    /// How long a start may take, where the gateway's spec does not say (`90s`, `5m`, `1h30m`).
    #[arg(long, env = "PHASEGATE_START_DEADLINE", default_value = "5m", value_parser = duration)]
    pub start_deadline: Duration,

    /// Stop a start that is not complete at its deadline although some of its pods serve. Without it such a
    /// gateway serves on, says why it is not complete, and completes by itself. A restart never stops one that serves.
    #[arg(long, env = "PHASEGATE_STOP_PARTIAL_STARTS")]
    pub stop_partial_starts: bool,

    /// After how long a stop that does not end is called stuck.
    #[arg(long, env = "PHASEGATE_CLEANUP_STUCK_AFTER", default_value = "5m", value_parser = duration)]
    pub cleanup_stuck_after: Duration,

    /// Let a namespace without the annotation phasegate.dev/allowed-hosts have no host at all. Without it such a namespace
    /// may have any host that nobody else has.
    #[arg(long, env = "PHASEGATE_HOSTS_NEED_PERMISSION")]
    pub hosts_need_permission: bool,

    /// How many hosts the gateways and environments of one namespace may claim. None: any number.
    #[arg(long, env = "PHASEGATE_MAX_HOSTS_PER_NAMESPACE", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_hosts_per_namespace: Option<u32>,

    /// For how long a host that was let go is kept for its namespace: others get it after that. `0s`: not at all.
    #[arg(long, env = "PHASEGATE_KEEP_RELEASED_HOSTS", default_value = "1m", value_parser = duration_or_none)]
    pub keep_released_hosts: Duration,

    /// The domain of the cluster's own names, which no gateway may have as a host.
    #[arg(long, env = "PHASEGATE_CLUSTER_DOMAIN", default_value = "cluster.local", value_parser = domain)]
    pub cluster_domain: String,

    /// What gateways may ask for.
    #[command(flatten)]
    pub narrowing: Narrowing,

    /// An annotation `KEY=VALUE` for every Ingress. Tenants cannot set any. May be repeated.
    #[arg(long = "ingress-annotation", env = "PHASEGATE_INGRESS_ANNOTATIONS", value_delimiter = '\n', value_parser = annotation)]
    pub ingress_annotations: Vec<(String, String)>,

    /// The labels of an ApiGateway that its children and pods carry as well: keys and prefix/*, separated by commas. A
    /// changed one rolls the pods. None: none.
    #[arg(long, env = "PHASEGATE_INHERITED_LABELS", value_delimiter = ',', value_parser = KeyPattern::parse)]
    pub inherited_labels: Vec<KeyPattern>,

    /// The annotations of an ApiGateway that its children and pods carry as well, in the same way. None: none.
    #[arg(long, env = "PHASEGATE_INHERITED_ANNOTATIONS", value_delimiter = ',', value_parser = KeyPattern::parse)]
    pub inherited_annotations: Vec<KeyPattern>,

    /// How long one call to the API server may take. An admission webhook that does not answer is named only if it is given up
    /// by the API server before that, which is after 10s unless its configuration says otherwise.
    #[arg(long, env = "PHASEGATE_CALL_TIMEOUT", default_value = "15s", value_parser = duration)]
    pub call_timeout: Duration,

    /// Take part in an election: of several operators one works, and another takes over when it
    /// is gone.
    #[arg(long, env = "PHASEGATE_LEADER_ELECTION")]
    pub leader_election: bool,

    /// The namespace of the Lease. None: the pod's own, or that of the kubeconfig's context.
    #[arg(long, env = "PHASEGATE_LEASE_NAMESPACE", value_parser = namespace)]
    pub lease_namespace: Option<String>,

    /// The name of the Lease. None: `phasegate`, and with a selector a name that follows from it and from the
    /// namespaces, so that operators of different shards do not wait for each other.
    #[arg(long, env = "PHASEGATE_LEASE_NAME", value_parser = namespace)]
    pub lease_name: Option<String>,

    /// How long others wait for a leader that says nothing.
    #[arg(long, env = "PHASEGATE_LEASE_DURATION", default_value = "15s", value_parser = duration)]
    pub lease_duration: Duration,

    /// How long a leader that cannot renew its Lease goes on. None: two thirds of the duration.
    #[arg(long, env = "PHASEGATE_LEASE_RENEW_DEADLINE", value_parser = duration)]
    pub lease_renew_deadline: Option<Duration>,

    /// How often the Lease is renewed, or looked at. None: a fifth of the duration.
    #[arg(long, env = "PHASEGATE_LEASE_RETRY_PERIOD", value_parser = duration)]
    pub lease_retry_period: Option<Duration>,

    /// Who this process is: the Lease's holder, and part of the user agent. No two processes may be
    /// the same. None: the host's name and a random number.
    #[arg(long, env = "PHASEGATE_IDENTITY", value_parser = identity, default_value_t = some_identity(), hide_default_value = true)]
    pub identity: String,

    /// The address and port that serve /livez, /readyz and /metrics, such as 0.0.0.0:8080. None:
    /// they are not served.
    #[arg(long, env = "PHASEGATE_HTTP_BIND")]
    pub http_bind: Option<SocketAddr>,

    /// For how long a reconcile may run, or a watch be silent, before /livez says so. Watches are
    /// silent for a minute when nothing happens.
    #[arg(long, env = "PHASEGATE_LIVE_WITHIN", default_value = "3m", value_parser = duration)]
    pub live_within: Duration,

    /// How log lines are written.
    #[arg(long, env = "PHASEGATE_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: a level, or a filter such as `info,phasegate=debug`.
    #[arg(long, env = "PHASEGATE_LOG", default_value = "info,kube=warn")]
    pub log: String,

    /// The kubeconfig file. None: the one that kubectl would use, and in a pod its service account.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig. None: its current one.
    #[arg(long)]
    pub context: Option<String>,

    /// Where gateways are recorded.
    #[command(flatten)]
    pub registry: registry::config::Arguments,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Run {
    /// What decisions depend on.
    pub fn settings(&self) -> Settings {
        let allowance = self.narrowing.allowance();
        Settings {
            start_deadline: allowance.start_deadline(self.start_deadline),
            stop_partial_starts: self.stop_partial_starts,
            cleanup_stuck_after: self.cleanup_stuck_after,
            allowance,
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

    fn lease_name(&self) -> String {
        match (&self.lease_name, &self.selector) {
            (Some(name), _) => name.clone(),
            (None, None) => "phasegate".to_owned(),
            (None, Some(_)) => format!("phasegate-{}", &children::hash(&self.works_on())[..8]),
        }
    }

    /// What is allowed of hosts.
    pub fn hosts(&self) -> Policy {
        Policy {
            need_permission: self.hosts_need_permission,
            cluster_domain: self.cluster_domain.clone(),
            per_namespace: self.max_hosts_per_namespace.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            kept_for: self.keep_released_hosts,
        }
    }

    /// Which gateways are worked on, in words that are the same for the same ones.
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

    /// What single values cannot show: whether they fit each other.
    ///
    /// # Errors
    /// A sentence that names the flags.
    pub fn check(&self) -> Result<(), String> {
        if self.registry()?.is_some() && self.selector.is_some() {
            return Err("--selector cannot be used with --registry mongodb: what documents ask for has no labels to \
                        select by"
                .to_owned());
        }
        let Some(Election { duration, renew_deadline, retry_period, .. }) = self.election("") else { return Ok(()) };
        if renew_deadline >= duration {
            return Err(format!(
                "--lease-renew-deadline ({renew_deadline:?}) must be shorter than --lease-duration ({duration:?}), or \
                 two operators would lead at once"
            ));
        }
        if retry_period * 2 > renew_deadline {
            return Err(format!(
                "--lease-retry-period ({retry_period:?}) must be at most half of --lease-renew-deadline \
                 ({renew_deadline:?}), or one slow answer would cost the leadership"
            ));
        }
        Ok(())
    }

    /// The registry outside Kubernetes, if there is one.
    ///
    /// # Errors
    /// A sentence that names the flags.
    pub fn registry(&self) -> Result<Option<registry::config::Settings>, String> {
        let watched: Vec<String> = self.namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
        self.registry.settings(&watched, &self.identity)
    }

    /// Where gateways are watched.
    pub fn scopes(&self) -> Vec<Scope> {
        // An empty variable is one that is not set.
        let mut namespaces: Vec<String> = self.namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
        if namespaces.is_empty() {
            return vec![Scope::Cluster];
        }
        namespaces.sort();
        namespaces.dedup();
        namespaces.into_iter().map(Scope::Namespace).collect()
    }
}

/// Two processes of one host are two candidates, and so is one that was restarted.
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
        Err("it is no DNS domain such as cluster.local".to_owned())
    }
}

fn identity(text: &str) -> Result<String, String> {
    let valid = !text.is_empty() && text.len() <= 253 && text.chars().all(|c| c.is_ascii_graphic());
    if valid { Ok(text.to_owned()) } else { Err("it is not 1 to 253 visible ASCII characters".to_owned()) }
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
            return Err("it is no label selector such as shard=a".to_owned());
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
            ("--allowed-image-prefixes", "ghcr.io,acme", "\"acme\": it does not begin with a registry"),
            ("--allowed-node-labels", "a,b c", "\"b c\": it is neither a key"),
            ("--allowed-tolerations", "a:Sometimes", "\"a:Sometimes\": its effect is none of"),
            ("--ingress-classes", "Public", "\"Public\": it is no name"),
            ("--max-replicas", "-1", "it is no number"),
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
