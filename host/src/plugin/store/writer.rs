//! The one thread that changes the store.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::disk::{self, Disk};
use super::image::{Change, Image, Kept, size};
use super::{Bounds, Entry, Expect, Failure, Shared};

/// Writes in one commit at most, and about how many bytes: bounds the memory of a commit and the wait of its first write.
const BATCH: usize = 4096;
const BATCH_BYTES: usize = 16 << 20;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Task {
    /// One write.
    Write(Order),
    /// Copies what is on disk.
    Export(PathBuf, oneshot::Sender<Result<(), Failure>>),
    /// Puts such a copy in the file's place.
    Restore(PathBuf, oneshot::Sender<Result<(), Failure>>),
}

/// To whoever waits for a write.
type Reply = oneshot::Sender<Result<u64, Failure>>;

/// A write that waits for its commit.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) key: Arc<str>,
    pub(super) expect: Expect,
    /// none: remove.
    pub(super) put: Option<(Bytes, Option<Instant>)>,
    pub(super) reply: Reply,
}

/// What a batch has decided and not yet shown.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    /// The last change of each key, by its place in `changes`.
    last: HashMap<Arc<str>, usize>,
    replies: Vec<(Reply, Result<u64, Failure>)>,
    /// Bytes of the share after the batch.
    bytes: u64,
    newest: u64,
    /// Something in it has to be on disk.
    durable: bool,
}

/// Starts the thread. It ends when every sender of orders is gone.
pub(super) fn spawn(
    disk: Disk,
    shared: Arc<Shared>,
    inbox: Receiver<Task>,
    bounds: Bounds,
) -> std::io::Result<JoinHandle<()>> {
    let path = disk.path().to_owned();
    std::thread::Builder::new()
        .name("plugin-store".into())
        .spawn(move || Writer { disk: Some(disk), path, shared, bounds }.run(&inbox))
}

struct Writer {
    /// None after a failed commit: redb refuses all later ones, so the file is opened anew before the next.
    disk: Option<Disk>,
    path: PathBuf,
    shared: Arc<Shared>,
    bounds: Bounds,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Task>) {
        while let Some((orders, then)) = self.gather(inbox) {
            self.write(orders);
            // A caller that was dropped does not want to know.
            match then {
                Some(Task::Export(to, reply)) => drop(reply.send(self.export(&to).map_err(Failure::Unavailable))),
                Some(Task::Restore(from, reply)) => drop(reply.send(self.restore(&from).map_err(Failure::Unavailable))),
                Some(Task::Write(_)) | None => {}
            }
        }
    }

    /// Waits for writes or for an expiry; what is no write comes after those before it. none: nobody can write any more.
    fn gather(&self, inbox: &Receiver<Task>) -> Option<(Vec<Order>, Option<Task>)> {
        // While the file cannot be written nothing expires for good, and waiting for it would never wait.
        let expiry = self.disk.as_ref().and_then(|_| self.shared.read().next_expiry());
        let first = match expiry {
            None => Some(inbox.recv().ok()?),
            Some(expires) => match inbox.recv_timeout(expires.saturating_duration_since(Instant::now())) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return None,
            },
        };
        let mut bytes = 0;
        let mut orders = Vec::new();
        let mut next = first;
        while let Some(task) = next {
            let Task::Write(order) = task else { return Some((orders, Some(task))) };
            bytes += order.put.as_ref().map_or(0, |(value, _)| value.len());
            orders.push(order);
            next = if orders.len() < BATCH && bytes < BATCH_BYTES { inbox.try_recv().ok() } else { None };
        }
        Some((orders, None))
    }

    fn export(&mut self, to: &Path) -> Result<(), String> {
        self.reopen()?;
        self.disk.as_ref().map_or(Ok(()), |disk| disk.export(to).map_err(|e| e.to_string()))
    }

    /// Whenever it is killed meanwhile, the file is the one or the other.
    fn restore(&mut self, from: &Path) -> Result<(), String> {
        self.disk = None;
        disk::put_in_place(from, &self.path).map_err(|e| e.to_string())?;
        self.reopen()
    }

    fn write(&mut self, orders: Vec<Order>) {
        if let Err(message) = self.reopen() {
            for order in orders {
                let _ = order.reply.send(Err(Failure::Unavailable(message.clone())));
            }
            return;
        }
        let batch = self.decide(orders);
        let floor = self.shared.read().floor();
        let committed = match &mut self.disk {
            Some(disk) if batch.durable || !disk.covers(batch.newest) => {
                self.shared.commits.fetch_add(1, Ordering::Relaxed);
                disk.commit(&batch.changes, batch.newest, floor)
            }
            _ => Ok(()),
        };
        match committed {
            Ok(()) => self.show(batch),
            Err(e) => {
                tracing::error!(file = %self.path.display(), error = %e, "the plugin's store cannot be written");
                self.disk = None;
                for (reply, _) in batch.replies {
                    let _ = reply.send(Err(Failure::Unavailable(format!("the store cannot be written: {e}"))));
                }
            }
        }
    }

    /// Takes up a file that failed. Whether its last commit is in it only the file knows, so all of it is read again.
    fn reopen(&mut self) -> Result<(), String> {
        if self.disk.is_some() {
            return Ok(());
        }
        let (disk, mut image) = Disk::open(&self.path, self.bounds.removals).map_err(|e| e.to_string())?;
        // No revision comes twice, not even where the file is one from before.
        image.raise_newest(self.shared.read().newest());
        image.raise_floor();
        let newest = image.newest();
        *self.shared.image.write().unwrap_or_else(PoisonError::into_inner) = image;
        self.shared.newest.send_replace(newest);
        self.disk = Some(disk);
        Ok(())
    }

    fn decide(&self, orders: Vec<Order>) -> Batch {
        let image = self.shared.read();
        let now = Instant::now();
        let mut batch = Batch { bytes: image.bytes(), newest: image.newest(), ..Batch::default() };
        for key in image.expired(now) {
            batch.change(&image, key, None);
        }
        for Order { key, expect, put, reply } in orders {
            let answer = batch.decide(&image, &self.bounds, now, key, expect, put);
            batch.replies.push((reply, answer));
        }
        batch
    }

    fn show(&mut self, batch: Batch) {
        let (mut forgotten, mut covered) = (Vec::new(), Vec::new());
        {
            let mut image = self.shared.image.write().unwrap_or_else(PoisonError::into_inner);
            for change in batch.changes {
                let in_memory = change.kept.as_ref().is_some_and(|kept| kept.expires.is_some());
                let key = Arc::clone(&change.key);
                let removals = image.apply(change);
                if in_memory {
                    covered.extend(removals.into_iter().map(|removal| (Arc::clone(&key), removal)));
                } else {
                    forgotten.extend(removals);
                }
            }
        }
        if let Some(disk) = &mut self.disk {
            disk.forget(forgotten);
            covered.into_iter().for_each(|(key, removal)| disk.cover(key, removal));
        }
        self.shared.newest.send_if_modified(|newest| std::mem::replace(newest, batch.newest) != batch.newest);
        for (reply, answer) in batch.replies {
            // A caller that was dropped does not want to know; its write happened all the same.
            let _ = reply.send(answer);
        }
    }
}

impl Batch {
    /// What the key holds for the next write: what the batch made of it, or else what readers see.
    fn kept<'a>(&'a self, image: &'a Image, key: &str) -> Option<&'a Kept> {
        match self.last.get(key).and_then(|at| self.changes.get(*at)) {
            Some(change) => change.kept.as_ref(),
            None => image.kept(key),
        }
    }

    fn decide(
        &mut self,
        image: &Image,
        bounds: &Bounds,
        now: Instant,
        key: Arc<str>,
        expect: Expect,
        put: Option<(Bytes, Option<Instant>)>,
    ) -> Result<u64, Failure> {
        let kept = self.kept(image, &key).filter(|kept| kept.lives(now));
        let revision = kept.map(|kept| kept.revision);
        let fits = match expect {
            Expect::Anything => true,
            Expect::Absent => revision.is_none(),
            Expect::Revision(expected) => revision == Some(expected),
        };
        if !fits {
            return Err(Failure::Conflict(
                kept.map(|kept| Entry { value: kept.value.clone(), revision: kept.revision }),
            ));
        }
        if put.is_none() && revision.is_none() {
            return Ok(self.newest);
        }
        if let Some((value, _)) = &put {
            let freed = self.kept(image, &key).map_or(0, |kept| size(&key, &kept.value));
            let after = self.bytes.saturating_sub(freed).saturating_add(size(&key, value));
            if after > bounds.share {
                return Err(Failure::Quota);
            }
        }
        Ok(self.change(image, key, put))
    }

    fn change(&mut self, image: &Image, key: Arc<str>, put: Option<(Bytes, Option<Instant>)>) -> u64 {
        self.newest = self.newest.saturating_add(1);
        let revision = self.newest;
        let old = self.kept(image, &key);
        // What is on disk stays there until a commit takes it away, so a change of it has to be one.
        let on_disk = |kept: Option<&Kept>| kept.is_some_and(|kept| kept.expires.is_none());
        let durable =
            on_disk(old) || on_disk(image.kept(&key)) || put.as_ref().is_some_and(|(_, expires)| expires.is_none());
        self.bytes = self.bytes.saturating_sub(old.map_or(0, |kept| size(&key, &kept.value)));
        let kept = put.map(|(value, expires)| Kept { value, revision, expires });
        self.bytes = self.bytes.saturating_add(kept.as_ref().map_or(0, |kept| size(&key, &kept.value)));
        self.durable |= durable;
        self.last.insert(Arc::clone(&key), self.changes.len());
        self.changes.push(Change { key, revision, kept });
        revision
    }
}
