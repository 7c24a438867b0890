//! The Node object: registered, kept alive, kept true.
//!
//! - [`lease`]: the heartbeat, apart from everything else;
//! - [`reach`]: whether the backend answers;
//! - [`describe`]: what the provider says that the node is;
//! - [`object`]: what the object says, as pure functions;
//! - here: one loop that registers, watches the own object, and mends what differs.

pub mod describe;
pub mod identity;
pub mod lease;
pub mod object;
pub mod reach;
pub mod taint;

use std::collections::BTreeSet;
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
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::apiserver::timed;
use crate::defaults::node::{PING_PERIOD, REQUEST_TIMEOUT, STATUS_REPORT};
use crate::pods::Backoff;
use crate::pods::events::Events;
use crate::pods::resolve;
use crate::provider::{Address, Amount, Condition, Provider, Truth};
use describe::Description;
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
    /// The identity is a node's ([`is_node_identity`]): it may set taints at registration only (NodeRestriction).
    pub node_identity: bool,
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
    described: watch::Sender<Description>,
    /// Resources and types of conditions that the provider has ever told.
    told: (BTreeSet<String>, BTreeSet<String>),
    current: Option<Node>,
    /// When the conditions were last written.
    reported: Instant,
    uid: watch::Sender<Option<String>>,
}

impl Config {
    /// Asks the provider what the node is. An unreachable backend is no error (R31): the node is registered with what is known
    /// by then.
    pub async fn build(self) -> NodeKeeper {
        let mut description = Description::default();
        let ask = describe::ask(&*self.provider, &self.operating_system, &mut description);
        if tokio::time::timeout(PING_PERIOD, ask).await.is_err() {
            tracing::warn!("the provider does not say within {PING_PERIOD:?} what the node is; it is asked again");
        }
        let mut keeper = NodeKeeper {
            api: Api::all(self.client.clone()),
            described: watch::Sender::new(description),
            told: Default::default(),
            current: None,
            reported: Instant::now(),
            uid: watch::Sender::new(None),
            config: self,
        };
        keeper.tell_pods();
        keeper
    }
}

fn own_addresses(config: &Config) -> Vec<Address> {
    let address = |kind: &str, address: &str| Address { kind: kind.into(), address: address.into() };
    vec![address("InternalIP", &config.internal_ip), address("Hostname", &config.name)]
}

/// Whether the identity is a node's; an error if it is another node's. Where the API server does not say, it is taken for a
/// node's: the rights of a node are the lesser ones.
pub async fn is_node_identity(client: &Client, node: &str) -> Result<bool, Error> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let params = PostParams::default();
    let review = timed(REQUEST_TIMEOUT, reviews.create(&params, &SelfSubjectReview::default())).await;
    let user = match review {
        Ok(review) => review.status.and_then(|status| status.user_info).and_then(|info| info.username),
        Err(error) => {
            tracing::warn!(%error, "cannot find out who this host is");
            None
        }
    };
    match user {
        Some(user) if user.strip_prefix(NODE_USER).is_some_and(|name| name != node) => {
            Err(Error::OtherNode { user, node: node.into() })
        }
        user => Ok(user.is_none_or(|user| user.starts_with(NODE_USER))),
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
        let node = match timed(REQUEST_TIMEOUT, self.api.get_opt(&name)).await? {
            Some(node) => node,
            None => {
                let node =
                    serde_json::from_value(self.facts().node(Timestamp::now())).map_err(kube::Error::SerdeError)?;
                let created = timed(REQUEST_TIMEOUT, self.api.create(&PostParams::default(), &node)).await?;
                tracing::info!(node = %name, "node registered");
                self.config.events.node("RegisteredNode", format!("Node {name} registered by vk-host"));
                self.reported = Instant::now();
                created
            }
        };
        if self.config.node_identity && self.facts().taint_patch(&node).is_some() {
            tracing::warn!(node = %name, "the Node exists without this host's taint, which a node's identity can set only when it registers; delete the Node to have it set");
        }
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
        let description = describe::watch(
            self.config.provider.clone(),
            self.config.operating_system.clone(),
            self.config.changed.clone(),
            self.config.reach.clone(),
            self.described.clone(),
            shutdown.clone(),
        );
        let _describing = AbortOnDropHandle::new(tokio::spawn(description));
        let mut described = self.described.subscribe();
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.config.name));
        let mut watch = std::pin::pin!(watcher(self.api.clone(), config).default_backoff());
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let mut again: Option<Instant> = None;
        let mut listed = false;
        loop {
            // After a failure the back-off rules, not the report that is due.
            let wake = again.unwrap_or(self.reported + STATUS_REPORT);
            let wake = self.not_ready_at().map_or(wake, |at| at.min(wake));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep_until(wake) => {}
                Ok(()) = described.changed() => self.tell_pods(),
                Ok(()) = self.config.reach.changed() => {}
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
                    Err(error) => {
                        tracing::warn!(%error, "watch of the node interrupted");
                        continue;
                    }
                },
            }
            if again.is_some_and(|at| at > Instant::now()) {
                continue;
            }
            let due = self.reported + STATUS_REPORT <= Instant::now();
            let written = tokio::select! {
                () = shutdown.cancelled() => return,
                written = self.write(due) => written,
            };
            again = match written {
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

    async fn write(&mut self, heartbeat: bool) -> kube::Result<()> {
        match self.current {
            Some(_) => self.mend(heartbeat).await,
            None => self.register_once().await,
        }
    }

    /// What the object should say.
    fn facts(&self) -> Facts {
        let Description { details, capacity, conditions, addresses, port } = self.described.borrow().clone();
        let (resources, kinds) = &self.told;
        let offered = |resource: &String| capacity.iter().any(|amount| amount.resource == *resource);
        let told = |kind: &String| conditions.iter().any(|condition| condition.kind == *kind);
        Facts {
            retired_resources: resources.iter().filter(|resource| !offered(resource)).cloned().collect(),
            retired_conditions: kinds.iter().filter(|kind| !told(kind)).cloned().collect(),
            name: self.config.name.clone(),
            operating_system: self.config.operating_system.clone(),
            addresses: addresses.unwrap_or_else(|| own_addresses(&self.config)),
            port: port.unwrap_or(self.config.port),
            taints: self.config.taints.clone(),
            details,
            capacity,
            conditions,
            own_conditions: self.own_conditions(),
        }
    }

    /// Takes note of what the provider has told, and tells pods their part: the node's address and what can be allocated.
    fn tell_pods(&mut self) {
        {
            let described = self.described.borrow();
            self.told.0.extend(described.capacity.iter().map(|amount| amount.resource.clone()));
            self.told.1.extend(described.conditions.iter().map(|condition| condition.kind.clone()));
        }
        let facts = self.facts();
        let amount = |amount: &Amount| {
            (amount.resource.clone(), amount.allocatable.clone().unwrap_or_else(|| amount.capacity.clone()))
        };
        let internal = facts.addresses.iter().find(|address| address.kind == "InternalIP");
        self.config.told.rcu(|told| resolve::Node {
            allocatable: facts.capacity.iter().map(amount).collect(),
            internal_ip: internal.map_or_else(|| self.config.internal_ip.clone(), |address| address.address.clone()),
            addresses: facts.addresses.clone(),
            ..resolve::Node::clone(told)
        });
    }

    /// When Ready turns False for want of a backend, if that is still to come.
    fn not_ready_at(&self) -> Option<Instant> {
        let reach = self.config.reach.borrow();
        let at = reach.since.checked_add(self.config.not_ready_after?)?;
        (!reach.reachable && at > Instant::now()).then_some(at)
    }

    fn own_conditions(&self) -> Vec<Condition> {
        let reach = self.config.reach.borrow().clone();
        let limit = self.config.not_ready_after.and_then(|after| reach.since.checked_add(after));
        let late = !reach.reachable && limit.is_some_and(|limit| limit <= Instant::now());
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

    /// Writes what differs from what should be, the status first: nothing else shall keep it from being true.
    async fn mend(&mut self, heartbeat: bool) -> kube::Result<()> {
        let facts = self.facts();
        let name = self.config.name.clone();
        let params = PatchParams::default();
        let mut result = Ok(());
        if let Some(patch) =
            self.current.as_ref().and_then(|node| facts.status_patch(node, Timestamp::now(), heartbeat))
        {
            match timed(REQUEST_TIMEOUT, self.api.patch_status(&name, &params, &Patch::Strategic(&patch))).await {
                Ok(node) => {
                    if patch.pointer("/status/conditions").is_some() {
                        self.reported = Instant::now();
                    }
                    self.take(node);
                }
                Err(error) => result = Err(error),
            }
        }
        // One after the other: each is made for the version that the one before has left.
        let patches: [fn(&Facts, &Node) -> Option<Value>; 2] = [Facts::metadata_patch, Facts::taint_patch];
        let allowed = if self.config.node_identity { 1 } else { 2 };
        for patch in patches.into_iter().take(allowed) {
            let Some(patch) = self.current.as_ref().and_then(|node| patch(&facts, node)) else { continue };
            match timed(REQUEST_TIMEOUT, self.api.patch(&name, &params, &Patch::Merge(&patch))).await {
                Ok(node) => self.take(node),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }
}
