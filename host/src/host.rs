//! The whole host: `Config` → `start` → `run`.
//!
//! Order matters. What can refuse to start does so before anything is written to the cluster: state directory, API server,
//! plugin, port, another host's lease. Only then is the node registered, and only then are pods looked at.

mod configuration;
mod measured;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use tokio::net::{UdpSocket, lookup_host};
use tokio::signal::unix::Signal;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::apiserver::{ApiServer, timed};
use crate::kubelet::serving::Serving;
use crate::kubelet::{self, About, Listening, access};
use crate::metrics::containers::CountedContainers;
use crate::metrics::provider::{Counted, Counts};
use crate::metrics::{self, Registrar};
use crate::node::identity::Identity;
use crate::node::lease::Keeper;
use crate::node::reach::{self, Reach};
use crate::node::taint::Taint;
use crate::node::{self, NodeKeeper};
use crate::plugin::control::Control;
use crate::plugin::grants::Grants;
use crate::plugin::swap::{Outcome, Swapper};
use crate::plugin::{self, Plugin};
use crate::pods::events::Events;
use crate::pods::machine::Machine;
use crate::pods::{self, Pods, resolve};
use crate::provider::Provider;

/// How long the provider's `stop` may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// One read of Service default/kubernetes.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// All that the host is made from; see the flags of [`crate::cli`].
#[derive(Debug)]
#[allow(missing_docs, reason = "each is a flag that cli documents")]
pub struct Config {
    pub plugin: PathBuf,
    pub provider_config: Option<PathBuf>,
    pub grants: Grants,
    pub kubeconfig: Option<PathBuf>,
    pub namespace: Option<String>,
    pub cluster_domain: String,
    pub cluster_dns: Vec<String>,
    pub cluster_id: Option<String>,
    pub node_name: String,
    pub operating_system: String,
    pub taint: TaintConfig,
    pub internal_ip: Option<IpAddr>,
    pub not_ready_after: Option<Duration>,
    pub take_over: bool,
    pub startup_timeout: Option<Duration>,
    pub state_dir: PathBuf,
    pub cache_dir: PathBuf,
    pub listen: SocketAddr,
    pub client_ca: Option<PathBuf>,
    pub serving: Serving,
    pub access: access::Config,
}

/// The node's taint.
#[derive(Clone, Debug)]
pub enum TaintConfig {
    /// None.
    None,
    /// This one.
    Given(Taint),
    /// This one, its value being the provider's name.
    OfProvider(Taint),
}

impl TaintConfig {
    fn of(self, provider: &str) -> Vec<Taint> {
        match self {
            Self::None => Vec::new(),
            Self::Given(taint) => vec![taint],
            Self::OfProvider(taint) => vec![Taint { value: provider.to_string(), ..taint }],
        }
    }
}

/// A host that is ready to be a node.
pub struct Host {
    node_name: String,
    plugin: Arc<Plugin>,
    control: Control,
    /// Tells the node that what the provider says of it may have changed.
    changed: Arc<Notify>,
    provider: Arc<dyn Provider>,
    lease: Keeper,
    node: NodeKeeper,
    pods: Pods,
    kubelet: Listening,
    about: About,
    reviews: Client,
    events: Events,
    reach: watch::Sender<Reach>,
    /// Ends all parts but the lease.
    stop: CancellationToken,
    identity: Identity,
}

impl Config {
    /// Builds the host and takes its node; from then on no other host is it. `hangup` hears SIGHUP, which asks for the plugin's
    /// file to be read anew, from before this begins: it would end the process otherwise.
    pub async fn start(self, hangup: Signal) -> anyhow::Result<Host> {
        let limit = self.startup_timeout;
        let start = async {
            let mut host = self.build(hangup).await?;
            host.take_node().await?;
            Ok(host)
        };
        match limit {
            Some(limit) => tokio::time::timeout(limit, start).await.unwrap_or_else(|_| {
                anyhow::bail!("not started within {limit:?} (--startup-timeout); the log says what it waited for")
            }),
            None => start.await,
        }
    }

    /// Takes what it needs, and refuses what is wrong.
    async fn build(self, hangup: Signal) -> anyhow::Result<Host> {
        let started = Timestamp::now();
        let identity = Identity::open(&self.state_dir)?;
        let server = ApiServer::find(self.kubeconfig.as_deref(), &self.node_name).await?;
        let writes = server.client()?;
        server.check(&writes).await?;
        // First of all: as another node even the lease is out of reach, and the API server would only say that.
        let node_identity = node::is_node_identity(&writes, &self.node_name).await?;
        let mut lease = Keeper::new(server.client()?, &self.node_name, identity.holder(&self.node_name));
        lease.claim(self.take_over).await?;
        let cluster_id = self.cluster_id(&identity, &writes).await?;
        let internal_ip = match self.internal_ip {
            Some(ip) => ip,
            None => address_towards(&server.url())
                .await
                .context("cannot tell this machine's address towards the API server; give --internal-ip")?,
        };
        let node_client = server.client()?;
        let events = Events::start(node_client.clone(), &self.node_name);
        let (told, changed) = (Arc::new(ArcSwap::from_pointee(self.told(internal_ip))), Arc::new(Notify::new()));
        let kubelet = kubelet::Config {
            listen: self.listen,
            node: self.node_name.clone(),
            internal_ip,
            told: told.clone(),
            access: self.access.clone(),
            serving: self.serving.clone(),
            state_dir: self.state_dir.clone(),
            client_ca: self.client_ca.clone(),
            cluster_ca: server.certificate_authorities(),
            events: events.clone(),
        };
        let kubelet = kubelet.bind().await?;
        let plugin = Arc::new(Plugin::load(self.plugin_config(&cluster_id, internal_ip, kubelet.port())).await?);
        let control = Control::open(&self.state_dir, hangup);
        let mut registrar = Registrar::default();
        let (stop, counts) = (CancellationToken::new(), Arc::new(Counts::new(&mut registrar)));
        let served: Arc<dyn Provider> = if plugin.has_containers() {
            let containers = Arc::new(CountedContainers::new(plugin.clone(), counts.clone()));
            Arc::new(Machine::start(containers, plugin.clone(), events.clone(), stop.clone()))
        } else {
            plugin.clone()
        };
        let provider: Arc<dyn Provider> = Arc::new(Counted::new(served, counts));
        let found = configuration::Found {
            cluster_id: &cluster_id,
            internal_ip,
            port: kubelet.port(),
            provider: &provider.identity(),
        };
        let configuration = configuration::show(&self, &found);

        let (reach, reach_receiver) = watch::channel(Reach::assumed());
        let pods = pods::Config {
            node_name: self.node_name.clone(),
            namespace: self.namespace,
            operating_system: self.operating_system.clone(),
            reads: server.client()?,
            writes: writes.clone(),
            events: events.clone(),
            node: told.clone(),
            reachable: reachable(reach_receiver.clone()),
            node_changed: changed.clone(),
            provider: provider.clone(),
            state_dir: self.state_dir.clone(),
            shutdown: stop.clone(),
        };
        let node = node::Config {
            name: self.node_name.clone(),
            node_identity,
            operating_system: self.operating_system,
            internal_ip: internal_ip.to_string(),
            port: kubelet.port(),
            taints: self.taint.of(&provider.identity().name),
            not_ready_after: self.not_ready_after,
            client: node_client.clone(),
            provider: provider.clone(),
            reach: reach_receiver,
            changed: changed.clone(),
            told,
            events: events.clone(),
        };
        let pods = pods.build()?;
        registrar.build_info(&provider.identity().name);
        server.requests().register(&mut registrar);
        metrics::pods::register(&mut registrar, pods.index());
        measured::register(&mut registrar, &plugin, events.clone(), lease.heartbeat(), started);
        let about = About { started, metrics: registrar.finish(), heartbeat: lease.heartbeat(), configuration };
        Ok(Host {
            node_name: self.node_name,
            plugin,
            control,
            changed,
            provider,
            lease,
            node: node.build().await,
            pods,
            kubelet,
            about,
            reviews: node_client,
            events,
            reach,
            stop,
            identity,
        })
    }

    fn told(&self, internal_ip: IpAddr) -> resolve::Node {
        resolve::Node {
            internal_ip: internal_ip.to_string(),
            cluster_domain: self.cluster_domain.clone(),
            cluster_dns: self.cluster_dns.clone(),
            ..resolve::Node::default()
        }
    }

    fn plugin_config(&self, cluster_id: &str, internal_ip: IpAddr, port: u16) -> plugin::Config {
        plugin::Config {
            file: self.plugin.clone(),
            provider_config: self.provider_config.clone(),
            grants: self.grants.clone(),
            state_dir: self.state_dir.clone(),
            cache_dir: self.cache_dir.clone(),
            node: plugin::NodeInfo {
                name: self.node_name.clone(),
                cluster_id: cluster_id.to_string(),
                cluster_domain: self.cluster_domain.clone(),
                internal_ip: internal_ip.to_string(),
                daemon_port: port,
                operating_system: self.operating_system.clone(),
            },
            limits: plugin::Limits::default(),
        }
    }

    /// `--cluster-id`, else the UID of Service default/kubernetes, which lives as long as the cluster; kept in the state
    /// directory, so that another one is noticed.
    async fn cluster_id(&self, identity: &Identity, client: &Client) -> anyhow::Result<String> {
        let found = match &self.cluster_id {
            Some(id) => id.clone(),
            None => {
                let services: Api<Service> = Api::namespaced(client.clone(), "default");
                let service = timed(READ_TIMEOUT, services.get("kubernetes")).await.context(
                    "cannot read Service default/kubernetes, whose UID names the cluster; give --cluster-id",
                )?;
                service.metadata.uid.context("Service default/kubernetes has no UID; give --cluster-id")?
            }
        };
        Ok(identity.cluster(&found)?)
    }
}

/// The address of this machine that packets to the API server leave from. Nothing is sent.
async fn address_towards(url: &str) -> anyhow::Result<IpAddr> {
    let uri: http::Uri = url.parse()?;
    let host = uri.host().context("the API server's address has no host")?.trim_matches(['[', ']']);
    let mut servers: Vec<SocketAddr> = lookup_host((host, uri.port_u16().unwrap_or(443))).await?.collect();
    servers.sort_by_key(SocketAddr::is_ipv6);
    let mut result = Err(anyhow::anyhow!("{host} has no address"));
    for server in servers {
        result = local_towards(server).await.map_err(anyhow::Error::from);
        if result.is_ok() {
            break;
        }
    }
    result
}

async fn local_towards(server: SocketAddr) -> std::io::Result<IpAddr> {
    let any = if server.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    Ok(socket.local_addr()?.ip())
}

/// The plain yes or no of a reach.
fn reachable(mut reach: watch::Receiver<Reach>) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(reach.borrow().reachable);
    tokio::spawn(async move {
        while reach.changed().await.is_ok() {
            let now = reach.borrow_and_update().reachable;
            sender.send_if_modified(|before| std::mem::replace(before, now) != now);
        }
    });
    receiver
}

impl Host {
    /// Is a node until `shutdown`, until another host takes it over, or until a part of it ends by itself: half a host must
    /// not go on looking like a whole one.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            node_name,
            plugin,
            control,
            changed,
            provider,
            lease,
            node,
            pods,
            kubelet,
            about,
            reviews,
            events,
            reach,
            stop,
            identity,
        } = self;
        events.node(
            "Starting",
            format!("Starting vk-host {} with provider {}", env!("CARGO_PKG_VERSION"), provider.identity().name),
        );
        let (index, node_uid) = (pods.index(), node.uid());
        let mut parts = JoinSet::new();
        let (swapper, reloader) = Swapper::new(plugin.clone());
        parts.spawn(named("plugin", swapper.run(stop.clone(), tell_swaps(events.clone(), changed))));
        parts.spawn(named("control", control.run(reloader, stop.clone())));
        parts.spawn(named("ping", reach::watch(provider.clone(), events, reach, stop.clone())));
        parts.spawn(named("node", node.run(stop.clone())));
        parts.spawn(named("pods", pods.run()));
        parts.spawn(named("kubelet API", kubelet.run(provider.clone(), index, about, reviews, stop.clone())));
        // The lease runs to the very end: the node is alive for as long as the host is.
        let mut lease = AbortOnDropHandle::new(tokio::spawn(lease.run(node_uid)));
        tracing::info!(node = %node_name, "running");
        let result = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = &mut lease => ended.map_err(anyhow::Error::from).and_then(|lost| lost.map_err(anyhow::Error::from)),
            Some(ended) = parts.join_next() => Err(match ended {
                Ok(part) => anyhow::anyhow!("the {part} part ended by itself; see the log"),
                Err(error) => anyhow::anyhow!("a part of the host failed: {error}"),
            }),
        };
        stop.cancel();
        plugin.begin_shutdown();
        tracing::info!("stopping; pods stay where they are");
        while parts.join_next().await.is_some() {}
        match tokio::time::timeout(STOP_TIMEOUT, provider.stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the provider did not stop well"),
            Err(_) => tracing::warn!("the provider did not stop within {STOP_TIMEOUT:?}"),
        }
        plugin.shutdown().await;
        // A renewal may be in flight; nothing waits for it.
        lease.abort();
        drop(identity);
        result
    }

    /// Registers the node and takes its lease.
    async fn take_node(&mut self) -> anyhow::Result<()> {
        self.node.register().await?;
        let uid = self.node.uid().borrow().clone();
        Ok(self.lease.acquire(uid.as_deref()).await?)
    }
}

/// What the node says of swaps.
fn tell_swaps(events: Events, changed: Arc<Notify>) -> impl Fn(&Outcome) {
    move |outcome| {
        if outcome.is_success() {
            events.node(outcome.reason(), outcome.to_string());
        } else {
            events.node_warning(outcome.reason(), outcome.to_string());
        }
        changed.notify_one();
    }
}

async fn named(name: &'static str, part: impl Future<Output = ()>) -> &'static str {
    part.await;
    name
}
