//! Newer duties of a kubelet: changed files, in-place resize, `kubectl debug`.

use crate::Result;
use crate::bindings::ephemeral_containers::exports::virtual_kubelet::provider::ephemeral_containers as wit_ephemeral;
use crate::bindings::imports::virtual_kubelet::provider::types;
use crate::bindings::resize::exports::virtual_kubelet::provider::resize as wit_resize;
use crate::bindings::volumes::exports::virtual_kubelet::provider::volumes as wit_volumes;
use crate::pod::DesiredPod;

/// Files of a ConfigMap, Secret, token or downward-API volume changed.
pub trait Volumes {
    /// Brings the pod's copy up to date, all files at one moment if the backend can.
    ///
    /// # Errors
    /// It could not be done.
    fn update_volume(pod: DesiredPod, volume: String) -> Result<()>;
}

impl<T: Volumes> wit_volumes::Guest for T {
    fn update_volume(pod: DesiredPod, volume: String) -> Result<(), types::Error> {
        Ok(<T as Volumes>::update_volume(pod, volume)?)
    }
}

/// In-place change of requests and limits.
pub trait Resize {
    /// `pod` has the new values.
    ///
    /// # Errors
    /// `failed-precondition`: it cannot be done now.
    fn resize_pod(pod: DesiredPod) -> Result<()>;
}

impl<T: Resize> wit_resize::Guest for T {
    fn resize_pod(pod: DesiredPod) -> Result<(), types::Error> {
        Ok(<T as Resize>::resize_pod(pod)?)
    }
}

/// `kubectl debug`, for a backend that runs whole pods.
pub trait EphemeralContainers {
    /// Starts one container more in a running pod. Idempotent by uid and name.
    ///
    /// # Errors
    /// It could not be done.
    fn add_ephemeral_container(pod: DesiredPod, container: String) -> Result<()>;
}

impl<T: EphemeralContainers> wit_ephemeral::Guest for T {
    fn add_ephemeral_container(pod: DesiredPod, container: String) -> Result<(), types::Error> {
        Ok(<T as EphemeralContainers>::add_ephemeral_container(pod, container)?)
    }
}
