//! For a backend that runs single containers: the host runs the pod. Types are the contract's own.

use std::time::Duration;

pub use crate::bindings::containers::exports::virtual_kubelet::provider::containers::{
    Container, Page, Phase, PullPolicy, Sandbox, SandboxState,
};

use crate::Result;
use crate::bindings::containers::exports::virtual_kubelet::provider::containers as wit;
use crate::bindings::imports::virtual_kubelet::provider::types;
use crate::pod::{Deletion, DesiredPod, PodRef, ResolvedContainer};

/// For a backend that runs single containers. Failures of all functions: the backend cannot do it, now or ever.
pub trait Containers {
    /// Makes the sandbox or finds it, or brings a dead one back to life. Idempotent by uid.
    ///
    /// # Errors
    /// See the trait.
    fn ensure_sandbox(pod: DesiredPod) -> Result<Sandbox>;

    /// Makes the image present and returns its id.
    ///
    /// # Errors
    /// See the trait.
    fn pull_image(id: PodRef, image: String, policy: PullPolicy) -> Result<String>;

    /// Creates and starts one attempt, returning the backend's id. Idempotent by uid, name and attempt.
    ///
    /// # Errors
    /// See the trait.
    fn start_container(pod: DesiredPod, container: ResolvedContainer, image_id: String, attempt: u32)
    -> Result<String>;

    /// Sends the stop signal and returns; a grace of zero kills.
    ///
    /// # Errors
    /// See the trait.
    fn stop_container(id: PodRef, name: String, attempt: u32, grace: Duration) -> Result<Deletion>;

    /// Removes a finished attempt and its logs. Absent is success.
    ///
    /// # Errors
    /// See the trait.
    fn remove_container(id: PodRef, name: String, attempt: u32) -> Result<()>;

    /// The pod has ended and its attempts stay: gives back its network, its host ports, its memory. Absent is success.
    ///
    /// # Errors
    /// See the trait. `unimplemented`, as long as nobody says otherwise: it stays as it is.
    fn stop_sandbox(id: PodRef) -> Result<()> {
        let _ = id;
        Err(crate::Error::unimplemented("NotImplemented", "this provider does not stop sandboxes"))
    }

    /// Removes what is left of the pod. Absent is success.
    ///
    /// # Errors
    /// See the trait.
    fn remove_sandbox(id: PodRef) -> Result<Deletion>;

    /// What the container left at `path`, at most 4096 bytes; none: nothing.
    ///
    /// # Errors
    /// See the trait.
    fn termination_message(id: PodRef, name: String, attempt: u32, path: String) -> Result<Option<Vec<u8>>> {
        let _ = (id, name, attempt, path);
        Ok(None)
    }

    /// One pod; none: surely absent.
    ///
    /// # Errors
    /// Not known.
    fn get_sandbox(id: PodRef) -> Result<Option<SandboxState>>;

    /// What this node owns in the backend, in pages of at most 500 pods or 1 MiB.
    ///
    /// # Errors
    /// Not known.
    fn list_containers(after: Option<String>) -> Result<Page>;
}

impl<T: Containers> wit::Guest for T {
    fn ensure_sandbox(pod: DesiredPod) -> Result<Sandbox, types::Error> {
        Ok(<T as Containers>::ensure_sandbox(pod)?)
    }

    fn pull_image(id: PodRef, image: String, policy: PullPolicy) -> Result<String, types::Error> {
        Ok(<T as Containers>::pull_image(id, image, policy)?)
    }

    fn start_container(
        pod: DesiredPod,
        container: ResolvedContainer,
        image_id: String,
        attempt: u32,
    ) -> Result<String, types::Error> {
        Ok(<T as Containers>::start_container(pod, container, image_id, attempt)?)
    }

    fn stop_container(id: PodRef, name: String, attempt: u32, grace_seconds: u32) -> Result<Deletion, types::Error> {
        Ok(<T as Containers>::stop_container(id, name, attempt, Duration::from_secs(grace_seconds.into()))?)
    }

    fn remove_container(id: PodRef, name: String, attempt: u32) -> Result<(), types::Error> {
        Ok(<T as Containers>::remove_container(id, name, attempt)?)
    }

    fn stop_sandbox(id: PodRef) -> Result<(), types::Error> {
        Ok(<T as Containers>::stop_sandbox(id)?)
    }

    fn remove_sandbox(id: PodRef) -> Result<Deletion, types::Error> {
        Ok(<T as Containers>::remove_sandbox(id)?)
    }

    fn termination_message(
        id: PodRef,
        name: String,
        attempt: u32,
        path: String,
    ) -> Result<Option<Vec<u8>>, types::Error> {
        Ok(<T as Containers>::termination_message(id, name, attempt, path)?)
    }

    fn get_sandbox(id: PodRef) -> Result<Option<SandboxState>, types::Error> {
        Ok(<T as Containers>::get_sandbox(id)?)
    }

    fn list_containers(after: Option<String>) -> Result<Page, types::Error> {
        Ok(<T as Containers>::list_containers(after)?)
    }
}
