//! The state machine's promises. The rows of `table` follow the design's table line by line;
//! what they expect was written by hand from it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod allowance;
mod any;
mod api_message;
mod builders;
mod conditions;
mod corners;
mod diagnosis;
mod edges;
mod environment;
mod events;
mod extremes;
mod hosts;
mod learned;
mod promises;
mod properties;
mod replay;
mod requests;
mod route;
mod rows;
mod status;
mod stories;
mod table;
mod versions;
mod words;
mod writes;
