//! [`Provider`] by calls into the component.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::RwLockReadGuard;
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::Instance;

use super::admission::Workloads;
use super::bindings::exports::virtual_kubelet::provider::pods::GuestIndices;
use super::bindings::virtual_kubelet::provider::types;
use super::call::{Class, Ended, Request};
use super::convert::{self, all};
use super::generation::Generation;
use super::places::Place;
use super::state::{Cpu, State};
use super::{Limits, Plugin, logs};
use crate::provider::{
    Address, Amount, Batch, Call, Capabilities, Cluster, Code, Condition, Deletion, DesiredPod, Error, Identity,
    LogOptions, LogSink, NodeDetails, ObservedPod, PodRef, Provider, Usage,
};

/// Longest cursor, in bytes: the host keeps it.
const CURSOR: usize = 64 << 10;

/// What a guest's function returns: wasmtime's error, or else the guest's own answer.
type Answer<R> = wasmtime::Result<Result<R, types::Error>>;

/// Calls a function of a capability: `guest!(generation.node, call_ping())`.
macro_rules! guest {
    ($indices:expr, $function:ident($($argument:expr),*)) => {
        async |store: &mut Store<State>, instance: &Instance| {
            $indices.load(&mut *store, instance)?.$function(store, $($argument),*).await
        }
    };
}
pub(super) use guest;

/// The capability, which a plugin of the other shape does not have.
fn pods(generation: &Generation) -> Result<&GuestIndices, Error> {
    match &generation.exports.workloads {
        Workloads::Pods(indices) => Ok(indices),
        Workloads::Containers(_) => Err(missing("pods")),
    }
}

/// A call that may begin: with its place, and the generation that it runs on. A swap that changes the state's shape waits until
/// all of them have ended.
pub(super) struct Entered<'a> {
    generation: Arc<Generation>,
    place: Place<'a>,
    _pass: RwLockReadGuard<'a, ()>,
}

impl Deref for Entered<'_> {
    type Target = Generation;

    fn deref(&self) -> &Generation {
        &self.generation
    }
}

/// An error that a budget of the plugin's may be behind is not to be tried again before that has room, if the plugin knows nothing
/// else.
fn after(missed: Option<Duration>, error: Error) -> Error {
    let limited = matches!(error.code, Code::ResourceExhausted | Code::Unavailable);
    Error { retry_after: error.retry_after.or(missed.filter(|_| limited)), ..error }
}

impl Plugin {
    /// Waits for the request's turn. First for its place: whoever queues for one must not keep a swap waiting.
    pub(super) async fn enter(&self, request: &Request) -> Result<Entered<'_>, Error> {
        let turn = async {
            let place = self.runner.place(request.class).await?;
            Ok((place, self.gate.read().await))
        };
        let (place, pass) = self.runner.wait(request, turn).await?;
        Ok(Entered { generation: self.current.load_full(), place, _pass: pass })
    }

    /// A place alone, for one that keeps it from generation to generation.
    pub(super) async fn place(&self, request: &Request) -> Result<Place<'_>, Error> {
        self.runner.wait(request, self.runner.place(request.class)).await
    }

    /// The generation that serves when no swap is under way, for a session, which none waits for.
    pub(super) async fn serving(&self, request: &Request) -> Result<Arc<Generation>, Error> {
        let turn = async {
            let _pass = self.gate.read().await;
            Ok(self.current.load_full())
        };
        self.runner.wait(request, turn).await
    }

    /// One call, which leaves its place when it turns out to be slow.
    pub(super) async fn call<R, F>(&self, on: &Entered<'_>, request: Request, guest: F) -> Result<R, Error>
    where
        F: AsyncFnOnce(&mut Store<State>, &Instance) -> Answer<R>,
    {
        tokio::select! {
            biased;
            result = self.call_on(on, request, guest) => result,
            never = on.place.cede() => match never {},
        }
    }

    /// A call that keeps its place, if it has one.
    pub(super) async fn call_on<R, F>(&self, generation: &Generation, request: Request, guest: F) -> Result<R, Error>
    where
        F: AsyncFnOnce(&mut Store<State>, &Instance) -> Answer<R>,
    {
        let class = request.class;
        let replaced = match class {
            // It knows itself whether it can go on elsewhere.
            Class::Session | Class::Command => request.replaced,
            Class::Changes => Some(generation.replaced()),
            _ => Some(generation.overdue()),
        };
        let request = Request { replaced, ..request };
        let (store, rights) = (generation.store.clone(), generation.rights.clone());
        let ended = self.runner.run(&generation.pre, generation.number, store, rights, request, guest).await;
        let Ended { result, missed, .. } = ended;
        if generation.trial.note(class, result.as_ref().err()) {
            self.failing.notify_one();
        }
        result?.map_err(|error| after(missed, error.into()))
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.runner.services.limits
    }

    /// A look: changes nothing and is asked to end by nobody but its deadline.
    pub(super) fn look(&self, operation: &'static str, pod: Option<&PodRef>) -> Request {
        Request {
            operation,
            class: Class::Poll,
            deadline: Some(self.limits().deadline),
            cpu: Cpu::Budget(self.limits().cpu_budget),
            mutates: false,
            pod: pod.cloned(),
            call: Call::uncancelled(),
            replaced: None,
            reader: None,
            last: false,
        }
    }

    /// A question about the node.
    fn question(&self, operation: &'static str) -> Request {
        Request { class: Class::Node, deadline: Some(self.limits().node_deadline), ..self.look(operation, None) }
    }

    /// Gathers pages. The last page has no next; one that names a page that was there already would never end.
    pub(super) async fn pages<T, P, F>(&self, mut page: F) -> Result<Vec<T>, Error>
    where
        F: FnMut(Option<String>) -> P,
        P: Future<Output = Result<(Vec<T>, Option<String>), Error>>,
    {
        let mut gathered = Vec::new();
        let mut seen = HashSet::new();
        let mut after = None;
        for _ in 0..self.limits().pages {
            let (items, next) = page(after).await?;
            gathered.extend(items);
            let Some(next) = next else { return Ok(gathered) };
            if !seen.insert(next.clone()) {
                break;
            }
            after = Some(next);
        }
        // Half a list would look like the other half's end.
        Err(Error::new(Code::Internal, "PagesDoNotEnd", "the plugin's list does not come to an end"))
    }
}

pub(super) fn missing(capability: &str) -> Error {
    Error::new(Code::Unimplemented, "NotImplemented", format!("the plugin has no {capability}"))
}

#[async_trait]
impl Provider for Plugin {
    fn identity(&self) -> Identity {
        self.current.load().identity.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let generation = self.current.load();
        Capabilities {
            changes: generation.exports.changes.is_some(),
            container_logs: generation.exports.container_logs.is_some(),
            stats: generation.exports.stats.is_some(),
            resolves_late: generation.resolves_late,
            volumes: generation.exports.volumes.is_some(),
            follows: false,
        }
    }

    fn serve(&self, cluster: Weak<dyn Cluster>) {
        self.runner.services.serve(cluster);
    }

    async fn node_details(&self) -> Result<NodeDetails, Error> {
        let request = self.question("node-details");
        let g = &self.enter(&request).await?;
        self.call(g, request, guest!(g.exports.node, call_node_details())).await.map(NodeDetails::from)
    }

    async fn capacity(&self) -> Result<Vec<Amount>, Error> {
        let request = self.question("capacity");
        let g = &self.enter(&request).await?;
        self.call(g, request, guest!(g.exports.node, call_capacity())).await.map(all)
    }

    async fn node_conditions(&self) -> Result<Vec<Condition>, Error> {
        let request = self.question("node-conditions");
        let g = &self.enter(&request).await?;
        self.call(g, request, guest!(g.exports.node, call_node_conditions())).await.map(all)
    }

    async fn node_addresses(&self) -> Result<Option<Vec<Address>>, Error> {
        let request = self.question("node-addresses");
        let g = &self.enter(&request).await?;
        let addresses = self.call(g, request, guest!(g.exports.node, call_node_addresses())).await?;
        Ok(addresses.map(all))
    }

    async fn node_daemon_endpoints(&self) -> Result<Option<u16>, Error> {
        let request = self.question("node-daemon-endpoints");
        let g = &self.enter(&request).await?;
        self.call(g, request, guest!(g.exports.node, call_node_daemon_endpoints())).await
    }

    async fn operating_system(&self) -> Result<String, Error> {
        let request = self.question("operating-system");
        let g = &self.enter(&request).await?;
        self.call(g, request, guest!(g.exports.node, call_operating_system())).await
    }

    async fn ping(&self) -> Result<(), Error> {
        let request = self.question("ping");
        let g = &self.enter(&request).await?;
        self.call(g, request, guest!(g.exports.node, call_ping())).await
    }

    async fn stop(&self) -> Result<(), Error> {
        let request = Request { mutates: true, last: true, ..self.question("stop") };
        let g = &self.enter(&request).await?;
        self.call(g, request, guest!(g.exports.node, call_stop())).await
    }

    async fn create_pod(&self, call: Call, pod: DesiredPod) -> Result<Option<ObservedPod>, Error> {
        let look = self.look("create-pod", Some(&pod.id));
        let request = Request {
            class: Class::Create,
            deadline: Some(self.limits().create_deadline),
            mutates: true,
            call,
            ..look
        };
        let pod = types::DesiredPod::from(pod);
        let g = &self.enter(&request).await?;
        let indices = pods(g)?;
        let created = self.call(g, request, guest!(indices, call_create_pod(&pod))).await?;
        g.trial.note_acknowledged();
        Ok(created.map(ObservedPod::from))
    }

    async fn update_pod(&self, call: Call, pod: DesiredPod) -> Result<(), Error> {
        let request = Request { class: Class::Create, mutates: true, call, ..self.look("update-pod", Some(&pod.id)) };
        let pod = types::DesiredPod::from(pod);
        let g = &self.enter(&request).await?;
        let indices = pods(g)?;
        self.call(g, request, guest!(indices, call_update_pod(&pod))).await?;
        g.trial.note_acknowledged();
        Ok(())
    }

    async fn update_volume(&self, call: Call, pod: DesiredPod, volume: &str) -> Result<(), Error> {
        let look = self.look("update-volume", Some(&pod.id));
        let request = Request { class: Class::Create, mutates: true, call, ..look };
        let pod = types::DesiredPod::from(pod);
        let g = &self.enter(&request).await?;
        let volumes = g.exports.volumes.as_ref().ok_or_else(|| missing("volumes"))?;
        self.call(g, request, guest!(volumes, call_update_volume(&pod, volume))).await?;
        g.trial.note_acknowledged();
        Ok(())
    }

    async fn delete_pod(
        &self,
        call: Call,
        id: &PodRef,
        pod: Option<DesiredPod>,
        grace: Option<Duration>,
    ) -> Result<Deletion, Error> {
        let request = Request { class: Class::Delete, mutates: true, call, ..self.look("delete-pod", Some(id)) };
        let id = types::PodRef::from(id.clone());
        let pod = pod.map(types::DesiredPod::from);
        // Rounded up: a grace of half a second is not a kill.
        let grace = grace.map(|grace| u32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(u32::MAX));
        let g = &self.enter(&request).await?;
        let indices = pods(g)?;
        let deletion = self.call(g, request, guest!(indices, call_delete_pod(&id, pod.as_ref(), grace))).await?;
        g.trial.note_acknowledged();
        Ok(Deletion::from(deletion))
    }

    async fn get_pod(&self, id: &PodRef) -> Result<Option<ObservedPod>, Error> {
        let request = self.look("get-pod", Some(id));
        let id = types::PodRef::from(id.clone());
        let g = &self.enter(&request).await?;
        let indices = pods(g)?;
        let pod = self.call(g, request, guest!(indices, call_get_pod(&id))).await?;
        Ok(pod.map(ObservedPod::from))
    }

    async fn get_pod_status(&self, id: &PodRef) -> Result<Option<String>, Error> {
        let request = self.look("get-pod-status", Some(id));
        let id = types::PodRef::from(id.clone());
        let g = &self.enter(&request).await?;
        let indices = pods(g)?;
        self.call(g, request, guest!(indices, call_get_pod_status(&id))).await
    }

    async fn get_pods(&self) -> Result<Vec<ObservedPod>, Error> {
        // One generation for all pages: another one need not understand the place where a page ended.
        let g = &self.enter(&self.look("get-pods", None)).await?;
        let indices = pods(g)?;
        self.pages(async |after: Option<String>| {
            let page =
                self.call(g, self.look("get-pods", None), guest!(indices, call_get_pods(after.as_deref()))).await?;
            Ok(convert::pods_page(page))
        })
        .await
    }

    async fn next_changes(&self, call: Call, mut cursor: Option<String>, wait: Duration) -> Result<Batch, Error> {
        let until = Instant::now() + wait;
        loop {
            let wait = until.saturating_duration_since(Instant::now());
            let deadline = Some(wait.saturating_add(self.limits().changes_slack));
            let look = self.look("changes.next", None);
            let request = Request { class: Class::Changes, deadline, call: call.clone(), ..look };
            let g = &self.enter(&request).await?;
            let changes = g.exports.changes.as_ref().ok_or_else(|| missing("changes"))?;
            let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
            let result = self.call(g, request, guest!(changes, call_next(cursor.as_deref(), wait_ms))).await;
            // Asked to end because of a swap: the next generation goes on, and the caller need not know.
            let goes_on = g.is_replaced() && call.reason().is_none();
            match result.map(Batch::from).and_then(checked) {
                Ok(batch) if goes_on && batch.says_nothing() && batch.cursor.is_some() => cursor = batch.cursor,
                Err(_) if goes_on => {}
                result => return result,
            }
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
        logs::read(self, call, id, container, options, sink).await
    }

    async fn get_stats_summary(&self) -> Result<Vec<Usage>, Error> {
        let g = &self.enter(&self.look("get-stats-summary", None)).await?;
        let stats = g.exports.stats.as_ref().ok_or_else(|| missing("stats"))?;
        self.pages(async |after: Option<String>| {
            let page = self
                .call(g, self.look("get-stats-summary", None), guest!(stats, call_get_stats_summary(after.as_deref())))
                .await?;
            Ok(convert::usage_page(page))
        })
        .await
    }
}

fn checked(batch: Batch) -> Result<Batch, Error> {
    match &batch.cursor {
        Some(cursor) if cursor.len() > CURSOR => Err(Error::new(
            Code::Internal,
            "CursorTooLong",
            format!("the plugin's cursor has more than {CURSOR} bytes"),
        )),
        _ => Ok(batch),
    }
}
