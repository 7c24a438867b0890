//! What containers may do, and what guards them.

use serde::{Deserialize, Serialize};

use super::or_default;

/// What a container may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecurityContext {
    /// All rights on its machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// A process may get more rights than its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_privilege_escalation: Option<bool>,
    /// More or fewer rights than it has by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<LinuxCapabilities>,
    /// none: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i32>,
    /// none: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<i32>,
    /// A profile in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<String>,
}

/// Rights such as `CAP_NET_ADMIN`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LinuxCapabilities {
    /// More.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub add: Vec<String>,
    /// Fewer.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub drop: Vec<String>,
}

/// Of sku `Confidential`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfidentialComputeProperties {
    /// What may run, in base64; none: Azure's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cce_policy: Option<String>,
}

/// A key of one's own for what is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EncryptionProperties {
    /// The vault's URL.
    pub vault_base_url: String,
    /// The key.
    pub key_name: String,
    /// Its version.
    pub key_version: String,
    /// The path in Azure of the identity that may read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}
