//! One run of one side: its pods from the first call to the last trace, with what the clients and the engine used meanwhile.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde_json::json;
use tokio::time::sleep;

use super::super::load::{Latency, Load, Pace, Spans, Template};
use super::super::requests::Requests;
use super::super::side::{Kind, Side};
use super::super::{AFTERGLOW, WARM_UP, client};
use super::bare::Bare;
use super::counter::{Calls, Counter};
use super::{COMMAND, CONTAINER, Content};
use crate::cluster::{create_namespace, within};
use crate::control_plane::ControlPlane;
use crate::engine::proxy::Proxy;
use crate::engine::{Engine, tagged};
use crate::host::{HostConfig, plugin};
use crate::process::Process;

/// A node that takes all pods of a run, and the one before.
const PROVIDER_CONFIG: &str = "pods = 1000\n";
/// How long the engine may take to remove all of them.
const REMOVAL: Duration = Duration::from_secs(300);

/// One run of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) pods: usize,
    pub(super) content: Content,
    pub(super) round: u16,
    pub(super) kind: Kind,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pods, content, round, kind } = self;
        write!(f, "{pods} {} pods on an engine, {} ", content.name(), kind.name())?;
        if *round == WARM_UP { write!(f, "(counted)") } else { write!(f, "(round {round})") }
    }
}

/// A side in one round. Times are seconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub(super) side: Kind,
    pub(super) content: Content,
    pub(super) pods: usize,
    pub(super) round: u16,
    /// From the first call, or the first create, until the last pod is known to run.
    pub(super) running: f64,
    /// The same of each pod.
    pub(super) latency: Latency,
    /// From delete to gone, as a watch of the API server tells it; none: nobody told.
    pub(super) gone: Option<Latency>,
    /// Processor time until all run, of `vk-host` or the bare client.
    pub(super) cpu: f64,
    /// The same of the engine: `dockerd` and its `containerd`, without the short-lived programs that they start.
    pub(super) engine_cpu: f64,
    /// The same of the control plane and, beside `vk-host`, of who creates the pods and watches them.
    pub(super) cluster_cpu: f64,
    /// What `vk-host` has asked the API server for until all run.
    pub(super) requests: Option<Requests>,
}

/// What a side has asked the engine for.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Counted {
    pub(super) side: Kind,
    pub(super) content: Content,
    pub(super) pods: usize,
    /// Until all run.
    pub(super) running: Calls,
    /// From then until all are gone.
    pub(super) gone: Calls,
}

impl Counted {
    fn of(planned: Planned, [running, gone]: [Calls; 2]) -> Self {
        let Planned { pods, content, kind: side, .. } = planned;
        Self { side, content, pods, running, gone }
    }

    /// So many of all pods, a pod.
    pub(super) fn a_pod(&self, count: u32) -> f64 {
        f64::from(count) / self.pods.max(1) as f64
    }
}

/// What all runs stand on.
pub(super) struct Bench {
    engine: Engine,
    containerd: Process,
    control_plane: ControlPlane,
    components: Vec<Process>,
    own: Process,
    client: kube::Client,
    namespace: String,
    sides: PathBuf,
}

impl Bench {
    pub(super) async fn start(folder: &Path) -> Result<Self> {
        let engine = Engine::own("engine").await?;
        let control_plane = ControlPlane::start(&folder.join("control-plane"))?;
        let client = client::connect(control_plane.admin_kubeconfig(), "vk-bench").await?;
        let namespace = create_namespace(&client, "bench").await?;
        let containerd = containerd().context("the engine has no containerd")?;
        let components = control_plane.pids()?.values().map(|pid| Process::of(*pid)).collect::<Result<_>>()?;
        let (own, sides) = (Process::of(std::process::id())?, folder.join("sides"));
        Ok(Self { engine, containerd, control_plane, components, own, client, namespace, sides })
    }

    /// Version of Kubernetes, and of the engine.
    pub(super) async fn versions(&self) -> Result<(String, String)> {
        let version = self.engine.api().get("/version").await?;
        let engine = version.get("Version").and_then(|version| version.as_str()).context("it has no version")?;
        Ok((self.control_plane.version().to_owned(), engine.to_owned()))
    }

    /// Counts what a side asks of the engine, by a proxy that is in its way.
    pub(super) async fn count(&self, index: usize, planned: Planned) -> Result<Counted> {
        let counter = Counter::default();
        let noted = counter.clone();
        let proxy = Proxy::before(&self.engine, &format!("run-{index}"), move |asked| noted.note(asked))?;
        self.run(index, planned, proxy.socket(), &counter).await.map(|(_, counted)| counted)
    }

    /// Measures a side, which speaks to the engine itself.
    pub(super) async fn time(&self, index: usize, planned: Planned) -> Result<Run> {
        self.run(index, planned, &self.engine.socket(), &Counter::default()).await.map(|(run, _)| run)
    }

    async fn run(&self, index: usize, planned: Planned, socket: &Path, counter: &Counter) -> Result<(Run, Counted)> {
        let node = format!("{}-{index}", planned.kind.name());
        let measured = match planned.kind {
            Kind::Bare => self.bare(&node, planned, socket, counter).await?,
            Kind::VkHost => {
                let side = Side::of(&node, &self.control_plane, &self.sides, |node, kubeconfig, state_dir| {
                    vk_host(node, kubeconfig, state_dir, socket)
                })?;
                let measured = tokio::select! {
                    measured = self.vk_host(&side, planned, counter) => measured?,
                    error = side.lost() => return Err(error),
                };
                side.end(&self.client).await?;
                measured
            }
        };
        Ok(measured)
    }

    async fn bare(&self, node: &str, planned: Planned, socket: &Path, counter: &Counter) -> Result<(Run, Counted)> {
        let Planned { pods, content, .. } = planned;
        let mut bare = Bare::new(socket, node, pods, content).await?;
        counter.take();
        let before = self.used(None)?;
        let running = bare.create().await?;
        let used = self.used(None)?.since(before);
        sleep(AFTERGLOW).await;
        let until_running = counter.take();
        bare.delete().await?;
        self.emptied(node).await?;
        let counted = [until_running, counter.take()];
        let run = run(planned, &running, used);
        Ok((run, Counted::of(planned, counted)))
    }

    async fn vk_host(&self, side: &Side, planned: Planned, counter: &Counter) -> Result<(Run, Counted)> {
        let Planned { pods, content, .. } = planned;
        side.ready(&self.client).await?;
        let template = template(&self.namespace, side.node(), content);
        let load = async |prefix: &str, pods| {
            let prefix = format!("{}-{prefix}", side.node());
            Load::start(&self.client, &self.namespace, &prefix, pods, Pace::AtOnce, template.clone()).await
        };
        // What is done once for all pods of a host, or of an engine, is no part of what a pod costs.
        let mut first = load("first", 1).await?;
        first.create().await?;
        first.delete().await?;
        self.emptied(side.node()).await?;
        drop(first);
        let mut load = load("pod", pods).await?;
        sleep(AFTERGLOW).await;
        counter.take();
        let audit_log = self.control_plane.audit_log();
        let (end, began) = (audit_log.end(), Timestamp::now());
        let before = self.used(Some(side))?;
        let running = load.create().await?;
        let used = self.used(Some(side))?.since(before);
        sleep(AFTERGLOW).await;
        let until_running = counter.take();
        audit_log.wait_flushed(&self.control_plane)?;
        let requests = Requests::of(side.user(), began, end, &self.control_plane)?;
        let gone = load.delete().await?;
        self.emptied(side.node()).await?;
        let counted = [until_running, counter.take()];
        let run = Run { gone: Some(gone.latency()), requests: Some(requests), ..run(planned, &running, used) };
        Ok((run, Counted::of(planned, counted)))
    }

    /// What was used so far. Without a side this process is the client, and else it belongs to the cluster.
    fn used(&self, side: Option<&Side>) -> Result<Used> {
        let own = self.own.usage()?.cpu;
        let mut cluster = Duration::ZERO;
        for component in &self.components {
            cluster += component.usage()?.cpu;
        }
        let engine = self.engine.process()?.usage()?.cpu + self.containerd.usage()?.cpu;
        Ok(match side {
            Some(side) => Used { client: side.usage()?.cpu, engine, cluster: cluster + own },
            None => Used { client: own, engine, cluster },
        })
    }

    /// Waits until the engine has nothing of a node any more, so that no side finds what the other has left.
    async fn emptied(&self, node: &str) -> Result<()> {
        let api = self.engine.api();
        within(REMOVAL, "the engine has removed all pods", || async {
            let (containers, volumes) = (api.containers(node).await?.len(), api.volumes(node).await?.len());
            ensure!((containers, volumes) == (0, 0), "it has {containers} containers and {volumes} volumes");
            Ok(Some(()))
        })
        .await
    }
}

/// Processor time.
#[derive(Clone, Copy, Debug)]
struct Used {
    client: Duration,
    engine: Duration,
    cluster: Duration,
}

impl Used {
    fn since(self, before: Self) -> Self {
        let Self { client, engine, cluster } = self;
        Self {
            client: client.saturating_sub(before.client),
            engine: engine.saturating_sub(before.engine),
            cluster: cluster.saturating_sub(before.cluster),
        }
    }
}

fn run(planned: Planned, spans: &Spans, used: Used) -> Run {
    let Planned { pods, content, round, kind: side } = planned;
    Run {
        side,
        content,
        pods,
        round,
        running: spans.whole().as_secs_f64(),
        latency: spans.latency(),
        gone: None,
        cpu: used.client.as_secs_f64(),
        engine_cpu: used.engine.as_secs_f64(),
        cluster_cpu: used.cluster.as_secs_f64(),
        requests: None,
    }
}

/// As operators run it.
fn vk_host(node: &str, kubeconfig: PathBuf, state_dir: PathBuf, socket: &Path) -> Result<std::process::Command> {
    let config = HostConfig {
        node: node.to_owned(),
        plugin: plugin("docker")?,
        kubeconfig,
        state_dir,
        provider_config: Some(PROVIDER_CONFIG.to_owned()),
        loopback: true,
        flags: vec!["--endpoint".to_owned(), format!("engine=unix://{}", socket.display())],
        variables: Vec::new(),
    };
    config.command()
}

/// Pods bound to the node, whose container ends when it is asked to.
fn template(namespace: &str, node: &str, content: Content) -> Template {
    let (namespace, node) = (namespace.to_owned(), node.to_owned());
    Arc::new(move |name, _| {
        let token = (content == Content::Minimal).then_some(false);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "nodeName": node,
                "automountServiceAccountToken": token,
                "containers": [{"name": CONTAINER, "image": tagged(1), "command": COMMAND}],
                "tolerations": [{"operator": "Exists"}],
            },
        }))?;
        Ok(pod)
    })
}

/// The one in this namespace of processes.
fn containerd() -> Option<Process> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "containerd");
    Process::of(pids.into_iter().find(is_it)?).ok()
}
