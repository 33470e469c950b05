//! What is to be done with the gateways that were found, before anything is.

use std::io::{BufRead, IsTerminal, stdin};

use phasegate::api::{ApiGateway, Guarded, ObjectKey};
use serde_json::Value;

use super::outcome::{ChangeResult, Outcome};
use super::verb::{Means, Verb};
use crate::failure::{FAILED, Failure};
use crate::selection::unreadable;
use crate::terminal::{self, Shown};

/// A gateway that is to be changed.
pub struct Patching {
    /// What becomes of it if the patch is accepted.
    pub outcome: Outcome,
    /// A merge patch.
    pub patch: Value,
    /// Whether it is suspended.
    pub suspended: bool,
}

/// What a verb means for all of them.
#[derive(Default)]
pub struct Plan {
    /// Those that are to be changed.
    pub patches: Vec<Patching>,
    /// Those with which nothing is to be done, or can be.
    pub settled: Vec<Outcome>,
    /// Why others cannot be read.
    pub failures: Vec<Failure>,
}

impl Plan {
    /// Makes a plan for what was found. `token` is a value that no annotation has had before.
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
        match verb.means(&gateway, token) {
            Means::Patch(patch, done) => {
                let outcome = outcome(ChangeResult::Changed, done);
                self.patches.push(Patching { outcome, patch, suspended: gateway.spec.suspend });
            }
            Means::Nothing(why) => self.settled.push(outcome(ChangeResult::Unchanged, why)),
            Means::Refused(sentence, advice) => {
                self.settled.push(outcome(ChangeResult::Failed, "").failed(Failure::new(FAILED, sentence, advice)));
            }
        }
    }

    /// Whether there is nothing to do, and nothing to say.
    pub fn is_empty(&self) -> bool {
        self.patches.is_empty() && self.settled.is_empty() && self.failures.is_empty()
    }
}

/// Asks whether all these gateways are meant.
///
/// # Errors
/// When they are not, or there is nobody to ask.
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
            format!("{count} gateways would be asked to {}: {keys}", verb.word()),
            "Add --yes if this is meant; --dry-run shows what would be done.",
        ));
    }
    terminal::tell(&Shown::text(&format!("{} {count} gateways: {keys}? [y/N] ", verb.word())));
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(FAILED, "nothing was changed", "Answer y to go on."))
}
