//! `GET /healthz`: `ok`, or what is wrong, in the words of Kubernetes' own (apiserver/pkg/server/healthz).
//!
//! It tells whether this host does its work, so that a watchdog that restarts it does good. A backend out of reach is not
//! among that: the node says it as condition ProviderReachable, and a restart would not mend it (R31).

use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Api;
use crate::defaults::node::LEASE_DURATION;

/// A check's name, and what is wrong.
type Check = (&'static str, Result<(), String>);

/// All checks; `?verbose` names each also when all is well.
pub(super) async fn serve(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    let checks = checks(&api);
    let healthy = checks.iter().all(|(_, result)| result.is_ok());
    if healthy && !verbose {
        return "ok".into_response();
    }
    let lines: String = checks.iter().map(line).collect();
    let (status, end) =
        if healthy { (StatusCode::OK, "passed") } else { (StatusCode::INTERNAL_SERVER_ERROR, "failed") };
    (status, format!("{lines}healthz check {end}\n")).into_response()
}

/// `GET /healthz/NAME`: one check alone.
pub(super) async fn serve_one(State(api): State<Api>, Path(name): Path<String>) -> Response {
    let checks = checks(&api);
    match checks.iter().find(|(known, _)| *known == name) {
        Some((_, Ok(()))) => "ok".into_response(),
        Some(check) => (StatusCode::INTERNAL_SERVER_ERROR, line(check)).into_response(),
        None => {
            let known: Vec<&str> = checks.iter().map(|(name, _)| *name).collect();
            (StatusCode::NOT_FOUND, format!("no check {name:?}; there are {}", known.join(", "))).into_response()
        }
    }
}

fn checks(api: &Api) -> Vec<Check> {
    let lease = lease(api.about.heartbeat.age());
    let shutdown = if api.shutdown.is_cancelled() { Err("the host stops".into()) } else { Ok(()) };
    vec![("ping", Ok(())), ("lease", lease), ("shutdown", shutdown)]
}

fn lease(age: Option<Duration>) -> Result<(), String> {
    match age {
        Some(age) if age <= LEASE_DURATION => Ok(()),
        Some(age) => Err(format!("the node's lease was last renewed {} s ago", age.as_secs())),
        None => Err("the node's lease was never renewed".into()),
    }
}

fn line((name, result): &Check) -> String {
    match result {
        Ok(()) => format!("[+]{name} ok\n"),
        Err(wrong) => format!("[-]{name} failed: {wrong}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_has_ended_is_named() {
        assert_eq!(lease(Some(LEASE_DURATION)), Ok(()));
        let check = ("lease", lease(Some(LEASE_DURATION + Duration::from_secs(1))));
        assert_eq!(line(&check), "[-]lease failed: the node's lease was last renewed 41 s ago\n");
        assert!(lease(None).is_err());
    }
}
