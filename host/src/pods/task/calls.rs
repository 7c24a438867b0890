//! What a pod's task asks of the provider, and of the API server at the pod's end, and what follows from the answers.
//!
//! One call is made at a time, but for a removal: it is asked for again, beside the first call, if the grace shrinks (R7), and the
//! pod is deleted in the API beside it once its containers have ended (R5). A call that fails because the host stops says nothing of
//! the pod: nobody is told, and the next host tries again.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::{Ending, Task, sleep_until_some, some};
use crate::defaults::pods::{FIRST_STATUS_WAIT, REMOVAL_PATIENCE, STOPPING_LOOK};
use crate::pods::api;
use crate::pods::lifecycle::{self, Step, Verdict, Wanted, Workload};
use crate::pods::object::{PodObject, is_terminal};
use crate::pods::reporter::Written;
use crate::pods::resolve::Problem;
use crate::provider::{Call, Code, Deletion, DesiredPod, Effect, Error, ObservedPod};

/// How the pod's end in the API went: its last status, if one was written, and the delete.
type Release = (Option<Written>, Result<(), Unreleased>);

/// Why the pod is still in the API.
enum Unreleased {
    /// Its last status could not be written, and will be tried then.
    Unsaid(Instant),
    Undeleted(api::Error),
}

impl Task {
    pub(super) async fn act(&mut self, step: Step) {
        match step {
            Step::Create => self.create().await,
            Step::Look => self.look().await,
            Step::Update => self.update().await,
            Step::Remove => self.remove().await,
            Step::AwaitEnd => self.await_end().await,
            Step::Fail => self.known.fail("NotFound", "The pod was not found in the provider any more"),
            Step::Expire => {
                self.refuse("DeadlineExceeded", "Pod was active on the node longer than the specified deadline".into())
            }
            Step::Release => {
                if let Some(release) = self.release() {
                    let end = release.await;
                    self.released(end);
                }
            }
            Step::Idle | Step::Done => {}
        }
    }

    /// The pod as the provider gets it; none: a delete made it pointless.
    async fn resolve(&mut self, object: &PodObject) -> Option<Result<DesiredPod, Problem>> {
        let shared = self.shared.clone();
        let (resolved, notices) = self.attend(shared.resolver.resolve(object), Ending::Drop).await?;
        for notice in notices {
            self.shared.events.pod_warning(&self.id, notice.reason, notice.message);
        }
        Some(resolved)
    }

    async fn create(&mut self) {
        let Some(object) = self.known.object.clone() else { return };
        if let Some((reason, message)) = self.unfit(&object) {
            return self.refuse(reason, message);
        }
        self.first_status = Some(Instant::now() + FIRST_STATUS_WAIT);
        self.make(&object).await;
        self.first_status = None;
    }

    /// Resolves the pod and has it made.
    async fn make(&mut self, object: &PodObject) {
        let desired = match self.resolve(object).await {
            None => return,
            Some(Ok(desired)) => desired,
            Some(Err(problem @ Problem::Refused { .. })) => {
                return self.refuse("UnsupportedField", problem.to_string());
            }
            Some(Err(Problem::Missing { reason, message } | Problem::Unread { reason, message })) => {
                self.complain(reason, &message);
                self.known.waiting = Some(("CreateContainerConfigError".into(), message));
                self.known.not_before = Some(Instant::now() + self.known.missing_retry.pause());
                return;
            }
        };
        if self.known.workload != Workload::None {
            // The provider has said meanwhile that it is there.
            return;
        }
        let shared = self.shared.clone();
        // From here on it may have been made, whatever becomes of this process.
        if let Err(error) = shared.journal.begin(&self.id, &object.revision) {
            return self.not_created(&Error::new(Code::Internal, "CreateNotRecorded", error.to_string()));
        }
        self.recorded = true;
        shared.refresh.begin(&self.id.uid);
        let (canceller, call) = Call::new();
        self.known.making();
        let result = self.attend(shared.provider.create_pod(call, desired), Ending::Ask(canceller)).await;
        let early = self.known.answered();
        let Some(result) = result else { return };
        self.created(result, &object.revision);
        self.known.take_early(early);
    }

    fn created(&mut self, result: Result<Option<ObservedPod>, Error>, revision: &str) {
        match result {
            Ok(observed) => {
                let name = self.shared.provider.identity().name;
                self.shared.events.pod(&self.id, "Created", format!("Created pod in provider {name}"));
                self.known.made(revision, observed);
            }
            Err(error) => self.not_created(&error),
        }
    }

    fn not_created(&mut self, error: &Error) {
        tracing::warn!(%error, effect = ?error.effect, "create failed");
        let verdict = lifecycle::verdict(error);
        if error.effect == Effect::Unknown || verdict == Verdict::Exists {
            let settle = self.shared.provider.identity().settle;
            self.known.workload = Workload::Unclear { made: false };
            self.known.unclear_until = Some(Instant::now() + settle);
            self.shared.journal.unclear(&self.id.uid, settle);
        } else {
            self.forget_create();
        }
        if self.known.wanted() != Wanted::Run || self.shared.shutdown.is_cancelled() {
            return;
        }
        let slow = match verdict {
            Verdict::Final => return self.refuse(&error.reason, error.to_string()),
            Verdict::Exists => false,
            Verdict::Retry { slow } => slow,
        };
        if let Some(missing) = self.shared.refresh.missing(&self.id.uid) {
            // It was told in an event when the provider asked. The provider only failed for want of it.
            self.known.waiting = Some(("ContainerCreating".into(), missing));
            self.known.not_before = Some(Instant::now() + self.known.missing_retry.pause());
            return;
        }
        self.complain("FailedToCreatePod", &error.to_string());
        self.known.waiting = Some((error.reason.to_string(), error.message.clone()));
        self.known.pause(error, slow);
    }

    /// What this node cannot run whatever the provider can (R21).
    fn unfit(&self, object: &PodObject) -> Option<(&'static str, String)> {
        let os = object.spec.os.as_ref().map(|os| os.name.clone())?;
        let own = &self.shared.operating_system;
        (os != *own).then(|| ("PodOSNotSupported", format!("spec.os.name is {os:?}, but this node runs {own:?}")))
    }

    /// Asks whether there is a workload.
    async fn look(&mut self) {
        let Workload::Unclear { made } = self.known.workload else { return };
        let (shared, id) = (self.shared.clone(), self.id.clone());
        let answer = match self.known.wanted() {
            Wanted::Run => self.attend(shared.provider.get_pod(&id), Ending::Drop).await,
            _ => Some(shared.provider.get_pod(&id).await),
        };
        let settling = self.known.settling(shared.provider.identity().settle);
        match answer {
            None => {}
            Some(Ok(Some(observed))) => {
                self.known.found(observed.into());
                // Made by an earlier process, or by a call that did not tell: what it has of its volumes is not known.
                self.known.object.iter().for_each(|object| shared.refresh.adopt(object));
            }
            // Not there yet is not absent: the backend may still show it, or still make it.
            Some(Ok(None)) if settling.is_some() => self.known.not_before = settling,
            Some(Ok(None)) => {
                self.known.workload = if made { Workload::Gone } else { Workload::None };
                self.known.unclear_until = None;
                self.forget_create();
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "look failed");
                self.pause(&error);
            }
        }
    }

    async fn update(&mut self) {
        let Some(object) = self.known.object.clone() else { return };
        let desired = match self.resolve(&object).await {
            None => return,
            Some(Ok(desired)) => desired,
            // The pod runs on as it was until its sources are there again.
            Some(Err(problem)) => {
                self.complain("FailedToUpdatePod", &problem.to_string());
                self.known.not_before = Some(Instant::now() + self.known.missing_retry.pause());
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
                self.known.has(&object.revision);
                self.shared.events.pod(&self.id, "Updated", "Updated pod in provider");
            }
            // What becomes of an update of a pod that goes is of no interest.
            Err(_) if self.known.wanted() != Wanted::Run || shared.shutdown.is_cancelled() => {}
            Err(error) if error.code == Code::NotFound => {
                self.known.workload = Workload::Unclear { made: true };
                self.known.pause_shortly();
            }
            Err(error) if lifecycle::verdict(&error) == Verdict::Final => {
                // The pod runs on as it was; it is said once for each revision.
                self.shared.events.pod_warning(&self.id, "UpdateRefused", error.to_string());
                self.known.refused_revision = Some(object.revision.to_string());
            }
            Err(error) => {
                self.complain("FailedToUpdatePod", &error.to_string());
                self.pause(&error);
            }
        }
    }

    /// Asks the provider to end the workload; again at once if the grace shrinks meanwhile (R7). A pod whose containers turn out
    /// to have ended leaves the API though the provider has not answered (R5).
    async fn remove(&mut self) {
        let shared = self.shared.clone();
        let id = self.id.clone();
        let object = self.known.object.as_ref().filter(|_| !self.known.forgotten);
        let desired = object.map(|object| shared.resolver.unresolved(object));
        let ask = |grace: Duration| {
            let (id, desired, provider) = (&id, desired.clone(), &shared.provider);
            async move { (grace, provider.delete_pod(Call::uncancelled(), id, desired, Some(grace)).await) }
        };
        let news = self.known.seen;
        let mut asked = self.known.grace();
        let mut calls = FuturesUnordered::new();
        calls.push(ask(asked));
        let mut release: Option<BoxFuture<'static, Release>> = None;
        let result = loop {
            let pause = self.known.not_before;
            if release.is_none() && pause.is_none() && self.known.awaits_release() {
                release = self.release();
            }
            tokio::select! {
                // The shortest grace counts, whatever a longer one answers meanwhile, unless nothing is left.
                Some((grace, result)) = calls.next() => {
                    if grace == asked || result == Ok(Deletion::Gone) {
                        break result;
                    }
                }
                end = some(&mut release) => {
                    release = None;
                    self.released(end);
                }
                () = sleep_until_some(pause), if release.is_none() => self.known.not_before = None,
                Ok(()) = self.inbox.changed() => {
                    self.read_inbox();
                    if self.known.grace() < asked {
                        asked = self.known.grace();
                        calls.push(ask(asked));
                    }
                }
            }
        };
        drop(calls);
        // A write that is dropped may still be applied: it is waited for.
        if let Some(release) = release {
            let end = release.await;
            self.released(end);
        }
        self.known.removal = Some((asked, Instant::now()));
        let pause = self.known.not_before;
        self.removed(result);
        let there = matches!(self.known.workload, Workload::Present { .. } | Workload::Stopping);
        if there && self.known.awaits_release() {
            // That waits for nothing of this.
            self.known.not_before = pause;
        } else if self.known.workload == Workload::Stopping && self.known.seen > news {
            // Something was said while it was being asked: look at once.
            self.known.not_before = None;
        }
    }

    fn removed(&mut self, result: Result<Deletion, Error>) {
        match result {
            Ok(Deletion::Stopping) => {
                self.known.workload = Workload::Stopping;
                self.known.retry.reset();
                self.known.not_before = Some(Instant::now() + STOPPING_LOOK);
            }
            Ok(Deletion::Gone) => self.absent(),
            Err(error) if error.code == Code::NotFound => self.absent(),
            Err(_) if self.shared.shutdown.is_cancelled() => {}
            Err(error) => {
                self.complain("FailedToDeletePod", &error.to_string());
                self.pause(&error);
            }
        }
    }

    fn absent(&mut self) {
        if self.known.absent() {
            self.forget_create();
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
                    if self.known.workload != Workload::Stopping || self.known.awaits_release() {
                        return;
                    }
                }
            }
        };
        match answer {
            Ok(None) => self.absent(),
            Ok(Some(status)) => {
                self.known.looked(&status);
                let asked = self.known.removal;
                if asked.is_none_or(|(grace, asked)| asked + grace + REMOVAL_PATIENCE < Instant::now()) {
                    // Accepted and not done: the backend may have lost it.
                    self.complain(
                        "FailedToDeletePod",
                        "the provider accepted the deletion, but the workload is still there; asking again",
                    );
                    self.known.workload = Workload::Present { revision: None };
                    self.known.pause_shortly();
                } else {
                    self.known.not_before = Some(Instant::now() + STOPPING_LOOK);
                }
            }
            Err(error) => self.known.pause(&error, false),
        }
    }

    /// Deletes the pod in the API. Whoever counts pods by their finalizers sees its last status first. It needs nothing of the
    /// task, so that calls go on beside it.
    fn release(&mut self) -> Option<BoxFuture<'static, Release>> {
        let object = self.known.object.clone()?;
        let awaited = object.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
        let mut last = None;
        if awaited && !object.is_terminal() {
            if self.known.status.as_ref().is_none_or(|status| !is_terminal(status.phase.as_deref())) {
                self.known.failure =
                    Some(("Terminated".into(), "The pod was deleted before its containers had ended".into()));
            }
            last = self.status_to_write();
        }
        let (shared, reporter, id) = (self.shared.clone(), self.reporter.clone(), self.id.clone());
        Some(Box::pin(async move {
            let mut written = None;
            if let Some((object, wanted)) = last {
                written = reporter.report(&object, wanted).await;
                if let Some(again) = reporter.again() {
                    return (written, Err(Unreleased::Unsaid(again)));
                }
            }
            (written, shared.writer.delete(&id).await.map_err(Unreleased::Undeleted))
        }))
    }

    fn released(&mut self, (written, end): Release) {
        if let Some(written) = written {
            self.see_object();
            self.known.wrote(written);
        }
        match end {
            Ok(()) => self.known.released = true,
            Err(Unreleased::Unsaid(again)) => self.known.not_before = Some(again),
            // The watch says so, or the delete is repeated.
            Err(Unreleased::Undeleted(api::Error::Absent(message))) => {
                tracing::debug!(message, "nothing to delete in the API");
                self.known.pause_shortly();
            }
            Err(Unreleased::Undeleted(error)) => {
                tracing::warn!(%error, "delete in the API failed");
                self.known.pause_shortly();
            }
        }
    }

    fn refuse(&mut self, reason: &str, message: String) {
        self.shared.events.pod_warning(&self.id, reason, message.clone());
        self.known.fail(reason, &message);
    }

    /// Something goes wrong again and again; its repeats are counted in one event (R17).
    fn complain(&self, reason: &str, message: &str) {
        self.shared.events.pod_warning(&self.id, reason, message);
    }

    fn pause(&mut self, error: &Error) {
        self.known.pause(error, lifecycle::verdict(error) == Verdict::Retry { slow: true });
    }
}
