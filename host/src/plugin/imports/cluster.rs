//! `cluster`: what the plugin may ask of Kubernetes about its pods. The answers are the host's; here they change their types.

use std::sync::Arc;

use super::wit::cluster::{Credential, Files, Host};
use super::wit::types::{Error, PodRef, ResolvedContainer};
use crate::plugin::convert::all;
use crate::plugin::state::State;
use crate::provider::{self, Code};

impl State {
    /// Whoever answers. Nobody while a plugin is described, configured or inspected: there are no pods then.
    fn cluster(&self) -> Result<Arc<dyn provider::Cluster>, Error> {
        let serves = self.access.reads().is_ok();
        let cluster = self.services.cluster().filter(|_| serves);
        let none = || {
            let message = "the cluster answers a plugin that serves: describe and configure may not ask it";
            Error::from(provider::Error::new(Code::Unavailable, "ClusterNotServed", message))
        };
        cluster.ok_or_else(none)
    }
}

impl Host for State {
    async fn volume(&mut self, id: PodRef, volume: String) -> wasmtime::Result<Result<Files, Error>> {
        let cluster = match self.cluster() {
            Ok(cluster) => cluster,
            Err(error) => return Ok(Err(error)),
        };
        let files = cluster.volume(&id.into(), &volume).await;
        Ok(files.map(Files::from).map_err(Error::from))
    }

    async fn registry_credentials(
        &mut self,
        id: PodRef,
        image: String,
    ) -> wasmtime::Result<Result<Vec<Credential>, Error>> {
        let cluster = match self.cluster() {
            Ok(cluster) => cluster,
            Err(error) => return Ok(Err(error)),
        };
        let credentials = cluster.registry_credentials(&id.into(), &image).await;
        Ok(credentials.map(all).map_err(Error::from))
    }

    async fn resolve_container(
        &mut self,
        id: PodRef,
        container: String,
        pod_ips: Vec<String>,
    ) -> wasmtime::Result<Result<ResolvedContainer, Error>> {
        let cluster = match self.cluster() {
            Ok(cluster) => cluster,
            Err(error) => return Ok(Err(error)),
        };
        let resolved = cluster.resolve_container(&id.into(), &container, &pod_ips).await;
        Ok(resolved.map(ResolvedContainer::from).map_err(Error::from))
    }

    fn event(&mut self, id: PodRef, warning: bool, reason: String, message: String) -> wasmtime::Result<()> {
        // It is only tried: no error can be answered.
        if let Ok(cluster) = self.cluster() {
            cluster.event(&id.into(), warning, &reason, &message);
        }
        Ok(())
    }
}
