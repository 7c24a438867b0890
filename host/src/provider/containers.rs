//! The other shape of a provider: a backend that runs single containers. The host runs the pod (`pods::machine`).
//!
//! Everything is named by the pod's UID, the container's name and the attempt, which the backend keeps with what it makes, so that a
//! host that starts anew finds its way from what there is. Failures are [`Error`]s with the meaning that their codes have for
//! create-pod: what can never be done ends the pod, the rest is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Call, Deletion, DesiredPod, Error, PodRef, ResolvedContainer};

/// The part of a pod that outlives its containers: network and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Which pod.
    pub id: PodRef,
    /// The revision that it was made with; none: the backend lost it.
    pub revision: Option<String>,
    /// Its network is up.
    pub ready: bool,
    /// The pod's IPs, the main one first; empty: none yet.
    pub ips: Vec<String>,
    /// The IP of the machine it runs on; none: not known.
    pub host_ip: Option<String>,
    /// Unix time in milliseconds, by the backend's clock; none: not known.
    pub created_ms: Option<u64>,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Made and not started.
    Created,
    /// Its process runs.
    Running,
    /// Its process has ended, or could not be started.
    Exited,
    /// The backend knows of it and not how it is.
    Lost,
}

/// One attempt at running one container. Times are Unix times in milliseconds, by the backend's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Of which pod.
    pub pod: PodRef,
    /// As in the spec.
    pub name: String,
    /// Counts from 0.
    pub attempt: u32,
    /// The backend's own id.
    pub id: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// none: not started, or not known.
    pub started_ms: Option<u64>,
    /// none: not finished, or not known.
    pub finished_ms: Option<u64>,
    /// none: not finished, or the backend does not tell.
    pub exit_code: Option<i32>,
    /// Number of the signal that ended it; none: none did, or not known.
    pub signal: Option<u32>,
    /// It ended because it took more memory than it may.
    pub oom_killed: bool,
    /// none: not known.
    pub created_ms: Option<u64>,
    /// As the spec named it when this attempt was made.
    pub image: String,
    /// What [`Containers::pull_image`] returned for it; none: not known.
    pub image_id: Option<String>,
    /// [`ResolvedContainer::revision`] of this attempt; none: the backend lost it.
    pub revision: Option<String>,
    /// What the backend said of a failed start; none: nothing.
    pub engine_error: Option<String>,
}

/// One sandbox with all attempts that still exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxState {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// Its attempts, in any order.
    pub containers: Vec<Container>,
}

/// When to ask a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PullPolicy {
    /// Only if the image is not there.
    IfNotPresent,
    /// In any case: the tag may have moved.
    Always,
    /// Not at all: an image that is not there is `NotFound`.
    Never,
}

/// How a command in a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// none: the backend does not tell.
    pub exit_code: Option<i32>,
    /// The beginning of what it wrote, to stdout and stderr as it came.
    pub output: Bytes,
}

/// What the backend and the way to it allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Commands run in containers.
    pub exec: bool,
    /// The host opens TCP connections to the pods' IPs.
    pub reaches_pods: bool,
}

/// A backend that runs single containers. Every method may take as long as its class of call allows; none may block a thread.
#[async_trait]
pub trait Containers: Send + Sync + 'static {
    /// What it can do, as of now.
    fn abilities(&self) -> Abilities;

    /// Makes the sandbox or finds it, or brings a dead one back to life; puts the pod's volumes in place too. Idempotent by UID.
    async fn ensure_sandbox(&self, call: Call, pod: DesiredPod) -> Result<Sandbox, Error>;

    /// Makes the image present and returns its id. May take minutes.
    async fn pull_image(&self, call: Call, id: &PodRef, image: &str, policy: PullPolicy) -> Result<String, Error>;

    /// Creates and starts one attempt, returning the backend's id. Idempotent by UID, name and attempt.
    async fn start_container(
        &self,
        call: Call,
        pod: DesiredPod,
        container: ResolvedContainer,
        image_id: &str,
        attempt: u32,
    ) -> Result<String, Error>;

    /// Sends the stop signal and returns; a grace of zero kills. The host keeps the time.
    async fn stop_container(
        &self,
        call: Call,
        id: &PodRef,
        name: &str,
        attempt: u32,
        grace: Duration,
    ) -> Result<Deletion, Error>;

    /// Removes a finished attempt and its logs. Absent is success.
    async fn remove_container(&self, call: Call, id: &PodRef, name: &str, attempt: u32) -> Result<(), Error>;

    /// The pod has ended: gives back network, ports and memory, and keeps the attempts and their logs. Absent is success.
    async fn stop_sandbox(&self, call: Call, id: &PodRef) -> Result<(), Error>;

    /// Removes what is left of the pod, running containers too.
    async fn remove_sandbox(&self, call: Call, id: &PodRef) -> Result<Deletion, Error>;

    /// What the container left at `path`, at most 4096 bytes; none: nothing.
    async fn termination_message(
        &self,
        id: &PodRef,
        name: &str,
        attempt: u32,
        path: &str,
    ) -> Result<Option<Bytes>, Error>;

    /// One pod. none: surely absent. An error: not known.
    async fn get_sandbox(&self, id: &PodRef) -> Result<Option<SandboxState>, Error>;

    /// All that this node owns in the backend, and nothing else.
    async fn list_containers(&self) -> Result<Vec<SandboxState>, Error>;

    /// Runs a command without input to its end, for so long at most; none: for as long as it lasts. The time counts from when the
    /// provider has begun, so that waiting for a turn takes nothing of it. ok whatever its exit code; an error: it could not be run.
    /// `DeadlineExceeded`: its time was over. `Cancelled` without effect: it was called off before it began.
    async fn run_in_container(
        &self,
        call: Call,
        id: &PodRef,
        container: &str,
        command: Vec<String>,
        limit: Option<Duration>,
    ) -> Result<Executed, Error>;
}

/// Puts the attempts of a list to their sandboxes, whichever page each was in. Attempts whose sandbox is gone have a dead one.
pub fn gather(sandboxes: Vec<Sandbox>, containers: Vec<Container>) -> Vec<SandboxState> {
    let mut states: BTreeMap<String, SandboxState> = sandboxes
        .into_iter()
        .map(|sandbox| (sandbox.id.uid.clone(), SandboxState { sandbox, containers: Vec::new() }))
        .collect();
    for container in containers {
        let id = container.pod.clone();
        let state = states.entry(id.uid.clone()).or_insert_with(|| SandboxState {
            sandbox: Sandbox { id, revision: None, ready: false, ips: Vec::new(), host_ip: None, created_ms: None },
            containers: Vec::new(),
        });
        state.containers.push(container);
    }
    states.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_find_their_sandbox_and_those_without_one_are_not_lost() {
        let id = |uid: &str| PodRef { namespace: "n".into(), name: "p".into(), uid: uid.into() };
        let sandbox = |uid: &str| Sandbox {
            id: id(uid),
            revision: Some("1".into()),
            ready: true,
            ips: vec!["10.0.0.1".into()],
            host_ip: None,
            created_ms: None,
        };
        let container = |uid: &str, attempt| Container {
            pod: id(uid),
            name: "c".into(),
            attempt,
            id: format!("{uid}-{attempt}"),
            phase: Phase::Running,
            started_ms: None,
            finished_ms: None,
            exit_code: None,
            signal: None,
            oom_killed: false,
            created_ms: None,
            image: "i".into(),
            image_id: None,
            revision: None,
            engine_error: None,
        };
        let states =
            gather(vec![sandbox("a"), sandbox("b")], vec![container("b", 0), container("lost", 3), container("b", 1)]);
        let told: Vec<_> = states
            .iter()
            .map(|state| (state.sandbox.id.uid.as_str(), state.sandbox.ready, state.containers.len()))
            .collect();
        assert_eq!(told, [("a", true, 0), ("b", true, 2), ("lost", false, 1)]);
    }
}
