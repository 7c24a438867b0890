//! Which attempt's log a reader means, as the kubelet decides it (kubelet_pods.go, `validateContainerLogStatus`).

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, PodStatus};

use crate::provider::{Code, Error};

/// The attempt whose log is meant. `previous`: the one before.
pub(super) fn attempt(status: &PodStatus, pod: &str, container: &str, previous: bool) -> Result<u32, Error> {
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let told = lists.into_iter().flatten().flatten().find(|status| status.name == container);
    let told = told.ok_or_else(|| {
        let message = format!("container {container:?} in pod {pod:?} is not available");
        Error::new(Code::InvalidArgument, "ContainerNotAvailable", message)
    })?;
    let count = u32::try_from(told.restart_count).unwrap_or_default();
    let (state, last) = (told.state.clone().unwrap_or_default(), told.last_state.clone().unwrap_or_default());
    let ran = last.terminated.as_ref().is_some_and(|end| end.container_id.is_some());
    match before(told, &state, count) {
        Some(before) if previous && ran => Ok(before),
        _ if previous => {
            let message = format!("previous terminated container {container:?} in pod {pod:?} not found");
            Err(Error::new(Code::InvalidArgument, "NoPreviousContainer", message))
        }
        _ if state.running.is_some() => Ok(count),
        _ if state.terminated.as_ref().is_some_and(|end| end.container_id.is_some()) => Ok(count),
        Some(before) if ran => Ok(before),
        _ if state.terminated.is_some() || last.terminated.is_some() => {
            let message = format!("container {container:?} in pod {pod:?} is terminated");
            Err(Error::new(Code::InvalidArgument, "ContainerTerminated", message))
        }
        _ => Err(waits(&state, pod, container)),
    }
}

/// The attempt that `lastState` is about: while a container waits to be run again that is its newest one.
fn before(told: &ContainerStatus, state: &ContainerState, count: u32) -> Option<u32> {
    let newest = state.waiting.is_some() && told.container_id.is_some();
    if newest { Some(count) } else { count.checked_sub(1) }
}

fn waits(state: &ContainerState, pod: &str, container: &str) -> Error {
    let reason = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
    let why = match reason {
        Some("ErrImagePull") => ": image can't be pulled",
        Some("ImagePullBackOff") => ": trying and failing to pull image",
        Some(_) | None => "",
    };
    let why = match reason.filter(|_| why.is_empty()) {
        Some(reason) => format!(": {reason}"),
        None if why.is_empty() => " - no logs yet".into(),
        None => why.into(),
    };
    let message = format!("container {container:?} in pod {pod:?} is waiting to start{why}");
    Error::new(Code::InvalidArgument, "ContainerWaiting", message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(status: Value, previous: bool) -> Result<u32, String> {
        let mut container = json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0});
        for (key, value) in status.as_object().unwrap() {
            container[key] = value.clone();
        }
        let status = serde_json::from_value(json!({"containerStatuses": [container]})).unwrap();
        attempt(&status, "p", "c", previous).map_err(|error| error.message)
    }

    #[test]
    fn the_log_is_that_of_the_attempt_that_a_status_is_about() {
        let ended = |id: &str| json!({"terminated": {"exitCode": 1, "containerID": id}});
        let running = json!({"running": {}});
        let loops = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let first = json!({"state": running, "containerID": "d://0"});
        assert_eq!(of(first.clone(), false), Ok(0));
        assert!(of(first, true).unwrap_err().contains("previous terminated container \"c\" in pod \"p\" not found"));
        let third = json!({"state": running, "containerID": "d://2", "restartCount": 2, "lastState": ended("d://1")});
        assert_eq!([of(third.clone(), false), of(third, true)], [Ok(2), Ok(1)]);
        let back_off = json!({"state": loops, "containerID": "d://2", "restartCount": 2, "lastState": ended("d://2")});
        assert_eq!([of(back_off.clone(), false), of(back_off, true)], [Ok(2), Ok(2)]);
        let over =
            json!({"state": ended("d://1"), "containerID": "d://1", "restartCount": 1, "lastState": ended("d://0")});
        assert_eq!([of(over.clone(), false), of(over, true)], [Ok(1), Ok(0)]);
    }

    #[test]
    fn a_container_that_never_ran_has_no_log_and_a_reason() {
        let waiting = |reason: &str| of(json!({"state": {"waiting": {"reason": reason}}}), false).unwrap_err();
        assert!(waiting("ContainerCreating").ends_with("is waiting to start: ContainerCreating"));
        assert!(waiting("ErrImagePull").ends_with("is waiting to start: image can't be pulled"));
        assert!(waiting("ImagePullBackOff").ends_with("is waiting to start: trying and failing to pull image"));
        let status = PodStatus::default();
        assert!(attempt(&status, "p", "x", false).unwrap_err().message.contains("is not available"));
    }
}
