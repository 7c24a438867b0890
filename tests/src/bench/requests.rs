//! What a side asked the API server for, by the audit log.

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::audit::{AuditEvent, Filter};
use crate::control_plane::ControlPlane;

/// Requests of one side in one run, by what they were about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Patches and updates of pods' status.
    pub status: u32,
    /// Deletes of pods.
    pub deletes: u32,
    /// Anything else about pods: reads, lists, ended watches.
    pub other_pods: u32,
    /// Events written.
    pub events: u32,
    /// Nodes and leases.
    pub node: u32,
    /// Everything else, such as service accounts and configuration.
    pub other: u32,
    /// Of all these, those that the API server refused.
    pub refused: u32,
}

impl Requests {
    /// Those of a user since a time.
    pub fn of(user: &str, since: Timestamp, control_plane: &ControlPlane) -> Result<Self> {
        let filter = Filter { user: Some(user), since: Some(since), ..Filter::default() };
        Ok(Self::count(&control_plane.audit_log().select(filter)?))
    }

    fn count(events: &[AuditEvent]) -> Self {
        let mut requests = Self::default();
        for event in events {
            let count = match (event.resource.as_str(), event.subresource.as_str(), event.verb.as_str()) {
                ("pods", "status", "patch" | "update") => &mut requests.status,
                ("pods", "", "delete") => &mut requests.deletes,
                ("pods", ..) => &mut requests.other_pods,
                ("events", ..) => &mut requests.events,
                ("nodes" | "leases", ..) => &mut requests.node,
                _ => &mut requests.other,
            };
            *count += 1;
            requests.refused += u32::from(event.code >= 400);
        }
        requests
    }

    /// About pods or for their sake, but for events.
    pub fn for_pods(&self) -> u32 {
        self.status + self.deletes + self.other_pods + self.other
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
        let events = [
            event("pods", "status", "patch", 200),
            event("pods", "", "delete", 404),
            event("pods", "", "get", 200),
            event("events", "", "create", 201),
            event("leases", "", "update", 200),
            event("configmaps", "", "list", 200),
        ];
        let all = Requests { status: 1, deletes: 1, other_pods: 1, events: 1, node: 1, other: 1, refused: 1 };
        assert_eq!(Requests::count(&events), all);
        assert_eq!(all.for_pods(), 4);
    }
}
