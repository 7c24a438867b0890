//! A container group as the status of a pod. What the host adds for all providers (conditions, its own address, order) is
//! left to it.
//!
//! | provisioning state | the group | the pod |
//! | --- | --- | --- |
//! | `Failed`, `Canceled` | | Failed: why Azure says, else the last event that says something |
//! | `Succeeded` | `Stopped` | Failed, `ContainerGroupStopped`, unless its containers have ended for good |
//! | | `Succeeded`, `Failed` | the same, unless a container that was not to be started again has ended otherwise |
//! | any other, or | any other | as its containers are: Pending until one has begun |
//! | `Repairing`, `Unhealthy`, `NotAccessible` | | the same, and no container is ready |
//!
//! Of a group that says nothing of how it runs, the last that was known holds, as what came of it is told by nobody; but nothing
//! is ready of one that is out of order. A pod that has run is Running until it ends, though its group is made anew, as for an
//! update.

mod container;
#[cfg(test)]
mod tests;

use vk_aci::group::{ContainerView, Event, GroupState, Properties, ProvisioningState, RestartPolicy};
use vk_aci::{Cause, Group};
use vk_provider::status::{ContainerState, ContainerStatus, Phase, PodStatus, Terminated, Text};

use crate::events;
use crate::poll::Pace;
use container::Scene;

/// The status of a pod; none: the group does not say how it runs. `cause`: why its making came to nothing, if that is known.
pub(crate) fn status(group: &Group, cause: Option<&Cause>) -> Option<PodStatus> {
    let properties = &group.properties;
    if let Some(word) = came_to_nothing(properties, cause) {
        return Some(failed(group, &word, cause));
    }
    if !says_something(properties) {
        return None;
    }
    let status = containers(group, PodStatus::new(Phase::Pending));
    let (phase, why) = phase(properties, &status);
    let mut status = PodStatus { phase, ..status };
    if let Some((reason, message)) = why {
        status = status.because(reason, message);
    }
    if matches!(status.phase, Phase::Succeeded | Phase::Failed) {
        status = ended(status);
    } else if let Some(state) = out_of_order(properties) {
        status = because_of(status, state);
    }
    Some(status)
}

/// The status of a pod, last seen like this, whose group does not say how it runs.
pub(crate) fn silent(group: &Group, before: &PodStatus) -> PodStatus {
    let Some(state) = out_of_order(&group.properties) else { return before.clone() };
    let mut status = because_of(before.clone(), state);
    for container in &mut status.container_statuses {
        *container = std::mem::take(container).ready(false);
    }
    status
}

/// What is told of a pod of which nothing is known: it waits.
pub(crate) fn pending(group: &Group) -> PodStatus {
    containers(group, PodStatus::new(Phase::Pending))
}

/// The status of a pod that was seen like this before.
pub(crate) fn after(before: &PodStatus, status: PodStatus) -> PodStatus {
    match (before.phase, status.phase) {
        // As with a kubelet: its containers wait, and are not ready.
        (Phase::Running, Phase::Pending) => PodStatus { phase: Phase::Running, ..status },
        _ => status,
    }
}

/// The status of a pod, last seen like this, whose group Azure has not made, and has no more.
pub(crate) fn unmade(before: &PodStatus, cause: &Cause) -> PodStatus {
    let (reason, message) = told(cause);
    ended(PodStatus { phase: Phase::Failed, ..before.clone() }.because(reason, message))
}

/// How fast a pod changes that is seen so.
pub(crate) fn pace(group: &Group, status: &PodStatus) -> Pace {
    let properties = &group.properties;
    let is_moving = !matches!(
        properties.provisioning_state,
        Some(ProvisioningState::Succeeded | ProvisioningState::Failed | ProvisioningState::Canceled)
    );
    match status.phase {
        Phase::Succeeded | Phase::Failed => Pace::Over,
        _ if is_moving || status.phase == Phase::Pending => Pace::Changing,
        _ if restart_policy(properties) != RestartPolicy::Always => Pace::Ending,
        // It is to be told that it is ready again.
        _ if status.container_statuses.iter().any(waits) => Pace::Changing,
        _ => Pace::Settled,
    }
}

const fn waits(container: &ContainerStatus) -> bool {
    matches!(container.state, Some(ContainerState::Waiting(_)))
}

/// Whether some container runs, or will, as far as the group says.
pub(crate) fn runs(group: &Group) -> bool {
    let properties = &group.properties;
    let state = properties.instance_view.as_ref().and_then(|view| view.state.as_ref());
    properties.provisioning_state == Some(ProvisioningState::Succeeded)
        && matches!(state, Some(GroupState::Running | GroupState::Pending))
}

/// Its making came to nothing, and Azure keeps trying.
pub(crate) const fn keeps_trying(group: &Group) -> bool {
    matches!(group.properties.provisioning_state, Some(ProvisioningState::Failed | ProvisioningState::Canceled))
}

/// It is being removed.
pub(crate) fn is_going(group: &Group) -> bool {
    group.properties.provisioning_state == Some(ProvisioningState::Deleting)
}

/// A container of it has been started at some time, so that there may be a log.
pub(crate) fn may_have_logs(group: &Group) -> bool {
    group.properties.views().filter_map(|(_, view)| view).any(ContainerView::has_begun)
}

/// It is over, one container ended badly, and it was not to be started again: Azure may do so all the same.
pub(crate) fn may_come_back(group: &Group, status: &PodStatus) -> bool {
    restart_policy(&group.properties) == RestartPolicy::Never && status.phase == Phase::Failed
}

/// The restart policy; what is not said is Azure's default.
fn restart_policy(properties: &Properties) -> RestartPolicy {
    properties.restart_policy.clone().unwrap_or(RestartPolicy::Always)
}

/// The word for what came to nothing. An operation that failed counts until the group is seen to be made all the same.
fn came_to_nothing(properties: &Properties, cause: Option<&Cause>) -> Option<String> {
    match &properties.provisioning_state {
        Some(state @ (ProvisioningState::Failed | ProvisioningState::Canceled)) => Some(state.to_string()),
        Some(ProvisioningState::Succeeded) => None,
        _ => cause.map(|_| ProvisioningState::Failed.to_string()),
    }
}

/// The word for a group that is out of order.
fn out_of_order(properties: &Properties) -> Option<&ProvisioningState> {
    let is_so = |state: &&ProvisioningState| {
        matches!(state, ProvisioningState::Repairing | ProvisioningState::Unhealthy | ProvisioningState::NotAccessible)
    };
    properties.provisioning_state.as_ref().filter(is_so)
}

/// The status of a pod whose group is out of order.
fn because_of(status: PodStatus, state: &ProvisioningState) -> PodStatus {
    status.because(state.to_string(), format!("Azure says that the container group is {state}"))
}

/// Something is said of how it runs, or it is known to be in the making.
fn says_something(properties: &Properties) -> bool {
    properties.instance_view.as_ref().is_some_and(|view| view.state.is_some())
        || properties.views().any(|(_, view)| view.is_some())
        || matches!(
            properties.provisioning_state,
            Some(
                ProvisioningState::Accepted
                    | ProvisioningState::Pending
                    | ProvisioningState::Creating
                    | ProvisioningState::PreProvisioned
            )
        )
}

/// A status with the group's containers and addresses.
fn containers(group: &Group, status: PodStatus) -> PodStatus {
    let properties = &group.properties;
    let in_order = out_of_order(properties).is_none();
    let scene = Scene::of(group, in_order, restart_policy(properties) == RestartPolicy::Never);
    let mut status = status;
    for container in &properties.init_containers {
        let of = &container.properties;
        status = status.init_container(scene.init(&container.name, &of.image, of.instance_view.as_ref()));
    }
    for container in &properties.containers {
        let of = &container.properties;
        status = status.container(scene.ordinary(&container.name, &of.image, of.instance_view.as_ref()));
    }
    match properties.ip_address.as_ref().and_then(|address| address.ip.as_deref()) {
        Some(ip) if !ip.is_empty() => status.pod_ip(ip),
        _ => status,
    }
}

type Why = (Text, String);

/// Where the pod is in its life, and why, if it is at its end before its containers were.
fn phase(properties: &Properties, status: &PodStatus) -> (Phase, Option<Why>) {
    let policy = restart_policy(properties);
    let end = end(policy, &status.container_statuses, &status.init_container_statuses);
    let state = properties.instance_view.as_ref().and_then(|view| view.state.as_ref());
    match (properties.provisioning_state.as_ref(), state) {
        (Some(ProvisioningState::Succeeded), Some(GroupState::Stopped)) => match end {
            Some(phase) => (phase, None),
            None => {
                let message = "the container group was stopped in Azure".to_owned();
                (Phase::Failed, Some(("ContainerGroupStopped".into(), message)))
            }
        },
        (Some(ProvisioningState::Succeeded), Some(GroupState::Succeeded)) => (end.unwrap_or(Phase::Succeeded), None),
        (Some(ProvisioningState::Succeeded), Some(GroupState::Failed)) => (Phase::Failed, None),
        _ => (end.unwrap_or_else(|| if has_begun(status) { Phase::Running } else { Phase::Pending }), None),
    }
}

/// How a pod has ended for good; none: it has not.
fn end(policy: RestartPolicy, containers: &[ContainerStatus], init: &[ContainerStatus]) -> Option<Phase> {
    if policy == RestartPolicy::Always || containers.is_empty() {
        return None;
    }
    let is_bad = |status: &ContainerStatus| code(status).is_some_and(|code| code != 0);
    if policy == RestartPolicy::Never && init.iter().any(is_bad) {
        return Some(Phase::Failed);
    }
    let codes: Option<Vec<i32>> = containers.iter().map(code).collect();
    match codes? {
        codes if codes.iter().all(|code| *code == 0) => Some(Phase::Succeeded),
        _ if policy == RestartPolicy::Never => Some(Phase::Failed),
        _ => None,
    }
}

/// The code with which a container has ended.
const fn code(status: &ContainerStatus) -> Option<i32> {
    match &status.state {
        Some(ContainerState::Terminated(end)) => Some(end.exit_code),
        _ => None,
    }
}

/// An ordinary container has been started.
fn has_begun(status: &PodStatus) -> bool {
    status.container_statuses.iter().any(begun)
}

fn begun(container: &ContainerStatus) -> bool {
    container.restart_count > 0
        || container.last_state.is_some()
        || matches!(container.state, Some(ContainerState::Running(_) | ContainerState::Terminated(_)))
}

/// A pod whose group came to nothing.
fn failed(group: &Group, word: &str, cause: Option<&Cause>) -> PodStatus {
    let (reason, message) = why(group, word, cause);
    ended(containers(group, PodStatus::new(Phase::Failed)).because(reason, message))
}

/// Why a group came to nothing: what its operation said, else the last event that says something.
fn why(group: &Group, word: &str, cause: Option<&Cause>) -> Why {
    if let Some(cause) = cause {
        return told(cause);
    }
    let properties = &group.properties;
    let of_group = properties.instance_view.iter().flat_map(|view| &view.events);
    let of_containers = properties.views().filter_map(|(_, view)| view).flat_map(|view| &view.events);
    let bad = of_group.chain(of_containers).filter(|event| events::is_warning(event));
    match bad.max_by_key(|event: &&Event| event.last_timestamp) {
        Some(event) => (events::reason(&event.name).into(), events::scrubbed(&event.message)),
        None => {
            (format!("ContainerGroup{word}").into(), format!("Azure says {word} of the container group, and not why"))
        }
    }
}

/// What an operation said.
fn told(cause: &Cause) -> Why {
    (cause.class().reason(&cause.code), events::scrubbed(&cause.message))
}

/// A pod at its end: of containers that have none it is not known. As with the kubelet, those that an init container has
/// kept from beginning wait.
fn ended(mut status: PodStatus) -> PodStatus {
    let message = status.message.clone().unwrap_or_else(|| container::UNTOLD.into());
    let is_initialized = status.init_container_statuses.iter().all(|init| code(init) == Some(0));
    let init = status.init_container_statuses.iter_mut().filter(|container| begun(container));
    let ordinary = status.container_statuses.iter_mut().filter(|container| is_initialized || begun(container));
    for container in init.chain(ordinary) {
        let started_at = match &container.state {
            Some(ContainerState::Terminated(_)) => continue,
            Some(ContainerState::Running(running)) => running.started_at,
            _ => None,
        };
        let end = Terminated { started_at, message: Some(message.clone()), ..Terminated::unknown() };
        *container = std::mem::take(container).terminated(end).ready(false);
    }
    status
}
