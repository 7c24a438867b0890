//! What a watch has seen of pods: each state that the API server has had, also those that nobody was there in time to
//! look at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::task::JoinHandle;
use vk_tests::cluster::{Corner, phase, waiting_reason, within};

use super::CONVERGED;

type Seen = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// What was seen of the pods of a namespace, until it is dropped.
pub(super) struct History {
    seen: Seen,
    watch: JoinHandle<()>,
}

impl History {
    pub(super) fn of(corner: &Corner<'_>) -> Self {
        let seen = Seen::default();
        let (pods, own) = (corner.pods(), seen.clone());
        let watch = tokio::spawn(async move {
            let mut pods =
                std::pin::pin!(watcher(pods, watcher::Config::default()).default_backoff().applied_objects());
            while let Some(pod) = pods.next().await {
                // It is begun anew by itself.
                let Ok(pod) = pod else { continue };
                let mut seen = own.lock().unwrap_or_else(PoisonError::into_inner);
                let states = seen.entry(pod.name_any()).or_default();
                let state = state(&pod);
                if states.last() != Some(&state) {
                    states.push(state);
                }
            }
        });
        Self { seen, watch }
    }

    /// How a pod was, one after the other: its phase, and why it was so.
    pub(super) fn states(&self, pod: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(pod).cloned().unwrap_or_default()
    }

    /// Waits until a pod was seen so at any time: the watch may be later than others that look.
    pub(super) async fn comes_to(&self, pod: &str, state: &str) -> Result<()> {
        within(CONVERGED, &format!("{pod} is seen {state:?}"), || async {
            let states = self.states(pod);
            ensure!(states.iter().any(|seen| seen == state), "{states:?}");
            Ok(Some(()))
        })
        .await
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Such as `Pending QuotaReached`.
fn state(pod: &Pod) -> String {
    let reason = pod.status.as_ref().and_then(|status| status.reason.clone());
    let reason = reason.or_else(|| waiting_reason(pod)).unwrap_or_default();
    format!("{} {reason}", phase(pod)).trim().to_owned()
}
