//! Where logs go besides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::or_default;
use super::words::words;
use crate::Redacted;

/// Where logs go besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Diagnostics {
    /// A workspace of Azure Monitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_analytics: Option<LogAnalytics>,
}

/// A workspace of Azure Monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogAnalytics {
    /// Its id.
    pub workspace_id: String,
    /// What opens it.
    pub workspace_key: Redacted,
    /// none: all that a container writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_type: Option<LogType>,
    /// What each entry has besides.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub metadata: BTreeMap<String, String>,
    /// Its path in Azure, which the API counts among its secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_resource_id: Option<Redacted>,
}

words! {
    /// Which tables of the workspace are written.
    LogType {
        /// Those of Container Insights.
        ContainerInsights => "ContainerInsights",
        /// One of Container Instances' own.
        ContainerInstanceLogs => "ContainerInstanceLogs",
    }
}
