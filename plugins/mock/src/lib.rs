//! The provider that Virtual Kubelet calls mock, grown up: pods that are played, not run.
//!
//! A pod is one record in the host's store. What it does is a pure function of that record and of the clock (`state`), so nothing
//! is written when a container starts, ends or starts again. Annotations on the pod (`script`) say how it plays, and which calls
//! about it fail and how (`fault`), what it asks the world for (`fetch`) and what the cluster (`cluster`, `volumes`). README.md has the
//! list.
//!
//! ```text
//! annotations ─▶ script ─▶ record ──(store)──▶ state at a time ─▶ status, logs, usage, changes
//! ```

mod backend;
mod changes;
mod cluster;
mod config;
mod fault;
mod fetch;
mod logs;
mod manifest;
mod node;
mod pods;
mod record;
mod script;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod usage;
mod volumes;
mod wants;

use std::time::Duration;

use vk_provider::plugin::{Identity, Settings};
use vk_provider::{Error, Plugin};

/// The provider.
pub struct Mock;

/// A write that was handed to the store when its call was dropped may still be committed, with the next batch. Nothing else in this
/// backend settles late.
const SETTLE: Duration = Duration::from_millis(200);

/// Raised when records change shape; those of the build for tests of a swap only say so.
const STATE_VERSION: u32 = if cfg!(feature = "next") { 2 } else { 1 };

/// For people; the node shows it too.
const VERSION: &str =
    if cfg!(feature = "next") { concat!(env!("CARGO_PKG_VERSION"), "-next") } else { env!("CARGO_PKG_VERSION") };

impl Plugin for Mock {
    fn describe() -> Identity {
        Identity { name: "mock", version: VERSION, state_version: STATE_VERSION, settle: SETTLE }
    }

    fn configure() -> Result<Settings, Vec<Error>> {
        config::Config::read()?.settings()
    }
}

vk_provider::export!(Mock: pods, changes, container_logs, stats, volumes);
