//! Where a group's logs go besides.

use std::collections::BTreeMap;

use vk_aci::group::{Diagnostics, LogAnalytics, LogType};

use super::Scene;
use crate::config::Workspace;

/// As azure-aci, and Container Insights, know them.
const CLUSTER: &str = "cluster-resource-id";
const NODE: &str = "node-name";
const POD: &str = "pod-uuid";

/// none: nowhere else.
pub(super) fn of(scene: Scene<'_>) -> Option<Diagnostics> {
    let Workspace { analytics, cluster } = scene.config.log_analytics.as_ref()?;
    let mut analytics: LogAnalytics = analytics.clone();
    if let Some(cluster) = cluster {
        let pairs = [(CLUSTER, cluster), (NODE, &scene.node.name), (POD, &scene.pod.id.uid)];
        analytics.log_type = Some(LogType::ContainerInsights);
        analytics.metadata =
            pairs.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect::<BTreeMap<_, _>>();
    }
    Some(Diagnostics { log_analytics: Some(analytics) })
}
