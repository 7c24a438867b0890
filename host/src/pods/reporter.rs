//! Brings one pod's status into the API server: writes what differs, waits after a failure, never repeats what was refused.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::Value;
use tokio::time::Instant;

use super::api::{Error, PodWriter};
use super::backoff::Backoff;
use super::events::Events;
use super::object::PodObject;
use super::status;
use crate::defaults::pods::{BACKOFF_FIRST, BACKOFF_LONGEST};
use crate::provider::PodRef;

/// One pod's status writer.
pub struct Reporter {
    id: PodRef,
    writer: PodWriter,
    events: Events,
    retry: Backoff,
    /// Nothing is written before this time.
    not_before: Option<Instant>,
    /// What the API server refuses (422), without its times; the same is not sent again (R14).
    refused: Option<Value>,
}

impl Reporter {
    /// A reporter that has written nothing yet.
    pub fn new(id: PodRef, writer: PodWriter, events: Events) -> Self {
        let retry = Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST);
        Self { id, writer, events, retry, not_before: None, refused: None }
    }

    /// When it should be called again, if a write has failed.
    pub fn again(&self) -> Option<Instant> {
        self.not_before
    }

    /// Writes what differs between the object and the wanted status. Returns the object as it is then, if it was written.
    pub async fn report(&mut self, object: &PodObject, wanted: PodStatus) -> Option<Arc<PodObject>> {
        if self.not_before.is_some_and(|until| until > Instant::now()) {
            return None;
        }
        self.not_before = None;
        let patch = status::patch(object, &wanted)?;
        if self.refused.as_ref().is_some_and(|refused| *refused == without_times(&patch)) {
            return None;
        }
        tracing::trace!(pod = %self.id, uid = %self.id.uid, %patch, "status");
        match self.writer.patch_status(&self.id, &patch).await {
            Ok(version) => {
                self.refused = None;
                self.retry.reset();
                let mut written = object.clone();
                written.pod.status = Some(status::applied(object, wanted));
                written.pod.metadata.resource_version = version.or(written.pod.metadata.resource_version);
                Some(Arc::new(written))
            }
            Err(Error::Invalid(message)) => {
                tracing::error!(pod = %self.id, uid = %self.id.uid, %message, "the API server refuses the pod's status");
                self.events.pod_warning(&self.id, "StatusRefused", message);
                self.refused = Some(without_times(&patch));
                None
            }
            Err(error) => {
                tracing::debug!(pod = %self.id, uid = %self.id.uid, %error, "status not written");
                self.not_before = Some(Instant::now() + self.retry.pause());
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
