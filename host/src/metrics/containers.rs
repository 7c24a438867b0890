//! Calls of a provider of single containers, counted with all others.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::provider::Counts;
use crate::provider::containers::{Abilities, Containers, Executed, PullPolicy, Sandbox, SandboxState};
use crate::provider::{Call, Deletion, DesiredPod, Error, PodRef, ResolvedContainer};

/// Containers whose calls are counted.
pub struct CountedContainers {
    inner: Arc<dyn Containers>,
    counts: Arc<Counts>,
}

impl CountedContainers {
    /// Counts the calls of `inner`.
    pub fn new(inner: Arc<dyn Containers>, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }
}

#[async_trait]
impl Containers for CountedContainers {
    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    async fn ensure_sandbox(&self, call: Call, pod: DesiredPod) -> Result<Sandbox, Error> {
        self.counts.count("ensure_sandbox", self.inner.ensure_sandbox(call, pod)).await
    }

    async fn pull_image(&self, call: Call, id: &PodRef, image: &str, policy: PullPolicy) -> Result<String, Error> {
        self.counts.count("pull_image", self.inner.pull_image(call, id, image, policy)).await
    }

    async fn start_container(
        &self,
        call: Call,
        pod: DesiredPod,
        container: ResolvedContainer,
        image_id: &str,
        attempt: u32,
    ) -> Result<String, Error> {
        let start = self.inner.start_container(call, pod, container, image_id, attempt);
        self.counts.count("start_container", start).await
    }

    async fn stop_container(
        &self,
        call: Call,
        id: &PodRef,
        name: &str,
        attempt: u32,
        grace: Duration,
    ) -> Result<Deletion, Error> {
        self.counts.count("stop_container", self.inner.stop_container(call, id, name, attempt, grace)).await
    }

    async fn remove_container(&self, call: Call, id: &PodRef, name: &str, attempt: u32) -> Result<(), Error> {
        self.counts.count("remove_container", self.inner.remove_container(call, id, name, attempt)).await
    }

    async fn stop_sandbox(&self, call: Call, id: &PodRef) -> Result<(), Error> {
        self.counts.count("stop_sandbox", self.inner.stop_sandbox(call, id)).await
    }

    async fn remove_sandbox(&self, call: Call, id: &PodRef) -> Result<Deletion, Error> {
        self.counts.count("remove_sandbox", self.inner.remove_sandbox(call, id)).await
    }

    async fn termination_message(
        &self,
        id: &PodRef,
        name: &str,
        attempt: u32,
        path: &str,
    ) -> Result<Option<Bytes>, Error> {
        self.counts.count("termination_message", self.inner.termination_message(id, name, attempt, path)).await
    }

    async fn get_sandbox(&self, id: &PodRef) -> Result<Option<SandboxState>, Error> {
        self.counts.count("get_sandbox", self.inner.get_sandbox(id)).await
    }

    async fn list_containers(&self) -> Result<Vec<SandboxState>, Error> {
        self.counts.count("list_containers", self.inner.list_containers()).await
    }

    async fn run_in_container(
        &self,
        call: Call,
        id: &PodRef,
        container: &str,
        command: Vec<String>,
        limit: Option<Duration>,
    ) -> Result<Executed, Error> {
        self.counts.count("run_in_container", self.inner.run_in_container(call, id, container, command, limit)).await
    }
}
