//! Events on pods and on the node. Telling one never delays or fails what it tells about.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use crate::provider::PodRef;

/// Events that wait for being written; more are dropped, as the kubelet does.
const QUEUE: usize = 1000;

/// Tells Kubernetes what happened. Repeats of one reason on one object are counted, not written anew.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<(Event, ObjectReference)>,
    node: ObjectReference,
}

impl Events {
    /// Starts the writer; it ends with the last [`Events`].
    pub fn start(client: Client, node_name: &str) -> Self {
        let (queue, mut waiting) = mpsc::channel::<(Event, ObjectReference)>(QUEUE);
        let reporter = Reporter { controller: "vk-host".into(), instance: Some(node_name.to_string()) };
        let recorder = Recorder::new(client, reporter);
        tokio::spawn(async move {
            while let Some((event, object)) = waiting.recv().await {
                if let Err(error) = recorder.publish(&event, &object).await {
                    tracing::debug!(reason = %event.reason, %error, "event not written");
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
        Self { queue, node }
    }

    /// Something ordinary happened to a pod.
    pub fn pod(&self, id: &PodRef, reason: &str, message: impl Into<String>) {
        self.tell(EventType::Normal, reason, message.into(), reference(id));
    }

    /// Something went wrong with a pod.
    pub fn pod_warning(&self, id: &PodRef, reason: &str, message: impl Into<String>) {
        self.tell(EventType::Warning, reason, message.into(), reference(id));
    }

    /// Something ordinary happened to the node.
    pub fn node(&self, reason: &str, message: impl Into<String>) {
        self.tell(EventType::Normal, reason, message.into(), self.node.clone());
    }

    /// Something went wrong with the node.
    pub fn node_warning(&self, reason: &str, message: impl Into<String>) {
        self.tell(EventType::Warning, reason, message.into(), self.node.clone());
    }

    fn tell(&self, type_: EventType, reason: &str, note: String, object: ObjectReference) {
        // The API refuses a note of more than 1024 bytes.
        let note = note.char_indices().take_while(|(at, c)| at + c.len_utf8() <= 1024).map(|(_, c)| c).collect();
        let event = Event { type_, reason: reason.into(), note: Some(note), action: reason.into(), secondary: None };
        if self.queue.try_send((event, object)).is_err() {
            tracing::debug!(reason, "event dropped: too many wait");
        }
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
