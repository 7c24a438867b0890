//! Brings one pod's status into the API server: writes what differs, waits after a failure, never repeats what was refused, and
//! leaves a pod alone that the API server has no more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::Value;
use tokio::time::Instant;

use super::Shared;
use super::api::Error;
use super::backoff::Backoff;
use super::object::{self, PodObject, Version};
use super::status;
use crate::defaults::pods::{BACKOFF_FIRST, BACKOFF_LONGEST};

/// One pod's status writer.
pub(super) struct Reporter {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

/// A status that the API server has taken, and the version that it gave the object.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) status: PodStatus,
    pub(super) version: Option<Version>,
}

struct State {
    retry: Backoff,
    /// Nothing is written before this time.
    not_before: Option<Instant>,
    /// What the API server refuses (422), without its times; the same is not sent again (R14).
    refused: Option<Value>,
    /// The version of the object that the API server had no more, or not under this UID, and when that was. Nothing is written
    /// before the watch says what became of it (R14), or for long.
    absent: Option<(Option<Version>, Instant)>,
}

impl Reporter {
    /// A reporter that has written nothing yet.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let retry = Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST);
        Self { shared, state: Mutex::new(State { retry, not_before: None, refused: None, absent: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it should be called again, if a write has failed.
    pub(super) fn again(&self) -> Option<Instant> {
        let state = self.state();
        state.not_before.or(state.absent.as_ref().map(|(_, since)| *since + BACKOFF_LONGEST))
    }

    /// What failed to be written is not wanted any more.
    pub(super) fn give_up(&self) {
        let mut state = self.state();
        (state.not_before, state.absent) = (None, None);
    }

    /// Writes what differs between the object and the wanted status. None: nothing was written.
    pub(super) async fn report(&self, object: &PodObject, wanted: PodStatus) -> Option<Written> {
        let patch = {
            let mut state = self.state();
            if state.not_before.is_some_and(|until| until > Instant::now()) {
                return None;
            }
            state.not_before = None;
            let gone = |(version, since): &(Option<Version>, Instant)| {
                *version == object.version && *since + BACKOFF_LONGEST > Instant::now()
            };
            if state.absent.as_ref().is_some_and(gone) {
                return None;
            }
            state.absent = None;
            let patch = status::patch(object, &wanted)?;
            if state.refused.as_ref().is_some_and(|refused| *refused == without_times(&patch)) {
                return None;
            }
            patch
        };
        tracing::trace!(%patch, "status");
        // In a box: a task that has nothing to write, which most have most of the time, does not carry room for it.
        let id = object.id();
        let written = Box::pin(self.shared.writer.patch_status(&id, &patch)).await;
        let mut state = self.state();
        match written {
            Ok(version) => {
                state.refused = None;
                state.retry.reset();
                Some(Written { status: wanted, version: version.as_deref().and_then(object::version) })
            }
            Err(Error::Invalid(message)) => {
                tracing::error!(%message, "the API server refuses the pod's status");
                self.shared.events.pod_warning(&id, "StatusRefused", message);
                state.refused = Some(without_times(&patch));
                None
            }
            Err(error @ Error::Absent(_)) => {
                tracing::debug!(%error, "status not written");
                state.absent = Some((object.version, Instant::now()));
                None
            }
            Err(error @ Error::Transient(_)) => {
                tracing::debug!(%error, "status not written");
                state.not_before = Some(Instant::now() + state.retry.pause());
                None
            }
        }
    }
}

/// Times move with every try; what was refused is the rest.
fn without_times(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| !key.ends_with("Time") && !key.ends_with("At"));
            kept.map(|(key, value)| (key.clone(), without_times(value))).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(list) => list.iter().map(without_times).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refusal_is_recognized_whatever_the_time() {
        let patch = |time: &str| json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "lastTransitionTime": time}]}});
        assert_eq!(without_times(&patch("1")), without_times(&patch("2")));
        assert_ne!(without_times(&json!({"phase": "Running"})), without_times(&json!({"phase": "Failed"})));
    }
}
