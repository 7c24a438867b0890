//! What is measured: a node, as a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::DeleteParams;
use kube::{Api, Client};
use serde::Serialize;

use crate::cluster::{condition, within};
use crate::control_plane::ControlPlane;
use crate::host;
use crate::process::{Process, Tie, Usage, in_own_session};

/// A first start compiles the plugin.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// As for any host.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// A node that takes all pods of a run.
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
}

impl Side {
    /// Starts it, as a node that is new to the cluster. Call it on the main thread, which it is tied to.
    pub fn start(kind: Kind, index: usize, control_plane: &ControlPlane, sides: &Path) -> Result<Self> {
        let node = format!("{}-{index}", kind.name());
        let kubeconfig = control_plane.node_kubeconfig(&node)?;
        let folder = sides.join(&node);
        fs::create_dir_all(&folder)?;
        let command = match kind {
            Kind::Bare => bare(&node, &kubeconfig)?,
            Kind::VkHost => vk_host(&node, &kubeconfig, &folder)?,
        };
        let log = folder.with_extension("log");
        let out = File::create(&log)?;
        let mut command = in_own_session(&command, Tie::Parent)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("start {node}"))?;
        let process = Process::of(child.id())?;
        Ok(Self { user: format!("system:node:{node}"), node, child, process, log })
    }

    /// Its node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// As the API server knows it.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Waits until the node is Ready.
    pub async fn ready(&self, client: &Client) -> Result<()> {
        let nodes: Api<Node> = Api::all(client.clone());
        let ready = within(READY_LIMIT, "the node is Ready", || async {
            if !self.process.is_alive() {
                return Ok(Some(false));
            }
            let node = nodes.get_opt(&self.node).await?;
            Ok(node.filter(|node| condition(node, "Ready").as_deref() == Some("True")).map(|_| true))
        });
        ensure!(ready.await?, "{} has ended, see {}", self.node, self.log.display());
        Ok(())
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
fn vk_host(node: &str, kubeconfig: &Path, folder: &Path) -> Result<Command> {
    let config = folder.with_extension("toml");
    fs::write(&config, PROVIDER_CONFIG)?;
    let mut command = Command::new(host::program()?);
    command.args(["--nodename", node, "--address", "127.0.0.1", "--port", "0"]);
    command.arg("--plugin").arg(host::plugin("mock")?).arg("--provider-config").arg(config);
    command.arg("--kubeconfig").arg(kubeconfig).arg("--state-dir").arg(folder);
    command.arg("--cache-dir").arg(host::target().join("compiled"));
    command.env_remove("KUBECONFIG");
    Ok(command)
}
