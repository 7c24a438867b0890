//! A provider that takes files and does nothing else.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;

use crate::provider::{
    Address, Amount, Batch, Call, Capabilities, Cluster, Code, Condition, Deletion, DesiredPod, Error, Files, Identity,
    LogOptions, LogSink, NodeDetails, ObservedPod, PodRef, Provider, Usage,
};

/// A provider that takes files, and answers updates as it was told to.
#[derive(Default)]
pub(in crate::pods) struct Taker {
    plain: bool,
    careless: bool,
    cluster: Mutex<Option<Weak<dyn Cluster>>>,
    /// What it answers to the next updates, though it has asked for the files.
    answers: Mutex<VecDeque<Error>>,
    /// The updates, by volume.
    updates: Mutex<Vec<String>>,
    /// The files of the volume that it took last.
    files: Mutex<Option<Files>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unimplemented() -> Error {
    Error::new(Code::Unimplemented, "Unimplemented", "this backend only takes files")
}

impl Taker {
    /// One that has no `volumes`.
    pub(in crate::pods) fn plain() -> Self {
        Self { plain: true, ..Self::default() }
    }

    /// One that keeps no files, so that updates are nothing to it.
    pub(in crate::pods) fn careless() -> Self {
        Self { careless: true, ..Self::default() }
    }

    /// Asks for a volume, as a create does.
    pub(in crate::pods) async fn take(&self, id: &PodRef, volume: &str) -> Result<(), Error> {
        let cluster = lock(&self.cluster).as_ref().and_then(Weak::upgrade).unwrap();
        let files = cluster.volume(id, volume).await?;
        *lock(&self.files) = Some(files);
        Ok(())
    }

    /// The text of a file that it took.
    pub(in crate::pods) fn text(&self, path: &str) -> Option<String> {
        let files = lock(&self.files);
        let file = files.as_ref()?.files.iter().find(|file| file.path == path)?;
        Some(String::from_utf8_lossy(&file.content).into_owned())
    }

    pub(in crate::pods) fn updates(&self) -> usize {
        lock(&self.updates).len()
    }

    pub(in crate::pods) fn answer(&self, code: Code, times: usize) {
        lock(&self.answers).extend((0..times).map(|_| Error::new(code, "Told", "as it was told to")));
    }
}

#[async_trait]
impl Provider for Taker {
    fn identity(&self) -> Identity {
        Identity { name: "taker".into(), version: "1".into(), settle: Duration::ZERO }
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities { volumes: !self.plain, ..Capabilities::default() }
    }
    fn serve(&self, cluster: Weak<dyn Cluster>) {
        *lock(&self.cluster) = Some(cluster);
    }
    async fn update_volume(&self, _: Call, pod: DesiredPod, volume: &str) -> Result<(), Error> {
        lock(&self.updates).push(volume.to_string());
        if !self.careless {
            self.take(&pod.id, volume).await?;
        }
        lock(&self.answers).pop_front().map_or(Ok(()), Err)
    }
    async fn create_pod(&self, _: Call, _: DesiredPod) -> Result<Option<ObservedPod>, Error> {
        Err(unimplemented())
    }
    async fn update_pod(&self, _: Call, _: DesiredPod) -> Result<(), Error> {
        Err(unimplemented())
    }
    async fn delete_pod(
        &self,
        _: Call,
        _: &PodRef,
        _: Option<DesiredPod>,
        _: Option<Duration>,
    ) -> Result<Deletion, Error> {
        Err(unimplemented())
    }
    async fn get_pod(&self, _: &PodRef) -> Result<Option<ObservedPod>, Error> {
        Err(unimplemented())
    }
    async fn get_pod_status(&self, _: &PodRef) -> Result<Option<String>, Error> {
        Err(unimplemented())
    }
    async fn get_pods(&self) -> Result<Vec<ObservedPod>, Error> {
        Err(unimplemented())
    }
    async fn node_details(&self) -> Result<NodeDetails, Error> {
        Err(unimplemented())
    }
    async fn capacity(&self) -> Result<Vec<Amount>, Error> {
        Err(unimplemented())
    }
    async fn node_conditions(&self) -> Result<Vec<Condition>, Error> {
        Err(unimplemented())
    }
    async fn node_addresses(&self) -> Result<Option<Vec<Address>>, Error> {
        Err(unimplemented())
    }
    async fn node_daemon_endpoints(&self) -> Result<Option<u16>, Error> {
        Err(unimplemented())
    }
    async fn operating_system(&self) -> Result<String, Error> {
        Err(unimplemented())
    }
    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }
    async fn stop(&self) -> Result<(), Error> {
        Ok(())
    }
    async fn next_changes(&self, _: Call, _: Option<String>, _: Duration) -> Result<Batch, Error> {
        Err(unimplemented())
    }
    async fn get_container_logs(&self, _: Call, _: &PodRef, _: &str, _: LogOptions, _: LogSink) -> Result<(), Error> {
        Err(unimplemented())
    }
    async fn get_stats_summary(&self) -> Result<Vec<Usage>, Error> {
        Err(unimplemented())
    }
}
