//! Security contexts of pods and containers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::or_default;

/// The pod's own.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodSecurity {
    pub(crate) run_as_user: Option<i64>,
    pub(crate) run_as_group: Option<i64>,
    pub(crate) run_as_non_root: Option<bool>,
    pub(crate) fs_group: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) supplemental_groups: Vec<IgnoredAny>,
    pub(crate) supplemental_groups_policy: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) sysctls: Vec<IgnoredAny>,
    pub(crate) seccomp_profile: Option<Profile>,
    pub(crate) app_armor_profile: Option<Profile>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) se_linux_options: BTreeMap<String, IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) windows_options: BTreeMap<String, IgnoredAny>,
}

/// A container's, which goes before the pod's.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Security {
    pub(crate) run_as_user: Option<i64>,
    pub(crate) run_as_group: Option<i64>,
    pub(crate) run_as_non_root: Option<bool>,
    pub(crate) privileged: Option<bool>,
    pub(crate) allow_privilege_escalation: Option<bool>,
    pub(crate) read_only_root_filesystem: bool,
    pub(crate) proc_mount: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) capabilities: Capabilities,
    pub(crate) seccomp_profile: Option<Profile>,
    pub(crate) app_armor_profile: Option<Profile>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) se_linux_options: BTreeMap<String, IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) windows_options: BTreeMap<String, IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Capabilities {
    #[serde(deserialize_with = "or_default")]
    pub(crate) add: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) drop: Vec<String>,
}

/// Of seccomp or AppArmor.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Profile {
    pub(crate) r#type: String,
}
