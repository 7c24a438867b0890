//! The life cycle of a pod.

use std::time::Duration;

use vk_provider::store::{self, Expect, Versioned};
use vk_provider::{Deletion, DesiredPod, Error, ObservedPod, Page, PodRef, Pods, Result, log};

use crate::backend::{self, Counts, Key, PODS};
use crate::fault::{self, Fault};
use crate::manifest::Manifest;
use crate::record::Record;
use crate::script::Script;
use crate::status::Observer;
use crate::{Mock, config};

/// A page ends before this many bytes of statuses; the contract's limit is 1 MiB.
pub(crate) const PAGE_BYTES: usize = 900 << 10;

impl Pods for Mock {
    fn create_pod(pod: DesiredPod) -> Result<Option<ObservedPod>> {
        create(&pod).map(Some)
    }

    fn update_pod(pod: DesiredPod) -> Result<()> {
        let manifest: Manifest = pod.read()?;
        let key = Key::of(&pod.id);
        let base = backend::look(&key, backend::now())?.ok_or_else(|| unknown(&pod.id))?.value.counts;
        let counts = backend::count(&key, base, |counts| counts.update += 1)?;
        let fault = Script::parse(&manifest.metadata.annotations, &manifest.spec)?.faults.update;
        let fault = fault.filter(|fault| fault.applies(counts.update));
        before(fault.as_ref())?;
        backend::retry(|| {
            let now = backend::now();
            let there = backend::look(&key, now)?.ok_or_else(|| unknown(&pod.id))?;
            let script = Script::parse(&manifest.metadata.annotations, &manifest.spec)?;
            let new = Record::new(&pod, &manifest.spec, script, there.value.timing.created, base);
            Ok(backend::save(&key, &there.value.updated(new), Expect::Revision(there.revision), now)?)
        })?;
        after(fault.as_ref())
    }

    fn delete_pod(id: PodRef, _: Option<DesiredPod>, grace: Option<Duration>) -> Result<Deletion> {
        let key = Key::of(&id);
        let Some(there) = backend::look(&key, backend::now())? else { return Ok(Deletion::Gone) };
        let counts = backend::count(&key, there.value.counts, |counts| counts.delete += 1)?;
        let fault = there.value.faults.delete.filter(|fault| fault.applies(counts.delete));
        before(fault.as_ref())?;
        let deletion = backend::retry(|| stop(&key, grace))?;
        after(fault.as_ref())?;
        Ok(deletion)
    }

    fn get_pod(id: PodRef) -> Result<Option<ObservedPod>> {
        let key = Key::of(&id);
        let Some(there) = backend::look(&key, backend::now())? else { return Ok(None) };
        let counts = backend::count(&key, there.value.counts, |counts| counts.get += 1)?;
        let Some(fault) = there.value.faults.get.as_ref().filter(|fault| fault.applies(counts.get)) else {
            return Ok(Some(Observer::new(backend::now()).observe(&key, &there.value)));
        };
        fault.before()?;
        fault.after()?;
        let now = backend::now();
        Ok(backend::look(&key, now)?.map(|there| Observer::new(now).observe(&key, &there.value)))
    }

    fn get_pods(after: Option<String>) -> Result<Page<ObservedPod>> {
        fault::play(config::faults()?.get_pods)?;
        list(after.as_deref(), backend::now())
    }
}

fn create(pod: &DesiredPod) -> Result<ObservedPod> {
    let manifest: Manifest = pod.read()?;
    let script = Script::parse(&manifest.metadata.annotations, &manifest.spec)?;
    let key = Key::of(&pod.id);
    let Some(fault) = script.faults.create.clone() else {
        return make(pod, &manifest, script, &key, None);
    };
    // Counted before it acts: a call that never returns counts too.
    let counts = backend::count(&key, Counts::default(), |counts| counts.create += 1)?;
    let fault = Some(fault).filter(|fault| fault.applies(counts.create));
    before(fault.as_ref())?;
    let observed = make(pod, &manifest, script, &key, Some(counts))?;
    after(fault.as_ref())?;
    Ok(observed)
}

/// Makes the workload, or finds it. `counted` are the counts if this call is among them.
fn make(
    pod: &DesiredPod,
    manifest: &Manifest<'_>,
    script: Script,
    key: &Key,
    counted: Option<Counts>,
) -> Result<ObservedPod> {
    let now = backend::now();
    if let Some(there) = backend::look(key, now)? {
        return found(key, &there, counted.is_some());
    }
    let before = if counted.is_some() { counted } else { backend::counts(key)? };
    let mut counts = before.unwrap_or_default();
    counts.create += u32::from(counted.is_none());
    counts.made += 1;
    let record = Record::new(pod, &manifest.spec, script, now, counts);
    match backend::save(key, &record, Expect::Absent, now) {
        // Another create for the UID was quicker.
        Err(failure) if failure.is_conflict() => {
            let there = backend::find(key)?.ok_or_else(|| Error::from(failure))?;
            return found(key, &there, counted.is_some());
        }
        result => result?,
    }
    log!("workload made uid={} made={}", key.uid(), counts.made);
    if before.is_some() {
        backend::set_counts(key, counts)?;
    }
    Ok(Observer::new(now).observe(key, &record))
}

fn found(key: &Key, there: &Versioned<Record>, counted: bool) -> Result<ObservedPod> {
    if !counted {
        backend::count(key, there.value.counts, |counts| counts.create += 1)?;
    }
    Ok(Observer::new(backend::now()).observe(key, &there.value))
}

/// Takes the workload away, or says when it will be gone. A shorter grace shortens, a longer one does nothing.
fn stop(key: &Key, grace: Option<Duration>) -> Result<Deletion> {
    let now = backend::now();
    let Some(Versioned { value: mut record, revision }) = backend::look(key, now)? else { return Ok(Deletion::Gone) };
    let grace = grace.map_or(record.grace, |grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    let time = record.stop_after.unwrap_or(0).min(grace);
    if time == 0 {
        backend::remove(key, revision, "removed")?;
        return Ok(Deletion::Gone);
    }
    let gone = record.timing.gone.unwrap_or(u64::MAX).min(now.saturating_add(time));
    if record.stopping && record.timing.gone == Some(gone) {
        return Ok(Deletion::Stopping);
    }
    record.timing.gone = Some(gone);
    record.stopping = true;
    backend::save(key, &record, Expect::Revision(revision), now)?;
    Ok(Deletion::Stopping)
}

/// A page of the pods that are there.
pub(crate) fn list(after: Option<&str>, now: u64) -> Result<Page<ObservedPod>> {
    let observer = Observer::new(now);
    let (mut items, mut next, mut bytes) = (Vec::new(), None, 0);
    for (name, entry) in store::scan(PODS, after)? {
        let key = Key::from_store(PODS, &name);
        let record: Record = entry.parse()?;
        if !record.timing.is_gone(now) {
            let pod = observer.observe(&key, &record);
            bytes += pod.status.len();
            if bytes > PAGE_BYTES && !items.is_empty() {
                break;
            }
            items.push(pod);
        }
        next = Some(name);
    }
    Ok(Page { items, next })
}

fn before(fault: Option<&Fault>) -> Result<()> {
    fault.map_or(Ok(()), Fault::before)
}

fn after(fault: Option<&Fault>) -> Result<()> {
    fault.map_or(Ok(()), Fault::after)
}

pub(crate) fn unknown(id: &PodRef) -> Error {
    Error::not_found("PodNotFound", format!("pods {:?} not found", id.name))
}
