//! The phase of a pod, from the statuses of its containers: the kubelet's `getPhase`.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus};

use crate::pods::machine::scene::Scene;
use crate::pods::machine::spec::{ContainerSpec, Kind};

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    pub(super) const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// What of a container's status counts.
enum Stand<'a> {
    Running,
    /// It has ended; it may wait to be run again.
    Ended(&'a ContainerStateTerminated),
    /// It has never run.
    Waiting,
}

fn stand(status: &ContainerStatus) -> Stand<'_> {
    let state = status.state.as_ref();
    let ended = state.and_then(|state| state.terminated.as_ref());
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    match (state.is_some_and(|state| state.running.is_some()), ended.or(last)) {
        (true, _) => Stand::Running,
        (false, Some(end)) => Stand::Ended(end),
        (false, None) => Stand::Waiting,
    }
}

/// How many ordinary containers stand how.
#[derive(Default)]
struct Count {
    running: usize,
    waiting: usize,
    stopped: usize,
    succeeded: usize,
    /// Of those that have stopped, those that are not run again.
    final_: usize,
}

/// The phase. `ended`: nothing of the pod runs, and nothing will.
pub(super) fn of(scene: &Scene<'_>, init: &[ContainerStatus], ordinary: &[ContainerStatus], ended: bool) -> Phase {
    let spec = scene.spec;
    let mut count = Count::default();
    let (mut initializing, mut failed) = (false, false);
    for (container, status) in spec.init.iter().zip(init) {
        match (container.kind, stand(status)) {
            (Kind::Sidecar, Stand::Running) => {
                count.running += 1;
                initializing |= status.started != Some(true) && !scene.has_initialized();
            }
            (Kind::Sidecar, Stand::Waiting) => count.waiting += 1,
            // The end of a sidecar says nothing of the pod's.
            (Kind::Sidecar, Stand::Ended(_)) => {}
            (_, Stand::Running | Stand::Waiting) => initializing = true,
            (_, Stand::Ended(end)) => failed |= is_failure(end) && !runs_again(container, end),
        }
    }
    for (container, status) in spec.ordinary.iter().zip(ordinary) {
        match stand(status) {
            Stand::Running => count.running += 1,
            Stand::Waiting => count.waiting += 1,
            Stand::Ended(end) => {
                count.stopped += 1;
                count.succeeded += usize::from(end.exit_code == 0);
                count.final_ += usize::from(!runs_again(container, end));
            }
        }
    }
    if failed { Phase::Failed } else { sum(&count, initializing, ended) }
}

fn sum(count: &Count, initializing: bool, ended: bool) -> Phase {
    if initializing || count.waiting > 0 {
        return Phase::Pending;
    }
    if count.running > 0 {
        return Phase::Running;
    }
    if count.stopped == 0 {
        return Phase::Pending;
    }
    if !ended && count.stopped != count.final_ {
        return Phase::Running;
    }
    if count.stopped == count.succeeded { Phase::Succeeded } else { Phase::Failed }
}

/// Of an init container, which has done nothing if it was out of memory.
fn is_failure(end: &ContainerStateTerminated) -> bool {
    end.exit_code != 0 || end.reason.as_deref() == Some("OOMKilled")
}

fn runs_again(container: &ContainerSpec, end: &ContainerStateTerminated) -> bool {
    container.restart.after(end.exit_code)
}
