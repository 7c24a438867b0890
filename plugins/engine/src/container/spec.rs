//! What `POST /containers/create` takes, as far as it is used. What is empty is not sent: the engine's default counts.

use std::collections::BTreeMap;

use serde::Serialize;

/// A container to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerSpec {
    /// A name, a digest or an id.
    pub image: String,
    /// none: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// none: the image's, if its entrypoint counts too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// `NAME=VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// none: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// `UID` or `UID:GID`; none: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// For whoever looks.
    pub labels: BTreeMap<String, String>,
    /// At most 64 characters; none: the engine's choice, or that of the container whose network is joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// none: no domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// `80/tcp`. Docker publishes only ports that stand here too.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// It has a stdin.
    #[serde(skip_serializing_if = "is_false")]
    pub open_stdin: bool,
    /// Its stdin ends with the first client.
    #[serde(skip_serializing_if = "is_false")]
    pub stdin_once: bool,
    /// It has a terminal.
    #[serde(skip_serializing_if = "is_false")]
    pub tty: bool,
    /// none: the image's, or SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// none: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheck>,
    /// How it runs.
    pub host_config: HostConfig,
}

/// `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Empty {}

/// What the engine calls to see whether a container is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthCheck {
    test: Vec<String>,
}

impl HealthCheck {
    /// Nothing, whatever the image says.
    pub fn none() -> Self {
        Self { test: vec!["NONE".to_owned()] }
    }
}

/// How a container runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    /// `bridge`, `host`, `none`, a network's name, or `container:ID`.
    pub network_mode: String,
    /// `shareable`, `host` or `container:ID`; none: the engine's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<String>,
    /// `host` or `container:ID`; none: its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_mode: Option<String>,
    /// `host`, or `container:ID` with Podman; none: as the engine joins them.
    #[serde(rename = "UTSMode", skip_serializing_if = "Option::is_none")]
    pub uts_mode: Option<String>,
    /// `VOLUME:/path:OPTIONS`. For volumes, as Podman knows `nocopy` here alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub binds: Vec<String>,
    /// Paths of the engine's machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Bind>,
    /// By port such as `80/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub port_bindings: BTreeMap<String, Vec<PortBinding>>,
    /// Addresses of name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// As in resolv.conf.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_options: Vec<String>,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// `NAME:ADDRESS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    /// Kernel parameters of its namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Weight beside other containers; none: 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<i64>,
    /// Microseconds of each period; none: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<i64>,
    /// Bytes; none: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    /// Bytes of memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
    /// From -1000 to 1000: who goes first when the machine runs out of memory; none: the engine's default, 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i64>,
    /// `NET_ADMIN` …, `ALL`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// The same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// Groups beside the user's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// All rights on the engine's machine.
    #[serde(skip_serializing_if = "is_false")]
    pub privileged: bool,
    /// It may not write to its image's files.
    #[serde(skip_serializing_if = "is_false")]
    pub readonly_rootfs: bool,
    /// `no-new-privileges`, `seccomp=…`, `apparmor=…`, `label=…`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,
    /// What the engine does when it ends.
    pub restart_policy: RestartPolicy,
    /// Where its log goes; none: the engine's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_config: Option<LogConfig>,
}

/// A path of the engine's machine in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Bind {
    r#type: &'static str,
    /// On the engine's machine.
    pub source: String,
    /// In the container.
    pub target: String,
    /// The container may not write.
    pub read_only: bool,
}

impl Bind {
    /// Docker refuses a source that is not there, while Podman makes it.
    pub fn new(source: impl Into<String>, target: impl Into<String>, read_only: bool) -> Self {
        Self { r#type: "bind", source: source.into(), target: target.into(), read_only }
    }
}

/// A port of the engine's machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PortBinding {
    /// Empty: all addresses.
    pub host_ip: String,
    /// A number.
    pub host_port: String,
}

/// What the engine does when a container ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicy {
    name: &'static str,
}

impl Default for RestartPolicy {
    /// Nothing: who made it decides.
    fn default() -> Self {
        Self { name: "no" }
    }
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfig {
    /// The driver.
    pub r#type: String,
    /// Its options.
    pub config: BTreeMap<String, String>,
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_api_and_what_is_empty_is_left_out() {
        let spec = ContainerSpec {
            image: "i".to_owned(),
            exposed_ports: [("80/tcp".to_owned(), Empty {})].into(),
            healthcheck: Some(HealthCheck::none()),
            host_config: HostConfig {
                network_mode: "none".to_owned(),
                uts_mode: Some("host".to_owned()),
                mounts: vec![Bind::new("/a", "/b", true)],
                port_bindings: [(
                    "80/tcp".to_owned(),
                    vec![PortBinding { host_ip: String::new(), host_port: "8080".to_owned() }],
                )]
                .into(),
                ..HostConfig::default()
            },
            ..ContainerSpec::default()
        };
        let expected = serde_json::json!({
            "Image": "i", "Labels": {}, "ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                "NetworkMode": "none", "UTSMode": "host", "RestartPolicy": {"Name": "no"},
                "Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true}],
                "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
            },
        });
        assert_eq!(serde_json::to_value(&spec).unwrap(), expected);
    }
}
