//! Events on pods and on the node. Telling one never delays or fails what it tells about.
//!
//! kube's own recorder counts a new text as a repeat of the old one and shows the old one for ever; here a repeat is the same
//! reason *and* text on the same object, so that the second complaint of a pod can be read. Repeats are counted in the first
//! event, and the count is written when it has doubled: what is tried for ever costs ever less to tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::Span;

use crate::apiserver::timed;
use crate::provider::PodRef;

/// Events that wait for being written; more are dropped, as the kubelet does.
const QUEUE: usize = 1000;
/// How long a repeat is counted in the first event instead of making a new one: what the API server's own series have.
const SERIES: Duration = Duration::from_secs(6 * 60);
/// Series that are remembered.
const REMEMBERED: u64 = 4096;
/// One write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// What fits of a pod's name into an event's, beside the time: 253 characters in all.
const LONGEST_PREFIX: usize = 200;
/// What the API takes of an instance's name.
const LONGEST_INSTANCE: usize = 128;
/// What the API takes of a text, in bytes.
const LONGEST_NOTE: usize = 1024;

/// What is said, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Told {
    kind: &'static str,
    reason: String,
    note: String,
    object: String,
}

/// Tells Kubernetes what happened.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<(Told, ObjectReference, Span)>,
    node: ObjectReference,
    dropped: Arc<AtomicU64>,
}

impl Events {
    /// Starts the writer; it ends with the last [`Events`].
    pub fn start(client: Client, node_name: &str) -> Self {
        let (queue, mut waiting) = mpsc::channel::<(Told, ObjectReference, Span)>(QUEUE);
        let mut writer = Writer {
            client,
            instance: node_name.get(..node_name.floor_char_boundary(LONGEST_INSTANCE)).unwrap_or(node_name).to_string(),
            series: moka::sync::Cache::builder().max_capacity(REMEMBERED).time_to_idle(SERIES).build(),
        };
        tokio::spawn(async move {
            while let Some((told, object, about)) = waiting.recv().await {
                let reason = told.reason.clone();
                if let Err(error) = writer.write(told, object).await {
                    about.in_scope(|| tracing::debug!(%reason, %error, "event not written"));
                }
            }
        });
        let node = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(node_name.into()),
            // kubectl describe node looks for events whose UID is the node's name, as the kubelet writes them.
            uid: Some(node_name.into()),
            ..ObjectReference::default()
        };
        Self { queue, node, dropped: Arc::default() }
    }

    /// Events so far that were not written because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Something ordinary happened to a pod.
    pub fn pod(&self, id: &PodRef, reason: &str, message: impl AsRef<str>) {
        self.tell("Normal", reason, message.as_ref(), reference(id));
    }

    /// Something went wrong with a pod.
    pub fn pod_warning(&self, id: &PodRef, reason: &str, message: impl AsRef<str>) {
        self.tell("Warning", reason, message.as_ref(), reference(id));
    }

    /// Something ordinary happened to the node.
    pub fn node(&self, reason: &str, message: impl AsRef<str>) {
        self.tell("Normal", reason, message.as_ref(), self.node.clone());
    }

    /// Something went wrong with the node.
    pub fn node_warning(&self, reason: &str, message: impl AsRef<str>) {
        self.tell("Warning", reason, message.as_ref(), self.node.clone());
    }

    fn tell(&self, kind: &'static str, reason: &str, note: &str, object: ObjectReference) {
        // What is cut off must not be kept: notes wait, are remembered, and may be a whole answer of a backend's.
        let note = note.get(..note.floor_char_boundary(LONGEST_NOTE)).unwrap_or(note).to_owned();
        let told = Told { kind, reason: reason.into(), note, object: object.uid.clone().unwrap_or_default() };
        if self.queue.try_send((told, object, Span::current())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(reason, "event dropped: too many wait");
        }
    }
}

/// Writes them one by one.
struct Writer {
    client: Client,
    instance: String,
    /// Name of the first event of a series, and how often it was told.
    series: moka::sync::Cache<Told, (String, i32)>,
}

impl Writer {
    async fn write(&mut self, told: Told, object: ObjectReference) -> kube::Result<()> {
        let namespace = object.namespace.clone().unwrap_or_else(|| "default".into());
        let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let now = MicroTime(Timestamp::now());
        if let Some((name, count)) = self.series.get(&told) {
            let count = count.saturating_add(1);
            if !count.unsigned_abs().is_power_of_two() {
                self.series.insert(told, (name, count));
                return Ok(());
            }
            let patch = json!({"series": {"count": count, "lastObservedTime": now}});
            match timed(WRITE_TIMEOUT, events.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))).await {
                Ok(_) => {
                    self.series.insert(told, (name, count));
                    return Ok(());
                }
                // Its time was over in the API server: a new one begins.
                Err(kube::Error::Api(status)) if status.code == 404 => self.series.invalidate(&told),
                Err(error) => return Err(error),
            }
        }
        let of = object.name.as_deref().unwrap_or("event");
        let of = of.get(..of.floor_char_boundary(LONGEST_PREFIX)).unwrap_or(of).trim_end_matches(['-', '.']);
        let name = format!("{of}.{:x}", now.0.as_nanosecond());
        let event = Event {
            metadata: kube::core::ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace),
                ..Default::default()
            },
            action: Some(told.reason.clone()),
            event_time: Some(now),
            note: Some(told.note.clone()),
            reason: Some(told.reason.clone()),
            regarding: Some(object),
            reporting_controller: Some("vk-host".into()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(told.kind.into()),
            ..Event::default()
        };
        timed(WRITE_TIMEOUT, events.create(&PostParams::default(), &event)).await?;
        self.series.insert(told, (name, 1));
        Ok(())
    }
}

fn reference(id: &PodRef) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(id.namespace.clone()),
        name: Some(id.name.clone()),
        uid: Some(id.uid.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_is_kept_of_a_note_than_is_told() {
        let (queue, mut waiting) = mpsc::channel(1);
        let events = Events { queue, node: ObjectReference::default(), dropped: Arc::default() };
        let answer = String::from("<p>ä</p>").repeat(1 << 20);
        events.pod_warning(&PodRef { namespace: "n".into(), name: "a".into(), uid: "u".into() }, "Odd", answer);
        let (Told { note, .. }, ..) = waiting.recv().await.unwrap();
        assert!(note.len() > LONGEST_NOTE - 4 && note.capacity() <= LONGEST_NOTE, "{} {}", note.len(), note.capacity());
    }
}
