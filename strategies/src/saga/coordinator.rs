//! The coordinator: carries out a saga's steps in order, and its compensations in reverse.

use std::sync::Arc;

use super::lease::Lease;
use super::log::{Claim, Course, Log, Logs};
use super::steps::{Kind, Saga};
use crate::job::{Failure, backoff, until_answered};
use crate::store::Store;

/// How often a refused compensation is repeated before the alarm.
const TRIES: u32 = 4;

/// The reason of a saga that its user cancelled.
pub const CANCELLED: &str = "Cancelled";

/// What a saga works on.
pub trait Subject: Clone + Send + Sync + 'static {
    /// Whether the user no longer wants it. Asked before each step up to the pivot.
    fn is_cancelled(&self) -> bool;
}

/// How a saga ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps have succeeded.
    Done,
    /// A step failed, and those before it were undone.
    Undone,
    /// A compensation was refused, and an alarm was recorded.
    Alarmed,
    /// Another coordinator has the saga.
    Theirs,
}

/// One process that coordinates sagas.
pub struct Coordinator {
    logs: Logs,
    lease: Arc<Lease>,
}

impl Coordinator {
    /// A coordinator with a lease of its own.
    pub fn new(store: &Store) -> Self {
        Self { logs: Logs::new(store), lease: Arc::new(Lease::begin(store)) }
    }

    /// The logs of all sagas.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Carries out a saga from where its log says to its end.
    ///
    /// # Errors
    /// The database refuses, or fails before the saga was claimed.
    pub async fn run<C: Subject>(&self, id: &str, saga: &Saga<C>, subject: &C) -> Result<Ended, Failure> {
        let mut log = match self.logs.claim(id, &self.lease).await? {
            Claim::Mine(log) | Claim::Ended(log) => log,
            Claim::Theirs => return Ok(Ended::Theirs),
        };
        loop {
            let was_backward = log.course == Course::Backward;
            match log.course {
                Course::Forward => forward(&mut log, saga, subject).await,
                Course::Backward => self.backward(&mut log, saga, subject).await?,
                Course::Done => return Ok(Ended::Done),
                Course::Undone => return Ok(Ended::Undone),
                Course::Alarmed => return Ok(Ended::Alarmed),
            }
            if !self.logs.save(&mut log).await? {
                if !was_backward {
                    self.take_back(&log, saga, subject).await?;
                }
                return Ok(Ended::Theirs);
            }
        }
    }

    /// Undoes the step before, with an alarm if its compensation is refused again and again.
    async fn backward<C: Subject>(&self, log: &mut Log, saga: &Saga<C>, subject: &C) -> Result<(), Failure> {
        let Some(before) = usize::try_from(log.at).ok().and_then(|at| at.checked_sub(1)) else {
            log.course = Course::Undone;
            return Ok(());
        };
        let step = &saga.steps[before];
        if let Some(compensation) = &step.compensation {
            let mut tries = 0;
            while let Err(failure) = until_answered(|| compensation(subject.clone())).await {
                tries += 1;
                if tries == TRIES {
                    self.logs.alarm(log, step.name, &failure).await?;
                    log.course = Course::Alarmed;
                    return Ok(());
                }
                tokio::time::sleep(backoff(tries)).await;
            }
        }
        log.at -= 1;
        if log.at == 0 {
            log.course = Course::Undone;
        }
        Ok(())
    }

    /// A coordinator that lost its saga may have carried out a step that its successor has already undone.
    async fn take_back<C: Subject>(&self, log: &Log, saga: &Saga<C>, subject: &C) -> Result<(), Failure> {
        let now = until_answered(|| self.logs.find(&log.id)).await?;
        let is_undone =
            now.is_some_and(|now| matches!(now.course, Course::Backward | Course::Undone) && now.at < log.at);
        let step = usize::try_from(log.at).ok().and_then(|at| saga.steps.get(at.checked_sub(1)?));
        match step.and_then(|step| step.compensation.as_ref()) {
            Some(compensation) if is_undone => until_answered(|| compensation(subject.clone())).await,
            _ => Ok(()),
        }
    }
}

/// Carries out the next step. A refusal up to the pivot turns the saga round.
async fn forward<C: Subject>(log: &mut Log, saga: &Saga<C>, subject: &C) {
    let Some(step) = usize::try_from(log.at).ok().and_then(|at| saga.steps.get(at)) else {
        log.course = Course::Done;
        return;
    };
    let mut tries = 0;
    loop {
        let outcome = match step.kind {
            Kind::Compensable | Kind::Pivot if subject.is_cancelled() => Err(Failure::Refused(CANCELLED.to_owned())),
            _ => (step.action)(subject.clone()).await,
        };
        match outcome {
            Ok(()) => {
                log.at += 1;
                if usize::try_from(log.at).is_ok_and(|at| at == saga.steps.len()) {
                    log.course = Course::Done;
                }
                return;
            }
            Err(Failure::Refused(reason)) if step.kind != Kind::Retriable => {
                // The step that failed is undone as well: a try without an answer may have taken effect.
                log.at += 1;
                log.reason = reason;
                log.course = Course::Backward;
                return;
            }
            Err(_) => tokio::time::sleep(backoff(tries)).await,
        }
        tries += 1;
    }
}
