//! The store's content in memory, and the index of its changes. No clock and no file: both are told to it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::{Entry, Failure, News};

/// Keys in one page of `keys`.
const KEYS: usize = 1000;
/// Entries in one page of `scan` and `since`.
const ENTRIES: usize = 500;
/// Bytes of keys and values in one page of `scan` and `since`; the first entry is given whatever its size.
const PAGE: usize = 1 << 20;

/// What an entry takes besides its bytes, about.
const OVERHEAD: u64 = 150;

/// An entry as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) value: Bytes,
    pub(super) revision: u64,
    /// In memory alone when it is there.
    pub(super) expires: Option<Instant>,
}

impl Kept {
    fn entry(&self) -> Entry {
        Entry { value: self.value.clone(), revision: self.revision }
    }

    pub(super) fn lives(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
}

/// One change that was decided: an entry, or a removal with its revision.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) key: Arc<str>,
    pub(super) revision: u64,
    /// none: removed.
    pub(super) kept: Option<Kept>,
}

/// All entries, and in which order they came.
#[derive(Debug, Default)]
pub(super) struct Image {
    entries: BTreeMap<Arc<str>, Kept>,
    /// The last change of each key; those of removed keys are pruned.
    changes: BTreeMap<u64, Arc<str>>,
    /// Removed keys that are still in `changes`.
    removed: BTreeMap<Arc<str>, u64>,
    /// The same by age, which is the order of pruning.
    removals: BTreeMap<u64, Arc<str>>,
    expiries: BTreeMap<(Instant, u64), Arc<str>>,
    /// The newest revision given out.
    newest: u64,
    /// Removals up to here are forgotten.
    floor: u64,
    bytes: u64,
    removals_kept: usize,
}

impl Image {
    pub(super) fn new(newest: u64, floor: u64, removals_kept: usize) -> Self {
        Self { newest, floor, removals_kept, ..Self::default() }
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Bytes of all keys and values.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is kept, expired or not.
    pub(super) fn kept(&self, key: &str) -> Option<&Kept> {
        self.entries.get(key)
    }

    pub(super) fn get(&self, key: &str, now: Instant) -> Option<Entry> {
        self.entries.get(key).filter(|kept| kept.lives(now)).map(Kept::entry)
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first_key_value().map(|((expires, _), _)| *expires)
    }

    /// Keys that have expired by `now`.
    pub(super) fn expired(&self, now: Instant) -> Vec<Arc<str>> {
        self.expiries.range(..=(now, u64::MAX)).map(|(_, key)| Arc::clone(key)).collect()
    }

    /// Takes over one change and returns the removals that are not told any more because of it.
    pub(super) fn apply(&mut self, change: Change) -> Vec<u64> {
        let Change { key, revision, kept } = change;
        self.newest = self.newest.max(revision);
        if let Some(old) = self.entries.remove(&key) {
            self.changes.remove(&old.revision);
            self.bytes = self.bytes.saturating_sub(size(&key, &old.value));
            if let Some(expires) = old.expires {
                self.expiries.remove(&(expires, old.revision));
            }
        }
        let mut forgotten = Vec::new();
        if let Some(old) = self.removed.remove(&key) {
            self.changes.remove(&old);
            self.removals.remove(&old);
            forgotten.push(old);
        }
        self.changes.insert(revision, Arc::clone(&key));
        match kept {
            Some(kept) => {
                self.bytes = self.bytes.saturating_add(size(&key, &kept.value));
                if let Some(expires) = kept.expires {
                    self.expiries.insert((expires, revision), Arc::clone(&key));
                }
                self.entries.insert(key, kept);
            }
            None => {
                self.removed.insert(Arc::clone(&key), revision);
                self.removals.insert(revision, key);
                self.prune(&mut forgotten);
            }
        }
        forgotten
    }

    fn prune(&mut self, forgotten: &mut Vec<u64>) {
        while self.removals.len() > self.removals_kept {
            let Some((revision, key)) = self.removals.pop_first() else { break };
            self.removed.remove(&key);
            self.changes.remove(&revision);
            self.floor = self.floor.max(revision);
            forgotten.push(revision);
        }
    }

    fn under<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Kept)> + 'a {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.entries.range::<str, _>((start, Bound::Unbounded)).take_while(move |(key, _)| key.starts_with(prefix))
    }

    pub(super) fn keys(&self, prefix: &str, after: Option<&str>, now: Instant) -> Vec<String> {
        self.under(prefix, after)
            .filter(|(_, kept)| kept.lives(now))
            .take(KEYS)
            .map(|(key, _)| key.to_string())
            .collect()
    }

    pub(super) fn scan(&self, prefix: &str, after: Option<&str>, now: Instant) -> Vec<(Arc<str>, Entry)> {
        let mut page = Vec::new();
        let mut bytes = 0;
        for (key, kept) in self.under(prefix, after).filter(|(_, kept)| kept.lives(now)) {
            bytes += key.len() + kept.value.len();
            if page.len() == ENTRIES || (bytes > PAGE && !page.is_empty()) {
                break;
            }
            page.push((Arc::clone(key), kept.entry()));
        }
        page
    }

    /// Whether something that was removed later than `revision` is forgotten, or `revision` was never given out.
    pub(super) fn outworn(&self, revision: u64) -> bool {
        revision < self.floor || revision > self.newest
    }

    fn later(&self, revision: u64) -> impl Iterator<Item = (&u64, &Arc<str>)> {
        self.changes.range((Bound::Excluded(revision), Bound::Unbounded))
    }

    pub(super) fn has_news(&self, prefix: &str, revision: u64) -> bool {
        self.later(revision).any(|(_, key)| key.starts_with(prefix))
    }

    pub(super) fn since(&self, prefix: &str, revision: u64) -> Result<News, Failure> {
        if self.outworn(revision) {
            return Err(Failure::Outworn);
        }
        let mut changed = Vec::new();
        let mut bytes = 0;
        let mut reached = revision;
        for (at, key) in self.later(revision).filter(|(_, key)| key.starts_with(prefix)) {
            let kept = self.entries.get(key);
            bytes += key.len() + kept.map_or(0, |kept| kept.value.len());
            if changed.len() == ENTRIES || (bytes > PAGE && !changed.is_empty()) {
                return Ok(News { revision: reached, changed });
            }
            changed.push((Arc::clone(key), kept.map(Kept::entry)));
            reached = *at;
        }
        Ok(News { revision: self.newest, changed })
    }

    /// Revisions up to here were given out.
    pub(super) fn raise_newest(&mut self, newest: u64) {
        self.newest = self.newest.max(newest);
    }

    /// The removals that are kept came from a file that holds others too, or entries were lost: every older revision is outworn.
    pub(super) fn raise_floor(&mut self) {
        self.floor = self.newest;
    }
}

/// What an entry takes of the share: its bytes, and its places in the maps.
pub(super) fn size(key: &str, value: &[u8]) -> u64 {
    (key.len() as u64).saturating_add(value.len() as u64).saturating_add(OVERHEAD)
}
