//! The metrics match the book, the alerts fire when they should, and alerts, runbook and dashboard refer only to
//! existing metrics and alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use kube::api::{Patch, PatchParams};
use phasegate::api::{Phase, State};
use serde_json::{Value, json};

use crate::contract::generates;
use crate::harness::cluster::kustomized;
use crate::harness::{self, Health, World, file, gateway, root, run, scratch};

/// One metric of a scrape.
#[derive(Default)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

const RUNBOOK: &str = "docs/src/operations/runbook.md";

type Metrics = BTreeMap<String, Metric>;

fn scraped(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            let earlier = metrics.insert(name.to_owned(), Metric { help: help.to_owned(), ..Metric::default() });
            assert!(earlier.is_none(), "{name} is told twice");
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            metrics.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let metric = metrics.get_mut(family(name)).unwrap();
            for (label, value) in labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once("=\""))
            {
                if label != "le" {
                    let values = metric.labels.entry(label.to_owned()).or_default();
                    values.insert(value.trim_end_matches('"').to_owned());
                }
            }
        }
    }
    metrics
}

/// The metric's name without a histogram's suffix. No other metric's name has such a suffix.
fn family(series: &str) -> &str {
    let suffix = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| series.strip_suffix(suffix));
    suffix.unwrap_or(series)
}

const PAGE: &str = "docs/src/reference/metrics.md";

/// A row of the page's table. A label without listed values may have any value.
struct Row {
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
    help: String,
}

fn documented() -> BTreeMap<String, Row> {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let table = page.lines().skip_while(|line| !line.starts_with("| metric |")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, help, _note] = cells[..] else { panic!("{line}") };
        // Text in parentheses is neither a label nor a value.
        let labels = labels.split(['(', ')']).step_by(2).collect::<String>();
        let mut all = BTreeMap::new();
        for label in labels.split(';').flat_map(|part| match part.split_once(':') {
            Some(closed) => vec![closed],
            None => part.split(',').map(|label| (label, "")).collect(),
        }) {
            let words = |text: &str| {
                text.split(',')
                    .map(|word| word.trim().trim_matches('`').to_owned())
                    .filter(|word| !word.is_empty())
                    .collect()
            };
            let names: BTreeSet<String> = words(label.0);
            all.extend(names.into_iter().map(|name| (name, words(label.1))));
        }
        (name.trim_matches('`').to_owned(), Row { kind: kind.to_owned(), labels: all, help: help.to_owned() })
    });
    rows.collect()
}

#[tokio::test]
async fn every_metric_is_in_the_books_table_and_every_row_of_it_in_a_scrape() {
    let world = World::new("scrape").await;
    let (leader, standby) = (Health::reserve(), Health::reserve());
    let address = leader.address();
    // The registry's address has no listener: an unreachable registry has metrics, too.
    let registry = ["--registry", "mongodb", "--mongodb-database", "platform", "--gateway-namespace", &world.namespace];
    let nobody = Health::reserve();
    let uri = format!("mongodb://{}/?serverSelectionTimeoutMS=500", nobody.address());
    let file = file("mongo", &format!("{}.uri", world.namespace), &uri).unwrap();
    let sink = format!("http://{}/", nobody.address());
    let others = ["--mongodb-uri-file", file.to_str().unwrap(), "--http-bind", &address, "--events-sink", &sink];
    let flags = [&registry[..], &others].concat();
    let _first = world.candidate(&flags);
    leader.until("/metrics", 200, &["phasegate_leader 1"]).await;
    let _second = world.candidate(&["--http-bind", &standby.address()]);
    let host = "scrape-tenant.example.com";
    world
        .apply(&gateway("scrape-tenant", json!({ "image": "acme/gateway:1", "host": host, "state": "Stopped" })))
        .await;
    world.until_phase("scrape-tenant", Phase::Stopped, State::Stopped).await;

    let away = "phasegate_registry_up{registry=\"mongodb\"} 0";
    let one = "phasegate_gateways{state=\"Stopped\",phase=\"Stopped\"} 1";
    let text = leader.until("/metrics", 200, &[away, one]).await;

    the_table_agrees_with(&text);
    // Every series begins at 0, so that the first failure is an increase.
    for series in [
        "phasegate_gateways{state=\"Running\",phase=\"Started\"} 0",
        "phasegate_gateways{state=\"Stopped\",phase=\"Started\"} 0",
        "phasegate_gateways_given_up 0",
        "phasegate_start_attempts_total{reason=\"StartRequested\"} 0",
        "phasegate_start_attempts_total{reason=\"RetryScheduled\"} 0",
        "phasegate_start_timeouts_total{reason=\"ImagePullFailed\"} 0",
        "phasegate_start_timeouts_total{reason=\"SlowStart\"} 0",
        "phasegate_start_duration_seconds_bucket{le=\"300\"} 0",
        "phasegate_reconciles_total{kind=\"Environment\",result=\"panicked\"} 0",
        "phasegate_reconcile_duration_seconds_count{kind=\"Environment\"} 0",
        "phasegate_api_request_duration_seconds_count{verb=\"delete\"} 0",
        "phasegate_watch_restarts_total{resource=\"pods\"} 0",
        "phasegate_registry_missing_indexes{registry=\"mongodb\"} 0",
        "phasegate_events_delivered_total 0",
        "phasegate_events_failures_total{class=\"refused\"} 0",
        "phasegate_events_missed_total 0",
    ] {
        assert!(text.lines().any(|line| line == series), "{series} is not in {text}");
    }
    for name in ["scrape-tenant", &world.namespace, host, &nobody.address()] {
        assert!(!text.contains(name), "{name} is in {text}");
    }
    check_metrics(&text);

    let text = standby.until("/metrics", 200, &["phasegate_leader 0", "phasegate_queue_waiting 0"]).await;
    let gateways = |name: &String| name.starts_with("phasegate_gateways") || name == "phasegate_oldest_start_seconds";
    let told: Vec<String> = scraped(&text).into_keys().filter(gateways).collect();
    assert!(told.is_empty(), "one that stands by knows {told:?}");
    check_metrics(&text);

    // A replica that loses the Lease no longer exposes the leader's metrics.
    let theirs = json!({ "spec": { "holderIdentity": "somebody" } });
    world.leases().patch(&world.namespace, &PatchParams::default(), &Patch::Merge(&theirs)).await.unwrap();
    let text = leader.until("/metrics", 200, &["phasegate_leader 0"]).await;
    for name in [
        "phasegate_gateways",
        "phasegate_registry_up",
        "phasegate_registry_missing_indexes",
        "phasegate_events_waiting",
        "phasegate_events_lag_seconds",
    ] {
        assert!(!text.contains(name), "{name} is in {text}");
    }
}

/// Asserts that the page's table has exactly the scraped metrics.
fn the_table_agrees_with(text: &str) {
    if generates() {
        write_helps(&scraped(text));
    }
    let (metrics, rows) = (scraped(text), documented());
    let names = |names: Vec<&String>| names.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(metrics.keys().collect()), names(rows.keys().collect()), "scraped, and in {PAGE}");
    for (name, metric) in &metrics {
        let row = &rows[name];
        assert_eq!(metric.kind, row.kind, "{name}");
        let help = metric.help.trim_end_matches('.');
        crate::wording::assert_in_style(name, help);
        assert_eq!(help, row.help, "{PAGE} has another help of {name}: run make generate");
        assert_eq!(names(metric.labels.keys().collect()), names(row.labels.keys().collect()), "labels of {name}");
        for (label, values) in &row.labels {
            let unknown: Vec<_> = metric.labels[label].difference(values).collect();
            assert!(values.is_empty() || unknown.is_empty(), "{PAGE} does not name {label} of {name}: {unknown:?}");
        }
    }
}

/// Runs promtool's lints of names, units, HELP and TYPE.
fn check_metrics(text: &str) {
    let mut command = promtool(&["check", "metrics"]);
    let mut checking = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut checking.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let checked = checking.wait_with_output().unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// Writes the help of each metric into its row.
fn write_helps(metrics: &Metrics) {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let lines = page.lines().map(|line| {
        let mut cells: Vec<&str> = line.split('|').collect();
        let metric = cells.get(1).and_then(|name| metrics.get(name.trim().trim_matches('`')));
        let Some(metric) = metric else { return format!("{line}\n") };
        let help = format!(" {} ", metric.help.trim_end_matches('.'));
        cells[4] = &help;
        format!("{}\n", cells.join("|"))
    });
    std::fs::write(root().join(PAGE), lines.collect::<String>()).unwrap();
}

fn promtool(arguments: &[&str]) -> Command {
    let mut command = Command::new(harness::promtool().unwrap());
    command.args(arguments);
    command
}

/// The objects of a folder of deploy/, by kind. Every kind that the tests read has only one object.
fn manifests(folder: &str) -> BTreeMap<String, Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(&kustomized(folder).unwrap()).unwrap();
    objects.into_iter().map(|object| (object["kind"].as_str().unwrap().to_owned(), object)).collect()
}

fn alerts(rules: &Value) -> Vec<&Value> {
    let groups = rules["spec"]["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect()
}

/// Writes files for promtool into a separate folder.
fn written(test: &str, files: &[(&str, &str)]) -> PathBuf {
    for (name, text) in files {
        file(test, name, text).unwrap();
    }
    scratch(test).unwrap()
}

#[test]
fn each_alert_fires_in_its_case_and_in_no_other() {
    let rules = &manifests("deploy/monitoring")["PrometheusRule"];
    let cases = std::fs::read_to_string(root().join("tests/monitoring/alerts.yaml")).unwrap();
    // JSON is valid YAML.
    let folder = written("alerts", &[("rules.yaml", &rules["spec"].to_string()), ("alerts.yaml", &cases)]);
    run(promtool(&["check", "rules", "rules.yaml"]).current_dir(&folder)).unwrap();
    run(promtool(&["test", "rules", "alerts.yaml"]).current_dir(&folder)).unwrap();

    let cases: Value = serde_saphyr::from_str(&cases).unwrap();
    let cases = cases["tests"].as_array().unwrap();
    let expected: Vec<&Value> = cases.iter().flat_map(|case| case["promql_expr_test"].as_array().unwrap()).collect();
    for alert in alerts(rules) {
        let name = alert["alert"].as_str().unwrap();
        let firing = format!("ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}");
        let samples: Vec<usize> = expected
            .iter()
            .filter(|case| case["expr"] == firing)
            .map(|case| case["exp_samples"].as_array().unwrap().len())
            .collect();
        assert!(samples.contains(&0), "no case in which {name} does not fire");
        assert!(samples.contains(&1), "no case in which {name} fires");
    }
}

#[test]
fn each_alert_has_a_paragraph_of_the_runbook_and_says_what_to_do() {
    let runbook = std::fs::read_to_string(root().join(RUNBOOK)).unwrap();
    let paragraphs: BTreeMap<&str, &str> =
        runbook.split("\n## ").skip(1).map(|paragraph| paragraph.split_once('\n').unwrap()).collect();
    let rules = &manifests("deploy/monitoring")["PrometheusRule"];
    let named: BTreeSet<&str> = alerts(rules).iter().map(|alert| alert["alert"].as_str().unwrap()).collect();
    assert_eq!(named, paragraphs.keys().copied().collect(), "alerts, and sections of {RUNBOOK}");
    for alert in alerts(rules) {
        let name = alert["alert"].as_str().unwrap();
        let said = |what: &str| alert["annotations"][what].as_str().unwrap_or_default();
        let url = format!("{}{RUNBOOK}#{}", crate::docs::REPOSITORY, name.to_lowercase());
        assert_eq!(said("runbook_url"), url);
        assert!(matches!(alert["labels"]["severity"].as_str(), Some("critical" | "warning")), "{alert}");
        assert!(said("summary").ends_with('.') && said("description").ends_with('.'), "{alert}");
        let paragraph = paragraphs[name];
        for part in ["**Means**: ", "**Hurts**: ", "**Do**: "] {
            assert!(paragraph.contains(part), "{name}: {part}");
        }
        let commands = paragraph.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(commands.lines().count(), 3, "{name}: {commands}");
    }
}

/// The metrics in an expression.
fn metrics_in(expr: &str) -> Vec<&str> {
    let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("phasegate_") || word.starts_with("process_")).collect()
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_there_are() {
    let manifests = manifests("deploy/monitoring");
    let exprs =
        alerts(&manifests["PrometheusRule"]).into_iter().map(|alert| alert["expr"].as_str().unwrap().to_owned());
    let rows = documented();
    for expr in exprs.chain(panels(&manifests).iter().flat_map(exprs_of)) {
        let named = metrics_in(&expr);
        assert!(!named.is_empty(), "{expr}");
        for name in named {
            let histogram = name.ends_with("_bucket") || name.ends_with("_sum") || name.ends_with("_count");
            let row = rows.get(family(name)).unwrap_or_else(|| panic!("{name} is no metric: {expr}"));
            assert_eq!(histogram, row.kind == "histogram", "{name} of {expr}");
        }
    }
}

/// The panels of the dashboard, without the titles of its rows.
fn panels(manifests: &BTreeMap<String, Value>) -> Vec<Value> {
    let map = &manifests["ConfigMap"];
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let dashboard: Value = serde_json::from_str(map["data"]["phasegate.json"].as_str().unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().clone();
    panels.into_iter().filter(|panel| panel["type"] != "row").collect()
}

fn exprs_of(panel: &Value) -> Vec<String> {
    let targets = panel["targets"].as_array().unwrap().iter();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_panel_says_what_it_shows_and_asks_what_prometheus_understands() {
    let panels = panels(&manifests("deploy/monitoring"));
    assert!(panels.len() >= 20, "{} panels", panels.len());
    let titles: BTreeSet<&str> = panels.iter().filter_map(|panel| panel["title"].as_str()).collect();
    assert_eq!(titles.len(), panels.len(), "each has a title of its own");
    for panel in &panels {
        let told = |text: &Value| text.as_str().is_some_and(|text| !text.is_empty());
        assert!(told(&panel["title"]) && told(&panel["description"]), "{panel}");
        assert!(told(&panel["fieldConfig"]["defaults"]["unit"]), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
    }
    // promtool parses the expressions as recording rules.
    let rules: Vec<Value> = panels
        .iter()
        .flat_map(exprs_of)
        .enumerate()
        .map(|(number, expr)| {
            let expr = expr.replace("$__rate_interval", "5m").replace("$job", ".*");
            json!({ "record": format!("panel:{number}"), "expr": expr })
        })
        .collect();
    let rules = json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string();
    let folder = written("dashboard", &[("rules.yaml", &rules)]);
    run(promtool(&["check", "rules", "rules.yaml"]).current_dir(folder)).unwrap();
}

#[test]
fn the_pods_that_are_scraped_are_the_operators() {
    let monitor = &manifests("deploy/monitoring")["PodMonitor"];
    let base = manifests("deploy/base");
    let deployment = &base["Deployment"];
    let template = &deployment["spec"]["template"];
    assert_eq!(monitor["metadata"]["namespace"], deployment["metadata"]["namespace"]);
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], template["metadata"]["labels"]);
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    let port = &template["spec"]["containers"][0]["ports"][0];
    assert_eq!((&endpoint["port"], &endpoint["path"]), (&port["name"], &json!("/metrics")));
    let ingress = &base["NetworkPolicy"]["spec"]["ingress"][0];
    assert_eq!(ingress["ports"][0]["port"], port["containerPort"]);
    assert_eq!(ingress["from"][0]["namespaceSelector"]["matchLabels"], json!({ "phasegate.dev/monitoring": "true" }));
}
