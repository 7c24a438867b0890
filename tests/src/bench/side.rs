//! What is measured: a node, as a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::cluster::condition;
use crate::control_plane::ControlPlane;
use crate::host::{self, HostConfig, STOP_LIMIT};
use crate::process::{self, Process, Tie, Usage};

/// A first start compiles the plugin.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How often it is looked whether a side still runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A node that takes all pods of the largest run.
const PROVIDER_CONFIG: &str = "cpu = \"1000\"\nmemory = \"10Ti\"\npods = \"10000\"\n";

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The least a node can do.
    Bare,
    /// `vk-host` with the mock.
    VkHost,
}

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::VkHost => "vk-host",
        }
    }
}

/// A running node.
pub struct Side {
    node: String,
    user: String,
    child: Child,
    process: Process,
    log: PathBuf,
    started: Instant,
}

impl Side {
    /// Starts it, as a node that is new to the cluster.
    pub fn start(kind: Kind, index: usize, control_plane: &ControlPlane, sides: &Path) -> Result<Self> {
        Self::of(&format!("{}-{index}", kind.name()), control_plane, sides, |node, kubeconfig, folder| match kind {
            Kind::Bare => bare(node, &kubeconfig),
            Kind::VkHost => vk_host(node, kubeconfig, folder),
        })
    }

    /// Starts a node of this name by a command for it, its kubeconfig and a folder of its own.
    pub fn of(
        node: &str,
        control_plane: &ControlPlane,
        sides: &Path,
        command: impl FnOnce(&str, PathBuf, PathBuf) -> Result<Command>,
    ) -> Result<Self> {
        let kubeconfig = control_plane.node_kubeconfig(node)?;
        let folder = sides.join(node);
        fs::create_dir_all(&folder)?;
        let log = folder.with_extension("log");
        let command = command(node, kubeconfig, folder)?;
        let out = File::create(&log)?;
        let started = Instant::now();
        let child = process::start(&command, Tie::Asked, out.try_clone()?, out)?;
        let process = Process::of(child.id())?;
        Ok(Self { node: node.to_owned(), user: format!("system:node:{node}"), child, process, log, started })
    }

    /// Its node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// As the API server knows it.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Waits until a watch tells that the node is Ready, and says how long that took from its start.
    pub async fn ready(&self, client: &Client) -> Result<Duration> {
        let nodes: Api<Node> = Api::all(client.clone());
        let params = WatchParams::default().fields(&format!("metadata.name={}", self.node));
        let ready = async {
            loop {
                // The node is new to the cluster: no old state can be told.
                if let Ok(events) = nodes.watch(&params, "0").await {
                    let mut events = std::pin::pin!(events);
                    while let Ok(Some(event)) = events.try_next().await {
                        let (WatchEvent::Added(node) | WatchEvent::Modified(node)) = event else { continue };
                        if condition(&node, "Ready").as_deref() == Some("True") {
                            return self.started.elapsed();
                        }
                    }
                }
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(READY_LIMIT, ready).await.with_context(|| format!("{} is not Ready within {READY_LIMIT:?}", self.node))
    }

    /// Waits for an end that nobody asked for, and says where to look for its reason.
    pub async fn lost(&self) -> anyhow::Error {
        while self.process.is_alive() {
            sleep(LOOK_EVERY).await;
        }
        anyhow::anyhow!("{} has ended, see {}", self.node, self.log.display())
    }

    /// What it uses.
    pub fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    /// Ends it and removes its node.
    pub async fn end(mut self, client: &Client) -> Result<()> {
        self.process.end(STOP_LIMIT)?;
        self.child.wait()?;
        Api::<Node>::all(client.clone()).delete(&self.node, &DeleteParams::default()).await?;
        Ok(())
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.process.end(STOP_LIMIT);
        let _ = self.child.wait();
    }
}

fn bare(node: &str, kubeconfig: &Path) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare", "--node", node]).arg("--kubeconfig").arg(kubeconfig);
    Ok(command)
}

/// As operators run it: the log says no more than by default.
fn vk_host(node: &str, kubeconfig: PathBuf, state_dir: PathBuf) -> Result<Command> {
    let config = HostConfig {
        node: node.to_owned(),
        plugin: host::plugin("mock")?,
        kubeconfig,
        state_dir,
        provider_config: Some(PROVIDER_CONFIG.to_owned()),
        loopback: true,
        flags: Vec::new(),
        variables: Vec::new(),
    };
    config.command()
}
