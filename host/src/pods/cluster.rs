//! What a provider may ask of Kubernetes, answered for the pods of this node and for no others.

use std::sync::Arc;

use async_trait::async_trait;

use super::events::Events;
use super::index::Index;
use super::object::PodObject;
use super::refresh::Refresher;
use super::resolve::{Notice, Problem, Resolver, volumes};
use crate::provider::{self, Code, Credential, Error, Files, PodRef, ResolvedContainer};

/// Longest reason of an event, as the API has it.
const REASON: usize = 128;

/// See the module.
pub(super) struct Cluster {
    pub(super) index: Arc<Index>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) refresh: Arc<Refresher>,
    pub(super) events: Events,
}

impl Cluster {
    fn pod(&self, id: &PodRef) -> Result<Arc<PodObject>, Error> {
        let pod = self.index.get(&id.namespace, &id.name).filter(|pod| pod.uid() == id.uid);
        pod.ok_or_else(|| {
            let message = format!("no pod {id} with UID {:?} is bound to this node", id.uid);
            Error::new(Code::NotFound, "PodNotFound", message)
        })
    }

    fn tell(&self, id: &PodRef, notices: Vec<Notice>) {
        for Notice { reason, message } in notices {
            self.events.pod_warning(id, reason, message);
        }
    }
}

#[async_trait]
impl provider::Cluster for Cluster {
    async fn volume(&self, id: &PodRef, volume: &str) -> Result<Files, Error> {
        let pod = self.pod(id)?;
        self.refresh.volume(&pod, volume).await.map_err(|error| unmounted(volume, error))
    }

    async fn registry_credentials(&self, id: &PodRef, image: &str) -> Result<Vec<Credential>, Error> {
        let pod = self.pod(id)?;
        let mut notices = Vec::new();
        let credentials = self.resolver.credentials(&pod, image, &mut notices).await;
        self.tell(id, notices);
        credentials.map_err(|message| Error::new(Code::Unavailable, "FailedToRetrieveImagePullSecret", message))
    }

    async fn resolve_container(
        &self,
        id: &PodRef,
        container: &str,
        pod_ips: &[String],
    ) -> Result<ResolvedContainer, Error> {
        let pod = self.pod(id)?;
        let mut notices = Vec::new();
        let resolved = self.resolver.container(&pod, container, pod_ips, &mut notices).await;
        self.tell(id, notices);
        match resolved {
            None => {
                let message = format!("pod {id} has no container {container:?}");
                Err(Error::new(Code::NotFound, "ContainerNotFound", message))
            }
            Some(Ok(resolved)) if resolved.late => {
                let message = format!("container {container:?} needs the pod's IP: give it in pod-ips");
                Err(Error::new(Code::InvalidArgument, "PodIPMissing", message))
            }
            Some(Ok(resolved)) => Ok(resolved),
            Some(Err(problem)) => Err(unresolved(problem)),
        }
    }

    fn event(&self, id: &PodRef, warning: bool, reason: &str, message: &str) {
        let Ok(pod) = self.pod(id) else { return };
        if !self.refresh.used(&pod).may_speak() {
            return id.span().in_scope(|| tracing::debug!(reason, "event dropped: the provider says too much"));
        }
        // A reason that is none must not break those who read it.
        let proper = (1..=REASON).contains(&reason.len()) && reason.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let reason = if proper { reason } else { "ProviderEvent" };
        if warning {
            self.events.pod_warning(id, reason, message);
        } else {
            self.events.pod(id, reason, message);
        }
    }
}

/// Why a provider cannot have a volume's files.
fn unmounted(volume: &str, error: volumes::Error) -> Error {
    let message = format!("volume {volume:?}: {error}");
    match error {
        volumes::Error::Unknown => Error::new(Code::NotFound, "VolumeNotFound", message),
        volumes::Error::NoFiles => Error::new(Code::InvalidArgument, "VolumeWithoutFiles", message),
        volumes::Error::Refused { field, message } => {
            Error { field: Some(field), ..Error::new(Code::Unimplemented, "UnsupportedField", message) }
        }
        volumes::Error::Missing(_) => Error::new(Code::FailedPrecondition, "FailedMount", message),
        volumes::Error::Unread(_) => Error::new(Code::Unavailable, "FailedMount", message),
    }
}

/// Why a provider cannot have a container's values.
fn unresolved(problem: Problem) -> Error {
    match problem {
        Problem::Refused { field, message } => {
            Error { field: Some(field), ..Error::new(Code::InvalidArgument, "UnsupportedField", message) }
        }
        Problem::Missing { reason, message } => Error::new(Code::FailedPrecondition, reason, message),
        Problem::Unread { reason, message } => Error::new(Code::Unavailable, reason, message),
    }
}

#[cfg(test)]
mod tests;
