//! An engine in memory: what it is told it does at once, and tells that something has happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, RwLock};

use crate::pods::machine::fixture::{container, id, sandbox};
use crate::provider::containers::{
    Abilities, Container, Containers, Executed, Phase, PullPolicy, Sandbox, SandboxState,
};
use crate::provider::{
    Address, Amount, Batch, Call, Capabilities, Cluster, Code, Condition, Deletion, DesiredPod, Error, Identity,
    LogEntry, LogOptions, LogSink, NodeDetails, ObservedPod, PodRef, Provider, ResolvedContainer, Scope, Source, Usage,
};

/// See the module.
#[derive(Default)]
pub(super) struct Engine {
    pods: Mutex<BTreeMap<String, SandboxState>>,
    /// UIDs in which something has happened, in order.
    touched: Mutex<Vec<String>>,
    bell: Notify,
    pub(super) down: AtomicBool,
    /// What it was asked to do, but for looks.
    calls: Mutex<Vec<String>>,
    /// Exit code of commands.
    pub(super) exec: Mutex<i32>,
    /// How long commands take.
    pub(super) takes: Mutex<Duration>,
    /// Whoever holds it keeps commands from beginning.
    pub(super) busy: RwLock<()>,
}

impl Engine {
    pub(super) fn pods(&self) -> MutexGuard<'_, BTreeMap<String, SandboxState>> {
        self.pods.lock().unwrap()
    }

    fn called(&self, call: impl Into<String>) -> Result<(), Error> {
        self.answers()?;
        self.calls.lock().unwrap().push(call.into());
        Ok(())
    }

    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn answers(&self) -> Result<(), Error> {
        if self.down.load(Ordering::Relaxed) {
            return Err(Error::new(Code::Unavailable, "Unreachable", "connection refused"));
        }
        Ok(())
    }

    pub(super) fn touch(&self, id: &PodRef) {
        self.touched.lock().unwrap().push(id.uid.clone());
        self.bell.notify_waiters();
    }

    /// Changes the newest attempt of a container.
    pub(super) fn change(&self, name: &str, change: impl FnOnce(&mut Container)) {
        let mut pods = self.pods();
        let state = pods.get_mut(&id().uid).unwrap();
        let newest = state.containers.iter_mut().filter(|container| container.name == name);
        change(newest.max_by_key(|container| container.attempt).unwrap());
        drop(pods);
        self.touch(&id());
    }

    pub(super) fn exit(&self, name: &str, code: i32) {
        self.change(name, |container| {
            container.phase = Phase::Exited;
            container.exit_code = Some(code);
            container.finished_ms = Some(container.started_ms.unwrap_or_default() + 1000);
        });
    }

    pub(super) fn attempts(&self) -> Vec<String> {
        let pods = self.pods();
        let containers = pods.values().flat_map(|state| &state.containers);
        containers.map(|container| format!("{} {} {:?}", container.name, container.attempt, container.phase)).collect()
    }
}

#[async_trait]
impl Containers for Engine {
    fn abilities(&self) -> Abilities {
        Abilities { exec: true, reaches_pods: false }
    }

    async fn ensure_sandbox(&self, _call: Call, pod: DesiredPod) -> Result<Sandbox, Error> {
        self.called("ensure")?;
        let made = Sandbox { id: pod.id.clone(), revision: Some(pod.revision), ..sandbox(true) };
        let mut pods = self.pods();
        let state = pods
            .entry(pod.id.uid.clone())
            .or_insert_with(|| SandboxState { sandbox: made.clone(), containers: Vec::new() });
        state.sandbox = made.clone();
        Ok(made)
    }

    async fn pull_image(&self, _call: Call, _id: &PodRef, image: &str, _: PullPolicy) -> Result<String, Error> {
        self.answers()?;
        Ok(format!("sha256:{image}"))
    }

    async fn start_container(
        &self,
        _call: Call,
        pod: DesiredPod,
        resolved: ResolvedContainer,
        _image_id: &str,
        attempt: u32,
    ) -> Result<String, Error> {
        self.called(format!("start {} {attempt} {}", resolved.name, resolved.args.join(" ")))?;
        let made = container(&resolved.name, attempt, Phase::Running);
        self.pods().get_mut(&pod.id.uid).unwrap().containers.push(made.clone());
        self.touch(&pod.id);
        Ok(made.id)
    }

    async fn stop_container(
        &self,
        _call: Call,
        _id: &PodRef,
        name: &str,
        attempt: u32,
        grace: Duration,
    ) -> Result<Deletion, Error> {
        self.called(format!("stop {name} {attempt} {}", grace.as_secs()))?;
        self.exit(name, if grace.is_zero() { 137 } else { 143 });
        Ok(Deletion::Stopping)
    }

    async fn remove_container(&self, _call: Call, id: &PodRef, name: &str, attempt: u32) -> Result<(), Error> {
        self.called(format!("remove {name} {attempt}"))?;
        if let Some(state) = self.pods().get_mut(&id.uid) {
            state.containers.retain(|container| container.name != name || container.attempt != attempt);
        }
        Ok(())
    }

    async fn stop_sandbox(&self, _call: Call, id: &PodRef) -> Result<(), Error> {
        self.called("stop sandbox")?;
        if let Some(state) = self.pods().get_mut(&id.uid) {
            state.sandbox.ready = false;
        }
        Ok(())
    }

    async fn remove_sandbox(&self, _call: Call, id: &PodRef) -> Result<Deletion, Error> {
        self.called("remove sandbox")?;
        self.pods().remove(&id.uid);
        Ok(Deletion::Gone)
    }

    async fn termination_message(&self, _: &PodRef, _: &str, _: u32, _: &str) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }

    async fn get_sandbox(&self, id: &PodRef) -> Result<Option<SandboxState>, Error> {
        self.answers()?;
        Ok(self.pods().get(&id.uid).cloned())
    }

    async fn list_containers(&self) -> Result<Vec<SandboxState>, Error> {
        self.answers()?;
        Ok(self.pods().values().cloned().collect())
    }

    async fn run_in_container(
        &self,
        mut call: Call,
        _: &PodRef,
        _: &str,
        _: Vec<String>,
        limit: Option<Duration>,
    ) -> Result<Executed, Error> {
        self.answers()?;
        let begun = async { drop(self.busy.read().await) };
        tokio::select! {
            () = begun => {}
            _ = call.cancelled() => {
                return Err(Error::new(Code::Cancelled, "CallCancelled", "it was cancelled before it began"));
            }
        }
        let takes = *self.takes.lock().unwrap();
        if limit.is_some_and(|limit| limit <= takes) {
            let late = Error::new(Code::DeadlineExceeded, "DeadlineExceeded", "it did not end in time");
            return Err(late.with_unknown_effect());
        }
        tokio::time::sleep(takes).await;
        Ok(Executed { exit_code: Some(*self.exec.lock().unwrap()), output: Bytes::from_static(b"out") })
    }
}

pub(super) fn none<T>() -> Result<T, Error> {
    Err(Error::new(Code::Unimplemented, "NotImplemented", "not in this test"))
}

#[async_trait]
impl Provider for Engine {
    fn identity(&self) -> Identity {
        Identity { name: "fake".into(), version: "1".into(), settle: Duration::ZERO }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { changes: true, container_logs: true, ..Capabilities::default() }
    }

    fn serve(&self, _: Weak<dyn Cluster>) {}

    fn follow(&self, _: DesiredPod) -> Option<ObservedPod> {
        None
    }

    async fn node_details(&self) -> Result<NodeDetails, Error> {
        none()
    }

    async fn capacity(&self) -> Result<Vec<Amount>, Error> {
        none()
    }

    async fn node_conditions(&self) -> Result<Vec<Condition>, Error> {
        none()
    }

    async fn node_addresses(&self) -> Result<Option<Vec<Address>>, Error> {
        none()
    }

    async fn node_daemon_endpoints(&self) -> Result<Option<u16>, Error> {
        none()
    }

    async fn operating_system(&self) -> Result<String, Error> {
        none()
    }

    async fn ping(&self) -> Result<(), Error> {
        self.answers()
    }

    async fn stop(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn create_pod(&self, _: Call, _: DesiredPod) -> Result<Option<ObservedPod>, Error> {
        none()
    }

    async fn update_pod(&self, _: Call, _: DesiredPod) -> Result<(), Error> {
        none()
    }

    async fn update_volume(&self, _: Call, _: DesiredPod, _: &str) -> Result<(), Error> {
        none()
    }

    async fn delete_pod(
        &self,
        _: Call,
        _: &PodRef,
        _: Option<DesiredPod>,
        _: Option<Duration>,
    ) -> Result<Deletion, Error> {
        none()
    }

    async fn get_pod(&self, _: &PodRef) -> Result<Option<ObservedPod>, Error> {
        none()
    }

    async fn get_pod_status(&self, _: &PodRef) -> Result<Option<String>, Error> {
        none()
    }

    async fn get_pods(&self) -> Result<Vec<ObservedPod>, Error> {
        none()
    }

    async fn next_changes(&self, _: Call, cursor: Option<String>, wait: Duration) -> Result<Batch, Error> {
        self.answers()?;
        let since: usize = cursor.as_deref().and_then(|cursor| cursor.parse().ok()).unwrap_or_default();
        let rung = self.bell.notified();
        if cursor.is_some() && self.touched.lock().unwrap().len() <= since {
            let _ = tokio::time::timeout(wait, rung).await;
            self.answers()?;
        }
        let all = self.touched.lock().unwrap().clone();
        let touched = all.iter().skip(since).map(|uid| PodRef { uid: uid.clone(), ..id() }).collect();
        Ok(Batch {
            scope: if cursor.is_some() { Scope::Delta } else { Scope::Listed },
            changed: Vec::new(),
            touched,
            node_changed: false,
            cursor: Some(all.len().to_string()),
            again_after: Duration::ZERO,
        })
    }

    async fn get_container_logs(
        &self,
        _: Call,
        _: &PodRef,
        container: &str,
        options: LogOptions,
        sink: LogSink,
    ) -> Result<(), Error> {
        let line = format!("log of {container} {:?}", options.attempt);
        let entry = LogEntry { time_ns: None, source: Source::Stdout, partial: false, bytes: line.into() };
        let _ = sink.send(vec![entry]).await;
        Ok(())
    }

    async fn get_stats_summary(&self) -> Result<Vec<Usage>, Error> {
        none()
    }
}
