//! The least a node can do: one status patch for a pod that is new, one delete for a pod that shall go, no look at what is
//! in it, and of the answers only what says whether it worked. What is above its figures is the price of everything else.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams};
use kube::core::{Request, ResourceExt as _};
use kube::{Api, Client, Resource as _};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::client;

/// As the kubelet does.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// After a write that failed, as `vk-host` does at first.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Only metadata comes back, as to `vk-host`.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Is a node until it is killed.
pub async fn run(kubeconfig: &Path, node: &str) -> Result<()> {
    let client = client::connect(kubeconfig, "vk-bench-bare").await?;
    register(&client, node).await?;
    let pods: Api<Pod> = Api::all(client.clone());
    let fields = format!("spec.nodeName={node}");
    loop {
        let list = pods.list(&ListParams::default().fields(&fields)).await?;
        let mut version = list.metadata.resource_version.unwrap_or_default();
        list.items.into_iter().try_for_each(|pod| act(&client, pod))?;
        // A busy API server ends watches; one that cannot go on where it was begins with a list again.
        'watches: loop {
            let Ok(events) = pods.watch(&WatchParams::default().fields(&fields), &version).await else { break };
            let mut events = std::pin::pin!(events);
            loop {
                match events.try_next().await {
                    Ok(Some(WatchEvent::Added(pod) | WatchEvent::Modified(pod))) => {
                        version = pod.resource_version().unwrap_or(version);
                        act(&client, pod)?;
                    }
                    Ok(Some(WatchEvent::Deleted(pod))) => version = pod.resource_version().unwrap_or(version),
                    Ok(Some(WatchEvent::Bookmark(_))) => {}
                    Ok(None) => break,
                    Ok(Some(WatchEvent::Error(_))) | Err(_) => break 'watches,
                }
            }
        }
    }
}

async fn register(client: &Client, name: &str) -> Result<()> {
    let node = json!({
        "metadata": {"name": name},
        "status": {
            "capacity": {"cpu": "1000", "memory": "10Ti", "pods": "10000"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Bare", "message": "", "lastHeartbeatTime": Timestamp::now()}],
        },
    });
    Api::<Node>::all(client.clone()).create(&PostParams::default(), &serde_json::from_value(node)?).await?;
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let spec =
        |now: Timestamp| json!({"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": format!("{now:.6}")});
    let lease = json!({"metadata": {"name": name}, "spec": spec(Timestamp::now())});
    leases.create(&PostParams::default(), &serde_json::from_value(lease)?).await?;
    let name = name.to_owned();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            let patch = json!({"spec": {"renewTime": format!("{:.6}", Timestamp::now())}});
            // Four chances before anybody minds.
            let _ = leases.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        }
    });
    Ok(())
}

/// Writes what the pod's state asks for, in a task of its own.
fn act(client: &Client, pod: Pod) -> Result<()> {
    let name = pod.name_any();
    let requests = Request::new(Pod::url_path(&(), pod.metadata.namespace.as_deref()));
    let request = if pod.metadata.deletion_timestamp.is_some() {
        // The answer to the delete below, on its way to being gone.
        if pod.metadata.deletion_grace_period_seconds == Some(0) {
            return Ok(());
        }
        let preconditions = Some(Preconditions { uid: pod.metadata.uid, resource_version: None });
        requests.delete(&name, &DeleteParams { preconditions, ..DeleteParams::default().grace_period(0) })?
    } else if pod.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Running") {
        requests.patch_subresource("status", &name, &PatchParams::default(), &Patch::Strategic(running(&pod)))?
    } else {
        return Ok(());
    };
    tokio::spawn(write(client.clone(), request));
    Ok(())
}

/// Sends it until it is taken, or the pod is gone.
async fn write(client: Client, mut request: http::Request<Vec<u8>>) {
    request.headers_mut().insert(http::header::ACCEPT, http::HeaderValue::from_static(METADATA));
    loop {
        match client.request::<IgnoredAny>(request.clone()).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.code == 404 => return,
            // A namesake with another UID.
            Err(kube::Error::Api(status)) if status.code == 409 && status.message.contains("UID") => return,
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
        }
    }
}

/// The whole status of a pod that runs, as large as another node's.
fn running(pod: &Pod) -> Value {
    let now = Timestamp::now().round(jiff::Unit::Second).unwrap_or_default();
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodReadyToStartContainers"];
    let conditions: Vec<Value> =
        conditions.iter().map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now})).collect();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers: Vec<Value> = containers
        .map(|container| {
            json!({
                "name": container.name, "image": container.image, "imageID": "", "containerID": "bare://1",
                "ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}},
            })
        })
        .collect();
    json!({"status": {
        "phase": "Running", "startTime": now, "hostIP": "127.0.0.1", "podIP": "198.18.0.1", "podIPs": [{"ip": "198.18.0.1"}],
        "conditions": conditions, "containerStatuses": containers,
    }})
}
