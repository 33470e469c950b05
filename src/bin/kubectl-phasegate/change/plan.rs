//! Plans the changes to all selected gateways before the first is sent.
//!
//! **Architecture invariant**: this module sends no request.

use std::io::{BufRead, IsTerminal, stdin};

use phasegate::api::{ApiGateway, Guarded, ObjectKey};
use serde_json::Value;

use super::outcome::{ChangeResult, Outcome};
use super::verb::{Effect, Verb};
use crate::failure::{FAILED, Failure};
use crate::selection::unreadable;
use crate::terminal::{self, Shown};

/// A gateway that will be changed.
pub struct Patching {
    /// Its outcome if the patch is accepted.
    pub outcome: Outcome,
    /// A merge patch.
    pub patch: Value,
    /// Whether it is suspended.
    pub suspended: bool,
}

/// The effect of a verb on all gateways.
#[derive(Default)]
pub struct Plan {
    /// The gateways that will be changed.
    pub patches: Vec<Patching>,
    /// The gateways that need no change, or cannot be changed.
    pub settled: Vec<Outcome>,
    /// The gateways that cannot be read.
    pub failures: Vec<Failure>,
}

impl Plan {
    /// Plans the changes to the gateways. `token` is an annotation value that was never used before.
    pub fn of(verb: Verb, found: Vec<Guarded<ApiGateway>>, token: &str) -> Self {
        let mut plan = Self::default();
        for gateway in found {
            plan.add(verb, gateway, token);
        }
        plan
    }

    fn add(&mut self, verb: Verb, gateway: Guarded<ApiGateway>, token: &str) {
        let key = ObjectKey::of(&gateway);
        let gateway = match gateway.0 {
            Ok(gateway) => gateway,
            Err(error) => {
                self.failures.push(unreadable(&key, &error));
                return;
            }
        };
        let outcome = |result, message: &str| Outcome { key, result, message: message.to_owned(), failure: None };
        match verb.effect(&gateway, token) {
            Effect::Patch(patch, done) => {
                let outcome = outcome(ChangeResult::Changed, done);
                self.patches.push(Patching { outcome, patch, suspended: gateway.spec.suspend });
            }
            Effect::Nothing(why) => self.settled.push(outcome(ChangeResult::Unchanged, why)),
            Effect::Refused(sentence, advice) => {
                self.settled.push(outcome(ChangeResult::Failed, "").failed(Failure::new(FAILED, sentence, advice)));
            }
        }
    }

    /// Whether there is nothing to do and nothing to report.
    pub fn is_empty(&self) -> bool {
        self.patches.is_empty() && self.settled.is_empty() && self.failures.is_empty()
    }
}

/// Asks the user to confirm a change to several gateways.
///
/// # Errors
/// The user declines, or stdin is not a terminal.
pub fn confirm(verb: Verb, patches: &[Patching]) -> Result<(), Failure> {
    const NAMED: usize = 10;
    let count = patches.len();
    let keys = patches.iter().take(NAMED).map(|patch| patch.outcome.key.to_string());
    let mut keys = keys.collect::<Vec<_>>().join(", ");
    if count > NAMED {
        keys = format!("{keys} and {} more", count - NAMED);
    }
    if !stdin().is_terminal() {
        return Err(Failure::new(
            FAILED,
            format!("this would {} {count} gateways: {keys}", verb.word()),
            "Add --yes to confirm, or --dry-run to preview.",
        ));
    }
    terminal::tell(&Shown::text(&format!("{} {count} gateways: {keys}? [y/N] ", verb.word())));
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(FAILED, "nothing was changed", "Answer y to continue."))
}
