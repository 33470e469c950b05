//! Any status that the schema admits.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{few, maybe, number, observed, phase, reason, small_number, state, text, time};
use crate::api::{
    ApiGatewayStatus, Attempt, ContestedField, DesiredState, EnvironmentCount, Failure, HISTORY_LENGTH, Handled,
    HostClaim, StoredChange, Subject, Transition, UnknownFields, condition,
};
use crate::decide::tests::builders::HOST;

pub fn status() -> BoxedStrategy<ApiGatewayStatus> {
    (
        (maybe_mostly(state()), maybe_mostly(phase()), maybe(number()), maybe(handled()), maybe(attempt()), number()),
        (number(), maybe(small_number()), maybe(small_number()), maybe(text()), maybe(text()), few(host())),
        (maybe(environments()), few(condition()), maybe(observed::accepted()), few(changed()), few(contested())),
        (maybe(subject()), maybe(failure()), history(), others()),
    )
        .prop_map(
            |(
                (state, phase, observed_generation, handled, attempt, transitions),
                (restarts, replicas, ready_replicas, selector, url, hosts),
                (environments, conditions, accepted, changed, contested),
                (subject, last_failure, history, others),
            )| ApiGatewayStatus {
                state,
                phase,
                observed_generation,
                handled,
                attempt,
                transitions,
                restarts,
                replicas,
                ready_replicas,
                selector,
                url,
                hosts,
                environments,
                conditions,
                accepted,
                changed,
                contested,
                subject,
                last_failure,
                history,
                others,
            },
        )
        .boxed()
}

fn maybe_mostly<T: Clone + std::fmt::Debug + 'static>(of: BoxedStrategy<T>) -> BoxedStrategy<Option<T>> {
    proptest::option::weighted(0.9, of).boxed()
}

fn micro() -> BoxedStrategy<MicroTime> {
    time().prop_map(MicroTime).boxed()
}

/// What another version may have written.
pub fn others() -> BoxedStrategy<UnknownFields> {
    let value = prop_oneof![Just(Value::Null), Just(json!(u64::MAX)), Just(json!({ "deeper": [1.5e300, "x"] }))];
    btree_map(select(&["newer", "heldBy"][..]).prop_map(str::to_owned), value, 0..2).boxed()
}

pub fn desired_state() -> BoxedStrategy<DesiredState> {
    prop_oneof![20 => select(DesiredState::ALL), 1 => Just(DesiredState::Unknown("Hibernating"))].boxed()
}

fn handled() -> BoxedStrategy<Handled> {
    let hash = select(&["", ":", "v0:0123456789abcdef", "v1:0123456789abcdef", "v1:"][..]).prop_map(str::to_owned);
    (
        (hash, desired_state(), maybe(number()), maybe(text())),
        (maybe(small_number()), maybe(text()), maybe(text()), others()),
    )
        .prop_map(|((spec_hash, state, generation, read_as), (replicas, retry, restart, others))| Handled {
            spec_hash,
            state,
            generation,
            read_as,
            replicas,
            retry,
            restart,
            others,
        })
        .boxed()
}

fn attempt() -> BoxedStrategy<Attempt> {
    (number(), micro(), number(), maybe(micro()), maybe(small_number()), others())
        .prop_map(|(number, started_at, held_seconds, held_since, retries_left, others)| Attempt {
            number,
            started_at,
            held_seconds,
            held_since,
            retries_left,
            others,
        })
        .boxed()
}

pub fn host() -> BoxedStrategy<HostClaim> {
    let host = prop_oneof![Just(HOST.to_owned()), text()];
    (host, micro()).prop_map(|(host, since)| HostClaim { host, since }).boxed()
}

fn environments() -> BoxedStrategy<EnvironmentCount> {
    (small_number(), small_number()).prop_map(|(active, total)| EnvironmentCount { active, total }).boxed()
}

pub fn condition() -> BoxedStrategy<Condition> {
    let type_ = prop_oneof![10 => select(condition::ALL).prop_map(str::to_owned), 1 => text()];
    let status = select(&["True", "False", "Unknown", ""][..]).prop_map(str::to_owned);
    let reason = prop_oneof![4 => reason().prop_map(|reason| reason.to_string()), 1 => text()];
    (type_, status, reason, text(), maybe(number()), time())
        .prop_map(|(type_, status, reason, message, observed_generation, last)| Condition {
            type_,
            status,
            reason,
            message,
            observed_generation,
            last_transition_time: Time(last),
        })
        .boxed()
}

fn changed() -> BoxedStrategy<StoredChange> {
    (text(), text(), text(), text())
        .prop_map(|(child, path, asked, stored)| StoredChange { child, path, asked, stored })
        .boxed()
}

fn contested() -> BoxedStrategy<ContestedField> {
    (text(), text(), maybe(text())).prop_map(|(child, path, manager)| ContestedField { child, path, manager }).boxed()
}

fn subject() -> BoxedStrategy<Subject> {
    (maybe(text()), maybe(text()), maybe(text()))
        .prop_map(|(image, serving, beside)| Subject { image, serving, beside })
        .boxed()
}

fn failure() -> BoxedStrategy<Failure> {
    (reason(), text(), text(), micro(), number(), others())
        .prop_map(|(reason, message, hint, at, attempt, others)| Failure { reason, message, hint, at, attempt, others })
        .boxed()
}

fn history() -> BoxedStrategy<Vec<Transition>> {
    prop_oneof![4 => few(transition()), 1 => vec(transition(), HISTORY_LENGTH - 1..HISTORY_LENGTH + 3)].boxed()
}

fn transition() -> BoxedStrategy<Transition> {
    (micro(), maybe(phase()), phase(), state(), reason(), text(), number(), others())
        .prop_map(|(at, from, to, state, reason, message, seconds, others)| Transition {
            at,
            from,
            to,
            state,
            reason,
            message,
            seconds,
            others,
        })
        .boxed()
}
