//! A host in memory, one for each thread. Time stands still until a call waits; then it jumps to the next thing that is due: a
//! minute of a provider's life takes no time, and every run is the same.

mod cluster;
mod http;
mod sink;
mod stream;
mod upgrade;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

pub(crate) use cluster::*;
pub(crate) use http::*;
pub(crate) use sink::*;
pub(crate) use stream::*;
pub(crate) use upgrade::*;

use crate::call::Why;
use crate::config::NodeInfo;
use crate::store::{Change, Entry, Expect, Failure};
use crate::time::Time;
use crate::{Error, Result};

/// 2026-11-24T10:00:00Z.
const START: Time = Time::from_millis(1_795_514_400_000);
/// The contract's bounds of a page.
const PAGE: usize = 500;
const KEYS: usize = 1000;
const PAGE_BYTES: usize = 1 << 20;
/// The host's own bounds of a key and a value.
const KEY: usize = 1 << 10;
const VALUE: usize = 1 << 20;

/// All that the host knows.
pub(crate) struct Host {
    /// What really passes.
    pub(crate) now: Time,
    /// How far the wall clock was set back.
    pub(crate) behind: Duration,
    pub(crate) cancel: Option<(Time, Why)>,
    pub(crate) deadline: Option<Time>,
    pub(crate) text: Option<String>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) variables: BTreeMap<String, String>,
    /// Who answers requests; none: nothing is granted.
    pub(crate) backend: Option<Backend>,
    pub(crate) hasty: Option<Hasty>,
    /// How long each piece of a request's body takes.
    pub(crate) upload_pause: Duration,
    pub(crate) cluster: Cluster,
    pub(crate) node: NodeInfo,
    pub(crate) writes: u64,
    /// What `store` answers with instead of working.
    pub(crate) store_down: bool,
    /// Revisions up to here are outworn.
    pub(crate) outworn: u64,
    actions: Vec<(Time, Box<dyn FnOnce()>)>,
    revision: u64,
    store: BTreeMap<String, (Entry, Option<Time>)>,
    journal: Vec<(u64, String)>,
    locks: BTreeMap<String, Vec<u64>>,
    next_lock: u64,
    randoms: u32,
}

impl Default for Host {
    fn default() -> Self {
        let text = str::to_owned;
        let node = NodeInfo {
            name: text("vk"),
            cluster_id: text("cluster"),
            cluster_domain: text("cluster.local"),
            internal_ip: text("192.0.2.1"),
            daemon_port: 10250,
            operating_system: text("linux"),
        };
        Self {
            now: START,
            behind: Duration::ZERO,
            cancel: None,
            deadline: None,
            text: None,
            files: BTreeMap::new(),
            variables: BTreeMap::new(),
            backend: None,
            hasty: None,
            upload_pause: Duration::ZERO,
            cluster: Cluster::default(),
            node,
            writes: 0,
            store_down: false,
            outworn: 0,
            actions: Vec::new(),
            revision: 0,
            store: BTreeMap::new(),
            journal: Vec::new(),
            locks: BTreeMap::new(),
            next_lock: 0,
            randoms: 0,
        }
    }
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// Reads or changes the host.
pub(crate) fn with<T>(f: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(f)
}

pub(crate) fn schedule(at: Time, action: Box<dyn FnOnce()>) {
    with(|host| host.actions.push((at, action)));
}

impl Host {
    fn write(&mut self, key: &str) -> u64 {
        self.revision += 1;
        self.writes += 1;
        self.journal.push((self.revision, key.to_owned()));
        self.revision
    }

    /// Removes what has expired by now; each expiry is news.
    fn expire(&mut self) {
        let due = |entry: &(Entry, Option<Time>)| entry.1.is_some_and(|at| at <= self.now);
        let gone: Vec<String> = self.store.iter().filter(|(_, entry)| due(entry)).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.store.remove(&key);
            self.revision += 1;
            self.journal.push((self.revision, key));
        }
    }

    fn check(&mut self, key: &str, expect: Expect) -> Result<(), Failure> {
        if self.store_down {
            return Err(Failure::Unavailable("the test said so".to_owned()));
        }
        self.expire();
        let there = self.store.get(key).map(|(entry, _)| entry.clone());
        let fits = match expect {
            Expect::Anything => true,
            Expect::Absent => there.is_none(),
            Expect::Revision(revision) => there.as_ref().is_some_and(|entry| entry.revision == revision),
        };
        if fits { Ok(()) } else { Err(Failure::Conflict { key: key.to_owned(), there }) }
    }

    /// When the host wants the call to end, and why: whichever comes first.
    fn end(&self) -> Option<(Time, Why)> {
        let deadline = self.deadline.map(|at| (at, Why::Deadline));
        self.cancel.into_iter().chain(deadline).min_by_key(|(at, _)| *at)
    }

    fn is_outworn(&self, revision: u64) -> bool {
        revision < self.outworn || revision > self.revision
    }

    fn news(&self, prefix: &str, revision: u64) -> Vec<(u64, &String)> {
        let mut last = BTreeMap::new();
        for (at, key) in self.journal.iter().filter(|(at, key)| *at > revision && key.starts_with(prefix)) {
            last.insert(key, *at);
        }
        let mut news: Vec<_> = last.into_iter().map(|(key, at)| (at, key)).collect();
        news.sort();
        news
    }

    fn ready(&self, pollable: &Pollable) -> bool {
        match pollable {
            Pollable::Always => true,
            Pollable::At(_) | Pollable::Of(_) => pollable.due().is_some_and(|at| at <= self.now),
            Pollable::Cancelled => self.end().is_some_and(|(at, _)| at <= self.now),
            Pollable::News(prefix, revision) => self.is_outworn(*revision) || !self.news(prefix, *revision).is_empty(),
            Pollable::Held(name, ticket) => self.locks.get(name).and_then(|queue| queue.first()) == Some(ticket),
        }
    }

    /// The next moment at which something may become ready.
    fn next_moment(&self, list: &[&Pollable]) -> Option<Time> {
        let clocks = list.iter().filter_map(|pollable| pollable.due());
        let expiries = self.store.values().filter_map(|(_, expiry)| *expiry);
        let end = self.end().map(|(at, _)| at).filter(|at| *at > self.now);
        clocks.chain(expiries).chain(end).chain(self.actions.iter().map(|(at, _)| *at)).min()
    }

    fn due_actions(&mut self) -> Vec<Box<dyn FnOnce()>> {
        let (due, later) = std::mem::take(&mut self.actions).into_iter().partition(|(at, _)| *at <= self.now);
        self.actions = later;
        let mut due: Vec<(Time, Box<dyn FnOnce()>)> = due;
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, action)| action).collect()
    }
}

/// What a wait can wait for.
pub(crate) enum Pollable {
    Always,
    At(Time),
    Of(Rc<dyn Due>),
    Cancelled,
    News(String, u64),
    Held(String, u64),
}

/// Something whose time may change while it is waited for.
pub(crate) trait Due {
    /// When it is ready; none: not as things stand.
    fn due(&self) -> Option<Time>;
}

impl Pollable {
    /// When the clock alone makes it ready.
    fn due(&self) -> Option<Time> {
        match self {
            Self::At(at) => Some(*at),
            Self::Of(of) => of.due(),
            Self::Always | Self::Cancelled | Self::News(..) | Self::Held(..) => None,
        }
    }
}

#[expect(clippy::panic, reason = "the test harness ends a test that would hang")]
pub(crate) fn poll(list: &[&Pollable]) -> Vec<u32> {
    assert!(!list.is_empty(), "poll of an empty list traps");
    loop {
        let ready: Vec<u32> = with(|host| {
            host.expire();
            (0_u32..).zip(list).filter(|(_, pollable)| host.ready(pollable)).map(|(index, _)| index).collect()
        });
        if !ready.is_empty() {
            return ready;
        }
        let Some(next) = with(|host| host.next_moment(list)) else { panic!("this call would wait for ever") };
        advance_to(next);
    }
}

/// Lets time pass, with what is due on the way.
pub(crate) fn advance_to(time: Time) {
    loop {
        let next = with(|host| host.actions.iter().map(|(at, _)| *at).min()).filter(|at| *at <= time);
        with(|host| host.now = host.now.max(next.unwrap_or(time)));
        let due = with(Host::due_actions);
        if due.is_empty() && next.is_none() {
            return with(Host::expire);
        }
        due.into_iter().for_each(|action| action());
    }
}

/// The moment that lies so far ahead, whatever the wall clock says.
pub(crate) fn ahead(time: Duration) -> Time {
    with(|host| host.now + time)
}

pub(crate) fn after(time: Duration) -> Pollable {
    Pollable::At(ahead(time))
}

pub(crate) fn monotonic() -> Duration {
    with(|host| host.now.since(START))
}

pub(crate) fn now() -> Time {
    with(|host| host.now - host.behind)
}

pub(crate) fn cancelled() -> Pollable {
    Pollable::Cancelled
}

pub(crate) fn reason() -> Option<Why> {
    with(|host| host.end().filter(|(at, _)| *at <= host.now).map(|(_, why)| why))
}

pub(crate) fn remaining() -> Option<Duration> {
    with(|host| host.deadline.map(|at| at.since(host.now)))
}

pub(crate) fn node() -> NodeInfo {
    with(|host| host.node.clone())
}

pub(crate) fn text() -> Result<Option<String>> {
    Ok(with(|host| host.text.clone()))
}

pub(crate) fn variable(name: &str) -> Option<String> {
    with(|host| host.variables.get(name).cloned())
}

/// The same numbers in every run (Knuth's multiplicative hash of how often it was asked for).
pub(crate) fn random() -> u32 {
    with(|host| {
        host.randoms = host.randoms.wrapping_add(1);
        host.randoms.wrapping_mul(2_654_435_761)
    })
}

pub(crate) fn file(name: &str) -> Result<Vec<u8>> {
    with(|host| host.files.get(name).cloned())
        .ok_or_else(|| Error::permission_denied("NotGranted", format!("the file {name:?} was not granted")))
}

pub(crate) fn get(key: &str) -> Result<Option<Entry>, Failure> {
    with(|host| {
        host.check(key, Expect::Anything)?;
        Ok(host.store.get(key).map(|(entry, _)| entry.clone()))
    })
}

pub(crate) fn put(key: &str, value: &[u8], expect: Expect, ttl: Option<Duration>) -> Result<u64, Failure> {
    with(|host| {
        if key.len() > KEY || value.len() > VALUE {
            return Err(Failure::TooLong { key: key.to_owned() });
        }
        host.check(key, expect)?;
        let revision = host.write(key);
        let expiry = ttl.map(|ttl| host.now + ttl);
        host.store.insert(key.to_owned(), (Entry { value: value.to_vec(), revision }, expiry));
        Ok(revision)
    })
}

pub(crate) fn remove(key: &str, expect: Expect) -> Result<(), Failure> {
    with(|host| {
        host.check(key, expect)?;
        if host.store.remove(key).is_some() {
            host.write(key);
        }
        Ok(())
    })
}

pub(crate) fn keys(prefix: &str, after: Option<&str>) -> Result<Vec<String>, Failure> {
    with(|host| {
        host.check(prefix, Expect::Anything)?;
        Ok(host
            .store
            .keys()
            .filter(|key| key.starts_with(prefix) && is_after(key, after))
            .take(KEYS)
            .cloned()
            .collect())
    })
}

pub(crate) fn scan(prefix: &str, after: Option<&str>) -> Result<Vec<(String, Entry)>, Failure> {
    with(|host| {
        host.check(prefix, Expect::Anything)?;
        let there = host.store.iter().filter(|(key, _)| key.starts_with(prefix) && is_after(key, after));
        let mut page = Bounded::default();
        for (key, (entry, _)) in there {
            if !page.push(key, Some(entry)) {
                break;
            }
        }
        Ok(page.items.into_iter().filter_map(|(key, entry)| Some((key, entry?))).collect())
    })
}

/// As much as one answer holds: the first item whatever its size.
#[derive(Default)]
struct Bounded {
    items: Vec<Change>,
    bytes: usize,
}

impl Bounded {
    /// false: it is full, and this was not taken.
    fn push(&mut self, key: &str, entry: Option<&Entry>) -> bool {
        self.bytes += key.len() + entry.map_or(0, |entry| entry.value.len());
        if self.items.len() == PAGE || (self.bytes > PAGE_BYTES && !self.items.is_empty()) {
            return false;
        }
        self.items.push((key.to_owned(), entry.cloned()));
        true
    }
}

fn is_after(key: &str, after: Option<&str>) -> bool {
    after.is_none_or(|after| key > after)
}

pub(crate) fn revision() -> Result<u64, Failure> {
    with(|host| {
        host.check("", Expect::Anything)?;
        Ok(host.revision)
    })
}

pub(crate) fn since(prefix: &str, revision: u64) -> Result<(u64, Vec<Change>), Failure> {
    with(|host| {
        host.check(prefix, Expect::Anything)?;
        if host.is_outworn(revision) {
            return Err(Failure::Outworn);
        }
        let (mut page, mut reached) = (Bounded::default(), revision);
        for (at, key) in host.news(prefix, revision) {
            if !page.push(key, host.store.get(key).map(|(entry, _)| entry)) {
                return Ok((reached, page.items));
            }
            reached = at;
        }
        Ok((host.revision, page.items))
    })
}

pub(crate) fn subscribe(prefix: &str, revision: u64) -> Pollable {
    Pollable::News(prefix.to_owned(), revision)
}

/// A place in a queue.
pub(crate) struct Lock {
    name: String,
    ticket: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        with(|host| {
            if let Some(queue) = host.locks.get_mut(&self.name) {
                queue.retain(|ticket| *ticket != self.ticket);
            }
        });
    }
}

/// The time to live is not played.
pub(crate) fn acquire(name: &str, _ttl: Duration) -> Lock {
    with(|host| {
        host.next_lock += 1;
        let ticket = host.next_lock;
        host.locks.entry(name.to_owned()).or_default().push(ticket);
        Lock { name: name.to_owned(), ticket }
    })
}

pub(crate) fn lock_subscribe(lock: &Lock) -> Pollable {
    Pollable::Held(lock.name.clone(), lock.ticket)
}

pub(crate) fn lock_held(lock: &Lock) -> bool {
    with(|host| host.ready(&lock_subscribe(lock)))
}
