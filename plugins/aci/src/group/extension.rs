//! What Azure adds to a group for a Virtual Kubelet.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::or_default;
use crate::Redacted;

/// Something that runs beside the containers, such as `kube-proxy` or `realtime-metrics`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Extension {
    /// One of its own.
    pub name: String,
    /// All else.
    #[serde(deserialize_with = "or_default")]
    pub properties: ExtensionProperties,
}

/// What such a thing is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExtensionProperties {
    /// Which.
    pub extension_type: String,
    /// Such as `1.0`.
    pub version: String,
    /// What everybody may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    /// What nobody may, such as a kubeconfig.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected_settings: Option<Redacted<Value>>,
}
