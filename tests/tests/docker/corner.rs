//! A test's corner with a node that runs containers, pods for it, and what the engine has of them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Result, anyhow, ensure};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vk_tests::cluster::{Corner, eventually, phase};
use vk_tests::control_plane::{ControlPlane, succeed};
use vk_tests::engine::{self, Container, Engine, tagged};
use vk_tests::host::{HostConfig, plugin};

/// The bridge of the namespace itself, where this program can be reached by containers.
pub(crate) const OUTSIDE: &str = "10.98.0.1";

/// The control plane of all tests in the namespace.
pub(crate) fn control_plane() -> Result<&'static ControlPlane> {
    static SHARED: OnceLock<Result<ControlPlane>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| ControlPlane::start(&engine::folder()?.join("control-plane")));
    shared.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// A corner on the engine of all tests.
pub(crate) async fn corner(name: &str) -> Result<Corner<'static>> {
    corner_at(name, &Engine::shared().await?.socket(), plugin("docker")?).await
}

/// A corner on the engine behind this socket, by this build of the provider.
pub(crate) async fn corner_at(name: &str, socket: &Path, plugin: PathBuf) -> Result<Corner<'static>> {
    let endpoint = format!("engine=unix://{}", socket.display());
    let configure =
        |config: HostConfig| HostConfig { plugin, provider_config: None, ..config }.flag("--endpoint").flag(endpoint);
    Corner::on(control_plane()?, name, configure).await
}

/// A container of the image of all tests that runs a script.
pub(crate) fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": tagged(1), "command": ["sh", "-c", script]})
}

/// What runs until it is killed. It hears no signal, as the first process of a container that has no handler.
pub(crate) fn idle() -> Value {
    json!({"name": "main", "image": tagged(1), "command": ["sleep", "100000"]})
}

/// A pod bound to the test's node, whatever the scheduler thinks, with one container.
pub(crate) fn pod(corner: &Corner<'_>, name: &str, container: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": corner.namespace},
        "spec": {"nodeName": corner.host.node(), "tolerations": [{"operator": "Exists"}], "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1, "containers": [container]},
    })
}

/// A pod that is never started again.
pub(crate) fn once(corner: &Corner<'_>, name: &str, container: Value) -> Value {
    let mut pod = pod(corner, name, container);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod
}

/// What workloads make: pods for the test's node that tolerate its taint.
pub(crate) fn template(corner: &Corner<'_>, label: &str, container: Value) -> Value {
    json!({
        "metadata": {"labels": {"app": label}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": corner.host.node()},
            "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}],
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    })
}

/// Objects of one kind in the test's namespace.
pub(crate) fn objects<K>(corner: &Corner<'_>) -> Api<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    Api::namespaced(corner.client.clone(), &corner.namespace)
}

/// Creates one.
pub(crate) async fn put<K>(corner: &Corner<'_>, object: Value) -> Result<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
    K::DynamicType: Default,
{
    Ok(objects::<K>(corner).create(&PostParams::default(), &serde_json::from_value(object)?).await?)
}

/// Changes one.
pub(crate) async fn change<K>(corner: &Corner<'_>, name: &str, patch: Value) -> Result<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    Ok(objects::<K>(corner).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?)
}

/// What kubectl says in the test's namespace; an error if it fails.
pub(crate) fn kubectl(corner: &Corner<'_>, arguments: &[&str]) -> Result<String> {
    let arguments: Vec<&str> = ["-n", &corner.namespace].into_iter().chain(arguments.iter().copied()).collect();
    let output = succeed(&mut corner.control_plane.kubectl(&arguments))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until the pod's log can be read and is as `is` says.
pub(crate) async fn log_until(corner: &Corner<'_>, pod: &str, what: &str, is: impl Fn(&str) -> bool) -> Result<String> {
    eventually(&format!("the log of {pod} {what}"), || async {
        let log = corner.log(pod).await?;
        if is(&log) { Ok(Some(log)) } else { Err(anyhow!("it is {log:?}")) }
    })
    .await
}

/// The log of a pod that ends well.
pub(crate) async fn last_words(corner: &Corner<'_>, pod: &str) -> Result<String> {
    let ended = corner.until(pod, "has ended", |pod| ["Succeeded", "Failed"].contains(&phase(pod))).await?;
    let log = corner.log(pod).await?;
    ensure!(phase(&ended) == "Succeeded", "{pod} has failed; it said {log:?}");
    Ok(log)
}

/// Waits for an event on the pod that says this.
pub(crate) async fn told(corner: &Corner<'_>, pod: &str, reason: &str, says: &str) -> Result<()> {
    let fields = ListParams::default().fields(&format!("involvedObject.name={pod},reason={reason}"));
    let events = objects::<Event>(corner);
    eventually(&format!("{reason} of {pod} says {says:?}"), || async {
        let events = events.list(&fields).await?.items;
        let messages: Vec<&str> = events.iter().filter_map(|event| event.message.as_deref()).collect();
        ensure!(messages.iter().any(|message| message.contains(says)), "{messages:?}");
        Ok(Some(()))
    })
    .await
}

/// The status of one of the pod's containers, of init containers too.
pub(crate) fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.into_iter().find(|status| status.name == container)
}

/// Why a container waits.
pub(crate) fn waits_for(pod: &Pod, container: &str) -> Option<String> {
    status(pod, container)?.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

/// Its restarts.
pub(crate) fn restarts(pod: &Pod, container: &str) -> i32 {
    status(pod, container).map_or(0, |status| status.restart_count)
}

/// What the shared engine has of the corner's node.
pub(crate) async fn at_engine(corner: &Corner<'_>) -> Result<Vec<Container>> {
    Engine::shared().await?.api().containers(corner.host.node()).await
}

/// Waits until the engine has nothing of the corner's node any more, neither containers nor volumes.
pub(crate) async fn nothing_left(corner: &Corner<'_>, engine: &Engine) -> Result<()> {
    let (api, node) = (engine.api(), corner.host.node());
    eventually("nothing is left at the engine", || async {
        let (containers, volumes) = (api.containers(node).await?, api.volumes(node).await?);
        ensure!(containers.is_empty() && volumes.is_empty(), "{containers:?} {volumes:?}");
        Ok(Some(()))
    })
    .await
}
