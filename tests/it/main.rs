//! Integration tests: one module per promise, on one shared real control plane.
//!
//! Each test has its own namespace and operator, runs in parallel with the others, and asserts on
//! objects read through the API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use phasegate_harness as harness;

mod admission;
mod agreement;
mod amplification;
mod bad_objects;
mod bounds;
mod chart;
mod cli;
mod contract;
mod crashes;
mod deletion;
mod deploy;
mod diagnosis;
mod diagram;
mod docs;
mod drift;
mod environments;
mod events;
mod fairness;
mod faults;
mod gitops;
mod health;
mod hosts;
mod inherited;
mod leadership;
mod leftovers;
mod logs;
mod midway;
mod mongo_server;
mod monitoring;
mod mutation;
mod names;
mod narrowing;
mod order;
mod outages;
mod overtaken;
mod partial;
mod parts;
mod permissions;
mod planted;
mod plugin;
mod pods;
mod policy;
mod quiet;
mod random;
mod refusals;
mod registry;
mod release;
mod resilience;
mod restarting;
mod rollouts;
mod routes;
mod rows;
mod scaling;
mod stamping;
mod starting;
mod stopping;
mod stuck;
mod suspending;
mod tenants;
mod timeout;
mod upgrade;
mod versions;
mod webhooks;
mod wording;
