//! News of pods.
//!
//! Two kinds of things change a pod: a write to its record, which the store tells of, and the passing of time, which follows from the
//! timings under `timed/`. The cursor says up to where both have been told:
//!
//! ```text
//! {"revision": 17, "clock": 1795514400000}               all writes up to 17, all that time did up to then
//! {…, "after": "default/web/u-1"}                        and of the next moment what is not later than this key
//! {…, "listing": "pods/default/web/u-1"}                 a full list, told up to this key
//! ```
//!
//! A pod that changes while it is listed may be told twice, never not at all.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vk_provider::changes::{Batch, Scope};
use vk_provider::clock::Deadline;
use vk_provider::store::{self, Failure, Versioned};
use vk_provider::wait::Wait;
use vk_provider::{Changes, Error, PodRef, Result, call};

use crate::backend::{self, PODS, Timed};
use crate::pods::{self, PAGE_BYTES};
use crate::record::Record;
use crate::status::observe;
use crate::{Mock, config, fault};

/// The contract's bound of a batch.
const MOST: usize = 500;
/// A burst of creates is told in few batches; short beside anything that a person notices.
const GATHER: Duration = Duration::from_millis(10);
/// A timing without a record belongs to a create that is under way, if it is no older. Of an older one nothing will come.
const ORPHAN_AFTER: u64 = 60_000;

/// Where the next call goes on. Later versions must understand it: add fields, keep these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    revision: u64,
    clock: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listing: Option<String>,
}

impl Cursor {
    /// Up to now.
    fn now() -> Result<Self> {
        Ok(Self { revision: store::revision()?, clock: backend::now(), after: None, listing: None })
    }

    fn read(text: &str) -> Result<Self> {
        vk_provider::serde_json::from_str(text).map_err(|error| outworn(&format!("the cursor cannot be read: {error}")))
    }

    fn write(&self) -> Option<String> {
        vk_provider::serde_json::to_string(self).ok()
    }

    /// Something that happened to a pod at a time was not told yet.
    fn is_news(&self, id: &PodRef, time: u64) -> bool {
        let follows = |after: &str| PodRef::from_key(after).is_none_or(|after| *id > after);
        time > self.clock || (time == self.clock && self.after.as_deref().is_some_and(follows))
    }
}

fn outworn(why: &str) -> Error {
    Error::out_of_range("CursorOutworn", why)
}

impl Changes for Mock {
    fn next(cursor: Option<String>, wait: Duration) -> Result<Batch> {
        fault::play(config::faults()?.changes)?;
        let Some(text) = cursor else { return list(Cursor::now()?) };
        let cursor = Cursor::read(&text)?;
        if cursor.listing.is_some() {
            return list(cursor);
        }
        follow(cursor, Deadline::after(wait))
    }
}

/// A page of a full list. What happens meanwhile is told afterwards, as the cursor was taken before.
fn list(mut cursor: Cursor) -> Result<Batch> {
    let page = pods::list(cursor.listing.as_deref(), backend::now())?;
    let scope = if page.next.is_some() { Scope::Listing } else { Scope::Listed };
    cursor.listing = page.next;
    Ok(Batch { changed: page.items, ..Batch::empty(scope, cursor.write()) })
}

/// Waits for the first news.
fn follow(mut cursor: Cursor, deadline: Deadline) -> Result<Batch> {
    loop {
        let now = backend::now();
        if now < cursor.clock {
            // What comes at a time that is told already would never be told. A list says how things are.
            return Err(outworn("the clock was set back"));
        }
        let mut news = News::new(now);
        let (revision, due) = news.gather(&cursor)?;
        cursor = due.cursor(cursor, revision, now);
        if !news.is_empty() || deadline.is_over() || call::cancelled() {
            return Ok(news.batch(&cursor));
        }
        let next = due.next.map_or(deadline.remaining(), |next| {
            deadline.remaining().min(Duration::from_millis(next.saturating_sub(now)))
        });
        let ready = Wait::new().on((), store::subscribe(PODS, cursor.revision)).after((), next).first();
        if ready.cancelled() {
            return Ok(News::new(now).batch(&cursor));
        }
    }
}

/// What time has done to a pod.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Moment {
    at: u64,
    id: PodRef,
    /// Of the timing that tells it.
    revision: u64,
    /// The pod's.
    created: u64,
}

/// What time has done since the cursor, and will do.
#[derive(Default)]
struct Due {
    /// In order; at most [`MOST`].
    pods: Vec<Moment>,
    /// There is more than fits.
    cut: bool,
    /// When time does something again.
    next: Option<u64>,
}

impl Due {
    fn new(cursor: &Cursor, timed: Vec<Timed>, now: u64, room: usize) -> Result<Self> {
        let mut due = Self::default();
        for (id, Versioned { value: timing, revision }) in timed {
            let told = timing.next_after(cursor.clock.saturating_sub(1)).filter(|at| cursor.is_news(&id, *at));
            match told.or_else(|| timing.next_after(cursor.clock)) {
                Some(at) if at <= now => due.pods.push(Moment { at, id, revision, created: timing.created }),
                Some(at) => due.next = Some(due.next.map_or(at, |next| next.min(at))),
                // All of it was told: the host has the cursor.
                None => backend::forget_timed(&id, revision)?,
            }
        }
        due.pods.sort();
        due.cut = due.pods.len() > room;
        due.pods.truncate(room);
        Ok(due)
    }

    fn cursor(&self, cursor: Cursor, revision: u64, now: u64) -> Cursor {
        match self.pods.last().filter(|_| self.cut) {
            Some(last) => Cursor { revision, clock: last.at, after: Some(last.id.key()), listing: None },
            None if self.cut => Cursor { revision, ..cursor },
            None => Cursor { revision, clock: now, after: None, listing: None },
        }
    }
}

/// A batch in the making.
struct News {
    now: u64,
    told: BTreeSet<PodRef>,
    bytes: usize,
    written: bool,
    batch: Batch,
}

impl News {
    fn new(now: u64) -> Self {
        let batch = Batch::empty(Scope::Delta, None);
        Self { now, told: BTreeSet::new(), bytes: 0, written: false, batch }
    }

    fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    fn batch(self, cursor: &Cursor) -> Batch {
        let again_after = if self.written { GATHER } else { Duration::ZERO };
        Batch { cursor: cursor.write(), again_after, ..self.batch }
    }

    /// All that happened since the cursor; returns the store's revision.
    fn gather(&mut self, cursor: &Cursor) -> Result<(u64, Due)> {
        let (revision, written) = store::since(PODS, cursor.revision).map_err(|failure| match failure {
            Failure::Outworn => outworn("the store has forgotten what came after it"),
            failure => failure.into(),
        })?;
        self.written = !written.is_empty();
        for (name, entry) in written {
            let record = entry.map(|entry| Versioned::parse(&name, &entry)).transpose()?;
            self.tell(backend::id(PODS, &name)?, record)?;
        }
        let due = Due::new(cursor, backend::timed()?, self.now, MOST.saturating_sub(self.told.len()))?;
        for Moment { id, revision, created, .. } in &due.pods {
            if self.told.contains(id) {
                continue;
            }
            match backend::find(id)? {
                // The record went without its timing. That it went is told by the store.
                None if self.now > created + ORPHAN_AFTER => backend::forget_timed(id, *revision)?,
                // A create that is under way makes its timing known first.
                None => {}
                record => self.tell(id.clone(), record)?,
            }
        }
        Ok((revision, due))
    }

    fn tell(&mut self, id: PodRef, record: Option<Versioned<Record>>) -> Result<()> {
        match record {
            Some(record) if record.value.timing.is_gone(self.now) => {
                self.batch.touched.push(id.clone());
                backend::clear(&id, &record)?;
            }
            Some(record) if self.bytes <= PAGE_BYTES => {
                let pod = observe(&id, &record.value, self.now);
                self.bytes += pod.status.len();
                self.batch.changed.push(pod);
            }
            _ => self.batch.touched.push(id.clone()),
        }
        self.told.insert(id);
        Ok(())
    }
}
