//! A core/v1 PodStatus, to be built and written as JSON.
//!
//! ```
//! use vk_provider::status::{ContainerStatus, Phase, PodStatus};
//! use vk_provider::time::Time;
//!
//! let start = Time::from_millis(1_795_514_400_000);
//! let status = PodStatus::new(Phase::Running)
//!     .started(start)
//!     .pod_ip("10.1.2.3")
//!     .container(ContainerStatus::new("web", "nginx:1").id("engine://4f").running(start).ready(true));
//! assert!(status.to_json().contains(r#""state":{"running":{"startedAt":"2026-11-24T10:00:00Z"}}"#));
//! ```

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::pod::{ObservedPod, PodRef};
use crate::time::Time;

/// Text that is nearly always a literal.
pub type Text = Cow<'static, str>;

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Accepted; not every container has been started.
    #[default]
    Pending,
    /// At least one container runs or will run again.
    Running,
    /// All containers have ended well for good.
    Succeeded,
    /// All containers have ended for good, one of them badly.
    Failed,
    /// Nobody knows.
    Unknown,
}

/// `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// Where the pod is in its life.
    pub phase: Phase,
    /// In the order in which they were added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Text>,
    /// CamelCase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// The machine it runs on.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// The same, for both families.
    #[serde(rename = "hostIPs", skip_serializing_if = "Vec::is_empty")]
    pub host_ips: Vec<Ip>,
    /// The pod's main address.
    #[serde(rename = "podIP", skip_serializing_if = "Option::is_none")]
    pub pod_ip: Option<String>,
    /// All of its addresses, the main one first.
    #[serde(rename = "podIPs", skip_serializing_if = "Vec::is_empty")]
    pub pod_ips: Vec<Ip>,
    /// When the node took the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// In spec order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// In spec order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_statuses: Vec<ContainerStatus>,
    /// In spec order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ephemeral_container_statuses: Vec<ContainerStatus>,
}

/// One entry of `podIPs` or `hostIPs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// IPv4 or IPv6.
    pub ip: String,
}

impl PodStatus {
    /// A status of this phase and nothing else.
    pub fn new(phase: Phase) -> Self {
        Self { phase, ..Self::default() }
    }

    /// When the node took the pod.
    #[must_use]
    pub fn started(mut self, at: Time) -> Self {
        self.start_time = Some(at);
        self
    }

    /// One more address of the pod; the first is the main one.
    #[must_use]
    pub fn pod_ip(mut self, ip: impl Into<String>) -> Self {
        let ip = ip.into();
        self.pod_ip.get_or_insert_with(|| ip.clone());
        self.pod_ips.push(Ip { ip });
        self
    }

    /// One more address of the machine; the first is the main one.
    #[must_use]
    pub fn host_ip(mut self, ip: impl Into<String>) -> Self {
        let ip = ip.into();
        self.host_ip.get_or_insert_with(|| ip.clone());
        self.host_ips.push(Ip { ip });
        self
    }

    /// Why the pod is as it is.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Text>, message: impl Into<Text>) -> Self {
        self.reason = Some(reason.into());
        self.message = Some(message.into());
        self
    }

    /// One condition more.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// One ordinary container more.
    #[must_use]
    pub fn container(mut self, status: ContainerStatus) -> Self {
        self.container_statuses.push(status);
        self
    }

    /// One init container more.
    #[must_use]
    pub fn init_container(mut self, status: ContainerStatus) -> Self {
        self.init_container_statuses.push(status);
        self
    }

    /// As the contract carries it.
    pub fn to_json(&self) -> String {
        // Strings, numbers and times: nothing here can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The pod as the backend has it, with this status.
    pub fn observed(&self, id: PodRef, revision: Option<String>) -> ObservedPod {
        ObservedPod { id, revision, status: self.to_json() }
    }
}

/// One entry of `conditions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `ContainersReady` …
    #[serde(rename = "type")]
    pub kind: Text,
    /// `True`, `False` or `Unknown`.
    pub status: Text,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// CamelCase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Text>,
}

impl Condition {
    /// A condition that holds, or does not.
    pub fn new(kind: impl Into<Text>, holds: bool) -> Self {
        let status = if holds { "True" } else { "False" }.into();
        Self { kind: kind.into(), status, last_transition_time: None, reason: None, message: None }
    }

    /// Since when it is so.
    #[must_use]
    pub fn since(mut self, at: Time) -> Self {
        self.last_transition_time = Some(at);
        self
    }

    /// Why it is so.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Text>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// What a person should know.
    #[must_use]
    pub fn message(mut self, message: impl Into<Text>) -> Self {
        self.message = Some(message.into());
        self
    }
}

/// One entry of `containerStatuses`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    /// As in the spec.
    pub name: String,
    /// What it does now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ContainerState>,
    /// How the attempt before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_state: Option<ContainerState>,
    /// It may be sent requests.
    pub ready: bool,
    /// Its startup probe has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<bool>,
    /// Attempts before this one.
    pub restart_count: u32,
    /// The reference that runs.
    pub image: String,
    /// Its digest.
    #[serde(rename = "imageID")]
    pub image_id: String,
    /// `engine://id`.
    #[serde(rename = "containerID", skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
}

impl ContainerStatus {
    /// A container of which nothing more is known.
    pub fn new(name: impl Into<String>, image: impl Into<String>) -> Self {
        Self { name: name.into(), image: image.into(), ..Self::default() }
    }

    /// The backend's own id, such as `docker://4f…`.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.container_id = Some(id.into());
        self
    }

    /// The image's digest.
    #[must_use]
    pub fn image_id(mut self, id: impl Into<String>) -> Self {
        self.image_id = id.into();
        self
    }

    /// It waits.
    #[must_use]
    pub fn waiting(mut self, reason: impl Into<Text>, message: Option<String>) -> Self {
        self.state =
            Some(ContainerState::Waiting(Waiting { reason: Some(reason.into()), message: message.map(Into::into) }));
        self.started = Some(false);
        self
    }

    /// It runs.
    #[must_use]
    pub fn running(mut self, since: Time) -> Self {
        self.state = Some(ContainerState::Running(Running { started_at: Some(since) }));
        self.started = Some(true);
        self
    }

    /// It has ended.
    #[must_use]
    pub fn terminated(mut self, end: Terminated) -> Self {
        self.state = Some(ContainerState::Terminated(end));
        self.started = Some(false);
        self
    }

    /// How the attempt before ended, and how many there were.
    #[must_use]
    pub fn restarted(mut self, times: u32, last: Option<Terminated>) -> Self {
        self.restart_count = times;
        self.last_state = last.map(ContainerState::Terminated);
        self
    }

    /// It may be sent requests.
    #[must_use]
    pub fn ready(mut self, ready: bool) -> Self {
        self.ready = ready;
        self
    }
}

/// What a container does. Exactly one of the three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContainerState {
    /// It has not started, or waits to be started again.
    Waiting(Waiting),
    /// It runs.
    Running(Running),
    /// It has ended.
    Terminated(Terminated),
}

/// `state.waiting`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// `ContainerCreating`, `PodInitializing`, `CrashLoopBackOff` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Text>,
}

/// `state.running`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
}

/// `state.terminated`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminated {
    /// Never made up: [`Terminated::unknown`] where the backend does not tell it.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Text>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Which attempt it was.
    #[serde(rename = "containerID", default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
}

impl Terminated {
    /// An end with a known exit code, with the kubelet's reason: `Completed` for 0, `Error` for the rest.
    pub fn exited(code: i32, started: Time, finished: Time) -> Self {
        let reason = if code == 0 { "Completed" } else { "Error" };
        Self {
            exit_code: code,
            reason: Some(reason.into()),
            started_at: Some(started),
            finished_at: Some(finished),
            ..Self::default()
        }
    }

    /// An end of which nobody knows the exit code: 137, as the kubelet says.
    pub fn unknown() -> Self {
        Self { exit_code: 137, reason: Some("ContainerStatusUnknown".into()), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_in_the_schema_of_core_v1() {
        let start = Time::from_millis(1_795_514_400_000);
        let end = start + std::time::Duration::from_secs(5);
        let status = PodStatus::new(Phase::Running)
            .started(start)
            .host_ip("192.0.2.1")
            .pod_ip("10.1.2.3")
            .condition(
                Condition::new("Ready", false)
                    .since(end)
                    .because("ContainersNotReady")
                    .message("containers with unready status: [c]"),
            )
            .container(
                ContainerStatus::new("c", "i")
                    .image_id("i@sha256:0")
                    .waiting("CrashLoopBackOff", Some("back-off 10s".into()))
                    .restarted(
                        1,
                        Some(Terminated { container_id: Some("mock://1".into()), ..Terminated::exited(3, start, end) }),
                    ),
            );
        let expected = serde_json::json!({
            "phase": "Running", "hostIP": "192.0.2.1", "hostIPs": [{"ip": "192.0.2.1"}], "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}],
            "startTime": "2026-11-24T10:00:00Z",
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-24T10:00:05Z", "reason": "ContainersNotReady",
                "message": "containers with unready status: [c]"}],
            "containerStatuses": [{"name": "c", "image": "i", "imageID": "i@sha256:0", "ready": false, "started": false, "restartCount": 1,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "startedAt": "2026-11-24T10:00:00Z",
                    "finishedAt": "2026-11-24T10:00:05Z", "containerID": "mock://1"}}}],
        });
        let written: serde_json::Value = serde_json::from_str(&status.to_json()).unwrap();
        assert_eq!(written, expected);
        assert_eq!(serde_json::from_str::<PodStatus>(&status.to_json()).unwrap(), status);
    }
}
