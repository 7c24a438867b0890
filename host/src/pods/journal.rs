//! What must be remembered of creates, though the host be killed at any moment: that one may have been sent (R9b).
//!
//! ```text
//!  begin ───────▶ the create is sent ──▶ the API server shows that the pod has run,
//!    │                │                  or surely nothing was made, or it is gone ──▶ end
//!    │                └─ outcome unknown ──▶ unclear(until) ──▶ absent after `until` ──▶ end
//!    └─ killed ──▶ at the next start: unclear(now + settle)
//! ```
//!
//! A record that is found at the start makes the pod begin as unclear: it is looked for before anything is made. If the pod
//! is not in the API server any more, the record is its tombstone: the removal is repeated until the backend says that it is
//! absent, and the time is over from which on that proves something. A create that was under way when the host was killed may
//! have been sent in its last moment, long after the record was written; that moment was before this start, so the provider's
//! settle time counts from here. It is written down, so that more restarts do not put it off.
//!
//! The file, `creates` in the state directory, has one line a change: eight digits of a checksum, a blank, JSON. A line is one
//! `write`, which goes into the page cache: it costs microseconds and survives every end of the process. It is *not* synced,
//! so that a power cut may take the last seconds with it. What that leaves is read as far as it goes: lines that do not match
//! their checksum are dropped.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::provider::PodRef;

/// Name of the file in the state directory.
const FILE: &str = "creates";
/// Digits of a line's checksum.
const CHECKSUM: usize = 8;
/// The file is written anew beyond so many bytes, some thousand pods, and beyond four times what is still of interest.
const COMPACT_AT: u64 = 512 << 10;

/// Why creates cannot be remembered.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}: {source}; free or mend the disk, or give another --state-dir", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// A create that may have been sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    uid: String,
    namespace: String,
    name: String,
    /// What was to be made; for people.
    revision: String,
    /// When, in Unix milliseconds; for people.
    started: i64,
    /// Until when absence proves nothing, in Unix milliseconds; none: the create is under way, or has worked and the API server
    /// does not show it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a> {
    /// Replaces an earlier record of the same pod.
    Open(Cow<'a, Record>),
    /// UID of a pod whose create is of no interest any more.
    End(Cow<'a, str>),
}

/// A record, as the start of the host finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    /// Which pod.
    pub(super) id: PodRef,
    /// Until when absence proves nothing.
    pub(super) until: Instant,
}

/// The creates that may have been sent.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    records: HashMap<String, Record>,
    /// Of the file, in bytes.
    length: u64,
    /// The length at which it is written anew.
    compact_at: u64,
    /// A write has failed half-way: the next line begins a new one.
    torn: bool,
}

impl Journal {
    /// Reads the file of this directory, if there is one, and writes it anew. `settle` is the provider's.
    pub(super) fn open(directory: &Path, settle: Duration) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let failed = |source| Error { path: path.clone(), source };
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let (mut records, dropped) = read(&text);
        if dropped > 0 {
            tracing::warn!(file = %path.display(), lines = dropped, "lines that were not written whole are dropped");
        }
        let settled = Timestamp::now().as_millisecond().saturating_add(millis(settle));
        for record in records.values_mut() {
            // A clock that was set back since would put it off for as long.
            record.until = Some(record.until.map_or(settled, |until| until.min(settled)));
            tracing::info!(pod = %record.id(), uid = %record.uid, "a create of unknown outcome is remembered");
        }
        let (file, length) = rewrite(&path, &records, File::sync_all).map_err(failed)?;
        let state = State { file, records, length, compact_at: compact_at(length), torn: false };
        Ok(Self { path, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a create is about to be sent. It must not be if this fails.
    pub(super) fn begin(&self, id: &PodRef, revision: &str) -> Result<(), Error> {
        let record = Record {
            uid: id.uid.clone(),
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            revision: revision.to_string(),
            started: Timestamp::now().as_millisecond(),
            until: None,
        };
        let mut state = self.state();
        let written = state.append(&Line::Open(Cow::Borrowed(&record)));
        written.map_err(|source| Error { path: self.path.clone(), source })?;
        state.records.insert(record.uid.clone(), record);
        self.keep_small(&mut state);
        Ok(())
    }

    /// The outcome is not known; absence proves something once `settle` is over.
    pub(super) fn unclear(&self, uid: &str, settle: Duration) {
        let mut state = self.state();
        let State { records, .. } = &mut *state;
        let Some(record) = records.get_mut(uid) else { return };
        record.until = Some(Timestamp::now().as_millisecond().saturating_add(millis(settle)));
        let record = record.clone();
        self.told(state.append(&Line::Open(Cow::Owned(record))));
        self.keep_small(&mut state);
    }

    /// There is nothing to be remembered of this pod any more.
    pub(super) fn end(&self, uid: &str) {
        let mut state = self.state();
        if state.records.remove(uid).is_some() {
            self.told(state.append(&Line::End(uid.into())));
            self.keep_small(&mut state);
        }
    }

    /// Whether a create of this pod may have been sent.
    pub(super) fn has(&self, uid: &str) -> bool {
        self.state().records.contains_key(uid)
    }

    /// What an earlier process has left, to be asked for before anything begins.
    pub(super) fn remembered(&self) -> Vec<Remembered> {
        self.state().records.values().map(Record::remembered).collect()
    }

    /// What is remembered too long costs a look at the next start, and nothing else.
    fn told(&self, written: io::Result<()>) {
        if let Err(error) = written {
            tracing::warn!(file = %self.path.display(), %error, "the outcome of a create could not be written down");
        }
    }

    /// Writes the file anew when most of it is of no interest any more. This syncs: once in thousands of pods.
    fn keep_small(&self, state: &mut State) {
        if state.length < state.compact_at {
            return;
        }
        match rewrite(&self.path, &state.records, File::sync_all) {
            Ok((file, length)) => {
                *state = State {
                    file,
                    length,
                    compact_at: compact_at(length),
                    torn: false,
                    records: std::mem::take(&mut state.records),
                };
            }
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "cannot be written anew; it grows on");
                state.compact_at = compact_at(state.length);
            }
        }
    }
}

impl State {
    fn append(&mut self, line: &Line<'_>) -> io::Result<()> {
        let mut text = if self.torn { String::from("\n") } else { String::new() };
        push(&mut text, line)?;
        // Until it is known to be whole.
        self.torn = true;
        self.file.write_all(text.as_bytes())?;
        self.torn = false;
        self.length = self.length.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

impl Record {
    fn id(&self) -> PodRef {
        PodRef { namespace: self.namespace.clone(), name: self.name.clone(), uid: self.uid.clone() }
    }

    fn remembered(&self) -> Remembered {
        let left = self.until.unwrap_or_default().saturating_sub(Timestamp::now().as_millisecond());
        let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
        let now = Instant::now();
        Remembered { id: self.id(), until: now.checked_add(left).unwrap_or(now) }
    }
}

fn compact_at(length: u64) -> u64 {
    length.saturating_mul(4).max(COMPACT_AT)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn checksum(json: &str) -> String {
    let mut digits = HEXLOWER.encode(&Sha256::digest(json.as_bytes()));
    digits.truncate(CHECKSUM);
    digits
}

fn push(text: &mut String, line: &Line<'_>) -> io::Result<()> {
    let json = serde_json::to_string(line)?;
    text.push_str(&checksum(&json));
    text.push(' ');
    text.push_str(&json);
    text.push('\n');
    Ok(())
}

/// What is open at the end of a file, and how many lines made no sense.
fn read(file: &[u8]) -> (HashMap<String, Record>, usize) {
    let (mut records, mut dropped) = (HashMap::new(), 0);
    for line in file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' '));
        let json = line.filter(|(sum, json)| *sum == checksum(json)).map(|(_, json)| json);
        match json.and_then(|json| serde_json::from_str(json).ok()) {
            Some(Line::Open(record)) => {
                records.insert(record.uid.clone(), record.into_owned());
            }
            Some(Line::End(uid)) => {
                records.remove(&*uid);
            }
            None => dropped += 1,
        }
    }
    (records, dropped)
}

/// Writes a file of these records in the place of the old one, whole or not at all, also after a power cut if `sync` works for
/// the directory. Returns it, to be appended to, and its length. An error: the old file is still the one that has the name.
fn rewrite(
    path: &Path,
    records: &HashMap<String, Record>,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<(File, u64)> {
    let mut text = String::new();
    for record in records.values() {
        push(&mut text, &Line::Open(Cow::Borrowed(record)))?;
    }
    let new = path.with_extension("new");
    // What an earlier try has left is no part of it.
    File::create(&new)?;
    let mut file = OpenOptions::new().append(true).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let directory = path.parent().map(File::open).transpose()?;
    std::fs::rename(&new, path)?;
    // The new name is on disk once its directory is. From here on the old file has no name, and nobody would find what is
    // appended to it.
    if let Some(Err(error)) = directory.as_ref().map(sync) {
        tracing::warn!(file = %path.display(), %error, "may not outlive a power cut");
    }
    Ok((file, u64::try_from(text.len()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(60);

    fn id(uid: &str) -> PodRef {
        PodRef { namespace: "ns".into(), name: format!("pod-{uid}"), uid: uid.into() }
    }

    fn uids(journal: &Journal) -> Vec<String> {
        let mut uids: Vec<String> = journal.remembered().into_iter().map(|remembered| remembered.id.uid).collect();
        uids.sort();
        uids
    }

    #[test]
    fn what_has_begun_and_not_ended_is_remembered_by_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path(), SETTLE).unwrap();
        for uid in ["a", "b", "c"] {
            journal.begin(&id(uid), "1-x").unwrap();
        }
        journal.end("b");
        journal.end("never begun");
        let next = Journal::open(directory.path(), SETTLE).unwrap();
        assert_eq!(uids(&next), ["a", "c"]);
        assert!(next.remembered().iter().any(|remembered| remembered.id == id("a")));
        assert!(next.has("a") && !next.has("b"));
    }

    #[test]
    fn a_create_that_was_under_way_settles_from_the_start_on_and_restarts_do_not_put_it_off() {
        let directory = tempfile::tempdir().unwrap();
        Journal::open(directory.path(), SETTLE).unwrap().begin(&id("a"), "1-x").unwrap();
        let left = |journal: &Journal| journal.remembered()[0].until.duration_since(Instant::now());
        let first = left(&Journal::open(directory.path(), SETTLE).unwrap());
        assert!(first > SETTLE / 2 && first <= SETTLE, "{first:?}");
        let later = Journal::open(directory.path(), SETTLE * 10).unwrap();
        assert!(left(&later) <= SETTLE, "{:?}", left(&later));
        later.unclear("a", Duration::ZERO);
        assert_eq!(left(&Journal::open(directory.path(), SETTLE).unwrap()), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_was_set_back_puts_nothing_off() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path(), SETTLE).unwrap();
        journal.begin(&id("a"), "1-x").unwrap();
        journal.unclear("a", SETTLE * 1000);
        let next = Journal::open(directory.path(), SETTLE).unwrap();
        assert!(next.remembered()[0].until <= Instant::now() + SETTLE);
    }

    #[test]
    fn whatever_a_power_cut_leaves_is_read_as_far_as_it_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let journal = Journal::open(directory.path(), SETTLE).unwrap();
        for uid in ["a", "b", "c"] {
            journal.begin(&id(uid), "1-x").unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            let lines = whole[..length].iter().filter(|byte| **byte == b'\n').count();
            // A last line that lacks nothing but its end counts too.
            let found = read(&whole[..length]).0.len();
            assert!(found == lines || (found == lines + 1 && whole[length] == b'\n'), "{length}: {found} of {lines}");
        }
        let mut hole = whole.clone();
        let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 5;
        hole[second..second + 40].fill(0);
        std::fs::write(&path, hole).unwrap();
        let journal = Journal::open(directory.path(), SETTLE).unwrap();
        assert_eq!(uids(&journal), ["a", "c"]);
        journal.begin(&id("d"), "1-x").unwrap();
        assert_eq!(uids(&Journal::open(directory.path(), SETTLE).unwrap()), ["a", "c", "d"]);
    }

    #[test]
    fn a_line_after_one_that_was_cut_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path(), SETTLE).unwrap();
        {
            let mut state = journal.state();
            state.file.write_all(b"12345678 {\"open\"").unwrap();
            state.torn = true;
        }
        journal.begin(&id("a"), "1-x").unwrap();
        assert_eq!(uids(&Journal::open(directory.path(), SETTLE).unwrap()), ["a"]);
    }

    #[test]
    fn the_file_stays_small() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path(), SETTLE).unwrap();
        journal.begin(&id("stays"), "1-x").unwrap();
        for number in 0..5000 {
            let uid = number.to_string();
            journal.begin(&id(&uid), "1-abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst").unwrap();
            journal.end(&uid);
        }
        let length = std::fs::metadata(directory.path().join(FILE)).unwrap().len();
        assert!(length <= COMPACT_AT, "{length}");
        assert_eq!(uids(&Journal::open(directory.path(), SETTLE).unwrap()), ["stays"]);
    }

    #[test]
    fn a_file_written_anew_is_the_one_that_is_found_though_its_directory_does_not_sync() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path(), SETTLE).unwrap();
        journal.begin(&id("a"), "1-x").unwrap();
        let sync = |_: &File| Err(io::Error::other("the disk is ill"));
        let (mut file, _) = rewrite(&journal.path, &journal.state().records, sync).unwrap();
        let mut line = String::new();
        let record = Record { uid: "b".into(), ..journal.state().records["a"].clone() };
        push(&mut line, &Line::Open(Cow::Owned(record))).unwrap();
        file.write_all(line.as_bytes()).unwrap();
        assert_eq!(uids(&Journal::open(directory.path(), SETTLE).unwrap()), ["a", "b"]);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let error = Journal::open(&directory.path().join("none"), SETTLE).unwrap_err().to_string();
        assert!(error.contains("none/creates") && error.contains("--state-dir"), "{error}");
    }
}
