//! For tests: a node whose both ends are played, the API server's and the provider's.

mod api_server;
mod taker;

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::events::Events;
use super::index::Index;
use super::object::PodObject;
use super::object::tests::pod;
use super::refresh::Refresher;
use super::resolve::{Node, Resolver};
use crate::provider::Provider as _;
pub(super) use api_server::ApiServer;
pub(super) use taker::Taker;

/// A node with nothing but volumes.
pub(in crate::pods) struct Played {
    pub(in crate::pods) server: Arc<ApiServer>,
    pub(in crate::pods) taker: Arc<Taker>,
    pub(in crate::pods) index: Arc<Index>,
    pub(in crate::pods) refresh: Arc<Refresher>,
    pub(in crate::pods) cluster: Arc<Cluster>,
}

impl Played {
    pub(in crate::pods) fn new(taker: Taker) -> Self {
        let (server, taker, index) = (Arc::<ApiServer>::default(), Arc::new(taker), Arc::<Index>::default());
        let events = Events::start(server.client(), "n");
        let node = Arc::new(ArcSwap::from_pointee(Node::default()));
        let resolver = Arc::new(Resolver::start(server.client(), node, taker.clone()));
        let refresh = Refresher::new(resolver.clone(), taker.clone(), events.clone(), index.clone());
        let cluster = Cluster { index: index.clone(), resolver, refresh: refresh.clone(), events };
        let cluster = Arc::new(cluster);
        let asked: Weak<Cluster> = Arc::downgrade(&cluster);
        taker.serve(asked);
        Self { server, taker, index, refresh, cluster }
    }

    /// A pod of this node that has one volume, `files`.
    pub(in crate::pods) fn pod(&self, name: &str, volume: Value) -> Arc<PodObject> {
        self.told(name, volume, &json!({"team": "blue"}), "Pending")
    }

    /// The same with labels and a phase, once more.
    pub(in crate::pods) fn told(&self, name: &str, volume: Value, labels: &Value, phase: &str) -> Arc<PodObject> {
        let mut files = json!({"name": "files"});
        files.as_object_mut().unwrap().extend(volume.as_object().unwrap().clone());
        let spec = json!({"containers": [{"name": "main", "image": "i"}], "volumes": [files]});
        self.with(name, spec, labels, phase)
    }

    /// A pod of this node with this spec.
    pub(in crate::pods) fn with(&self, name: &str, spec: Value, labels: &Value, phase: &str) -> Arc<PodObject> {
        let pod = Arc::new(pod(json!({
            "metadata": {"name": name, "namespace": "default", "uid": format!("u-{name}"), "labels": labels},
            "spec": spec,
            "status": {"phase": phase},
        })));
        self.index.put(pod.clone());
        self.refresh.see(&pod);
        pod
    }

    pub(in crate::pods) fn config_map(&self, text: &str) {
        self.server.put("configmaps", "cm", json!({"data": {"key": text}}));
    }

    pub(in crate::pods) async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + Duration::from_secs(120);
        while !is(self) {
            assert!(Instant::now() < limit, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
