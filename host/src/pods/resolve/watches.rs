//! Watches of ConfigMaps and Secrets, one an object, for all who use it and no longer than that.
//!
//! ```text
//! read by a pod ─▶ follow ─▶ list and watch `metadata.name=NAME` ─▶ followers hear of each change
//!                    │ immutable: never watched              │ refused: read anew every minute
//!                                                            │ cannot be opened: listed anew at growing pauses
//! ```
//!
//! The watches are not kube's own: those do not tell whether one is open, and what is thought to be watched is not read.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::objects::{Data, Key, Kind, Lookup, Objects, READ_TIMEOUT};
use crate::apiserver::{innermost, timed};
use crate::defaults::pods::{BACKOFF_FIRST, BACKOFF_LONGEST, REREAD_PERIOD};
use crate::pods::backoff::Backoff;

/// After how long the API server ends a watch, so that none is kept for somebody who has gone: what kube's own have.
const WATCH_SECONDS: u32 = 290;

/// The watch of one object. It ends with the last who follows it.
pub(super) struct Watch {
    key: Key,
    objects: Weak<Objects>,
    told: watch::Receiver<Known>,
    _task: Option<AbortOnDropHandle<()>>,
}

/// What is known of the object.
struct Known {
    found: Arc<Lookup>,
    /// Whoever asks now need not read: the watch tells each change, or there will be none.
    current: bool,
}

/// Somebody's use of an object.
pub(in crate::pods) struct Followed {
    told: watch::Receiver<Known>,
    _watch: Arc<Watch>,
}

impl Followed {
    /// Waits until the object is another than when it was followed, or when this returned last.
    pub(in crate::pods) async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            // Nobody watches any more: it is immutable.
            std::future::pending::<()>().await;
        }
    }
}

impl Watch {
    /// The object as it is now; none: it has to be read.
    pub(super) fn known(&self) -> Option<Arc<Lookup>> {
        let known = self.told.borrow();
        known.current.then(|| known.found.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(objects) = self.objects.upgrade() else { return };
        let mut followed = objects.followed();
        // Another one may have taken its place.
        if followed.get(&self.key).is_some_and(|watch| watch.strong_count() == 0) {
            followed.remove(&self.key);
        }
    }
}

impl Objects {
    /// Follows an object; `found` is what its follower has of it.
    pub(super) fn follow(self: &Arc<Self>, key: Key, found: Arc<Lookup>) -> Followed {
        let watch = self.watch(key, &found);
        let mut told = watch.told.clone();
        if *told.borrow_and_update().found != *found {
            told.mark_changed();
        }
        Followed { told, _watch: watch }
    }

    fn watch(self: &Arc<Self>, key: Key, found: &Arc<Lookup>) -> Arc<Watch> {
        let mut followed = self.followed();
        if let Some(watch) = followed.get(&key).and_then(Weak::upgrade) {
            return watch;
        }
        let immutable = found.is_immutable();
        let (to, told) = watch::channel(Known { found: found.clone(), current: immutable });
        let task = (!immutable).then(|| AbortOnDropHandle::new(tokio::spawn(run(self.clone(), key.clone(), to))));
        let watch = Arc::new(Watch { key: key.clone(), objects: Arc::downgrade(self), told, _task: task });
        followed.insert(key, Arc::downgrade(&watch));
        watch
    }
}

/// How a watch has ended by itself.
enum End {
    /// There is nothing more to hear.
    Immutable,
    /// Its time was over.
    Closed,
}

/// Tells each change until there can be none.
async fn run(objects: Arc<Objects>, key: Key, to: watch::Sender<Known>) {
    let mut listener = Listener::new(&key, &to);
    loop {
        let end = match key.kind {
            Kind::ConfigMap => listener.listen(objects.api::<ConfigMap>(&key)).await,
            Kind::Secret => listener.listen(objects.api::<Secret>(&key)).await,
        };
        if matches!(end, Ok(End::Immutable)) {
            return;
        }
        // Until it is watched again, whoever asks reads.
        set_current(&to, false);
        match end {
            Ok(_) => tokio::time::sleep(listener.pauses.pause()).await,
            Err(error) if is_refusal(&error) => {
                listener.complain(&error);
                tokio::time::sleep(REREAD_PERIOD).await;
                let found = objects.read(&key).await;
                // Not read is not absent: what was known stays known.
                if matches!(*found, Lookup::Failed(_)) {
                    continue;
                }
                let immutable = found.is_immutable();
                tell(&to, found);
                if immutable {
                    return set_current(&to, true);
                }
            }
            Err(error) => {
                tracing::debug!(name = key.name, %error, "watch interrupted");
                if listener.heard.elapsed() >= REREAD_PERIOD {
                    listener.complain(&error);
                }
                // The next one begins with a list, so that a change is heard of though no watch can be opened.
                tokio::time::sleep(listener.pauses.pause()).await;
            }
        }
    }
}

/// Lists and watches one object. Both carry its name, without which the Node authorizer refuses them.
struct Listener<'a> {
    key: &'a Key,
    to: &'a watch::Sender<Known>,
    fields: String,
    /// Up to which changes were told; none: it has to be listed.
    version: Option<String>,
    pauses: Backoff,
    /// When a watch was open last.
    heard: Instant,
    /// It was told that none can be opened.
    complained: bool,
}

impl<'a> Listener<'a> {
    fn new(key: &'a Key, to: &'a watch::Sender<Known>) -> Self {
        Self {
            key,
            to,
            fields: format!("metadata.name={}", key.name),
            version: None,
            pauses: Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST),
            heard: Instant::now(),
            complained: false,
        }
    }

    /// One watch, from where the last one ended well.
    async fn listen<K>(&mut self, api: Api<K>) -> kube::Result<End>
    where
        K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        Data: From<K>,
    {
        // An error leaves none: what is missed while nobody watches is found by a list.
        let version = match self.version.take() {
            Some(version) => version,
            None => {
                let list = timed(READ_TIMEOUT, api.list(&ListParams::default().fields(&self.fields))).await?;
                if self.found(list.items.into_iter().next()) {
                    return Ok(End::Immutable);
                }
                list.metadata.resource_version.unwrap_or_default()
            }
        };
        let params = WatchParams::default().fields(&self.fields).timeout(WATCH_SECONDS);
        let events = timed(READ_TIMEOUT, api.watch(&params, &version)).await?;
        self.opened();
        // One that ends much later than the API server was told to is one that it does not know of any more.
        let limit = Duration::from_secs(WATCH_SECONDS.into()) + READ_TIMEOUT;
        let end = timed(limit, self.hear(version, events)).await;
        self.heard = Instant::now();
        end
    }

    /// From now on each change is told.
    fn opened(&mut self) {
        set_current(self.to, true);
        self.pauses.reset();
        self.complained = false;
    }

    async fn hear<K>(
        &mut self,
        mut version: String,
        events: impl Stream<Item = kube::Result<WatchEvent<K>>>,
    ) -> kube::Result<End>
    where
        K: kube::Resource,
        Data: From<K>,
    {
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            let (object, at) = match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let at = object.meta().resource_version.clone();
                    (Some(object), at)
                }
                WatchEvent::Deleted(object) => (None, object.meta().resource_version.clone()),
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            };
            version = at.unwrap_or_default();
            if self.found(object) {
                return Ok(End::Immutable);
            }
        }
        self.version = Some(version);
        Ok(End::Closed)
    }

    /// Tells it; whether it will never be another.
    fn found<K>(&self, object: Option<K>) -> bool
    where
        Data: From<K>,
    {
        let found = object.map_or(Lookup::Absent, |object| Lookup::Found(Data::from(object)));
        let immutable = found.is_immutable();
        tell(self.to, Arc::new(found));
        if immutable {
            set_current(self.to, true);
        }
        immutable
    }

    fn complain(&mut self, error: &kube::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            let Key { kind, namespace, name } = self.key;
            let (kind, cause) = (kind.name(), innermost(error));
            tracing::warn!(kind, namespace, name, cause, "cannot be watched; read every {REREAD_PERIOD:?} instead");
        }
    }
}

/// Its followers hear of it only if it is another.
fn tell(to: &watch::Sender<Known>, found: Arc<Lookup>) {
    to.send_if_modified(|known| {
        let differs = *known.found != *found;
        if differs {
            known.found = found;
        }
        differs
    });
}

/// Of no interest to its followers.
fn set_current(to: &watch::Sender<Known>, current: bool) {
    to.send_if_modified(|known| {
        known.current = current;
        false
    });
}

fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

#[cfg(test)]
mod tests;
