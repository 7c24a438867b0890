//! What a provider reads of a core/v1 Pod. Small on purpose: k8s-openapi costs a plugin half a MiB and a second of compile time.
//! A field that is missing here can be read with a struct of one's own: [`DesiredPod::read`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

pub use crate::bindings::imports::virtual_kubelet::provider::types::{
    Deletion, DesiredPod, EnvVar, Network, ObservedPod, PodRef, ResolvedContainer,
};

use crate::quantity::Quantity;
use crate::time::Time;
use crate::{Error, Result};

impl PodRef {
    /// `NAMESPACE/NAME/UID`: a key for the store, ordered as `kubectl get pods -A` is.
    pub fn key(&self) -> String {
        [self.namespace.as_str(), &self.name, &self.uid].join("/")
    }

    /// The inverse; none if it is no such key.
    pub fn from_key(key: &str) -> Option<Self> {
        let mut parts = key.splitn(3, '/').map(str::to_owned);
        Some(Self { namespace: parts.next()?, name: parts.next()?, uid: parts.next()? })
    }
}

impl DesiredPod {
    /// The manifest as this module has it.
    ///
    /// # Errors
    /// `invalid-argument` if the manifest is no Pod.
    pub fn parse(&self) -> Result<Pod> {
        self.read()
    }

    /// The manifest as any struct, which may borrow from it.
    ///
    /// # Errors
    /// `invalid-argument` with the field if the manifest does not fit the struct.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_str(&self.manifest).map_err(|error| {
            let error = Error::invalid_argument("InvalidManifest", format!("the manifest cannot be read: {error}"));
            // Only now: keeping the path costs time, and nearly every manifest is good.
            let mut again = serde_json::Deserializer::from_str(&self.manifest);
            match serde_path_to_error::deserialize::<_, T>(&mut again).map_err(|error| error.path().to_string()) {
                Err(path) if path != "." => error.field(path),
                _ => error,
            }
        })
    }

    /// What the host worked out for a container of the manifest.
    pub fn container(&self, name: &str) -> Option<&ResolvedContainer> {
        self.containers.iter().find(|container| container.name == name)
    }
}

/// A Pod as the API server has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Who it is.
    pub metadata: Metadata,
    /// What it should be.
    pub spec: Spec,
}

/// `metadata`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// Unique in the namespace, at one moment.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Unique for ever.
    pub uid: String,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// When the API server made it.
    pub creation_timestamp: Option<Time>,
    /// When it should be gone; none: it is wanted.
    pub deletion_timestamp: Option<Time>,
}

/// `spec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    /// In spec order.
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<Container>,
    /// In the order in which they run.
    #[serde(deserialize_with = "or_default")]
    pub init_containers: Vec<Container>,
    /// Added by `kubectl debug`.
    #[serde(deserialize_with = "or_default")]
    pub ephemeral_containers: Vec<Container>,
    /// When containers are started again.
    pub restart_policy: RestartPolicy,
    /// The pod's own grace as it is written, which may be below zero: see [`Spec::grace`].
    pub termination_grace_period_seconds: Option<i64>,
    /// Each as it is written: `{"name": …, "emptyDir": {}}`.
    #[serde(deserialize_with = "or_default")]
    pub volumes: Vec<serde_json::Value>,
    /// The node it was bound to.
    pub node_name: String,
    /// Its service account.
    pub service_account_name: String,
    /// It wants the node's own network.
    pub host_network: bool,
    /// As it is written.
    pub security_context: Option<serde_json::Value>,
}

impl Spec {
    /// The init containers that go on running beside the ordinary ones. `restartPolicy: Always` makes a sidecar of an init container
    /// and of no other.
    pub fn sidecars(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().filter(|container| container.restart_policy == Some(RestartPolicy::Always))
    }

    /// When a container of this pod is started again: what it says itself goes before what the pod says. Its
    /// `restart_policy_rules` go before both.
    pub fn restart_policy_of(&self, container: &Container) -> RestartPolicy {
        container.restart_policy.unwrap_or(self.restart_policy)
    }

    /// The pod's own grace; none: it says none, though the API server fills in 30 s. Below zero counts as one second, as in Kubernetes.
    pub fn grace(&self) -> Option<Duration> {
        self.termination_grace_period_seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(1)))
    }
}

/// When containers are started again after their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
pub enum RestartPolicy {
    /// Always: Kubernetes' default.
    #[default]
    Always,
    /// After any end but a good one.
    OnFailure,
    /// Never.
    Never,
}

/// One entry of `containers`, `initContainers` or `ephemeralContainers`. Its environment is in [`ResolvedContainer`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// Unique in the pod.
    pub name: String,
    /// The image's reference.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// Before `$(VAR)` expansion; see [`ResolvedContainer::command`].
    #[serde(deserialize_with = "or_default")]
    pub command: Vec<String>,
    /// Before `$(VAR)` expansion; see [`ResolvedContainer::args`].
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<String>,
    /// none: the image's.
    pub working_dir: Option<String>,
    /// Ports that it says it listens on.
    #[serde(deserialize_with = "or_default")]
    pub ports: Vec<Port>,
    /// What it asks for and what it may use.
    #[serde(deserialize_with = "or_default")]
    pub resources: Resources,
    /// Where volumes appear.
    #[serde(deserialize_with = "or_default")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Its own, which goes before the pod's; `Always` makes a sidecar of an init container ([`Spec::sidecars`]).
    pub restart_policy: Option<RestartPolicy>,
    /// As they are written: what follows from certain exit codes.
    #[serde(deserialize_with = "or_default")]
    pub restart_policy_rules: Vec<serde_json::Value>,
    /// As it is written.
    pub liveness_probe: Option<serde_json::Value>,
    /// As it is written.
    pub readiness_probe: Option<serde_json::Value>,
    /// As it is written.
    pub startup_probe: Option<serde_json::Value>,
    /// As it is written.
    pub lifecycle: Option<serde_json::Value>,
    /// As it is written.
    pub security_context: Option<serde_json::Value>,
    /// It wants a stdin.
    pub stdin: bool,
    /// It wants a terminal.
    pub tty: bool,
}

/// One entry of `ports`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    /// Unique in the pod, if it has one.
    pub name: Option<String>,
    /// In the container.
    pub container_port: u16,
    /// On the node.
    pub host_port: Option<u16>,
    /// `TCP`, `UDP` or `SCTP`; none: TCP.
    pub protocol: Option<String>,
}

/// `resources`, by resource name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What it is sure to get.
    #[serde(deserialize_with = "or_default")]
    pub requests: BTreeMap<String, Quantity>,
    /// What it gets at most.
    #[serde(deserialize_with = "or_default")]
    pub limits: BTreeMap<String, Quantity>,
}

/// One entry of `volumeMounts`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume.
    pub name: String,
    /// Where in the container.
    pub mount_path: String,
    /// Only this path of the volume.
    pub sub_path: Option<String>,
    /// It may not write.
    pub read_only: bool,
}

/// Go writes an empty slice or map as `null`.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(manifest: &str) -> DesiredPod {
        crate::testing::desired(manifest)
    }

    #[test]
    fn a_pod_of_the_api_server_is_read() {
        let pod = desired(
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default","uid":"u-1","labels":null,
            "annotations":{"a":"b"},"creationTimestamp":"2026-11-24T10:00:00Z"},"spec":{"volumes":[{"name":"t","emptyDir":{}}],
            "initContainers":[{"name":"proxy","image":"p","restartPolicy":"Always","resources":{}}],
            "containers":[{"name":"c","image":"nginx:1","restartPolicy":"Always","command":["x"],"args":null,"ports":[{"containerPort":80,"protocol":"TCP"}],
            "resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":1}},"terminationMessagePath":"/dev/termination-log"}],
            "restartPolicy":"OnFailure","terminationGracePeriodSeconds":30,"nodeName":"vk"},"status":{"phase":"Pending"}}"#,
        )
        .parse()
        .unwrap();
        assert_eq!((pod.metadata.name.as_str(), pod.metadata.uid.as_str()), ("web", "u-1"));
        assert_eq!(pod.metadata.creation_timestamp.unwrap().to_string(), "2026-11-24T10:00:00Z");
        assert_eq!(pod.spec.restart_policy, RestartPolicy::OnFailure);
        assert_eq!(pod.spec.sidecars().map(|container| container.name.as_str()).collect::<Vec<_>>(), ["proxy"]);
        let container = &pod.spec.containers[0];
        assert_eq!(pod.spec.restart_policy_of(container), RestartPolicy::Always);
        assert_eq!(pod.spec.restart_policy_of(&Container::default()), RestartPolicy::OnFailure);
        assert_eq!(pod.spec.grace(), Some(Duration::from_secs(30)));
        assert_eq!(container.ports[0].container_port, 80);
        assert_eq!(container.resources.requests["cpu"].millis(), 100);
        assert_eq!(container.resources.limits["cpu"].millis(), 1000);
        assert_eq!(pod.spec.volumes[0]["emptyDir"], serde_json::json!({}));
    }

    #[test]
    fn a_broken_manifest_is_an_invalid_argument() {
        let error = desired(r#"{"spec":{"containers":[{"name":1}]}}"#).parse().unwrap_err();
        assert_eq!(error.code, crate::Code::InvalidArgument);
        assert!(error.message.contains("invalid type: integer `1`"), "{}", error.message);
        assert_eq!(error.field.as_deref(), Some("spec.containers[0].name"));
        for broken in ["{}{}", "3"] {
            let mut pod = desired("{}");
            pod.manifest = broken.to_owned();
            let error = pod.parse().unwrap_err();
            assert_eq!((error.reason.as_ref(), error.field), ("InvalidManifest", None), "{broken}");
        }
    }

    #[test]
    fn a_grace_below_zero_is_a_second() {
        let grace =
            |seconds: Option<i64>| Spec { termination_grace_period_seconds: seconds, ..Spec::default() }.grace();
        assert_eq!(
            [None, Some(-5), Some(0), Some(7)].map(grace),
            [None, Some(Duration::from_secs(1)), Some(Duration::ZERO), Some(Duration::from_secs(7))]
        );
        let pod = desired(r#"{"spec":{"terminationGracePeriodSeconds":-1}}"#).parse().unwrap();
        assert_eq!(pod.spec.grace(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_pod_ref_is_a_key_and_can_be_stored() {
        let id = |uid: &str| PodRef { namespace: "n".to_owned(), name: "a".to_owned(), uid: uid.to_owned() };
        let set: std::collections::BTreeSet<PodRef> = [id("2"), id("1"), id("2")].into();
        assert_eq!(set.into_iter().collect::<Vec<_>>(), [id("1"), id("2")]);
        let stored = serde_json::to_string(&id("1")).unwrap();
        assert_eq!(serde_json::from_str::<PodRef>(&stored).unwrap(), id("1"));
        assert_eq!(PodRef::from_key(&id("1").key()), Some(id("1")));
    }
}
