//! One pod's own task, from first sight to last trace.
//!
//! It owns everything that is known of one UID. Its mailbox holds the latest state and coalesces: a thousand events while the
//! task waits are one step. Each turn computes the next step ([`super::lifecycle`]), does it, and writes the status if it
//! differs. A delete interrupts whatever is being done for a pod that shall run (R9), and a shorter grace a removal (R7).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodStatus;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Shared;
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
use crate::provider::{Call, Code, Deletion, DesiredPod, Effect, Error, ObservedPod, PodRef, Why};

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

/// A pod's task.
pub(super) struct Task {
    shared: Arc<Shared>,
    id: PodRef,
    inbox: watch::Receiver<Inbox>,
    reporter: Reporter,
    /// The newest known state of the object: the inbox's, or what our own write made of it.
    object: Option<Arc<PodObject>>,
    forgotten: bool,
    /// The number of the last news that was taken.
    seen: u64,
    workload: Workload,
    /// What the provider last said, parsed.
    status: Option<PodStatus>,
    /// What it said while the workload was being made, to be taken once the answer is there: the last status, and whether a
    /// hint came after it.
    early: (Option<Arc<ObservedPod>>, bool),
    /// Why the pod waits, which is shown instead of the provider's status.
    waiting: Option<(String, String)>,
    /// Why the pod has failed for good.
    failure: Option<(String, String)>,
    /// Until when a create of unknown outcome may still take effect in the backend (R9b).
    unclear_until: Option<Instant>,
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
    last_complaint: Option<String>,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>, id: PodRef, inbox: watch::Receiver<Inbox>, workload: Workload) -> Self {
        Self {
            reporter: Reporter::new(id.clone(), shared.writer.clone(), shared.events.clone()),
            shared,
            id,
            inbox,
            object: None,
            forgotten: false,
            seen: 0,
            workload,
            status: None,
            early: (None, false),
            waiting: None,
            failure: None,
            unclear_until: None,
            made_at: None,
            refused_revision: None,
            released: false,
            removal: None,
            not_before: None,
            retry: Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST),
            slow_retry: Backoff::new(SLOW_BACKOFF_FIRST, SLOW_BACKOFF_LONGEST),
            missing_retry: Backoff::new(BACKOFF_FIRST, MISSING_OBJECT_LONGEST),
            last_complaint: None,
        }
    }

    /// Runs until neither the API server nor the provider has the pod, or the host stops.
    pub(super) async fn run(mut self) {
        let mut reachable = self.shared.reachable.clone();
        let shutdown = self.shared.shutdown.clone();
        while !shutdown.is_cancelled() {
            self.read_inbox();
            let step = self.next(*reachable.borrow_and_update());
            tracing::trace!(pod = %self.id, uid = %self.id.uid, ?step, workload = ?self.workload, "step");
            if step == Step::Done {
                return;
            }
            // A deadline waits for no back-off.
            if step == Step::Expire || self.not_before.is_none_or(|until| until <= Instant::now()) {
                self.not_before = None;
                self.act(step).await;
            }
            self.write_status().await;
            let more = step != Step::Idle && self.not_before.is_none();
            if more || self.inbox.has_changed().unwrap_or(false) {
                continue;
            }
            let expiry = self.expires_in().filter(|left| !left.is_zero()).map(|left| Instant::now() + left);
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
        let phase = self.status.as_ref().map(|status| is_terminal(status.phase.as_deref()));
        let step = lifecycle::next(&Facts {
            wanted: self.wanted(),
            workload: &self.workload,
            revision: self.object.as_ref().map_or("", |object| object.revision.as_str()),
            refused_revision: self.refused_revision.as_deref(),
            ended: phase == Some(true),
            running: phase == Some(false),
            expired: self.expires_in().is_some_and(|left| left.is_zero()),
            released: self.released,
            reachable,
        });
        // What has failed for good waits for the API server to take the status, and then to be deleted.
        if self.failure.is_some() && self.wanted() == Wanted::Run { Step::Idle } else { step }
    }

    /// How much is left of activeDeadlineSeconds, which count from the pod's start time; none: there is no deadline.
    fn expires_in(&self) -> Option<Duration> {
        let object = self.object.as_ref()?;
        let deadline = object.spec().active_deadline_seconds?;
        let start = object.status().start_time.as_ref()?.0;
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
        self.forgotten |= inbox.forgotten;
        if let Some(object) = inbox.object {
            // Our own write may be ahead of the watch.
            if !self.object.as_ref().is_some_and(|mine| object.is_older_than(mine)) {
                self.object = Some(object);
            }
        }
        if self.wanted() != was {
            // A delete overtakes any back-off (R9).
            self.not_before = None;
        }
        if self.removal.is_some_and(|(grace, _)| self.grace() < grace) && self.workload == Workload::Stopping {
            // A second delete with a shorter grace (R7): ask again.
            self.workload = Workload::Present { revision: None };
            self.not_before = None;
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

    fn take(&mut self, said: Said) {
        match (said, &self.workload) {
            (Said::Status(observed), Workload::Present { .. } | Workload::Unclear { .. }) => {
                self.take_status(&observed)
            }
            (Said::Status(observed), Workload::Stopping) => {
                self.status = parse(&self.id, &observed.status).or(self.status.take());
                self.not_before = None;
            }
            // It is being made, or nothing was made; what is said after the end of one is of no interest.
            (Said::Status(observed), Workload::None) => self.early = (Some(observed), false),
            (Said::Look, Workload::None) => self.early.1 = true,
            (Said::Look, Workload::Present { .. }) => {
                self.workload = Workload::Unclear { made: true };
                self.not_before = None;
            }
            (Said::Look, Workload::Stopping) => self.not_before = None,
            (_, Workload::Gone) | (Said::Look, Workload::Unclear { .. }) => {}
        }
    }

    fn take_status(&mut self, observed: &ObservedPod) {
        self.status = parse(&self.id, &observed.status).or(self.status.take());
        self.workload = Workload::Present { revision: observed.revision.clone() };
        // News of a pod that goes are no reason to hurry a removal that fails.
        if self.wanted() == Wanted::Run {
            self.settled();
        }
    }

    /// The workload is there for sure: nothing is waited for any more.
    fn settled(&mut self) {
        self.waiting = None;
        self.unclear_until = None;
        self.not_before = None;
        self.last_complaint = None;
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

    /// Waits for something that a delete makes pointless; none: it did.
    async fn while_wanted<T>(&mut self, call: impl Future<Output = T>) -> Option<T> {
        let mut call = pin!(call);
        loop {
            tokio::select! {
                result = &mut call => return Some(result),
                changed = self.inbox.changed() => {
                    self.read_inbox();
                    if changed.is_err() || self.wanted() != Wanted::Run {
                        return None;
                    }
                }
            }
        }
    }

    /// The pod as the provider gets it; none: a delete made it pointless.
    async fn resolve(&mut self, object: &Arc<PodObject>) -> Option<Result<DesiredPod, Problem>> {
        let shared = self.shared.clone();
        let (resolved, notices) = self.while_wanted(shared.resolver.resolve(object)).await?;
        for notice in notices {
            self.shared.events.pod_warning(&self.id, notice.reason, notice.message);
        }
        if resolved.is_ok() {
            self.missing_retry.reset();
        }
        Some(resolved)
    }

    /// Resolves the pod and has it made.
    async fn create(&mut self) {
        let Some(object) = self.object.clone() else { return };
        if let Some((reason, message)) = self.unfit(&object) {
            return self.refuse(reason, message);
        }
        let desired = match self.resolve(&object).await {
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
        self.early = (None, false);
        let shared = self.shared.clone();
        let (canceller, call) = Call::new();
        let mut creation = pin!(shared.provider.create_pod(call, desired));
        let first_status = Instant::now() + FIRST_STATUS_WAIT;
        let mut told = false;
        let result = loop {
            tokio::select! {
                result = &mut creation => break result,
                () = sleep_until(first_status), if !told => {
                    told = true;
                    // The creation goes on beside the write, and its answer is worth more than it.
                    tokio::select! {
                        result = &mut creation => break result,
                        () = self.write_status() => {}
                    }
                }
                changed = self.inbox.changed() => {
                    self.read_inbox();
                    if changed.is_err() || self.wanted() != Wanted::Run {
                        canceller.cancel(Why::PodDeleted);
                    }
                }
                () = shared.shutdown.cancelled() => {
                    canceller.cancel(Why::Shutdown);
                    break creation.await;
                }
            }
        };
        self.created(result, &object.revision);
    }

    fn created(&mut self, result: Result<Option<ObservedPod>, Error>, revision: &str) {
        let early = std::mem::take(&mut self.early);
        match result {
            Ok(observed) => {
                self.made_at = Some(Instant::now());
                let name = self.shared.provider.identity().name;
                self.shared.events.pod(&self.id, "Created", format!("Created pod in provider {name}"));
                self.workload = Workload::Present { revision: Some(revision.to_string()) };
                self.settled();
                if let Some(observed) = observed {
                    self.take_status(&observed);
                }
            }
            Err(error) => self.not_created(&error),
        }
        if self.workload != Workload::None {
            let (status, look) = early;
            status.into_iter().for_each(|observed| self.take(Said::Status(observed)));
            if look {
                self.take(Said::Look);
            }
        }
    }

    fn not_created(&mut self, error: &Error) {
        tracing::warn!(pod = %self.id, uid = %self.id.uid, %error, effect = ?error.effect, "create failed");
        let verdict = lifecycle::verdict(error);
        if error.effect == Effect::Unknown || verdict == Verdict::Exists {
            self.workload = Workload::Unclear { made: false };
            self.unclear_until = Some(Instant::now() + self.shared.provider.identity().settle);
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
        let os = object.spec().os.as_ref().map(|os| os.name.clone())?;
        let own = &self.shared.operating_system;
        (os != *own).then(|| ("PodOSNotSupported", format!("spec.os.name is {os:?}, but this node runs {own:?}")))
    }

    /// Asks whether there is a workload.
    async fn look(&mut self) {
        let Workload::Unclear { made } = self.workload else { return };
        let (shared, id) = (self.shared.clone(), self.id.clone());
        let answer = match self.wanted() {
            Wanted::Run => self.while_wanted(shared.provider.get_pod(&id)).await,
            _ => Some(shared.provider.get_pod(&id).await),
        };
        match answer {
            None => {}
            Some(Ok(Some(observed))) => self.take_status(&observed),
            // Not there yet is not absent: the backend may still show it, or still make it.
            Some(Ok(None)) if self.settling().is_some() => self.not_before = self.settling(),
            Some(Ok(None)) => {
                self.workload = if made { Workload::Gone } else { Workload::None };
                self.unclear_until = None;
            }
            Some(Err(error)) => {
                tracing::warn!(pod = %self.id, uid = %self.id.uid, %error, "look failed");
                self.pause(&error, lifecycle::verdict(&error) == Verdict::Retry { slow: true });
            }
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
        let Some(result) = self.while_wanted(shared.provider.update_pod(Call::uncancelled(), desired)).await else {
            return;
        };
        match result {
            Ok(()) => {
                self.workload = Workload::Present { revision: Some(object.revision.clone()) };
                self.settled();
                self.shared.events.pod(&self.id, "Updated", "Updated pod in provider");
            }
            Err(error) if error.code == Code::NotFound => self.workload = Workload::Unclear { made: true },
            Err(error) if lifecycle::verdict(&error) == Verdict::Final => {
                // The pod runs on as it was; it is said once for each revision.
                self.shared.events.pod_warning(&self.id, "UpdateRefused", error.to_string());
                self.refused_revision = Some(object.revision.clone());
            }
            Err(error) => {
                self.complain("FailedToUpdatePod", &error.to_string());
                self.pause(&error, lifecycle::verdict(&error) == Verdict::Retry { slow: true });
            }
        }
    }

    /// Asks the provider to end the workload; again at once if the grace shrinks meanwhile (R7).
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
            }
        }
    }

    /// Looks whether a workload that was asked to end has ended; the provider's news most often tell it before.
    async fn await_end(&mut self) {
        let provider = self.shared.provider.clone();
        match provider.get_pod_status(&self.id).await {
            Ok(None) => self.absent(),
            Ok(Some(status)) => {
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

    /// Deletes the pod in the API. Whoever counts pods by their finalizers sees its last status first.
    async fn release(&mut self) {
        let Some(object) = self.object.clone() else { return };
        let awaited = object.pod.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
        if awaited && !object.is_terminal() {
            if self.status.as_ref().is_none_or(|status| !is_terminal(status.phase.as_deref())) {
                self.failure =
                    Some(("Terminated".into(), "The pod was deleted before its containers had ended".into()));
            }
            self.write_status().await;
            if let Some(again) = self.reporter.again() {
                self.not_before = Some(again);
                return;
            }
        }
        match self.shared.writer.delete(&self.id).await {
            Ok(()) => self.released = true,
            Err(error) => {
                tracing::warn!(pod = %self.id, uid = %self.id.uid, %error, "delete in the API failed");
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
        tracing::warn!(pod = %self.id, uid = %self.id.uid, reason, message, "pod failed");
        self.failure = Some((reason.to_string(), message.to_string()));
        self.waiting = None;
    }

    fn refuse(&mut self, reason: &str, message: String) {
        self.shared.events.pod_warning(&self.id, reason, message.clone());
        self.fail(reason, &message);
    }

    /// One event for each new complaint; its repeats are in the status.
    fn complain(&mut self, reason: &str, message: &str) {
        if self.last_complaint.as_deref() != Some(message) {
            self.last_complaint = Some(message.to_string());
            self.shared.events.pod_warning(&self.id, reason, message);
        }
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
            (Some((reason, message)), ..) => Some(status::failed(&context, reason, message)),
            (None, Some((reason, message)), _) => Some(status::waiting(&context, reason, Some(message))),
            (None, None, Some(said)) => Some(status::from_provider(&context, said)),
            // Nothing is known of the workload: say the first thing, once (R19).
            (None, None, None) if object.status().start_time.is_none() && !object.is_deleting() => {
                Some(status::first(&context))
            }
            (None, None, None) => None,
        }
    }

    /// Writes what differs between the API server's status and what it should be.
    async fn write_status(&mut self) {
        let Some(object) = self.object.clone() else { return };
        let Some(wanted) = self.desired_status(&object) else { return };
        if let Some(written) = self.reporter.report(&object, wanted).await {
            self.object = Some(written);
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
