//! Which attempt of a container there is.

use vk_aci::Group;
use vk_aci::group::{ContainerState, ContainerView};
use vk_provider::status;

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
        let (_, view) = group.properties.views().find(|(name, _)| *name == container)?;
        let state = view.and_then(|view| view.current_state.as_ref());
        Some(Self {
            number: view.map_or(0, |view| view.restart_count),
            is_over: state.is_some_and(ContainerState::has_ended),
            waits: (!view.is_some_and(ContainerView::has_begun)).then(|| waiting(group, container)),
        })
    }
}

/// Why a container waits, as its status says.
fn waiting(group: &Group, container: &str) -> String {
    let pod = observe::pending(group);
    let mut all = pod.init_container_statuses.into_iter().chain(pod.container_statuses);
    let state = all.find(|status| status.name == container).and_then(|status| status.state);
    match state {
        Some(status::ContainerState::Waiting(waiting)) => {
            waiting.reason.map_or_else(String::new, |reason| reason.into_owned())
        }
        _ => "ContainerCreating".to_owned(),
    }
}
