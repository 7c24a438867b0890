//! What the provider tells of its workloads, whichever way it can: changes with a cursor, or lists.
//!
//! Wherever a full list is at hand it is sent as one [`Told::Listed`]: what is not in it is absent.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::backoff::Backoff;
use crate::defaults::pods::{BACKOFF_FIRST, CHANGES_FLOOR, CHANGES_WAIT, POLL_PERIOD};
use crate::provider::{Batch, Call, Code, Error, Identity, ObservedPod, PodRef, Provider, Scope};

/// A provider that said that it tells no changes is asked again after so long, and whenever another build of it has come.
const ASK_AGAIN: Duration = Duration::from_secs(300);
/// An empty answer that comes faster is none.
const IDLE_AT_LEAST: Duration = Duration::from_millis(100);

/// One piece of news.
#[derive(Debug)]
pub(super) enum Told {
    /// Pods with a new status.
    Changed(Vec<ObservedPod>),
    /// Pods to look at.
    Touched(Vec<PodRef>),
    /// Everything there is: what is not in it is absent.
    Listed(Vec<ObservedPod>),
}

/// The way from the provider to the pods' controller.
pub(super) struct Feed {
    provider: Arc<dyn Provider>,
    to: mpsc::Sender<Told>,
    relist: Arc<Notify>,
    node_changed: Arc<Notify>,
}

impl Feed {
    pub(super) fn new(
        provider: Arc<dyn Provider>,
        to: mpsc::Sender<Told>,
        relist: Arc<Notify>,
        node_changed: Arc<Notify>,
    ) -> Self {
        Self { provider, to, relist, node_changed }
    }

    /// Runs for ever. A provider that cannot tell changes is listed; one that fails to is listed meanwhile.
    pub(super) async fn run(self) {
        loop {
            let build = self.provider.identity();
            let able = self.provider.capabilities().changes;
            if able {
                self.follow().await;
            }
            self.poll(&build, able).await;
        }
    }

    /// Lists again and again; at once when asked to. Returns when changes may be told: by another build of the provider than
    /// this one, or by one that was `able` to and may have thought better of it.
    async fn poll(&self, build: &Identity, able: bool) {
        let began = Instant::now();
        loop {
            self.list().await;
            tokio::select! {
                () = tokio::time::sleep(POLL_PERIOD) => {}
                () = self.relist.notified() => {}
            }
            let news = !able || began.elapsed() >= ASK_AGAIN || self.provider.identity() != *build;
            if news && self.provider.capabilities().changes {
                return;
            }
        }
    }

    async fn list(&self) {
        match self.provider.get_pods().await {
            Ok(pods) => self.tell(Told::Listed(pods)).await,
            Err(error) => tracing::warn!(%error, "list of the provider's pods failed"),
        }
    }

    /// Follows the changes; returns if the provider says that it has none.
    async fn follow(&self) {
        let mut cursor: Option<String> = None;
        let mut listing = Vec::new();
        let mut backoff = Backoff::new(BACKOFF_FIRST, POLL_PERIOD);
        loop {
            let began = Instant::now();
            match self.next(cursor.clone()).await {
                Next::Batch(batch) => {
                    cursor.clone_from(&batch.cursor);
                    let idle = batch.says_nothing() && began.elapsed() < IDLE_AT_LEAST;
                    // Pages of a list follow each other at once.
                    let floor = if batch.scope == Scope::Listing { Duration::ZERO } else { CHANGES_FLOOR };
                    let mut pause = batch.again_after.clamp(floor, CHANGES_WAIT);
                    self.deliver(batch, &mut listing).await;
                    // A provider that says nothing, at once, again and again, would keep the processor busy.
                    if idle {
                        pause = pause.max(backoff.pause());
                    } else {
                        backoff.reset();
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.relist.notified(), if cursor.is_some() => {
                            cursor = None;
                            listing.clear();
                        }
                    }
                }
                Next::Relist => {
                    cursor = None;
                    listing.clear();
                }
                Next::Failed(error) if error.code == Code::Unimplemented => {
                    tracing::info!(%error, "the provider tells no changes; its pods are listed instead");
                    return;
                }
                Next::Failed(error) if error.code == Code::OutOfRange => {
                    tracing::debug!(%error, "the cursor is outworn; starting over");
                    cursor = None;
                    listing.clear();
                    tokio::time::sleep(backoff.pause()).await;
                }
                Next::Failed(error) => {
                    tracing::warn!(%error, "changes failed; listing meanwhile");
                    tokio::time::sleep(backoff.pause()).await;
                    self.list().await;
                }
            }
        }
    }

    async fn next(&self, cursor: Option<String>) -> Next {
        // A full list is being asked for already: no need to ask for another.
        let fresh = cursor.is_none();
        let mut next = std::pin::pin!(self.provider.next_changes(Call::uncancelled(), cursor, CHANGES_WAIT));
        tokio::select! {
            result = &mut next => match result {
                Ok(batch) => Next::Batch(batch),
                Err(error) => Next::Failed(error),
            },
            // Dropping the call loses nothing: the contract says so.
            () = self.relist.notified(), if !fresh => Next::Relist,
        }
    }

    async fn deliver(&self, batch: Batch, listing: &mut Vec<ObservedPod>) {
        if batch.node_changed {
            self.node_changed.notify_one();
        }
        match batch.scope {
            Scope::Delta => {
                if !batch.changed.is_empty() {
                    self.tell(Told::Changed(batch.changed)).await;
                }
            }
            Scope::Listing => listing.extend(batch.changed),
            Scope::Listed => {
                listing.extend(batch.changed);
                self.tell(Told::Listed(std::mem::take(listing))).await;
            }
        }
        if !batch.touched.is_empty() {
            self.tell(Told::Touched(batch.touched)).await;
        }
    }

    async fn tell(&self, told: Told) {
        // The controller ends only with the host.
        let _ = self.to.send(told).await;
    }
}

enum Next {
    Batch(Batch),
    Relist,
    Failed(Error),
}

/// UIDs of a list.
pub(super) fn uids(pods: &[ObservedPod]) -> HashSet<&str> {
    pods.iter().map(|pod| pod.id.uid.as_str()).collect()
}
