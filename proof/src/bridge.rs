//! The way to the production code: a modelled gateway becomes an `ApiGateway`, facts become `Observed`, and
//! [`phasegate_core::decide`] decides. Decisions are kept, because the same arguments give the same plan.
//!
//! **Architecture invariant:** no decision about a gateway is made anywhere else.

mod environments;
mod facts;
mod statuses;

use std::collections::HashMap;
use std::time::Duration;

use phasegate_core::api::{ApiGateway, REGISTRY_FINALIZER, RESTART_ANNOTATION, RETRY_ANNOTATION};
use phasegate_core::decide::observed::Settings;
use phasegate_core::decide::requests::Requests;
use phasegate_core::decide::{Learned, Plan, Step, decide, judged_in};
use serde_json::json;

pub use environments::GatewayOf;
pub use facts::{Facts, Learnt, Registered, Seen};
pub use statuses::{Info, TICK};

use crate::world::objects::{Asked, Gateway, StatusId};
use environments::Environments;
use statuses::Statuses;

/// The arguments of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Input {
    /// The gateway, without uid and version.
    pub gateway: Gateway,
    /// What was observed.
    pub facts: Facts,
}

/// A plan, as far as the model carries it out.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The steps.
    pub steps: Vec<Step>,
    /// The status to record.
    pub status: Option<StatusId>,
    /// Whether it is a transition.
    pub moves: bool,
    /// Whether it needs a live read.
    pub confirm: bool,
    /// Whether it begins a stop.
    pub begins_a_stop: bool,
    /// Whether the deadline of the attempt has passed.
    pub is_late: bool,
    /// The step after which the pass yields.
    pub yields_after: Option<Step>,
    plan: Plan,
}

/// Decisions and statuses so far.
pub struct Bridge {
    settings: Settings,
    statuses: Statuses,
    inputs: Vec<Input>,
    numbers: HashMap<Input, u32>,
    decisions: Vec<Decision>,
    learnt: HashMap<(u32, Learnt), Option<(StatusId, bool)>>,
    requests: HashMap<Gateway, bool>,
    environments: Environments,
}

impl Bridge {
    /// For worlds whose gateways have a host, or that count transitions.
    pub fn new(has_host: bool, counts_transitions: bool) -> Self {
        let settings = Settings {
            start_deadline: Duration::from_secs(TICK),
            cleanup_stuck_after: Duration::from_secs(TICK),
            ..Settings::default()
        };
        Self {
            settings,
            statuses: Statuses::new(has_host, counts_transitions),
            inputs: Vec::new(),
            numbers: HashMap::new(),
            decisions: Vec::new(),
            learnt: HashMap::new(),
            requests: HashMap::new(),
            environments: Environments::default(),
        }
    }

    /// The number of different decisions so far.
    pub fn decisions(&self) -> usize {
        self.decisions.len() + self.learnt.len()
    }

    /// What the model reads of a status.
    pub fn info(&self, status: StatusId) -> &Info {
        self.statuses.info(status)
    }

    /// The same status after a deadline's time.
    pub fn aged(&mut self, status: StatusId) -> StatusId {
        self.statuses.aged(status)
    }

    /// Decides, or recalls what was decided.
    pub fn decide(&mut self, gateway: &Gateway, facts: Facts) -> u32 {
        let input = Input { gateway: Gateway { uid: 0, version: 0, ..*gateway }, facts };
        if let Some(number) = self.numbers.get(&input) {
            return *number;
        }
        let object = self.object(&input.gateway);
        let moment = self.statuses.moment(&object, facts.rushed);
        let observed = facts.observed();
        let plan = decide(&object, &observed, &moment, &self.settings);
        let left = judged_in(&object, &observed, &moment, &self.settings);
        let number = u32::try_from(self.inputs.len()).unwrap_or(u32::MAX);
        self.inputs.push(input);
        self.numbers.insert(input, number);
        let status = plan.status.clone().map(|status| self.statuses.keep(status));
        self.decisions.push(Decision {
            steps: plan.steps.clone(),
            status,
            moves: plan.moves,
            confirm: plan.confirm,
            begins_a_stop: plan.begins_a_stop(),
            is_late: left == Some(Duration::ZERO),
            yields_after: plan.yields_after,
            plan,
        });
        number
    }

    /// A decision.
    pub fn decision(&self, number: u32) -> &Decision {
        &self.decisions[number as usize]
    }

    /// The status to record after a step taught something, and whether it is a transition.
    pub fn learn(&mut self, number: u32, learnt: Learnt) -> Option<(StatusId, bool)> {
        if let Some(known) = self.learnt.get(&(number, learnt)) {
            return *known;
        }
        let Input { gateway, facts } = self.inputs[number as usize];
        let object = self.object(&gateway);
        let moment = self.statuses.moment(&object, facts.rushed);
        let mut observed = facts.observed();
        observed.learn(Learned::from(learnt));
        let plan = self.decisions[number as usize].plan.clone();
        let plan = plan.in_the_light_of(&object, &observed, &moment, &self.settings);
        let moves = plan.moves;
        let after = plan.status.map(|status| (self.statuses.keep(status), moves));
        self.learnt.insert((number, learnt), after);
        after
    }

    /// Whether a gateway has requests that were not taken up.
    pub fn has_requests(&mut self, gateway: &Gateway) -> bool {
        let key = Gateway { uid: 0, version: 0, ..*gateway };
        if let Some(known) = self.requests.get(&key) {
            return *known;
        }
        let requests = Requests::of(&self.object(gateway));
        let has = requests.start || requests.restart;
        self.requests.insert(key, has);
        has
    }

    /// The status with everything that the gateway requests taken up: a planted mistake.
    pub fn with_requests_dropped(&mut self, gateway: &Gateway, status: StatusId) -> StatusId {
        let object = self.object(gateway);
        self.statuses.taken_up(&object, status)
    }

    /// Whether an environment becomes, or stays, Active.
    pub fn environment(&mut self, active: bool, gateway: GatewayOf) -> bool {
        self.environments.decide(active, gateway)
    }

    fn object(&self, gateway: &Gateway) -> ApiGateway {
        let state = match gateway.asked {
            Asked::Running => "Running",
            Asked::Stopped => "Stopped",
            Asked::Restarting => "Restarting",
        };
        let mut annotations = serde_json::Map::new();
        for (name, value) in [(RETRY_ANNOTATION, gateway.retry), (RESTART_ANNOTATION, gateway.restart)] {
            if value > 0 {
                annotations.insert(name.to_owned(), json!(value.to_string()));
            }
        }
        let ours = gateway.ours.then_some(REGISTRY_FINALIZER);
        let finalizers: Vec<&str> = ours.into_iter().chain(gateway.others.then_some("example.com/theirs")).collect();
        let object = json!({
            "apiVersion": "phasegate.dev/v1alpha1",
            "kind": "ApiGateway",
            "metadata": {
                "name": "shop",
                "namespace": "tenants",
                "uid": "uid",
                "generation": gateway.generation,
                "annotations": annotations,
                "finalizers": finalizers,
                "deletionTimestamp": gateway.deleting.then(|| statuses::NOW.to_string()),
            },
            "spec": {
                "image": format!("acme/gateway:{}", gateway.image),
                "state": state,
                "suspend": gateway.suspended,
                "host": self.statuses.has_host().then_some("shop.example.com"),
            },
        });
        // The model renders valid objects only.
        let mut object: ApiGateway = serde_json::from_value(object).unwrap_or_else(|error| unreachable!("{error}"));
        object.status = self.statuses.get(gateway.status).cloned();
        object
    }
}
