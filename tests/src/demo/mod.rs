//! The demo: a cluster, `vk-host` with the mock as its node, and a Deployment's life on it, shown and checked step by step.
//!
//! ```text
//! Arguments ─▶ Scene (control plane, host, kubectl) ─▶ story (the steps) ─▶ Scene::clear, or kept::leave
//! ```
//!
//! Contract: exit 0 says that every step was checked against the API server and held. Whatever happens, nothing is left
//! but files in `target/demo`, unless `--keep` asks for it; what a demo that was killed had started for `--keep` is ended by
//! `--stop`. Clusters that are not the demo's own are used only when named.

mod failures;
mod kept;
mod scene;
mod screen;
mod story;

use std::fs::{self, File, TryLockError};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::host;
use scene::Scene;
use screen::{Screen, short};

/// Shows a virtual node at work: a Deployment is created, read, scaled, updated and deleted on it, and every step checked.
///
/// Starts a Kubernetes control plane of its own, on 127.0.0.1, and removes it at the end.
#[derive(Debug, Parser)]
#[command(name = "vk-demo")]
pub struct Arguments {
    /// Leave the cluster, the node and two pods running, and say how to talk to them
    #[arg(long)]
    keep: bool,
    /// Stop what --keep has left, and do nothing else
    #[arg(long, conflicts_with_all = ["keep", "kubeconfig", "plugin"])]
    stop: bool,
    /// Use this cluster instead of starting one, as the user that the file names: an administrator. The demo makes a
    /// namespace and the node vk-demo there, and removes both. The API server must be able to reach this machine
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The provider, the mock or another build of it [default: target/plugins/mock.wasm]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
}

/// Runs the demo.
pub fn run(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(play(arguments))
}

async fn play(arguments: Arguments) -> Result<()> {
    let Arguments { keep, stop, kubeconfig, plugin } = arguments;
    let folder = host::target().join("demo");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let _lock = lock(&folder.join("lock"))?;
    if stop {
        return kept::stop(&folder).await;
    }
    kept::refuse_if_any(&folder)?;

    let mut screen = Screen::new();
    let mut scene = Scene::new(folder.clone(), kubeconfig, plugin, keep)?;
    // From here on Ctrl-C is an error like others, after which all is cleared away; so is the end of the terminal.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let told = tokio::select! {
        biased;
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        _ = hangup.recv() => Err(anyhow::anyhow!("the terminal was closed")),
        told = story::tell(&mut screen, &mut scene) => told,
    };
    if keep && told.is_ok() {
        return kept::leave(&screen, &scene);
    }
    let logs = scene.logs();
    let cleared = scene.clear().await;
    let told = told.with_context(|| format!("step {} of the demo failed; the logs are {logs}", screen.so_far().0));
    match (told, cleared) {
        (Ok(()), cleared) => cleared?,
        (told, Ok(())) => told?,
        (Err(told), Err(cleared)) => bail!("{told:#}; moreover, it {cleared:#}"),
    }
    let (steps, seconds) = screen.so_far();
    Ok(screen.line(&format!(
        "\nAll {steps} steps were checked and held, in {seconds} s. Nothing is left but logs in {}.",
        short(&folder)
    ))?)
}

/// One demo at a time: they share a folder.
fn lock(path: &std::path::Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another demo is running, says {}", path.display()),
        Err(TryLockError::Error(error)) => Err(error).context("lock the demo's folder"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from(["vk-demo", "--stop", "--keep"]).is_err());
    }
}
