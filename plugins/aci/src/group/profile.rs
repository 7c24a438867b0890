//! Groups that are described, or wait, elsewhere. From 2026-05-01.

use serde::{Deserialize, Serialize};

/// Where settings of a group stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerGroupProfile {
    /// Its path in Azure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Which of its revisions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i32>,
}

/// A pool of groups that wait to be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StandbyPoolProfile {
    /// Its path in Azure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// An empty pool is a failure; none: then a group is made as always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_container_group_create_on_reuse_failure: Option<bool>,
}
