//! The Node object: registered, kept alive, kept true.
//!
//! - [`lease`]: the heartbeat, apart from everything else;
//! - [`reach`]: whether the backend answers;
//! - [`object`]: what the object says, as pure functions;
//! - here: one loop that registers, watches the own object, and mends what differs.

pub mod identity;
pub mod lease;
pub mod object;
pub mod reach;
pub mod taint;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::defaults::node::{REQUEST_TIMEOUT, STATUS_REPORT};
use crate::pods::Backoff;
use crate::pods::events::Events;
use crate::pods::resolve;
use crate::provider::{Address, Condition, Error as ProviderError, Provider, Truth};
use object::Facts;
use reach::Reach;
use taint::Taint;

/// User names of nodes begin so.
const NODE_USER: &str = "system:node:";
/// First and longest pause between tries to write the Node.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Why there can be no node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The identity is another node's.
    #[error("the kubeconfig is that of {user}, which may not be node {node}; give --nodename {} or another kubeconfig", user.trim_start_matches(NODE_USER))]
    OtherNode {
        /// Who we are.
        user: String,
        /// Who we should be.
        node: String,
    },
    /// The API server says no for good.
    #[error("cannot register node {node}: {message}")]
    Refused {
        /// The node.
        node: String,
        /// What it said.
        message: String,
    },
}

/// What a node is made from.
pub struct Config {
    /// Its name.
    pub name: String,
    /// `linux` or `windows`, as the operator asked for it.
    pub operating_system: String,
    /// Where the API server reaches the kubelet API.
    pub internal_ip: String,
    /// Its port.
    pub port: u16,
    /// Taints at registration.
    pub taints: Vec<Taint>,
    /// Ready turns False when the backend has been unreachable for so long; none: never.
    pub not_ready_after: Option<Duration>,
    /// Connections of the node's own.
    pub client: Client,
    /// What makes the node.
    pub provider: Arc<dyn Provider>,
    /// Whether the backend answers.
    pub reach: watch::Receiver<Reach>,
    /// Told when the provider says that the node changed.
    pub changed: Arc<Notify>,
    /// What pods are told of the node; kept up to date here.
    pub told: Arc<ArcSwap<resolve::Node>>,
    /// Where events go.
    pub events: Events,
}

/// A node, ready to register.
pub struct NodeKeeper {
    config: Config,
    api: Api<Node>,
    facts: Facts,
    /// The identity is a node's: it may set taints at registration only (NodeRestriction).
    is_node_identity: bool,
    current: Option<Node>,
    reported: Instant,
    uid: watch::Sender<Option<String>>,
}

impl Config {
    /// Checks the identity and asks the provider what the node is. An unreachable backend is no error (R31): the node is
    /// registered with what is known.
    pub async fn build(self) -> Result<NodeKeeper, Error> {
        let is_node_identity = check_identity(&self.client, &self.name).await?;
        let facts = Facts {
            name: self.name.clone(),
            operating_system: self.operating_system.clone(),
            addresses: own_addresses(&self),
            port: self.port,
            taints: self.taints.clone(),
            ..Facts::default()
        };
        let api = Api::all(self.client.clone());
        let mut keeper = NodeKeeper {
            config: self,
            api,
            facts,
            is_node_identity,
            current: None,
            reported: Instant::now(),
            uid: watch::Sender::new(None),
        };
        keeper.ask_provider().await;
        Ok(keeper)
    }
}

fn own_addresses(config: &Config) -> Vec<Address> {
    let address = |kind: &str, address: &str| Address { kind: kind.into(), address: address.into() };
    vec![address("InternalIP", &config.internal_ip), address("Hostname", &config.name)]
}

/// Whether the identity is a node's; an error if it is another node's. A cluster that cannot tell is no obstacle.
async fn check_identity(client: &Client, node: &str) -> Result<bool, Error> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let params = PostParams::default();
    let review = timed(reviews.create(&params, &SelfSubjectReview::default())).await;
    let user =
        review.ok().and_then(|review| review.status).and_then(|status| status.user_info).and_then(|info| info.username);
    match user {
        Some(user) if user.strip_prefix(NODE_USER).is_some_and(|name| name != node) => {
            Err(Error::OtherNode { user, node: node.into() })
        }
        user => Ok(user.is_some_and(|user| user.starts_with(NODE_USER))),
    }
}

impl NodeKeeper {
    /// The registered Node's UID, for the lease's owner.
    pub fn uid(&self) -> watch::Receiver<Option<String>> {
        self.uid.subscribe()
    }

    /// Registers the node, or takes over the object that is there. Tries again for as long as the API server is out of reach.
    pub async fn register(&mut self) -> Result<(), Error> {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            match self.register_once().await {
                Ok(()) => return Ok(()),
                Err(kube::Error::Api(status)) if matches!(status.code, 400 | 401 | 403 | 422) => {
                    return Err(Error::Refused { node: self.config.name.clone(), message: status.message });
                }
                Err(error) => {
                    tracing::warn!(%error, "node not registered");
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    async fn register_once(&mut self) -> kube::Result<()> {
        let name = self.config.name.clone();
        let node = match timed(self.api.get_opt(&name)).await? {
            Some(node) => node,
            None => {
                let node =
                    serde_json::from_value(self.facts.node(Timestamp::now())).map_err(kube::Error::SerdeError)?;
                let created = timed(self.api.create(&PostParams::default(), &node)).await?;
                tracing::info!(node = %name, "node registered");
                self.config.events.node("RegisteredNode", format!("Node {name} registered by vk-host"));
                self.reported = Instant::now();
                created
            }
        };
        self.take(node);
        self.mend(false).await
    }

    fn take(&mut self, node: Node) {
        self.uid.send_if_modified(|uid| {
            let changed = *uid != node.metadata.uid;
            uid.clone_from(&node.metadata.uid);
            changed
        });
        self.current = Some(node);
    }

    /// Keeps the object true until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.config.name));
        let mut watch = std::pin::pin!(watcher(self.api.clone(), config).default_backoff());
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let mut again: Option<Instant> = None;
        let mut listed = false;
        loop {
            let heartbeat = self.reported + STATUS_REPORT;
            let wake = [Some(heartbeat), again, self.not_ready_at()].into_iter().flatten().min().unwrap_or(heartbeat);
            let changed = self.config.changed.clone();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep_until(wake) => {
                    if again.is_some() && self.facts.capacity.is_empty() {
                        self.ask_provider().await;
                    }
                }
                () = changed.notified() => self.ask_provider().await,
                Ok(()) = self.config.reach.changed() => {
                    if self.config.reach.borrow_and_update().reachable {
                        self.ask_provider().await;
                    }
                }
                Some(event) = watch.next() => match event {
                    Ok(watcher::Event::Init) => listed = false,
                    Ok(watcher::Event::InitApply(node) | watcher::Event::Apply(node)) => {
                        listed = true;
                        self.take(node);
                    }
                    Ok(watcher::Event::InitDone) if listed => {}
                    Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => {
                        tracing::warn!(node = %self.config.name, "the Node object was deleted; registering again");
                        self.current = None;
                    }
                    Err(error) => tracing::warn!(%error, "watch of the node interrupted"),
                },
            }
            let due = self.reported + STATUS_REPORT <= Instant::now();
            let result = match self.current {
                Some(_) => self.mend(due).await,
                None => self.register_once().await,
            };
            again = match result {
                Ok(()) if self.facts.capacity.is_empty() => Some(Instant::now() + backoff.pause()),
                Ok(()) => {
                    backoff.reset();
                    None
                }
                Err(error) => {
                    tracing::warn!(%error, "node not written");
                    Some(Instant::now() + backoff.pause())
                }
            };
        }
    }

    /// Asks the provider what the node is. What it does not answer stays as it was.
    async fn ask_provider(&mut self) {
        let provider = self.config.provider.clone();
        let (details, capacity, conditions, addresses, port, system) = tokio::join!(
            provider.node_details(),
            provider.capacity(),
            provider.node_conditions(),
            provider.node_addresses(),
            provider.node_daemon_endpoints(),
            provider.operating_system(),
        );
        let own = own_addresses(&self.config);
        keep("details", details, |details| self.facts.details = details);
        keep("capacity", capacity, |capacity| self.facts.capacity = capacity);
        keep("conditions", conditions, |conditions| self.facts.conditions = conditions);
        keep("addresses", addresses, |addresses| self.facts.addresses = addresses.unwrap_or(own));
        keep("daemon endpoints", port, |port| self.facts.port = port.unwrap_or(self.config.port));
        keep("operating system", system, |system| {
            if system != self.config.operating_system {
                tracing::warn!(provider = %system, flag = %self.config.operating_system, "the provider's operating system is not that of --os; --os stands");
            }
        });
        self.facts.own_conditions = self.own_conditions();
        self.config.told.rcu(|told| {
            let allocatable = self.facts.capacity.iter();
            let allocatable =
                allocatable.map(|a| (a.resource.clone(), a.allocatable.clone().unwrap_or_else(|| a.capacity.clone())));
            let internal = self.facts.addresses.iter().find(|a| a.kind == "InternalIP");
            resolve::Node {
                allocatable: allocatable.collect(),
                internal_ip: internal.map_or_else(|| self.config.internal_ip.clone(), |a| a.address.clone()),
                ..resolve::Node::clone(told)
            }
        });
    }

    /// When Ready turns False for want of a backend, if that is still to come.
    fn not_ready_at(&self) -> Option<Instant> {
        let reach = self.config.reach.borrow();
        let at = reach.since + self.config.not_ready_after?;
        (!reach.reachable && at > Instant::now()).then_some(at)
    }

    fn own_conditions(&self) -> Vec<Condition> {
        let reach = self.config.reach.borrow().clone();
        let late =
            self.config.not_ready_after.is_some_and(|after| !reach.reachable && reach.since + after <= Instant::now());
        let condition = |kind: &str, holds: bool, reason: &str, message: String| Condition {
            kind: kind.into(),
            status: if holds { Truth::True } else { Truth::False },
            reason: reason.into(),
            message,
        };
        let ready = if late {
            condition("Ready", false, "ProviderUnreachable", reach.message.clone())
        } else {
            condition("Ready", true, "KubeletReady", "vk-host is posting ready status".into())
        };
        let reachable = if reach.reachable {
            condition("ProviderReachable", true, "ProviderAnswers", "the provider's backend answers".into())
        } else {
            condition("ProviderReachable", false, &reach.reason, reach.message)
        };
        vec![ready, reachable]
    }

    /// Writes what differs from what should be.
    async fn mend(&mut self, heartbeat: bool) -> kube::Result<()> {
        self.facts.own_conditions = self.own_conditions();
        let name = self.config.name.clone();
        let params = PatchParams::default();
        if let Some(patch) = self.current.as_ref().and_then(|node| self.facts.label_patch(node)) {
            let node = timed(self.api.patch(&name, &params, &Patch::Merge(&patch))).await?;
            self.take(node);
        }
        if let Some(patch) =
            self.current.as_ref().filter(|_| !self.is_node_identity).and_then(|node| self.facts.taint_patch(node))
        {
            let node = timed(self.api.patch(&name, &params, &Patch::Merge(&patch))).await?;
            self.take(node);
        }
        if let Some(patch) =
            self.current.as_ref().and_then(|node| self.facts.status_patch(node, Timestamp::now(), heartbeat))
        {
            let node = timed(self.api.patch_status(&name, &params, &Patch::Strategic(&patch))).await?;
            self.reported = Instant::now();
            self.take(node);
        }
        Ok(())
    }
}

fn keep<T>(what: &str, answer: Result<T, ProviderError>, take: impl FnOnce(T)) {
    match answer {
        Ok(value) => take(value),
        Err(error) => tracing::warn!(%error, "the provider does not tell the node's {what}"),
    }
}

async fn timed<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(result) => result,
        Err(_) => Err(kube::Error::Service(format!("no answer within {REQUEST_TIMEOUT:?}").into())),
    }
}
