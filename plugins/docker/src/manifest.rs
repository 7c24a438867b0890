//! What this provider reads of a pod's manifest. What is missing here is the host's business, such as probes and
//! restart policies, or means nothing to a node.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use vk_provider::quantity::Quantity;

/// The kubelet's default, which the API server fills in.
const MESSAGE_PATH: &str = "/dev/termination-log";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Manifest {
    pub(crate) spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec {
    #[serde(deserialize_with = "or_default")]
    pub(crate) init_containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) ephemeral_containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) volumes: Vec<Volume>,
    pub(crate) priority: Option<i32>,
    pub(crate) host_network: bool,
    #[serde(rename = "hostPID")]
    pub(crate) host_pid: bool,
    #[serde(rename = "hostIPC")]
    pub(crate) host_ipc: bool,
    pub(crate) share_process_namespace: bool,
    pub(crate) host_users: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) security_context: PodSecurity,
    pub(crate) runtime_class_name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) resource_claims: Vec<IgnoredAny>,
    pub(crate) resources: Option<IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) os: Os,
}

/// Which list of a pod a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Init,
    Ordinary,
    Ephemeral,
}

impl List {
    const fn name(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::Ordinary => "containers",
            Self::Ephemeral => "ephemeralContainers",
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

    /// It is an init container and no sidecar: it has ended when those after it start.
    pub(crate) fn ends_before_others(&self) -> bool {
        self.list == List::Init && self.container.restart_policy.as_deref() != Some("Always")
    }
}

impl Spec {
    /// All containers, in the order of the spec.
    pub(crate) fn all(&self) -> impl Iterator<Item = Placed<'_>> {
        let lists = [
            (List::Init, &self.init_containers),
            (List::Ordinary, &self.containers),
            (List::Ephemeral, &self.ephemeral_containers),
        ];
        lists.into_iter().flat_map(|(list, containers)| {
            containers.iter().enumerate().map(move |(index, container)| Placed { list, index, container })
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Os {
    pub(crate) name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) working_dir: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) ports: Vec<Port>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) resources: Resources,
    #[serde(deserialize_with = "or_default")]
    pub(crate) volume_mounts: Vec<Mount>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) volume_devices: Vec<IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) security_context: Security,
    #[serde(deserialize_with = "or_default")]
    pub(crate) lifecycle: Lifecycle,
    pub(crate) stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) tty: bool,
    pub(crate) termination_message_path: Option<String>,
    /// Of an init container: a sidecar's is `Always`.
    pub(crate) restart_policy: Option<String>,
    /// Of an ephemeral container: whose processes it sees.
    pub(crate) target_container_name: Option<String>,
}

impl Container {
    /// Where it leaves its termination message.
    pub(crate) fn message_path(&self) -> &str {
        self.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(MESSAGE_PATH)
    }
}

/// Hooks are the host's.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Lifecycle {
    pub(crate) stop_signal: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Port {
    pub(crate) container_port: u16,
    pub(crate) host_port: u16,
    #[serde(rename = "hostIP")]
    pub(crate) host_ip: String,
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

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) empty_dir: Option<EmptyDir>,
    pub(crate) config_map: Option<IgnoredAny>,
    pub(crate) secret: Option<IgnoredAny>,
    #[serde(rename = "downwardAPI")]
    pub(crate) downward_api: Option<IgnoredAny>,
    pub(crate) projected: Option<Projected>,
    /// Kinds that an engine does not have.
    #[serde(flatten)]
    pub(crate) other: BTreeMap<String, IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct EmptyDir {
    pub(crate) medium: String,
    pub(crate) size_limit: Option<Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Projected {
    /// Each by its kind.
    #[serde(deserialize_with = "or_default")]
    pub(crate) sources: Vec<BTreeMap<String, IgnoredAny>>,
}

/// What pod and container both may say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodSecurity {
    pub(crate) run_as_user: Option<u32>,
    pub(crate) run_as_group: Option<u32>,
    pub(crate) run_as_non_root: Option<bool>,
    pub(crate) fs_group: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) supplemental_groups: Vec<u32>,
    pub(crate) supplemental_groups_policy: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) seccomp_profile: Option<Profile>,
    pub(crate) app_armor_profile: Option<Profile>,
    pub(crate) se_linux_options: Option<SeLinux>,
    pub(crate) windows_options: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Sysctl {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Security {
    pub(crate) run_as_user: Option<u32>,
    pub(crate) run_as_group: Option<u32>,
    pub(crate) run_as_non_root: Option<bool>,
    pub(crate) privileged: bool,
    pub(crate) read_only_root_filesystem: bool,
    pub(crate) allow_privilege_escalation: Option<bool>,
    pub(crate) proc_mount: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) capabilities: Capabilities,
    pub(crate) seccomp_profile: Option<Profile>,
    pub(crate) app_armor_profile: Option<Profile>,
    pub(crate) se_linux_options: Option<SeLinux>,
    pub(crate) windows_options: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Capabilities {
    #[serde(deserialize_with = "or_default")]
    pub(crate) add: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) drop: Vec<String>,
}

/// Of seccomp or AppArmor.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Profile {
    pub(crate) r#type: String,
    pub(crate) localhost_profile: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SeLinux {
    pub(crate) user: String,
    pub(crate) role: String,
    pub(crate) r#type: String,
    pub(crate) level: String,
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
            r#"{"volumes":[{"name":"data","emptyDir":{}},{"name":"token","projected":{"sources":[{"serviceAccountToken":{"path":"token"}},
            {"configMap":{"name":"kube-root-ca.crt"}}],"defaultMode":420}},{"name":"nfs","nfs":{"server":"x"}}],
            "initContainers":[{"name":"first","image":"a"}],"containers":[{"name":"web","image":"nginx:1","ports":[{"containerPort":80,
            "hostPort":8080,"hostIP":"10.0.0.7","protocol":"TCP"}],"resources":{"limits":{"cpu":"1"}},"volumeMounts":[{"name":"data",
            "mountPath":"/data","readOnly":true}],"securityContext":{"runAsUser":1000,"capabilities":{"drop":["ALL"]}},
            "terminationMessagePath":"/dev/termination-log"}],"hostNetwork":true,"securityContext":{"fsGroup":2000,"sysctls":null},
            "nodeName":"vk","restartPolicy":"Always"}"#,
        );
        let places: Vec<String> = spec.all().map(|placed| placed.field(&placed.container.name)).collect();
        assert_eq!(places, ["spec.initContainers[0].first", "spec.containers[0].web"]);
        assert!(spec.host_network && spec.volumes[0].empty_dir.is_some() && spec.volumes[0].other.is_empty());
        assert_eq!(spec.volumes[1].projected.as_ref().unwrap().sources.len(), 2);
        assert_eq!(spec.volumes[2].other.keys().collect::<Vec<_>>(), ["nfs"]);
        let web = &spec.containers[0];
        assert_eq!((web.ports[0].host_port, web.ports[0].host_ip.as_str()), (8080, "10.0.0.7"));
        assert_eq!((web.security_context.run_as_user, spec.security_context.fs_group), (Some(1000), Some(2000)));
        assert_eq!(web.message_path(), "/dev/termination-log");
    }

    #[test]
    fn only_init_containers_that_are_no_sidecars_end_before_others() {
        let spec = parse(
            r#"{"initContainers":[{"name":"first"},{"name":"beside","restartPolicy":"Always"}],"containers":[{"name":"web"}]}"#,
        );
        let ends: Vec<bool> = spec.all().map(|placed| placed.ends_before_others()).collect();
        assert_eq!(ends, [true, false, false]);
    }
}
