//! What a plugin reaches of the world, asked by a real guest: the mock, whose pods fetch what their annotation says before they are
//! made, and tell what came of it in their logs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy does not take the helpers of tests for tests"
)]

mod budgets;
#[path = "../common/mod.rs"]
mod common;
mod cut;
mod granted;
mod place;
mod refused;
mod servers;
