//! The status of a pod as the kubelet writes it: a pure function of what the decision is made from too.
//!
//! What does not depend on the machine the pods' half adds ([`crate::pods::status`]): conditions of readiness and their times, the
//! node's address, the order of containers.
//!
//! (kubelet: kubelet_pods.go `generateAPIPodStatus`, `getPhase`, `convertToAPIContainerStatuses`; status_manager.go `TerminatePod`)

mod container;
mod phase;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, PodCondition, PodIP, PodStatus,
};

use super::clock::Moment;
use super::decide;
use super::memory::Memory;
use super::observed::Observed;
use super::scene::Scene;
use super::spec::{ContainerSpec, Spec};
use phase::Phase;

/// Bytes that the messages of a pod's containers may take in all; each has an equal part.
const LONGEST_MESSAGES: usize = 12 << 10;

/// The status. `runtime`: the kind of the backend's ids, such as `docker`.
pub(super) fn status(spec: &Spec, observed: &Observed, memory: &Memory, now: Moment, runtime: &str) -> PodStatus {
    let scene = Scene { spec, observed, memory, now };
    let over = decide::is_over(&scene);
    let list = |containers: &[ContainerSpec]| -> Vec<ContainerStatus> {
        containers.iter().map(|container| container::status(&scene, container, over, runtime)).collect()
    };
    let (mut init, mut ordinary, ephemeral) = (list(&spec.init), list(&spec.ordinary), list(&spec.ephemeral));
    let ended = over && scene.is_down();
    let mut phase = phase::of(&scene, &init, &ordinary, ended);
    let for_good = memory.ending.is_some() || memory.refused.is_some() || memory.abandoned;
    if ended && for_good && !phase.is_terminal() {
        // Whatever did not come to its end has failed.
        phase = Phase::Failed;
        terminate(spec, &mut init, &mut ordinary);
    }
    if ended && memory.refused.is_some() {
        phase = Phase::Failed;
    }
    if phase.is_terminal() && !ended {
        // A pod is over once nothing of it runs.
        phase = if scene.has_initialized() { Phase::Running } else { Phase::Pending };
    }
    let (reason, message) = memory.refused.clone().filter(|_| phase == Phase::Failed).unzip();
    let mut status = PodStatus {
        phase: Some(phase.name().into()),
        reason,
        message,
        // A pod that is over is about to give its sandbox back.
        conditions: Some(vec![sandbox_condition(observed.is_ready() && !ended)]),
        init_container_statuses: some(init),
        container_statuses: some(ordinary),
        ephemeral_container_statuses: some(ephemeral),
        ..PodStatus::default()
    };
    addresses(&scene, &mut status);
    shorten(spec, &mut status);
    status
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn sandbox_condition(ready: bool) -> PodCondition {
    PodCondition {
        type_: "PodReadyToStartContainers".into(),
        status: if ready { "True" } else { "False" }.into(),
        ..PodCondition::default()
    }
}

fn addresses(scene: &Scene<'_>, status: &mut PodStatus) {
    let sandbox = scene.observed.sandbox.as_ref();
    status.host_ip = sandbox.and_then(|sandbox| sandbox.host_ip.clone()).filter(|ip| !ip.is_empty());
    let mut ips = scene.observed.ips().to_vec();
    if ips.is_empty() && scene.spec.host_network && scene.observed.is_ready() {
        ips.extend(status.host_ip.clone());
    }
    status.pod_ip = ips.first().cloned();
    status.pod_ips = some(ips.into_iter().map(|ip| PodIP { ip }).collect());
}

/// A pod that was ended before its containers came to an end: those that could have run have failed, as nobody knows better.
fn terminate(spec: &Spec, init: &mut [ContainerStatus], ordinary: &mut [ContainerStatus]) {
    let waits = |status: &ContainerStatus| status.state.as_ref().is_none_or(|state| state.waiting.is_some());
    let never_ran = |status: &ContainerStatus| waits(status) && status.last_state.is_none();
    let last_succeeded = init.last().zip(spec.init.last()).is_some_and(|(status, _)| {
        let states = [&status.state, &status.last_state];
        let succeeded = states.into_iter().flatten().filter_map(|state| state.terminated.as_ref());
        status.started == Some(true) || succeeded.into_iter().any(|end| end.exit_code == 0)
    });
    if spec.init.is_empty() || last_succeeded || !ordinary.iter().all(never_ran) {
        ordinary.iter_mut().for_each(end_unseen);
    }
    // All but those at the end that were never begun; the first one always.
    let begun = init.iter().rposition(|status| !never_ran(status)).unwrap_or_default();
    init.iter_mut().take(begun.saturating_add(1)).for_each(end_unseen);
}

fn end_unseen(status: &mut ContainerStatus) {
    if status.state.as_ref().is_some_and(|state| state.terminated.is_some()) {
        return;
    }
    let terminated = ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".into()),
        message: Some("The container could not be located when the pod was terminated".into()),
        ..ContainerStateTerminated::default()
    };
    status.state = Some(ContainerState { terminated: Some(terminated), ..ContainerState::default() });
    status.ready = false;
    status.started = Some(false);
}

/// Last words have to fit into the pod together.
fn shorten(spec: &Spec, status: &mut PodStatus) {
    let longest = LONGEST_MESSAGES / spec.all().count().max(1);
    let lists =
        [&mut status.init_container_statuses, &mut status.container_statuses, &mut status.ephemeral_container_statuses];
    let states = lists.into_iter().flatten().flatten().flat_map(|status| [&mut status.state, &mut status.last_state]);
    for end in states.flatten().filter_map(|state| state.terminated.as_mut()) {
        if let Some(message) = &mut end.message {
            message.truncate(message.floor_char_boundary(longest));
        }
    }
}
