//! [`Provider`]: what the pods' half asks of the machines, and what goes through to the plugin.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::memory::{Ending, Memory};
use super::observed::Observed;
use super::run::Inbox;
use super::spec::Spec;
use super::status::status;
use super::{Machine, logs};
use crate::defaults::machine::DRAIN;
use crate::provider::{
    Address, Amount, Batch, Call, Capabilities, Cluster, Code, Condition, Deletion, DesiredPod, Error, Identity,
    LogOptions, LogSink, NodeDetails, ObservedPod, PodRef, Provider, Usage,
};

impl Machine {
    /// Has a machine end a pod. Returns whether there is one.
    fn end(&self, uid: &str, order: Ending) -> bool {
        self.send(uid, |inbox| inbox.end(order))
    }

    /// The pod as it is known, or as the backend has it; that is taken over.
    async fn find(&self, id: &PodRef) -> Result<Option<ObservedPod>, Error> {
        if let Some(pod) = self.shared.news.get(&id.uid) {
            return Ok(Some(pod));
        }
        let state = self.shared.containers.get_sandbox(id).await?;
        if state.is_some() {
            self.enter(id, Some(Observed::of(state)));
        }
        Ok(self.shared.news.get(&id.uid))
    }
}

/// A pod that has been told of before a host of this node met it: some container of it has run.
fn has_run(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let lists = [&status.container_statuses, &status.init_container_statuses];
    let ran = lists.into_iter().flatten().flatten().any(|container| {
        let state = container.state.as_ref();
        container.restart_count > 0 || state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    });
    ran || status.phase.as_deref() == Some("Running")
}

fn decode(manifest: &str) -> Result<Pod, Error> {
    let broken = |error: serde_json::Error| {
        Error::new(Code::Internal, "ManifestUnreadable", format!("the manifest is no core/v1 Pod: {error}"))
    };
    serde_json::from_str(manifest).map_err(broken)
}

#[async_trait]
impl Provider for Machine {
    fn identity(&self) -> Identity {
        self.shared.provider.identity()
    }

    fn capabilities(&self) -> Capabilities {
        let plugin = self.shared.provider.capabilities();
        Capabilities { changes: true, resolves_late: true, follows: true, ..plugin }
    }

    fn serve(&self, cluster: Weak<dyn Cluster>) {
        // The host serves once.
        let _ = self.shared.cluster.set(cluster.clone());
        self.shared.provider.serve(cluster);
    }

    /// A machine that is there learns what the pod should be now. A pod that has run and has no machine was lost by the backend, and
    /// gets one.
    fn follow(&self, pod: DesiredPod) -> Option<ObservedPod> {
        let (id, desired) = (pod.id.clone(), Arc::new(pod));
        if !self.send(&id.uid, |inbox| inbox.desired = Some(desired.clone())) {
            let decoded = decode(&desired.manifest).ok()?;
            let terminal = Spec::of(&decoded).terminal;
            if !has_run(&decoded) || terminal {
                return None;
            }
            self.enter_with(&id, None, Inbox { desired: Some(desired.clone()), ..Inbox::default() });
        }
        let revision = Some(desired.revision.clone());
        self.shared.news.get(&id.uid).map(|pod| ObservedPod { revision, ..pod })
    }

    async fn node_details(&self) -> Result<NodeDetails, Error> {
        self.shared.provider.node_details().await
    }

    async fn capacity(&self) -> Result<Vec<Amount>, Error> {
        self.shared.provider.capacity().await
    }

    async fn node_conditions(&self) -> Result<Vec<Condition>, Error> {
        self.shared.provider.node_conditions().await
    }

    async fn node_addresses(&self) -> Result<Option<Vec<Address>>, Error> {
        self.shared.provider.node_addresses().await
    }

    async fn node_daemon_endpoints(&self) -> Result<Option<u16>, Error> {
        self.shared.provider.node_daemon_endpoints().await
    }

    async fn operating_system(&self) -> Result<String, Error> {
        self.shared.provider.operating_system().await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.shared.provider.ping().await
    }

    /// Pods stay as they are. What the machines are in the middle of has a little time to end.
    async fn stop(&self) -> Result<(), Error> {
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(machines = self.tasks.len(), "machines have not come to rest; they are left behind");
        }
        self.shared.provider.stop().await
    }

    async fn create_pod(&self, _call: Call, pod: DesiredPod) -> Result<Option<ObservedPod>, Error> {
        let decoded = decode(&pod.manifest)?;
        let spec = Spec::of(&decoded);
        if let Some(refusal) = spec.refusal(&decoded, self.shared.containers.abilities()) {
            let error = Error::new(Code::InvalidArgument, "UnsupportedField", refusal.message);
            return Err(Error { field: Some(refusal.field), ..error });
        }
        let (id, now) = (pod.id.clone(), self.shared.clock.now());
        if self.shared.news.get(&id.uid).is_none() {
            let memory = Memory::new(&id.uid, Duration::ZERO, now);
            let first = status(&spec, &Observed::default(), &memory, now, &self.identity().name);
            let status = serde_json::to_string(&first).unwrap_or_else(|_| "{}".into());
            self.shared.news.tell(ObservedPod { id: id.clone(), revision: Some(pod.revision.clone()), status });
        }
        let desired = Some(Arc::new(pod));
        if !self.send(&id.uid, |inbox| inbox.desired.clone_from(&desired)) {
            self.enter_with(&id, Some(Observed::default()), Inbox { desired, ..Inbox::default() });
        }
        Ok(self.shared.news.get(&id.uid))
    }

    async fn update_pod(&self, _call: Call, pod: DesiredPod) -> Result<(), Error> {
        let id = pod.id.clone();
        if self.send(&id.uid, |inbox| inbox.desired = Some(Arc::new(pod))) {
            return Ok(());
        }
        Err(Error::new(Code::NotFound, "PodNotFound", format!("there is nothing of pod {id}")))
    }

    async fn update_volume(&self, call: Call, pod: DesiredPod, volume: &str) -> Result<(), Error> {
        self.shared.provider.update_volume(call, pod, volume).await
    }

    /// A pod that is not being deleted in the API has outlived its deadline: it is ended, and its attempts stay for people to read.
    async fn delete_pod(
        &self,
        _call: Call,
        id: &PodRef,
        pod: Option<DesiredPod>,
        grace: Option<Duration>,
    ) -> Result<Deletion, Error> {
        let spec = pod.as_ref().map(|pod| decode(&pod.manifest)).transpose()?.map(|pod| Spec::of(&pod));
        let remove = spec.as_ref().is_none_or(|spec| spec.deletion.is_some());
        let grace = grace.or(spec.map(|spec| spec.grace)).unwrap_or_default();
        let order = Ending { until: self.shared.clock.now().plus(grace), remove };
        if self.end(&id.uid, order) {
            return Ok(Deletion::Stopping);
        }
        let Some(state) = self.shared.containers.get_sandbox(id).await? else { return Ok(Deletion::Gone) };
        let inbox = Inbox { desired: pod.map(Arc::new), end: Some(order), ..Inbox::default() };
        self.enter_with(id, Some(Observed::of(Some(state))), inbox);
        // Another call may have been faster.
        self.end(&id.uid, order);
        Ok(Deletion::Stopping)
    }

    async fn get_pod(&self, id: &PodRef) -> Result<Option<ObservedPod>, Error> {
        self.find(id).await
    }

    async fn get_pod_status(&self, id: &PodRef) -> Result<Option<String>, Error> {
        Ok(self.find(id).await?.map(|pod| pod.status))
    }

    async fn get_pods(&self) -> Result<Vec<ObservedPod>, Error> {
        self.adopt_all().await?;
        Ok(self.shared.news.all())
    }

    async fn next_changes(&self, call: Call, cursor: Option<String>, wait: Duration) -> Result<Batch, Error> {
        let Some(cursor) = cursor else {
            self.adopt_all().await?;
            return Ok(self.shared.news.list());
        };
        let mut call = call;
        tokio::select! {
            batch = self.shared.news.since(&cursor, wait) => batch,
            _ = call.cancelled() => self.shared.news.since(&cursor, Duration::ZERO).await,
        }
    }

    async fn get_container_logs(
        &self,
        call: Call,
        id: &PodRef,
        container: &str,
        options: LogOptions,
        sink: LogSink,
    ) -> Result<(), Error> {
        let known = self.find(id).await?;
        let not_there = || Error::new(Code::NotFound, "PodNotFound", format!("there is nothing of pod {id}"));
        let told: PodStatus = serde_json::from_str(&known.ok_or_else(not_there)?.status).unwrap_or_default();
        let attempt = match options.attempt {
            Some(attempt) => attempt,
            None => logs::attempt(&told, &id.name, container, options.previous)?,
        };
        let options = LogOptions { attempt: Some(attempt), previous: false, ..options };
        self.shared.provider.get_container_logs(call, id, container, options, sink).await
    }

    async fn get_stats_summary(&self) -> Result<Vec<Usage>, Error> {
        self.shared.provider.get_stats_summary().await
    }
}
