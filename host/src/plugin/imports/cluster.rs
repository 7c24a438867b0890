//! `cluster`: not served yet.

use super::unimplemented;
use super::wit::cluster::{Credential, Files, Host};
use super::wit::types::{Error, PodRef, ResolvedContainer};
use crate::plugin::state::State;

impl Host for State {
    fn volume(&mut self, _id: PodRef, _volume: String) -> wasmtime::Result<Result<Files, Error>> {
        Ok(Err(unimplemented("cluster.volume")))
    }

    fn registry_credentials(
        &mut self,
        _id: PodRef,
        _image: String,
    ) -> wasmtime::Result<Result<Vec<Credential>, Error>> {
        Ok(Err(unimplemented("cluster.registry-credentials")))
    }

    fn resolve_container(
        &mut self,
        _id: PodRef,
        _container: String,
        _pod_ips: Vec<String>,
    ) -> wasmtime::Result<Result<ResolvedContainer, Error>> {
        Ok(Err(unimplemented("cluster.resolve-container")))
    }

    fn event(&mut self, id: PodRef, warning: bool, reason: String, message: String) -> wasmtime::Result<()> {
        // No error can be answered here, so that the event is at least in the log.
        let pod = format_args!("{}/{}", id.namespace, id.name);
        tracing::info!(target: "plugin", plugin = %self.services.name(), %pod, uid = %id.uid, warning, reason, "{message}");
        Ok(())
    }
}
