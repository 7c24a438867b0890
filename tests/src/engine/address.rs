//! Where an engine listens, as its client's DOCKER_HOST says it and as `vk-host --endpoint` takes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Error, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// At a unix socket.
    Socket(PathBuf),
    /// At `HOST:PORT`, without TLS.
    Tcp(String),
}

impl Address {
    /// What the URLs of requests begin with.
    pub(super) fn base(&self) -> String {
        match self {
            Self::Socket(_) => "http://engine".to_owned(),
            Self::Tcp(authority) => format!("http://{authority}"),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    /// As in DOCKER_HOST.
    fn from_str(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("unix://") {
            ensure!(path.starts_with('/'), "{text} is no socket's absolute path: unix:///PATH");
            return Ok(Self::Socket(path.into()));
        }
        match text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://")) {
            Some(authority) => Ok(Self::Tcp(authority.trim_end_matches('/').to_owned())),
            None => bail!("{text} is neither unix:///PATH nor tcp://HOST:PORT"),
        }
    }
}

impl fmt::Display for Address {
    /// As `--endpoint` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(_) => f.write_str(&self.base()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_host_says_is_said_as_an_endpoint() {
        for (text, endpoint) in [
            ("unix:///run/docker.sock", Some("unix:///run/docker.sock")),
            ("tcp://127.0.0.1:2375", Some("http://127.0.0.1:2375")),
            ("tcp://engine.example:2375/", Some("http://engine.example:2375")),
            ("unix://docker.sock", None),
            ("ssh://me@engine.example", None),
        ] {
            let said = text.parse::<Address>().map(|address| address.to_string());
            assert_eq!(said.as_deref().ok(), endpoint, "{text}: {said:?}");
        }
    }
}
