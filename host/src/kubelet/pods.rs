//! `GET /pods` and `GET /runningpods/`: a v1 PodList of what this node shall run, and of what runs.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
use serde_json::json;

use super::{Api, refusal};
use crate::provider::ObservedPod;

/// This node's pods as the API server last told them: its own text with every field, less `managedFields`.
pub(super) async fn list(State(api): State<Api>) -> Response {
    let mut pods = api.pods.all();
    pods.sort_by_cached_key(|pod| (pod.metadata.namespace.clone(), pod.metadata.name.clone()));
    let manifests: Vec<String> = pods.iter().map(|pod| pod.manifest()).collect();
    pod_list(manifests.iter().map(String::as_str))
}

/// Pods of which the backend runs at least one container now. As the kubelet asks its runtime, this asks the provider; a
/// workload whose pod the API server does not have is among them, with what is known of it.
pub(super) async fn list_running(State(api): State<Api>) -> Response {
    let mut observed = match api.provider.get_pods().await {
        Ok(observed) => observed,
        Err(error) => return refusal::answer(&error),
    };
    observed.retain(runs);
    observed.sort_by(|a, b| a.id.cmp(&b.id));
    let manifests: Vec<String> = observed.iter().map(|pod| manifest(&api, pod)).collect();
    pod_list(manifests.iter().map(String::as_str))
}

fn runs(pod: &ObservedPod) -> bool {
    let Ok(status) = serde_json::from_str::<PodStatus>(&pod.status) else { return false };
    let lists = [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
    let running = |container: ContainerStatus| container.state.is_some_and(|state| state.running.is_some());
    lists.into_iter().flatten().flatten().any(running)
}

fn manifest(api: &Api, pod: &ObservedPod) -> String {
    let id = &pod.id;
    match api.pods.get(&id.namespace, &id.name).filter(|known| known.uid() == id.uid) {
        Some(known) => known.manifest(),
        None => json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": id.namespace, "name": id.name, "uid": id.uid},
            "spec": {"containers": []},
            "status": serde_json::from_str::<serde_json::Value>(&pod.status).unwrap_or_default(),
        })
        .to_string(),
    }
}

/// The manifests are JSON already; parsed into a typed list they would lose what this version does not know.
fn pod_list<'a>(manifests: impl Iterator<Item = &'a str>) -> Response {
    let mut text = String::from(r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":["#);
    for (number, manifest) in manifests.enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(manifest);
    }
    text.push_str("]}");
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
