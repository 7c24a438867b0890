//! What the demo plays on: a control plane of its own or a cluster that was named, a host, and kubectl.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use serde_json::Value;

use super::screen::short;
use crate::cluster::{self, within};
use crate::control_plane::{self, ControlPlane, succeed};
use crate::host;
use crate::process::{Process, Tie, in_own_session};

/// The node's name, which the Deployment asks for.
pub const NODE: &str = "vk-demo";
/// As long as a control plane may take that starts while both cores compile.
const START_LIMIT: Duration = Duration::from_secs(130);
/// A host stops in well under a second; the rest is for its provider's `stop`.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// The namespace controller waits some seconds between its looks.
const REMOVAL_LIMIT: Duration = Duration::from_secs(60);

/// What is there. Parts that were not started yet, or were stopped, are `None`.
pub struct Scene {
    /// Files of the demo.
    pub folder: PathBuf,
    /// Whether what is started outlives the demo.
    pub keep: bool,
    /// The namespace to make.
    pub namespace: String,
    /// The namespace was made.
    pub namespace_made: bool,
    plugin: PathBuf,
    existing: Option<PathBuf>,
    kubectl: Kubectl,
    cluster: Option<Cluster>,
    host: Option<Child>,
    node_made: bool,
}

/// A control plane that answers.
pub struct Cluster {
    /// Its Kubernetes version.
    pub version: String,
    /// Its address.
    pub server: String,
    /// As administrator.
    pub kubeconfig: PathBuf,
    /// As the node.
    node_kubeconfig: PathBuf,
    running: Running,
}

enum Running {
    Tied(ControlPlane),
    Free(Process),
    Elsewhere,
}

/// How kubectl is called.
pub struct Kubectl {
    /// The program and the arguments that make it kubectl.
    pub words: Vec<String>,
    /// The home to use instead of the user's.
    home: Option<PathBuf>,
    cache: PathBuf,
}

impl Scene {
    /// Looks for what is needed, and builds the control plane's program if need be. Starts nothing.
    pub fn new(folder: PathBuf, existing: Option<PathBuf>, plugin: Option<PathBuf>, keep: bool) -> Result<Self> {
        host::program()?;
        let plugin = plugin.map_or_else(|| host::plugin("mock"), Ok)?;
        ensure!(plugin.is_file(), "there is no plugin {}", plugin.display());
        let plugin = plugin.canonicalize()?;
        let existing = existing.map(|file| file.canonicalize().with_context(|| format!("read {}", file.display())));
        let existing = existing.transpose()?;
        let namespace =
            if existing.is_some() { format!("vk-demo-{}", std::process::id()) } else { "vk-demo".to_owned() };
        let kubectl = Kubectl::find(&folder, existing.is_some())?;
        let (namespace_made, node_made) = (false, false);
        Ok(Self {
            folder,
            keep,
            namespace,
            namespace_made,
            plugin,
            existing,
            kubectl,
            cluster: None,
            host: None,
            node_made,
        })
    }

    /// Where to look when something went wrong.
    pub fn logs(&self) -> String {
        let host = short(&self.folder.join("vk-host.log"));
        if self.existing.is_some() {
            host
        } else {
            format!("{host} and {}/*.log", short(&self.folder.join("control-plane")))
        }
    }

    /// A control plane of one's own is started.
    pub fn starts_cluster(&self) -> bool {
        self.existing.is_none()
    }

    /// Starts the control plane, or finds the one that was named.
    pub async fn start_cluster(&mut self) -> Result<&Cluster> {
        let dir = self.folder.join("control-plane");
        let cluster = match &self.existing {
            Some(kubeconfig) => Cluster::existing(kubeconfig).await?,
            None if self.keep => Cluster::start_free(&dir).await?,
            None => Cluster::start_tied(&dir)?,
        };
        Ok(self.cluster.insert(cluster))
    }

    /// The control plane.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context("there is no cluster")
    }

    /// A kubectl command, without the shell's view of it.
    pub fn kubectl(&self, args: &[&str]) -> Result<Command> {
        Ok(self.kubectl.command(&self.cluster()?.kubeconfig, args))
    }

    /// How kubectl is called.
    pub fn kubectl_words(&self) -> &[String] {
        &self.kubectl.words
    }

    /// Starts the host and returns the words of its command.
    pub fn start_host(&mut self) -> Result<Vec<String>> {
        let (state, log) = (self.folder.join("state"), self.folder.join("vk-host.log"));
        // The state belongs to one cluster, and this one is new.
        if state.exists() {
            fs::remove_dir_all(&state).context("remove the last demo's state")?;
        }
        let cluster = self.cluster()?;
        let mut command = Command::new(Path::new(".").join(short(&host::program()?)));
        command.arg("--plugin").arg(short(&self.plugin)).arg("--nodename").arg(NODE);
        command.arg("--kubeconfig").arg(short(&cluster.node_kubeconfig));
        command
            .arg("--state-dir")
            .arg(short_new(&state))
            .arg("--cache-dir")
            .arg(short_new(&host::target().join("compiled")));
        command.args(["--port", "0"]);
        if self.starts_cluster() {
            command.args(["--address", "127.0.0.1"]);
        }
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words = words.map(|word| word.to_string_lossy().into_owned()).collect();
        command.env_remove("KUBECONFIG");
        let tie = if self.keep { Tie::Free } else { Tie::Parent };
        let mut command = in_own_session(&command, tie)?;
        let log = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.host = Some(command.spawn().context("start vk-host")?);
        self.node_made = true;
        Ok(words)
    }

    /// An error with the end of its log, if the host does not run.
    pub fn host_runs(&mut self) -> Result<()> {
        let status = self.host.as_mut().context("vk-host was not started")?.try_wait()?;
        if let Some(status) = status {
            let log = fs::read_to_string(self.folder.join("vk-host.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(5).collect();
            bail!("vk-host ended ({status}): {}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        Ok(())
    }

    /// The host's process.
    pub fn host_process(&self) -> Result<Process> {
        Process::of(self.host.as_ref().context("vk-host was not started")?.id())
    }

    /// The control plane's process, if it is to outlive the demo.
    pub fn free_control_plane(&self) -> Option<Process> {
        match self.cluster.as_ref()?.running {
            Running::Free(process) => Some(process),
            Running::Tied(_) | Running::Elsewhere => None,
        }
    }

    /// Stops the host and returns how it ended.
    pub fn stop_host(&mut self) -> Result<ExitStatus> {
        let mut host = self.host.take().context("vk-host was not started")?;
        let in_time = match Process::of(host.id()) {
            Ok(process) => process.end(STOP_LIMIT)?,
            Err(_) => true,
        };
        let status = host.wait()?;
        ensure!(in_time, "vk-host did not end within {STOP_LIMIT:?} and was killed");
        Ok(status)
    }

    /// The node was removed by the story.
    pub fn node_removed(&mut self) {
        self.node_made = false;
    }

    /// Stops the control plane, if it is the demo's own, and returns how many processes are gone.
    pub fn stop_cluster(&mut self) -> Result<usize> {
        match self.cluster.take().map(|cluster| cluster.running) {
            Some(Running::Tied(control_plane)) => {
                let processes = processes(control_plane.dir())?;
                drop(control_plane);
                all_gone(&processes)
            }
            Some(Running::Free(process)) => stop_free(process, &self.folder.join("control-plane")),
            Some(Running::Elsewhere) | None => Ok(0),
        }
    }

    /// Removes what is there, whatever the story was about.
    pub async fn clear(mut self) -> Result<()> {
        let elsewhere = !self.starts_cluster();
        let mut first = Ok(());
        let mut note = |result: Result<()>| {
            if first.is_ok() {
                first = result;
            }
        };
        let client = match &self.cluster {
            Some(cluster) if elsewhere => Some(cluster::client(&cluster.kubeconfig).await),
            _ => None,
        };
        // Before the host stops: it is who says that the pods have ended.
        if let (Some(Ok(client)), true) = (&client, self.namespace_made) {
            note(remove_namespace(client, &self.namespace).await);
        }
        if self.host.is_some() {
            note(self.stop_host().map(drop));
        }
        if let (Some(Ok(client)), true) = (&client, self.node_made) {
            note(remove_node(client).await);
        }
        note(self.stop_cluster().map(drop));
        first
    }
}

impl Cluster {
    async fn existing(kubeconfig: &Path) -> Result<Self> {
        let client = cluster::client(kubeconfig).await?;
        let version = client.apiserver_version().await.context("reach the cluster")?.git_version;
        let nodes: Api<Node> = Api::all(client);
        ensure!(
            nodes.get_opt(NODE).await?.is_none(),
            "the cluster has a node {NODE} already; `kubectl delete node {NODE}`, if it is a demo's"
        );
        let config = kube::config::Kubeconfig::read_from(kubeconfig)?;
        let server = config.clusters.into_iter().find_map(|cluster| cluster.cluster?.server).unwrap_or_default();
        let kubeconfig = kubeconfig.to_owned();
        Ok(Self { version, server, node_kubeconfig: kubeconfig.clone(), kubeconfig, running: Running::Elsewhere })
    }

    fn start_tied(dir: &Path) -> Result<Self> {
        let control_plane = ControlPlane::start(dir)?;
        Ok(Self {
            version: control_plane.version().to_owned(),
            server: control_plane.server().to_owned(),
            kubeconfig: control_plane.admin_kubeconfig().to_owned(),
            node_kubeconfig: control_plane.node_kubeconfig(NODE)?,
            running: Running::Tied(control_plane),
        })
    }

    /// One that does not end with the demo.
    async fn start_free(dir: &Path) -> Result<Self> {
        let program = control_plane::binary()?;
        let mut up = Command::new(&program);
        up.args(["up", "--keep", "--dir"]).arg(dir);
        let (out, log) = (dir.with_extension("json"), dir.with_extension("log"));
        let mut up = in_own_session(&up, Tie::Free)?;
        up.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&log)?);
        let mut child = up.spawn().context("start the control plane")?;
        let process = Process::of(child.id())?;
        let began = Instant::now();
        let ready: Value = loop {
            // The line is written at once, so half a line is not worth a thought but is no JSON either.
            if let Ok(ready) = serde_json::from_slice(&fs::read(&out)?) {
                break ready;
            }
            if child.try_wait()?.is_some() || began.elapsed() > START_LIMIT {
                process.end(STOP_LIMIT)?;
                bail!("the control plane did not start: {}", fs::read_to_string(&log)?.trim());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let text = |name: &str| ready.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let node_kubeconfig = dir.join("node.kubeconfig");
        let mut issue = Command::new(&program);
        issue.arg("kubeconfig").arg("--dir").arg(dir).arg("--out").arg(&node_kubeconfig);
        issue.args(["--user", &format!("system:node:{NODE}"), "--group", "system:nodes"]);
        if let Err(error) = succeed(&mut issue) {
            process.end(STOP_LIMIT)?;
            return Err(error);
        }
        let (kubeconfig, running) = (PathBuf::from(text("kubeconfig")), Running::Free(process));
        Ok(Self { version: text("version"), server: text("server"), kubeconfig, node_kubeconfig, running })
    }
}

impl Kubectl {
    /// The one that is in the control plane's program; for a cluster elsewhere rather the user's own, if there is one.
    fn find(folder: &Path, elsewhere: bool) -> Result<Self> {
        let (home, cache) = ((!elsewhere).then(|| folder.to_owned()), folder.join("kubectl-cache"));
        let own = elsewhere
            && Command::new("kubectl").args(["version", "--client"]).output().is_ok_and(|o| o.status.success());
        let words = if own {
            vec!["kubectl".to_owned()]
        } else {
            vec![control_plane::binary()?.display().to_string(), "kubectl".to_owned()]
        };
        Ok(Self { words, home, cache })
    }

    fn command(&self, kubeconfig: &Path, args: &[&str]) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or("kubectl", String::as_str));
        command.args(words).args(args).env("KUBECONFIG", kubeconfig).env("KUBECACHEDIR", &self.cache);
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        command.stdin(Stdio::null());
        command
    }
}

/// Ends a control plane that was left, and returns how many processes are gone.
pub fn stop_free(process: Process, dir: &Path) -> Result<usize> {
    let processes = processes(dir)?;
    process.end(STOP_LIMIT)?;
    all_gone(&processes).map(|gone| gone + 1)
}

/// Components of the control plane in `dir`, those that still run.
fn processes(dir: &Path) -> Result<Vec<Process>> {
    let file = dir.join("cluster.json");
    let ready: Value = serde_json::from_slice(&fs::read(&file).with_context(|| format!("read {}", file.display()))?)?;
    let pids = ready.get("pids").and_then(Value::as_object).context("cluster.json has no pids")?;
    let pids = pids.values().filter_map(|pid| u32::try_from(pid.as_u64()?).ok());
    Ok(pids.filter_map(|pid| Process::of(pid).ok()).collect())
}

fn all_gone(processes: &[Process]) -> Result<usize> {
    for process in processes {
        ensure!(process.wait_end(STOP_LIMIT), "process {} of the control plane still runs", process.pid);
    }
    Ok(processes.len())
}

/// Removes a namespace of the demo's, with or without a host that ends its pods.
pub async fn remove_namespace(client: &Client, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(name).await?.is_none() {
        return Ok(());
    }
    namespaces.delete(name, &DeleteParams::default()).await?;
    let gone = || async { Ok(namespaces.get_opt(name).await?.is_none().then_some(())) };
    if within(REMOVAL_LIMIT / 2, "the namespace is gone", gone).await.is_ok() {
        return Ok(());
    }
    // Nobody says that the pods have ended: a mock's pods are nowhere but here.
    let pods: Api<Pod> = Api::namespaced(client.clone(), name);
    pods.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default()).await?;
    within(REMOVAL_LIMIT, "the namespace is gone", gone).await
}

/// Removes the demo's node.
pub async fn remove_node(client: &Client) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    if nodes.get_opt(NODE).await?.is_some() {
        nodes.delete(NODE, &DeleteParams::default()).await?;
    }
    Ok(())
}

/// As [`short`], for a path that need not exist yet.
fn short_new(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Path::new(&short(parent)).join(name),
        _ => path.to_owned(),
    }
}
