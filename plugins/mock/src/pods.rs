//! The life cycle of a pod.

use std::time::Duration;

use vk_provider::store::{self, Failure, Versioned};
use vk_provider::{Deletion, DesiredPod, Error, ObservedPod, Page, PodRef, Pods, Result, log};

use crate::backend::{self, Counts, PODS};
use crate::fault::{self, Fault};
use crate::manifest::{Manifest, Spec};
use crate::record::Record;
use crate::script::Script;
use crate::status::observe;
use crate::{Mock, cluster, config, fetch, volumes};

/// A page ends before this many bytes of statuses; the contract's limit is 1 MiB.
pub(crate) const PAGE_BYTES: usize = 900 << 10;

impl Pods for Mock {
    fn create_pod(pod: DesiredPod) -> Result<Option<ObservedPod>> {
        create(&pod).map(Some)
    }

    fn update_pod(pod: DesiredPod) -> Result<()> {
        let manifest: Manifest = pod.read()?;
        let id = &pod.id;
        let there = backend::look(id, backend::now())?.ok_or_else(|| unknown(id))?;
        let counts = backend::count(id, there.value.counts, |counts| counts.update += 1)?;
        let script = script(&manifest)?;
        let fault = script.faults.update.as_ref().filter(|fault| fault.applies(counts.update));
        before(fault)?;
        let pod = cluster::resolved(&pod, &manifest.spec, &script)?;
        backend::change(id, there, backend::now(), |there| {
            let there = there.ok_or_else(|| unknown(id))?;
            let new = Record::new(&pod, &manifest.spec, &script, there.timing.created, there.counts);
            Ok(there.updated(new))
        })?;
        after(fault)
    }

    fn delete_pod(id: PodRef, _: Option<DesiredPod>, grace: Option<Duration>) -> Result<Deletion> {
        let Some(there) = backend::look(&id, backend::now())? else { return Ok(Deletion::Gone) };
        let counts = backend::count(&id, there.value.counts, |counts| counts.delete += 1)?;
        let fault = there.value.faults.delete.clone().filter(|fault| fault.applies(counts.delete));
        before(fault.as_ref())?;
        let deletion = stop(&id, there, grace)?;
        after(fault.as_ref())?;
        Ok(deletion)
    }

    fn get_pod(id: PodRef) -> Result<Option<ObservedPod>> {
        let now = backend::now();
        let Some(there) = backend::look(&id, now)? else { return Ok(None) };
        if let Some(fault) = &there.value.faults.get {
            let counts = backend::count(&id, there.value.counts, |counts| counts.get += 1)?;
            if fault.applies(counts.get) {
                fault.before()?;
                fault.after()?;
                let now = backend::now();
                return Ok(backend::look(&id, now)?.map(|there| observe(&id, &there.value, now)));
            }
        }
        Ok(Some(observe(&id, &there.value, now)))
    }

    fn get_pods(after: Option<String>) -> Result<Page<ObservedPod>> {
        fault::play(config::faults()?.get_pods)?;
        list(after.as_deref(), backend::now())
    }
}

fn script(manifest: &Manifest<'_>) -> Result<Script> {
    manifest.spec.check()?;
    Script::parse(&manifest.metadata.annotations, &manifest.spec)
}

fn create(pod: &DesiredPod) -> Result<ObservedPod> {
    let manifest: Manifest = pod.read()?;
    let script = script(&manifest)?;
    let Some(fault) = &script.faults.create else { return make(pod, &manifest.spec, &script, false) };
    // Counted before it acts: a call that never returns counts too.
    let counts = backend::count(&pod.id, Counts::default(), |counts| counts.create += 1)?;
    let fault = Some(fault).filter(|fault| fault.applies(counts.create));
    before(fault)?;
    let observed = make(pod, &manifest.spec, &script, true)?;
    after(fault)?;
    Ok(observed)
}

/// Makes the workload, or finds it. `counted`: this call is counted already.
fn make(pod: &DesiredPod, spec: &Spec<'_>, script: &Script, counted: bool) -> Result<ObservedPod> {
    let id = &pod.id;
    if script.asks() || cluster::is_late(pod) {
        let now = backend::now();
        // For a workload that is there nothing is asked again.
        if let Some(there) = backend::look(id, now)? {
            return found(id, &there.value, counted, now);
        }
    }
    let mut record = plan(pod, spec, script)?;
    let now = record.timing.created;
    loop {
        // What was counted for the UID so far. That one more was made is written with it, so that neither is without the other.
        record.counts = backend::counts(id, Counts::default())?;
        record.counts.create += u32::from(!counted);
        record.counts.made += 1;
        match backend::make(id, &record, now)? {
            None => break,
            Some(there) if there.value.timing.is_gone(now) => backend::clear(id, &there)?,
            Some(there) => return found(id, &there.value, counted, now),
        }
    }
    log!("workload made uid={} made={}", id.uid, record.counts.made);
    if let Some(event) = &script.event {
        event.tell(id);
    }
    Ok(observe(id, &record, now))
}

/// The record of a workload that is made now, with what is asked for before.
fn plan(pod: &DesiredPod, spec: &Spec<'_>, script: &Script) -> Result<Record> {
    let id = &pod.id;
    let fetched = fetch::run(&script.fetch, script.fetch_required)?;
    let pod = cluster::resolved(pod, spec, script)?;
    let credentials = cluster::credentials(id, spec, script)?;
    let volumes = volumes::rendered(id, spec, script)?;
    let record = Record::new(&pod, spec, script, backend::now(), Counts::default());
    Ok(Record { fetched, credentials, volumes, ..record })
}

/// A workload that is there already.
fn found(id: &PodRef, there: &Record, counted: bool, now: u64) -> Result<ObservedPod> {
    if !counted {
        backend::count(id, there.counts, |counts| counts.create += 1)?;
    }
    Ok(observe(id, there, now))
}

/// Takes the workload away, or says that it will be gone. A shorter grace shortens, a longer one does nothing.
fn stop(id: &PodRef, mut there: Versioned<Record>, grace: Option<Duration>) -> Result<Deletion> {
    loop {
        let now = backend::now();
        if there.value.timing.is_gone(now) {
            backend::clear(id, &there)?;
            return Ok(Deletion::Gone);
        }
        let (written, deletion) = match there.value.stopped(grace, now) {
            None => (backend::remove(id, &there, "removed"), Deletion::Gone),
            Some(record) if record == there.value => return Ok(Deletion::Stopping),
            Some(record) => (backend::replace(id, &record, there.revision, now), Deletion::Stopping),
        };
        match written {
            // Another call was quicker: the same with what it has left.
            Err(Failure::Conflict { key, there: Some(entry) }) => there = Versioned::parse(&key, &entry)?,
            Err(Failure::Conflict { there: None, .. }) => return Ok(Deletion::Gone),
            result => {
                result?;
                return Ok(deletion);
            }
        }
    }
}

/// A page of the pods that are there.
pub(crate) fn list(after: Option<&str>, now: u64) -> Result<Page<ObservedPod>> {
    let page = store::page(PODS, after)?;
    let (mut items, mut last, mut bytes) = (Vec::new(), None, 0);
    for (name, entry) in page.items {
        let record: Record = entry.parse(&name)?;
        if !record.timing.is_gone(now) {
            let pod = observe(&backend::id(PODS, &name)?, &record, now);
            bytes += pod.status.len();
            if bytes > PAGE_BYTES && !items.is_empty() {
                return Ok(Page { items, next: last });
            }
            items.push(pod);
        }
        last = Some(name);
    }
    Ok(Page { items, next: page.next })
}

pub(crate) fn before(fault: Option<&Fault>) -> Result<()> {
    fault.map_or(Ok(()), Fault::before)
}

pub(crate) fn after(fault: Option<&Fault>) -> Result<()> {
    fault.map_or(Ok(()), Fault::after)
}

pub(crate) fn unknown(id: &PodRef) -> Error {
    Error::not_found("PodNotFound", format!("pods {:?} not found", id.name))
}
