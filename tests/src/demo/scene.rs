//! What the demo plays on: a control plane of its own or a cluster that was named, an engine where pods are to be containers, a
//! host, and kubectl.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use serde_json::Value;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use super::engine::{Engine, Planned};
use super::failures::Failures;
use super::kept;
use super::provided::{Choice, Provided};
use super::screen::short;
use super::workload::{CONTAINED, PLAYED, Workload};
use crate::cluster::{self, within};
use crate::control_plane::{self, ControlPlane, succeed};
use crate::host::{self, HostConfig, STOP_LIMIT};
use crate::process::{self, Process, Tie};

/// The node's name, which the Deployment asks for.
pub const NODE: &str = "vk-demo";
/// As long as a control plane may take that starts while both cores compile.
const START_LIMIT: Duration = Duration::from_secs(130);
/// How long an engine may take to make the images.
const IMAGES_LIMIT: Duration = Duration::from_secs(60);
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
    /// None: pods are played.
    planned: Option<Planned>,
    engine: Option<Engine>,
    /// Images that are made just now.
    making: Option<JoinHandle<Result<()>>>,
    /// Who provides the pods.
    pub provided: Provided,
    existing: Option<PathBuf>,
    kubectl: Kubectl,
    /// The demo's own, from its start on, whether it answers yet or not.
    control_plane: Option<Running>,
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
}

enum Running {
    /// It ends with the demo.
    Tied(ControlPlane),
    /// It does not.
    Free(Process),
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
    pub fn new(
        folder: PathBuf,
        existing: Option<PathBuf>,
        choice: Choice,
        planned: Option<Planned>,
        keep: bool,
    ) -> Result<Self> {
        host::program()?;
        let provided = choice.provided(workload(&planned).provider)?;
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
            planned,
            engine: None,
            making: None,
            provided,
            existing,
            kubectl,
            control_plane: None,
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

    /// What is rolled out on it.
    pub fn workload(&self) -> &'static Workload {
        workload(&self.planned)
    }

    /// A control plane of one's own is started.
    pub fn starts_cluster(&self) -> bool {
        self.existing.is_none()
    }

    /// Of the cluster that was named.
    pub fn elsewhere(&self) -> Option<&Path> {
        self.existing.as_deref()
    }

    /// Starts the control plane, or finds the one that was named.
    pub async fn start_cluster(&mut self) -> Result<&Cluster> {
        let dir = self.folder.join("control-plane");
        let cluster = if let Some(kubeconfig) = &self.existing {
            let cluster = Cluster::existing(kubeconfig).await?;
            self.note_if_left()?;
            cluster
        } else if self.keep {
            self.start_free(&dir).await?
        } else {
            self.start_tied(&dir)?
        };
        Ok(self.cluster.insert(cluster))
    }

    fn start_tied(&mut self, dir: &Path) -> Result<Cluster> {
        let control_plane = ControlPlane::start(dir)?;
        let cluster = Cluster {
            version: control_plane.version().to_owned(),
            server: control_plane.server().to_owned(),
            kubeconfig: control_plane.admin_kubeconfig().to_owned(),
            node_kubeconfig: control_plane.node_kubeconfig(NODE)?,
        };
        self.control_plane = Some(Running::Tied(control_plane));
        Ok(cluster)
    }

    /// Starts one that does not end with the demo. It is written down before anything is waited for: whatever happens then,
    /// [`clear`](Self::clear) or `--stop` ends it.
    async fn start_free(&mut self, dir: &Path) -> Result<Cluster> {
        let program = control_plane::binary()?;
        let mut up = Command::new(&program);
        up.args(["up", "--keep", "--dir"]).arg(dir);
        let (out, log) = (dir.with_extension("json"), dir.with_extension("log"));
        let mut child = process::start(&up, Tie::Free, File::create(&out)?, File::create(&log)?)?;
        self.control_plane = Some(Running::Free(Process::of(child.id())?));
        self.note_if_left()?;
        let began = Instant::now();
        let ready: Value = loop {
            // The line is written at once, so half a line is not worth a thought but is no JSON either.
            if let Ok(ready) = serde_json::from_slice(&fs::read(&out)?) {
                break ready;
            }
            if child.try_wait()?.is_some() || began.elapsed() > START_LIMIT {
                bail!("the control plane did not start: {}", fs::read_to_string(&log)?.trim());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let text = |name: &str| ready.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let node_kubeconfig = dir.join("node.kubeconfig");
        let mut issue = Command::new(&program);
        issue.arg("kubeconfig").arg("--dir").arg(dir).arg("--out").arg(&node_kubeconfig);
        issue.args(["--user", &format!("system:node:{NODE}"), "--group", "system:nodes"]);
        succeed(&mut issue)?;
        let kubeconfig = PathBuf::from(text("kubeconfig"));
        Ok(Cluster { version: text("version"), server: text("server"), kubeconfig, node_kubeconfig })
    }

    /// Writes down what would stay if the demo were killed now.
    fn note_if_left(&self) -> Result<()> {
        let at_engine = self.engine.as_ref().is_some_and(Engine::is_users);
        if self.keep || at_engine { kept::note(self) } else { Ok(()) }
    }

    /// Pods are containers of an engine.
    pub fn has_engine(&self) -> bool {
        self.planned.is_some()
    }

    /// That of the user's; otherwise one is started.
    pub fn has_users_engine(&self) -> bool {
        self.planned.as_ref().is_some_and(Planned::is_users)
    }

    /// Starts the engine, or finds the user's.
    pub async fn start_engine(&mut self, client: &Client) -> Result<()> {
        let planned = self.planned.as_ref().context("no engine was asked for")?;
        self.engine = Some(planned.begin(client).await?);
        self.note_if_left()
    }

    /// Makes the images of the demo, to the end though this is interrupted: an engine makes what it was asked for also when nobody
    /// waits for it, and then it would be there after all had been removed.
    pub async fn make_images(&mut self) -> Result<()> {
        let planned = self.planned.as_ref().context("no engine was asked for")?;
        let making = planned.make_images(self.engine()?);
        let result = made(self.making.insert(tokio::spawn(making))).await;
        self.making = None;
        result
    }

    /// The engine that is used.
    pub fn engine(&self) -> Result<&Engine> {
        self.engine.as_ref().context("no engine is used")
    }

    /// Removes from the engine what the demo has made, and ends an engine of its own.
    pub async fn leave_engine(&mut self) -> Result<()> {
        self.engine()?.traces().remove().await?;
        self.engine = None;
        Ok(())
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
        let config = HostConfig {
            node: NODE.to_owned(),
            plugin: self.provided.plugin.clone(),
            kubeconfig: self.cluster()?.node_kubeconfig.clone(),
            state_dir: state,
            provider_config: self.engine.as_ref().map(Engine::provider_config).or(self.provided.config.clone()),
            loopback: self.starts_cluster(),
            flags: self.engine.iter().flat_map(Engine::flags).chain(self.provided.flags.clone()).collect(),
            variables: self.provided.variables.clone(),
        };
        let command = config.command()?;
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words = words.map(|word| short(Path::new(word))).collect();
        let tie = if self.keep { Tie::Free } else { Tie::Asked };
        let log = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        self.host = Some(process::start(&command, tie, log.try_clone()?, log)?);
        self.node_made = true;
        self.note_if_left()?;
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
        match self.control_plane.as_ref()? {
            Running::Free(process) => Some(*process),
            Running::Tied(_) => None,
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
        match self.control_plane.take() {
            Some(Running::Tied(control_plane)) => {
                let processes = processes(control_plane.dir());
                drop(control_plane);
                all_gone(&processes?)
            }
            Some(Running::Free(process)) => stop_free(process, &self.folder.join("control-plane")),
            None => Ok(0),
        }
    }

    /// Removes what is there, whatever the story was about. The error tells all that could not be removed.
    pub async fn clear(mut self) -> Result<()> {
        let mut failures = Failures::default();
        if let Some(making) = self.making.take() {
            failures.note("make the images", made(making).await);
        }
        // One of the demo's own ends with all that is in it, as the control plane does.
        let engine = self.engine.take();
        let users_engine = engine.as_ref().filter(|engine| engine.is_users());
        let client = match &self.cluster {
            Some(cluster)
                if (self.existing.is_some() || users_engine.is_some()) && (self.namespace_made || self.node_made) =>
            {
                failures.note("use the cluster", cluster::client(&cluster.kubeconfig).await)
            }
            _ => None,
        };
        // Before the host stops: it is who ends the pods, and says so.
        if let (Some(client), true) = (&client, self.namespace_made) {
            let what = format!("remove namespace {}", self.namespace);
            failures.note(&what, remove_namespace(client, &self.namespace).await);
        }
        if self.host.is_some() {
            failures.note("stop vk-host", self.stop_host());
        }
        if let (Some(client), true) = (&client, self.node_made) {
            failures.note("remove the node", remove_node(client).await);
        }
        failures.note("stop the control plane", self.stop_cluster());
        if let Some(engine) = users_engine {
            failures.note("clear the container engine", engine.traces().remove().await);
        }
        failures.into_result()?;
        kept::forget(&self.folder)
    }
}

async fn made(making: impl Future<Output = Result<Result<()>, JoinError>>) -> Result<()> {
    timeout(IMAGES_LIMIT, making).await.context("the engine hangs")??
}

fn workload(planned: &Option<Planned>) -> &'static Workload {
    if planned.is_some() { &CONTAINED } else { &PLAYED }
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
        let server = cluster::config(kubeconfig).await?.cluster_url.to_string();
        let kubeconfig = kubeconfig.to_owned();
        Ok(Self { version, server, node_kubeconfig: kubeconfig.clone(), kubeconfig })
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
    let processes = processes(dir);
    process.end(STOP_LIMIT)?;
    all_gone(&processes?).map(|gone| gone + 1)
}

/// Components of the control plane in `dir`, those that still run. One that has not come up yet does not say which they are;
/// they end with it all the same.
fn processes(dir: &Path) -> Result<Vec<Process>> {
    let file = dir.join("cluster.json");
    let text = match fs::read(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| format!("read {}", file.display()))?,
    };
    let ready: Value = serde_json::from_slice(&text)?;
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
