//! Integration tests: one module per promise, on one real control plane that they share.
//!
//! Each test has a namespace and an operator of its own, runs beside the others, and forms
//! its verdict from objects read through the API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use phasegate_harness as harness;

mod admission;
mod amplification;
mod bounds;
mod cli;
mod contract;
mod deletion;
mod deploy;
mod diagnosis;
mod diagram;
mod drift;
mod environments;
mod fairness;
mod gitops;
mod health;
mod hosts;
mod inherited;
mod leadership;
mod leftovers;
mod logs;
mod mongo_server;
mod monitoring;
mod mutation;
mod names;
mod narrowing;
mod order;
mod outages;
mod partial;
mod permissions;
mod plugin;
mod pods;
mod policy;
mod quiet;
mod random;
mod refusals;
mod registry;
mod resilience;
mod restarting;
mod rollouts;
mod rows;
mod scaling;
mod stamping;
mod starting;
mod stopping;
mod strangers;
mod stuck;
mod suspending;
mod tenants;
mod timeout;
mod upgrade;
mod versions;
mod webhooks;
