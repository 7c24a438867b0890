//! What `--keep` leaves, and `--stop` ends: `target/demo/kept.json` says which processes it is.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::scene::{Scene, remove_namespace, remove_node, stop_free};
use super::screen::{Screen, short};
use crate::cluster;
use crate::process::Process;

/// As for any host: see the scene's.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The record.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    host: Process,
    /// None: the cluster is not the demo's.
    control_plane: Option<Process>,
    kubeconfig: PathBuf,
    namespace: String,
}

/// Writes the record and says what the user can do now.
pub fn leave(screen: &Screen, scene: Scene) -> Result<()> {
    let kept = Kept {
        host: scene.host_process()?,
        control_plane: scene.free_control_plane(),
        kubeconfig: scene.cluster()?.kubeconfig.clone(),
        namespace: scene.namespace.clone(),
    };
    fs::write(record(&scene.folder), serde_json::to_vec_pretty(&kept)?)?;
    let control_plane = kept.control_plane.map(|process| format!(", the control plane is process {}", process.pid));
    let kubectl = scene.kubectl_words().join(" ");
    let text = format!(
        "\nThe node and its pods stay. To talk to them:\n\n   \
         export KUBECONFIG={kubeconfig}\n   \
         {alias}\
         kubectl -n {namespace} get pods -o wide\n\n\
         vk-host is process {host}{control_plane}; the logs are {logs}.\n\
         To end it all: just demo --stop (or {own} --stop)",
        kubeconfig = kept.kubeconfig.display(),
        alias = if kubectl == "kubectl" { String::new() } else { format!("alias kubectl='{kubectl}'\n   ") },
        namespace = kept.namespace,
        host = kept.host.pid,
        control_plane = control_plane.unwrap_or_default(),
        logs = scene.logs(),
        own = short(&std::env::current_exe()?),
    );
    Ok(screen.line(&text)?)
}

/// An error if there is something left that runs.
pub fn refuse_if_any(folder: &Path) -> Result<()> {
    match read(folder)? {
        Some(kept) if kept.host.is_alive() || kept.control_plane.is_some_and(|process| process.is_alive()) => {
            bail!("a kept demo runs (vk-host is process {}): end it with `just demo --stop`", kept.host.pid)
        }
        // The machine was started anew, or somebody ended it another way.
        Some(_) => Ok(fs::remove_file(record(folder))?),
        None => Ok(()),
    }
}

/// Ends what was left.
pub async fn stop(folder: &Path) -> Result<()> {
    let screen = Screen::new();
    let Some(kept) = read(folder)? else { return Ok(screen.line("There is no kept demo.")?) };
    let elsewhere = if kept.control_plane.is_none() { Some(cluster::client(&kept.kubeconfig).await?) } else { None };
    if let Some(client) = &elsewhere {
        remove_namespace(client, &kept.namespace)
            .await
            .with_context(|| format!("remove namespace {}", kept.namespace))?;
    }
    kept.host.end(STOP_LIMIT)?;
    if let Some(client) = &elsewhere {
        remove_node(client).await?;
    }
    if let Some(process) = kept.control_plane {
        stop_free(process, &folder.join("control-plane"))?;
    }
    fs::remove_file(record(folder))?;
    Ok(screen.line("The kept demo has ended.")?)
}

fn record(folder: &Path) -> PathBuf {
    folder.join("kept.json")
}

fn read(folder: &Path) -> Result<Option<Kept>> {
    match fs::read(record(folder)) {
        Ok(text) => {
            Ok(Some(serde_json::from_slice(&text).with_context(|| format!("read {}", record(folder).display()))?))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
