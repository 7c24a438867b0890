//! Pods as container groups: the real program with the provider `azure`, before a real control plane and a fake of
//! Azure Container Instances that runs groups on a private engine.
//!
//! All of this needs root, and a namespace of its own: one ordinary test runs the others in it, which are ignored.
//! They share one engine and one control plane, and have a fake each.

#![allow(missing_docs, reason = "tests are named after what they show")]
#![allow(clippy::indexing_slicing, reason = "clippy does not take the helpers of tests for tests")]

mod cloud;
mod config;
mod contract;
mod corner;
mod crowd;
mod ends;
mod faults;
mod node;
mod pods;
mod real;
mod rows;
mod slow;
mod swap;

use std::io::Write as _;

use anyhow::{Result, ensure};
use vk_tests::engine::{Outcome, run_ignored_tests};

#[test]
fn pods_are_container_groups() -> Result<()> {
    if real::is_chosen() {
        return real::run();
    }
    match run_ignored_tests(contract::prepare)? {
        Outcome::Skipped(why) => {
            writeln!(std::io::stderr(), "\nSKIPPED: all tests with container groups. {why}\n")?;
            Ok(())
        }
        Outcome::Ran { status, folder } => {
            ensure!(status.success(), "see above; logs are in {}", folder.display());
            Ok(())
        }
    }
}
