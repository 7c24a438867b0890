//! Watches of ConfigMaps and Secrets, one an object, for all who use it and no longer than that.
//!
//! ```text
//! read by a pod ─▶ follow ─▶ list and watch `metadata.name=NAME` ─▶ followers hear of each change
//!                    │ immutable: never watched              │ refused: read anew every minute
//! ```

use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Weak};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::objects::{Data, Key, Kind, Lookup, Objects};
use crate::defaults::pods::REREAD_PERIOD;

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

/// Why a watch has ended.
enum End {
    Immutable,
    Refused(String),
}

/// Tells each change until there can be none.
async fn run(objects: Arc<Objects>, key: Key, to: watch::Sender<Known>) {
    let mut said = false;
    loop {
        let end = match key.kind {
            Kind::ConfigMap => listen(objects.api::<ConfigMap>(&key), &key.name, &to).await,
            Kind::Secret => listen(objects.api::<Secret>(&key), &key.name, &to).await,
        };
        let End::Refused(cause) = end else { return };
        if !std::mem::replace(&mut said, true) {
            let (kind, namespace, name) = (key.kind.name(), &key.namespace, &key.name);
            tracing::warn!(kind, namespace, name, cause, "watch refused; reading it every {REREAD_PERIOD:?} instead");
        }
        to.send_if_modified(|known| {
            known.current = false;
            false
        });
        tokio::time::sleep(REREAD_PERIOD).await;
        let found = objects.read(&key).await;
        // Not read is not absent: what was known stays known.
        if matches!(*found, Lookup::Failed(_)) {
            continue;
        }
        let immutable = found.is_immutable();
        tell(&to, found, immutable);
        if immutable {
            return;
        }
    }
}

/// Lists and watches one object. Both carry its name, without which the Node authorizer refuses them.
async fn listen<K>(api: Api<K>, name: &str, to: &watch::Sender<Known>) -> End
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    Data: From<K>,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut listed = None;
    while let Some(event) = events.next().await {
        let object = match event {
            Ok(watcher::Event::Init) => {
                listed = None;
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed = Some(object);
                continue;
            }
            Ok(watcher::Event::InitDone) => listed.take(),
            Ok(watcher::Event::Apply(object)) => Some(object),
            Ok(watcher::Event::Delete(_)) => None,
            Err(error) if is_refusal(&error) => return End::Refused(error.to_string()),
            Err(error) => {
                tracing::debug!(name, %error, "watch interrupted");
                continue;
            }
        };
        let found = object.map_or(Lookup::Absent, |object| Lookup::Found(Data::from(object)));
        let immutable = found.is_immutable();
        tell(to, Arc::new(found), true);
        if immutable {
            return End::Immutable;
        }
    }
    End::Refused("the watch has ended by itself".into())
}

/// Its followers hear of it only if it is another.
fn tell(to: &watch::Sender<Known>, found: Arc<Lookup>, current: bool) {
    to.send_if_modified(|known| {
        known.current = current;
        let differs = *known.found != *found;
        if differs {
            known.found = found;
        }
        differs
    });
}

fn is_refusal(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => status.code == 403,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pods::played::ApiServer;

    #[tokio::test(start_paused = true)]
    async fn whoever_follows_with_what_is_outworn_hears_of_it_at_once() {
        let server = Arc::<ApiServer>::default();
        let objects = Arc::new(Objects::new(server.client()));
        let key = Key { kind: Kind::Secret, namespace: "default".into(), name: "s".into() };
        server.put("secrets", "s", json!({"data": {"key": "b25l"}}));
        let old = objects.read(&key).await;
        let mut first = objects.follow(key.clone(), old.clone());
        server.put("secrets", "s", json!({"data": {"key": "dHdv"}}));
        first.changed().await;
        let mut second = objects.follow(key.clone(), old);
        second.changed().await;
        let new = objects.get(&key).await;
        let mut third = objects.follow(key, new);
        let hears = tokio::time::timeout(std::time::Duration::from_secs(60), third.changed());
        assert!(hears.await.is_err(), "it has what there is");
        assert_eq!(server.asked(), ["get secrets/s", "list secrets/s", "watch secrets/s"]);
    }
}
