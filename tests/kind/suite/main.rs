//! On real nodes: containers that run, kubelets that say what is wrong, requests that arrive through an ingress controller.
//!
//! `tests/e2e-kind.sh` makes the cluster, with the operator and the controller in it, and runs these tests there.

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
