//! The demo in a namespace, where no container engine runs: network, mounts and processes of its own, with an engine among them.
//!
//! ```text
//! vk-demo ── unshare ──► sh (PID 1) ──► vk-demo ──┬─► control plane, vk-host
//!                                                 └─► dockerd ──► containers
//! ```

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::screen::short;
use crate::control_plane;
use crate::engine::{Inside, Kind};

/// How often the demo inside is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs this demo inside. If this is dropped before its end, the namespace ends.
pub async fn play(kind: Kind, folder: &Path) -> Result<()> {
    // The network ends at the namespace: what is downloaded must be here before.
    control_plane::binary()?;
    let mut inside = Inside::start(kind, &folder.join("engine"), env::args_os().skip(1))?;
    let status = loop {
        if let Some(status) = inside.ended()? {
            break status;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    ensure!(status.success(), "it ran in a namespace of its own, with the engine whose log is {}", log(&inside));
    Ok(())
}

fn log(inside: &Inside) -> String {
    short(&inside.folder().join("engine.log"))
}
