//! The pods of this node: level-triggered, keyed by UID, one task a pod.
//!
//! ```text
//! API server ──watch──▶ controller ──mailbox──▶ task ──▶ Provider
//!                          ▲                     │          │ asks
//! Provider ──changes───────┘     API server ◀────┴──        ▼
//!                                 status patch, delete   cluster ─▶ resolve, refresh ─▶ Provider: volumes that changed
//! ```

mod api;
mod backoff;
mod changes;
mod cluster;
mod compact;
mod controller;
pub mod events;
pub mod index;
mod journal;
mod knowledge;
pub mod lifecycle;
pub mod machine;
pub mod object;
#[cfg(test)]
mod played;
mod refresh;
mod reporter;
pub mod resolve;
pub mod revision;
mod spam;
pub mod status;
mod task;
mod used;

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use kube::{Api, Client};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use backoff::Backoff;
pub use journal::Error;

use crate::provider::Provider;
use cluster::Cluster;
use controller::Controller;
use events::Events;
use index::Index;
use journal::Journal;
use refresh::Refresher;
use resolve::Resolver;

/// What the pods of a node need.
pub struct Config {
    /// The node's name, by which pods are chosen.
    pub node_name: String,
    /// Only pods of this namespace; none: of all.
    pub namespace: Option<String>,
    /// `linux` or `windows`; pods for the other are refused.
    pub operating_system: String,
    /// Reads and watches pods, services, ConfigMaps and Secrets.
    pub reads: Client,
    /// Writes pods; its own connections, so that a burst of writes delays no watch.
    pub writes: Client,
    /// Where events go.
    pub events: Events,
    /// What pods are told of the node; the node half keeps it up to date.
    pub node: Arc<ArcSwap<resolve::Node>>,
    /// Whether the backend answers; while it does not, new pods wait.
    pub reachable: watch::Receiver<bool>,
    /// Told when the provider says that the node changed.
    pub node_changed: Arc<Notify>,
    /// What runs the pods.
    pub provider: Arc<dyn Provider>,
    /// Where it is remembered which creates may have been sent; of this process alone.
    pub state_dir: PathBuf,
    /// Ends everything.
    pub shutdown: CancellationToken,
}

/// What all tasks share.
struct Shared {
    node_name: String,
    namespace: Option<String>,
    operating_system: String,
    provider: Arc<dyn Provider>,
    journal: Journal,
    resolver: Arc<Resolver>,
    refresh: Arc<Refresher>,
    writer: api::PodWriter,
    events: Events,
    node: Arc<ArcSwap<resolve::Node>>,
    reachable: watch::Receiver<bool>,
    node_changed: Arc<Notify>,
    index: Arc<Index>,
    shutdown: CancellationToken,
}

/// The pods of a node, ready to run.
pub struct Pods {
    shared: Arc<Shared>,
    api: Api<object::Received>,
    /// The provider has it without keeping it alive.
    cluster: Arc<Cluster>,
}

impl Config {
    /// Wires everything up; starts no pod. An error: the state directory cannot be used.
    pub fn build(self) -> Result<Pods, Error> {
        let Self {
            node_name,
            namespace,
            operating_system,
            reads,
            writes,
            events,
            node,
            reachable,
            node_changed,
            provider,
            state_dir,
            shutdown,
        } = self;
        let journal = Journal::open(&state_dir, provider.identity().settle)?;
        let api = match &namespace {
            Some(namespace) => Api::namespaced(reads.clone(), namespace),
            None => Api::all(reads.clone()),
        };
        let index: Arc<Index> = Arc::default();
        let resolver = Arc::new(Resolver::start(reads, node.clone(), provider.clone()));
        let refresh = Refresher::new(resolver.clone(), provider.clone(), events.clone(), index.clone());
        let cluster = Arc::new(Cluster {
            index: index.clone(),
            resolver: resolver.clone(),
            refresh: refresh.clone(),
            events: events.clone(),
        });
        let asked: Weak<Cluster> = Arc::downgrade(&cluster);
        provider.serve(asked);
        let shared = Shared {
            node_name,
            namespace,
            operating_system,
            provider,
            journal,
            resolver,
            refresh,
            writer: api::PodWriter::new(writes),
            events,
            node,
            reachable,
            node_changed,
            index,
            shutdown,
        };
        Ok(Pods { shared: Arc::new(shared), api, cluster })
    }
}

impl Pods {
    /// Pods by name, for the kubelet API.
    pub fn index(&self) -> Arc<Index> {
        self.shared.index.clone()
    }

    /// Runs the pods until shutdown; they stay in the provider then (R37).
    pub async fn run(self) {
        let Self { shared, api, cluster: _asked } = self;
        Controller::new(shared).run(api).await;
    }
}

#[cfg(test)]
mod tests;
