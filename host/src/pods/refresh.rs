//! Files of volumes for a provider that asks for them, and its copies kept up to date if it can change them.
//!
//! ```text
//! provider asks ─▶ rendered ─▶ a keeper, a task of the volume: waits until a source, a field or a token is another,
//!                               renders again and, if the revision differs, has the provider ask again (update_volume)
//! pod adopted ───▶ update_volume once for each of its volumes: whether the provider has it, and of which revision, is not
//!                               known after a restart; if it asks, the volume is kept as above
//! ```
//!
//! Nothing is read or watched before a provider asks, and nothing is watched for one that has no `volumes`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::PodSpec;
use tokio::sync::{AcquireError, MutexGuard, Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::backoff::Backoff;
use super::events::Events;
use super::index::Index;
use super::lifecycle;
use super::object::{Metadata, PodObject};
use super::resolve::volumes::{self, Rendered};
use super::resolve::{Followed, Resolver};
use super::used::Used;
use crate::defaults::pods::{BACKOFF_FIRST, BACKOFF_LONGEST, VOLUME_UPDATES};
use crate::provider::{Call, Code, Error, Files, PodRef, Provider};

/// The reason of events about volumes, the kubelet's.
const FAILED: &str = "FailedMount";

/// See the module.
pub(super) struct Refresher {
    resolver: Arc<Resolver>,
    provider: Arc<dyn Provider>,
    events: Events,
    index: Arc<Index>,
    /// Updates at once, so that a ConfigMap of all pods keeps no create waiting.
    places: Semaphore,
    /// By UID.
    pods: Mutex<HashMap<String, Arc<Used>>>,
}

/// What a keeper waits on.
#[derive(Default)]
struct Held {
    sources: Vec<Followed>,
    /// Of the pod that the volume was last rendered for; none: it was not rendered yet.
    fields: Option<(Arc<Metadata>, Arc<PodSpec>)>,
    /// When it is to be rendered again in any case.
    due: Option<Instant>,
}

/// How an update went.
enum Update {
    Done,
    /// The provider does not have the pod, or not yet.
    Absent,
    /// The volume cannot change.
    Never,
    /// After so long it may work.
    Later(Duration),
}

impl Refresher {
    pub(super) fn new(
        resolver: Arc<Resolver>,
        provider: Arc<dyn Provider>,
        events: Events,
        index: Arc<Index>,
    ) -> Arc<Self> {
        let places = Semaphore::new(VOLUME_UPDATES);
        Arc::new(Self { resolver, provider, events, index, places, pods: Mutex::default() })
    }

    /// The files of a volume, for a provider that asks for them.
    pub(super) async fn volume(self: &Arc<Self>, pod: &Arc<PodObject>, volume: &str) -> Result<Files, volumes::Error> {
        let used = self.used(pod);
        let rendered = self.resolver.volume(pod, &used.tokens, volume).await;
        match &rendered {
            Ok(rendered) => {
                used.give(volume, &rendered.files.revision);
                if rendered.is_live && self.provider.capabilities().volumes && !is_over(pod) {
                    self.keep(&used, volume, Some((pod, rendered)));
                }
            }
            Err(volumes::Error::Missing(why)) => {
                let why = said(volume, why);
                used.lack(volume, &why);
                self.events.pod_warning(&pod.id(), FAILED, why);
            }
            Err(_) => {}
        }
        rendered.map(|rendered| rendered.files)
    }

    /// What the provider has asked of a pod.
    pub(super) fn used(&self, pod: &Arc<PodObject>) -> Arc<Used> {
        let used = self.pods().entry(pod.uid().to_string()).or_insert_with(|| Arc::new(Used::new(pod))).clone();
        let PodRef { namespace, name, uid } = pod.id();
        if self.index.get(&namespace, &name).is_none_or(|there| there.uid() != uid) {
            // It went meanwhile, and nobody would come to clear up.
            self.forget(&uid);
        }
        used
    }

    /// A pod runs that an earlier process had made.
    pub(super) fn adopt(self: &Arc<Self>, pod: &Arc<PodObject>) {
        if !self.provider.capabilities().volumes || is_over(pod) {
            return;
        }
        for volume in volumes::names(&pod.spec) {
            self.keep(&self.used(pod), volume, None);
        }
    }

    /// News of a pod.
    pub(super) fn see(&self, pod: &Arc<PodObject>) {
        if is_over(pod) {
            return self.forget(pod.uid());
        }
        let used = self.pods().get(pod.uid()).cloned();
        used.into_iter().for_each(|used| used.see(pod));
    }

    /// The pod is gone, or will be.
    pub(super) fn forget(&self, uid: &str) {
        let used = self.pods().remove(uid);
        used.into_iter().for_each(|used| used.end());
    }

    /// The host stops.
    pub(super) fn stop(&self) {
        let all = std::mem::take(&mut *self.pods());
        all.into_values().for_each(|used| used.end());
    }

    /// Why the pod cannot be made for now; none: whatever the provider has asked for was there.
    pub(super) fn missing(&self, uid: &str) -> Option<String> {
        let used = self.pods().get(uid).cloned();
        used.and_then(|used| used.missing())
    }

    /// The pod is about to be made: what is missing now is not known yet.
    pub(super) fn begin(&self, uid: &str) {
        let used = self.pods().get(uid).cloned();
        used.into_iter().for_each(|used| used.forget_missing());
    }

    fn pods(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Used>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a volume a keeper. `given`: what the provider was given just now, and of which state of the pod.
    fn keep(self: &Arc<Self>, used: &Arc<Used>, volume: &str, given: Option<(&PodObject, &Rendered)>) {
        used.keep(volume, || {
            let held = given.map(|(pod, rendered)| Held {
                sources: self.resolver.follow(rendered),
                fields: Some((pod.metadata.clone(), pod.spec.clone())),
                due: rendered.renew_at,
            });
            let keeper = self.clone().keeper(used.clone(), volume.to_string(), held);
            // It outlives the call that asked, and is no part of it.
            let id = used.pod().id();
            let span = tracing::error_span!(parent: None, "pod", pod = %id, uid = %id.uid);
            AbortOnDropHandle::new(tokio::spawn(keeper.instrument(span)))
        });
    }

    /// Keeps a volume up to date until the pod is gone, or the volume is none that changes.
    async fn keeper(self: Arc<Self>, used: Arc<Used>, volume: String, held: Option<Held>) {
        let mut pauses = Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST);
        let mut pods = used.news();
        if held.is_none() && !self.is_used(&used, &volume, &mut pauses).await {
            return used.release(&volume);
        }
        let mut held = held.unwrap_or_default();
        loop {
            held.wait(&mut pods).await;
            match self.refresh(&used, &volume, &mut held, &mut pauses).await {
                Update::Done => pauses.reset(),
                // It may be in the making.
                Update::Absent => held.due = Some(Instant::now() + pauses.pause()),
                Update::Later(pause) => held.due = Some(Instant::now() + pause),
                Update::Never => return used.release(&volume),
            }
        }
    }

    /// Has the provider of an adopted pod look whether it has the volume. Then it asks for it. What fails is no news of the pod: a
    /// backend out of reach is the node's.
    async fn is_used(&self, used: &Used, volume: &str, pauses: &mut Backoff) -> bool {
        loop {
            let update = {
                let _turn = self.turn(used).await;
                self.update(&used.pod(), volume).await
            };
            match update {
                Ok(()) => return used.given(volume).is_some(),
                Err(error) if matches!(error.code, Code::NotFound | Code::Unimplemented) => return false,
                Err(error) => tokio::time::sleep(lifecycle::pause(&error, pauses.pause())).await,
            }
        }
    }

    /// Renders the volume and has the provider take it if it is another.
    async fn refresh(&self, used: &Used, volume: &str, held: &mut Held, pauses: &mut Backoff) -> Update {
        let _turn = self.turn(used).await;
        let pod = used.pod();
        held.fields = Some((pod.metadata.clone(), pod.spec.clone()));
        let rendered = match self.resolver.volume(&pod, &used.tokens, volume).await {
            Ok(rendered) => rendered,
            Err(error) => {
                self.events.pod_warning(&pod.id(), FAILED, said(volume, &error.to_string()));
                return Update::Later(pauses.pause());
            }
        };
        held.due = rendered.renew_at;
        if held.sources.is_empty() {
            held.sources = self.resolver.follow(&rendered);
        }
        let (before, revision) = (used.given(volume), &rendered.files.revision);
        if before.as_ref() == Some(revision) {
            return Update::Done;
        }
        match self.update(&pod, volume).await {
            Ok(()) => {
                // A provider that has asked for it meanwhile may have a later one than this.
                if used.given(volume) == before {
                    used.give(volume, revision);
                }
                Update::Done
            }
            Err(error) => {
                // It may have asked for the files and not have put them in place.
                used.take_back(volume);
                self.not_updated(&pod.id(), volume, &error, pauses)
            }
        }
    }

    fn not_updated(&self, id: &PodRef, volume: &str, error: &Error, pauses: &mut Backoff) -> Update {
        match error.code {
            Code::NotFound => return Update::Absent,
            Code::Unimplemented => return Update::Never,
            // The host or the plugin's next build wished it.
            Code::Cancelled => {}
            _ => self.events.pod_warning(id, FAILED, format!("update of volume {volume:?} failed: {error}")),
        }
        Update::Later(lifecycle::pause(error, pauses.pause()))
    }

    /// One call about a pod's volumes at a time, and few about all pods'.
    async fn turn<'a>(&'a self, used: &'a Used) -> (MutexGuard<'a, ()>, Result<SemaphorePermit<'a>, AcquireError>) {
        (used.turn.lock().await, self.places.acquire().await)
    }

    async fn update(&self, pod: &PodObject, volume: &str) -> Result<(), Error> {
        let desired = self.resolver.unresolved(pod);
        let updated = self.provider.update_volume(Call::uncancelled(), desired, volume).await;
        match &updated {
            Ok(()) => tracing::debug!(volume, "volume is up to date"),
            Err(error) => tracing::debug!(volume, %error, "volume not updated"),
        }
        updated
    }
}

impl Held {
    /// Waits until the volume may be another.
    async fn wait(&mut self, pods: &mut watch::Receiver<Arc<PodObject>>) {
        let Self { sources, fields, due } = self;
        tokio::select! {
            () = any_changes(sources) => {}
            () = fields_change(pods, fields.as_ref()) => {}
            () = sleep_until_some(*due) => {}
        }
    }
}

async fn any_changes(sources: &mut [Followed]) {
    if sources.is_empty() {
        return std::future::pending().await;
    }
    futures::future::select_all(sources.iter_mut().map(|source| Box::pin(source.changed()))).await;
}

/// Waits until what files can show of a pod is another. Its status, which changes most often, no file shows.
async fn fields_change(pods: &mut watch::Receiver<Arc<PodObject>>, known: Option<&(Arc<Metadata>, Arc<PodSpec>)>) {
    let same = |pod: &PodObject| {
        known.is_some_and(|(metadata, spec)| {
            metadata.labels == pod.metadata.labels
                && metadata.annotations == pod.metadata.annotations
                && Arc::ptr_eq(spec, &pod.spec)
        })
    };
    // The state of now counts, heard of or not.
    while same(&pods.borrow_and_update()) {
        if pods.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn sleep_until_some(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Its files matter to nobody any more.
fn is_over(pod: &PodObject) -> bool {
    pod.is_terminal() || pod.is_deleting()
}

/// As the kubelet says it.
fn said(volume: &str, why: &str) -> String {
    format!("MountVolume.SetUp failed for volume {volume:?} : {why}")
}

#[cfg(test)]
mod tests;
