//! `kubectl logs`: lines that follow from the record and the clock, so that every reader, at any time, gets the same ones. Only the
//! counts, and volumes that were updated, are as they are when the reader comes.
//!
//! ```text
//! start          the counts, what came of fetch, what log-env, log-credentials and log-volumes print, then log-lines lines, a
//!                nanosecond apart
//! start + n × E  one line more, for log-every: E
//! ```

use std::time::Duration;

use vk_provider::container_logs::{Entry, Options, Sink};
use vk_provider::store;
use vk_provider::time::Time;
use vk_provider::wait::Wait;
use vk_provider::{ContainerLogs, Error, PodRef, Result};

use crate::Mock;
use crate::backend::{self, Counts, PODS};
use crate::pods::unknown;
use crate::record::{Part, Record};
use crate::state::{Attempt, Life};
use crate::status::waiting_reason;
use crate::volumes::Volume;

/// Entries in one write: some tens of KiB, about what the host takes at once.
const CHUNK: u64 = 500;

impl ContainerLogs for Mock {
    fn get_container_logs(id: PodRef, container: String, options: Options, to: Sink) -> Result<()> {
        // Before the look, so that whatever is written after it wakes the reader.
        let revision = store::revision()?;
        let record = backend::look(&id, backend::now())?.ok_or_else(|| unknown(&id))?.value;
        let counts = fault(&id, &record)?;
        let (index, part) =
            record.containers.iter().enumerate().find(|(_, part)| part.name == container).ok_or_else(|| {
                Error::not_found("ContainerNotFound", format!("container {container:?} in pod {:?} not found", id.name))
            })?;
        let attempt = choose(&record, index, &id, options, backend::now())?;
        let log = Log::new(&record, part, attempt, counts);
        Reader { id: &id, revision, to: &to, left: options.limit_bytes.unwrap_or(u64::MAX), log }.read(options)
    }
}

/// Plays `logs-fault`, and returns what was counted.
fn fault(id: &PodRef, record: &Record) -> Result<Counts> {
    let Some(fault) = &record.faults.logs else { return backend::counts(id, record.counts) };
    let counts = backend::count(id, record.counts, |counts| counts.logs += 1)?;
    if fault.applies(counts.logs) {
        fault.before()?;
        fault.after()?;
    }
    Ok(counts)
}

/// The attempt that was asked for, or the kubelet's words for why there is none.
fn choose(record: &Record, index: usize, id: &PodRef, options: Options, now: u64) -> Result<Attempt> {
    let snapshot = record.timing.at(now);
    let life = snapshot.init.iter().chain(&snapshot.main).nth(index).copied().unwrap_or(Life::Waiting);
    let name = record.containers.get(index).map_or("", |part| part.name.as_str());
    let Some(current) = life.attempt() else {
        let reason = waiting_reason(record);
        let message = format!("container {name:?} in pod {:?} is waiting to start: {reason}", id.name);
        return Err(Error::invalid_argument(reason, message));
    };
    let wanted = match (options.attempt, options.previous) {
        (Some(number), _) => Some(number),
        (None, true) => current.number.checked_sub(1),
        (None, false) => return Ok(current),
    };
    if wanted == Some(current.number) {
        return Ok(current);
    }
    let attempt =
        wanted.filter(|number| *number < current.number).and_then(|number| record.timing.attempt(index, number));
    attempt.ok_or_else(|| {
        let message = format!("previous terminated container {name:?} in pod {:?} not found", id.name);
        Error::invalid_argument("AttemptNotFound", message)
    })
}

/// The log of one attempt. Entry `i` is a function of `i`.
struct Log<'a> {
    head: Vec<String>,
    part: &'a Part,
    start: u64,
    end: Option<u64>,
}

impl<'a> Log<'a> {
    fn new(record: &Record, part: &'a Part, attempt: Attempt, counts: Counts) -> Self {
        let Counts { create, update, delete, made, .. } = counts;
        let calls = format!("calls create={create} update={update} delete={delete} workloads={made}");
        let kept = record.fetched.iter().chain(&part.intro).chain(&record.credentials).cloned();
        let volumes = record.volumes.iter().flat_map(Volume::lines);
        let head = std::iter::once(calls).chain(kept).chain(volumes).collect();
        let mut log = Self { head, part, start: attempt.start, end: attempt.end };
        log.end_by(record.timing.gone);
        log
    }

    fn end_by(&mut self, gone: Option<u64>) {
        self.end = self.end.into_iter().chain(gone).min();
    }

    fn at_once(&self) -> u64 {
        u64::try_from(self.head.len()).unwrap_or(u64::MAX).saturating_add(self.part.lines.into())
    }

    /// Entries written up to a time.
    fn count(&self, now: u64) -> u64 {
        let ran = self.end.map_or(now, |end| now.min(end)).saturating_sub(self.start);
        self.at_once() + self.part.every.map_or(0, |every| ran / every)
    }

    /// In nanoseconds.
    fn time(&self, index: u64) -> u64 {
        let start = self.start.saturating_mul(1_000_000);
        match index.checked_sub(self.at_once()) {
            None => start + index,
            Some(tick) => start + (tick + 1).saturating_mul(self.part.every.unwrap_or(0)).saturating_mul(1_000_000),
        }
    }

    fn entry(&self, index: u64) -> Entry {
        let head = usize::try_from(index).ok().and_then(|index| self.head.get(index));
        let lines = u64::from(self.part.lines);
        let line = match (head, index.checked_sub(self.at_once())) {
            (Some(line), _) => line.clone(),
            (None, Some(tick)) => format!("tick {}", tick + 1),
            (None, None) => format!("line {} of {lines}", index + 1 + lines - self.at_once()),
        };
        Entry::stdout(Time::from_nanos(self.time(index)), line)
    }

    /// The first of so many entries that is not before a time.
    fn first_since(&self, since: Time, count: u64) -> u64 {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = u64::midpoint(low, high);
            if self.time(middle) < since.as_nanos() { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn has_ended(&self, now: u64) -> bool {
        self.end.is_some_and(|end| end <= now)
    }

    /// When there is more to say, or nothing any more.
    fn next(&self, count: u64) -> Option<u64> {
        let tick = self.part.every.map(|_| self.time(count) / 1_000_000);
        tick.into_iter().chain(self.end).min()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Woken {
    Room,
    Clock,
    Record,
}

/// One reader of one log.
struct Reader<'a> {
    id: &'a PodRef,
    /// The store's, as of the last look at the record: its own would be outworn one day, and an outworn one is always news.
    revision: u64,
    to: &'a Sink,
    left: u64,
    log: Log<'a>,
}

impl Reader<'_> {
    fn read(mut self, options: Options) -> Result<()> {
        let count = self.log.count(backend::now());
        let since = options.since.map_or(0, |since| self.log.first_since(since, count));
        let tail = options.tail.map_or(0, |tail| count.saturating_sub(tail.into()));
        let mut next = since.max(tail);
        loop {
            let now = backend::now();
            let count = self.log.count(now);
            if !self.write(&mut next, count) || !options.follow || self.log.has_ended(now) {
                return Ok(());
            }
            if !self.wait(now, count)? {
                return Ok(());
            }
        }
    }

    /// Writes entries up to a count. false: it is over.
    fn write(&mut self, next: &mut u64, count: u64) -> bool {
        while *next < count {
            let mut chunk = Vec::new();
            while *next < count && self.left > 0 && (chunk.len() as u64) < CHUNK {
                let entry = self.log.entry(*next);
                self.left = self.left.saturating_sub(entry.bytes.len() as u64 + 1);
                chunk.push(entry);
                *next += 1;
            }
            if chunk.is_empty() || !self.wait_for_room() || !self.to.write(chunk) {
                return false;
            }
        }
        self.left > 0
    }

    fn wait_for_room(&self) -> bool {
        self.to.room() > 0 || !Wait::new().on(Woken::Room, self.to.subscribe()).first().cancelled()
    }

    /// Waits for more to say. false: the pod is gone, or nobody waits.
    fn wait(&mut self, now: u64, count: u64) -> Result<bool> {
        let mut wait = Wait::new().on(Woken::Record, store::subscribe(&backend::key(PODS, self.id), self.revision));
        if let Some(next) = self.log.next(count) {
            wait = wait.after(Woken::Clock, Duration::from_millis(next.saturating_sub(now)));
        }
        let ready = wait.first();
        if ready.cancelled() {
            return Ok(false);
        }
        if ready.has(Woken::Record) {
            self.revision = store::revision()?;
            let Some(there) = backend::look(self.id, backend::now())? else { return Ok(false) };
            self.log.end_by(there.value.timing.gone);
        }
        Ok(true)
    }
}
