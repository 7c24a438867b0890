//! Which attempt of a container there is.

use vk_aci::Group;
use vk_aci::group::{ContainerView, RunState};
use vk_provider::status::ContainerState;

use crate::observe;

/// The attempt that a log is of.
pub(super) struct Attempt {
    pub(super) number: i32,
    pub(super) is_over: bool,
    /// It has not begun: why.
    pub(super) waits: Option<String>,
}

impl Attempt {
    /// The present one; none: there is no such container.
    pub(super) fn of(group: &Group, container: &str) -> Option<Self> {
        let properties = &group.properties;
        let init = properties.init_containers.iter().map(|it| (&it.name, &it.properties.instance_view));
        let ordinary = properties.containers.iter().map(|it| (&it.name, &it.properties.instance_view));
        let (_, view) = init.chain(ordinary).find(|(name, _)| *name == container)?;
        let number = view.as_ref().map_or(0, |view| view.restart_count);
        let state = |view: &ContainerView| view.current_state.as_ref().map(|state| state.state.clone());
        let state = view.as_ref().and_then(state);
        let has_begun = number > 0
            || matches!(state, Some(RunState::Running | RunState::Terminated | RunState::Other(_)))
            || view.as_ref().is_some_and(|view| view.previous_state.is_some());
        let waits = (!has_begun).then(|| waiting(group, container));
        Some(Self { number, is_over: matches!(state, Some(RunState::Terminated)), waits })
    }
}

/// Why a container waits, as its status says.
fn waiting(group: &Group, container: &str) -> String {
    let status = observe::pending(group);
    let mut all = status.init_container_statuses.into_iter().chain(status.container_statuses);
    let state = all.find(|status| status.name == container).and_then(|status| status.state);
    match state {
        Some(ContainerState::Waiting(waiting)) => waiting.reason.map_or_else(String::new, |reason| reason.into_owned()),
        _ => "ContainerCreating".to_owned(),
    }
}
