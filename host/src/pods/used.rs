//! What a provider has asked of one pod: which volumes and as of which revision, the tokens in them, and how much it has said.
//! It is known for as long as the pod is there, and no request is made for a provider that asks for nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::object::PodObject;
use super::resolve::Tokens;
use super::spam::SpamFilter;

/// See the module.
pub(super) struct Used {
    pod: watch::Sender<Arc<PodObject>>,
    pub(super) tokens: Tokens,
    /// One call about the pod's volumes at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    filter: Mutex<SpamFilter>,
    /// By name; none: the pod is gone, and nothing of it is kept any more.
    volumes: Mutex<Option<HashMap<String, Use>>>,
}

/// One volume.
#[derive(Default)]
struct Use {
    /// The revision that the provider was given last; none: it has none, or that of an earlier process.
    given: Option<String>,
    /// Why it could not be given when it was last asked for.
    missing: Option<String>,
    /// Keeps it up to date.
    keeper: Option<AbortOnDropHandle<()>>,
}

impl Used {
    pub(super) fn new(pod: &Arc<PodObject>) -> Self {
        Self {
            pod: watch::Sender::new(pod.clone()),
            tokens: Tokens::default(),
            turn: tokio::sync::Mutex::new(()),
            filter: Mutex::new(SpamFilter::new()),
            volumes: Mutex::new(Some(HashMap::new())),
        }
    }

    /// The pod as it was last told.
    pub(super) fn pod(&self) -> Arc<PodObject> {
        self.pod.borrow().clone()
    }

    /// News of the pod.
    pub(super) fn see(&self, pod: &Arc<PodObject>) {
        self.pod.send_replace(pod.clone());
    }

    pub(super) fn news(&self) -> watch::Receiver<Arc<PodObject>> {
        self.pod.subscribe()
    }

    /// Whether the provider may say something of the pod once more.
    pub(super) fn may_speak(&self) -> bool {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner).lets_through()
    }

    pub(super) fn given(&self, volume: &str) -> Option<String> {
        self.volumes().as_ref()?.get(volume)?.given.clone()
    }

    /// The provider has this revision now.
    pub(super) fn give(&self, volume: &str, revision: &str) {
        self.with(volume, |used| {
            used.given = Some(revision.to_string());
            used.missing = None;
        });
    }

    /// What the provider has is not known any more.
    pub(super) fn take_back(&self, volume: &str) {
        self.with(volume, |used| used.given = None);
    }

    /// The provider could not be given what it asked for.
    pub(super) fn lack(&self, volume: &str, why: &str) {
        self.with(volume, |used| used.missing = Some(why.to_string()));
    }

    /// Why some volume could not be given when it was last asked for.
    pub(super) fn missing(&self) -> Option<String> {
        self.volumes().as_ref()?.values().find_map(|used| used.missing.clone())
    }

    /// What was missing may be there now; it will be asked for again.
    pub(super) fn forget_missing(&self) {
        self.volumes().iter_mut().flat_map(HashMap::values_mut).for_each(|used| used.missing = None);
    }

    /// Sees to it that a volume has a keeper.
    pub(super) fn keep(&self, volume: &str, keeper: impl FnOnce() -> AbortOnDropHandle<()>) {
        self.with(volume, |used| {
            if used.keeper.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
                used.keeper = Some(keeper());
            }
        });
    }

    /// The provider does not have the volume, or not so that it changes. Ends its keeper.
    pub(super) fn release(&self, volume: &str) {
        if let Some(volumes) = &mut *self.volumes() {
            volumes.remove(volume);
        }
    }

    /// The pod is gone: ends all keepers.
    pub(super) fn end(&self) {
        self.volumes().take();
    }

    fn with(&self, volume: &str, change: impl FnOnce(&mut Use)) {
        if let Some(volumes) = &mut *self.volumes() {
            change(volumes.entry(volume.to_string()).or_default());
        }
    }

    fn volumes(&self) -> MutexGuard<'_, Option<HashMap<String, Use>>> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
