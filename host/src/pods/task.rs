//! One pod's own task, from first sight to last trace.
//!
//! It owns everything that is known of one UID. Its mailbox holds the latest state and coalesces: a thousand events while the
//! task waits are one step. Each turn computes the next step ([`super::lifecycle`]), does it, and writes the status if it
//! differs. Whatever arrives meanwhile is looked at in the next turn; only a delete interrupts a create (R9), and a shorter
//! grace a removal (R7).

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
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
use super::resolve::Problem;
use super::status;
use crate::defaults::pods::{
    BACKOFF_FIRST, BACKOFF_LONGEST, FIRST_STATUS_WAIT, MISSING_OBJECT_LONGEST, POLL_PERIOD, SLOW_BACKOFF_FIRST,
    SLOW_BACKOFF_LONGEST,
};
use crate::provider::{Call, Deletion, Effect, Error, ObservedPod, PodRef, Why};

/// The latest of what a pod's task should know.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    /// As the API server last told it; none: it never did (a dangling workload).
    pub(super) object: Option<Arc<PodObject>>,
    /// The API server has it no more.
    pub(super) forgotten: bool,
    /// What the provider last said, with a number that tells new from seen.
    pub(super) said: Option<(u64, Said)>,
}

/// What a provider says of a pod.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// Its status.
    Status(Arc<ObservedPod>),
    /// Something happened: look.
    Look,
}

/// A pod's task.
pub(super) struct Task {
    shared: Arc<Shared>,
    id: PodRef,
    inbox: watch::Receiver<Inbox>,
    /// The newest known state of the object: the inbox's, or what our own write made of it.
    object: Option<Arc<PodObject>>,
    forgotten: bool,
    seen: u64,
    workload: Workload,
    /// What the provider last said, parsed.
    status: Option<PodStatus>,
    /// Another status than the provider's that the host itself wants to show: waiting with a reason.
    waiting: Option<(String, String)>,
    /// Why the pod has failed for good.
    failure: Option<(String, String)>,
    /// Until when a create or delete of unknown outcome may still take effect in the backend (R9b).
    unclear_until: Option<Instant>,
    /// When the workload was made, as far as this process knows.
    made_at: Option<Instant>,
    /// The revision that the provider cannot update to.
    refused_revision: Option<String>,
    /// The API delete was done; finalizers keep the object.
    released: bool,
    /// A status that the API server refuses; the same one is not sent again.
    refused_status: Option<serde_json::Value>,
    /// The grace that the last removal was asked for with.
    removed_with: Option<Duration>,
    /// Nothing is tried before this time.
    not_before: Option<Instant>,
    retry: Backoff,
    slow_retry: Backoff,
    missing_retry: Backoff,
    write_retry: Backoff,
    last_complaint: Option<String>,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>, id: PodRef, inbox: watch::Receiver<Inbox>, workload: Workload) -> Self {
        Self {
            shared,
            id,
            inbox,
            object: None,
            forgotten: false,
            seen: 0,
            workload,
            status: None,
            waiting: None,
            failure: None,
            unclear_until: None,
            made_at: None,
            refused_revision: None,
            released: false,
            refused_status: None,
            removed_with: None,
            not_before: None,
            retry: Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST),
            slow_retry: Backoff::new(SLOW_BACKOFF_FIRST, SLOW_BACKOFF_LONGEST),
            missing_retry: Backoff::new(BACKOFF_FIRST, MISSING_OBJECT_LONGEST),
            write_retry: Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST),
            last_complaint: None,
        }
    }

    /// Runs until neither the API server nor the provider has the pod.
    pub(super) async fn run(mut self) {
        let mut reachable = self.shared.reachable.clone();
        loop {
            self.read_inbox();
            let step = self.next(*reachable.borrow_and_update());
            tracing::trace!(pod = %self.id, uid = %self.id.uid, ?step, workload = ?self.workload, "step");
            if step == Step::Done {
                return;
            }
            let paused = self.not_before.filter(|until| *until > Instant::now());
            if let (None, true) = (paused, step != Step::Idle) {
                self.not_before = None;
                self.act(step).await;
            }
            let write_again = self.write_status().await;
            if self.inbox.has_changed().unwrap_or(false) || (step != Step::Idle && self.not_before.is_none()) {
                continue;
            }
            let expiry = self.expires_in().filter(|left| !left.is_zero()).map(|left| Instant::now() + left);
            let wake = [self.not_before, write_again, expiry].into_iter().flatten().min();
            tokio::select! {
                changed = self.inbox.changed() => if changed.is_err() { return },
                Ok(()) = reachable.changed() => {}
                () = sleep_until_some(wake) => {}
            }
        }
    }

    fn next(&self, reachable: bool) -> Step {
        let step = lifecycle::next(&Facts {
            wanted: self.wanted(),
            workload: &self.workload,
            revision: self.object.as_ref().map_or("", |object| object.revision.as_str()),
            refused_revision: self.refused_revision.as_deref(),
            ended: self.status.as_ref().is_some_and(|status| is_terminal(status.phase.as_deref())),
            running: self.status.as_ref().is_some_and(|status| !is_terminal(status.phase.as_deref())),
            expired: self.expires_in().is_some_and(|left| left.is_zero()),
            released: self.released,
            reachable,
        });
        // What has failed for good is only waited for to be deleted.
        if self.failure.is_some() && matches!(step, Step::Create | Step::Fail | Step::Look | Step::Expire) { Step::Idle } else { step }
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
        if self.removed_with.is_some_and(|grace| self.grace() < grace) && self.workload == Workload::Stopping {
            // A second delete with a shorter grace (R7): ask again.
            self.workload = Workload::Present { revision: None };
            self.not_before = None;
        }
        match inbox.said {
            Some((number, said)) if number > self.seen => {
                self.seen = number;
                self.take(said);
            }
            _ => {}
        }
    }

    fn take(&mut self, said: Said) {
        match (said, &self.workload) {
            (Said::Status(observed), Workload::Present { .. } | Workload::Unclear { .. }) => {
                self.take_status(&observed)
            }
            (Said::Status(observed), Workload::Stopping) => {
                self.status = parse(&self.id, &observed.status);
            }
            // Nothing was made, or it is gone: a late status of something that was removed.
            (Said::Status(_), Workload::None | Workload::Gone) => {}
            (Said::Look, Workload::Present { .. }) => {
                self.workload = Workload::Unclear { made: true };
                self.not_before = None;
            }
            (Said::Look, Workload::Stopping) => self.not_before = None,
            (Said::Look, _) => {}
        }
    }

    fn take_status(&mut self, observed: &ObservedPod) {
        if let Some(status) = parse(&self.id, &observed.status) {
            self.status = Some(status);
        }
        self.workload = Workload::Present { revision: observed.revision.clone() };
        self.waiting = None;
        self.unclear_until = None;
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
            Step::Expire => self.fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
            Step::Release => self.release().await,
            Step::Idle | Step::Done => {}
        }
    }

    /// Resolves the pod and has it made.
    async fn create(&mut self) {
        let Some(object) = self.object.clone() else { return };
        if let Some((reason, message)) = self.unfit(&object) {
            return self.refuse(reason, message);
        }
        let (resolved, notices) = self.shared.resolver.resolve(&object).await;
        for notice in notices {
            self.shared.events.pod_warning(&self.id, notice.reason, notice.message);
        }
        let desired = match resolved {
            Ok(desired) => desired,
            Err(problem @ Problem::Refused { .. }) => return self.refuse("UnsupportedField", problem.to_string()),
            Err(Problem::Missing { reason, message }) => {
                self.complain(reason, &message);
                self.waiting = Some(("CreateContainerConfigError".into(), message));
                self.not_before = Some(Instant::now() + self.missing_retry.pause());
                return;
            }
        };
        self.missing_retry.reset();
        let shared = self.shared.clone();
        let (canceller, call) = Call::new();
        let mut creation = std::pin::pin!(shared.provider.create_pod(call, desired));
        let first_status = Instant::now() + FIRST_STATUS_WAIT;
        let mut told = false;
        let result = loop {
            tokio::select! {
                result = &mut creation => break result,
                () = sleep_until(first_status), if !told => {
                    told = true;
                    let _ = self.write_status().await;
                }
                changed = self.inbox.changed() => {
                    self.read_inbox();
                    if changed.is_err() || self.wanted() != Wanted::Run {
                        canceller.cancel(Why::PodDeleted);
                    }
                }
            }
        };
        self.created(result, &object.revision);
    }

    fn created(&mut self, result: Result<Option<ObservedPod>, Error>, revision: &str) {
        let error = match result {
            Ok(observed) => {
                self.made_at = Some(Instant::now());
                self.shared.events.pod(
                    &self.id,
                    "Created",
                    format!("Created pod in provider {}", self.shared.provider.identity().name),
                );
                match observed {
                    Some(observed) => self.take_status(&observed),
                    None => self.workload = Workload::Present { revision: Some(revision.to_string()) },
                }
                self.last_complaint = None;
                return;
            }
            Err(error) => error,
        };
        tracing::warn!(pod = %self.id, uid = %self.id.uid, %error, effect = ?error.effect, "create failed");
        if error.effect == Effect::Unknown {
            self.workload = Workload::Unclear { made: false };
            self.unclear_until = Some(Instant::now() + self.shared.provider.identity().settle);
        }
        if self.wanted() != Wanted::Run {
            return;
        }
        match lifecycle::verdict(&error) {
            Verdict::Final => self.refuse(&error.reason, error.to_string()),
            Verdict::Exists => self.workload = Workload::Unclear { made: false },
            Verdict::Retry { slow } => {
                self.complain("FailedToCreatePod", &error.to_string());
                self.waiting = Some((error.reason.to_string(), error.message.clone()));
                self.pause(&error, slow);
            }
        }
    }

    /// What this node cannot run whatever the provider can (R21).
    fn unfit(&self, object: &PodObject) -> Option<(&'static str, String)> {
        let os = object.spec().os.as_ref().map(|os| os.name.clone())?;
        (os != self.shared.operating_system).then(|| {
            (
                "PodOSNotSupported",
                format!("spec.os.name is {os:?}, but this node runs {:?}", self.shared.operating_system),
            )
        })
    }

    /// Asks whether there is a workload.
    async fn look(&mut self) {
        let provider = self.shared.provider.clone();
        let Workload::Unclear { made } = self.workload else { return };
        match provider.get_pod(&self.id).await {
            Ok(Some(observed)) => self.take_status(&observed),
            // Not there yet is not absent: the backend may still show it, or still make it.
            Ok(None) if self.settling().is_some() => self.not_before = self.settling(),
            Ok(None) if made => self.workload = Workload::Gone,
            Ok(None) => {
                self.workload = Workload::None;
                self.unclear_until = None;
            }
            Err(error) => {
                tracing::warn!(pod = %self.id, uid = %self.id.uid, %error, "look failed");
                self.pause(&error, lifecycle::verdict(&error) == Verdict::Retry { slow: true });
            }
        }
    }

    /// Until when absence proves nothing: after an unclear call, and while a new workload may not be visible yet (R15).
    fn settling(&self) -> Option<Instant> {
        let young = self.made_at.map(|made| made + self.shared.provider.identity().settle);
        let not_running = self.status.as_ref().and_then(|s| s.phase.as_deref()).is_none_or(|phase| phase == "Pending");
        [self.unclear_until, young.filter(|_| not_running)]
            .into_iter()
            .flatten()
            .filter(|until| *until > Instant::now())
            .max()
    }

    async fn update(&mut self) {
        let Some(object) = self.object.clone() else { return };
        let desired = match self.shared.resolver.resolve(&object).await {
            (Ok(desired), _) => desired,
            (Err(problem), _) => {
                self.complain("FailedToUpdatePod", &problem.to_string());
                self.not_before = Some(Instant::now() + self.missing_retry.pause());
                return;
            }
        };
        match self.shared.provider.update_pod(Call::uncancelled(), desired).await {
            Ok(()) => {
                self.workload = Workload::Present { revision: Some(object.revision.clone()) };
                self.shared.events.pod(&self.id, "Updated", "Updated pod in provider");
                self.retry.reset();
            }
            Err(error) if matches!(lifecycle::verdict(&error), Verdict::Final) => {
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
        let desired = self.object.as_ref().filter(|_| !self.forgotten).map(|object| self.shared.resolver.unresolved(object));
        let grace = self.grace();
        let shared = self.shared.clone();
        let id = self.id.clone();
        let ask = |grace: Duration| {
            let (id, desired) = (&id, desired.clone());
            let provider = &shared.provider;
            async move { (grace, provider.delete_pod(Call::uncancelled(), id, desired, Some(grace)).await) }
        };
        let mut asked = grace;
        let mut calls = FuturesUnordered::new();
        calls.push(ask(grace));
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
        self.removed_with = Some(asked);
        self.removed(result);
    }

    fn removed(&mut self, result: Result<Deletion, Error>) {
        match result {
            Ok(Deletion::Stopping) => {
                self.workload = Workload::Stopping;
                self.retry.reset();
                self.not_before = Some(Instant::now() + POLL_PERIOD);
            }
            Ok(Deletion::Gone) => self.absent(),
            Err(error) if error.code == crate::provider::Code::NotFound => self.absent(),
            Err(error) => {
                self.complain("FailedToDeletePod", &error.to_string());
                self.pause(&error, lifecycle::verdict(&error) == Verdict::Retry { slow: true });
            }
        }
    }

    /// The backend says that nothing is left; believed once an unclear create can no longer take effect (R8, R9b).
    fn absent(&mut self) {
        match self.settling().filter(|_| self.unclear_until.is_some()) {
            Some(until) => self.not_before = Some(until),
            None => {
                self.unclear_until = None;
                self.workload = Workload::Gone;
                self.retry.reset();
            }
        }
    }

    /// Looks whether a workload that was asked to end has ended; changes most often tell it before.
    async fn await_end(&mut self) {
        let provider = self.shared.provider.clone();
        match provider.get_pod_status(&self.id).await {
            Ok(None) => self.absent(),
            Ok(Some(status)) => {
                self.status = parse(&self.id, &status);
                self.not_before = Some(Instant::now() + POLL_PERIOD);
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
            if let Some(again) = self.write_status().await {
                self.not_before = Some(again);
                return;
            }
        }
        match self.shared.writer.delete(&self.id).await {
            Ok(()) => self.released = true,
            Err(error) => {
                tracing::warn!(pod = %self.id, uid = %self.id.uid, %error, "delete in the API failed");
                self.not_before = Some(Instant::now() + self.write_retry.pause());
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

    /// Writes what differs. Returns when to try again, if it must be tried again.
    async fn write_status(&mut self) -> Option<Instant> {
        let object = self.object.clone()?;
        let wanted = self.desired_status(&object)?;
        let patch = status::patch(&object, &wanted)?;
        if self.refused_status.as_ref() == Some(&patch) {
            return None;
        }
        match self.shared.writer.patch_status(&self.id, &patch).await {
            Ok(version) => {
                let mut written = PodObject::clone(&object);
                written.pod.status = Some(status::applied(&object, wanted));
                if version.is_some() {
                    written.pod.metadata.resource_version = version;
                }
                self.object = Some(Arc::new(written));
                self.refused_status = None;
                self.write_retry.reset();
                None
            }
            Err(api::Error::Invalid(message)) => {
                tracing::error!(pod = %self.id, uid = %self.id.uid, %message, "the API server refuses the pod's status");
                self.shared.events.pod_warning(&self.id, "StatusRefused", message);
                self.refused_status = Some(patch);
                None
            }
            Err(error) => {
                tracing::debug!(pod = %self.id, uid = %self.id.uid, %error, "status not written");
                Some(Instant::now() + self.write_retry.pause())
            }
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
