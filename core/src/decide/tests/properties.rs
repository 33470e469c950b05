//! What holds of a decision whatever is stored, seen and asked, at any moment. What was found wrong by chance stands as a row in
//! `extremes`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use proptest::prelude::*;

use super::any::{self, Case};
use super::builders::at;
use crate::api::{ApiGateway, ApiGatewayStatus, Environment, EnvironmentState, HISTORY_LENGTH, condition};
use crate::children::{RenderContext, difference, render};
use crate::decide::hosts::{Claims, HostRequest};
use crate::decide::observed::{HostVerdict, Moment};
use crate::decide::phase::EDGES;
use crate::decide::words::LONGEST_MESSAGE;
use crate::decide::{Place, Plan, deadline, decide, environment, judged_in};

/// After so many passes that change nothing around it, a gateway has nothing new to say.
const PASSES: usize = 4;

proptest! {
    #![proptest_config(any::config())]

    #[test]
    fn the_same_decision_is_made_each_time_and_only_along_the_edges_and_says_no_more_than_there_is_room_for(case in any::case()) {
        let plan = decided(&case);
        prop_assert_eq!(&plan, &decided(&case));
        prop_assert!(plan.steps.is_empty() || !plan.moves, "a plan that moves does something else: {:?}", plan.steps);
        prop_assert_eq!(plan.moves, plan.status.as_ref().is_some_and(|after| takes_a_step(&case.gateway, after)));
        assert_on_an_edge(&case.gateway, &plan);
        assert_bounded(&case.gateway, &plan);
        let _ = judged_in(&case.gateway, &case.observed, &case.moment, &case.settings);
    }

    #[test]
    fn whatever_acting_teaches_is_recorded_along_the_edges(case in any::case(), learned in any::learned()) {
        let mut observed = case.observed.clone();
        observed.learn(learned);
        let plan = decided(&case).in_the_light_of(&case.gateway, &observed, &case.moment, &case.settings);
        assert_on_an_edge(&case.gateway, &plan);
        assert_bounded(&case.gateway, &plan);
    }

    #[test]
    fn where_nothing_changes_a_gateway_has_soon_nothing_new_to_say_and_its_status_is_read_as_it_was_written(case in any::case()) {
        let mut case = case;
        for _ in 0..PASSES {
            let Some(after) = decided(&case).status else { break };
            case.moment = since_recorded(&case, &after);
            case.gateway.status = Some(after);
        }
        let again = decided(&case);
        prop_assert_eq!((again.status, again.moves), (None, false));
        let last = case.gateway.status_or_default();
        let read: ApiGatewayStatus = serde_json::from_value(serde_json::to_value(&last).unwrap()).unwrap();
        prop_assert_eq!(read, last);
    }

    #[test]
    fn an_environment_is_active_only_where_it_is_served_and_says_it_once((environment, context) in any::environment()) {
        let decided = environment::decide(&environment, &context, at(0));
        prop_assert_eq!(&decided, &environment::decide(&environment, &context, at(0)));
        if let Some(status) = decided {
            let may_be = context.host == HostVerdict::Free && context.gateway.is_some() && context.counts;
            prop_assert!(may_be || status.state == EnvironmentState::Inactive);
            let recorded = Environment { status: Some(status), ..environment };
            // A claim that was lost is recorded no more.
            let context = environment::EnvironmentContext { lost: false, ..context };
            prop_assert_eq!(environment::decide(&recorded, &context, at(9)), None);
        }
    }

    #[test]
    fn of_all_who_claim_a_host_one_has_it_and_of_those_who_want_it_one_is_given_it(gateways in any::hosts()) {
        let mut claims = Claims::default();
        for gateway in &gateways {
            claims.learn(gateway, Instant::now());
        }
        let wants = |gateway: &&ApiGateway| gateway.spec.host().is_some();
        let mut had = BTreeSet::new();
        for gateway in gateways.iter().filter(wants).filter(|gateway| HostRequest::from(*gateway).is_recorded()) {
            let is_free = claims.verdict(gateway) == HostVerdict::Free;
            prop_assert!(!is_free || had.insert(HostRequest::from(gateway).wanted), "two have the host of {}", gateway.key());
        }
        for gateway in gateways.iter().filter(wants).filter(|gateway| !HostRequest::from(*gateway).is_recorded()) {
            let is_given = claims.reserve(gateway);
            prop_assert!(!is_given || had.insert(HostRequest::from(gateway).wanted), "two are given the host of {}", gateway.key());
        }
        for gateway in &gateways {
            claims.forget(&HostRequest::from(gateway).claimant, Instant::now());
        }
        for gateway in gateways.iter().filter(wants) {
            let request = HostRequest::from(gateway);
            let is_first = !had.contains(&request.wanted) || request.is_recorded();
            prop_assert!(!is_first || claims.verdict(gateway) == HostVerdict::Free, "nobody is left who has it");
        }
    }

    #[test]
    fn the_same_gateway_renders_the_same_children(case in any::case()) {
        let context = RenderContext {
            start_deadline: deadline::limit(&case.gateway, &case.settings),
            environment_hosts: case.observed.environments.iter().map(|environment| environment.name.clone()).collect(),
            without_room: Vec::new(),
            default_parent_refs: case.settings.default_parent_refs.clone(),
            ingress_annotations: case.settings.ingress_annotations.clone(),
            inherited: case.settings.inheritance.of(&case.gateway.metadata),
        };
        let children = render(&case.gateway, &context);
        prop_assert_eq!(&children, &render(&case.gateway, &context));
        let deployment = serde_json::to_value(&children.deployment).unwrap();
        prop_assert_eq!(difference(&deployment, &deployment), None);
    }
}

fn decided(case: &Case) -> Plan {
    decide(&case.gateway, &case.observed, &case.moment, &case.settings)
}

/// Whether a status records a transition. Its number is of no use at its greatest.
fn takes_a_step(gateway: &ApiGateway, after: &ApiGatewayStatus) -> bool {
    let before = gateway.status_or_default();
    let (last, was_last) = (after.history.last(), before.history.last());
    after.transitions != before.transitions || last != was_last || after.phase != before.phase
}

fn assert_on_an_edge(gateway: &ApiGateway, plan: &Plan) {
    let before = Place::of_gateway(gateway);
    let after = plan.status.as_ref().map_or(before, Place::of_status);
    if plan.moves {
        let edge = (before.expect("moved from nowhere"), after.expect("moved to nowhere"));
        assert!(EDGES.contains(&edge), "{edge:?} is no edge");
    } else {
        assert_eq!(before, after, "a plan that stays moved");
    }
}

/// What the operator says itself. What another version said is kept as it is.
fn assert_bounded(gateway: &ApiGateway, plan: &Plan) {
    let Some(after) = &plan.status else { return };
    let before = gateway.status_or_default();
    let mut told: Vec<&str> = plan.events.iter().map(|event| event.message.as_str()).collect();
    if plan.moves {
        assert!(after.history.len() <= HISTORY_LENGTH);
        told.extend(after.history.last().map(|last| last.message.as_str()));
    }
    let ours = after.conditions.iter().filter(|told| condition::ALL.contains(&told.type_.as_str()));
    let new = ours.filter(|told| before.conditions.iter().all(|earlier| earlier.message != told.message));
    told.extend(new.map(|condition| condition.message.as_str()));
    let failure = after.last_failure.iter().filter(|failure| before.last_failure.as_ref() != Some(failure));
    told.extend(failure.flat_map(|failure| [failure.message.as_str(), failure.hint.as_str()]));
    for field in after.contested.iter().filter(|field| !before.contested.contains(field)) {
        told.extend([field.path.as_str()].into_iter().chain(field.manager.as_deref()));
    }
    for change in after.changed.iter().filter(|change| !before.changed.contains(change)) {
        told.extend([change.path.as_str(), change.asked.as_str(), change.stored.as_str()]);
    }
    let subject = after.subject.as_ref().filter(|subject| before.subject.as_ref() != Some(subject));
    told.extend(subject.and_then(|subject| subject.image.as_deref()));
    for message in told {
        assert!(message.len() <= LONGEST_MESSAGE, "{} bytes: {message:.80}…", message.len());
    }
}

/// The same moment, as it is counted since what was recorded then.
fn since_recorded(case: &Case, after: &ApiGatewayStatus) -> Moment {
    let now = case.moment.now;
    let since = |stamp: Option<&MicroTime>, since: Duration| match stamp {
        Some(stamp) if stamp.0 != now => since,
        _ => Duration::ZERO,
    };
    let attempt = after.attempt.as_ref();
    Moment {
        now,
        attempt: since(attempt.map(|attempt| &attempt.started_at), case.moment.attempt),
        held: since(attempt.and_then(|attempt| attempt.held_since.as_ref()), case.moment.held),
        phase: since(after.history.last().map(|last| &last.at), case.moment.phase),
        failure: since(after.last_failure.as_ref().map(|failure| &failure.at), case.moment.failure),
        deletion: case.moment.deletion,
        unrecorded: Duration::ZERO,
    }
}
