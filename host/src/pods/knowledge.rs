//! What is known of one pod, and what follows from it. Pure: no I/O.
//!
//! News come from three sides: the API server's object and the provider's words by way of the mailbox ([`Inbox`]), and the answers
//! to the host's own calls. Each is taken for what it tells more than was known, whatever order they come in.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodStatus;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::compact;
use super::lifecycle::{self, Facts, Step, Wanted, Workload};
use super::object::{PodObject, is_terminal};
use super::reporter::Written;
use super::status;
use crate::defaults::pods::{
    BACKOFF_FIRST, BACKOFF_LONGEST, MISSING_OBJECT_LONGEST, SLOW_BACKOFF_FIRST, SLOW_BACKOFF_LONGEST,
};
use crate::provider::{Error, ObservedPod};

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
pub(super) struct Early {
    status: Option<Arc<ObservedPod>>,
    look: bool,
}

/// What is known of a pod.
pub(super) struct Knowledge {
    /// The newest known state of the object: the API server's, or what our own write made of it.
    pub(super) object: Option<Arc<PodObject>>,
    pub(super) forgotten: bool,
    /// The number of the last news that was taken.
    pub(super) seen: u64,
    pub(super) workload: Workload,
    /// What the provider last said.
    observed: Option<Arc<ObservedPod>>,
    /// The same, parsed.
    pub(super) status: Option<PodStatus>,
    /// A workload is being made.
    early: Option<Early>,
    /// The API server's status may not be what it should be: something that it depends on has changed since they were last
    /// compared, or it could not be written.
    pub(super) news: bool,
    /// Why the pod waits, which is shown instead of the provider's status.
    pub(super) waiting: Option<(String, String)>,
    /// Why the pod has failed for good.
    pub(super) failure: Option<(String, String)>,
    /// Until when a create of unknown outcome may still take effect in the backend (R9b).
    pub(super) unclear_until: Option<Instant>,
    /// When the workload was made, as far as this process knows.
    made_at: Option<Instant>,
    /// The revision that the provider cannot update to.
    pub(super) refused_revision: Option<String>,
    /// The API delete was done; finalizers keep the object.
    pub(super) released: bool,
    /// The grace of the last removal, and when it was asked for.
    pub(super) removal: Option<(Duration, Instant)>,
    /// Nothing is tried before this time.
    pub(super) not_before: Option<Instant>,
    pub(super) retry: Backoff,
    slow_retry: Backoff,
    pub(super) missing_retry: Backoff,
}

impl Knowledge {
    /// `unclear_until`: until when a create of an earlier process may still take effect.
    pub(super) fn new(workload: Workload, unclear_until: Option<Instant>) -> Self {
        Self {
            // What is there was made.
            unclear_until: unclear_until.filter(|_| matches!(workload, Workload::Unclear { .. })),
            object: None,
            forgotten: false,
            seen: 0,
            workload,
            observed: None,
            status: None,
            early: None,
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

    /// What is to be done next.
    pub(super) fn next(&self, reachable: bool) -> Step {
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

    /// What the API server wants of the pod.
    pub(super) fn wanted(&self) -> Wanted {
        match &self.object {
            _ if self.forgotten => Wanted::Forgotten,
            None => Wanted::Forgotten,
            Some(object) if object.is_deleting() => Wanted::Delete,
            Some(object) if object.is_terminal() => Wanted::Ended,
            Some(_) => Wanted::Run,
        }
    }

    /// Whether every container has ended, as far as the provider has said. One that tells no phase has not said it yet.
    fn ended(&self) -> Option<bool> {
        let phase = self.status.as_ref()?.phase.as_deref()?;
        Some(is_terminal(Some(phase)))
    }

    /// How much is left of activeDeadlineSeconds, which count from the pod's start time; none: there is no deadline.
    pub(super) fn expires_in(&self) -> Option<Duration> {
        let object = self.object.as_ref()?;
        let deadline = object.spec.active_deadline_seconds?;
        let start = object.status.start_time.as_ref()?.0;
        let left = start.checked_add(SignedDuration::from_secs(deadline)).ok()?.duration_since(Timestamp::now());
        Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
    }

    /// How long the containers may take to end.
    pub(super) fn grace(&self) -> Duration {
        match &self.object {
            // `--force`: whoever did not wait for the API server does not wait for the containers either.
            _ if self.forgotten => Duration::ZERO,
            Some(object) => object.grace(),
            None => Duration::ZERO,
        }
    }

    /// Its removal was asked for and its containers have ended: nothing else keeps it in the API.
    pub(super) fn awaits_release(&self) -> bool {
        self.wanted() == Wanted::Delete && self.ended() == Some(true) && !self.released
    }

    /// The workload is there, and the API server shows it, so that a later process knows of it from there.
    pub(super) fn is_shown(&self) -> bool {
        let there = matches!(self.workload, Workload::Present { .. } | Workload::Stopping);
        there && self.object.as_ref().is_some_and(|object| object.has_run())
    }

    /// Until when absence proves nothing: after an unclear call, and while a new workload may not be visible yet (R15).
    pub(super) fn settling(&self, settle: Duration) -> Option<Instant> {
        let young = self.made_at.map(|made| made + settle);
        let pending = self.status.as_ref().and_then(|s| s.phase.as_deref()).is_none_or(|phase| phase == "Pending");
        [self.unclear_until, young.filter(|_| pending)]
            .into_iter()
            .flatten()
            .filter(|until| *until > Instant::now())
            .max()
    }

    /// Takes what is new in the mailbox.
    pub(super) fn read(&mut self, inbox: Inbox) {
        let was = self.wanted();
        self.news |= self.forgotten != inbox.forgotten;
        self.forgotten |= inbox.forgotten;
        if self.wanted() != was {
            self.not_before = None;
        }
        if let Some(object) = inbox.object {
            self.see(object);
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

    /// Takes a state of the object that the API server told. The echo of a write of our own is no news.
    pub(super) fn see(&mut self, object: Arc<PodObject>) {
        let was = self.wanted();
        let Some(object) = self.object.as_ref().map_or(Some(object.clone()), |mine| object.after(mine)) else { return };
        self.news |= self.object.as_ref().is_none_or(|mine| !object.says_the_same_as(mine));
        self.object = Some(object);
        if self.wanted() != was {
            // A delete overtakes any back-off (R9).
            self.not_before = None;
        }
    }

    /// The API server has taken a status. Whatever it has told since stays as it is.
    pub(super) fn wrote(&mut self, Written { status, version }: Written) {
        let Some(mine) = &self.object else { return };
        // The watch may have been faster.
        if version.is_none() || mine.version < version {
            self.object = Some(Arc::new(mine.written(status::applied(&mine.status, status), version)));
        }
    }

    fn take(&mut self, said: Said) {
        match (said, &self.workload, &mut self.early) {
            // Which of the two came first is known when the answer is there.
            (Said::Status(observed), _, Some(early)) => *early = Early { status: Some(observed), look: false },
            (Said::Look, _, Some(early)) => early.look = true,
            // Where nothing was made, as far as this process knows, there is something all the same.
            (Said::Status(observed), Workload::None | Workload::Unclear { .. } | Workload::Present { .. }, None) => {
                self.found(observed);
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

    /// A workload is about to be made: what is said meanwhile waits for the answer.
    pub(super) fn making(&mut self) {
        self.early = Some(Early::default());
    }

    /// The answer is there. What was said meanwhile is to be taken after it.
    pub(super) fn answered(&mut self) -> Early {
        self.early.take().unwrap_or_default()
    }

    /// Takes what was said while a workload was being made.
    pub(super) fn take_early(&mut self, early: Early) {
        early.status.into_iter().for_each(|observed| self.take(Said::Status(observed)));
        if early.look {
            self.take(Said::Look);
        }
    }

    /// A workload was made, of this revision.
    pub(super) fn made(&mut self, revision: &str, observed: Option<ObservedPod>) {
        self.made_at = Some(Instant::now());
        self.has(revision);
        if let Some(observed) = observed {
            self.found(Arc::new(observed));
        }
    }

    /// The workload has this revision now.
    pub(super) fn has(&mut self, revision: &str) {
        self.workload = Workload::Present { revision: Some(revision.to_string()) };
        self.settled();
    }

    /// The workload is there.
    pub(super) fn found(&mut self, observed: Arc<ObservedPod>) {
        let was_there = matches!(self.workload, Workload::Present { .. });
        self.workload = Workload::Present { revision: observed.revision.clone() };
        self.news |= self.waiting.take().is_some();
        self.read_status(observed);
        match self.wanted() {
            // News of a pod that was there are no reason to hurry an update or a removal that fails.
            _ if was_there => {}
            Wanted::Run => self.settled(),
            // It was not there when its removal was last asked for.
            Wanted::Delete | Wanted::Forgotten => self.not_before = None,
            Wanted::Ended => {}
        }
    }

    fn read_status(&mut self, observed: Arc<ObservedPod>) {
        if self.observed.as_ref().is_some_and(|last| last.status == observed.status) {
            return;
        }
        if let Some(status) = parse(&observed.status) {
            self.status = Some(status);
            self.news = true;
        }
        self.observed = Some(observed);
    }

    /// The provider was asked for the status alone.
    pub(super) fn looked(&mut self, status: &str) {
        self.observed = None;
        self.status = parse(status).or(self.status.take());
    }

    /// The workload is there for sure: nothing is waited for any more.
    fn settled(&mut self) {
        self.waiting = None;
        self.unclear_until = None;
        self.not_before = None;
        self.retry.reset();
        self.slow_retry.reset();
        self.missing_retry.reset();
    }

    /// The backend says that nothing is left; believed once an unclear create can no longer take effect (R8, R9b). One removal
    /// more is asked for then. Returns whether it is gone for good.
    pub(super) fn absent(&mut self) -> bool {
        match self.unclear_until.filter(|until| *until > Instant::now()) {
            Some(until) => {
                self.workload = Workload::Unclear { made: false };
                self.not_before = Some(until);
                false
            }
            None => {
                self.unclear_until = None;
                self.workload = Workload::Gone;
                self.retry.reset();
                true
            }
        }
    }

    /// The pod has failed for good.
    pub(super) fn fail(&mut self, reason: &str, message: &str) {
        tracing::warn!(reason, message, "pod failed");
        self.failure = Some((reason.to_string(), message.to_string()));
        self.waiting = None;
    }

    /// A call has failed and is repeated after a pause.
    pub(super) fn pause(&mut self, error: &Error, slow: bool) {
        let backoff = if slow { self.slow_retry.pause() } else { self.retry.pause() };
        self.not_before = Some(Instant::now() + lifecycle::pause(error, backoff));
    }

    /// Something has failed and is repeated soon.
    pub(super) fn pause_shortly(&mut self) {
        self.not_before = Some(Instant::now() + self.retry.pause());
    }

    /// The object and the status that it should have; none: nothing is to be said.
    pub(super) fn status_to_write(&self, host_ip: &str) -> Option<(Arc<PodObject>, PodStatus)> {
        let object = self.object.clone()?;
        if self.forgotten || self.released || object.is_terminal() {
            return None;
        }
        let context = status::Context { pod: &object, host_ip, now: Timestamp::now() };
        let wanted = match (&self.failure, &self.waiting, &self.status) {
            (Some((reason, message)), _, said) => status::failed(&context, said.as_ref(), reason, message),
            (None, Some((reason, message)), _) => status::waiting(&context, reason, Some(message)),
            (None, None, Some(said)) => status::from_provider(&context, said),
            // Nothing is known of the workload: say the first thing, once (R19).
            (None, None, None) if object.status.start_time.is_none() && !object.is_deleting() => {
                status::first(&context)
            }
            (None, None, None) => return None,
        };
        Some((object, wanted))
    }
}

fn parse(status: &str) -> Option<PodStatus> {
    let parsed = serde_json::from_str(status);
    let mut parsed: PodStatus =
        parsed.inspect_err(|error| tracing::error!(%error, "the provider's status is no core/v1 PodStatus")).ok()?;
    compact::status(&mut parsed);
    Some(parsed)
}

#[cfg(test)]
mod tests;
