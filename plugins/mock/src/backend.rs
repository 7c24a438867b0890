//! The mock's backend: the host's store. Three keys a pod, all ending in `NAMESPACE/NAME/UID`:
//!
//! - `pods/…`, the [`Record`]. Its presence is the workload.
//! - `timed/…`, a copy of the [`Timing`] of a pod that will change by itself, so that `changes` need not read those that will not. A
//!   hint: what counts is the record.
//! - `calls/…`, the [`Counts`] of calls since the workload was made, for an hour after the last of them. Those before are in the record.
//!
//! A plain pod, which never changes by itself, costs one durable write when it is made and one when it goes.

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

/// How often something was asked for a UID. They say how often the mock was called, not how often it did something, but `made`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    pub(crate) create: u32,
    pub(crate) update: u32,
    pub(crate) delete: u32,
    /// Only with `get-fault`, so that a look writes nothing.
    pub(crate) get: u32,
    /// Only with `logs-fault`.
    pub(crate) logs: u32,
    /// Only with `volume-fault`.
    pub(crate) volume: u32,
    /// Workloads made. One, if the host does what it should.
    pub(crate) made: u32,
}

impl Counts {
    /// What either has seen. A count only grows, so the greater one is the later one.
    fn with(self, other: Self) -> Self {
        Self {
            create: self.create.max(other.create),
            update: self.update.max(other.update),
            delete: self.delete.max(other.delete),
            get: self.get.max(other.get),
            logs: self.logs.max(other.logs),
            volume: self.volume.max(other.volume),
            made: self.made.max(other.made),
        }
    }
}

/// A pod's key under a prefix.
pub(crate) fn key(prefix: &str, id: &PodRef) -> String {
    [prefix, &id.key()].concat()
}

/// The pod that a key under a prefix is of.
pub(crate) fn id(prefix: &str, key: &str) -> Result<PodRef> {
    let id = key.strip_prefix(prefix).and_then(PodRef::from_key);
    id.ok_or_else(|| Error::data_loss("StoreBroken", format!("{key:?} is no key of a pod")))
}

/// The wall clock, in milliseconds.
pub(crate) fn now() -> u64 {
    clock::now().as_millis()
}

/// The record, also of a pod that is gone by now.
pub(crate) fn find(id: &PodRef) -> Result<Option<Versioned<Record>>> {
    Ok(store::get(&key(PODS, id))?)
}

/// The record of a pod that is there. One that is gone is cleared away on the way.
pub(crate) fn look(id: &PodRef, now: u64) -> Result<Option<Versioned<Record>>> {
    match find(id)? {
        Some(record) if record.value.timing.is_gone(now) => {
            clear(id, &record)?;
            Ok(None)
        }
        record => Ok(record),
    }
}

/// Makes a workload, unless there is one: then that one, which may be gone by now.
pub(crate) fn make(id: &PodRef, record: &Record, now: u64) -> Result<Option<Versioned<Record>>, Failure> {
    let name = key(PODS, id);
    if record.timing.next_after(now).is_some() {
        // Looked at first: the hint of a workload that is there must not be overwritten.
        if let Some(there) = store::get(&name)? {
            return Ok(Some(there));
        }
        announce(id, &record.timing, now)?;
    }
    match store::put(&name, record, Expect::Absent, None) {
        Err(Failure::Conflict { there: Some(there), .. }) => Versioned::parse(&name, &there).map(Some),
        result => result.map(|_| None),
    }
}

/// Writes a record in place of the one with this revision.
pub(crate) fn replace(id: &PodRef, record: &Record, revision: u64, now: u64) -> Result<(), Failure> {
    announce(id, &record.timing, now)?;
    store::put(&key(PODS, id), record, Expect::Revision(revision), None).map(drop)
}

/// Changes the record that was read, or what another call has made of it meanwhile, and returns it as it is then. `change` gets none
/// of a pod that is gone.
pub(crate) fn change(
    id: &PodRef,
    there: Versioned<Record>,
    now: u64,
    change: impl Fn(Option<Record>) -> Result<Record>,
) -> Result<Record> {
    let hint = store::get_bytes(&key(TIMED, id))?.map(|hint| hint.revision);
    let written = store::update_from(&key(PODS, id), Some(there), None, |there: Option<Record>| {
        let record = change(there.filter(|there| !there.timing.is_gone(now)))?;
        announce(id, &record.timing, now)?;
        Ok::<_, Error>(record)
    })?;
    if let Some(revision) = hint.filter(|_| written.value.timing.next_after(now).is_none()) {
        // The one that was there before: if another call wrote one since, that one stays.
        forget_timed(id, revision)?;
    }
    Ok(written.value)
}

/// Makes known that a pod will change by itself, if it will. Before its record is written: seen too early it does no harm, seen
/// never it would.
fn announce(id: &PodRef, timing: &Timing, now: u64) -> Result<(), Failure> {
    if timing.next_after(now).is_some() {
        store::put(&key(TIMED, id), timing, Expect::Anything, None)?;
    }
    Ok(())
}

/// Clears away a workload that has come to its end. Of several calls that see it, one does it.
pub(crate) fn clear(id: &PodRef, record: &Versioned<Record>) -> Result<()> {
    let how = if record.value.stopping { "removed" } else { "vanished" };
    // Nothing may have been counted yet, and a second workload for the UID must show.
    count(id, record.value.counts, |_| {})?;
    match remove(id, record, how) {
        Err(failure) if failure.is_conflict() => Ok(()),
        result => Ok(result?),
    }
}

/// Removes a workload.
pub(crate) fn remove(id: &PodRef, record: &Versioned<Record>, how: &str) -> Result<(), Failure> {
    store::remove(&key(PODS, id), Expect::Revision(record.revision))?;
    log!("workload {how} uid={}", id.uid);
    if record.value.timing.ever_changes() {
        store::remove(&key(TIMED, id), Expect::Anything)?;
    }
    Ok(())
}

/// What was counted for a pod. `base` is what its record says, which is all of it as long as nothing was counted since.
pub(crate) fn counts(id: &PodRef, base: Counts) -> Result<Counts> {
    let later: Option<Versioned<Counts>> = store::get(&key(CALLS, id))?;
    Ok(later.map_or(base, |later| later.value.with(base)))
}

/// Counts one more. `base` as in [`counts`].
pub(crate) fn count(id: &PodRef, base: Counts, add: impl Fn(&mut Counts)) -> Result<Counts> {
    // Taken to be the first: of most pods nothing is counted from their making to their end.
    let written = store::update_from(&key(CALLS, id), None, Some(CALLS_TTL), |there: Option<Counts>| {
        let mut counts = there.unwrap_or_default().with(base);
        add(&mut counts);
        Ok::<_, Failure>(counts)
    })?;
    Ok(written.value)
}

/// The timing of a pod that will change by itself, as it was made known, and the revision of that.
pub(crate) type Timed = (PodRef, Versioned<Timing>);

/// All pods that may change by themselves.
pub(crate) fn timed() -> Result<Vec<Timed>> {
    let mut all = Vec::new();
    store::scan_all(TIMED, |name, entry| {
        all.push((id(TIMED, &name)?, Versioned::parse(&name, &entry)?));
        Ok::<_, Error>(())
    })?;
    Ok(all)
}

/// Forgets that a pod changes by itself, unless it was made known again.
pub(crate) fn forget_timed(id: &PodRef, revision: u64) -> Result<()> {
    match store::remove(&key(TIMED, id), Expect::Revision(revision)) {
        Err(failure) if failure.is_conflict() => Ok(()),
        result => Ok(result?),
    }
}
