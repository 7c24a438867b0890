//! News of the backend on their way to the machines: its changes with a cursor, or else lists.
//!
//! A hint makes a machine look; it says no more. Hints that come together are one look. Where the backend cannot tell changes, or fails
//! to, it is listed, and who is not as it was last listed is hinted at.

use std::collections::HashMap;
use std::time::Duration;

use super::Machine;
use super::observed::{Observed, digest};
use crate::defaults::pods::{BACKOFF_FIRST, CHANGES_FLOOR, CHANGES_WAIT, POLL_PERIOD};
use crate::pods::Backoff;
use crate::provider::{Batch, Call, Code, Error, PodRef, Scope};

/// A backend that says that it tells no changes is asked again after so many lists, for another build may have come.
const ASK_AGAIN: u32 = 12;
/// An empty answer that comes faster is none.
const IDLE_AT_LEAST: Duration = Duration::from_millis(100);

/// What a list has shown of each pod.
type Shown = HashMap<String, u64>;

impl Machine {
    /// Brings the backend's news to the machines, until the host stops.
    pub(super) async fn listen(&self) {
        let mut shown = Shown::new();
        loop {
            if self.shared.provider.capabilities().changes {
                self.follow(&mut shown).await;
            }
            for _ in 0..ASK_AGAIN {
                self.compare(&mut shown).await;
                tokio::time::sleep(POLL_PERIOD).await;
                if self.shared.provider.capabilities().changes {
                    break;
                }
            }
        }
    }

    /// Follows the changes; returns if the backend says that it has none.
    async fn follow(&self, shown: &mut Shown) {
        let mut cursor: Option<String> = None;
        let mut backoff = Backoff::new(BACKOFF_FIRST, POLL_PERIOD);
        let mut failed = false;
        loop {
            let began = tokio::time::Instant::now();
            let next = self.shared.provider.next_changes(Call::uncancelled(), cursor.clone(), CHANGES_WAIT).await;
            let batch = match next {
                Ok(batch) => batch,
                Err(error) if error.code == Code::Unimplemented => return,
                Err(error) => {
                    tracing::warn!(%error, "the backend's changes failed; listing meanwhile");
                    if error.code == Code::OutOfRange {
                        cursor = None;
                    }
                    failed = true;
                    tokio::time::sleep(backoff.pause()).await;
                    self.compare(shown).await;
                    continue;
                }
            };
            if std::mem::take(&mut failed) {
                self.returned();
            }
            cursor.clone_from(&batch.cursor);
            let idle = batch.says_nothing() && began.elapsed() < IDLE_AT_LEAST;
            let mut pause = batch.again_after.clamp(CHANGES_FLOOR, CHANGES_WAIT);
            if idle {
                pause = pause.max(backoff.pause());
            } else {
                backoff.reset();
            }
            self.hear(batch, shown).await;
            tokio::time::sleep(pause).await;
        }
    }

    /// A full list only says that anything may have changed: whoever is not as it was last listed is hinted at.
    async fn hear(&self, batch: Batch, shown: &mut Shown) {
        if batch.node_changed {
            self.shared.news.node_changed();
        }
        match batch.scope {
            Scope::Delta => {
                for id in batch.touched.into_iter().chain(batch.changed.into_iter().map(|pod| pod.id)) {
                    self.hint(&id).await;
                }
            }
            Scope::Listing => {}
            Scope::Listed => self.compare(shown).await,
        }
    }

    /// Something has happened to a pod. One that no machine knows is taken over if it is there.
    async fn hint(&self, id: &PodRef) {
        if self.hinted(&id.uid) {
            return;
        }
        match self.shared.containers.get_sandbox(id).await {
            Ok(Some(state)) => self.enter(id, Some(Observed::of(Some(state)))),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(pod = %id, uid = %id.uid, %error, "a pod that is not known could not be looked at")
            }
        }
    }

    /// Lists, takes over what no machine knows, and hints at whoever is not as it was.
    async fn compare(&self, shown: &mut Shown) {
        let states = match self.shared.containers.list_containers().await {
            Ok(states) => states,
            Err(error) => return tracing::warn!(%error, "list of the backend's containers failed"),
        };
        let mut now = Shown::new();
        for state in states {
            let id = state.sandbox.id.clone();
            let digest = digest(&state);
            now.insert(id.uid.clone(), digest);
            if shown.get(&id.uid) != Some(&digest) && !self.hinted(&id.uid) {
                self.enter(&id, Some(Observed::of(Some(state))));
            }
        }
        let gone = shown.keys().filter(|uid| !now.contains_key(*uid));
        gone.for_each(|uid| {
            self.hinted(uid);
        });
        *shown = now;
    }

    /// Lists and takes over what no machine knows; all others look for themselves. What the list does not have may be just being made.
    pub(super) async fn adopt_all(&self) -> Result<(), Error> {
        let states = self.shared.containers.list_containers().await?;
        for state in states {
            let id = state.sandbox.id.clone();
            if !self.hinted(&id.uid) {
                self.enter(&id, Some(Observed::of(Some(state))));
            }
        }
        Ok(())
    }
}
