//! Who has a task: pods of this node in the API server, and workloads of this node in the provider.
//!
//! One owner, no locks: it takes watch events and provider news one by one and puts them into the mailboxes. It makes nothing
//! before the provider's first full list is there, so that a restarted host adopts instead of making anew (R22), and removes
//! nothing dangling before the API server's first full list is there (R16).

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use kube::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::Shared;
use super::backoff::Backoff;
use super::changes::{Feed, Told, uids};
use super::journal::Remembered;
use super::knowledge::Inbox;
use super::lifecycle::Workload;
use super::object::{PodObject, Received};
use super::task::Task;
use crate::defaults::call::CANCEL_GRACE;
use crate::defaults::pods::{BACKOFF_FIRST, BACKOFF_LONGEST};
use crate::provider::{ObservedPod, PodRef};

/// How long calls in flight may take to end at shutdown: their grace, and a little for its handling.
const DRAIN: Duration = Duration::from_secs(CANCEL_GRACE.as_secs() + 1);
/// How long a first list is waited for before it is said that it is missing.
const FIRST_LIST_PATIENCE: Duration = Duration::from_secs(10);
/// News that wait for the controller; the provider is held up beyond.
const NEWS: usize = 64;

/// One pod that has a task.
struct Handle {
    id: PodRef,
    object: Option<Arc<PodObject>>,
    /// What the provider last told; the same again is no news.
    observed: Option<Arc<ObservedPod>>,
    inbox: watch::Sender<Inbox>,
}

/// Owner of all tasks.
pub(super) struct Controller {
    shared: Arc<Shared>,
    handles: HashMap<String, Handle>,
    tasks: JoinSet<String>,
    /// Workloads that the provider has told and no pod is known of yet (R3).
    unclaimed: HashMap<String, ObservedPod>,
    /// Creates of an earlier process whose outcome is not known and whose pods have no task yet (R9b).
    remembered: HashMap<String, Remembered>,
    /// UIDs of the API list that is being received.
    listed: Option<HashSet<String>>,
    /// The API server's list has been complete once.
    synced: bool,
    relist: Arc<Notify>,
    said: u64,
}

impl Controller {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let remembered = shared.journal.remembered().into_iter();
        Self {
            remembered: remembered.map(|remembered| (remembered.id.uid.clone(), remembered)).collect(),
            shared,
            handles: HashMap::new(),
            tasks: JoinSet::new(),
            unclaimed: HashMap::new(),
            listed: None,
            synced: false,
            relist: Arc::default(),
            said: 0,
        }
    }

    /// Runs until shutdown. Pods stay where they are (R37); calls in flight are asked to end by the provider, and what they
    /// answer is waited for, so that what they have made is known rather than guessed at the next start.
    pub(super) async fn run(mut self, pods: Api<Received>) {
        let shutdown = self.shared.shutdown.clone();
        let (to, mut news) = mpsc::channel(NEWS);
        let feed = Feed::new(self.shared.provider.clone(), to, self.relist.clone(), self.shared.node_changed.clone());
        let mut feed = AbortOnDropHandle::new(tokio::spawn(feed.run()));
        let config = watcher::Config::default().fields(&format!("spec.nodeName={}", self.shared.node_name));
        let mut watch = std::pin::pin!(watcher(pods, config).default_backoff());
        // Nothing is made before the provider has said what is there (R10), however long that takes.
        let mut adopted = false;
        let mut patience = tokio::time::interval(FIRST_LIST_PATIENCE);
        patience.reset();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                ended = &mut feed => {
                    tracing::error!(?ended, "the provider's news have ended");
                    break;
                }
                Some(event) = watch.next(), if adopted => match event {
                    Ok(event) => self.watched(event),
                    Err(error) => tracing::warn!(%error, "watch of pods interrupted"),
                },
                Some(told) = news.recv() => {
                    adopted |= matches!(told, Told::Listed(_));
                    self.told(told);
                }
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                _ = patience.tick(), if !adopted => {
                    tracing::warn!("the provider has not listed its pods yet; none is made before it has");
                }
            }
        }
        self.shared.refresh.stop();
        let drained = tokio::time::timeout(DRAIN, async { while self.tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(pods = self.tasks.len(), "calls of the provider were cut");
        }
    }

    fn watched(&mut self, event: watcher::Event<Received>) {
        match event {
            watcher::Event::Init => self.listed = Some(HashSet::new()),
            watcher::Event::InitApply(pod) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(pod.uid().to_string());
                }
                self.applied(&pod);
            }
            watcher::Event::InitDone => self.list_complete(),
            watcher::Event::Apply(pod) => self.applied(&pod),
            watcher::Event::Delete(pod) => self.forget(pod.uid()),
        }
    }

    fn applied(&mut self, received: &Received) {
        let before = self.handles.get(received.uid()).and_then(|handle| handle.object.as_deref());
        let pod = match PodObject::decode(received, before) {
            Ok(pod) => Arc::new(pod),
            // Of no use to try again; the others are not kept waiting.
            Err(error) => {
                return tracing::error!(pod = %received.id(), uid = received.uid(), %error, "not a core/v1 Pod");
            }
        };
        let news = before.is_none_or(|before| {
            let (before, now) = (&before.metadata, &pod.metadata);
            before.generation != now.generation || before.deletion_timestamp != now.deletion_timestamp
        });
        if let Some(namesake) = self.shared.index.put(pod.clone()) {
            // Its deletion was compressed away (R1).
            self.forget(namesake.uid());
        }
        self.shared.refresh.see(&pod);
        let provider = &self.shared.provider;
        let follows = news && provider.capabilities().follows;
        let followed = follows.then(|| provider.follow(self.shared.resolver.unresolved(&pod))).flatten();
        let uid = pod.uid().to_string();
        if let Some(handle) = self.handles.get_mut(&uid) {
            handle.object = Some(pod.clone());
            handle.inbox.send_modify(|inbox| inbox.object = Some(pod));
            return;
        }
        let listed = self.unclaimed.remove(&uid);
        let observed = followed.or(listed);
        let workload = first_sight(&pod, observed.as_ref(), self.remembered.contains_key(&uid));
        if matches!(workload, Workload::Present { .. }) {
            self.shared.refresh.adopt(&pod);
        }
        self.start(pod.id(), Some(pod), workload, observed);
    }

    /// Starts the task of a pod.
    fn start(&mut self, id: PodRef, object: Option<Arc<PodObject>>, workload: Workload, observed: Option<ObservedPod>) {
        let observed = observed.map(Arc::new);
        let status = observed.clone().map(|observed| (self.next_number(), observed));
        let (inbox, receiver) =
            watch::channel(Inbox { object: object.clone(), forgotten: object.is_none(), status, look: 0 });
        let unclear_until = self.remembered.remove(&id.uid).map(|remembered| remembered.until);
        let shared = self.shared.clone();
        let (task_id, span) = (id.clone(), id.span());
        let task = async move {
            let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST);
            let mut task =
                Box::new(Task::new(shared.clone(), task_id.clone(), receiver.clone(), workload, unclear_until));
            while AssertUnwindSafe(task.run()).catch_unwind().await.is_err() {
                // A task that panics is a bug of ours, not the pod's end: it starts over and looks before it acts.
                tracing::error!("the pod's task panicked and starts over");
                let made = receiver.borrow().object.as_ref().is_some_and(|object| object.has_run());
                tokio::time::sleep(backoff.pause()).await;
                task = Box::new(Task::again(shared.clone(), task_id.clone(), receiver.clone(), made));
            }
            task_id.uid
        };
        self.tasks.spawn(task.instrument(span));
        self.handles.insert(id.uid.clone(), Handle { id, object, observed, inbox });
    }

    fn next_number(&mut self) -> u64 {
        self.said += 1;
        self.said
    }

    /// The API server has the pod no more.
    fn forget(&mut self, uid: &str) {
        let Some(handle) = self.handles.get(uid) else { return };
        if let Some(object) = &handle.object {
            self.shared.index.remove(object);
        }
        self.shared.refresh.forget(uid);
        handle.inbox.send_modify(|inbox| inbox.forgotten = true);
    }

    /// What the API server's list did not name is gone (R2).
    fn list_complete(&mut self) {
        let listed = self.listed.take().unwrap_or_default();
        let missing: Vec<String> = self.handles.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
        for uid in missing {
            self.forget(&uid);
        }
        if self.synced {
            // Events were lost; the provider's may not match what is known either.
            self.relist.notify_one();
            return;
        }
        self.synced = true;
        tracing::info!(pods = listed.len(), "API server listed");
        for (_, dangling) in std::mem::take(&mut self.unclaimed) {
            self.remove_dangling(dangling);
        }
        // What a create that was sent may still make, though its pod is gone.
        let left: Vec<PodRef> = self.remembered.values().map(|remembered| remembered.id.clone()).collect();
        for id in left {
            self.start_dangling(id, Workload::Unclear { made: false }, None);
        }
    }

    /// A workload of this node without a pod. Its namespace may be none of ours (R24); then it is left alone.
    fn remove_dangling(&mut self, observed: ObservedPod) {
        let there = Workload::Present { revision: observed.revision.clone() };
        self.start_dangling(observed.id.clone(), there, Some(observed));
    }

    fn start_dangling(&mut self, id: PodRef, workload: Workload, observed: Option<ObservedPod>) {
        if self.shared.namespace.as_ref().is_some_and(|namespace| *namespace != id.namespace) {
            return;
        }
        tracing::info!(pod = %id, uid = %id.uid, ?workload, "a workload whose pod does not exist");
        self.start(id, None, workload, observed);
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Changed(pods) => pods.into_iter().for_each(|pod| self.said(pod)),
            Told::Touched(ids) => ids.iter().for_each(|id| self.look(&id.uid)),
            Told::Listed(pods) => {
                let there = uids(&pods);
                self.unclaimed.retain(|uid, _| there.contains(uid.as_str()));
                let absent: Vec<String> =
                    self.handles.keys().filter(|uid| !there.contains(uid.as_str())).cloned().collect();
                for uid in absent {
                    self.look(&uid);
                }
                for pod in pods {
                    if self.handles.contains_key(&pod.id.uid) {
                        self.said(pod);
                    } else if self.synced {
                        self.remove_dangling(pod);
                    } else {
                        self.unclaimed.insert(pod.id.uid.clone(), pod);
                    }
                }
            }
        }
    }

    fn said(&mut self, pod: ObservedPod) {
        let number = self.next_number();
        match self.handles.get_mut(&pod.id.uid) {
            Some(handle) if handle.observed.as_deref() == Some(&pod) => {}
            Some(handle) => {
                let observed = Arc::new(pod);
                handle.observed = Some(observed.clone());
                handle.inbox.send_modify(|inbox| inbox.status = Some((number, observed)));
            }
            // Before the API server's list is complete it may belong to a pod that comes yet (R3).
            None if !self.synced => {
                self.unclaimed.insert(pod.id.uid.clone(), pod);
            }
            // Later it is a last word of one that went, or one that a backend shows late: removed, whichever it is.
            None => self.start_dangling(pod.id, Workload::Unclear { made: true }, None),
        }
    }

    fn look(&mut self, uid: &str) {
        let number = self.next_number();
        match self.handles.get_mut(uid) {
            Some(handle) => {
                // Whatever it finds, the next status is news again.
                handle.observed = None;
                handle.inbox.send_modify(|inbox| inbox.look = number);
            }
            None => {
                self.unclaimed.remove(uid);
            }
        }
    }

    fn ended(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(uid) => {
                if let Some(handle) = self.handles.remove(&uid) {
                    tracing::debug!(pod = %handle.id, uid = %handle.id.uid, "nothing is left of the pod");
                }
            }
            Err(error) => tracing::error!(%error, "a pod's task was lost"),
        }
    }
}

/// What is known of a pod's workload when the pod is first seen, from what the provider has listed. One that is there is adopted.
/// One that was there and is not any more is looked for and never made anew (R15), and so is one that may have been made by an
/// earlier process (R9b), which is made if it surely was not.
fn first_sight(pod: &PodObject, observed: Option<&ObservedPod>, remembered: bool) -> Workload {
    match observed {
        Some(observed) => Workload::Present { revision: observed.revision.clone() },
        None if pod.has_run() && !pod.is_terminal() => Workload::Unclear { made: true },
        None if remembered => Workload::Unclear { made: false },
        None => Workload::None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pods::object::tests::pod;

    #[test]
    fn nothing_is_made_that_was_made_or_may_have_been() {
        let pending = pod(json!({"metadata": {"name": "a", "uid": "u"}, "status": {"phase": "Pending"}}));
        let running = pod(json!({"metadata": {"name": "a", "uid": "u"}, "status": {"phase": "Running"}}));
        let failed = pod(json!({"metadata": {"name": "a", "uid": "u"}, "status": {"phase": "Failed"}}));
        let there = ObservedPod { id: pending.id(), revision: Some("1".into()), status: "{}".into() };
        let present = Workload::Present { revision: Some("1".into()) };
        assert_eq!(first_sight(&pending, None, false), Workload::None);
        assert_eq!(first_sight(&pending, None, true), Workload::Unclear { made: false });
        assert_eq!(first_sight(&running, None, false), Workload::Unclear { made: true });
        assert_eq!(first_sight(&running, None, true), Workload::Unclear { made: true });
        assert_eq!(first_sight(&failed, None, false), Workload::None);
        assert_eq!(first_sight(&failed, None, true), Workload::Unclear { made: false }, "it may be there all the same");
        for pod in [&pending, &running, &failed] {
            assert_eq!(first_sight(pod, Some(&there), true), present);
        }
    }
}
