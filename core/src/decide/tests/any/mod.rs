//! Anything that may be stored or seen: what the schema admits, numbers and moments at their extremes, words of other versions,
//! and fields that contradict each other. What is usual is usual here too, or nothing would ever move.
//!
//! Every struct is built field by field: a new one does not compile before it is here.

mod context;
mod gateway;
mod observed;
mod status;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use super::builders::{at, secs};
use crate::api::{ApiGateway, Phase, Reason, State};
use crate::decide::Learned;
use crate::decide::allowance::{Allowance, Allowed};
use crate::decide::observed::{Moment, Observed, Settings};

/// Something to decide about.
#[derive(Clone, Debug)]
pub struct Case {
    pub gateway: ApiGateway,
    pub observed: Observed,
    pub moment: Moment,
    pub settings: Settings,
}

pub fn case() -> impl Strategy<Value = Case> {
    (gateway::gateway(), observed::observed(), moment(), settings())
        .prop_map(|(gateway, observed, moment, settings)| Case { gateway, observed, moment, settings })
}

pub use context::{environment, hosts};

pub fn learned() -> impl Strategy<Value = Learned> {
    observed::learned()
}

/// The same cases in each run of the tests; others where somebody asks for a number of them (`PROPTEST_CASES`).
pub fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let rng_seed = if asked.cases == 256 { RngSeed::Fixed(0) } else { asked.rng_seed };
    ProptestConfig { rng_seed, failure_persistence: None, ..asked }
}

/// Usual words, and any others: some are obeyed by terminals, some are long.
fn text() -> BoxedStrategy<String> {
    const KNOWN: &[&str] = &[
        "",
        "a",
        "gateway",
        "shop.example.com",
        "ghcr.io/acme/gateway:1",
        "connection refused",
        "failed calling webhook \"w.example.com\": refused",
        "admission webhook \"w.example.com\" denied the request: no",
        "etcdserver: request timed out",
        "exceeded quota: q",
        "must specify limits.cpu for: gateway; requests.memory for: istio-proxy",
        "rpc error: code = Unknown desc = failed to pull \"ghcr.io/acme/gateway:1\": not found",
        "0/3 nodes are available: 3 Insufficient cpu. preemption: none",
        "password = hunter2 https://a:b@c/d",
        "\u{1b}]52;c;ZXZpbA==\u{7}\u{9b}2J\u{202e}",
    ];
    let long = (select(&["x", "ä", "long ", "\u{1f980}", "\u{1b}["][..]), 1..4_000_usize);
    prop_oneof![
        20 => select(KNOWN).prop_map(str::to_owned),
        2 => vec(any::<char>(), 0..10).prop_map(String::from_iter),
        1 => long.prop_map(|(part, times)| part.repeat(times)),
    ]
    .boxed()
}

fn few<T: Clone + std::fmt::Debug + 'static>(of: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Vec<T>> {
    vec(of, 0..3).boxed()
}

fn maybe<T: Clone + std::fmt::Debug + 'static>(of: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Option<T>> {
    proptest::option::of(of).boxed()
}

fn number() -> BoxedStrategy<i64> {
    prop_oneof![6 => 0..5_i64, 1 => select(&[i64::MIN, i64::MIN + 1, -1, i64::MAX - 1, i64::MAX][..])].boxed()
}

fn small_number() -> BoxedStrategy<i32> {
    prop_oneof![6 => 0..5_i32, 1 => select(&[i32::MIN, -1, i32::MAX][..])].boxed()
}

/// A schema's `date-time` begins with the year 0 and ends with 9999.
fn time() -> BoxedStrategy<Timestamp> {
    let extremes = ["0000-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-30T00:00:00Z"];
    let odd = select(extremes.map(|text| text.parse::<Timestamp>().unwrap()).to_vec());
    prop_oneof![6 => (0..1_000_i64).prop_map(at), 1 => odd].boxed()
}

fn duration() -> BoxedStrategy<Duration> {
    let usual = select(&[0, 1, 4, 5, 29, 30, 31, 150, 299, 300, 301, 599, 600, 900, 5_000][..]).prop_map(secs);
    let odd = select(vec![Duration::from_nanos(1), Duration::from_secs(u64::MAX), Duration::MAX]);
    prop_oneof![12 => usual, 1 => odd].boxed()
}

fn phase() -> BoxedStrategy<Phase> {
    use Phase::{Created, Deleting, Started, Starting, Stopped, Stopping};
    let known = select(vec![Created, Starting, Started, Stopping, Stopped, Deleting]);
    prop_oneof![20 => known, 1 => text().prop_map(Phase::from)].boxed()
}

fn state() -> BoxedStrategy<State> {
    prop_oneof![20 => select(State::ALL), 1 => Just(State::Unknown("Hibernating"))].boxed()
}

fn reason() -> BoxedStrategy<Reason> {
    prop_oneof![10 => select(Reason::ALL), 1 => Just(Reason::Unknown("HeldByPolicy"))].boxed()
}

fn moment() -> BoxedStrategy<Moment> {
    (time(), duration(), duration(), duration(), duration(), duration(), duration())
        .prop_map(|(now, attempt, held, phase, failure, deletion, unrecorded)| Moment {
            now,
            attempt,
            held,
            phase,
            failure,
            deletion,
            unrecorded,
        })
        .boxed()
}

/// What the flags, or a namespace's annotations, say of what gateways may ask for.
fn allowance() -> BoxedStrategy<Allowance> {
    fn of<T: Clone + std::fmt::Debug + 'static>(only: Allowed<T>) -> BoxedStrategy<Allowed<T>> {
        prop_oneof![8 => Just(Allowed::Any), 1 => Just(only), 1 => text().prop_map(Allowed::Unreadable)].boxed()
    }
    (
        of(Allowed::list_of_flag("ghcr.io/acme").unwrap()),
        of(Allowed::list_of_flag("disk").unwrap()),
        of(Allowed::list_of_flag("dedicated").unwrap()),
        of(Allowed::Only(vec!["nginx".to_owned()])),
        of(Allowed::list_of_flag("infra/public").unwrap()),
        of(Allowed::Only(0)),
        of(Allowed::Only(secs(1))),
    )
        .prop_map(
            |(
                image_prefixes,
                node_labels,
                tolerations,
                ingress_classes,
                parent_refs,
                max_replicas,
                max_start_deadline,
            )| Allowance {
                image_prefixes,
                node_labels,
                tolerations,
                ingress_classes,
                parent_refs,
                max_replicas,
                max_start_deadline,
            },
        )
        .boxed()
}

/// What the flags take: a deadline is a second at least.
fn settings() -> BoxedStrategy<Settings> {
    let at_least_a_second = || duration().prop_map(|duration| duration.max(secs(1)));
    (
        (at_least_a_second(), any::<bool>(), at_least_a_second(), allowance()),
        (few(gateway::parent()), gateway::annotations(), gateway::inheritance(), at_least_a_second()),
    )
        .prop_map(
            |(
                (start_deadline, stop_partial_starts, cleanup_stuck_after, allowance),
                (default_parent_refs, ingress_annotations, inheritance, registry_deletion_timeout),
            )| Settings {
                start_deadline,
                stop_partial_starts,
                cleanup_stuck_after,
                allowance,
                default_parent_refs,
                ingress_annotations,
                inheritance,
                registry_deletion_timeout,
            },
        )
        .boxed()
}
