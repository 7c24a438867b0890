//! How a group and its containers run. Answers only.

use serde::{Deserialize, Deserializer};
use vk_provider::time::Time;

use super::or_default;
use super::words::words;

/// How a group runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupView {
    /// What happened to it as a whole.
    #[serde(deserialize_with = "or_default")]
    pub events: Vec<Event>,
    /// none: not said.
    pub state: Option<GroupState>,
}

words! {
    /// What a group does.
    GroupState {
        /// At least one container runs.
        Running => "Running",
        /// Somebody stopped it.
        Stopped => "Stopped",
        /// It is being made ready.
        Pending => "Pending",
        /// All containers ended, with 0.
        Succeeded => "Succeeded",
        /// A container ended with another code.
        Failed => "Failed",
    }
}

/// How a container runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerView {
    /// How often it was started again.
    #[serde(deserialize_with = "or_default")]
    pub restart_count: i32,
    /// Now; none: not said.
    pub current_state: Option<ContainerState>,
    /// Before it was started again; none: never, or not said.
    pub previous_state: Option<ContainerState>,
    /// What happened to it.
    #[serde(deserialize_with = "or_default")]
    pub events: Vec<Event>,
}

impl ContainerView {
    /// It has been started at some time.
    pub fn has_begun(&self) -> bool {
        let state = self.current_state.as_ref();
        self.restart_count > 0
            || self.previous_state.as_ref().is_some_and(ContainerState::has_ended)
            || state.is_some_and(|state| state.has_ended() || state.is_running())
    }
}

/// What a container does, or did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerState {
    /// What.
    pub state: RunState,
    /// Since when.
    #[serde(deserialize_with = "moment")]
    pub start_time: Option<Time>,
    /// Until when.
    #[serde(deserialize_with = "moment")]
    pub finish_time: Option<Time>,
    /// Of its end; none: not said. Windows has codes beyond 32 bits with a sign.
    pub exit_code: Option<i64>,
    /// A word for why, such as `Error`, `OOMKilled`, `CrashLoopBackOff: …`; none or empty: not said.
    pub detail_status: Option<String>,
}

impl ContainerState {
    /// It runs.
    pub fn is_running(&self) -> bool {
        self.state == RunState::Running
    }

    /// It has ended, also where older versions have another word for it.
    pub const fn has_ended(&self) -> bool {
        match &self.state {
            RunState::Terminated => true,
            RunState::Running | RunState::Waiting => false,
            RunState::Other(_) => self.exit_code.is_some() || self.finish_time.is_some(),
        }
    }
}

words! {
    /// What a container does.
    RunState {
        /// It runs.
        Running => "Running",
        /// For its image, for an init container, or for its next start.
        Waiting => "Waiting",
        /// It ended.
        Terminated => "Terminated",
    }
}

/// Something that happened, as often as it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Event {
    /// `Pulling`, `Started`, `FailedMount` …
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// `Normal` or `Warning`. A failed mount is `Normal` too: go by the name.
    #[serde(deserialize_with = "or_default")]
    pub r#type: String,
    /// How often.
    #[serde(deserialize_with = "or_default")]
    pub count: i32,
    /// When it happened first.
    #[serde(deserialize_with = "moment")]
    pub first_timestamp: Option<Time>,
    /// When it happened last.
    #[serde(deserialize_with = "moment")]
    pub last_timestamp: Option<Time>,
    /// For people.
    #[serde(deserialize_with = "or_default")]
    pub message: String,
}

/// A time, with `Z` or with `+00:00`; none: not said, or it is none.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let text: Option<String> = Deserialize::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_begun_was_started_at_some_time() {
        for (view, begun) in [
            ("{}", false),
            (r#"{"currentState":{"state":"Waiting"}}"#, false),
            (r#"{"currentState":{"state":"Running"}}"#, true),
            (r#"{"currentState":{"state":"Terminated"}}"#, true),
            (r#"{"currentState":{"state":"Dreaming"}}"#, false),
            (r#"{"currentState":{"state":"Exited","exitCode":0}}"#, true),
            (r#"{"currentState":{"state":"Exited","finishTime":"2026-01-01T00:00:00Z"}}"#, true),
            (r#"{"currentState":{"state":"Waiting"},"previousState":{"state":"Waiting"}}"#, false),
            (r#"{"currentState":{"state":"Waiting"},"previousState":{"state":"Terminated"}}"#, true),
            (r#"{"currentState":{"state":"Waiting"},"restartCount":1}"#, true),
        ] {
            let read: ContainerView = serde_json::from_str(view).unwrap();
            assert_eq!(read.has_begun(), begun, "{view}");
        }
    }
}
