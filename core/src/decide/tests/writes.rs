//! What became of the children that were written: changed on the way in, put right, contested.

use super::builders::*;
use crate::api::{Accepted, ApiGateway, ContestedField, StoredChange, condition};
use crate::decide::observed::{Child, Observed, Presence, Repair, Repaired, TerminatingChild, Trouble};
use crate::decide::{Plan, Step};

fn repair(manager: Option<&str>) -> Repair {
    Repair { child: Child::Service, path: "/spec/type".to_owned(), manager: manager.map(str::to_owned) }
}

/// The Service was put right so often, and may be again after a wait.
fn repaired(observed: Observed, times: u32, wait: u64) -> Observed {
    but(observed, |o| {
        o.writes.repaired =
            vec![Repaired { last: repair(Some("rival")), times, wait: secs(wait), calm_in: secs(60 + wait) }];
    })
}

fn edited(observed: Observed) -> Observed {
    child(observed, Child::Service, Presence::Different("/spec/type".to_owned()))
}

fn planned(gateway: &ApiGateway, observed: &Observed) -> Plan {
    pass(&mut gateway.clone(), observed, &after(10))
}

#[test]
fn a_child_that_was_put_right_of_late_is_put_right_again_after_a_wait() {
    for gateway in [starting(), restarting(), started()] {
        let at_once = planned(&gateway, &repaired(edited(coming_up()), 2, 0));
        assert_eq!(at_once.steps, [Step::Update(Child::Service)]);
        let later = planned(&gateway, &repaired(edited(coming_up()), 5, 8));
        assert_eq!((later.steps, later.requeue_after), (vec![], Some(secs(8))));
        let gone = planned(&gateway, &repaired(child(coming_up(), Child::Service, Presence::Missing), 5, 8));
        assert_eq!((gone.steps, gone.requeue_after), (vec![], Some(secs(8))));
        let other = repaired(child(coming_up(), Child::Ingress, different()), 5, 8);
        assert_eq!(planned(&gateway, &other).steps, [Step::Update(Child::Ingress)], "each child has its own");
    }
}

#[test]
fn a_gateway_whose_child_is_contested_starts_with_what_is_stored() {
    let contested = repaired(edited(serving()), 4, 4);
    assert_eq!(planned(&starting(), &contested).movement.unwrap().reason.as_str(), "Started");
    let twice = repaired(edited(serving()), 3, 4);
    assert!(!planned(&starting(), &twice).moves, "an edit or two is put right first");
    let gone = repaired(child(serving(), Child::Service, Presence::Missing), 4, 4);
    assert!(!planned(&starting(), &gone).moves, "what is not there is not served");
}

#[test]
fn a_contest_stalls_until_it_is_over_and_names_field_and_manager() {
    let mut gateway = started();
    let plan = pass(&mut gateway, &repaired(edited(serving()), 4, 4), &after(10));
    let status = gateway.status.clone().unwrap();
    assert_eq!(said(&status, condition::READY), "False Contested");
    assert_eq!(said(&status, condition::STALLED), "True Contested");
    assert_eq!(said(&status, condition::AVAILABLE), "True Started");
    let words = "another client (rival) changes the Service each time the operator reverts it: /spec/type. ";
    assert!(message(&status, condition::READY).starts_with(words), "{}", message(&status, condition::READY));
    let field = ContestedField {
        child: "Service".to_owned(),
        path: "/spec/type".to_owned(),
        manager: Some("rival".to_owned()),
    };
    assert_eq!(status.contested, [field]);
    assert_eq!(plan.events.len(), 1);
    assert!(plan.events[0].warning);

    // Another write of theirs is no news, and it is not over while it is as asked for a moment.
    assert_eq!(pass(&mut gateway, &repaired(edited(serving()), 5, 8), &after(20)).events, []);
    let calm = pass(&mut gateway, &repaired(serving(), 5, 8), &after(21));
    assert_eq!((calm.status, calm.steps, calm.requeue_after), (None, vec![], Some(secs(68))));
    pass(&mut gateway, &serving(), &after(100));
    let status = gateway.status.unwrap();
    assert_eq!(said(&status, condition::READY), "True Started");
    assert_eq!(status.contested, []);
}

#[test]
fn pods_are_listened_to_whose_deployment_is_contested() {
    let trouble = Trouble::Unschedulable("0/1 nodes are available: 1 Insufficient cpu.".to_owned());
    let observed = in_trouble(coming_up(), "shop-1", trouble);
    let observed = but(child(observed, Child::Deployment, different()), |o| {
        let last = Repair { child: Child::Deployment, ..repair(None) };
        o.writes.repaired = vec![Repaired { last, times: 4, wait: secs(4), calm_in: secs(64) }];
    });
    assert_eq!(said(&status_after(&starting(), &observed, &after(10)), condition::RECONCILING), "True Unschedulable");
}

#[test]
fn a_child_that_was_deleted_and_does_not_go_is_named_after_a_while_and_nothing_moves_until_it_is_gone() {
    let terminating = |seconds: u64, finalizers: &[&str]| {
        but(child(serving(), Child::Service, Presence::Terminating), |o| {
            let finalizers = finalizers.iter().map(|finalizer| (*finalizer).to_owned()).collect();
            o.writes.terminating = vec![TerminatingChild { child: Child::Service, lasted: secs(seconds), finalizers }];
        })
    };
    let soon = planned(&started(), &terminating(10, &[]));
    assert_eq!((soon.steps, soon.requeue_after), (vec![], Some(secs(20))));
    assert_eq!(
        said(&status_after(&started(), &terminating(10, &[]), &after(10)), condition::STALLED),
        "False RollingOut"
    );
    let held = terminating(30, &["example.com/balancer"]);
    for gateway in [starting(), started()] {
        let status = status_after(&gateway, &held, &after(10));
        assert_eq!(said(&status, condition::STALLED), "True WaitingForDeletion");
        let words = "Service \"shop\" is still terminating, held by example.com/balancer. The operator recreates it \
                     once it is gone";
        assert!(message(&status, condition::READY).starts_with(words), "{}", message(&status, condition::READY));
    }
    let stopped = status_after(&stopped_as_asked(), &terminating(30, &[]), &after(10));
    assert_eq!(said(&stopped, condition::STALLED), "True WaitingForDeletion");
    assert_eq!(planned(&stopped_as_asked(), &terminating(10, &[])).requeue_after, Some(secs(20)));
}

fn change(child: &str, stored: &str) -> StoredChange {
    StoredChange {
        child: child.to_owned(),
        path: "/spec/x".to_owned(),
        asked: "nothing".to_owned(),
        stored: stored.to_owned(),
    }
}

#[test]
fn what_was_changed_on_the_way_in_is_told_once_and_again_when_it_is_another_thing() {
    let changed = |changes: &[StoredChange]| but(serving(), |o| o.writes.changed = changes.to_vec());
    let mut gateway = started();
    let told = |gateway: &mut ApiGateway, changes: &[StoredChange]| -> Vec<String> {
        let events = pass(gateway, &changed(changes), &after(10)).events;
        events.into_iter().map(|event| format!("{} {}: {}", event.warning, event.reason, event.message)).collect()
    };
    let first = change("Deployment", "1");
    let words = "the stored Deployment differs from the request: /spec/x: requested nothing, stored 1";
    assert_eq!(told(&mut gateway, std::slice::from_ref(&first)), [format!("false ChangedOnWrite: {words}")]);
    assert_eq!(told(&mut gateway, std::slice::from_ref(&first)), [""; 0]);
    assert_eq!(said(&gateway.status.clone().unwrap(), condition::READY), "True Started");
    let both = [first, change("Service", "2")];
    assert_eq!(told(&mut gateway, &both).len(), 1, "of the Service alone");
    assert_eq!(told(&mut gateway, &[change("Deployment", "3"), change("Service", "2")]).len(), 1);
    assert_eq!(told(&mut gateway, &[]), [""; 0]);
    assert_eq!(gateway.status.clone().unwrap().changed, []);

    let disowned = StoredChange { path: "/metadata/ownerReferences".to_owned(), ..change("Service", "nothing") };
    let said = told(&mut gateway, &[disowned]).concat();
    assert!(said.starts_with("true ChangedOnWrite: "), "{said}");
    assert!(
        said.contains("Without the owner reference the Service outlives the gateway: set spec.state to Stopped"),
        "{said}"
    );
}

#[test]
fn accepted_forms_alone_are_no_write_and_go_along_with_the_next() {
    let known = but(serving(), |o| o.writes.accepted.service = Some("0123456789abcdef".to_owned()));
    let mut gateway = started();
    pass(&mut gateway, &serving(), &after(10));
    assert_eq!(pass(&mut gateway, &known, &after(11)).status, None);
    let status = status_after(&starting(), &known, &after(10));
    let accepted = Accepted { service: Some("0123456789abcdef".to_owned()), ..Accepted::default() };
    assert_eq!(status.accepted, Some(accepted));
}

#[test]
fn a_repair_is_told_also_where_the_status_says_nothing_new() {
    let untold = Repair { child: Child::PodDisruptionBudget, ..repair(None) };
    let mut gateway = started();
    pass(&mut gateway, &serving(), &after(9));
    let plan = pass(&mut gateway, &but(serving(), |o| o.writes.untold = vec![untold]), &after(10));
    assert_eq!((plan.status, plan.events.len()), (None, 1));
}

#[test]
fn a_repair_is_told_with_the_next_write() {
    let put_right = |path: &str, manager: Option<&str>| {
        let untold = Repair { path: path.to_owned(), ..repair(manager) };
        let mut gateway = started();
        pass(&mut gateway, &edited(serving()), &after(9));
        let events = pass(&mut gateway, &but(serving(), |o| o.writes.untold = vec![untold]), &after(10)).events;
        events.into_iter().map(|event| format!("{}: {}", event.reason, event.message)).collect::<Vec<_>>()
    };
    assert_eq!(
        put_right("/spec/type", Some("kubectl-edit")),
        ["DriftRepaired: drift of the Service: /spec/type was changed by kubectl-edit and is reverted"]
    );
    assert_eq!(
        put_right("/spec/type", None),
        ["DriftRepaired: drift of the Service: /spec/type was changed and is reverted"]
    );
    assert_eq!(put_right("", None), ["DriftRepaired: the Service was deleted; the operator recreates it"]);
}
