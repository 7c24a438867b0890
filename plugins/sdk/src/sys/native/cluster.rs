//! A cluster that has what a test says.

use std::collections::BTreeMap;

use super::with;
use crate::bindings::imports::virtual_kubelet::provider::cluster::{Credential, Files};
use crate::pod::{PodRef, ResolvedContainer};
use crate::testing::Event;
use crate::{Error, Result};

/// The same for every pod.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) volumes: BTreeMap<String, Result<Files>>,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) resolved: BTreeMap<String, ResolvedContainer>,
    pub(crate) events: Vec<Event>,
}

pub(crate) fn cluster_volume(id: &PodRef, volume: &str) -> Result<Files> {
    with(|host| host.cluster.volumes.get(volume).cloned()).unwrap_or_else(|| Err(missing(id, "volume", volume)))
}

pub(crate) fn cluster_credentials(_: &PodRef, _: &str) -> Result<Vec<Credential>> {
    Ok(with(|host| host.cluster.credentials.clone()))
}

pub(crate) fn cluster_container(id: &PodRef, container: &str, _: &[String]) -> Result<ResolvedContainer> {
    let resolved = with(|host| host.cluster.resolved.get(container).cloned());
    resolved.ok_or_else(|| missing(id, "container", container))
}

pub(crate) fn cluster_event(id: &PodRef, warning: bool, reason: &str, message: &str) {
    let event = Event { pod: id.clone(), warning, reason: reason.to_owned(), message: message.to_owned() };
    with(|host| host.cluster.events.push(event));
}

fn missing(id: &PodRef, kind: &str, name: &str) -> Error {
    Error::not_found("NotFound", format!("the pod {} has no {kind} {name:?}", id.name))
}
