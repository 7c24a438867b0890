//! One pod's own task, from first sight to last trace: its turns.
//!
//! The task owns everything that is known of one UID ([`super::knowledge`]). Its mailbox holds the latest state and coalesces: a
//! thousand events while the task waits are one step. Each turn computes the next step ([`super::lifecycle`]), does it
//! ([`calls`]), and writes the status if it differs. A delete interrupts whatever is being done for a pod that shall run (R9), and
//! a shorter grace a removal (R7).

mod calls;

use std::pin::pin;
use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::PodStatus;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::knowledge::{Inbox, Knowledge};
use super::lifecycle::{Step, Wanted, Workload};
use super::object::PodObject;
use super::reporter::{Reporter, Written};
use crate::provider::{Canceller, PodRef, Why};

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
    known: Knowledge,
    /// The journal remembers that a create may have been sent.
    recorded: bool,
    /// When the first status is due, while the workload is being made (R19).
    first_status: Option<Instant>,
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
            reporter: Arc::new(Reporter::new(shared.clone())),
            recorded: shared.journal.has(&id.uid),
            shared,
            id,
            inbox,
            known: Knowledge::new(workload, unclear_until),
            first_status: None,
        }
    }

    /// The same after a task of this pod that panicked: a create may have been under way.
    pub(super) fn again(shared: Arc<Shared>, id: PodRef, inbox: watch::Receiver<Inbox>, made: bool) -> Self {
        let settled = Instant::now() + shared.provider.identity().settle;
        Self::new(shared, id, inbox, Workload::Unclear { made }, Some(settled))
    }

    /// Runs until neither the API server nor the provider has the pod, or the host stops. In a box: a future keeps what it is
    /// given beside what it makes of it, and there are thousands of them.
    pub(super) async fn run(mut self: Box<Self>) {
        let mut reachable = self.shared.reachable.clone();
        let shutdown = self.shared.shutdown.clone();
        while !shutdown.is_cancelled() {
            self.read_inbox();
            let step = self.known.next(*reachable.borrow_and_update());
            tracing::trace!(?step, workload = ?self.known.workload, "step");
            if step == Step::Done {
                return;
            }
            // A deadline waits for no back-off.
            if step == Step::Expire || self.known.not_before.is_none_or(|until| until <= Instant::now()) {
                self.known.not_before = None;
                if step != Step::Idle {
                    // In a box: tasks that idle do not carry the room that an act takes.
                    Box::pin(self.act(step)).await;
                    self.known.news = true;
                }
            }
            // What was made in the last moment is told; all else can wait for the next host.
            if !shutdown.is_cancelled() || self.known.status.is_some() {
                self.write_status().await;
            }
            if self.known.is_shown() {
                self.forget_create();
            }
            let more = step != Step::Idle && self.known.not_before.is_none();
            if more || self.inbox.has_changed().unwrap_or(false) {
                continue;
            }
            let expiry = self.known.expires_in().filter(|left| !left.is_zero());
            let expiry = expiry.and_then(|left| Instant::now().checked_add(left));
            let wake = [self.known.not_before, self.reporter.again(), expiry].into_iter().flatten().min();
            tokio::select! {
                changed = self.inbox.changed() => if changed.is_err() { return },
                Ok(()) = reachable.changed() => {}
                () = sleep_until_some(wake) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Takes what is new in the mailbox.
    fn read_inbox(&mut self) {
        let inbox = self.inbox.borrow_and_update().clone();
        self.known.read(inbox);
    }

    /// Takes the object in the mailbox alone, which stays as unread as it is: whoever reads the rest finds it done.
    fn see_object(&mut self) {
        let object = self.inbox.borrow().object.clone();
        object.into_iter().for_each(|object| self.known.see(object));
    }

    /// Waits for a call of a pod that shall run, and hears meanwhile what concerns the pod: a delete ends the call, and a first
    /// status that is due is written beside it. none: the call was dropped.
    async fn attend<T>(&mut self, call: impl Future<Output = T>, ending: Ending) -> Option<T> {
        let shutdown = self.shared.shutdown.clone();
        let mut call = pin!(call);
        let mut write: Option<BoxFuture<'static, Option<Written>>> = None;
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
                        Some(written) => {
                            self.see_object();
                            self.known.wrote(written);
                        }
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
                    if changed.is_err() || self.known.wanted() != Wanted::Run {
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

    /// The outcome of the create is known, or of no interest any more (R9b).
    fn forget_create(&mut self) {
        if std::mem::take(&mut self.recorded) {
            self.shared.journal.end(&self.id.uid);
        }
    }

    /// The object and the status that it should have; none: nothing is to be said.
    fn status_to_write(&self) -> Option<(Arc<PodObject>, PodStatus)> {
        self.known.status_to_write(&self.shared.node.load().internal_ip)
    }

    /// Writes what differs between the API server's status and what it should be, if it may.
    async fn write_status(&mut self) {
        self.see_object();
        if !self.known.news {
            return;
        }
        self.known.news = false;
        let Some((object, wanted)) = self.status_to_write() else { return self.reporter.give_up() };
        // In a box, as an act is.
        let written = Box::pin(self.reporter.report(&object, wanted)).await;
        // What came meanwhile may be newer than what was written upon.
        self.see_object();
        written.into_iter().for_each(|written| self.known.wrote(written));
        self.known.news |= self.reporter.again().is_some();
    }
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
