//! Which container engine the demo uses: the one that its user uses, or one of its own in a namespace.

use std::env;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail, ensure};
use tokio::time::timeout;

use crate::engine::{self, About, Address, Api, Kind, lacks};

/// Where the engine is, for its own clients too.
const HOST: &str = "DOCKER_HOST";
/// Those speak TLS if this is set.
const TLS: &str = "DOCKER_TLS_VERIFY";
/// An engine whose socket systemd holds is started by the first request.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// What there is.
pub enum Found {
    /// An engine that runs already.
    Users(Api, About),
    /// None, but one can be started in a namespace.
    Startable {
        /// Whose.
        kind: Kind,
        /// Where none answers, and why.
        tried: String,
    },
    /// This is the namespace: one is to be started.
    Inside,
}

/// Looks where engines listen.
pub async fn find() -> Result<Found> {
    if engine::folder().is_ok() {
        return Ok(Found::Inside);
    }
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let mut tried = Vec::new();
    for address in addresses(&variable)? {
        match timeout(ANSWER_LIMIT, Api::reach(address.clone())).await {
            Ok(Ok((api, about))) => return Ok(Found::Users(api, about)),
            Ok(Err(error)) => tried.push(failed(&address, &error)),
            Err(_) => tried.push(format!("{address}: no answer within {ANSWER_LIMIT:?}")),
        }
    }
    let tried = format!("tried {}", tried.join(", "));
    if variable(HOST).is_some() {
        bail!("no container engine answers where {HOST} says ({tried})");
    }
    let kinds = Kind::chosen()?.map_or_else(|| vec![Kind::Docker, Kind::Podman], |kind| vec![kind]);
    let mut reasons = Vec::new();
    for kind in kinds {
        match lacks(kind, &[]) {
            None => return Ok(Found::Startable { kind, tried }),
            Some(reason) => reasons.push(reason),
        }
    }
    let reason = reasons.into_iter().next().context("no kind of engine is known")?;
    bail!(
        "no container engine answers ({tried}), and none can be started here ({reason}). Start Docker or Podman's service, \
         or say where one listens: {HOST}=unix:///PATH or tcp://HOST:PORT"
    )
}

/// Where an engine may listen: where the user says, else in the usual places.
fn addresses(variable: &impl Fn(&str) -> Option<String>) -> Result<Vec<Address>> {
    if let Some(host) = variable(HOST) {
        let address: Address = host.parse().context(HOST)?;
        let tls = matches!(address, Address::Tcp(_)) && variable(TLS).is_some();
        ensure!(!tls, "{HOST}={host}: the demo speaks no TLS, which {TLS} asks for");
        return Ok(vec![address]);
    }
    let below = |name: &str, path: &str| variable(name).map(|folder| Path::new(&folder).join(path));
    let places = [
        Some(PathBuf::from("/run/docker.sock")),
        below("XDG_RUNTIME_DIR", "docker.sock"),
        below("HOME", ".docker/desktop/docker.sock"),
        below("XDG_RUNTIME_DIR", "podman/podman.sock"),
        Some(PathBuf::from("/run/podman/podman.sock")),
    ];
    Ok(places.into_iter().flatten().map(Address::Socket).collect())
}

/// An address, with the reason why none answers there unless there is nothing at all.
fn failed(address: &Address, error: &Error) -> String {
    let reason = error.root_cause();
    let nothing = reason.downcast_ref::<io::Error>().is_some_and(|reason| reason.kind() == ErrorKind::NotFound);
    if nothing { address.to_string() } else { format!("{address}: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
        let told = addresses(&variable).map_err(|error| format!("{error:#}"))?;
        Ok(told.iter().map(Address::to_string).collect())
    }

    #[test]
    fn docker_host_is_the_only_place_if_it_is_set() {
        let sockets = told(&[("XDG_RUNTIME_DIR", "/run/user/7")]).unwrap();
        assert_eq!(sockets.first().map(String::as_str), Some("unix:///run/docker.sock"));
        assert!(sockets.contains(&"unix:///run/user/7/podman/podman.sock".to_owned()), "{sockets:?}");
        assert_eq!(told(&[(HOST, "tcp://far:2375")]), Ok(vec!["http://far:2375".to_owned()]));
        assert_eq!(told(&[(HOST, "unix:///a"), (TLS, "1")]), Ok(vec!["unix:///a".to_owned()]));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_by_name() {
        assert!(told(&[(HOST, "ssh://far")]).unwrap_err().starts_with("DOCKER_HOST: ssh://far is neither"));
        assert!(told(&[(HOST, "tcp://far:2376"), (TLS, "1")]).unwrap_err().contains("DOCKER_TLS_VERIFY"));
    }
}
