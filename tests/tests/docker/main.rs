//! Pods as real containers: the real program with the provider `docker`, before a real control plane and a private engine.
//!
//! All of this needs root, and a namespace of its own: one ordinary test runs the others in it, which are ignored. They share one
//! engine and one control plane; those that break an engine have one of their own.

#![allow(missing_docs, reason = "tests are named after what they show")]
#![allow(clippy::indexing_slicing, reason = "clippy does not take the helpers of tests for tests")]

mod config;
mod containers;
mod corner;
mod ending;
mod faults;
mod ground;
mod images;
mod killed;
mod logs;
mod network;
mod probes;
mod slow;
mod swap;
mod volumes;
mod workloads;

use std::io::Write as _;

use anyhow::{Result, ensure};
use vk_tests::engine::{Outcome, run_ignored_tests};

#[test]
fn pods_are_real_containers() -> Result<()> {
    match run_ignored_tests(|| Ok(()))? {
        Outcome::Skipped(why) => {
            writeln!(std::io::stderr(), "\nSKIPPED: all tests with a real container engine. {why}\n")?;
            Ok(())
        }
        Outcome::Ran { status, folder } => {
            ensure!(status.success(), "see above; logs are in {}", folder.display());
            Ok(())
        }
    }
}
