//! The workspace that logs go to: from a file in Azure's own words, from variables, from the configuration.

use vk_aci::Redacted;
use vk_aci::group::LogAnalytics;

use super::file::LogAnalyticsTable;
use super::merge::Said;
use super::values::FilePath;
use super::{Reading, Workspace};

/// What is said of it, by variables but for the table.
pub(super) struct Parts {
    pub(super) table: LogAnalyticsTable,
    pub(super) file: Option<FilePath>,
    pub(super) id: Option<String>,
    pub(super) key: Option<Redacted>,
    pub(super) cluster: Option<String>,
}

impl Parts {
    /// none: logs go nowhere else, or it cannot be told as yet.
    pub(super) fn workspace(self, reading: &mut Reading) -> Option<Workspace> {
        let plain = |path: Option<FilePath>| path.map(|FilePath(path)| path);
        let names = ("LOG_ANALYTICS_AUTH_LOCATION", "log-analytics.file");
        let field = if self.file.is_some() { names.0 } else { names.1 };
        let file = Said { names, variable: plain(self.file), account: None, file: plain(self.table.file) };
        let of_file = file.counts(reading).and_then(|path| of_file(&path, field, reading));
        let pair = |id, key| Some(LogAnalytics { workspace_id: id?, workspace_key: key?, ..LogAnalytics::default() });
        for (id, key, names) in [
            (&self.id, &self.key, ("LOG_ANALYTICS_ID", "LOG_ANALYTICS_KEY")),
            (
                &self.table.workspace_id,
                &self.table.workspace_key,
                ("log-analytics.workspace-id", "log-analytics.workspace-key"),
            ),
        ] {
            let (there, lacks) = if id.is_some() { names } else { (names.1, names.0) };
            if id.is_some() != key.is_some() {
                reading.mistake(lacks, format!("it is missing, and {there} is nothing without it"));
            }
        }
        let of_table = pair(self.table.workspace_id, self.table.workspace_key);
        let all =
            [("LOG_ANALYTICS_ID", pair(self.id, self.key)), (field, of_file), ("log-analytics.workspace-id", of_table)];
        let mut all = all.into_iter().filter_map(|(who, analytics)| analytics.map(|analytics| (who, analytics)));
        let names = ("CLUSTER_RESOURCE_ID", "log-analytics.cluster-resource-id");
        let cluster = Said { names, variable: self.cluster, account: None, file: self.table.cluster };
        let Some((who, analytics)) = all.next() else {
            cluster.idle("there is no workspace that logs go to", reading);
            return None;
        };
        for (other, LogAnalytics { workspace_id, .. }) in all.filter(|(_, other)| *other != analytics) {
            let id = &analytics.workspace_id;
            reading.told.push(format!("{who} says {id}: {workspace_id} of {other} does not count"));
        }
        Some(Workspace { analytics, cluster: cluster.counts(reading) })
    }
}

/// Its content is no part of any message: there is a key in it.
fn of_file(path: &str, field: &str, reading: &mut Reading) -> Option<LogAnalytics> {
    let content = reading.read_file(path, field, "the workspace that logs go to, and its key")?;
    let parsed: Option<LogAnalytics> = serde_json::from_slice(&content).ok();
    let whole =
        |analytics: &LogAnalytics| !analytics.workspace_id.is_empty() && !analytics.workspace_key.expose().is_empty();
    let analytics = parsed.filter(whole);
    if analytics.is_none() {
        reading.mistake(field, format!("{path} is no JSON with workspaceId and workspaceKey"));
    }
    analytics
}
