//! The steps of an orchestrated saga. The builder's type is the order that a saga must have: compensable steps, one
//! pivot, retriable steps.
//!
//! ```
//! use phasegate_strategies::saga::steps::Saga;
//!
//! let saga = Saga::<()>::begin()
//!     .compensable("reserve", |()| async { Ok(()) }, |()| async { Ok(()) })
//!     .pivot("charge", |()| async { Ok(()) })
//!     .retriable("confirm", |()| async { Ok(()) })
//!     .end();
//! assert_eq!(saga.names(), ["reserve", "charge", "confirm"]);
//! ```
//!
//! A compensable step after the pivot does not compile:
//!
//! ```compile_fail
//! use phasegate_strategies::saga::steps::Saga;
//!
//! Saga::<()>::begin()
//!     .pivot("charge", |()| async { Ok(()) })
//!     .compensable("reserve", |()| async { Ok(()) }, |()| async { Ok(()) });
//! ```

use std::future::Future;
use std::marker::PhantomData;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::job::Failure;

type Act<C> = Box<dyn Fn(C) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// What may be done about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is undone if a later step fails.
    Compensable,
    /// It decides: once it has succeeded, nothing is undone any more.
    Pivot,
    /// It is repeated until it succeeds.
    Retriable,
}

/// One step.
pub struct Step<C> {
    /// The name in logs.
    pub name: &'static str,
    /// What may be done about it.
    pub kind: Kind,
    pub(super) action: Act<C>,
    pub(super) compensation: Option<Act<C>>,
}

/// A saga's steps, in order.
pub struct Saga<C> {
    pub(super) steps: Vec<Step<C>>,
}

/// The part of a saga that is still compensable.
pub struct Before;
/// The part of a saga after its pivot.
pub struct After;

/// A saga that is being built.
pub struct Builder<C, Part> {
    steps: Vec<Step<C>>,
    part: PhantomData<Part>,
}

impl<C> Saga<C> {
    /// Begins a saga with compensable steps.
    pub fn begin() -> Builder<C, Before> {
        Builder { steps: Vec::new(), part: PhantomData }
    }

    /// Begins a saga of retriable steps only: it cannot fail, and nothing is undone.
    pub fn retriable_only() -> Builder<C, After> {
        Builder { steps: Vec::new(), part: PhantomData }
    }

    /// The steps' names.
    pub fn names(&self) -> Vec<&'static str> {
        self.steps.iter().map(|step| step.name).collect()
    }
}

impl<C> Builder<C, Before> {
    /// Adds a step that can be undone.
    #[must_use]
    pub fn compensable<F, G>(
        mut self,
        name: &'static str,
        action: impl Fn(C) -> F + Send + Sync + 'static,
        compensation: impl Fn(C) -> G + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
        G: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let compensation: Act<C> = Box::new(move |context| compensation(context).boxed());
        self.steps.push(step(name, Kind::Compensable, action, Some(compensation)));
        self
    }

    /// Adds the step that decides.
    #[must_use]
    pub fn pivot<F>(mut self, name: &'static str, action: impl Fn(C) -> F + Send + Sync + 'static) -> Builder<C, After>
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.steps.push(step(name, Kind::Pivot, action, None));
        Builder { steps: self.steps, part: PhantomData }
    }
}

impl<C> Builder<C, After> {
    /// Adds a step that is repeated until it succeeds.
    #[must_use]
    pub fn retriable<F>(mut self, name: &'static str, action: impl Fn(C) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.steps.push(step(name, Kind::Retriable, action, None));
        self
    }

    /// Ends the saga.
    pub fn end(self) -> Saga<C> {
        Saga { steps: self.steps }
    }
}

fn step<C, F>(
    name: &'static str,
    kind: Kind,
    action: impl Fn(C) -> F + Send + Sync + 'static,
    compensation: Option<Act<C>>,
) -> Step<C>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    Step { name, kind, action: Box::new(move |context| action(context).boxed()), compensation }
}
