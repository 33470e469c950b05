//! Renames versions and uids, so that states that differ in numbers alone are one. Only equality of numbers
//! matters.

use super::State;
use super::objects::{ChildObject, ENVIRONMENTS, GATEWAYS, Gateway, KINDS, Owner};
use super::operator::{Expected, Operator};
use super::server::Write;

/// What a number counts. Numbers of different kinds are never compared.
#[derive(Clone, Copy)]
enum Of {
    GatewayUid(usize),
    GatewayVersion(usize),
    ChildUid(usize, usize),
    ChildVersion(usize, usize),
    EnvironmentVersion(usize),
}

const OTHERS: usize = 2 * GATEWAYS + 2 * GATEWAYS * KINDS.len();

impl Of {
    fn index(self) -> usize {
        match self {
            Self::GatewayUid(slot) => 2 * slot,
            Self::GatewayVersion(slot) => 2 * slot + 1,
            Self::ChildUid(slot, kind) => 2 * GATEWAYS + 2 * (slot * KINDS.len() + kind),
            Self::ChildVersion(slot, kind) => 2 * GATEWAYS + 2 * (slot * KINDS.len() + kind) + 1,
            Self::EnvironmentVersion(environment) => OTHERS + environment,
        }
    }
}

/// A number that no object has. A canonical state has small numbers only.
pub(super) fn fresh(number: u8) -> u8 {
    number.max(31) + 1
}

impl State {
    /// Renames versions and uids by their ranks.
    pub(super) fn canonical(&mut self) {
        let mut present = [0_u64; OTHERS + ENVIRONMENTS];
        self.visit(&mut |of, number| present[of.index()] |= 1 << *number);
        self.visit(&mut |of, number| {
            let smaller = present[of.index()] & ((1 << *number) - 1);
            *number = u8::try_from(smaller.count_ones()).unwrap_or(u8::MAX);
        });
    }

    fn visit(&mut self, see: &mut impl FnMut(Of, &mut u8)) {
        for slot in 0..GATEWAYS {
            self.gateways[slot].iter_mut().for_each(|gateway| of_gateway(slot, gateway, see));
            self.documents[slot].iter_mut().for_each(|document| see(Of::GatewayUid(slot), &mut document.uid));
            for kind in 0..KINDS.len() {
                self.children[slot][kind].iter_mut().for_each(|child| of_child(slot, kind, child, see));
            }
        }
        for (number, environment) in self.environments.iter_mut().enumerate() {
            environment.iter_mut().for_each(|it| see(Of::EnvironmentVersion(number), &mut it.version));
        }
        self.leader.iter_mut().for_each(|operator| of_operator(operator, see));
        self.former.iter_mut().for_each(|operator| of_operator(operator, see));
        self.late.iter_mut().for_each(|write| of_write(write, see));
    }
}

fn of_gateway(slot: usize, gateway: &mut Gateway, see: &mut impl FnMut(Of, &mut u8)) {
    see(Of::GatewayUid(slot), &mut gateway.uid);
    see(Of::GatewayVersion(slot), &mut gateway.version);
}

fn of_child(slot: usize, kind: usize, child: &mut ChildObject, see: &mut impl FnMut(Of, &mut u8)) {
    see(Of::ChildUid(slot, kind), &mut child.uid);
    see(Of::ChildVersion(slot, kind), &mut child.version);
    if let Owner::Gateway(uid) = &mut child.owner {
        see(Of::GatewayUid(slot), uid);
    }
}

fn of_operator(operator: &mut Operator, see: &mut impl FnMut(Of, &mut u8)) {
    for slot in 0..GATEWAYS {
        let memory = &mut operator.memory[slot];
        memory.uid.iter_mut().for_each(|uid| see(Of::GatewayUid(slot), uid));
        let gateways = operator.cache.gateways[slot].iter_mut().chain(&mut memory.written);
        gateways.for_each(|gateway| of_gateway(slot, gateway, see));
        for kind in 0..KINDS.len() {
            operator.cache.children[slot][kind].iter_mut().for_each(|child| of_child(slot, kind, child, see));
            if let Expected::Deleted(uid) = &mut memory.expected[kind] {
                see(Of::ChildUid(slot, kind), uid);
            }
        }
    }
    for (number, environment) in operator.cache.environments.iter_mut().enumerate() {
        environment.iter_mut().for_each(|it| see(Of::EnvironmentVersion(number), &mut it.version));
    }
    let Some(pass) = &mut operator.pass else { return };
    let slot = usize::from(pass.slot);
    of_gateway(slot, &mut pass.base, see);
    for (kind, found) in pass.found.iter_mut().enumerate() {
        found.iter_mut().for_each(|uid| see(Of::ChildUid(slot, kind), uid));
    }
    if let Some((kind, fresh)) = &mut pass.fresh {
        of_child(slot, usize::from(*kind), fresh, see);
    }
    for (number, environment) in pass.environments.iter_mut().enumerate() {
        environment.iter_mut().for_each(|it| see(Of::EnvironmentVersion(number), &mut it.version));
    }
}

fn of_write(write: &mut Write, see: &mut impl FnMut(Of, &mut u8)) {
    match write {
        Write::Create { slot, owner, .. } => see(Of::GatewayUid(usize::from(*slot)), owner),
        Write::Update { slot, kind, owner, read, .. } => {
            see(Of::GatewayUid(usize::from(*slot)), owner);
            of_child(usize::from(*slot), usize::from(*kind), read, see);
        }
        Write::Delete { slot, kind, owner, uid } => {
            see(Of::GatewayUid(usize::from(*slot)), owner);
            see(Of::ChildUid(usize::from(*slot), usize::from(*kind)), uid);
        }
        Write::Status { slot, base, .. } | Write::Finalizers { slot, base, .. } => {
            of_gateway(usize::from(*slot), base, see);
        }
        Write::Environment { number, read, .. } => {
            see(Of::EnvironmentVersion(usize::from(*number)), &mut read.version);
        }
        Write::Record { slot, uid } | Write::Report { slot, uid, .. } | Write::Forget { slot, uid } => {
            see(Of::GatewayUid(usize::from(*slot)), uid);
        }
    }
}
