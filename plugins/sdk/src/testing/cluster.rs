//! What the cluster has for a provider, and what a provider told it.

use crate::Result;
use crate::cluster::{Credential, Files};
use crate::pod::{PodRef, ResolvedContainer};
use crate::sys::native::with;

/// What a volume of this name holds from now on, of every pod; or why it cannot be rendered.
pub fn volume(name: &str, files: Result<Files>) {
    with(|host| host.cluster.volumes.insert(name.to_owned(), files));
}

/// What every image is pulled with from now on.
pub fn credentials(credentials: Vec<Credential>) {
    with(|host| host.cluster.credentials = credentials);
}

/// What a container of this name is once the pod's IPs are known.
pub fn resolved(container: ResolvedContainer) {
    with(|host| host.cluster.resolved.insert(container.name.clone(), container));
}

/// Events that were told so far.
pub fn events() -> Vec<Event> {
    with(|host| host.cluster.events.clone())
}

/// An event that a provider told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Of which pod.
    pub pod: PodRef,
    /// Of type Warning, else Normal.
    pub warning: bool,
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}
