//! What Kubernetes knows of this node's pods, and of no others.
//!
//! An error is of effect `none`, as asking changes nothing, unless the call may have changed something before: by HTTP, or
//! in the store.

pub use crate::bindings::imports::virtual_kubelet::provider::cluster::{Credential, File, Files};

use crate::pod::{PodRef, ResolvedContainer};
use crate::{Result, acted, sys};

/// The files of a ConfigMap, Secret, projected or downward-API volume, named as in `spec.volumes`; of an azureFile or csi
/// volume the keys of the Secret that opens it, each as a file.
///
/// # Errors
/// `not-found`: no such pod of this node, or no such volume. `failed-precondition`: an object that it needs is missing
/// as yet.
pub fn volume(id: &PodRef, volume: &str) -> Result<Files> {
    sys::cluster_volume(id, volume).map_err(acted::not)
}

/// Credentials that fit an image, best first; empty: none are known, pull without. Their passwords belong in no log.
///
/// # Errors
/// `not-found`: no such pod of this node.
pub fn registry_credentials(id: &PodRef, image: &str) -> Result<Vec<Credential>> {
    sys::cluster_credentials(id, image).map_err(acted::not)
}

/// A container with all its values, now that the pod's IPs are known: for those that are
/// [`late`](ResolvedContainer::late). The main IP comes first.
///
/// # Errors
/// `not-found`: no such pod of this node, or no such container.
pub fn resolve_container(id: &PodRef, container: &str, pod_ips: &[String]) -> Result<ResolvedContainer> {
    sys::cluster_container(id, container, pod_ips).map_err(acted::not)
}

/// An event on the pod, of type Warning or Normal. `reason` is CamelCase and stable. It is only tried, and repeats are
/// counted.
pub fn event(id: &PodRef, warning: bool, reason: &str, message: &str) {
    sys::cluster_event(id, warning, reason, message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Event};
    use crate::{Code, Effect, Error};

    #[test]
    fn what_a_test_sets_is_what_the_cluster_has() {
        testing::reset();
        let id = PodRef { namespace: "default".to_owned(), name: "web".to_owned(), uid: "u".to_owned() };
        let error = volume(&id, "config").unwrap_err();
        assert_eq!((error.code, error.effect), (Code::NotFound, Effect::None));
        let files = Files { revision: "1".to_owned(), files: Vec::new(), expires_ms: None };
        testing::volume("config", Ok(files.clone()));
        assert_eq!(volume(&id, "config"), Ok(files));
        testing::volume("config", Err(Error::failed_precondition("SecretMissing", "secrets \"s\" not found")));
        assert_eq!(volume(&id, "config").unwrap_err().code, Code::FailedPrecondition);
        assert_eq!(registry_credentials(&id, "nginx:1"), Ok(Vec::new()));
        assert_eq!(resolve_container(&id, "web", &[]).unwrap_err().code, Code::NotFound);
        let mut pod = testing::desired(r#"{"spec":{"containers":[{"name":"web"}]}}"#);
        let resolved = pod.containers.remove(0);
        testing::resolved(resolved.clone());
        assert_eq!(resolve_container(&id, "web", &["10.0.0.1".to_owned()]), Ok(resolved));
        event(&id, true, "Failed", "no");
        let (reason, message) = ("Failed".to_owned(), "no".to_owned());
        assert_eq!(testing::events(), [Event { pod: id, warning: true, reason, message }]);
    }
}
