//! The imports.

use std::time::Duration;

use crate::bindings::imports::virtual_kubelet::provider::{call, config, log_sink, store};
use crate::bindings::imports::wasi;
use crate::call::Why;
use crate::config::NodeInfo;
use crate::container_logs::Entry as LogEntry;
use crate::store::{Change, Entry, Expect, Failure};
use crate::time::{Time, millis, nanos};
use crate::{Error, Result};

pub(crate) type Pollable = wasi::io::poll::Pollable;
pub(crate) type Lock = store::Lock;
pub(crate) type Sink = log_sink::Sink;

pub(crate) fn poll(list: &[&Pollable]) -> Vec<u32> {
    wasi::io::poll::poll(list)
}

pub(crate) fn after(time: Duration) -> Pollable {
    wasi::clocks::monotonic_clock::subscribe_duration(nanos(time))
}

pub(crate) fn now() -> Time {
    let now = wasi::clocks::wall_clock::now();
    Time::from_nanos(now.seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(now.nanoseconds)))
}

pub(crate) fn cancelled() -> Pollable {
    call::cancelled()
}

pub(crate) fn reason() -> Option<Why> {
    call::reason()
}

pub(crate) fn remaining() -> Option<Duration> {
    call::remaining_ms().map(Duration::from_millis)
}

pub(crate) fn node() -> NodeInfo {
    config::node()
}

pub(crate) fn text() -> Result<Option<String>> {
    config::text().map_err(Error::from)
}

pub(crate) fn file(name: &str) -> Result<Vec<u8>> {
    config::file(name).map_err(Error::from)
}

pub(crate) fn get(key: &str) -> Result<Option<Entry>, Failure> {
    Ok(store::get(key)?.map(Entry::from))
}

pub(crate) fn put(key: &str, value: &[u8], expect: Expect, ttl: Option<Duration>) -> Result<u64, Failure> {
    Ok(store::put(key, value, expect.into(), ttl.map(millis))?)
}

pub(crate) fn remove(key: &str, expect: Expect) -> Result<(), Failure> {
    Ok(store::remove(key, expect.into())?)
}

pub(crate) fn keys(prefix: &str, after: Option<&str>) -> Result<Vec<String>, Failure> {
    Ok(store::keys(prefix, after)?)
}

pub(crate) fn scan(prefix: &str, after: Option<&str>) -> Result<Vec<(String, Entry)>, Failure> {
    Ok(store::scan(prefix, after)?.into_iter().map(|(key, entry)| (key, entry.into())).collect())
}

pub(crate) fn revision() -> Result<u64, Failure> {
    Ok(store::revision()?)
}

pub(crate) fn since(prefix: &str, revision: u64) -> Result<(u64, Vec<Change>), Failure> {
    let news = store::since(prefix, revision)?;
    Ok((news.revision, news.changed.into_iter().map(|(key, entry)| (key, entry.map(Entry::from))).collect()))
}

pub(crate) fn subscribe(prefix: &str, revision: u64) -> Pollable {
    store::subscribe(prefix, revision)
}

pub(crate) fn acquire(name: &str, ttl: Duration) -> Lock {
    store::acquire(name, u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX))
}

pub(crate) fn lock_subscribe(lock: &Lock) -> Pollable {
    lock.subscribe()
}

pub(crate) fn lock_held(lock: &Lock) -> bool {
    lock.held()
}

pub(crate) fn sink_room(sink: &Sink) -> u32 {
    sink.room()
}

pub(crate) fn sink_subscribe(sink: &Sink) -> Pollable {
    sink.subscribe()
}

pub(crate) fn sink_write(sink: &Sink, entries: Vec<LogEntry>) -> bool {
    let entries: Vec<log_sink::Entry> = entries.into_iter().map(Into::into).collect();
    sink.write(&entries)
}

impl From<store::Entry> for Entry {
    fn from(entry: store::Entry) -> Self {
        Self { value: entry.value, revision: entry.revision }
    }
}

impl From<Expect> for store::Expect {
    fn from(expect: Expect) -> Self {
        match expect {
            Expect::Anything => Self::Anything,
            Expect::Absent => Self::Absent,
            Expect::Revision(revision) => Self::Revision(revision),
        }
    }
}

impl From<store::Failure> for Failure {
    fn from(failure: store::Failure) -> Self {
        match failure {
            store::Failure::Conflict(entry) => Self::Conflict(entry.map(Entry::from)),
            store::Failure::TooLong => Self::TooLong,
            store::Failure::Quota => Self::Quota,
            store::Failure::Outworn => Self::Outworn,
            store::Failure::Unavailable(why) => Self::Unavailable(why),
        }
    }
}
