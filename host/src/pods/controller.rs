//! Who has a task: pods of this node in the API server, and workloads of this node in the provider.
//!
//! One owner, no locks: it takes watch events and provider news one by one and puts them into the mailboxes. It makes nothing
//! before the provider's first full list is there, so that a restarted host adopts instead of making anew (R22), and removes
//! nothing dangling before the API server's first full list is there (R16).

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use kube::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::changes::{FIRST_LIST_PATIENCE, Feed, Told, uids};
use super::lifecycle::Workload;
use super::object::PodObject;
use super::task::{Inbox, Said, Task};
use crate::defaults::pods::BACKOFF_FIRST;
use crate::provider::{ObservedPod, PodRef};

/// News that wait for the controller; the provider is held up beyond.
const NEWS: usize = 64;

/// One pod that has a task.
struct Handle {
    id: PodRef,
    object: Option<Arc<PodObject>>,
    inbox: watch::Sender<Inbox>,
}

/// Owner of all tasks.
pub(super) struct Controller {
    shared: Arc<Shared>,
    handles: HashMap<String, Handle>,
    tasks: JoinSet<String>,
    /// Workloads that the provider has told and no pod is known of yet (R3).
    unclaimed: HashMap<String, ObservedPod>,
    /// UIDs of the API list that is being received.
    listed: Option<HashSet<String>>,
    /// The API server's list has been complete once.
    synced: bool,
    relist: Arc<Notify>,
    said: u64,
}

impl Controller {
    pub(super) fn new(shared: Arc<Shared>, relist: Arc<Notify>) -> Self {
        Self {
            shared,
            handles: HashMap::new(),
            tasks: JoinSet::new(),
            unclaimed: HashMap::new(),
            listed: None,
            synced: false,
            relist,
            said: 0,
        }
    }

    /// Runs until shutdown. Pods stay where they are (R37).
    pub(super) async fn run(mut self, pods: Api<PodObject>, shutdown: CancellationToken) {
        let (to, mut news) = mpsc::channel(NEWS);
        let feed = Feed::new(
            self.shared.provider.clone(),
            to,
            self.relist.clone(),
            self.shared.node_changed.clone(),
            shutdown.clone(),
        );
        tokio::spawn(feed.run());
        if !self.first_list(&mut news, &shutdown).await {
            return;
        }
        let config = watcher::Config::default().fields(&format!("spec.nodeName={}", self.shared.node_name));
        let mut watch = std::pin::pin!(watcher(pods, config).default_backoff());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(event) = watch.next() => match event {
                    Ok(event) => self.watched(event),
                    Err(error) => tracing::warn!(%error, "watch of pods interrupted"),
                },
                Some(told) = news.recv() => self.told(told),
                Some(ended) = self.tasks.join_next() => self.ended(ended),
            }
        }
    }

    /// Waits for the provider's first full list, however long that takes: what is not known must not be made (R10).
    async fn first_list(&mut self, news: &mut mpsc::Receiver<Told>, shutdown: &CancellationToken) -> bool {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return false,
                told = news.recv() => match told {
                    Some(Told::Listed(pods)) => {
                        tracing::info!(workloads = pods.len(), "provider listed");
                        self.unclaimed = pods.into_iter().map(|pod| (pod.id.uid.clone(), pod)).collect();
                        return true;
                    }
                    Some(_) => {}
                    None => return false,
                },
                () = tokio::time::sleep(FIRST_LIST_PATIENCE) => {
                    tracing::warn!("the provider has not listed its pods yet; none is made before it has");
                }
            }
        }
    }

    fn watched(&mut self, event: watcher::Event<PodObject>) {
        match event {
            watcher::Event::Init => self.listed = Some(HashSet::new()),
            watcher::Event::InitApply(pod) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(pod.uid().to_string());
                }
                self.applied(pod);
            }
            watcher::Event::InitDone => self.list_complete(),
            watcher::Event::Apply(pod) => self.applied(pod),
            watcher::Event::Delete(pod) => self.forget(pod.uid()),
        }
    }

    fn applied(&mut self, pod: PodObject) {
        let pod = Arc::new(pod);
        if let Some(namesake) = self.shared.index.put(pod.clone()) {
            // Its deletion was compressed away (R1).
            self.forget(namesake.uid());
        }
        let uid = pod.uid().to_string();
        if let Some(handle) = self.handles.get_mut(&uid) {
            handle.object = Some(pod.clone());
            handle.inbox.send_modify(|inbox| inbox.object = Some(pod));
            return;
        }
        let claimed = self.unclaimed.remove(&uid);
        self.start(pod.id(), Some(pod), claimed);
    }

    /// Starts the task of a pod. A workload that is there already is adopted.
    fn start(&mut self, id: PodRef, object: Option<Arc<PodObject>>, workload: Option<ObservedPod>) {
        let known = match &workload {
            Some(observed) => Workload::Present { revision: observed.revision.clone() },
            None => Workload::None,
        };
        let said = workload.map(|observed| (self.next_number(), Said::Status(Arc::new(observed))));
        let (inbox, receiver) = watch::channel(Inbox { object: object.clone(), forgotten: object.is_none(), said });
        let shared = self.shared.clone();
        let task_id = id.clone();
        self.tasks.spawn(async move {
            let mut known = known;
            // A task that panics is a bug of ours, not the pod's end: it starts over and looks before it acts.
            while AssertUnwindSafe(Task::new(shared.clone(), task_id.clone(), receiver.clone(), known).run())
                .catch_unwind()
                .await
                .is_err()
            {
                tracing::error!(pod = %task_id, uid = %task_id.uid, "the pod's task panicked and starts over");
                known = Workload::Unclear { made: false };
                tokio::time::sleep(BACKOFF_FIRST).await;
            }
            task_id.uid
        });
        self.handles.insert(id.uid.clone(), Handle { id, object, inbox });
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
    }

    /// A workload of this node without a pod. Its namespace may be none of ours (R24); then it is left alone.
    fn remove_dangling(&mut self, workload: ObservedPod) {
        if self.shared.namespace.as_ref().is_some_and(|namespace| *namespace != workload.id.namespace) {
            return;
        }
        tracing::info!(pod = %workload.id, uid = %workload.id.uid, "removing a workload whose pod does not exist");
        self.start(workload.id.clone(), None, Some(workload));
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Changed(pods) => pods.into_iter().for_each(|pod| self.said(pod)),
            Told::Touched(ids) => ids.iter().for_each(|id| self.look(&id.uid)),
            Told::Listed(pods) => {
                let there = uids(&pods);
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
        match self.handles.get(&pod.id.uid) {
            Some(handle) => handle.inbox.send_modify(|inbox| inbox.said = Some((number, Said::Status(Arc::new(pod))))),
            // Before the API server's list is complete it may belong to a pod that comes yet; later to one that went.
            None if !self.synced => {
                self.unclaimed.insert(pod.id.uid.clone(), pod);
            }
            None => {}
        }
    }

    fn look(&mut self, uid: &str) {
        let number = self.next_number();
        match self.handles.get(uid) {
            Some(handle) => handle.inbox.send_modify(|inbox| inbox.said = Some((number, Said::Look))),
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
