//! The pod machine: a provider of single containers as one that runs whole pods.
//!
//! It does over [`Containers`] what the kubelet does over CRI: sandbox, images, init containers in order, sidecars, restarts with
//! back-off, probes, hooks, the end in its order. To the pods' half it is a [`Provider`] like any other; every container engine
//! shares it.
//!
//! ```text
//!  pods ──create, delete, follow──▶ Machine ──mailbox──▶ task of a pod ──actions──▶ Containers (the plugin)
//!    ◀──next_changes── news ◀──status──┘         ▲           │  ▲
//!                                                │           ▼  │
//!                            changes (hints) ────┘     decide (pure), memory, status (pure)
//! ```
//!
//! What it must know after a restart stands in the backend: every attempt carries the pod's UID, the container's name and its own number.

mod action;
mod acts;
mod changes;
mod clock;
mod decide;
#[cfg(test)]
mod fixture;
mod hooks;
mod logs;
mod memory;
mod news;
mod observed;
mod probe;
mod provider;
mod run;
mod scene;
mod spec;
mod status;
#[cfg(test)]
mod tests;
mod values;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use self::action::Event;
use self::clock::Clock;
use self::news::News;
use self::observed::Observed;
use self::run::{Inbox, Task};
use crate::pods::events::Events;
use crate::provider::containers::Containers;
use crate::provider::{Cluster, ObservedPod, PodRef, Provider};

/// After a task that panicked, before it starts over.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// Where events on pods go.
type Tell = Box<dyn Fn(&PodRef, &Event) + Send + Sync>;

/// What all machines share.
struct Shared {
    containers: Arc<dyn Containers>,
    /// The same plugin, for what concerns the node, logs and changes.
    provider: Arc<dyn Provider>,
    cluster: OnceLock<Weak<dyn Cluster>>,
    tell: Tell,
    news: News,
    clock: Clock,
    shutdown: CancellationToken,
}

impl Shared {
    fn cluster(&self) -> Option<Arc<dyn Cluster>> {
        self.cluster.get().and_then(Weak::upgrade)
    }
}

/// The machines of all pods. Cheap to clone.
#[derive(Clone)]
pub struct Machine {
    shared: Arc<Shared>,
    /// The mailboxes, by UID.
    entries: Arc<Mutex<HashMap<String, watch::Sender<Inbox>>>>,
    tasks: TaskTracker,
}

impl Machine {
    /// Drives pods on a plugin that has containers; `provider` is the same one. Runs until `shutdown`.
    pub fn start(
        containers: Arc<dyn Containers>,
        provider: Arc<dyn Provider>,
        events: Events,
        shutdown: CancellationToken,
    ) -> Self {
        let tell = move |id: &PodRef, event: &Event| {
            id.span().in_scope(|| tracing::debug!(reason = %event.reason, "{}", event.message));
            if event.warning {
                events.pod_warning(id, &event.reason, event.message.as_str());
            } else {
                events.pod(id, &event.reason, event.message.as_str());
            }
        };
        let machine = Self::new(containers, provider, Box::new(tell), shutdown);
        let listener = machine.clone();
        machine.tasks.spawn(async move {
            let shutdown = listener.shared.shutdown.clone();
            tokio::select! {
                () = listener.listen() => {}
                () = shutdown.cancelled() => {}
            }
        });
        machine
    }

    fn new(
        containers: Arc<dyn Containers>,
        provider: Arc<dyn Provider>,
        tell: Tell,
        shutdown: CancellationToken,
    ) -> Self {
        let shared = Shared {
            containers,
            provider,
            cluster: OnceLock::new(),
            tell,
            news: News::new(),
            clock: Clock::set(),
            shutdown,
        };
        Self { shared: Arc::new(shared), entries: Arc::default(), tasks: TaskTracker::new() }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Inbox>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a pod a machine, if it has none. `observed`: what the backend has of it, if that is known.
    fn enter(&self, id: &PodRef, observed: Option<Observed>) {
        self.enter_with(id, observed, Inbox::default());
    }

    /// The same, with something in its mailbox from the beginning; a machine that is there gets nothing.
    fn enter_with(&self, id: &PodRef, observed: Option<Observed>, inbox: Inbox) {
        let (sender, receiver) = watch::channel(inbox);
        {
            let mut entries = self.entries();
            if entries.contains_key(&id.uid) || self.shared.shutdown.is_cancelled() {
                return;
            }
            entries.insert(id.uid.clone(), sender);
        }
        if self.shared.news.get(&id.uid).is_none() {
            let sandbox = observed.as_ref().and_then(|observed| observed.sandbox.as_ref());
            let revision = sandbox.and_then(|sandbox| sandbox.revision.clone());
            // There is something; how it is can be told once somebody says what it should be.
            self.shared.news.tell(ObservedPod { id: id.clone(), revision, status: "{}".into() });
        }
        let (machine, pod) = (self.clone(), id.clone());
        let task = async move { machine.drive(pod, receiver, observed).await };
        self.tasks.spawn(task.instrument(id.span()));
    }

    /// Runs a pod's task to its end; one that panics starts over, and looks before it acts.
    async fn drive(self, id: PodRef, inbox: watch::Receiver<Inbox>, mut observed: Option<Observed>) {
        loop {
            let task = Box::new(Task::new(self.shared.clone(), id.clone(), inbox.clone(), observed.take()));
            if AssertUnwindSafe(task.run()).catch_unwind().await.is_ok() {
                break;
            }
            tracing::error!("the pod's machine panicked and starts over");
            tokio::time::sleep(AFTER_PANIC).await;
        }
        self.entries().remove(&id.uid);
    }

    /// Puts something into a pod's mailbox. Returns whether there is a machine to read it.
    fn send(&self, uid: &str, change: impl FnOnce(&mut Inbox)) -> bool {
        match self.entries().get(uid) {
            Some(inbox) => {
                inbox.send_modify(change);
                true
            }
            None => false,
        }
    }

    /// Something has happened to a pod. Returns whether a machine knows it.
    fn hinted(&self, uid: &str) -> bool {
        self.send(uid, |inbox| inbox.hints = inbox.hints.wrapping_add(1))
    }

    /// The backend answers again.
    fn returned(&self) {
        for inbox in self.entries().values() {
            inbox.send_modify(|inbox| inbox.returns = inbox.returns.wrapping_add(1));
        }
    }
}
