//! What acting taught, and what is recorded of it.

use super::builders::*;
use super::edges;
use crate::api::condition::{READY, RECONCILING, STALLED};
use crate::api::{ApiGateway, Reason};
use crate::decide::observed::{Child, MissingDependency, Moment, Observed, Presence, Refusal, Target, Unanswered};
use crate::decide::{Learned, Plan, Step, decide};

use Child::{Deployment, Ingress, Service};
use Step::{
    ActivateDocuments, ActivateEnvironments, AddFinalizer, Create, DeactivateDocuments, DeactivateEnvironments, Delete,
    Forget, Record, RemoveFinalizer, Report, Update,
};

/// The phase, Ready, Reconciling, Stalled, and the Events.
type Told = (&'static str, [&'static str; 3], &'static [Reason]);
/// What is wrong, the situation, the steps that were decided, and what one of them taught.
type Row = (&'static str, ApiGateway, Observed, Moment, Vec<Step>, Learned, Option<Told>);

fn refused(child: Child) -> Learned {
    let message = "admission webhook denied the request".to_owned();
    Learned::Refused(Refusal { what: Target::Child(child), message, quota: false })
}

fn over_quota(child: Child) -> Learned {
    let message = "exceeded quota: compute".to_owned();
    Learned::Refused(Refusal { what: Target::Child(child), message, quota: true })
}

fn is_away(child: Child, by: MissingDependency) -> Learned {
    is_not_answered(Target::Child(child), by)
}

fn is_not_answered(what: Target, by: MissingDependency) -> Learned {
    Learned::Unanswered(Unanswered { what, by, words: "connection refused".to_owned(), lasted: secs(0) })
}

fn is_foreign(child: Child) -> Learned {
    Learned::Surprise(child, Presence::Foreign("Helm release \"shop\"".to_owned()))
}

fn registry_failed() -> Learned {
    Learned::RegistryFailed("connection reset".to_owned())
}

fn kept(gateway: ApiGateway) -> ApiGateway {
    but(gateway, is_kept)
}

fn without(child_: Child, observed: Observed) -> Observed {
    child(observed, child_, Presence::Missing)
}

/// The plan for a situation, and as it is recorded after what acting taught.
fn told(gateway: &ApiGateway, observed: &Observed, moment: &Moment, learned: Learned) -> (Plan, Plan) {
    let plan = decide(gateway, observed, moment, &SETTINGS);
    let mut observed = observed.clone();
    observed.learn(learned);
    (plan.clone(), plan.in_the_light_of(gateway, &observed, moment, &SETTINGS))
}

fn check(rows: Vec<Row>) {
    let mut faults = Vec::new();
    for (name, gateway, observed, moment, steps, learned, expected) in rows {
        let (plan, recorded) = told(&gateway, &observed, &moment, learned);
        assert_eq!(plan.steps, steps, "{name}");
        assert_eq!(
            (&recorded.steps, recorded.requeue_after),
            (&plan.steps, plan.requeue_after),
            "{name}: they were carried out"
        );
        let moved = recorded.status.as_ref().map(|status| status.transitions > gateway.status_or_default().transitions);
        assert_eq!(moved.unwrap_or_default(), recorded.moves, "{name}");
        let got = recorded.status.as_ref().map(|status| {
            let phase = status.phase.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
            (phase, [READY, RECONCILING, STALLED].map(|type_| said(status, type_)))
        });
        let found_events: Vec<Reason> = recorded.events.iter().map(|event| event.reason).collect();
        let wanted = expected.map(|(phase, said, _)| (phase.to_owned(), said.map(str::to_owned)));
        let events = expected.map_or(&[][..], |(_, _, events)| events);
        if (&got, &found_events[..]) != (&wanted, events) {
            faults.push(format!("- {name}:\n  expected {wanted:?} {events:?}\n  got      {got:?} {found_events:?}"));
        }
    }
    assert!(faults.is_empty(), "{} rows fail:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_child_that_is_in_the_way_is_told_in_the_same_pass() {
    let name_taken = ["False NameTaken", "False NameTaken", "True NameTaken"];
    let all = || vec![Create(Deployment), Create(Service), Create(Ingress)];
    check(vec![
        (
            "a start whose Service is foreign is held",
            starting(),
            nothing(),
            after(1),
            all(),
            is_foreign(Service),
            Some(("Starting", name_taken, &[Reason::NameTaken])),
        ),
        (
            "a restart too",
            restarting(),
            without(Service, rolling_out()),
            after(1),
            vec![Create(Service)],
            is_foreign(Service),
            Some(("Starting", name_taken, &[Reason::NameTaken])),
        ),
        (
            "a gateway that serves says so",
            started(),
            without(Service, serving()),
            after(1),
            vec![Create(Service)],
            is_foreign(Service),
            Some(("Started", name_taken, &[Reason::NameTaken])),
        ),
        (
            "so does one whose child became foreign before it was repaired",
            started(),
            child(serving(), Deployment, different()),
            after(1),
            vec![Update(Deployment)],
            is_foreign(Deployment),
            Some(("Started", name_taken, &[Reason::NameTaken])),
        ),
        (
            "an earlier gateway's child heals by waiting",
            starting(),
            nothing(),
            after(1),
            all(),
            Learned::Surprise(Deployment, Presence::Predecessor),
            Some((
                "Starting",
                ["False WaitingForDeletion", "True WaitingForDeletion", "False WaitingForDeletion"],
                &[],
            )),
        ),
        (
            "one that is going is no obstacle",
            starting(),
            nothing(),
            after(1),
            all(),
            Learned::Surprise(Deployment, Presence::Terminating),
            Some(("Starting", ["False Starting", "True Starting", "False Starting"], &[])),
        ),
        (
            "a held start keeps its obstacle while the Ingress that is to be withdrawn goes",
            starting(),
            host_taken(child(coming_up(), Ingress, different())),
            after(1),
            vec![Update(Ingress)],
            Learned::Surprise(Ingress, Presence::Terminating),
            Some(("Starting", ["False HostTaken", "False HostTaken", "True HostTaken"], &[Reason::HostTaken])),
        ),
    ]);
}

#[test]
fn a_refusal_is_told_in_the_same_pass() {
    let all = || vec![Create(Deployment), Create(Service), Create(Ingress)];
    check(vec![
        (
            "a start whose Deployment is refused says so and goes on",
            starting(),
            nothing(),
            after(1),
            all(),
            refused(Deployment),
            Some((
                "Starting",
                ["False AdmissionRefused", "True AdmissionRefused", "False AdmissionRefused"],
                &[Reason::AdmissionRefused],
            )),
        ),
        (
            "a quota has a reason of its own",
            starting(),
            nothing(),
            after(1),
            all(),
            over_quota(Deployment),
            Some((
                "Starting",
                ["False QuotaExceeded", "True QuotaExceeded", "False QuotaExceeded"],
                &[Reason::QuotaExceeded],
            )),
        ),
        (
            "a restart says so",
            restarting(),
            child(rolling_out(), Deployment, different()),
            after(1),
            vec![Update(Deployment)],
            refused(Deployment),
            Some((
                "Starting",
                ["False AdmissionRefused", "True AdmissionRefused", "False AdmissionRefused"],
                &[Reason::AdmissionRefused],
            )),
        ),
        (
            "a gateway that serves says so",
            started(),
            child(serving(), Deployment, different()),
            after(1),
            vec![Update(Deployment)],
            refused(Deployment),
            Some((
                "Started",
                ["False AdmissionRefused", "True AdmissionRefused", "False AdmissionRefused"],
                &[Reason::AdmissionRefused],
            )),
        ),
        (
            "what is held up by another's host says that",
            starting(),
            host_taken(child(coming_up(), Ingress, different())),
            after(1),
            vec![Update(Ingress)],
            refused(Ingress),
            Some(("Starting", ["False HostTaken", "False HostTaken", "True HostTaken"], &[Reason::HostTaken])),
        ),
        (
            "so is a stop that may not delete",
            stopping_as_asked(),
            serving(),
            after(1),
            vec![Delete(Ingress)],
            refused(Ingress),
            Some((
                "Stopping",
                ["False AdmissionRefused", "True AdmissionRefused", "False AdmissionRefused"],
                &[Reason::AdmissionRefused],
            )),
        ),
        (
            "of a child that is gone nothing is refused any more",
            stopping_as_asked(),
            child(serving(), Ingress, Presence::NotWanted),
            after(1),
            vec![Delete(Service), Delete(Deployment)],
            refused(Ingress),
            Some(("Stopping", ["False Stopping", "True Stopping", "False Stopping"], &[])),
        ),
        (
            "so does the clean-up of a stopped gateway",
            stopped_as_asked(),
            child(nothing(), Deployment, Presence::Equal),
            after(1),
            vec![Delete(Deployment)],
            refused(Deployment),
            Some(("Stopped", ["False Pending", "True Pending", "False Pending"], &[])),
        ),
        (
            "so does a deletion",
            deleting(),
            remembered(serving()),
            after(1),
            vec![Delete(Ingress)],
            refused(Ingress),
            Some(("Deleting", ["False Deleting", "True Deleting", "False Deleting"], &[])),
        ),
    ]);
}

#[test]
fn who_is_away_is_told_in_the_same_pass_and_holds_the_clock() {
    let all = || vec![Create(Deployment), Create(Service), Create(Ingress)];
    let webhook_away = ["False WebhookUnavailable", "True WebhookUnavailable", "False WebhookUnavailable"];
    let changed = || child(serving(), Deployment, different());
    check(vec![
        (
            "a start whose webhook is away says so",
            starting(),
            nothing(),
            after(1),
            all(),
            is_away(Deployment, webhook()),
            Some(("Starting", webhook_away, &[Reason::WebhookUnavailable])),
        ),
        (
            "a gateway that serves says so",
            started(),
            changed(),
            after(1),
            vec![Update(Deployment)],
            is_away(Deployment, webhook()),
            Some(("Started", webhook_away, &[Reason::WebhookUnavailable])),
        ),
        (
            "so it is with a storage",
            started(),
            changed(),
            after(1),
            vec![Update(Deployment)],
            is_away(Deployment, MissingDependency::Cluster),
            Some((
                "Started",
                ["False ClusterUnavailable", "True ClusterUnavailable", "False ClusterUnavailable"],
                &[Reason::ClusterUnavailable],
            )),
        ),
        (
            "with a permission",
            starting(),
            nothing(),
            after(1),
            all(),
            is_away(Deployment, MissingDependency::Permission),
            Some((
                "Starting",
                ["False OperatorNotPermitted", "True OperatorNotPermitted", "False OperatorNotPermitted"],
                &[Reason::OperatorNotPermitted],
            )),
        ),
        (
            "and with who is not known",
            starting(),
            nothing(),
            after(1),
            all(),
            is_away(Deployment, MissingDependency::Unknown),
            Some((
                "Starting",
                ["False WriteUnanswered", "True WriteUnanswered", "False WriteUnanswered"],
                &[Reason::WriteUnanswered],
            )),
        ),
    ]);
    for (by, is_held) in [
        (webhook(), true),
        (MissingDependency::Cluster, true),
        (MissingDependency::Permission, true),
        (MissingDependency::Unknown, false),
    ] {
        let (_, recorded) = told(&starting(), &nothing(), &after(1), is_away(Deployment, by.clone()));
        let attempt = recorded.status.unwrap().attempt.unwrap();
        assert_eq!(attempt.held_since.is_some(), is_held, "{by:?}");
    }
}

const AWAY: [&str; 3] = ["False RegistryUnavailable", "True RegistryUnavailable", "False RegistryUnavailable"];

/// The same, of a gateway of which the condition Stalled has nothing else to say than where it is.
fn away(stalled: &'static str) -> [&'static str; 3] {
    [AWAY[0], AWAY[1], stalled]
}

const WARNED: &[Reason] = &[Reason::RegistryUnavailable];

#[test]
fn a_registry_that_fails_before_a_start_leaves_the_gateway_created() {
    check(vec![
        (
            "a new gateway is Created",
            kept(fresh()),
            unrecorded(nothing()),
            after(0),
            vec![Record],
            registry_failed(),
            Some(("Created", AWAY, WARNED)),
        ),
        (
            "a new gateway that is suspended stays where it is",
            but(kept(fresh()), suspends),
            unrecorded(nothing()),
            after(0),
            vec![Record],
            registry_failed(),
            Some(("none", ["False Suspended"; 3], &[])),
        ),
        (
            "a Created gateway stays Created",
            kept(created()),
            unrecorded(nothing()),
            after(60),
            vec![Record],
            registry_failed(),
            Some(("Created", AWAY, WARNED)),
        ),
        (
            "one that is held by another's host says that",
            kept(created()),
            host_taken(unrecorded(nothing())),
            after(60),
            vec![Record],
            registry_failed(),
            Some(("Created", ["False HostTaken", "False HostTaken", "True HostTaken"], &[Reason::HostTaken])),
        ),
    ]);
}

#[test]
fn a_registry_that_fails_during_a_start_or_while_the_gateway_serves_is_told() {
    let to_activate = |observed| registry(observed, |r| r.to_activate = true);
    check(vec![
        (
            "a start waits for it",
            kept(starting()),
            unrecorded(coming_up()),
            after(1),
            vec![Record],
            registry_failed(),
            Some(("Starting", away("False Starting"), WARNED)),
        ),
        (
            "whose last step is a document",
            kept(starting()),
            to_activate(environments(serving(), &[true])),
            after(1),
            vec![ActivateDocuments],
            registry_failed(),
            Some(("Starting", away("False Starting"), WARNED)),
        ),
        (
            "a start that is to be told waits for it",
            kept(starting()),
            untold(coming_up()),
            after(1),
            vec![Report],
            registry_failed(),
            Some(("Starting", away("False Starting"), WARNED)),
        ),
        (
            "a restart serves meanwhile",
            kept(restarting()),
            untold(rolling_out()),
            after(1),
            vec![Report],
            registry_failed(),
            Some(("Starting", away("False Restarting"), WARNED)),
        ),
        (
            "a gateway that serves owes it what it did not take",
            kept(started()),
            untold(serving()),
            after(1),
            vec![Report],
            registry_failed(),
            Some(("Started", away("False Started"), WARNED)),
        ),
    ]);
}

#[test]
fn a_registry_that_fails_does_not_keep_a_timed_out_gateway_from_its_clean_up() {
    let failed = "False StartDeadlineExceeded";
    check(vec![
        (
            "the stop begins without its being told",
            kept(timed_out()),
            untold(coming_up()),
            after(1),
            vec![Report],
            registry_failed(),
            Some((
                "Stopping",
                [failed, "True Stopping", "True StartDeadlineExceeded"],
                &[Reason::StartDeadlineExceeded],
            )),
        ),
        (
            "or the next attempt that was asked",
            but(kept(timed_out()), asks_for_a_retry),
            untold(coming_up()),
            after(1),
            vec![Report],
            registry_failed(),
            Some(("Starting", away("False Starting"), WARNED)),
        ),
        (
            "suspended it stays where it is",
            but(kept(timed_out()), suspends),
            untold(coming_up()),
            after(1),
            vec![Report],
            registry_failed(),
            Some(("Started", ["False Suspended"; 3], &[])),
        ),
    ]);
}

#[test]
fn a_registry_that_fails_during_a_stop_is_told() {
    let to_deactivate = |observed| registry(observed, |r| r.to_deactivate = true);
    check(vec![
        (
            "the stop waits for it",
            kept(stopping_as_asked()),
            to_deactivate(nothing()),
            after(1),
            vec![DeactivateDocuments],
            registry_failed(),
            Some(("Stopping", away("False Stopping"), WARNED)),
        ),
        (
            "a stopped gateway owes it what it did not take",
            kept(stopped_as_asked()),
            untold(nothing()),
            after(1),
            vec![Report],
            registry_failed(),
            Some(("Stopped", away("False Stopped"), WARNED)),
        ),
    ]);
}

#[test]
fn a_registry_that_fails_during_a_deletion_is_told_while_there_is_an_object() {
    let since = |seconds| Moment { deletion: secs(seconds), ..after(1) };
    check(vec![
        (
            "the gateway waits to be forgotten",
            deleting(),
            remembered(nothing()),
            since(1),
            vec![Forget],
            registry_failed(),
            Some(("Deleting", AWAY, WARNED)),
        ),
        (
            "while children are there it is only being deleted",
            deleting(),
            registry(without(Ingress, serving()), |r| r.reported = false),
            since(1),
            vec![Delete(Service), Delete(Deployment), Report],
            registry_failed(),
            Some(("Deleting", ["False Deleting", "True Deleting", "False Deleting"], &[])),
        ),
        (
            "of one that has gone without it there is no status",
            deleting(),
            remembered(nothing()),
            since(900),
            vec![Forget, RemoveFinalizer],
            registry_failed(),
            None,
        ),
    ]);
    let (_, recorded) = told(&deleting(), &remembered(nothing()), &since(1), registry_failed());
    let words = message(&recorded.status.unwrap(), READY);
    assert!(words.contains("connection reset") && words.contains("deletion completes without it 15m after"), "{words}");
}

fn dev() -> Target {
    Target::Environment("env-0".to_owned())
}

fn is_denied(what: Target) -> Learned {
    Learned::Refused(Refusal { what, message: "denied by policy".to_owned(), quota: false })
}

fn hindrances(what: &Target) -> Vec<Learned> {
    let away = [webhook(), MissingDependency::Unknown].map(|by| is_not_answered(what.clone(), by));
    away.into_iter().chain([is_denied(what.clone())]).collect()
}

#[test]
fn an_environment_that_cannot_be_switched_is_told_in_the_same_pass() {
    let refused = ["False AdmissionRefused", "True AdmissionRefused", "False AdmissionRefused"];
    let away = ["False WebhookUnavailable", "True WebhookUnavailable", "False WebhookUnavailable"];
    let one = |observed| environments(observed, &[false]);
    check(vec![
        (
            "a start whose environment is refused says so",
            starting(),
            one(serving()),
            after(1),
            vec![ActivateEnvironments],
            is_denied(dev()),
            Some(("Starting", refused, &[Reason::AdmissionRefused])),
        ),
        (
            "so does one whose environment has a webhook that is away",
            starting(),
            one(serving()),
            after(1),
            vec![ActivateEnvironments],
            is_not_answered(dev(), webhook()),
            Some(("Starting", away, &[Reason::WebhookUnavailable])),
        ),
        (
            "so does a stop",
            stopping_as_asked(),
            environments(child(serving(), Ingress, Presence::NotWanted), &[true]),
            after(1),
            vec![DeactivateEnvironments, Delete(Service), Delete(Deployment)],
            is_denied(dev()),
            Some(("Stopping", refused, &[Reason::AdmissionRefused])),
        ),
    ]);
    for (by, is_held) in [(webhook(), true), (MissingDependency::Permission, true), (MissingDependency::Unknown, false)]
    {
        let (_, recorded) = told(&starting(), &one(serving()), &after(1), is_not_answered(dev(), by.clone()));
        assert_eq!(recorded.status.unwrap().attempt.unwrap().held_since.is_some(), is_held, "{by:?}");
    }
}

#[test]
fn an_environment_of_which_a_pass_of_its_own_says_that_it_cannot_be_written_is_told_where_something_waits_for_it() {
    let refused = |observed| denied(environments(observed, &[false]), dev());
    let ready = |gateway: &ApiGateway, observed| said(&status_after(gateway, &observed, &after(60)), READY);
    assert_eq!(ready(&starting(), refused(coming_up())), "False AdmissionRefused");
    assert_eq!(ready(&started(), refused(serving())), "False AdmissionRefused", "nothing else says so");
    let pods = image_not_pullable(refused(rolling_out()), "shop-1");
    assert_eq!(ready(&started(), pods), "False ImagePullFailed", "no pod waits for it");
    let late = status_after(&starting(), &refused(serving()), &after(301));
    assert_eq!(said(&late, READY), "False AdmissionRefused", "a start that ends without it says so at once");
    let words = message(&status_after(&starting(), &refused(coming_up()), &after(60)), READY);
    assert!(words.contains("refuses the status of Environment \"env-0\": denied by policy"), "{words}");
    assert!(!words.contains("hange the field") && words.contains("Ask the cluster administrator"), "{words}");
    let stuck = status_after(&stopping_as_asked(), &denied(environments(nothing(), &[true]), dev()), &after(600));
    let words = message(&stuck, STALLED);
    assert!(words.contains("the deactivation of Environment \"env-0\": the API server refuses"), "{words}");

    let away = |observed| not_answered(environments(observed, &[false]), dev(), webhook());
    assert!(!decide(&starting(), &away(serving()), &after(9_999), &SETTINGS).moves, "no deadline passes meanwhile");
    assert_eq!(ready(&started(), away(serving())), "False WebhookUnavailable");
    // What another write answers says nothing of the environment.
    let both = but(away(coming_up()), |o| o.learn(over_quota(Child::PodDisruptionBudget)));
    assert_eq!(ready(&starting(), both), "False WebhookUnavailable");
}

#[test]
fn finalizers_that_cannot_be_written_are_told_by_the_status_that_waits_for_them() {
    let refused = ["False AdmissionRefused", "True AdmissionRefused", "False AdmissionRefused"];
    let away = ["False WebhookUnavailable", "True WebhookUnavailable", "False WebhookUnavailable"];
    check(vec![
        (
            "of a new gateway",
            fresh(),
            external(nothing()),
            after(0),
            vec![AddFinalizer],
            is_denied(Target::Finalizers),
            Some(("none", refused, &[Reason::AdmissionRefused])),
        ),
        (
            "whose webhook is away",
            fresh(),
            external(nothing()),
            after(0),
            vec![AddFinalizer],
            is_not_answered(Target::Finalizers, webhook()),
            Some(("none", away, &[Reason::WebhookUnavailable])),
        ),
        (
            "of one that is to go",
            deleting(),
            external(nothing()),
            after(1),
            vec![RemoveFinalizer],
            is_denied(Target::Finalizers),
            Some(("Deleting", refused, &[Reason::AdmissionRefused])),
        ),
    ]);
}

#[test]
fn what_no_status_can_say_is_told_by_an_event_in_the_same_words() {
    let event = is_denied(Target::Status).event().unwrap();
    assert_eq!((event.warning, event.reason), (true, Reason::AdmissionRefused));
    let words = "the API server refuses the status of the ApiGateway: denied by policy. Ask the cluster administrator";
    assert!(event.message.starts_with(words), "{}", event.message);
    let event = is_not_answered(Target::Status, webhook()).event().unwrap();
    assert!(event.reason == Reason::WebhookUnavailable && event.message.contains("\"no.example.com\""), "{event:?}");
    assert_eq!(registry_failed().event(), None);
}

/// What a step may teach.
fn lessons(step: Step) -> Vec<Learned> {
    let presences = [Presence::Foreign("nobody".to_owned()), Presence::Predecessor, Presence::Terminating];
    match step {
        Create(child) | Update(child) => {
            let surprises = presences.map(|presence| Learned::Surprise(child, presence));
            let failures = [
                refused(child),
                over_quota(child),
                is_away(child, webhook()),
                is_away(child, MissingDependency::Unknown),
            ];
            surprises.into_iter().chain(failures).collect()
        }
        Delete(child) => vec![refused(child), is_away(child, webhook())],
        ActivateEnvironments | DeactivateEnvironments => hindrances(&dev()),
        AddFinalizer | RemoveFinalizer => hindrances(&Target::Finalizers),
        step if step.is_registrys() => vec![registry_failed()],
        _ => Vec::new(),
    }
}

#[test]
fn what_was_learned_is_told_in_the_words_of_who_had_known_it_and_nothing_else_is_done() {
    let mut learned_something = 0;
    for (gateways, worlds) in [(edges::gateways(), edges::worlds()), (edges::kept_gateways(), edges::external_worlds())]
    {
        let suspended = gateways.iter().cloned().map(|gateway| but(gateway, suspends));
        for gateway in gateways.iter().flat_map(edges::asked).chain(suspended) {
            let late = gateway.is_being_deleted().then_some(Moment { deletion: secs(1_000), ..after(5_000) });
            let moments: Vec<Moment> = [after(60), after(5_000)].into_iter().chain(late).collect();
            for (observed, moment) in worlds.iter().flat_map(|o| moments.iter().map(move |m| (o, m))) {
                let plan = decide(&gateway, observed, moment, &SETTINGS);
                for learned in plan.steps.iter().copied().flat_map(lessons) {
                    let known = but(observed.clone(), |o| o.learn(learned.clone()));
                    let again = decide(&gateway, &known, moment, &SETTINGS);
                    let recorded = plan.clone().in_the_light_of(&gateway, &known, moment, &SETTINGS);
                    // Who was away refuses by now: the clock runs again, and the next pass judges by it.
                    if observed.unanswered.is_some() && again.moves {
                        continue;
                    }
                    // The last writes after a deadline: the next pass judges by what they taught.
                    if !plan.moves && again.confirm {
                        continue;
                    }
                    let told = |plan: Plan| (plan.status, plan.events, plan.moves);
                    assert_eq!((&recorded.steps, recorded.requeue_after), (&plan.steps, plan.requeue_after));
                    assert_eq!(told(recorded), told(again), "{learned:?} of {:?}", plan.steps);
                    learned_something += 1;
                }
            }
        }
    }
    assert!(learned_something > 1_000, "only {learned_something}");
}
