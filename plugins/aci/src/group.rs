//! A container group on the wire, in requests and in answers: names are those of the API.
//!
//! One type for both. What the service alone says (`instance_view`, `provisioning_state` …) is read and never written;
//! what is empty is left out; secrets are [`Redacted`](crate::Redacted), and the service does not give them back. So
//! what was read is not to be compared with what was asked for.
//!
//! Reading forgives: words that are not known here are kept ([`words`]), `null` is as good as nothing where nothing may
//! stand, fields that are not known are skipped, times and tags that are none count as not said.

mod container;
mod diagnostics;
mod extension;
mod identity;
mod network;
mod probe;
mod properties;
mod registry;
mod resources;
mod security;
mod view;
mod volume;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use container::{
    Container, ContainerPort, ContainerProperties, EnvironmentVariable, InitContainer, InitContainerProperties,
    VolumeMount,
};
pub use diagnostics::{Diagnostics, LogAnalytics, LogType};
pub use extension::{Extension, ExtensionProperties};
pub use identity::{Identity, IdentityType, UserAssignedIdentity};
pub use network::{DnsConfig, IpAddress, IpAddressType, LabelScope, Port, Protocol, SubnetId};
pub use probe::{ExecAction, HttpGet, HttpHeader, Probe, Scheme};
pub use properties::{OsType, Priority, Properties, ProvisioningState, RestartPolicy, Sku};
pub use registry::ImageRegistryCredential;
pub use resources::{Gpu, GpuSku, ResourceLimits, ResourceRequests, ResourceRequirements};
pub use security::{ConfidentialComputeProperties, EncryptionProperties, LinuxCapabilities, SecurityContext};
pub use view::{ContainerState, ContainerView, Event, GroupState, GroupView, RunState};
pub use volume::{AzureFile, EmptyDir, GitRepo, Volume};

/// Names and values that a group carries, for whoever looks.
pub type Tags = BTreeMap<String, String>;

/// A container group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Group {
    /// Its path in Azure. Answers only, as are the next two.
    #[serde(skip_serializing)]
    pub id: Option<String>,
    /// Its name in its resource group. In a request it stands in the URL.
    #[serde(skip_serializing)]
    pub name: Option<String>,
    /// `Microsoft.ContainerInstance/containerGroups`.
    #[serde(skip_serializing)]
    pub r#type: Option<String>,
    /// The region, such as `westeurope`. Comes back in another spelling (`WestEurope`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// For whoever looks.
    #[serde(skip_serializing_if = "Tags::is_empty", deserialize_with = "tags")]
    pub tags: Tags,
    /// At most one.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub zones: Vec<String>,
    /// What its containers may sign in as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// All else.
    #[serde(deserialize_with = "or_default")]
    pub properties: Properties,
}

/// `null` as nothing.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Those that have a text. Anybody may tag a group, and not all of Azure's ways to do so insist on one.
pub(crate) fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tags, D::Error> {
    let all: BTreeMap<String, Value> = or_default(deserializer)?;
    let text = |(name, value)| match value {
        Value::String(text) => Some((name, text)),
        _ => None,
    };
    Ok(all.into_iter().filter_map(text).collect())
}
