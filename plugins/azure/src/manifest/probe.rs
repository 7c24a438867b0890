//! Probes.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::or_default;

/// Of liveness or readiness. What is none has Kubernetes' default, which is Azure's too.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Probe {
    pub(crate) exec: Option<Exec>,
    pub(crate) http_get: Option<HttpGet>,
    pub(crate) tcp_socket: Option<IgnoredAny>,
    pub(crate) grpc: Option<IgnoredAny>,
    pub(crate) initial_delay_seconds: Option<i32>,
    pub(crate) period_seconds: Option<i32>,
    pub(crate) timeout_seconds: Option<i32>,
    pub(crate) success_threshold: Option<i32>,
    pub(crate) failure_threshold: Option<i32>,
    pub(crate) termination_grace_period_seconds: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Exec {
    #[serde(deserialize_with = "or_default")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct HttpGet {
    pub(crate) path: String,
    pub(crate) port: PortRef,
    pub(crate) host: String,
    pub(crate) scheme: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) http_headers: Vec<Header>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// A port's number, or its name in the container.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum PortRef {
    Number(u16),
    Name(String),
}

impl Default for PortRef {
    fn default() -> Self {
        Self::Number(0)
    }
}
