//! The program reports an error and its exit code before it starts anything.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::harness::{self, World};

/// The program with an empty environment: no kubeconfig, no home, no variables.
fn phasegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasegate"));
    command.args(arguments).env_clear().env("HOME", "/nowhere").stdin(Stdio::null());
    command
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts that a run ended with this exit code, and returns its one error message.
fn refusal(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(stderr.ends_with('\n') && stderr.lines().count() == 1, "not one line: {stderr}");
    stderr.trim_end().strip_prefix("phasegate: ").unwrap_or_else(|| panic!("it is not signed: {stderr}")).to_owned()
}

/// An API server that never responds, with a kubeconfig for it.
struct Nobody {
    listener: TcpListener,
    kubeconfig: PathBuf,
}

impl Nobody {
    fn new(test: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "nobody", "cluster": { "server": server } }],
            "users": [{ "name": "nobody", "user": {} }],
            "contexts": [{ "name": "nobody", "context": { "cluster": "nobody", "user": "nobody" } }],
            "current-context": "nobody",
        });
        Self { listener, kubeconfig: file(test, &kubeconfig.to_string()) }
    }

    fn path(&self) -> &str {
        self.kubeconfig.to_str().unwrap()
    }

    fn was_not_called(&self) {
        let called = self.listener.accept();
        assert!(called.is_err(), "the API server was called: {called:?}");
    }
}

/// A file with this content, for one test.
fn file(test: &str, content: &str) -> PathBuf {
    harness::file("cli", test, content).unwrap()
}

#[test]
fn what_is_no_argument_is_refused_with_two() {
    for (arguments, sentence) in [
        (vec![], "the first argument must be a command: run or crds (see --help)"),
        (vec!["walk"], "the first argument must be a command: run or crds (see --help)"),
        (vec!["--banana"], "unexpected argument '--banana' found (see --help)"),
        (vec!["run", "--banana"], "unexpected argument '--banana' found (see --help)"),
        (vec!["run", "now"], "unexpected argument 'now' found (see --help)"),
        (vec!["crds", "--log", "info"], "unexpected argument '--log' found (see --help)"),
        (
            vec!["run", "--log", "info", "--log", "debug"],
            "the argument '--log <LOG>' cannot be used multiple times (see --help)",
        ),
    ] {
        let output = phasegate(&arguments).output().unwrap();
        assert_eq!(refusal(&output, 2), sentence, "{arguments:?}");
    }
}

#[test]
fn a_value_that_is_not_valid_is_refused_with_three() {
    let nobody = Nobody::new("bad-value");
    let long = "9".repeat(30) + "h";
    for (flag, value, sentence) in [
        ("--start-deadline", "banana", "must be a duration such as 90s, 5m or 1h30m"),
        ("--start-deadline", "0s", "must be at least 1s"),
        ("--start-deadline", &long, "must be a duration such as 90s, 5m or 1h30m"),
        ("--start-deadline", "5m-3s", "must be a duration such as 90s, 5m or 1h30m"),
        ("--cleanup-stuck-after", "3 days", "must be a duration such as 90s, 5m or 1h30m"),
        ("--call-timeout", "500ms", "must be at least 1s"),
        ("--concurrency", "0", "0 is not in 1..=1024"),
        ("--concurrency", "many", "invalid digit found in string"),
        ("--namespaces", "Shop", "must be a valid namespace name"),
        ("--selector", "=", "must be a label selector such as shard=a"),
        ("--inherited-labels", "argocd.argoproj.io/instance", "other controllers select their objects by it"),
        ("--inherited-annotations", "kubernetes.io/*", "keys of Kubernetes and its controllers cannot be inherited"),
        ("--log-format", "xml", "[possible values: text, json]"),
        ("--log", "=,=", "\"=,=\" is not a log filter"),
        ("--log", "phasegate=loud", "\"phasegate=loud\" is not a log filter"),
    ] {
        let output = phasegate(&["run", "--kubeconfig", nobody.path(), flag, value]).output().unwrap();
        let said = refusal(&output, 3);
        assert!(said.contains(sentence) && said.contains(value), "{flag} {value}: {said}");
        assert!(flag == "--log" || said.contains(flag), "{flag} {value}: {said}");
    }
    nobody.was_not_called();
}

#[test]
fn a_kubeconfig_that_leads_nowhere_is_refused_with_four() {
    let nobody = Nobody::new("no-cluster");
    let empty = file("empty", "");
    let kubeconfig = |path: &Path| vec!["run".to_owned(), "--kubeconfig".to_owned(), path.display().to_string()];
    let mut elsewhere = kubeconfig(&nobody.kubeconfig);
    elsewhere.extend(["--context".to_owned(), "elsewhere".to_owned()]);
    for (arguments, path, sentence) in [
        (kubeconfig(Path::new("/nowhere/config")), "/nowhere/config", ": No such file or directory (os error 2)"),
        (kubeconfig(Path::new("/")), "/", ": Is a directory (os error 21)"),
        (kubeconfig(&empty), empty.to_str().unwrap(), " has no current context"),
        (elsewhere, nobody.path(), " has no context \"elsewhere\""),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = refusal(&phasegate(&arguments).output().unwrap(), 4);
        assert_eq!(said, format!("cannot connect to the API server: kubeconfig {path}{sentence}"), "{arguments:?}");
    }
    nobody.was_not_called();
}

#[test]
fn a_kubeconfig_that_cannot_be_parsed_is_named_and_not_quoted() {
    for content in ["token: hunter2\n- [", "- token: hunter2", "clusters: hunter2", "hunter2"] {
        let garbage = file("garbage", content);
        let garbage = garbage.to_str().unwrap();
        let said = refusal(&phasegate(&["run", "--kubeconfig", garbage]).output().unwrap(), 4);
        let beginning = format!("cannot connect to the API server: kubeconfig {garbage} is not a kubeconfig: ");
        assert!(said.starts_with(&beginning) && !said.contains("hunter2"), "{content:?}: {said}");
    }
}

/// Arguments come from charts and pipelines, where other people may choose the values.
#[test]
fn whatever_an_argument_says_a_terminal_obeys_none_of_it() {
    const HOSTILE: &str = "evil\u{1b}]52;c;ZXZpbA==\u{7}\u{9b}2J\u{202e}\u{200b}\r\nwords";
    let nobody = Nobody::new("hostile");
    let mut said = Vec::new();
    for (flag, code) in [
        ("--start-deadline", 3),
        ("--log", 3),
        ("--log-format", 3),
        ("--namespaces", 3),
        (HOSTILE, 2),
        ("--context", 4),
    ] {
        let output = phasegate(&["run", "--kubeconfig", nobody.path(), flag, HOSTILE]).output().unwrap();
        said.push(refusal(&output, code));
    }
    said.push(refusal(&phasegate(&["run", "--kubeconfig", HOSTILE]).output().unwrap(), 4));
    said.push(refusal(&phasegate(&["run"]).env("PHASEGATE_IDENTITY", HOSTILE).output().unwrap(), 3));
    for sentence in said {
        assert!(sentence.contains("evil"), "{sentence:?}");
        assert!(!sentence.contains(phasegate::shown::is_hidden), "{sentence:?}");
    }
    nobody.was_not_called();
}

#[test]
fn a_kubeconfig_is_found_as_kubectl_finds_it() {
    let nobody = Nobody::new("found");
    let said = |command: &mut Command| refusal(&command.output().unwrap(), 4);

    assert_eq!(
        said(&mut phasegate(&["run"])),
        "cannot connect to the API server: kubeconfig /nowhere/.kube/config: No such file or directory (os error 2)"
    );
    assert_eq!(
        said(phasegate(&["run"]).env("KUBECONFIG", "/nowhere/else")),
        "cannot connect to the API server: kubeconfig /nowhere/else: No such file or directory (os error 2)"
    );
    assert_eq!(
        said(phasegate(&["run", "--context", "elsewhere"]).env("KUBECONFIG", nobody.path())),
        "cannot connect to the API server: the kubeconfig has no context \"elsewhere\""
    );
    let in_a_pod = said(phasegate(&["run"]).env("KUBERNETES_SERVICE_HOST", "127.0.0.1"));
    assert!(
        in_a_pod.starts_with("cannot connect to the API server: failed to load the pod's service account: "),
        "{in_a_pod}"
    );
    nobody.was_not_called();
}

#[test]
fn every_variable_of_the_environment_counts_until_a_flag_says_otherwise() {
    for (variable, value, flag, valid) in [
        ("PHASEGATE_NAMESPACES", "Shop", "--namespaces", "shop"),
        ("PHASEGATE_SELECTOR", "=", "--selector", "shard=a"),
        ("PHASEGATE_CONCURRENCY", "0", "--concurrency", "8"),
        ("PHASEGATE_START_DEADLINE", "banana", "--start-deadline", "5m"),
        ("PHASEGATE_CLEANUP_STUCK_AFTER", "banana", "--cleanup-stuck-after", "5m"),
        ("PHASEGATE_INGRESS_ANNOTATIONS", "banana", "--ingress-annotation", "example.com/a=b"),
        ("PHASEGATE_INHERITED_LABELS", "*", "--inherited-labels", "example.com/*"),
        ("PHASEGATE_INHERITED_ANNOTATIONS", "*", "--inherited-annotations", "team"),
        ("PHASEGATE_CALL_TIMEOUT", "banana", "--call-timeout", "5s"),
        ("PHASEGATE_LEASE_NAMESPACE", "Shop", "--lease-namespace", "shop"),
        ("PHASEGATE_LEASE_NAME", "Shop", "--lease-name", "shop"),
        ("PHASEGATE_LEASE_DURATION", "banana", "--lease-duration", "5s"),
        ("PHASEGATE_LEASE_RENEW_DEADLINE", "banana", "--lease-renew-deadline", "5s"),
        ("PHASEGATE_LEASE_RETRY_PERIOD", "banana", "--lease-retry-period", "1s"),
        ("PHASEGATE_IDENTITY", "two words", "--identity", "pod-1"),
        ("PHASEGATE_HTTP_BIND", "banana", "--http-bind", "127.0.0.1:0"),
        ("PHASEGATE_LIVE_WITHIN", "banana", "--live-within", "1m"),
        ("PHASEGATE_LOG_FORMAT", "xml", "--log-format", "json"),
        ("PHASEGATE_LOG", "=,=", "--log", "debug"),
    ] {
        let nowhere = ["run", "--kubeconfig", "/nowhere/config"];
        let said = refusal(&phasegate(&nowhere).env(variable, value).output().unwrap(), 3);
        assert!(said.contains(value), "{variable}={value}: {said}");
        refusal(&phasegate(&nowhere).args([flag, valid]).env(variable, value).output().unwrap(), 4);
    }
}

#[test]
fn the_programs_help_names_its_commands() {
    let help = stdout(&mut phasegate(&["--help"]));

    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(commands, ["run", "crds", "help"]);
    assert!(help.contains("-V, --version"), "{help}");
    assert!(!help.contains('\u{1b}'), "colours in a pipe: {help:?}");
    assert_eq!(stdout(&mut phasegate(&["--version"])), format!("phasegate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn runs_help_gives_every_flag_its_variable_and_default() {
    let help = stdout(&mut phasegate(&["run", "--help"]));

    let mut flags: Vec<(&str, Option<&str>, Option<&str>)> = Vec::new();
    for line in help.lines().map(str::trim) {
        let bracketed = |name: &str| line.strip_prefix(&format!("[{name}: ")).and_then(|rest| rest.strip_suffix(']'));
        if let Some(flag) =
            line.split_whitespace().find(|word| word.starts_with("--")).filter(|_| line.starts_with('-'))
        {
            flags.push((flag, None, None));
        } else if let Some(variable) = bracketed("env") {
            // A variable whose value is hidden has no '='.
            flags.last_mut().unwrap().1 = Some(variable.trim_end_matches('='));
        } else if let Some(default) = bracketed("default") {
            flags.last_mut().unwrap().2 = Some(default);
        }
    }
    assert_eq!(
        flags,
        [
            ("--namespaces", Some("PHASEGATE_NAMESPACES"), None),
            ("--selector", Some("PHASEGATE_SELECTOR"), None),
            ("--concurrency", Some("PHASEGATE_CONCURRENCY"), Some("64")),
            ("--start-deadline", Some("PHASEGATE_START_DEADLINE"), Some("5m")),
            ("--stop-partial-starts", Some("PHASEGATE_STOP_PARTIAL_STARTS"), None),
            ("--cleanup-stuck-after", Some("PHASEGATE_CLEANUP_STUCK_AFTER"), Some("5m")),
            ("--hosts-need-permission", Some("PHASEGATE_HOSTS_NEED_PERMISSION"), None),
            ("--max-hosts-per-namespace", Some("PHASEGATE_MAX_HOSTS_PER_NAMESPACE"), None),
            ("--keep-released-hosts", Some("PHASEGATE_KEEP_RELEASED_HOSTS"), Some("1m")),
            ("--cluster-domain", Some("PHASEGATE_CLUSTER_DOMAIN"), Some("cluster.local")),
            ("--allowed-image-prefixes", Some("PHASEGATE_ALLOWED_IMAGE_PREFIXES"), None),
            ("--allowed-node-labels", Some("PHASEGATE_ALLOWED_NODE_LABELS"), None),
            ("--allowed-tolerations", Some("PHASEGATE_ALLOWED_TOLERATIONS"), None),
            ("--ingress-classes", Some("PHASEGATE_INGRESS_CLASSES"), None),
            ("--allowed-parent-refs", Some("PHASEGATE_ALLOWED_PARENT_REFS"), None),
            ("--max-replicas", Some("PHASEGATE_MAX_REPLICAS"), None),
            ("--max-start-deadline", Some("PHASEGATE_MAX_START_DEADLINE"), None),
            ("--default-parent-refs", Some("PHASEGATE_DEFAULT_PARENT_REFS"), None),
            ("--ingress-annotation", Some("PHASEGATE_INGRESS_ANNOTATIONS"), None),
            ("--inherited-labels", Some("PHASEGATE_INHERITED_LABELS"), None),
            ("--inherited-annotations", Some("PHASEGATE_INHERITED_ANNOTATIONS"), None),
            ("--call-timeout", Some("PHASEGATE_CALL_TIMEOUT"), Some("15s")),
            ("--leader-election", Some("PHASEGATE_LEADER_ELECTION"), None),
            ("--lease-namespace", Some("PHASEGATE_LEASE_NAMESPACE"), None),
            ("--lease-name", Some("PHASEGATE_LEASE_NAME"), None),
            ("--lease-duration", Some("PHASEGATE_LEASE_DURATION"), Some("15s")),
            ("--lease-renew-deadline", Some("PHASEGATE_LEASE_RENEW_DEADLINE"), None),
            ("--lease-retry-period", Some("PHASEGATE_LEASE_RETRY_PERIOD"), None),
            ("--identity", Some("PHASEGATE_IDENTITY"), None),
            ("--http-bind", Some("PHASEGATE_HTTP_BIND"), None),
            ("--live-within", Some("PHASEGATE_LIVE_WITHIN"), Some("3m")),
            ("--log-format", Some("PHASEGATE_LOG_FORMAT"), Some("text")),
            ("--log", Some("PHASEGATE_LOG"), Some("info,kube=warn")),
            ("--kubeconfig", None, None),
            ("--context", None, None),
            ("--help", None, None),
            ("--registry", Some("PHASEGATE_REGISTRY"), Some("kubernetes")),
            ("--mongodb-uri", Some("MONGODB_URI"), None),
            ("--mongodb-uri-file", Some("PHASEGATE_MONGODB_URI_FILE"), None),
            ("--mongodb-database", Some("PHASEGATE_MONGODB_DATABASE"), None),
            ("--mongodb-username", Some("PHASEGATE_MONGODB_USERNAME"), None),
            ("--mongodb-password-file", Some("PHASEGATE_MONGODB_PASSWORD_FILE"), None),
            ("--gateway-namespace", Some("PHASEGATE_GATEWAY_NAMESPACE"), None),
            ("--gateway-allowed-namespaces", Some("PHASEGATE_GATEWAY_ALLOWED_NAMESPACES"), None),
            ("--gateway-image", Some("PHASEGATE_GATEWAY_IMAGE"), None),
            ("--gateway-port", Some("PHASEGATE_GATEWAY_PORT"), None),
            ("--gateway-domain", Some("PHASEGATE_GATEWAY_DOMAIN"), None),
            ("--registry-scan-interval", Some("PHASEGATE_REGISTRY_SCAN_INTERVAL"), Some("5s")),
            ("--registry-timeout", Some("PHASEGATE_REGISTRY_TIMEOUT"), Some("5s")),
            ("--registry-deletion-timeout", Some("PHASEGATE_REGISTRY_DELETION_TIMEOUT"), Some("10m")),
            ("--events-sink", Some("PHASEGATE_EVENTS_SINK"), None),
            ("--events-sink-secret-file", Some("PHASEGATE_EVENTS_SINK_SECRET_FILE"), None),
            ("--events-sink-ca-file", Some("PHASEGATE_EVENTS_SINK_CA_FILE"), None),
            ("--events-sink-timeout", Some("PHASEGATE_EVENTS_SINK_TIMEOUT"), Some("10s")),
        ]
    );
}

#[test]
fn times_of_the_lease_that_do_not_fit_each_other_are_refused_with_three() {
    let times = ["run", "--leader-election", "--lease-duration", "10s", "--lease-renew-deadline", "10s"];
    let said = refusal(&phasegate(&times).output().unwrap(), 3);
    assert!(said.starts_with("--lease-renew-deadline (10s) must be shorter than --lease-duration (10s)"), "{said}");
    // Without leader election these flags have no effect.
    let alone = ["run", "--lease-renew-deadline", "15s", "--kubeconfig", "/nowhere/config"];
    refusal(&phasegate(&alone).output().unwrap(), 4);
}

#[tokio::test]
async fn printed_definitions_can_be_applied() {
    let world = World::new("definitions").await;
    let printed = stdout(&mut phasegate(&["crds"]));

    let mut kubectl = world.cluster.kubectl();
    kubectl.args(["apply", "--dry-run=server", "-o", "name", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut kubectl = kubectl.stderr(Stdio::piped()).spawn().unwrap();
    kubectl.stdin.take().unwrap().write_all(printed.as_bytes()).unwrap();
    let applied = kubectl.wait_with_output().unwrap();

    assert!(applied.status.success(), "{applied:?}");
    assert_eq!(
        String::from_utf8(applied.stdout).unwrap().lines().collect::<Vec<_>>(),
        [
            "customresourcedefinition.apiextensions.k8s.io/apigateways.phasegate.dev",
            "customresourcedefinition.apiextensions.k8s.io/environments.phasegate.dev",
        ]
    );
}
