//! Volumes. Those of files are rendered by the host; what is read of them here is what a group cannot do.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use vk_provider::quantity::Quantity;

use super::{Named, or_default};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) empty_dir: Option<EmptyDir>,
    pub(crate) config_map: Option<Source>,
    pub(crate) secret: Option<Source>,
    #[serde(rename = "downwardAPI")]
    pub(crate) downward_api: Option<Source>,
    pub(crate) projected: Option<Projected>,
    pub(crate) git_repo: Option<GitRepo>,
    pub(crate) azure_file: Option<AzureFile>,
    pub(crate) csi: Option<Csi>,
    /// Kinds that a group does not have.
    #[serde(flatten)]
    pub(crate) other: BTreeMap<String, IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct EmptyDir {
    pub(crate) medium: String,
    pub(crate) size_limit: Option<Quantity>,
}

/// A ConfigMap, a Secret, or fields of the pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Source {
    pub(crate) default_mode: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) items: Vec<Item>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Item {
    pub(crate) path: String,
    pub(crate) mode: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Projected {
    pub(crate) default_mode: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) sources: Vec<ProjectedSource>,
}

/// One of these; others are refused by the host.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ProjectedSource {
    pub(crate) config_map: Option<Source>,
    pub(crate) secret: Option<Source>,
    #[serde(rename = "downwardAPI")]
    pub(crate) downward_api: Option<Source>,
    pub(crate) service_account_token: Option<Item>,
    pub(crate) cluster_trust_bundle: Option<Item>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GitRepo {
    pub(crate) repository: String,
    pub(crate) revision: String,
    pub(crate) directory: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AzureFile {
    pub(crate) share_name: String,
    pub(crate) read_only: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Csi {
    pub(crate) driver: String,
    pub(crate) fs_type: String,
    pub(crate) read_only: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) volume_attributes: BTreeMap<String, String>,
    pub(crate) node_publish_secret_ref: Option<Named>,
}
