//! Probes: how their results count, and how one is done.
//!
//! A command runs in the container, through the provider; the others come from the host, where that reaches the pods' network.
//! (kubelet: prober/worker.go, prober/prober.go, pkg/probe)

mod count;
mod grpc;
mod http;
mod tcp;
mod tls;

pub(super) use self::http::get;
pub(super) use count::{Answer, Counter};

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::spec::{Check, Port, Probe};
use crate::defaults::machine::{PROBE_OUTPUT, PROBE_RETRIES, PROBE_TURN};
use crate::provider::containers::{Containers, Executed};
use crate::provider::{Call, Code, Effect, Error, PodRef, Why};

/// What a probe is about.
pub(super) struct Target<'a> {
    pub(super) containers: &'a Arc<dyn Containers>,
    pub(super) id: &'a PodRef,
    pub(super) container: &'a str,
    /// The pod's main IP; none: not known.
    pub(super) ip: Option<&'a str>,
}

/// Probes once. One that could not be done is tried again at once, a few times.
pub(super) async fn probe(target: &Target<'_>, probe: &Probe) -> Answer {
    let mut answer = Answer::Error("not tried".into());
    for _ in 0..PROBE_RETRIES {
        answer = once(target, probe).await;
        if !matches!(answer, Answer::Error(_)) {
            break;
        }
    }
    answer
}

async fn once(target: &Target<'_>, probe: &Probe) -> Answer {
    let limit = probe.timeout;
    match &probe.check {
        Check::Exec(command) => exec(target, command, limit).await,
        Check::Http(get) => match address(target, get.host.as_deref(), &get.port) {
            Ok((host, port)) => http::probe(host, port, get, limit).await,
            Err(error) => Answer::Error(error),
        },
        Check::Tcp { host, port } => match address(target, host.as_deref(), port) {
            Ok((host, port)) => tcp::probe(host, port, limit).await,
            Err(error) => Answer::Error(error),
        },
        Check::Grpc { port, service } => match address(target, None, port) {
            Ok((host, port)) => grpc::probe(host, port, service, limit).await,
            Err(error) => Answer::Error(error),
        },
    }
}

fn address<'a>(target: &Target<'a>, host: Option<&'a str>, port: &Port) -> Result<(&'a str, u16), String> {
    let host = host.or(target.ip).ok_or("the pod has no IP yet")?;
    Ok((host, port.clone()?))
}

/// A command that fails is a failure, and so is one that takes too long; one that cannot be run, or does not get its turn, says
/// nothing of the container.
async fn exec(target: &Target<'_>, command: &[String], limit: Duration) -> Answer {
    let (canceller, call) = Call::new();
    let run = target.containers.run_in_container(call, target.id, target.container, command.to_vec(), Some(limit));
    let mut run = std::pin::pin!(run);
    let ended = match timeout(PROBE_TURN.saturating_add(limit), &mut run).await {
        Ok(ended) => ended,
        Err(_) => {
            canceller.cancel(Why::Deadline);
            // It has a little time to end well, if it has begun, and then its instance is dropped.
            run.await
        }
    };
    match ended {
        Ok(Executed { exit_code: Some(0), .. }) => Answer::Success,
        Ok(Executed { exit_code: Some(_), output }) => Answer::Failure(text(&output)),
        Ok(Executed { exit_code: None, .. }) => {
            Answer::Error("the provider does not tell how the command ended".into())
        }
        // The container lacks the program.
        Err(error) if error.code == Code::InvalidArgument => Answer::Failure(error.message),
        Err(error) if is_late(&error) => {
            let command = command.join(" ");
            Answer::Failure(format!("command timed out: {command:?} timed out after {}s", limit.as_secs()))
        }
        Err(error) => Answer::Error(error.message),
    }
}

/// The command had its time and did not end; a provider that says so of the way to its backend has done nothing.
fn is_late(error: &Error) -> bool {
    error.code == Code::DeadlineExceeded && error.effect == Effect::Unknown
}

/// The beginning of what a command wrote.
pub(super) fn text(output: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(output).into_owned();
    text.truncate(text.floor_char_boundary(PROBE_OUTPUT));
    text
}
