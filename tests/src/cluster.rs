//! What a test asks of a cluster: clients, namespaces, pods on a certain node, and waiting until something is so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod};
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::audit::Filter;
use crate::control_plane::{Component, ControlPlane};
use crate::host::{Host, HostConfig};

/// How long a test waits for what should happen soon. Generous: these machines are noisy, and a test that passes does not wait.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Another patience, in seconds: a cloud takes longer than what runs here.
pub const OTHER_PATIENCE: &str = "VK_TEST_PATIENCE";
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a look may take though nothing is left of its limit.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// What the kubeconfig says, by its current context.
pub async fn config(kubeconfig: &Path) -> Result<kube::Config> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    Ok(kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?)
}

/// A client as the kubeconfig says.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::try_from(config(kubeconfig).await?)?)
}

/// A plugin that is not in the cache takes this long at most, on a busy machine.
const COMPILATION: Duration = Duration::from_secs(300);

/// Plugins that a host has compiled into the cache. The first host of a plugin starts alone: side by side each would compile it, and
/// none would be Ready in time.
static COMPILED: tokio::sync::Mutex<BTreeSet<PathBuf>> = tokio::sync::Mutex::const_new(BTreeSet::new());

/// [`PATIENCE`], unless [`OTHER_PATIENCE`] says another.
fn patience() -> Duration {
    let other = std::env::var(OTHER_PATIENCE).ok().and_then(|seconds| seconds.parse().ok());
    other.map_or(PATIENCE, Duration::from_secs)
}

/// Waits until `look` gives something, as long as a test is patient; an error of `look` is not the end.
pub async fn eventually<T, F: Future<Output = Result<Option<T>>>>(what: &str, look: impl FnMut() -> F) -> Result<T> {
    within(patience(), what, look).await
}

/// As [`eventually`], with a limit of one's own. It looks once at least.
pub async fn within<T, F: Future<Output = Result<Option<T>>>>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> Result<T> {
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed()).max(LAST_LOOK);
        // A client waits for minutes for an API server that hangs.
        let last = tokio::time::timeout(left, look()).await;
        match last.unwrap_or_else(|_| Err(anyhow!("a look took longer than {left:?}"))) {
            Ok(Some(found)) => return Ok(found),
            last if began.elapsed() > limit => {
                bail!(
                    "waited {limit:?} in vain: {what}{}",
                    last.err().map(|e| format!(" (last error: {e:#})")).unwrap_or_default()
                )
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// One test's own corner of a cluster: a host with its node, and a namespace.
pub struct Corner<'a> {
    /// The one that all tests share, or the test's own.
    pub control_plane: &'a ControlPlane,
    /// As cluster admin.
    pub client: Client,
    /// The host under test.
    pub host: Host,
    /// The test's namespace.
    pub namespace: String,
}

/// The control plane that all tests of this process share.
pub fn shared_control_plane() -> Result<&'static ControlPlane> {
    ControlPlane::shared(&crate::host::target().join("control-plane"))
}

/// A control plane of one test alone, which may break it, with flags added to its components'. It ends when it is dropped.
pub fn own_control_plane(name: &str, flags: &[(Component, &str)]) -> Result<ControlPlane> {
    ControlPlane::own(&crate::host::target().join("control-plane"), name, flags)
}

/// A name that no other test has.
pub fn unique(prefix: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Corner<'static> {
    /// A corner of the shared cluster with a mock node that is Ready.
    pub async fn new(name: &str) -> Result<Self> {
        Self::with(name, |config| config).await
    }

    /// As [`new`](Self::new), with another configuration of the host.
    pub async fn with(name: &str, configure: impl FnOnce(HostConfig) -> HostConfig) -> Result<Self> {
        Self::on(shared_control_plane()?, name, configure).await
    }
}

impl<'a> Corner<'a> {
    /// The longest time that the host did not renew its lease. A renewal is due each 10 s, and the node would be taken for dead
    /// after 40 s.
    ///
    /// # Errors
    ///
    /// The audit log cannot be read.
    pub fn longest_without_renewal(&self, began: Timestamp, ended: Timestamp) -> Result<SignedDuration> {
        let log = self.control_plane.audit_log();
        log.wait_flushed(self.control_plane)?;
        let renewals = log.select(Filter {
            resource: Some("leases"),
            name: Some(self.host.node()),
            verb: Some("update"),
            since: Some(began),
            ..Filter::default()
        })?;
        let renewed = renewals.iter().filter(|event| event.code == 200).map(|event| event.received);
        let times: Vec<Timestamp> =
            [began].into_iter().chain(renewed.filter(|at| *at < ended)).chain([ended]).collect();
        let gaps = times.iter().zip(times.iter().skip(1)).map(|(one, next)| one.duration_until(*next));
        Ok(gaps.max().unwrap_or_default())
    }

    /// A corner of this control plane.
    pub async fn on(
        control_plane: &'a ControlPlane,
        name: &str,
        configure: impl FnOnce(HostConfig) -> HostConfig,
    ) -> Result<Self> {
        let client = client(control_plane.admin_kubeconfig()).await?;
        let name = unique(name);
        let namespace = create_namespace(&client, &name).await?;
        let config = configure(HostConfig::mock(control_plane, &name)?);
        let plugin = config.plugin.clone();
        let mut compiled = COMPILED.lock().await;
        let first = (!compiled.contains(&plugin)).then_some(&mut compiled);
        let corner = Self { control_plane, client, host: config.start()?, namespace };
        if let Some(compiled) = first {
            corner.node_ready_within(COMPILATION).await?;
            compiled.insert(plugin);
        }
        drop(compiled);
        corner.node_ready().await?;
        Ok(corner)
    }

    /// The same corner, its ended host started anew.
    pub fn restarted(self) -> Result<Self> {
        Ok(Self { host: self.host.restart()?, ..self })
    }

    /// Waits until the node is Ready, by this process of the host or an earlier one.
    pub async fn node_ready(&self) -> Result<Node> {
        self.node_ready_within(patience()).await
    }

    async fn node_ready_within(&self, limit: Duration) -> Result<Node> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        within(limit, "the node is Ready", || async {
            let node = nodes.get(self.host.node()).await?;
            Ok((condition(&node, "Ready") == Some("True".into())).then_some(node))
        })
        .await
    }

    /// Pods of the test's namespace.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A pod bound to the test's node, whatever the scheduler thinks.
    pub fn pod(&self, name: &str, annotations: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, "annotations": mock(annotations)},
            "spec": {
                "nodeName": self.host.node(),
                "containers": [{"name": "main", "image": "mock"}],
                "tolerations": [{"operator": "Exists"}],
            },
        })
    }

    /// Creates it.
    pub async fn create(&self, pod: Value) -> Result<Pod> {
        Ok(self.pods().create(&PostParams::default(), &serde_json::from_value(pod)?).await?)
    }

    /// Waits until the pod is as `is` says, and returns it.
    pub async fn until(&self, name: &str, what: &str, is: impl Fn(&Pod) -> bool) -> Result<Pod> {
        let pods = self.pods();
        let result = eventually(&format!("pod {name} {what}"), || async {
            let pod = pods.get(name).await?;
            Ok(is(&pod).then_some(pod))
        })
        .await;
        let last = if result.is_err() { pods.get_opt(name).await?.and_then(|pod| pod.status) } else { None };
        result.with_context(|| format!("its status is {}", serde_json::to_string(&last).unwrap_or_default()))
    }

    /// Waits until the pod is Running and Ready.
    pub async fn running(&self, name: &str) -> Result<Pod> {
        self.until(name, "is Running and Ready", |pod| {
            phase(pod) == "Running" && pod_condition(pod, "Ready") == Some("True".into())
        })
        .await
    }

    /// Waits until the pod is in a phase.
    pub async fn in_phase(&self, name: &str, wanted: &str) -> Result<Pod> {
        self.until(name, &format!("is {wanted}"), |pod| phase(pod) == wanted).await
    }

    /// Waits until the API server does not have the pod any more.
    pub async fn gone(&self, name: &str) -> Result<()> {
        self.gone_within(patience(), name).await
    }

    /// As [`gone`](Self::gone), with a limit of one's own.
    pub async fn gone_within(&self, limit: Duration, name: &str) -> Result<()> {
        let (pods, what) = (self.pods(), format!("pod {name} is gone"));
        within(limit, &what, || async { Ok(pods.get_opt(name).await?.is_none().then_some(())) }).await
    }

    /// Deletes the pod with this grace.
    pub async fn delete(&self, name: &str, grace: Option<u32>) -> Result<()> {
        let params = DeleteParams { grace_period_seconds: grace, ..DeleteParams::default() };
        self.pods().delete(name, &params).await?;
        Ok(())
    }

    /// The log of the pod's first container, through the API server and the node.
    pub async fn log(&self, name: &str) -> Result<String> {
        Ok(self.pods().logs(name, &LogParams::default()).await?)
    }

    /// Waits for an event with this reason on an object of this name in this namespace.
    pub async fn event(&self, object: &str, reason: &str) -> Result<Event> {
        event(&self.client, &self.namespace, object, reason).await
    }

    /// Pods of the test's namespace that satisfy `is`.
    pub async fn count(&self, is: impl Fn(&Pod) -> bool) -> Result<usize> {
        Ok(self.pods().list(&ListParams::default()).await?.items.iter().filter(|pod| is(pod)).count())
    }
}

/// Makes a namespace whose default service account is there.
pub async fn create_namespace(client: &Client, name: &str) -> Result<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": name}}))?).await?;
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(client.clone(), name);
    eventually("the default service account exists", || async { Ok(accounts.get_opt("default").await?) }).await?;
    Ok(name.to_string())
}

/// Waits for an event with this reason on an object of this name.
pub async fn event(client: &Client, namespace: &str, object: &str, reason: &str) -> Result<Event> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().fields(&format!("involvedObject.name={object},reason={reason}"));
    eventually(&format!("event {reason} on {object}"), || async {
        Ok(events.list(&params).await?.items.into_iter().next())
    })
    .await
}

/// Annotations of the mock, with their prefix.
pub fn mock(annotations: Value) -> Value {
    let map = annotations.as_object().cloned().unwrap_or_default();
    map.into_iter()
        .map(|(name, value)| (format!("mock.virtual-kubelet.io/{name}"), value))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The pod's phase.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The status of one of the pod's conditions.
pub fn pod_condition(pod: &Pod, kind: &str) -> Option<String> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
        .map(|condition| condition.status.clone())
}

/// The status of one of the node's conditions.
pub fn condition(node: &Node, kind: &str) -> Option<String> {
    node.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
        .map(|condition| condition.status.clone())
}

/// The reason that the pod's first container waits for.
pub fn waiting_reason(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    status.state.as_ref()?.waiting.as_ref()?.reason.clone()
}
