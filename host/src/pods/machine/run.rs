//! One pod's own task: it decides, does what was decided, hears what comes of it and of the backend, and decides again.
//!
//! Actions run side by side, each as a call that can be asked to end; a delete calls off those that make something. The task sleeps until
//! one of them ends, until something is heard, or until the decision's own time. Its mailbox holds the latest state and coalesces.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::Shared;
use super::action::{Action, Event};
use super::acts::Actor;
use super::clock::Moment;
use super::decide::decide;
use super::memory::outcome::Outcome;
use super::memory::{Ending, Memory};
use super::observed::Observed;
use super::spec::Spec;
use super::status::status;
use super::values::Values;
use crate::provider::{Call, Canceller, DesiredPod, ObservedPod, PodRef, Why};

/// Decisions that may follow each other at one moment; more would be a mistake of the machine's, and must not take the processor.
const AT_ONCE: usize = 64;

/// The latest of what a machine should know.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    /// The pod as it should be; none: nobody has told yet.
    pub(super) desired: Option<Arc<DesiredPod>>,
    /// It shall end.
    pub(super) end: Option<Ending>,
    /// How often the backend hinted that something has changed.
    pub(super) hints: u64,
    /// How often the backend came back after it did not answer.
    pub(super) returns: u64,
}

impl Inbox {
    /// The pod shall end; a second order can only hurry the first, and take away more.
    pub(super) fn end(&mut self, order: Ending) {
        let end = self.end.get_or_insert(order);
        end.until = end.until.min(order.until);
        end.remove |= order.remove;
    }
}

/// A pod's task.
pub(super) struct Task {
    shared: Arc<Shared>,
    id: PodRef,
    inbox: watch::Receiver<Inbox>,
    /// What was taken of it.
    taken: Inbox,
    desired: Option<Arc<DesiredPod>>,
    spec: Option<Arc<Spec>>,
    /// What the API server was told before this process met the pod, until that was taken into account.
    told: Option<Box<PodStatus>>,
    /// none: never seen by this process.
    observed: Option<Arc<Observed>>,
    memory: Memory,
    values: Arc<Values>,
    adopted: bool,
    acts: FuturesUnordered<BoxFuture<'static, (Action, Outcome)>>,
    cancellers: Vec<(Action, Canceller)>,
    wake: Option<Moment>,
}

impl Task {
    /// `observed`: what the backend has of it, if that is known.
    pub(super) fn new(
        shared: Arc<Shared>,
        id: PodRef,
        inbox: watch::Receiver<Inbox>,
        observed: Option<Observed>,
    ) -> Self {
        let now = shared.clock.now();
        let mut memory = Memory::new(&id.uid, shared.provider.identity().settle, now);
        memory.look.stale = observed.is_none();
        memory.look.last = observed.is_some().then_some(now);
        Self {
            shared,
            id,
            inbox,
            taken: Inbox::default(),
            desired: None,
            spec: None,
            told: None,
            observed: observed.map(Arc::new),
            memory,
            values: Arc::default(),
            adopted: false,
            acts: FuturesUnordered::new(),
            cancellers: Vec::new(),
            wake: None,
        }
    }

    /// Runs until nothing is left of the pod, or the host stops.
    pub(super) async fn run(mut self: Box<Self>) {
        let shutdown = self.shared.shutdown.clone();
        loop {
            self.read_inbox();
            if self.turn() {
                self.shared.news.gone(&self.id);
                return;
            }
            let wake = self.wake.map(|moment| self.shared.clock.instant(moment));
            tokio::select! {
                Some((action, outcome)) = self.acts.next() => self.ended(&action, outcome),
                changed = self.inbox.changed() => if changed.is_err() { return },
                () = async { match wake {
                    Some(wake) => sleep_until(wake).await,
                    None => std::future::pending().await,
                }} => {}
                () = shutdown.cancelled() => break,
            }
        }
        // What the provider is in the middle of is asked to end by it; what it says is of no use any more, but cutting it would be worse.
        self.cancellers.iter().for_each(|(_, canceller)| canceller.cancel(Why::Shutdown));
        while self.acts.next().await.is_some() {}
    }

    /// Takes what is new in the mailbox.
    fn read_inbox(&mut self) {
        let inbox = self.inbox.borrow_and_update().clone();
        let now = self.shared.clock.now();
        if let Some(desired) = &inbox.desired
            && self.taken.desired.as_ref().is_none_or(|taken| !Arc::ptr_eq(taken, desired))
        {
            self.take(desired.clone(), now);
        }
        if let Some(order) = inbox.end {
            self.memory.end(order, now);
        }
        self.memory.look.hinted |= inbox.hints != self.taken.hints;
        if inbox.returns != self.taken.returns {
            self.memory.relieve();
            self.memory.look.hinted = true;
        }
        self.taken = inbox;
    }

    fn take(&mut self, desired: Arc<DesiredPod>, now: Moment) {
        let pod: Pod = match serde_json::from_str(&desired.manifest) {
            Ok(pod) => pod,
            // The pods' half has read it as one before.
            Err(error) => return tracing::error!(%error, "the manifest is no core/v1 Pod"),
        };
        let spec = Spec::of(&pod);
        if let Some(grace) = spec.deletion {
            self.memory.end(Ending { until: now.plus(grace), remove: true }, now);
        }
        if !self.adopted {
            self.told = pod.status.map(Box::new);
        }
        self.spec = Some(Arc::new(spec));
        self.desired = Some(desired);
    }

    /// Decides and begins, until there is nothing more to begin. Returns whether nothing is left of the pod.
    fn turn(&mut self) -> bool {
        let Some(spec) = self.know() else { return false };
        for _ in 0..AT_ONCE {
            let now = self.shared.clock.now();
            let observed = self.observed.clone().unwrap_or_default();
            let decision = decide(&spec, &observed, &self.memory, now);
            for (action, canceller) in &self.cancellers {
                if decision.cancel.contains(action) {
                    canceller.cancel(Why::PodDeleted);
                }
            }
            self.wake = decision.wake;
            if decision.gone || !decision.changes_something() {
                self.publish(&spec, &observed, now);
                return decision.gone;
            }
            for note in &decision.notes {
                let events = self.memory.note(note);
                self.tell(&events);
            }
            for action in decision.actions {
                log(&action, "begins");
                let events = self.memory.begin(&action, now);
                self.tell(&events);
                self.begin(action, &spec, &observed);
            }
        }
        tracing::error!(memory = ?self.memory, "decisions do not come to an end; going on at the next news");
        self.wake = Some(self.shared.clock.now().plus(std::time::Duration::from_secs(1)));
        false
    }

    /// The spec, once both it and what there is of the pod are known; what is to be remembered is worked out then. Before, only looks
    /// are made. none: nobody has told what shall become of the pod.
    fn know(&mut self) -> Option<Arc<Spec>> {
        let spec = match (&self.spec, &self.observed) {
            (Some(spec), _) => spec.clone(),
            // Nobody knows the pod, and it shall go.
            (None, Some(observed)) if self.memory.ending.is_some() => {
                let title = format!("{}_{}({})", self.id.name, self.id.namespace, self.id.uid);
                self.spec.insert(Arc::new(Spec::of_remains(title, observed))).clone()
            }
            (None, _) => Arc::new(Spec::of_remains(String::new(), &Observed::default())),
        };
        if !self.adopted
            && self.spec.is_some()
            && let Some(observed) = &self.observed
        {
            self.adopted = true;
            let told = self.told.take();
            self.memory.adopt(&self.id, &spec, told.as_deref(), observed, self.shared.clock.now());
        }
        // One that is seen already waits to be told about.
        (self.spec.is_some() || self.observed.is_none()).then_some(spec)
    }

    fn begin(&mut self, action: Action, spec: &Arc<Spec>, observed: &Arc<Observed>) {
        let (canceller, call) = Call::new();
        self.cancellers.push((action.clone(), canceller));
        let actor = Actor {
            shared: self.shared.clone(),
            id: self.id.clone(),
            spec: spec.clone(),
            desired: self.desired.clone(),
            observed: observed.clone(),
            values: self.values.clone(),
        };
        self.acts.push(Box::pin(async move {
            let outcome = actor.act(&action, call).await;
            (action, outcome)
        }));
    }

    fn ended(&mut self, action: &Action, outcome: Outcome) {
        self.cancellers.retain(|(under_way, _)| under_way != action);
        log(action, "ended");
        if let Outcome::Looked(Ok(observed)) = &outcome
            && !self.memory.look.stale
        {
            self.observed = Some(Arc::new(observed.clone()));
        }
        let spec = self.spec.clone().unwrap_or_else(|| Arc::new(Spec::of_remains(String::new(), &Observed::default())));
        let events = self.memory.settle(&spec, action, outcome, self.shared.clock.now());
        self.tell(&events);
    }

    fn tell(&self, events: &[Event]) {
        events.iter().for_each(|event| (self.shared.tell)(&self.id, event));
    }

    /// Tells how the pod is, if that is known.
    fn publish(&self, spec: &Spec, observed: &Observed, now: Moment) {
        let Some(desired) = self.desired.as_ref().filter(|_| self.adopted) else { return };
        let status = status(spec, observed, &self.memory, now, &self.shared.provider.identity().name);
        match serde_json::to_string(&status) {
            Ok(status) => {
                let revision = Some(desired.revision.clone());
                self.shared.news.tell(ObservedPod { id: self.id.clone(), revision, status });
            }
            Err(error) => tracing::error!(%error, "the status cannot be written as JSON"),
        }
    }
}

/// What comes round all the time is told to who wants to see everything.
fn log(action: &Action, what: &str) {
    if matches!(action, Action::Look | Action::Probe { .. }) {
        tracing::trace!(?action, "{what}");
    } else {
        tracing::debug!(?action, "{what}");
    }
}
