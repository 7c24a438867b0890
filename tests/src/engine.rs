//! A private container engine for tests, benchmark and demo: Docker's, or Podman's where [`CHOICE`] says so, with images made on
//! the spot.
//!
//! ```text
//! test program ── unshare: network, mounts, processes ──► sh (PID 1) ──► the same program, its ignored tests
//!      │                                                                   ├─► control plane, vk-host
//!      └── cgroups, files, once it has ended                               ├─► dockerd ──► containers
//!                                                                          └─► registry
//! ```
//!
//! Contract: whatever way the test program ends, the namespace ends with it, and with that all processes, mounts and interfaces
//! of the engine. Files are in `target/engine/PID/`: the logs stay, for a look, and what containers wrote does not.

mod address;
mod api;
mod daemon;
pub mod image;
mod namespace;
pub mod proxy;
mod registry;

pub use address::Address;
pub use api::{About, Api, Container};
pub use daemon::Engine;
pub use image::{IMAGE, tagged};
pub use namespace::{Inside, Outcome, folder, lacks, run_ignored_tests};
pub use registry::Registry;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};

/// The variable that chooses the engine: `docker` or `podman`.
pub const CHOICE: &str = "VK_TEST_ENGINE";

/// Where Debian has programs that only root runs, which need not be on root's own PATH.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Whose engine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `dockerd`.
    Docker,
    /// `podman system service`, with its API that is compatible with Docker's.
    Podman,
}

impl Kind {
    /// What [`CHOICE`] says; none: it is not set.
    ///
    /// # Errors
    ///
    /// It is set to something else.
    pub fn chosen() -> Result<Option<Self>> {
        match env::var(CHOICE).as_deref() {
            Ok("docker") => Ok(Some(Self::Docker)),
            Ok("podman") => Ok(Some(Self::Podman)),
            Ok(other) => bail!("{CHOICE}={other}: it must be docker or podman"),
            Err(_) => Ok(None),
        }
    }

    /// Its name in [`CHOICE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// Programs that it needs, each with the Debian package that has it.
    fn programs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Docker => &[("dockerd", "docker.io")],
            Self::Podman => &[("podman", "podman"), ("runc", "runc"), ("iptables", "iptables")],
        }
    }
}

/// A program by name.
fn program(name: &str) -> Option<PathBuf> {
    let path = search_path();
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// PATH, with the folders of programs for root.
fn search_path() -> OsString {
    let own = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&own).chain(SYSTEM.map(PathBuf::from));
    env::join_paths(folders).unwrap_or(own)
}
