//! Tests on real nodes, with running containers, real kubelets and requests through an ingress controller.
//!
//! `tests/e2e-kind.sh` creates the cluster, installs the operator and the controller, and runs these tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use phasegate_harness as harness;

mod arriving;
mod causes;
mod client;
mod ending;
mod ground;
mod lossless;
mod nodes;
mod operators;
mod routes;
