//! Pods by the name that people call them, for whoever is asked about one by namespace and name.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;

use super::object::PodObject;

/// Upper ends in seconds of how long pods take to start: those of the kubelet's `kubelet_pod_start_duration_seconds`, and shorter
/// ones, because nothing is pulled here.
const START_BUCKETS: [f64; 24] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0,
    300.0, 600.0, 1800.0, 3600.0,
];

/// This node's pods as the API server last told them.
#[derive(Debug)]
pub struct Index {
    pods: RwLock<HashMap<(String, String), Entry>>,
    start_durations: Histogram,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<PodObject>,
    /// When it was first seen; none: it has run, or it had when it was first seen.
    waits_since: Option<Instant>,
}

impl Default for Index {
    fn default() -> Self {
        Self { pods: RwLock::default(), start_durations: Histogram::new(START_BUCKETS) }
    }
}

impl Index {
    /// The pod that has this name now.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<PodObject>> {
        let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
        pods.get(&(namespace.to_string(), name.to_string())).map(|entry| entry.pod.clone())
    }

    /// All pods, in no order.
    pub fn all(&self) -> Vec<Arc<PodObject>> {
        let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
        pods.values().map(|entry| entry.pod.clone()).collect()
    }

    /// From the first sight of a pod to Running in the API server, in seconds.
    pub fn start_durations(&self) -> &Histogram {
        &self.start_durations
    }

    /// Takes a new state of a pod and returns the namesake with another UID that it replaces, if there is one (R1).
    pub(crate) fn put(&self, pod: Arc<PodObject>) -> Option<Arc<PodObject>> {
        let id = pod.id();
        let mut pods = self.pods.write().unwrap_or_else(PoisonError::into_inner);
        let key = (id.namespace, id.name);
        let (before, namesake) = match pods.remove(&key) {
            Some(before) if before.pod.uid() == id.uid => (Some(before), None),
            before => (None, before.map(|before| before.pod)),
        };
        let fresh = || (!pod.has_run() && !pod.is_terminal()).then(Instant::now);
        let mut waits_since = before.map_or_else(fresh, |before| before.waits_since);
        if pod.status.phase.as_deref() == Some("Running")
            && let Some(since) = waits_since.take()
        {
            self.start_durations.observe(since.elapsed().as_secs_f64());
        }
        pods.insert(key, Entry { pod, waits_since });
        namesake
    }

    /// Forgets a pod, unless its name belongs to another one by now.
    pub(super) fn remove(&self, pod: &PodObject) {
        let id = pod.id();
        let key = (id.namespace, id.name);
        let mut pods = self.pods.write().unwrap_or_else(PoisonError::into_inner);
        if pods.get(&key).is_some_and(|current| current.pod.uid() == pod.uid()) {
            pods.remove(&key);
        }
    }
}
