//! What a backend of single containers speaks of.

use super::super::bindings::exports::virtual_kubelet::provider::containers as wit;
use crate::provider::containers::{Container, Phase, PullPolicy, Sandbox, SandboxState};

impl From<wit::Sandbox> for Sandbox {
    fn from(sandbox: wit::Sandbox) -> Self {
        let wit::Sandbox { id, revision, ready, ips, host_ip, created_ms } = sandbox;
        Self { id: id.into(), revision, ready, ips, host_ip, created_ms }
    }
}

impl From<wit::Phase> for Phase {
    fn from(phase: wit::Phase) -> Self {
        match phase {
            wit::Phase::Created => Self::Created,
            wit::Phase::Running => Self::Running,
            wit::Phase::Exited => Self::Exited,
            wit::Phase::Lost => Self::Lost,
        }
    }
}

impl From<wit::Container> for Container {
    fn from(container: wit::Container) -> Self {
        let wit::Container {
            pod,
            name,
            attempt,
            id,
            phase,
            started_ms,
            finished_ms,
            exit_code,
            signal,
            oom_killed,
            created_ms,
            image,
            image_id,
            revision,
            engine_error,
        } = container;
        Self {
            pod: pod.into(),
            name,
            attempt,
            id,
            phase: phase.into(),
            started_ms,
            finished_ms,
            exit_code,
            signal,
            oom_killed,
            created_ms,
            image,
            image_id,
            revision,
            engine_error,
        }
    }
}

impl From<wit::SandboxState> for SandboxState {
    fn from(wit::SandboxState { sandbox, containers }: wit::SandboxState) -> Self {
        Self { sandbox: sandbox.into(), containers: super::all(containers) }
    }
}

impl From<PullPolicy> for wit::PullPolicy {
    fn from(policy: PullPolicy) -> Self {
        match policy {
            PullPolicy::IfNotPresent => Self::IfNotPresent,
            PullPolicy::Always => Self::Always,
            PullPolicy::Never => Self::Never,
        }
    }
}

/// One piece of a list: sandboxes and attempts each by themselves.
pub(in crate::plugin) enum Piece {
    Sandbox(Sandbox),
    Container(Container),
}

/// A page and where the next begins.
pub(in crate::plugin) fn page(page: wit::Page) -> (Vec<Piece>, Option<String>) {
    let wit::Page { sandboxes, containers, next } = page;
    let sandboxes = sandboxes.into_iter().map(|sandbox| Piece::Sandbox(sandbox.into()));
    let containers = containers.into_iter().map(|container| Piece::Container(container.into()));
    (sandboxes.chain(containers).collect(), next)
}
