//! The imports.

mod cluster;
mod http;
mod stream;
mod upgrade;

use std::time::Duration;

pub(crate) use cluster::*;
pub(crate) use http::*;
pub(crate) use stream::*;
pub(crate) use upgrade::*;

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

pub(crate) fn monotonic() -> Duration {
    Duration::from_nanos(wasi::clocks::monotonic_clock::now())
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

pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Any number.
pub(crate) fn random() -> u32 {
    // The upper half of 64 bits is 32 bits.
    u32::try_from(wasi::random::random::get_random_u64() >> 32).unwrap_or_default()
}

pub(crate) fn file(name: &str) -> Result<Vec<u8>> {
    config::file(name).map_err(Error::from)
}

pub(crate) fn get(key: &str) -> Result<Option<Entry>, Failure> {
    Ok(store::get(key).map_err(failure(key))?.map(Entry::from))
}

pub(crate) fn put(key: &str, value: &[u8], expect: Expect, ttl: Option<Duration>) -> Result<u64, Failure> {
    store::put(key, value, expect.into(), ttl.map(millis)).map_err(failure(key))
}

pub(crate) fn remove(key: &str, expect: Expect) -> Result<(), Failure> {
    store::remove(key, expect.into()).map_err(failure(key))
}

pub(crate) fn keys(prefix: &str, after: Option<&str>) -> Result<Vec<String>, Failure> {
    store::keys(prefix, after).map_err(failure(prefix))
}

pub(crate) fn scan(prefix: &str, after: Option<&str>) -> Result<Vec<(String, Entry)>, Failure> {
    let page = store::scan(prefix, after).map_err(failure(prefix))?;
    Ok(page.into_iter().map(|(key, entry)| (key, entry.into())).collect())
}

pub(crate) fn revision() -> Result<u64, Failure> {
    store::revision().map_err(failure(""))
}

pub(crate) fn since(prefix: &str, revision: u64) -> Result<(u64, Vec<Change>), Failure> {
    let news = store::since(prefix, revision).map_err(failure(prefix))?;
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

/// A failure of this key, which the contract's do not name.
fn failure(key: &str) -> impl FnOnce(store::Failure) -> Failure {
    move |failure| match failure {
        store::Failure::Conflict(entry) => Failure::Conflict { key: key.to_owned(), there: entry.map(Entry::from) },
        store::Failure::TooLong => Failure::TooLong { key: key.to_owned() },
        store::Failure::Quota => Failure::Quota,
        store::Failure::Outworn => Failure::Outworn,
        store::Failure::Unavailable(why) => Failure::Unavailable(why),
    }
}
