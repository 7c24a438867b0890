//! The mock's backend: the host's store. Three keys a pod, all ending in `NAMESPACE/NAME/UID`:
//!
//! - `pods/…`, the [`Record`]. Its presence is the workload.
//! - `timed/…`, a copy of the [`Timing`] of a pod that will change by itself, so that `changes` need not read those that will not. A
//!   hint: what counts is the record.
//! - `calls/…`, the [`Counts`] since the workload was made. They outlive it by an hour.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vk_provider::store::{self, Expect, Failure, Versioned};
use vk_provider::{Error, PodRef, Result, clock, log};

use crate::record::Record;
use crate::state::Timing;

pub(crate) const PODS: &str = "pods/";
pub(crate) const TIMED: &str = "timed/";
const CALLS: &str = "calls/";

/// Long enough to see a second workload for one UID after any outage that a test plays.
const CALLS_TTL: Duration = Duration::from_secs(3600);

/// How often a write is tried when other calls write the same key. More would mean that something else is wrong.
const TRIES: u32 = 16;

/// How often something was asked for a UID. They say how often the mock was called, not how often it did something, but `made`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    pub(crate) create: u32,
    pub(crate) update: u32,
    pub(crate) delete: u32,
    pub(crate) get: u32,
    pub(crate) logs: u32,
    /// Workloads made. One, if the host does what it should.
    pub(crate) made: u32,
}

/// The name of a pod in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn of(id: &PodRef) -> Self {
        Self(id.key())
    }

    /// From a key of the store.
    pub(crate) fn from_store(prefix: &str, key: &str) -> Self {
        Self(key.strip_prefix(prefix).unwrap_or(key).to_owned())
    }

    pub(crate) fn id(&self) -> PodRef {
        // Every key was made by `of`.
        PodRef::from_key(&self.0).unwrap_or_else(|| PodRef {
            namespace: String::new(),
            name: String::new(),
            uid: String::new(),
        })
    }

    pub(crate) fn uid(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn under(&self, prefix: &str) -> String {
        [prefix, &self.0].concat()
    }
}

/// The wall clock, in milliseconds.
pub(crate) fn now() -> u64 {
    clock::now().as_millis()
}

/// The record, also of a pod that is gone by now.
pub(crate) fn find(key: &Key) -> Result<Option<Versioned<Record>>> {
    Ok(store::get(&key.under(PODS))?)
}

/// The record of a pod that is there. One that is gone is cleared away on the way.
pub(crate) fn look(key: &Key, now: u64) -> Result<Option<Versioned<Record>>> {
    match find(key)? {
        Some(record) if record.value.timing.is_gone(now) => {
            clear(key, &record)?;
            Ok(None)
        }
        record => Ok(record),
    }
}

/// Writes a record. What will change by itself is made known first: seen too early it does no harm, seen never it would.
pub(crate) fn save(key: &Key, record: &Record, expect: Expect, now: u64) -> Result<(), Failure> {
    if record.timing.next_after(now).is_some() {
        store::put(&key.under(TIMED), &record.timing, Expect::Anything, None)?;
    }
    store::put(&key.under(PODS), record, expect, None).map(drop)
}

/// Clears away a workload that has come to its end. Of several calls that see it, one does it.
pub(crate) fn clear(key: &Key, record: &Versioned<Record>) -> Result<()> {
    let how = if record.value.stopping { "removed" } else { "vanished" };
    // Nothing may have been counted yet, and a second workload for the UID must show.
    count(key, record.value.counts, |_| {})?;
    match remove(key, record.revision, how) {
        Err(failure) if failure.is_conflict() => Ok(()),
        result => Ok(result?),
    }
}

/// Removes a workload.
pub(crate) fn remove(key: &Key, revision: u64, how: &str) -> Result<(), Failure> {
    store::remove(&key.under(PODS), Expect::Revision(revision))?;
    log!("workload {how} uid={}", key.uid());
    store::remove(&key.under(TIMED), Expect::Anything)
}

/// What was counted for a pod; none: nothing since its workload was made.
pub(crate) fn counts(key: &Key) -> Result<Option<Counts>> {
    Ok(store::get(&key.under(CALLS))?.map(|counts| counts.value))
}

/// Writes counts that nobody else writes now.
pub(crate) fn set_counts(key: &Key, counts: Counts) -> Result<()> {
    store::put(&key.under(CALLS), &counts, Expect::Anything, Some(CALLS_TTL))?;
    Ok(())
}

/// Counts one more. `base` is where it starts if nothing was counted yet.
pub(crate) fn count(key: &Key, base: Counts, add: impl Fn(&mut Counts)) -> Result<Counts> {
    let name = key.under(CALLS);
    retry(|| {
        let there: Option<Versioned<Counts>> = store::get(&name)?;
        let expect = there.as_ref().map_or(Expect::Absent, |there| Expect::Revision(there.revision));
        let mut counts = there.map_or(base, |there| there.value);
        add(&mut counts);
        store::put(&name, &counts, expect, Some(CALLS_TTL))?;
        Ok(counts)
    })
}

/// Repeats a change while others come in between.
pub(crate) fn retry<T>(mut change: impl FnMut() -> Result<T, Error>) -> Result<T> {
    for _ in 1..TRIES {
        match change() {
            Err(error) if error.reason == "StoreConflict" => {}
            result => return result,
        }
    }
    change()
}

/// The timing of a pod that will change by itself, as it was made known.
pub(crate) type Timed = (Key, u64, Timing);

/// All pods that may change by themselves.
pub(crate) fn timed() -> Result<Vec<Timed>> {
    let mut all = Vec::new();
    store::scan_all(TIMED, |key, entry| {
        all.push((Key::from_store(TIMED, &key), entry.revision, entry.parse()?));
        Ok::<_, Error>(())
    })?;
    Ok(all)
}

/// Forgets that a pod changes by itself, unless it was made known again.
pub(crate) fn forget_timed(key: &Key, revision: u64) -> Result<()> {
    match store::remove(&key.under(TIMED), Expect::Revision(revision)) {
        Err(failure) if failure.is_conflict() => Ok(()),
        result => Ok(result?),
    }
}
