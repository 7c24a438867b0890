//! One pod's own task, from first sight to last trace.
//!
//! It owns everything that is known of one UID. Its mailbox holds the latest state and coalesces: a thousand events while the
//! task waits are one step. Each turn computes the next step ([`super::lifecycle`]), does it, and writes the status if it
//! differs. A delete interrupts whatever is being done for a pod that shall run (R9), and a shorter grace a removal (R7).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodStatus;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::api;
use super::backoff::Backoff;
use super::lifecycle::{self, Facts, Step, Verdict, Wanted, Workload};
use super::object::{PodObject, is_terminal};
use super::reporter::Reporter;
use super::resolve::Problem;
use super::status;
use crate::defaults::pods::{
    BACKOFF_FIRST, BACKOFF_LONGEST, FIRST_STATUS_WAIT, MISSING_OBJECT_LONGEST, REMOVAL_PATIENCE, SLOW_BACKOFF_FIRST,
    SLOW_BACKOFF_LONGEST, STOPPING_LOOK,
};
use crate::provider::{Call, Canceller, Code, Deletion, DesiredPod, Effect, Error, ObservedPod, PodRef, Why};

/// The latest of what a pod's task should know.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    /// As the API server last told it; none: it never did (a dangling workload).
    pub(super) object: Option<Arc<PodObject>>,
    /// The API server has it no more.
    pub(super) forgotten: bool,
    /// The status that the provider last told, with a number that orders it among all news.
    pub(super) status: Option<(u64, Arc<ObservedPod>)>,
    /// The number of the last hint to look; 0: none yet.
    pub(super) look: u64,
}

/// What a provider says of a pod.
#[derive(Clone, Debug)]
enum Said {
    Status(Arc<ObservedPod>),
    Look,
}

/// What was said while a workload was being made, to be taken once the answer is there: the last status, and whether a hint
/// came after it.
#[derive(Debug, Default)]
struct Early {
    status: Option<Arc<ObservedPod>>,
    look: bool,
}

/// What becomes of a call that a delete makes pointless.
enum Ending {
    /// It is dropped: it only reads.
    Drop,
    /// It is asked to end, and waited for.
    Ask(Canceller),
}

/// A pod's task.
pub(super) struct Task {
    shared: Arc<Shared>,
    id: PodRef,
    inbox: watch::Receiver<Inbox>,
    reporter: Arc<Reporter>,
    /// The newest known state of the object: the inbox's, or what our own write made of it.
    object: Option<Arc<PodObject>>,
    forgotten: bool,
    /// The number of the last news that was taken.
    seen: u64,
    workload: Workload,
    /// What the provider last said.
    observed: Option<Arc<ObservedPod>>,
    /// The same, parsed.
    status: Option<PodStatus>,
    /// A workload is being made.
    early: Option<Early>,
    /// When the first status is due, while the workload is being made (R19).
    first_status: Option<Instant>,
    /// Something that the status depends on has changed since it was last compared with the API server's.
    news: bool,
    /// Why the pod waits, which is shown instead of the provider's status.
    waiting: Option<(String, String)>,
    /// Why the pod has failed for good.
    failure: Option<(String, String)>,
    /// Until when a create of unknown outcome may still take effect in the backend (R9b).
    unclear_until: Option<Instant>,
    /// The journal remembers that a create may have been sent.
    recorded: bool,
    /// When the workload was made, as far as this process knows.
    made_at: Option<Instant>,
    /// The revision that the provider cannot update to.
    refused_revision: Option<String>,
    /// The API delete was done; finalizers keep the object.
    released: bool,
    /// The grace of the last removal, and when it was asked for.
    removal: Option<(Duration, Instant)>,
    /// Nothing is tried before this time.
    not_before: Option<Instant>,
    retry: Backoff,
    slow_retry: Backoff,
    missing_retry: Backoff,
}

impl Task {
    /// `unclear_until`: until when a create of an earlier process may still take effect.
    pub(super) fn new(
        shared: Arc<Shared>,
        id: PodRef,
        inbox: watch::Receiver<Inbox>,
        workload: Workload,
        unclear_until: Option<Instant>,
    ) -> Self {
        Self {
            reporter: Arc::new(Reporter::new(id.clone(), shared.writer.clone(), shared.events.clone())),
            recorded: shared.journal.has(&id.uid),
            // What is there was made.
            unclear_until: unclear_until.filter(|_| matches!(workload, Workload::Unclear { .. })),
            shared,
            id,
            inbox,
            object: None,
            forgotten: false,
            seen: 0,
            workload,
            observed: None,
            status: None,
            early: None,
            first_status: None,
            news: true,
            waiting: None,
            failure: None,
            made_at: None,
            refused_revision: None,
            released: false,
            removal: None,
            not_before: None,
            retry: Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST),
            slow_retry: Backoff::new(SLOW_BACKOFF_FIRST, SLOW_BACKOFF_LONGEST),
            missing_retry: Backoff::new(BACKOFF_FIRST, MISSING_OBJECT_LONGEST),
        }
    }

    /// The same after a task of this pod that panicked: a create may have been under way.
    pub(super) fn again(shared: Arc<Shared>, id: PodRef, inbox: watch::Receiver<Inbox>, made: bool) -> Self {
        let settled = Instant::now() + shared.provider.identity().settle;
        Self::new(shared, id, inbox, Workload::Unclear { made }, Some(settled))
    }

    /// Runs until neither the API server nor the provider has the pod, or the host stops.
    pub(super) async fn run(mut self) {
        let mut reachable = self.shared.reachable.clone();
        let shutdown = self.shared.shutdown.clone();
        while !shutdown.is_cancelled() {
            self.read_inbox();
            let step = self.next(*reachable.borrow_and_update());
            tracing::trace!(?step, workload = ?self.workload, "step");
            if step == Step::Done {
                return;
            }
            // A deadline waits for no back-off.
            if step == Step::Expire || self.not_before.is_none_or(|until| until <= Instant::now()) {
                self.not_before = None;
                if step != Step::Idle {
                    // In a box: tasks that idle do not carry the room that an act takes.
                    Box::pin(self.act(step)).await;
                    self.news = true;
                }
            }
            self.write_status().await;
            if self.is_shown() {
                self.forget_create();
            }
            let more = step != Step::Idle && self.not_before.is_none();
            if more || self.inbox.has_changed().unwrap_or(false) {
                continue;
            }
            let expiry = self.expires_in().filter(|left| !left.is_zero());
            let expiry = expiry.and_then(|left| Instant::now().checked_add(left));
            let wake = [self.not_before, self.reporter.again(), expiry].into_iter().flatten().min();
            tokio::select! {
                changed = self.inbox.changed() => if changed.is_err() { return },
                Ok(()) = reachable.changed() => {}
                () = sleep_until_some(wake) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    fn next(&self, reachable: bool) -> Step {
        let ended = self.ended();
        let step = lifecycle::next(&Facts {
            wanted: self.wanted(),
            workload: &self.workload,
            revision: self.object.as_ref().map_or("", |object| &object.revision),
            refused_revision: self.refused_revision.as_deref(),
            ended: ended == Some(true),
            running: ended == Some(false),
            expired: self.expires_in().is_some_and(|left| left.is_zero()),
            released: self.released,
            reachable,
        });
        // What has failed for good waits for the API server to take the status, and then to be deleted.
        if self.failure.is_some() && self.wanted() == Wanted::Run { Step::Idle } else { step }
    }

    /// Whether every container has ended, as far as the provider has said.
    fn ended(&self) -> Option<bool> {
        self.status.as_ref().map(|status| is_terminal(status.phase.as_deref()))
    }

    /// How much is left of activeDeadlineSeconds, which count from the pod's start time; none: there is no deadline.
    fn expires_in(&self) -> Option<Duration> {
        let object = self.object.as_ref()?;
        let deadline = object.spec.active_deadline_seconds?;
        let start = object.status.start_time.as_ref()?.0;
        let left = start.checked_add(SignedDuration::from_secs(deadline)).ok()?.duration_since(Timestamp::now());
        Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
    }

    fn wanted(&self) -> Wanted {
        match &self.object {
            _ if self.forgotten => Wanted::Forgotten,
            None => Wanted::Forgotten,
            Some(object) if object.is_deleting() => Wanted::Delete,
            Some(object) if object.is_terminal() => Wanted::Ended,
            Some(_) => Wanted::Run,
        }
    }

    /// Takes what is new in the mailbox.
    fn read_inbox(&mut self) {
        let inbox = self.inbox.borrow_and_update().clone();
        let was = self.wanted();
        self.news |= self.forgotten != inbox.forgotten;
        self.forgotten |= inbox.forgotten;
        if let Some(object) = inbox.object {
            self.take_object(object);
        }
        if self.wanted() != was {
            // A delete overtakes any back-off (R9).
            self.not_before = None;
        }
        if self.removal.is_some_and(|(grace, _)| self.grace() < grace) {
            // A second delete with a shorter grace (R7): ask again.
            self.removal = None;
            self.not_before = None;
            if self.workload == Workload::Stopping {
                self.workload = Workload::Present { revision: None };
            }
        }
        let seen = self.seen;
        if let Some((number, observed)) = inbox.status.filter(|(number, _)| *number > seen) {
            self.seen = number;
            self.take(Said::Status(observed));
        }
        // A hint that came after the status; an older one is answered by it.
        if inbox.look > self.seen {
            self.seen = inbox.look;
            self.take(Said::Look);
        }
    }

    /// Takes a state of the object, unless a newer one is known: our own write may be ahead of the watch.
    fn take_object(&mut self, object: Arc<PodObject>) {
        let mine = self.object.as_ref();
        if mine.is_none_or(|mine| !Arc::ptr_eq(mine, &object) && !object.is_older_than(mine)) {
            self.object = Some(object);
            self.news = true;
        }
    }

    fn take(&mut self, said: Said) {
        match (said, &self.workload, &mut self.early) {
            // Which of the two came first is known when the answer is there.
            (Said::Status(observed), _, Some(early)) => *early = Early { status: Some(observed), look: false },
            (Said::Look, _, Some(early)) => early.look = true,
            // Where nothing was made, as far as this process knows, there is something all the same.
            (Said::Status(observed), Workload::None | Workload::Unclear { .. } | Workload::Present { .. }, None) => {
                self.take_status(observed);
            }
            (Said::Status(observed), Workload::Stopping, None) => {
                self.read_status(observed);
                self.not_before = None;
            }
            (Said::Look, Workload::Present { .. }, None) => {
                self.workload = Workload::Unclear { made: true };
                self.not_before = None;
            }
            (Said::Look, Workload::Stopping, None) => self.not_before = None,
            // What is said after the end is of no interest.
            (_, Workload::Gone, None) | (Said::Look, Workload::None | Workload::Unclear { .. }, None) => {}
        }
    }

    /// The workload is there.
    fn take_status(&mut self, observed: Arc<ObservedPod>) {
        let was_there = matches!(self.workload, Workload::Present { .. });
        self.workload = Workload::Present { revision: observed.revision.clone() };
        self.news |= self.waiting.take().is_some();
        self.read_status(observed);
        // News of a pod that was there are no reason to hurry an update or a removal that fails.
        if !was_there && self.wanted() == Wanted::Run {
            self.settled();
        }
    }

    fn read_status(&mut self, observed: Arc<ObservedPod>) {
        if self.observed.as_ref().is_some_and(|last| last.status == observed.status) {
            return;
        }
        if let Some(status) = parse(&self.id, &observed.status) {
            self.status = Some(status);
            self.news = true;
        }
        self.observed = Some(observed);
    }

    /// The workload is there for sure: nothing is waited for any more.
    fn settled(&mut self) {
        self.waiting = None;
        self.unclear_until = None;
        self.not_before = None;
        self.retry.reset();
        self.slow_retry.reset();
    }

    async fn act(&mut self, step: Step) {
        match step {
            Step::Create => self.create().await,
            Step::Look => self.look().await,
            Step::Update => self.update().await,
            Step::Remove => self.remove().await,
            Step::AwaitEnd => self.await_end().await,
            Step::Fail => self.fail("NotFound", "The pod was not found in the provider any more"),
            Step::Expire => {
                self.refuse("DeadlineExceeded", "Pod was active on the node longer than the specified deadline".into())
            }
            Step::Release => self.release().await,
            Step::Idle | Step::Done => {}
        }
    }

    /// Waits for a call of a pod that shall run, and hears meanwhile what concerns the pod: a delete ends the call, and a first
    /// status that is due is written beside it. none: the call was dropped.
    async fn attend<T>(&mut self, call: impl Future<Output = T>, ending: Ending) -> Option<T> {
        let shutdown = self.shared.shutdown.clone();
        let mut call = pin!(call);
        let mut write: Option<BoxFuture<'static, Option<Arc<PodObject>>>> = None;
        let mut answer = None;
        loop {
            // A write that is dropped may still be applied, after the next one: it is waited for.
            if write.is_none()
                && let Some(answer) = answer.take()
            {
                return answer;
            }
            let waiting = answer.is_none();
            tokio::select! {
                result = &mut call, if waiting => answer = Some(Some(result)),
                written = some(&mut write) => {
                    write = None;
                    match written {
                        Some(object) => self.take_object(object),
                        None => self.first_status = self.reporter.again(),
                    }
                }
                () = sleep_until_some(self.first_status), if waiting && write.is_none() => {
                    self.first_status = None;
                    write = self.status_to_write().map(|(object, wanted)| {
                        let reporter = self.reporter.clone();
                        Box::pin(async move { reporter.report(&object, wanted).await }) as BoxFuture<'static, _>
                    });
                }
                changed = self.inbox.changed(), if waiting => {
                    self.read_inbox();
                    if changed.is_err() || self.wanted() != Wanted::Run {
                        match &ending {
                            Ending::Drop => answer = Some(None),
                            Ending::Ask(canceller) => canceller.cancel(Why::PodDeleted),
                        }
                    }
                }
                // Others are asked to end by whoever runs them.
                () = shutdown.cancelled(), if waiting && matches!(ending, Ending::Drop) => answer = Some(None),
            }
        }
    }

    /// The pod as the provider gets it; none: a delete made it pointless.
    async fn resolve(&mut self, object: &Arc<PodObject>) -> Option<Result<DesiredPod, Problem>> {
        let shared = self.shared.clone();
        let (resolved, notices) = self.attend(shared.resolver.resolve(object), Ending::Drop).await?;
        for notice in notices {
            self.shared.events.pod_warning(&self.id, notice.reason, notice.message);
        }
        if resolved.is_ok() {
            self.missing_retry.reset();
        }
        Some(resolved)
    }

    async fn create(&mut self) {
        let Some(object) = self.object.clone() else { return };
        if let Some((reason, message)) = self.unfit(&object) {
            return self.refuse(reason, message);
        }
        self.first_status = Some(Instant::now() + FIRST_STATUS_WAIT);
        self.make(&object).await;
        self.first_status = None;
    }

    /// Resolves the pod and has it made.
    async fn make(&mut self, object: &Arc<PodObject>) {
        let desired = match self.resolve(object).await {
            None => return,
            Some(Ok(desired)) => desired,
            Some(Err(problem @ Problem::Refused { .. })) => {
                return self.refuse("UnsupportedField", problem.to_string());
            }
            Some(Err(Problem::Missing { reason, message })) => {
                self.complain(reason, &message);
                self.waiting = Some(("CreateContainerConfigError".into(), message));
                self.not_before = Some(Instant::now() + self.missing_retry.pause());
                return;
            }
        };
        if self.workload != Workload::None {
            // The provider has said meanwhile that it is there.
            return;
        }
        let shared = self.shared.clone();
        // From here on it may have been made, whatever becomes of this process.
        if let Err(error) = shared.journal.begin(&self.id, &object.revision) {
            return self.not_created(&Error::new(Code::Internal, "CreateNotRecorded", error.to_string()));
        }
        self.recorded = true;
        let (canceller, call) = Call::new();
        self.early = Some(Early::default());
        let result = self.attend(shared.provider.create_pod(call, desired), Ending::Ask(canceller)).await;
        let early = self.early.take().unwrap_or_default();
        let Some(result) = result else { return };
        self.created(result, &object.revision);
        early.status.into_iter().for_each(|observed| self.take(Said::Status(observed)));
        if early.look {
            self.take(Said::Look);
        }
    }

    fn created(&mut self, result: Result<Option<ObservedPod>, Error>, revision: &str) {
        match result {
            Ok(observed) => {
                self.made_at = Some(Instant::now());
                let name = self.shared.provider.identity().name;
                self.shared.events.pod(&self.id, "Created", format!("Created pod in provider {name}"));
                self.workload = Workload::Present { revision: Some(revision.to_string()) };
                self.settled();
                if let Some(observed) = observed {
                    self.take_status(Arc::new(observed));
                }
            }
            Err(error) => self.not_created(&error),
        }
    }

    fn not_created(&mut self, error: &Error) {
        tracing::warn!(%error, effect = ?error.effect, "create failed");
        let verdict = lifecycle::verdict(error);
        if error.effect == Effect::Unknown || verdict == Verdict::Exists {
            let settle = self.shared.provider.identity().settle;
            self.workload = Workload::Unclear { made: false };
            self.unclear_until = Some(Instant::now() + settle);
            self.shared.journal.unclear(&self.id.uid, settle);
        } else {
            self.forget_create();
        }
        if self.wanted() != Wanted::Run {
            return;
        }
        let slow = match verdict {
            Verdict::Final => return self.refuse(&error.reason, error.to_string()),
            Verdict::Exists => false,
            Verdict::Retry { slow } => slow,
        };
        self.complain("FailedToCreatePod", &error.to_string());
        self.waiting = Some((error.reason.to_string(), error.message.clone()));
        self.pause(error, slow);
    }

    /// What this node cannot run whatever the provider can (R21).
    fn unfit(&self, object: &PodObject) -> Option<(&'static str, String)> {
        let os = object.spec.os.as_ref().map(|os| os.name.clone())?;
        let own = &self.shared.operating_system;
        (os != *own).then(|| ("PodOSNotSupported", format!("spec.os.name is {os:?}, but this node runs {own:?}")))
    }

    /// Asks whether there is a workload.
    async fn look(&mut self) {
        let Workload::Unclear { made } = self.workload else { return };
        let (shared, id) = (self.shared.clone(), self.id.clone());
        let answer = match self.wanted() {
            Wanted::Run => self.attend(shared.provider.get_pod(&id), Ending::Drop).await,
            _ => Some(shared.provider.get_pod(&id).await),
        };
        match answer {
            None => {}
            Some(Ok(Some(observed))) => self.take_status(Arc::new(observed)),
            // Not there yet is not absent: the backend may still show it, or still make it.
            Some(Ok(None)) if self.settling().is_some() => self.not_before = self.settling(),
            Some(Ok(None)) => {
                self.workload = if made { Workload::Gone } else { Workload::None };
                self.unclear_until = None;
                self.forget_create();
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "look failed");
                self.pause(&error, lifecycle::verdict(&error) == Verdict::Retry { slow: true });
            }
        }
    }

    /// The API server shows that the workload was made, so that a later process knows it from there.
    fn is_shown(&self) -> bool {
        let there = matches!(self.workload, Workload::Present { .. } | Workload::Stopping);
        self.recorded && there && self.object.as_ref().is_some_and(|object| object.has_run())
    }

    /// The outcome of the create is known, or of no interest any more (R9b).
    fn forget_create(&mut self) {
        if std::mem::take(&mut self.recorded) {
            self.shared.journal.end(&self.id.uid);
        }
    }

    /// Until when absence proves nothing: after an unclear call, and while a new workload may not be visible yet (R15).
    fn settling(&self) -> Option<Instant> {
        let young = self.made_at.map(|made| made + self.shared.provider.identity().settle);
        let pending = self.status.as_ref().and_then(|s| s.phase.as_deref()).is_none_or(|phase| phase == "Pending");
        [self.unclear_until, young.filter(|_| pending)]
            .into_iter()
            .flatten()
            .filter(|until| *until > Instant::now())
            .max()
    }

    async fn update(&mut self) {
        let Some(object) = self.object.clone() else { return };
        let desired = match self.resolve(&object).await {
            None => return,
            Some(Ok(desired)) => desired,
            // The pod runs on as it was until its sources are there again.
            Some(Err(problem)) => {
                self.complain("FailedToUpdatePod", &problem.to_string());
                self.not_before = Some(Instant::now() + self.missing_retry.pause());
                return;
            }
        };
        let shared = self.shared.clone();
        let (canceller, call) = Call::new();
        let Some(result) = self.attend(shared.provider.update_pod(call, desired), Ending::Ask(canceller)).await else {
            return;
        };
        match result {
            Ok(()) => {
                self.workload = Workload::Present { revision: Some(object.revision.to_string()) };
                self.settled();
                self.shared.events.pod(&self.id, "Updated", "Updated pod in provider");
            }
            // What becomes of an update of a pod that goes is of no interest.
            Err(_) if self.wanted() != Wanted::Run => {}
            Err(error) if error.code == Code::NotFound => {
                self.workload = Workload::Unclear { made: true };
                self.not_before = Some(Instant::now() + self.retry.pause());
            }
            Err(error) if lifecycle::verdict(&error) == Verdict::Final => {
                // The pod runs on as it was; it is said once for each revision.
                self.shared.events.pod_warning(&self.id, "UpdateRefused", error.to_string());
                self.refused_revision = Some(object.revision.to_string());
            }
            Err(error) => {
                self.complain("FailedToUpdatePod", &error.to_string());
                self.pause(&error, lifecycle::verdict(&error) == Verdict::Retry { slow: true });
            }
        }
    }

    /// Asks the provider to end the workload; again at once if the grace shrinks meanwhile (R7). A pod whose containers turn out
    /// to have ended leaves the API though the provider has not answered (R5).
    async fn remove(&mut self) {
        let shared = self.shared.clone();
        let id = self.id.clone();
        let desired = self.object.as_ref().filter(|_| !self.forgotten).map(|object| shared.resolver.unresolved(object));
        let ask = |grace: Duration| {
            let (id, desired, provider) = (&id, desired.clone(), &shared.provider);
            async move { (grace, provider.delete_pod(Call::uncancelled(), id, desired, Some(grace)).await) }
        };
        let news = self.seen;
        let mut asked = self.grace();
        let mut calls = FuturesUnordered::new();
        calls.push(ask(asked));
        let result = loop {
            tokio::select! {
                // The shortest grace counts, whatever a longer one answers meanwhile, unless nothing is left.
                Some((grace, result)) = calls.next() => {
                    if grace == asked || result == Ok(Deletion::Gone) {
                        break result;
                    }
                }
                Ok(()) = self.inbox.changed() => {
                    self.read_inbox();
                    if self.grace() < asked {
                        asked = self.grace();
                        calls.push(ask(asked));
                    }
                    if self.awaits_release() {
                        self.release().await;
                    }
                }
            }
        };
        drop(calls);
        self.removal = Some((asked, Instant::now()));
        self.removed(result);
        if self.workload == Workload::Stopping && self.seen > news {
            // Something was said while it was being asked: look at once.
            self.not_before = None;
        }
    }

    fn removed(&mut self, result: Result<Deletion, Error>) {
        match result {
            Ok(Deletion::Stopping) => {
                self.workload = Workload::Stopping;
                self.retry.reset();
                self.not_before = Some(Instant::now() + STOPPING_LOOK);
            }
            Ok(Deletion::Gone) => self.absent(),
            Err(error) if error.code == Code::NotFound => self.absent(),
            Err(error) => {
                self.complain("FailedToDeletePod", &error.to_string());
                self.pause(&error, lifecycle::verdict(&error) == Verdict::Retry { slow: true });
            }
        }
    }

    /// The backend says that nothing is left; believed once an unclear create can no longer take effect (R8, R9b). Until
    /// then the delete is repeated.
    fn absent(&mut self) {
        match self.unclear_until.filter(|until| *until > Instant::now()) {
            Some(until) => {
                self.workload = Workload::Unclear { made: false };
                self.not_before = Some(until);
            }
            None => {
                self.unclear_until = None;
                self.workload = Workload::Gone;
                self.retry.reset();
                self.forget_create();
            }
        }
    }

    /// Looks whether a workload that was asked to end has ended; the provider's news most often tell it before.
    async fn await_end(&mut self) {
        let (provider, id) = (self.shared.provider.clone(), self.id.clone());
        let mut look = pin!(provider.get_pod_status(&id));
        let answer = loop {
            tokio::select! {
                answer = &mut look => break answer,
                Ok(()) = self.inbox.changed() => {
                    self.read_inbox();
                    // A shorter grace, and it is asked for again; or its end, and nothing more is to be learned (R5).
                    if self.workload != Workload::Stopping || self.awaits_release() {
                        return;
                    }
                }
            }
        };
        match answer {
            Ok(None) => self.absent(),
            Ok(Some(status)) => {
                self.observed = None;
                self.status = parse(&self.id, &status).or(self.status.take());
                if self.removal.is_none_or(|(grace, asked)| asked + grace + REMOVAL_PATIENCE < Instant::now()) {
                    // Accepted and not done: the backend may have lost it.
                    self.complain(
                        "FailedToDeletePod",
                        "the provider accepted the deletion, but the workload is still there; asking again",
                    );
                    self.workload = Workload::Present { revision: None };
                    self.not_before = Some(Instant::now() + self.retry.pause());
                } else {
                    self.not_before = Some(Instant::now() + STOPPING_LOOK);
                }
            }
            Err(error) => self.pause(&error, false),
        }
    }

    /// Its removal was asked for and its containers have ended: nothing else keeps it in the API.
    fn awaits_release(&self) -> bool {
        self.wanted() == Wanted::Delete && self.ended() == Some(true) && !self.released
    }

    /// Deletes the pod in the API. Whoever counts pods by their finalizers sees its last status first.
    async fn release(&mut self) {
        let Some(object) = self.object.clone() else { return };
        let awaited = object.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
        if awaited && !object.is_terminal() {
            if self.status.as_ref().is_none_or(|status| !is_terminal(status.phase.as_deref())) {
                self.failure =
                    Some(("Terminated".into(), "The pod was deleted before its containers had ended".into()));
            }
            self.news = true;
            self.write_status().await;
            if let Some(again) = self.reporter.again() {
                self.not_before = Some(again);
                return;
            }
        }
        match self.shared.writer.delete(&self.id).await {
            Ok(()) => self.released = true,
            // The watch says so, or the delete is repeated.
            Err(api::Error::Absent(message)) => {
                tracing::debug!(message, "nothing to delete in the API");
                self.not_before = Some(Instant::now() + self.retry.pause());
            }
            Err(error) => {
                tracing::warn!(%error, "delete in the API failed");
                self.not_before = Some(Instant::now() + self.retry.pause());
            }
        }
    }

    fn grace(&self) -> Duration {
        match &self.object {
            // `--force`: whoever did not wait for the API server does not wait for the containers either.
            _ if self.forgotten => Duration::ZERO,
            Some(object) => object.grace(),
            None => Duration::ZERO,
        }
    }

    fn fail(&mut self, reason: &str, message: &str) {
        tracing::warn!(reason, message, "pod failed");
        self.failure = Some((reason.to_string(), message.to_string()));
        self.waiting = None;
    }

    fn refuse(&mut self, reason: &str, message: String) {
        self.shared.events.pod_warning(&self.id, reason, message.clone());
        self.fail(reason, &message);
    }

    /// Something goes wrong again and again; its repeats are counted in one event (R17).
    fn complain(&self, reason: &str, message: &str) {
        self.shared.events.pod_warning(&self.id, reason, message);
    }

    fn pause(&mut self, error: &Error, slow: bool) {
        let backoff = if slow { self.slow_retry.pause() } else { self.retry.pause() };
        self.not_before = Some(Instant::now() + lifecycle::pause(error, backoff));
    }

    /// The status that the API server should have; none: nothing is to be said.
    fn desired_status(&self, object: &PodObject) -> Option<PodStatus> {
        if self.forgotten || self.released || object.is_terminal() {
            return None;
        }
        let host_ip = self.shared.node.load().internal_ip.clone();
        let context = status::Context { pod: object, host_ip: &host_ip, now: Timestamp::now() };
        match (&self.failure, &self.waiting, &self.status) {
            (Some((reason, message)), _, said) => Some(status::failed(&context, said.as_ref(), reason, message)),
            (None, Some((reason, message)), _) => Some(status::waiting(&context, reason, Some(message))),
            (None, None, Some(said)) => Some(status::from_provider(&context, said)),
            // Nothing is known of the workload: say the first thing, once (R19).
            (None, None, None) if object.status.start_time.is_none() && !object.is_deleting() => {
                Some(status::first(&context))
            }
            (None, None, None) => None,
        }
    }

    /// The object and the status that it should have; none: nothing is to be said.
    fn status_to_write(&self) -> Option<(Arc<PodObject>, PodStatus)> {
        let object = self.object.clone()?;
        let wanted = self.desired_status(&object)?;
        Some((object, wanted))
    }

    /// Writes what differs between the API server's status and what it should be, if it may have changed or a write is to be
    /// repeated.
    async fn write_status(&mut self) {
        if !self.news && self.reporter.again().is_none_or(|again| again > Instant::now()) {
            return;
        }
        self.news = false;
        match self.status_to_write() {
            Some((object, wanted)) => {
                if let Some(written) = self.reporter.report(&object, wanted).await {
                    self.object = Some(written);
                }
            }
            None => self.reporter.give_up(),
        }
    }
}

fn parse(id: &PodRef, status: &str) -> Option<PodStatus> {
    serde_json::from_str(status)
        .inspect_err(
            |error| tracing::error!(pod = %id, uid = %id.uid, %error, "the provider's status is no core/v1 PodStatus"),
        )
        .ok()
}

async fn sleep_until_some(wake: Option<Instant>) {
    match wake {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The same of a future.
async fn some<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
