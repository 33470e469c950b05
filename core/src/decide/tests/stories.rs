//! Whole lives of a gateway in a small world that carries out plans as a cluster would.

use super::builders::*;
use crate::api::{ApiGateway, Phase, Reason, State};
use crate::decide::observed::{Child, Moment, Observed, Pods, Presence, Rollout};
use crate::decide::{Plan, Step};

/// What a user does to a gateway.
type Edit = fn(&mut ApiGateway);

/// A cluster that does what it is told, and a count of what it was told.
struct World {
    gateway: ApiGateway,
    observed: Observed,
    /// Seconds since the last transition.
    clock: u64,
    /// Whether pods get ready.
    healthy: bool,
    status_writes: usize,
    child_writes: usize,
    events: Vec<Reason>,
}

impl World {
    fn new(gateway: ApiGateway) -> Self {
        let observed = nothing();
        Self { gateway, observed, clock: 0, healthy: true, status_writes: 0, child_writes: 0, events: Vec::new() }
    }

    fn carry_out(&mut self, plan: &Plan) {
        for step in &plan.steps {
            self.child_writes += usize::from(!step.is_registrys());
            let registry = &mut self.observed.registry;
            match step {
                Step::AddFinalizer => is_kept(&mut self.gateway),
                Step::RemoveFinalizer => self.gateway.metadata.finalizers = None,
                Step::ReadEvents => {}
                Step::Record => registry.recorded = true,
                Step::Report => registry.reported = true,
                Step::ActivateDocuments => registry.to_activate = false,
                Step::DeactivateDocuments => registry.to_deactivate = false,
                Step::Forget => registry.forgotten = true,
                Step::Create(child) | Step::Update(child) => *self.observed.child_mut(*child) = Presence::Equal,
                Step::Delete(child) => *self.observed.child_mut(*child) = Presence::Missing,
                Step::ActivateEnvironments | Step::DeactivateEnvironments => {
                    let active = *step == Step::ActivateEnvironments;
                    self.observed.environments.iter_mut().for_each(|environment| environment.active = active);
                }
            }
        }
        self.status_writes += usize::from(plan.status.is_some());
        self.events.extend(plan.events.iter().map(|event| event.reason));
    }

    fn pods_follow(&mut self) {
        let there = self.observed.deployment.is_ours();
        let ready = i32::from(there && self.healthy);
        self.observed.rollout = Rollout {
            complete: there && self.healthy,
            desired: 1,
            replicas: i32::from(there),
            ready,
            available: ready,
            ..Rollout::default()
        };
        self.observed.pods = Pods { total: usize::from(there), ..Pods::default() };
    }

    /// Passes, ten seconds apart, until nothing happens any more. Returns how many.
    fn settle(&mut self) -> usize {
        for passes in 0..200 {
            let moment = Moment { failure: secs(self.clock), ..after(self.clock) };
            let plan = pass(&mut self.gateway, &self.observed, &moment);
            self.carry_out(&plan);
            if plan.moves {
                self.clock = 0;
                continue;
            }
            let before = self.observed.clone();
            self.pods_follow();
            if plan.steps.is_empty() && plan.status.is_none() && plan.requeue_after.is_none() && before == self.observed
            {
                return passes;
            }
            self.clock += 10;
        }
        panic!("it never settles: {:?}", self.gateway.status);
    }

    fn user(&mut self, does: impl FnOnce(&mut ApiGateway)) -> &mut Self {
        self.gateway = but(self.gateway.clone(), does);
        self
    }

    fn place(&self) -> (Phase, State) {
        let status = self.gateway.status_or_default();
        (status.phase.unwrap(), status.state.unwrap())
    }

    fn told(&self) -> Vec<Reason> {
        self.gateway.status_or_default().history.iter().map(|transition| transition.reason).collect()
    }
}

fn started_world() -> World {
    let mut world = World::new(fresh());
    world.settle();
    assert_eq!(world.place(), (Phase::Started, State::Running));
    world
}

#[test]
fn a_normal_start_is_five_writes_and_one_event() {
    let world = started_world();
    assert_eq!((world.status_writes, world.child_writes), (2, 3));
    assert_eq!(world.events, [Reason::Started]);
    assert_eq!(world.told(), [Reason::StartRequested, Reason::Started]);
}

#[test]
fn environments_are_switched_on_with_the_gateway_and_off_with_it() {
    let mut world = World::new(fresh());
    world.observed = environments(nothing(), &[false, false]);
    world.settle();
    assert!(world.observed.environments.iter().all(|environment| environment.active));
    assert_eq!(world.status_writes, 2);
    world.user(asks_stopped).settle();
    assert!(world.observed.environments.iter().all(|environment| !environment.active));
    assert_eq!(world.place(), (Phase::Stopped, State::Stopped));
}

#[test]
fn a_stop_removes_everything_and_a_start_brings_it_back() {
    let mut world = started_world();
    world.user(asks_stopped).settle();
    assert_eq!(world.place(), (Phase::Stopped, State::Stopped));
    assert!(world.observed.children().iter().all(|(_, presence)| !presence.is_ours()));
    world.user(asks_running).settle();
    assert_eq!(world.place(), (Phase::Started, State::Running));
    assert_eq!(world.gateway.status_or_default().attempt.unwrap().number, 2);
}

#[test]
fn a_gateway_that_never_gets_ready_is_cleaned_up_and_held_until_its_fix() {
    let mut world = World::new(fresh());
    world.healthy = false;
    world.settle();
    assert_eq!(world.place(), (Phase::Stopped, State::Stopped));
    assert!(world.observed.children().iter().all(|(_, presence)| !presence.is_ours()));
    let expected =
        [Reason::StartRequested, Reason::StartDeadlineExceeded, Reason::StartDeadlineExceeded, Reason::Stopped];
    assert_eq!(world.told(), expected);
    world.healthy = true;
    world.user(changes_the_image).settle();
    assert_eq!(world.place(), (Phase::Started, State::Running));
    assert_eq!(world.gateway.status_or_default().last_failure, None);
}

#[test]
fn a_restart_rolls_the_pods_and_ends_started() {
    let mut world = started_world();
    let before = world.child_writes;
    world.user(asks_for_a_restart);
    assert!(pass(&mut world.gateway, &world.observed.clone(), &after(10)).moves);
    // The restart is part of the pod template, so the Deployment differs now.
    world.observed = child(world.observed.clone(), Child::Deployment, different());
    world.settle();
    assert_eq!(world.place(), (Phase::Started, State::Running));
    assert_eq!((world.child_writes - before, world.gateway.status_or_default().restarts), (1, 1));
}

#[test]
fn a_child_that_is_gone_comes_back_without_an_attempt() {
    let mut world = started_world();
    for child_kind in [Child::Deployment, Child::Service, Child::Ingress] {
        world.observed = child(world.observed.clone(), child_kind, Presence::Missing);
        world.settle();
        assert_eq!(*world.observed.child_mut(child_kind), Presence::Equal);
    }
    assert_eq!(world.gateway.status_or_default().attempt.unwrap().number, 1);
    assert_eq!(world.told().len(), 2);
}

#[test]
fn whatever_is_asked_on_the_way_the_last_request_is_reached() {
    let requests: [(&str, Edit); 4] =
        [("stop", asks_stopped), ("run", asks_running), ("change", changes_the_image), ("restart", asks_for_a_restart)];
    for passes in 0..8 {
        for (first, one) in &requests {
            for (second, other) in &requests {
                let mut world = World::new(fresh());
                one(&mut world.gateway);
                for _ in 0..passes {
                    let plan = pass(&mut world.gateway, &world.observed.clone(), &after(world.clock));
                    world.carry_out(&plan);
                    world.pods_follow();
                }
                other(&mut world.gateway);
                world.settle();
                // Whatever else changes, the last word on spec.state counts.
                let stopped = *second == "stop" || (*first == "stop" && *second != "run");
                let expected =
                    if stopped { (Phase::Stopped, State::Stopped) } else { (Phase::Started, State::Running) };
                assert_eq!(world.place(), expected, "{first}, {passes} passes, {second}");
            }
        }
    }
}
