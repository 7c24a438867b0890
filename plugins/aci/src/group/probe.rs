//! How Azure sees whether a container is well.

use serde::{Deserialize, Serialize};

use super::or_default;
use super::words::words;

/// A question that Azure asks a container again and again: a command or a request. What is none has Kubernetes' default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Probe {
    /// A command in the container: 0 is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// A request to the container: 2xx and 3xx are well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
    /// So long after its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<i32>,
    /// So often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<i32>,
    /// So many times in a row until it counts as ill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<i32>,
    /// So many times in a row until it counts as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<i32>,
    /// So long for an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
}

/// A command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExecAction {
    /// Program and arguments.
    #[serde(deserialize_with = "or_default")]
    pub command: Vec<String>,
}

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpGet {
    /// none: `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A number.
    pub port: u16,
    /// none: `http`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// What the request has besides.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub http_headers: Vec<HttpHeader>,
}

/// A header of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value, which may be a password.
    pub value: crate::Redacted,
}

words! {
    /// How a request is made.
    Scheme {
        /// In clear.
        Http => "http",
        /// With TLS, whatever the certificate.
        Https => "https",
    }
}
