//! The demo: a cluster, `vk-host` as its node, and a Deployment's life on it, shown and checked step by step. The mock plays the
//! pods, or they are containers of an engine.
//!
//! ```text
//! Arguments ─▶ Scene (control plane, engine, host, kubectl) ─▶ story (the steps) ─▶ Scene::clear, or kept::leave
//!     └─ no engine runs ─▶ private: the same in a namespace with an engine of its own
//! ```
//!
//! Contract: exit 0 says that every step was checked against the API server, and the engine, and held; the log of a provider of the
//! user's own is shown alone. Whatever happens, nothing
//! is left but files in `target/demo`, unless `--keep` asks for it; what a demo that was killed had started for `--keep`, or made
//! at the user's engine, is ended by `--stop`. Clusters that are not the demo's own are used only when named.

mod engine;
mod failures;
mod find;
mod image;
mod kept;
mod private;
mod provided;
mod scene;
mod screen;
mod story;
mod workload;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::engine::Kind;
use crate::host;
use engine::Planned;
use find::{Found, find};
use provided::Choice;
use scene::Scene;
use screen::{Screen, short};

/// Shows a virtual node at work: a Deployment is created, read, scaled, updated and deleted on it, and every step checked.
///
/// Starts a Kubernetes control plane of its own, on 127.0.0.1, and removes it at the end.
#[derive(Debug, Parser)]
#[command(name = "vk-demo")]
pub struct Arguments {
    /// Run the pods as real containers: of the Docker or Podman engine where DOCKER_HOST says (unix:///PATH, tcp://HOST:PORT) or
    /// at the usual sockets; else, as root, of an engine that is started in a namespace and ends with the demo. The image is made
    /// on the spot, nothing is pulled, and all that the demo makes is removed from the engine
    #[arg(long)]
    docker: bool,
    /// Leave the cluster, the node and two pods running, and say how to talk to them
    #[arg(long)]
    keep: bool,
    /// Stop what --keep, or a demo that was killed, has left, and do nothing else
    #[arg(long, conflicts_with_all = ["keep", "kubeconfig", "plugin"])]
    stop: bool,
    /// Use this cluster instead of starting one, as the user that the file names: an administrator. The demo makes a
    /// namespace and the node vk-demo there, and removes both. The API server must be able to reach this machine
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
}

/// Runs the demo.
pub fn run(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(play(arguments))
}

async fn play(arguments: Arguments) -> Result<()> {
    let Arguments { docker, keep, stop, kubeconfig, choice } = arguments;
    let folder = host::target().join("demo");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let held = lock(&folder.join("lock"))?;
    if stop {
        return kept::stop(&folder).await;
    }
    kept::refuse_if_any(&folder)?;
    let found = if docker { Some(find().await?) } else { None };
    let users = match found {
        Some(Found::Startable { kind, tried }) => {
            ensure!(!keep, "--keep: no container engine answers ({tried}), and one of the demo's own ends with it");
            ensure!(
                kubeconfig.is_none(),
                "--kubeconfig: no container engine answers ({tried}), and one of the demo's own is in a network of its own"
            );
            drop(held);
            return play_inside(kind, &tried, &folder).await;
        }
        Some(Found::Users(api, about)) => Some((api, about)),
        Some(Found::Inside) | None => None,
    };
    let planned = if docker { Some(Planned::new(&folder, users)?) } else { None };

    let mut screen = Screen::new();
    let mut scene = Scene::new(folder.clone(), kubeconfig, choice, planned, keep)?;
    let mut interrupts = Interrupts::new()?;
    let told = tokio::select! {
        biased;
        error = interrupts.first() => Err(error),
        told = story::tell(&mut screen, &mut scene) => told,
    };
    if keep && told.is_ok() {
        return kept::leave(&screen, &scene);
    }
    let logs = scene.logs();
    if told.is_err() {
        // The terminal may be what has gone.
        let _ = screen.line("\nClearing away …");
    }
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

/// Runs the same demo in a namespace, with an engine of its own.
async fn play_inside(kind: Kind, tried: &str, folder: &Path) -> Result<()> {
    let name = kind.name();
    Screen::new().line(&format!(
        "No container engine answers ({tried}).\nHence one of the demo's own: {name}, in a namespace that ends with the demo."
    ))?;
    let mut interrupts = Interrupts::new()?;
    tokio::select! {
        biased;
        error = interrupts.first() => Err(error),
        played = private::play(kind, folder) => played,
    }
}

/// Signals that would end this program, and with it the chance to clear away: they are errors like others from when this is made.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the first one.
    async fn first(&mut self) -> Error {
        tokio::select! {
            _ = self.interrupt.recv() => anyhow!("interrupted"),
            _ = self.terminate.recv() => anyhow!("terminated"),
            _ = self.hangup.recv() => anyhow!("the terminal was closed"),
        }
    }
}

/// One demo at a time: they share a folder.
fn lock(path: &Path) -> Result<File> {
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
