//! For a backend that runs whole pods.

use std::time::Duration;

use crate::bindings::imports::virtual_kubelet::provider::types;
use crate::bindings::pods::exports::virtual_kubelet::provider::pods as wit;
use crate::pod::{Deletion, DesiredPod, ObservedPod, PodRef};
use crate::{Error, Page, Result};

/// Virtual Kubelet's pod life cycle.
pub trait Pods {
    /// Returns when the backend has accepted the pod, with its status if that is known already. The same uid again is success.
    ///
    /// # Errors
    /// `invalid-argument`, `unimplemented`, `out-of-range` or `failed-precondition` with a field end the pod; the rest is tried again, of
    /// unknown effect after a look.
    fn create_pod(pod: DesiredPod) -> Result<Option<ObservedPod>>;

    /// Brings a running pod to a new revision.
    ///
    /// # Errors
    /// `unimplemented` unless the backend can. What would end a pod at create leaves it running as it was, with one event for each
    /// revision; after `not-found` the host looks at once; the rest is tried again.
    fn update_pod(pod: DesiredPod) -> Result<()> {
        Err(Error::unimplemented(
            "UpdateNotSupported",
            format!("a running pod such as {} cannot be changed", pod.id.name),
        ))
    }

    /// Starts the removal and returns. May come again with a shorter grace, also while the first call runs. `Gone` only if the backend
    /// said so; a pod that was never there is `Gone` too. `pod` is none when the API server no longer has it, `grace` for the pod's own.
    ///
    /// # Errors
    /// `not-found` is success; the rest is tried again without limit.
    fn delete_pod(id: PodRef, pod: Option<DesiredPod>, grace: Option<Duration>) -> Result<Deletion>;

    /// none: surely absent.
    ///
    /// # Errors
    /// Not known.
    fn get_pod(id: PodRef) -> Result<Option<ObservedPod>>;

    /// As `get_pod`, the core/v1 PodStatus alone.
    ///
    /// # Errors
    /// Not known.
    fn get_pod_status(id: PodRef) -> Result<Option<String>> {
        Ok(Self::get_pod(id)?.map(|pod| pod.status))
    }

    /// What this node owns in the backend, and nothing else, in pages of at most 500 pods or 1 MiB, at most 100 of them. Together the
    /// pages are the whole: a pod in none of them is absent. So an error, rather than a part.
    ///
    /// # Errors
    /// Not known.
    fn get_pods(after: Option<String>) -> Result<Page<ObservedPod>>;
}

impl<T: Pods> wit::Guest for T {
    fn create_pod(pod: DesiredPod) -> Result<Option<ObservedPod>, types::Error> {
        Ok(<T as Pods>::create_pod(pod)?)
    }

    fn update_pod(pod: DesiredPod) -> Result<(), types::Error> {
        Ok(<T as Pods>::update_pod(pod)?)
    }

    fn delete_pod(id: PodRef, pod: Option<DesiredPod>, grace_seconds: Option<u32>) -> Result<Deletion, types::Error> {
        Ok(<T as Pods>::delete_pod(id, pod, grace_seconds.map(|seconds| Duration::from_secs(seconds.into())))?)
    }

    fn get_pod(id: PodRef) -> Result<Option<ObservedPod>, types::Error> {
        Ok(<T as Pods>::get_pod(id)?)
    }

    fn get_pod_status(id: PodRef) -> Result<Option<String>, types::Error> {
        Ok(<T as Pods>::get_pod_status(id)?)
    }

    fn get_pods(after: Option<String>) -> Result<wit::Page, types::Error> {
        let Page { items, next } = <T as Pods>::get_pods(after)?;
        Ok(wit::Page { pods: items, next })
    }
}
