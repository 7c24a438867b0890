//! What is kept of a pod for as long as it lives takes no more room than it has to.
//!
//! A list that is decoded grows in steps of four, and entries are large: of a pod with one container and one condition three
//! parts of four would be room for others. With thousands of pods that is most of the host's memory.

use k8s_openapi::api::core::v1::{Container, PodSpec, PodStatus};

/// A status of the API server, or of a provider.
pub(super) fn status(status: &mut PodStatus) {
    let PodStatus {
        conditions,
        container_statuses,
        init_container_statuses,
        ephemeral_container_statuses,
        host_ips,
        pod_ips,
        ..
    } = status;
    fit(conditions);
    [container_statuses, init_container_statuses, ephemeral_container_statuses].into_iter().for_each(fit);
    fit(host_ips);
    fit(pod_ips);
}

/// What is wanted.
pub(super) fn spec(spec: &mut PodSpec) {
    spec.containers.shrink_to_fit();
    fit(&mut spec.init_containers);
    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(container);
    fit(&mut spec.ephemeral_containers);
    fit(&mut spec.volumes);
    fit(&mut spec.tolerations);
    fit(&mut spec.image_pull_secrets);
    fit(&mut spec.readiness_gates);
}

fn container(container: &mut Container) {
    fit(&mut container.env);
    fit(&mut container.env_from);
    fit(&mut container.ports);
    fit(&mut container.volume_mounts);
}

fn fit<T>(list: &mut Option<Vec<T>>) {
    list.iter_mut().for_each(Vec::shrink_to_fit);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_room_is_kept_for_what_is_not_there() {
        let text = json!({"conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [{
            "name": "main", "image": "i", "imageID": "", "ready": true, "restartCount": 0
        }]});
        let mut parsed: PodStatus = serde_json::from_str(&text.to_string()).unwrap();
        status(&mut parsed);
        let room = parsed.container_statuses.unwrap().capacity();
        assert_eq!((room, parsed.conditions.unwrap().capacity()), (1, 1));
        let text =
            json!({"containers": [{"name": "main", "env": [{"name": "A"}]}], "tolerations": [{"operator": "Exists"}]});
        let mut parsed: PodSpec = serde_json::from_str(&text.to_string()).unwrap();
        spec(&mut parsed);
        assert_eq!((parsed.containers.capacity(), parsed.tolerations.unwrap().capacity()), (1, 1));
        assert_eq!(parsed.containers.remove(0).env.unwrap().capacity(), 1);
    }
}
