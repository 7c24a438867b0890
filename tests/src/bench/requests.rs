//! What a side asked the API server for, by the audit log.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::audit::{AuditEvent, Filter};
use crate::control_plane::ControlPlane;

/// Events are a courtesy: counted apart from what pods need, whether they are new or one more of a series.
const EVENTS: &str = " events";

/// Requests of one side in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// By verb and resource, such as `patch pods/status`; of nodes and leases none, which a node without pods makes too.
    pub of_pods: BTreeMap<String, u32>,
    /// About nodes and leases.
    pub of_the_node: u32,
    /// Of all these, those that the API server refused.
    pub refused: u32,
}

impl Requests {
    /// Those of a user since a time, which are behind a place of the log.
    pub fn of(user: &str, since: Timestamp, behind: u64, control_plane: &ControlPlane) -> Result<Self> {
        let filter = Filter { user: Some(user), since: Some(since), ..Filter::default() };
        Ok(Self::count(&control_plane.audit_log().select_behind(behind, filter)?))
    }

    fn count(events: &[AuditEvent]) -> Self {
        let mut requests = Self::default();
        for event in events {
            match event.resource.as_str() {
                "nodes" | "leases" => requests.of_the_node += 1,
                _ => *requests.of_pods.entry(name(event)).or_default() += 1,
            }
            requests.refused += u32::from(event.code >= 400);
        }
        requests
    }

    /// Events written.
    pub fn events(&self) -> u32 {
        self.of_pods.iter().filter(|(name, _)| name.ends_with(EVENTS)).map(|(_, count)| count).sum()
    }

    /// All for pods but events, by verb and resource.
    pub fn by_verb(&self) -> impl Iterator<Item = (&str, u32)> {
        self.of_pods.iter().filter(|(name, _)| !name.ends_with(EVENTS)).map(|(name, count)| (name.as_str(), *count))
    }

    /// All of these.
    pub fn for_pods(&self) -> u32 {
        self.by_verb().map(|(_, count)| count).sum()
    }
}

fn name(event: &AuditEvent) -> String {
    let AuditEvent { verb, resource, subresource, .. } = event;
    match (resource.as_str(), subresource.as_str()) {
        // Such as /version.
        ("", _) => format!("{verb} no resource"),
        (resource, "") => format!("{verb} {resource}"),
        (resource, subresource) => format!("{verb} {resource}/{subresource}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_counted_once() {
        let event = |resource: &str, subresource: &str, verb: &str, code: u16| AuditEvent {
            received: Timestamp::UNIX_EPOCH,
            finished: Timestamp::UNIX_EPOCH,
            user: String::new(),
            user_agent: String::new(),
            verb: verb.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: String::new(),
            name: String::new(),
            code,
        };
        let requests = Requests::count(&[
            event("pods", "status", "patch", 200),
            event("pods", "status", "patch", 200),
            event("pods", "", "delete", 404),
            event("events", "", "create", 201),
            event("events", "", "patch", 200),
            event("nodes", "status", "patch", 200),
            event("leases", "", "update", 200),
            event("configmaps", "", "get", 200),
        ]);
        let by_verb: Vec<_> = requests.by_verb().collect();
        assert_eq!(by_verb, [("delete pods", 1), ("get configmaps", 1), ("patch pods/status", 2)]);
        assert_eq!((requests.for_pods(), requests.events(), requests.of_the_node, requests.refused), (4, 2, 2, 1));
    }
}
