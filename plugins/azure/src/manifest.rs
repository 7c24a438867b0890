//! What this provider reads of a pod's manifest. What is missing here is the host's business, such as environments, or
//! means nothing to a node.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use vk_provider::pod::RestartPolicy;
use vk_provider::quantity::Quantity;

mod probe;
mod security;
mod volume;

pub(crate) use probe::{Header, HttpGet, PortRef, Probe};
pub(crate) use security::{PodSecurity, Profile, Security};
pub(crate) use volume::{AzureFile, Csi, EmptyDir, GitRepo, Item, Source, Volume};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Manifest {
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
}

/// Names and uid are in the pod's id.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Metadata {
    #[serde(deserialize_with = "or_default")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// As it is written.
    pub(crate) creation_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec {
    #[serde(deserialize_with = "or_default")]
    pub(crate) init_containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) volumes: Vec<Volume>,
    pub(crate) restart_policy: RestartPolicy,
    pub(crate) host_network: bool,
    #[serde(rename = "hostPID")]
    pub(crate) host_pid: bool,
    #[serde(rename = "hostIPC")]
    pub(crate) host_ipc: bool,
    pub(crate) host_users: Option<bool>,
    pub(crate) share_process_namespace: bool,
    #[serde(rename = "setHostnameAsFQDN")]
    pub(crate) set_hostname_as_fqdn: bool,
    pub(crate) hostname_override: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) host_aliases: Vec<IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) dns_config: DnsConfig,
    #[serde(deserialize_with = "or_default")]
    pub(crate) security_context: PodSecurity,
    pub(crate) runtime_class_name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) resource_claims: Vec<IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) resources: Resources,
    #[serde(deserialize_with = "or_default")]
    pub(crate) os: Os,
}

/// Which list of a pod a container is in. Ephemeral ones are added later, which a group cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Init,
    Ordinary,
}

impl List {
    const fn name(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::Ordinary => "containers",
        }
    }
}

/// A container and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) list: List,
    index: usize,
    pub(crate) container: &'a Container,
}

impl Placed<'_> {
    /// The path of one of its fields, such as `spec.containers[0].image`.
    pub(crate) fn field(&self, rest: &str) -> String {
        format!("spec.{}[{}].{rest}", self.list.name(), self.index)
    }
}

impl Spec {
    /// All containers, in the order of the spec.
    pub(crate) fn all(&self) -> impl Iterator<Item = Placed<'_>> {
        self.init().chain(self.ordinary())
    }

    pub(crate) fn init(&self) -> impl Iterator<Item = Placed<'_>> {
        placed(List::Init, &self.init_containers)
    }

    pub(crate) fn ordinary(&self) -> impl Iterator<Item = Placed<'_>> {
        placed(List::Ordinary, &self.containers)
    }
}

fn placed(list: List, containers: &[Container]) -> impl Iterator<Item = Placed<'_>> {
    containers.iter().enumerate().map(move |(index, container)| Placed { list, index, container })
}

/// The host has worked it out; here it only matters whether the pod says anything.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DnsConfig {
    #[serde(deserialize_with = "or_default")]
    pub(crate) nameservers: Vec<IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) searches: Vec<IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) options: Vec<IgnoredAny>,
}

impl DnsConfig {
    pub(crate) fn says_nothing(&self) -> bool {
        let Self { nameservers, searches, options } = self;
        nameservers.is_empty() && searches.is_empty() && options.is_empty()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Os {
    pub(crate) name: String,
}

/// Command, args and environment are in what the host resolved.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) image_pull_policy: String,
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) ports: Vec<Port>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) env: Vec<Named>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) resources: Resources,
    #[serde(deserialize_with = "or_default")]
    pub(crate) volume_mounts: Vec<Mount>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) volume_devices: Vec<IgnoredAny>,
    pub(crate) liveness_probe: Option<Probe>,
    pub(crate) readiness_probe: Option<Probe>,
    pub(crate) startup_probe: Option<IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) lifecycle: Lifecycle,
    #[serde(deserialize_with = "or_default")]
    pub(crate) security_context: Security,
    pub(crate) restart_policy: Option<RestartPolicy>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) restart_policy_rules: Vec<IgnoredAny>,
    pub(crate) termination_message_path: String,
    pub(crate) stdin: bool,
    pub(crate) tty: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Named {
    pub(crate) name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Lifecycle {
    pub(crate) post_start: Option<IgnoredAny>,
    pub(crate) pre_stop: Option<IgnoredAny>,
    pub(crate) stop_signal: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) container_port: u16,
    pub(crate) host_port: u16,
    pub(crate) protocol: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    #[serde(deserialize_with = "or_default")]
    pub(crate) requests: BTreeMap<String, Quantity>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) limits: BTreeMap<String, Quantity>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) claims: Vec<IgnoredAny>,
}

impl Resources {
    pub(crate) fn says_nothing(&self) -> bool {
        let Self { requests, limits, claims } = self;
        requests.is_empty() && limits.is_empty() && claims.is_empty()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Mount {
    pub(crate) name: String,
    pub(crate) mount_path: String,
    pub(crate) sub_path: String,
    pub(crate) sub_path_expr: String,
    pub(crate) read_only: bool,
    pub(crate) recursive_read_only: Option<String>,
    pub(crate) mount_propagation: Option<String>,
}

/// Go writes an empty slice or map as `null`.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
pub(crate) fn parse(spec: &str) -> Spec {
    serde_json::from_str::<Manifest>(&format!(r#"{{"spec":{spec}}}"#)).unwrap().spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_the_api_server_is_read() {
        let spec = parse(
            r#"{"volumes":[{"name":"token","projected":{"sources":[{"serviceAccountToken":{"path":"token","expirationSeconds":3607}},
            {"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":
            "namespace","fieldRef":{"fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}},{"name":"nfs","nfs":{"server":"x"}}],
            "initContainers":[{"name":"first","image":"a"}],"containers":[{"name":"web","image":"nginx:1","imagePullPolicy":"Always",
            "ports":[{"name":"http","containerPort":80,"protocol":"TCP"}],"env":[{"name":"A","value":"1"}],"resources":{"limits":{"cpu":"1"}},
            "livenessProbe":{"httpGet":{"path":"/","port":"http","scheme":"HTTP"},"periodSeconds":10,"timeoutSeconds":1},
            "volumeMounts":[{"name":"token","mountPath":"/x","readOnly":true}],"securityContext":{"runAsUser":1000},
            "terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst",
            "restartPolicy":"OnFailure","securityContext":{},"schedulerName":"default-scheduler","enableServiceLinks":true}"#,
        );
        let places: Vec<String> = spec.all().map(|placed| placed.field(&placed.container.name)).collect();
        assert_eq!(places, ["spec.initContainers[0].first", "spec.containers[0].web"]);
        assert_eq!(spec.restart_policy, RestartPolicy::OnFailure);
        assert!(spec.dns_config.says_nothing());
        let sources = &spec.volumes[0].projected.as_ref().unwrap().sources;
        assert!(sources[0].service_account_token.is_some());
        assert_eq!(sources[1].config_map.as_ref().unwrap().items[0].path, "ca.crt");
        assert_eq!(spec.volumes[1].other.keys().collect::<Vec<_>>(), ["nfs"]);
        let web = &spec.containers[0];
        let http = web.liveness_probe.as_ref().unwrap().http_get.as_ref().unwrap();
        assert_eq!(http.port, PortRef::Name("http".to_owned()));
        assert_eq!((web.ports[0].container_port, web.env[0].name.as_str()), (80, "A"));
        assert_eq!(web.security_context.run_as_user, Some(1000));
    }

    #[test]
    fn what_go_writes_as_null_is_nothing() {
        let spec = parse(
            r#"{"volumes":null,"containers":[{"name":"c","ports":null,"env":null,"resources":null,"lifecycle":null,
            "securityContext":null}],"dnsConfig":null,"securityContext":null}"#,
        );
        assert!(spec.volumes.is_empty() && spec.containers[0].ports.is_empty());
    }
}
