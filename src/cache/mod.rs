//! What is watched, as far as it is looked at.

pub mod index;
pub mod seen;
pub mod trouble;
pub mod watched;
