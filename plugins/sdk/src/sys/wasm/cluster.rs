//! The contract's `cluster`.

use crate::bindings::imports::virtual_kubelet::provider::cluster::{self, Credential, Files};
use crate::pod::{PodRef, ResolvedContainer};
use crate::{Error, Result};

pub(crate) fn cluster_volume(id: &PodRef, volume: &str) -> Result<Files> {
    cluster::volume(id, volume).map_err(Error::from)
}

pub(crate) fn cluster_credentials(id: &PodRef, image: &str) -> Result<Vec<Credential>> {
    cluster::registry_credentials(id, image).map_err(Error::from)
}

pub(crate) fn cluster_container(id: &PodRef, container: &str, pod_ips: &[String]) -> Result<ResolvedContainer> {
    cluster::resolve_container(id, container, pod_ips).map_err(Error::from)
}

pub(crate) fn cluster_event(id: &PodRef, warning: bool, reason: &str, message: &str) {
    cluster::event(id, warning, reason, message);
}
