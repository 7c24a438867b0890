//! What the engine tells of containers, as far as it is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use vk_provider::time::Time;

use crate::time::moment;

/// One entry of `GET /containers/json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// Unix time in seconds.
    pub created: u64,
    /// `created`, `running`, `exited` …
    pub state: String,
    /// Each with a slash in front.
    #[serde(deserialize_with = "or_default")]
    pub names: Vec<String>,
    /// As it was made; none: no labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

impl Summary {
    /// Its process runs, or is held.
    pub fn is_running(&self) -> bool {
        is_running(&self.state)
    }
}

/// `GET /containers/ID/json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Details {
    /// Its id.
    pub id: String,
    /// When it was made.
    #[serde(deserialize_with = "moment")]
    pub created: Option<Time>,
    /// How it is.
    pub state: State,
    /// As it was made.
    pub config: Config,
    /// How it was told to run.
    pub host_config: Joined,
    /// Its addresses.
    #[serde(deserialize_with = "or_default")]
    pub network_settings: NetworkSettings,
}

/// How a container was told to run, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Joined {
    /// `bridge`, `host`, `container:ID` …
    pub network_mode: String,
}

/// How a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`; Podman has more.
    pub status: String,
    /// It was killed because it took more memory than it may. Podman does not tell.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Of the last end; 0 before.
    pub exit_code: i64,
    /// What kept it from starting.
    pub error: String,
    /// none: never.
    #[serde(deserialize_with = "moment")]
    pub started_at: Option<Time>,
    /// none: never. Of a container that ended while the engine was down, when the engine came back.
    #[serde(deserialize_with = "moment")]
    pub finished_at: Option<Time>,
}

impl State {
    /// Its process runs, or is held.
    pub fn is_running(&self) -> bool {
        is_running(&self.status)
    }
}

fn is_running(status: &str) -> bool {
    matches!(status, "running" | "paused" | "restarting" | "stopping")
}

/// As it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Config {
    /// none: no labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// It has a terminal.
    pub tty: bool,
    /// `SIGTERM`, or a number; empty: SIGTERM. Podman writes a number for a text.
    #[serde(deserialize_with = "text_or_number")]
    pub stop_signal: String,
}

/// Networks that a container is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// By name.
    #[serde(deserialize_with = "or_default")]
    pub networks: BTreeMap<String, Network>,
}

/// A container's place in one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Network {
    /// IPv4; empty: none.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Empty: none.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
}

impl NetworkSettings {
    /// All addresses, IPv4 first. Of a container that does not run they are those that it had.
    pub fn addresses(&self) -> Vec<String> {
        let v4 = self.networks.values().map(|network| &network.ip_address);
        let v6 = self.networks.values().map(|network| &network.global_ipv6_address);
        v4.chain(v6).filter(|address| !address.is_empty()).cloned().collect()
    }
}

/// Go writes an empty map as `null`.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => text,
        serde_json::Value::Number(number) => number.to_string(),
        _ => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_tells_of_a_container() {
        let details: Details = serde_json::from_str(
            r#"{"Id":"4f","Created":"2026-11-24T10:00:00.123456789Z","State":{"Status":"exited","Running":false,"OOMKilled":true,
            "ExitCode":137,"Error":"","StartedAt":"2026-11-24T10:00:01Z","FinishedAt":"2026-11-24T10:00:02.5Z"},
            "Config":{"Labels":{"a":"b"},"Tty":true,"StopSignal":"SIGQUIT"},
            "NetworkSettings":{"IPAddress":"172.17.0.2","Networks":{"bridge":{"IPAddress":"172.17.0.2","GlobalIPv6Address":""}}}}"#,
        )
        .unwrap();
        assert_eq!((details.state.exit_code, details.state.oom_killed), (137, true));
        assert_eq!(details.state.finished_at, Some(Time::from_millis(1_795_514_402_500)));
        assert_eq!((details.config.tty, details.config.stop_signal.as_str()), (true, "SIGQUIT"));
        assert_eq!(details.network_settings.addresses(), ["172.17.0.2"]);
    }

    #[test]
    fn podman_tells_of_a_container() {
        let details: Details = serde_json::from_str(
            r#"{"Id":"4f","Created":"2026-11-24T11:00:00.5+01:00","State":{"Status":"created","ExitCode":0,"StartedAt":"0001-01-01T00:00:00Z",
            "FinishedAt":"0001-01-01T00:00:00Z"},"Config":{"Labels":null,"StopSignal":15},"NetworkSettings":{"Networks":{
            "podman":{"IPAddress":"10.88.0.2","GlobalIPv6Address":"fd00::2"}}}}"#,
        )
        .unwrap();
        assert_eq!((details.state.started_at, details.state.finished_at), (None, None));
        assert_eq!(details.created, Some(Time::from_millis(1_795_514_400_500)));
        assert_eq!(details.config.stop_signal, "15");
        assert_eq!(details.network_settings.addresses(), ["10.88.0.2", "fd00::2"]);
    }

    #[test]
    fn a_container_of_another_ones_network_has_no_address_of_its_own() {
        let details: Details =
            serde_json::from_str(r#"{"Id":"4f","State":{"Status":"running"},"NetworkSettings":{"Networks":null}}"#)
                .unwrap();
        assert!(details.state.is_running() && details.network_settings.addresses().is_empty());
        let summary: Summary =
            serde_json::from_str(r#"{"Id":"4f","Created":1,"State":"paused","Labels":null}"#).unwrap();
        assert!(summary.is_running());
    }
}
