//! What a plugin remembers: a small key-value store with one order of changes, kept in one redb file a plugin.
//!
//! The whole content is held in memory ([`image`]) and read from there; the file is only written, and read once at the start.
//! A thread of its own writes ([`writer`]): it takes all writes that have gathered, decides each in order, commits them
//! together and only then shows and acknowledges them. So a reader never sees what a crash could take back.
//!
//! ```text
//! put/remove ──queue──▶ writer: decide all ▶ one commit (fsync) ▶ image ▶ acknowledge, wake watchers
//! get/keys/scan/since ◀────────────────────────────────────────── image
//! ```
//!
//! Entries with a time to live stay in memory. Revisions never repeat, not even those of entries that a crash took:
//! the file holds a ceiling that lies ahead of every number in use, and each start goes on from there.

mod disk;
mod image;
mod lock;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use image::Image;
pub use lock::{Lock, Wait};
use writer::{Order, Task};

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes that were put.
    pub value: Bytes,
    /// Of the write; one number orders all writes and removals of the store.
    pub revision: u64,
}

/// What a write takes for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Anything,
    /// The key holds nothing.
    Absent,
    /// The key was last written with this revision.
    Revision(u64),
}

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The key is not as expected; what it is.
    #[error("the key is not as expected")]
    Conflict(Option<Entry>),
    /// Key or value is longer than the bounds allow, now and ever.
    #[error("the key or value is too long")]
    TooLong,
    /// The share is full.
    #[error("the share is full")]
    Quota,
    /// The revision is too old to be told from, or was never given out.
    #[error("the revision is outworn: scan again")]
    Outworn,
    /// The disk fails, or the store is closed.
    #[error("{0}")]
    Unavailable(String),
}

/// What happened under a prefix after a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Give it to the next call: the newest revision when nothing more is to come, else that of the last change told.
    pub revision: u64,
    /// Oldest first; none: removed or expired.
    pub changed: Vec<(Arc<str>, Option<Entry>)>,
}

/// Bounds of one store.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest key, in bytes.
    pub key: usize,
    /// Longest value, in bytes.
    pub value: usize,
    /// All keys and values together, in bytes, and 150 an entry.
    pub share: u64,
    /// Removals that [`Store::since`] can still tell.
    pub removals: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        use crate::defaults::store;
        Self { key: store::KEY, value: store::VALUE, share: store::SHARE, removals: store::REMOVALS }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another process uses it; stop that one, or give this one its own state directory")]
    Locked,
    /// The file is not a store, or a damaged one.
    #[error("it is damaged ({0}); move it away to start with an empty one, or bring back a copy")]
    Corrupt(String),
    /// Written by a version that this one does not know.
    #[error("it has format {0}, which this version does not know; use the version that wrote it")]
    Format(u64),
    /// The file system says no.
    #[error("{0}")]
    Io(String),
}

/// A plugin's store. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// None once it is closed. Dropping the sender ends the writer.
    orders: Mutex<Option<mpsc::Sender<Task>>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    locks: lock::Queues,
    bounds: Bounds,
}

/// What the writer shares with the readers.
#[derive(Debug)]
struct Shared {
    image: RwLock<Image>,
    /// The newest revision that readers can see; tells watchers to look again.
    newest: watch::Sender<u64>,
    commits: AtomicU64,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Image> {
        // The image is never left half changed by a panic: every change is a sequence of infallible map operations.
        self.image.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Opens or makes the file, and its directory. Blocks: reads all of it.
    pub fn open(path: &Path, bounds: Bounds) -> Result<Self, OpenError> {
        let (disk, image) = disk::Disk::open(path, bounds.removals)?;
        let newest = watch::Sender::new(image.newest());
        let shared = Arc::new(Shared { image: RwLock::new(image), newest, commits: AtomicU64::new(0) });
        let (orders, inbox) = mpsc::channel();
        let writer =
            writer::spawn(disk, Arc::clone(&shared), inbox, bounds).map_err(|e| OpenError::Io(e.to_string()))?;
        Ok(Self(Arc::new(Inner {
            shared,
            orders: Mutex::new(Some(orders)),
            writer: Mutex::new(Some(writer)),
            locks: lock::Queues::default(),
            bounds,
        })))
    }

    /// none: absent or expired.
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.0.shared.read().get(key, Instant::now())
    }

    /// Returns the new revision, once it is on disk. With a time to live it is kept in memory alone.
    pub async fn put(&self, key: &str, value: Bytes, expect: Expect, ttl: Option<Duration>) -> Result<u64, Failure> {
        if key.len() > self.0.bounds.key || value.len() > self.0.bounds.value {
            return Err(Failure::TooLong);
        }
        let expires = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        self.order(key, expect, Some((value, expires))).await
    }

    /// Absent is success where `expect` allows it.
    pub async fn remove(&self, key: &str, expect: Expect) -> Result<(), Failure> {
        self.order(key, expect, None).await.map(drop)
    }

    async fn order(&self, key: &str, expect: Expect, put: Option<(Bytes, Option<Instant>)>) -> Result<u64, Failure> {
        self.ask(|reply| Task::Write(Order { key: key.into(), expect, put, reply })).await
    }

    /// Copies what is on disk, after all earlier writes, into a file of the same directory: whole or not at all. What has a time
    /// to live is in memory and stays out.
    pub async fn export(&self, to: &Path) -> Result<(), Failure> {
        self.ask(|reply| Task::Export(to.to_owned(), reply)).await
    }

    /// Goes back to such a copy, which becomes the store's own file. Every earlier revision is outworn then, and what had a time
    /// to live is gone.
    pub async fn restore(&self, from: &Path) -> Result<(), Failure> {
        self.ask(|reply| Task::Restore(from.to_owned(), reply)).await
    }

    async fn ask<R>(&self, task: impl FnOnce(oneshot::Sender<Result<R, Failure>>) -> Task) -> Result<R, Failure> {
        let closed = || Failure::Unavailable("the store is closed".into());
        let (reply, answer) = oneshot::channel();
        {
            let orders = self.0.orders.lock().unwrap_or_else(PoisonError::into_inner);
            orders.as_ref().ok_or_else(closed)?.send(task(reply)).map_err(|_| closed())?;
        }
        answer.await.map_err(|_| closed())?
    }

    /// Keys in order, at most 1000, later than `after`.
    pub fn keys(&self, prefix: &str, after: Option<&str>) -> Vec<String> {
        self.0.shared.read().keys(prefix, after, Instant::now())
    }

    /// As [`Self::keys`], with what they hold; at most 500 or 1 MiB.
    pub fn scan(&self, prefix: &str, after: Option<&str>) -> Vec<(Arc<str>, Entry)> {
        self.0.shared.read().scan(prefix, after, Instant::now())
    }

    /// The newest revision that readers can see.
    pub fn revision(&self) -> u64 {
        self.0.shared.read().newest()
    }

    /// Writes, removals and expiries later than `revision`, oldest first, at most 500 or 1 MiB.
    pub fn since(&self, prefix: &str, revision: u64) -> Result<News, Failure> {
        self.0.shared.read().since(prefix, revision)
    }

    /// Tells when [`Self::since`] has something.
    pub fn watch(&self, prefix: &str, revision: u64) -> Watch {
        Watch {
            shared: Arc::clone(&self.0.shared),
            newest: self.0.shared.newest.subscribe(),
            prefix: prefix.into(),
            revision,
        }
    }

    /// A place in the queue for a name.
    pub fn acquire(&self, name: &str, ttl: Duration) -> Lock {
        self.0.locks.join(name, ttl)
    }

    /// How many commits there were, for metrics and tests.
    pub fn commits(&self) -> u64 {
        self.0.shared.commits.load(Ordering::Relaxed)
    }

    /// Writes what is queued and closes the file. Blocks until that is done. Later writes are refused; reads go on from memory.
    pub fn close(&self) {
        drop(self.0.orders.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A writer that panicked has dropped its file already.
            let _ = writer.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer must have let go of the file when the last handle is gone, or the same file could not be opened again.
        drop(self.orders.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }
}

/// Waits for news under a prefix.
#[derive(Clone, Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    newest: watch::Receiver<u64>,
    prefix: Arc<str>,
    /// Nothing under the prefix changed up to here, seen from the revision that was asked for.
    revision: u64,
}

impl Watch {
    /// Returns once `since` has something, be it that the revision is outworn.
    pub async fn ready(&mut self) {
        loop {
            let newest = *self.newest.borrow_and_update();
            {
                let image = self.shared.read();
                if image.outworn(self.revision) || image.has_news(&self.prefix, self.revision) {
                    return;
                }
            }
            // What was looked at need not be looked at again; a sleeping watch must not become outworn by that alone.
            self.revision = self.revision.max(newest);
            if self.newest.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
