//! Exchanging the plugin while it serves: what callers notice of it (nothing), and what is refused.
//!
//! The mock's two builds (`just test` makes the later one) differ in version, in `state-version` and in what the node shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "clippy does not take the helpers of tests for tests"
)]

#[path = "../common/mod.rs"]
mod common;
mod load;
mod operator;
mod place;
mod refused;
mod trial;
