//! Pods of this node, from what the API server last told of them.

use std::sync::Arc;

use super::Registrar;
use crate::pods::index::Index;

/// The phases of a pod, of which each is shown, also with none in it.
const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];

/// Reads them out of the index.
pub fn register(registrar: &mut Registrar, index: Arc<Index>) {
    registrar.register(
        "kubelet_pod_start_duration_seconds",
        "Duration in seconds from the host seeing a pod for the first time to the pod starting to run",
        index.start_durations().clone(),
    );
    registrar.gauges("vk_pods", "Pods of this node in the API server, by phase", "phase", move || {
        let pods = index.all();
        let phase = |name: &str| pods.iter().filter(|pod| pod.status.phase.as_deref() == Some(name)).count();
        PHASES
            .iter()
            .map(|name| ((*name).to_string(), f64::from(u32::try_from(phase(name)).unwrap_or(u32::MAX))))
            .collect()
    });
}
