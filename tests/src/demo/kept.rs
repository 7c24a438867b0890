//! What `--keep` leaves, and `--stop` ends: `target/demo/kept.json` says which processes it is, and what is at an engine.
//!
//! It is written as soon as there is something, not only once the demo has come to its end: whatever becomes of the demo
//! meanwhile, `--stop` finds what it has started. What is at the user's engine would stay without `--keep` too if the demo were
//! killed, so it is written down in any case.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::engine::{Engine, Traces};
use super::failures::Failures;
use super::scene::{Scene, remove_namespace, remove_node, stop_free};
use super::screen::{Screen, short};
use crate::cluster;
use crate::host::STOP_LIMIT;
use crate::process::Process;

/// The record.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// None: it was not started yet.
    host: Option<Process>,
    /// None: the cluster is not the demo's.
    control_plane: Option<Process>,
    /// Of a cluster that is not the demo's, from which namespace and node are to be removed.
    elsewhere: Option<PathBuf>,
    namespace: String,
    /// None: nothing is at an engine that outlives the demo.
    engine: Option<Traces>,
}

impl Kept {
    fn runs(&self) -> bool {
        [self.host, self.control_plane].iter().flatten().any(Process::is_alive)
    }
}

/// Writes down what there is of the scene.
pub fn note(scene: &Scene) -> Result<()> {
    let kept = Kept {
        host: scene.host_process().ok(),
        control_plane: scene.free_control_plane(),
        elsewhere: scene.elsewhere().map(Path::to_path_buf),
        namespace: scene.namespace.clone(),
        engine: scene.engine().ok().filter(|engine| engine.is_users()).map(Engine::traces).cloned(),
    };
    let file = record(&scene.folder);
    let new = file.with_extension("new");
    fs::write(&new, serde_json::to_vec_pretty(&kept)?).with_context(|| format!("write {}", new.display()))?;
    Ok(fs::rename(new, file)?)
}

/// Nothing is left of it.
pub fn forget(folder: &Path) -> Result<()> {
    match fs::remove_file(record(folder)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.context("remove the record of what was kept"),
    }
}

/// Says what the user can do now.
pub fn leave(screen: &Screen, scene: &Scene) -> Result<()> {
    note(scene)?;
    let control_plane = scene.free_control_plane();
    let control_plane = control_plane.map(|process| format!(", the control plane is process {}", process.pid));
    let engine = scene.engine().ok().map(|engine| format!("   {}\n", engine.list_command()));
    let kubectl = scene.kubectl_words().join(" ");
    let text = format!(
        "\nThe node and its pods stay. To talk to them:\n\n   \
         export KUBECONFIG={kubeconfig}\n   \
         {alias}\
         kubectl -n {namespace} get pods -o wide\n{engine}\n\
         vk-host is process {host}{control_plane}; the logs are {logs}.\n\
         To end it all: just demo --stop (or {own} --stop)",
        kubeconfig = scene.cluster()?.kubeconfig.display(),
        alias = if kubectl == "kubectl" { String::new() } else { format!("alias kubectl='{kubectl}'\n   ") },
        namespace = scene.namespace,
        engine = engine.unwrap_or_default(),
        host = scene.host_process()?.pid,
        control_plane = control_plane.unwrap_or_default(),
        logs = scene.logs(),
        own = short(&std::env::current_exe()?),
    );
    Ok(screen.line(&text)?)
}

/// An error if there is something left that runs.
pub fn refuse_if_any(folder: &Path) -> Result<()> {
    match read(folder)? {
        Some(kept) if kept.runs() => {
            bail!("a kept demo runs, says {}: end it with `just demo --stop`", record(folder).display())
        }
        Some(Kept { engine: Some(traces), .. }) => {
            let (engine, record) = (traces.address(), record(folder));
            bail!(
                "an earlier demo has left something at {engine}, says {}: remove it with `just demo --stop`",
                record.display()
            )
        }
        // The machine was started anew, or somebody ended it another way.
        _ => forget(folder),
    }
}

/// Ends what was left, as much of it as can be.
pub async fn stop(folder: &Path) -> Result<()> {
    let screen = Screen::new();
    let Some(kept) = read(folder)? else { return Ok(screen.line("There is no kept demo.")?) };
    let mut failures = Failures::default();
    let elsewhere = match &kept.elsewhere {
        Some(kubeconfig) => failures.note("use the cluster", cluster::client(kubeconfig).await),
        None => None,
    };
    // Before the host ends: it is who says that the pods have ended.
    if let Some(client) = &elsewhere {
        let what = format!("remove namespace {}", kept.namespace);
        failures.note(&what, remove_namespace(client, &kept.namespace).await);
    }
    if let Some(host) = kept.host {
        failures.note("stop vk-host", host.end(STOP_LIMIT));
    }
    if let Some(client) = &elsewhere {
        failures.note("remove the node", remove_node(client).await);
    }
    if let Some(process) = kept.control_plane {
        failures.note("stop the control plane", stop_free(process, &folder.join("control-plane")));
    }
    if let Some(traces) = &kept.engine {
        failures.note("clear the container engine", traces.remove().await);
    }
    failures.into_result()?;
    forget(folder)?;
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
