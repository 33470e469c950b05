//! Counterexamples, as numbered stories.

use phasegate_core::decide::Step;

use crate::bridge::Bridge;
use crate::world::actions::{Action, Item, Next};
use crate::world::judge::name;
use crate::world::objects::KINDS;
use crate::world::operator::{Pass, Stage};
use crate::world::{Answer, Edit, State, World};

/// The state at the end of a way.
pub(crate) fn replay(world: &World, bridge: &mut Bridge, way: &[u16]) -> State {
    let mut state = world.first(bridge);
    let mut found = Vec::new();
    for order in way {
        world.next(bridge, &state, &mut found);
        if let Some(Next { state: Ok(next), .. }) = found.drain(..).nth(usize::from(*order)) {
            state = next;
        }
    }
    state
}

/// The story of a way, and how it ends.
pub(crate) fn tell(world: &World, way: &[u16], end: &str) -> String {
    let mut bridge = Bridge::new(world.host, world.registry);
    let mut state = world.first(&mut bridge);
    let mut lines = vec![format!("world {:?}:", world.name)];
    let mut found = Vec::new();
    for (number, order) in way.iter().enumerate() {
        world.next(&mut bridge, &state, &mut found);
        let Some(Next { action, state: next }) = found.drain(..).nth(usize::from(*order)) else { break };
        lines.push(format!("{:3}. {}", number + 1, line(&bridge, &state, next.as_ref().ok(), action)));
        match next {
            Ok(next) => state = next,
            Err(_) => break,
        }
    }
    lines.push(format!("     But {end}."));
    lines.join("\n")
}

fn line(bridge: &Bridge, before: &State, after: Option<&State>, action: Action) -> String {
    let of = |slot: u8| name(usize::from(slot));
    let kind = |kind: u8| KINDS[usize::from(kind)].kind();
    let planned = || after.and_then(|after| after.leader.as_ref()?.pass.as_ref());
    let current = || before.leader.as_ref().and_then(|leader| leader.pass.as_ref());
    match action {
        Action::User(slot, edit) => format!("a user {} {:?}", edited(edit), of(slot)),
        Action::Decide(slot) => match planned() {
            Some(pass) => format!("the operator decides about {:?}: {}", of(slot), plan(bridge, pass)),
            None => format!("the operator looks at {:?}", of(slot)),
        },
        Action::Step(answer) => {
            let step = current().map_or_else(String::new, |pass| next_step(bridge, pass));
            format!("the operator {step}{}", answered(answer))
        }
        Action::DecideEnvironment(number, answer) => {
            format!("the operator switches environment {number}{}", answered(answer))
        }
        Action::Deliver(Item::Gateway(slot)) => format!("the watch delivers ApiGateway {:?}", of(slot)),
        Action::Deliver(Item::Child(slot, which)) => format!("the watch delivers {} {:?}", kind(which), of(slot)),
        Action::Deliver(Item::Pods(slot)) => format!("the watch delivers the pods of {:?}", of(slot)),
        Action::Deliver(Item::Environment(number)) => format!("the watch delivers environment {number}"),
        Action::Arrive => format!("a late request arrives: {:?}", before.late),
        Action::Crash => "the operator crashes".to_owned(),
        Action::Freeze => "the operator freezes, and its claim expires".to_owned(),
        Action::Thaw => "the frozen operator continues".to_owned(),
        Action::Lead => "an operator takes the Lease and lists everything".to_owned(),
        Action::Collect(slot, which) => format!("garbage collection deletes {} {:?}", kind(which), of(slot)),
        Action::Release(slot) => format!("the finalizer of Deployment {:?} is removed", of(slot)),
        Action::Observe(slot) => format!("the Deployment controller creates the pods of {:?}", of(slot)),
        Action::Ready(slot) => format!("the pods of {:?} become ready", of(slot)),
        Action::Gone(slot) => format!("the terminating pods of {:?} are gone", of(slot)),
        Action::Sicken(slot) => format!("the pods of {:?} fail", of(slot)),
        Action::Heal(slot) => format!("the pods of {:?} may become ready again", of(slot)),
        Action::EditChild(slot, which) => format!("another client edits {} {:?}", kind(which), of(slot)),
        Action::DeleteChild(slot, which) => format!("another client deletes {} {:?}", kind(which), of(slot)),
        Action::RemoveForeign => "the object of others is removed".to_owned(),
        Action::Tick => "the time of a start deadline passes".to_owned(),
    }
}

fn edited(edit: Edit) -> &'static str {
    match edit {
        Edit::Run => "requests state Running of",
        Edit::Stop => "requests state Stopped of",
        Edit::Restart => "requests state Restarting of",
        Edit::RequestRestart => "annotates for a restart",
        Edit::Retry => "annotates for a retry",
        Edit::Image => "changes the image of",
        Edit::Suspend => "suspends or resumes",
        Edit::Delete => "deletes",
        Edit::Create => "creates",
    }
}

fn answered(answer: Answer) -> &'static str {
    match answer {
        Answer::Given => "",
        Answer::Dropped => "; the request is lost",
        Answer::Lost => "; it is carried out and the answer is lost",
        Answer::Delayed => "; it times out, and arrives later",
        Answer::Doubled => "; it is carried out, and a copy arrives later",
        Answer::Conflict => "; the answer is a conflict",
        Answer::Refused => "; admission refuses it",
        Answer::Unavailable => "; an admission webhook is unavailable",
    }
}

/// The plan of a pass: its transition, or its steps.
fn plan(bridge: &Bridge, pass: &Pass) -> String {
    let decision = bridge.decision(pass.input);
    let place = bridge.info(pass.base.status).place;
    match decision.status {
        Some(status) if decision.moves => format!("{place:?} becomes {:?}", bridge.info(status).place),
        _ => format!("{place:?}, steps {:?}", decision.steps),
    }
}

fn next_step(bridge: &Bridge, pass: &Pass) -> String {
    match pass.stage {
        Stage::Confirm => "reads the children live".to_owned(),
        Stage::Record(status, _) => format!("writes status {:?}", bridge.info(status).place),
        Stage::Act => match bridge.decision(pass.input).steps.get(usize::from(pass.at)) {
            Some(Step::Update(child)) if pass.fresh.is_none() => format!("reads {}", child.kind()),
            Some(step) => format!("carries out {step:?}"),
            None => "ends its steps".to_owned(),
        },
    }
}
