//! The provider as a whole, against the SDK's host in memory: what the host sees of pods over time.

mod calls;
mod changes;
mod fetch;
mod life;
mod logs;
mod node;
mod volumes;

use std::time::Duration;

use serde_json::{Value, json};
use vk_provider::call::Why;
use vk_provider::changes::{Batch, Scope};
use vk_provider::container_logs::Options;
use vk_provider::{
    Changes, Code, ContainerLogs, Deletion, DesiredPod, Effect, Error, Node, Plugin, Pods, Stats, Volumes, clock,
    store, testing,
};

use crate::Mock;
use crate::backend::{self, Counts, TIMED};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn clock_start() -> vk_provider::time::Time {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

/// A pod of one container, `web`, with the mock's annotations.
fn pod(name: &str, annotations: &[(&str, &str)]) -> DesiredPod {
    pod_with(name, annotations, json!({"containers": [{"name": "web", "image": "nginx:1"}]}))
}

fn pod_with(name: &str, annotations: &[(&str, &str)], spec: Value) -> DesiredPod {
    let annotations: serde_json::Map<String, Value> =
        annotations.iter().map(|(key, value)| (format!("mock.virtual-kubelet.io/{key}"), json!(value))).collect();
    let metadata =
        json!({"name": name, "namespace": "default", "uid": format!("u-{name}"), "annotations": annotations});
    testing::desired(&json!({"metadata": metadata, "spec": spec}).to_string())
}

fn create(pod: &DesiredPod) -> Value {
    status(&Mock::create_pod(pod.clone()).unwrap().unwrap().status)
}

fn status(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn get(pod: &DesiredPod) -> Option<Value> {
    Mock::get_pod_status(pod.id.clone()).unwrap().map(|text| status(&text))
}

fn phase(pod: &DesiredPod) -> String {
    get(pod).map_or_else(|| "gone".to_owned(), |status| status["phase"].as_str().unwrap().to_owned())
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == kind).unwrap()
}

fn next(cursor: Option<String>, wait: u64) -> Batch {
    Mock::next(cursor, seconds(wait)).unwrap()
}

fn listed() -> Option<String> {
    let batch = next(None, 0);
    assert_eq!(batch.scope, Scope::Listed);
    batch.cursor
}

fn told(batch: &Batch) -> Vec<String> {
    let changed =
        batch.changed.iter().map(|pod| format!("{} {}", pod.id.name, status(&pod.status)["phase"].as_str().unwrap()));
    changed.chain(batch.touched.iter().map(|id| format!("{} touched", id.name))).collect()
}

fn logs(pod: &DesiredPod, options: Options) -> Result<Vec<String>, Error> {
    logs_of(pod, "web", options)
}

/// All that was counted for a pod.
fn counted(pod: &DesiredPod) -> Counts {
    let record = backend::find(&pod.id).unwrap();
    backend::counts(&pod.id, record.map(|record| record.value.counts).unwrap_or_default()).unwrap()
}

fn logs_of(pod: &DesiredPod, container: &str, options: Options) -> Result<Vec<String>, Error> {
    let (sink, reader) = testing::pipe(usize::MAX);
    Mock::get_container_logs(pod.id.clone(), container.to_owned(), options, sink)?;
    Ok(reader.entries().iter().map(|entry| String::from_utf8(entry.bytes.clone()).unwrap()).collect())
}
