//! What a group is made of, as far as it is run.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// What a group is made of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec {
    /// Beside the properties.
    #[serde(skip)]
    pub(crate) zones: Vec<String>,
    /// Beside the properties.
    #[serde(skip)]
    pub(crate) identity: Identity,
    #[serde(deserialize_with = "or_default")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) init_containers: Vec<Container>,
    pub(crate) restart_policy: Option<RestartPolicy>,
    pub(crate) os_type: Option<String>,
    pub(crate) sku: Option<String>,
    pub(crate) priority: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) volumes: Vec<Volume>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) image_registry_credentials: Vec<Registry>,
    pub(crate) ip_address: Option<Address>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) subnet_ids: Vec<Value>,
    pub(crate) dns_config: Option<Dns>,
    pub(crate) confidential_compute_properties: Option<Value>,
    pub(crate) diagnostics: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) extensions: Vec<Value>,
    pub(crate) encryption_properties: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) secret_references: Vec<Value>,
    pub(crate) container_group_profile: Option<Value>,
    pub(crate) standby_pool_profile: Option<Value>,
    pub(crate) identity_acls: Option<Value>,
}

/// Whom a group may sign in as.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Identity {
    pub(crate) r#type: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) user_assigned_identities: BTreeMap<String, Value>,
}

impl Identity {
    /// Whether it has one of its own, by its id, which has no case.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.user_assigned_identities.keys().any(|own| own.eq_ignore_ascii_case(id))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum RestartPolicy {
    #[default]
    Always,
    OnFailure,
    Never,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) properties: Properties,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Properties {
    pub(crate) image: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) command: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) environment_variables: Vec<Variable>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) volume_mounts: Vec<Mount>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) ports: Vec<Port>,
    pub(crate) resources: Option<Resources>,
    pub(crate) liveness_probe: Option<Probe>,
    pub(crate) readiness_probe: Option<Probe>,
    pub(crate) security_context: Option<Security>,
    pub(crate) config_map: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) secure_value: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Mount {
    pub(crate) name: String,
    pub(crate) mount_path: String,
    pub(crate) read_only: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Port {
    pub(crate) port: i64,
    pub(crate) protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    pub(crate) requests: Amounts,
    pub(crate) limits: Option<Amounts>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Amounts {
    pub(crate) cpu: Option<f64>,
    #[serde(rename = "memoryInGB")]
    pub(crate) memory: Option<f64>,
    pub(crate) gpu: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Probe {
    pub(crate) exec: Option<Exec>,
    pub(crate) http_get: Option<HttpGet>,
    pub(crate) initial_delay_seconds: Option<u64>,
    pub(crate) period_seconds: Option<u64>,
    pub(crate) failure_threshold: Option<u32>,
    pub(crate) timeout_seconds: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Exec {
    #[serde(deserialize_with = "or_default")]
    pub(crate) command: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct HttpGet {
    pub(crate) path: Option<String>,
    pub(crate) port: u16,
    pub(crate) scheme: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) http_headers: Vec<Header>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Security {
    pub(crate) privileged: bool,
    pub(crate) allow_privilege_escalation: Option<bool>,
    pub(crate) run_as_user: Option<i64>,
    pub(crate) run_as_group: Option<i64>,
    pub(crate) capabilities: Capabilities,
    pub(crate) seccomp_profile: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Capabilities {
    #[serde(deserialize_with = "or_default")]
    pub(crate) add: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) drop: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) empty_dir: Option<Value>,
    pub(crate) secret: Option<BTreeMap<String, String>>,
    pub(crate) azure_file: Option<AzureFile>,
    pub(crate) git_repo: Option<GitRepo>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AzureFile {
    pub(crate) share_name: String,
    pub(crate) storage_account_name: String,
    pub(crate) storage_account_key: Option<String>,
    pub(crate) user_managed_identity_client_id: Option<String>,
    pub(crate) read_only: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GitRepo {
    pub(crate) repository: String,
    pub(crate) directory: Option<String>,
    pub(crate) revision: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Registry {
    pub(crate) server: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) identity: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Address {
    #[serde(deserialize_with = "or_default")]
    pub(crate) ports: Vec<Port>,
    pub(crate) r#type: String,
    pub(crate) dns_name_label: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Dns {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name_servers: Vec<String>,
    pub(crate) search_domains: Option<String>,
    pub(crate) options: Option<String>,
}

impl Spec {
    /// Reads it from a body that the schema allows.
    pub(crate) fn of(body: &Value) -> Result<Self, serde_json::Error> {
        let spec: Self = serde_json::from_value(body.get("properties").cloned().unwrap_or_default())?;
        Ok(Self { zones: beside(body, "zones")?, identity: beside(body, "identity")?, ..spec })
    }

    pub(crate) fn policy(&self) -> RestartPolicy {
        self.restart_policy.unwrap_or_default()
    }

    /// Init containers, and then the others.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }

    /// All cores that are asked for.
    pub(crate) fn cores(&self) -> f64 {
        self.amounts().filter_map(|amounts| amounts.cpu).sum()
    }

    /// All memory that is asked for, in 10⁹ bytes.
    pub(crate) fn memory(&self) -> f64 {
        self.amounts().filter_map(|amounts| amounts.memory).sum()
    }

    fn amounts(&self) -> impl Iterator<Item = &Amounts> {
        self.containers.iter().filter_map(|container| Some(&container.properties.resources.as_ref()?.requests))
    }

    /// The ids of its subnets, which have no case.
    pub(crate) fn subnets(&self) -> Vec<String> {
        let ids = self.subnet_ids.iter().filter_map(|subnet| subnet.get("id")?.as_str());
        ids.map(str::to_lowercase).collect()
    }

    /// What of it is taken and shown, and not done: there are no such machines here.
    pub(crate) fn pretended(&self) -> Vec<&'static str> {
        let is = |field: &Option<String>, word: &str| field.as_deref() == Some(word);
        let https = self.containers.iter().flat_map(|container| {
            [&container.properties.liveness_probe, &container.properties.readiness_probe].into_iter().flatten()
        });
        let is_https = |probe: &Probe| probe.http_get.as_ref().is_some_and(|get| is(&get.scheme, "https"));
        let seccomp = |container: &Container| {
            container.properties.security_context.as_ref().is_some_and(|context| context.seccomp_profile.is_some())
        };
        let table = [
            ("osType Windows", is(&self.os_type, "Windows")),
            ("priority Spot", is(&self.priority, "Spot")),
            ("sku Confidential", is(&self.sku, "Confidential")),
            ("sku Dedicated", is(&self.sku, "Dedicated")),
            ("confidentialComputeProperties", self.confidential_compute_properties.is_some()),
            ("diagnostics", self.diagnostics.is_some()),
            ("extensions", !self.extensions.is_empty()),
            ("encryptionProperties", self.encryption_properties.is_some()),
            ("subnetIds", !self.subnet_ids.is_empty()),
            ("https probes", https.into_iter().any(is_https)),
            ("seccompProfile", self.all().any(seccomp)),
            ("zones", !self.zones.is_empty()),
            ("identity", self.identity.r#type.as_deref().is_some_and(|kind| kind != "None")),
            ("pull identity", self.image_registry_credentials.iter().any(|registry| registry.identity.is_some())),
        ];
        table.into_iter().filter(|(_, is)| *is).map(|(what, _)| what).collect()
    }
}

/// A member of a body that stands beside the properties.
fn beside<T: Default + DeserializeOwned>(body: &Value, name: &str) -> Result<T, serde_json::Error> {
    or_default(body.get(name).cloned().unwrap_or_default())
}

/// `null` is as good as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
