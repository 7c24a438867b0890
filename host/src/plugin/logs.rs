//! One reader's log, across swaps: where the old generation stopped the new one goes on, no line lost and none twice.
//!
//! ```text
//! old: 1 2 3 3' │ asked to end          entries by their times; two of them at 3
//! new:     3 3' 3" 4 5 …                asked for all since 3; the two of exactly that time are skipped
//! ```
//!
//! What counts is what the reader's channel has taken, so an old generation may be dropped in the middle of a write. A log
//! without times has no place to go on from: it stays with its generation until it ends.
//!
//! A tail of which nothing had come is asked for again. If its first entry then is later than the reader, there may be more
//! such entries than the tail is long, and all of those are asked for instead: what the reader gets is always the tail as of some
//! moment since it came, and all that followed.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use wasmtime::Store;
use wasmtime::component::{Instance, Resource};

use super::Plugin;
use super::bindings::virtual_kubelet::provider::types;
use super::call::{Class, Request};
use super::generation::Generation;
use super::imports::log_sink::Sink;
use super::provider::missing;
use super::state::{Cpu, State};
use crate::provider::{Call, Canceller, Code, Error, LogEntry, LogOptions, LogSink, PodRef, Source, Why};

/// As [`Provider::get_container_logs`](crate::provider::Provider::get_container_logs).
pub(super) async fn read(
    plugin: &Plugin,
    call: Call,
    id: &PodRef,
    container: &str,
    options: LogOptions,
    sink: LogSink,
) -> Result<(), Error> {
    let progress = Shared::new(now());
    let mut wanted = options.clone();
    let request = |replaced| Request {
        class: Class::Session,
        deadline: None,
        cpu: Cpu::Share { time: plugin.limits().session_cpu, period: plugin.limits().session_period },
        call: call.clone(),
        replaced,
        reader: Some(sink.clone()),
        ..plugin.look("get-container-logs", Some(id))
    };
    // Over all swaps: those who queue for one would take it, and the log stand still for as long as they read.
    let _place = plugin.place(&request(None)).await?;
    loop {
        let (canceller, replaced) = Call::new();
        let (canceller, request) = (Arc::new(canceller), request(Some(replaced.clone())));
        let generation = plugin.serving(&request).await?;
        let to = Sink::new(sink.clone(), &progress, &canceller);
        let session = session(plugin, &generation, request, container, wanted, to);
        let result = tokio::select! {
            biased;
            result = session => result,
            never = hand_over(&generation, &progress, &canceller) => match never {},
        };
        // An end that the host wished is not the log's; the contract says so.
        let mut progress = progress.lock();
        let goes_on = generation.is_replaced() || progress.is_late(None);
        if !goes_on || call.reason().is_some() || sink.is_closed() {
            return result;
        }
        match progress.resume(&options) {
            Some(rest) => wanted = rest,
            None if replaced.reason().is_none() => return result,
            None => {
                // Entries without a time came while it was being handed over.
                tracing::warn!(generation = generation.number, "a log breaks off, as it has no place to go on from");
                return Err(broken_off());
            }
        }
    }
}

async fn session(
    plugin: &Plugin,
    generation: &Generation,
    request: Request,
    container: &str,
    options: LogOptions,
    sink: Sink,
) -> Result<(), Error> {
    let logs = generation.exports.container_logs.as_ref().ok_or_else(|| missing("container-logs"))?;
    let id = request.pod.clone().map(types::PodRef::from);
    plugin
        .call_on(generation, request, async move |store: &mut Store<State>, instance: &Instance| {
            let id = id.ok_or_else(|| wasmtime::Error::msg("a log of no pod"))?;
            let sink: Resource<Sink> = store.data_mut().table.push(sink)?;
            logs.load(&mut *store, instance)?.call_get_container_logs(store, &id, container, options.into(), sink).await
        })
        .await
}

/// Asks the session to end once its generation is replaced, if another one can go on where it stops.
async fn hand_over(generation: &Generation, progress: &Shared, canceller: &Canceller) -> Infallible {
    generation.replaced().cancelled().await;
    if progress.lock().reached == Reached::Untimed {
        tracing::info!(generation = generation.number, "a log without times stays with the plugin that was replaced");
    } else {
        canceller.cancel(Why::Replaced);
    }
    std::future::pending().await
}

/// An end that would look like the log's own.
fn broken_off() -> Error {
    Error::new(Code::Unavailable, "LogBrokenOff", "the plugin was replaced, and the log cannot go on where it stopped")
}

fn now() -> u64 {
    u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default()
}

/// What the reader and the sink both look at.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Progress>>);

impl Shared {
    /// Nothing is delivered yet. `began`: unix time in nanoseconds.
    fn new(began: u64) -> Self {
        Self(Arc::new(Mutex::new(Progress { began, reached: Reached::Nothing, skip: None, tail: Tail::First })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far one reader has come.
#[derive(Debug)]
pub(super) struct Progress {
    began: u64,
    reached: Reached,
    /// What was delivered before the present session began, as long as it may come again.
    skip: Option<Last>,
    tail: Tail,
}

/// What a session's first entry decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// Nothing: the tail is what it was at first.
    First,
    /// The tail is asked for again.
    Again,
    /// It was, and the reader is older than its first entry: this session is not the one to go on with.
    Late,
}

/// What was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    Nothing,
    At(Last),
    /// An entry without a time was among it.
    Untimed,
}

/// The latest time of an entry, and how many of each source had exactly that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    time: u64,
    stdout: u64,
    stderr: u64,
}

impl Last {
    fn of(&mut self, source: Source) -> &mut u64 {
        match source {
            Source::Stdout => &mut self.stdout,
            Source::Stderr => &mut self.stderr,
        }
    }
}

impl Progress {
    /// Whether the session has to end, seen from the first of its next entries, as it may have left out what is new.
    pub(super) fn is_late(&mut self, first: Option<&LogEntry>) -> bool {
        if let (Tail::Again, Some(first)) = (self.tail, first) {
            self.tail = if first.time_ns >= Some(self.began) { Tail::Late } else { Tail::First };
        }
        self.tail == Tail::Late
    }

    /// Whether the reader has not had this entry.
    pub(super) fn is_new(&mut self, entry: &LogEntry) -> bool {
        let (Some(skip), Some(time)) = (&mut self.skip, entry.time_ns) else { return true };
        let reached = skip.time;
        if time > reached {
            self.skip = None;
            return true;
        }
        if time < reached {
            return false;
        }
        let left = skip.of(entry.source);
        let had = *left > 0;
        *left = left.saturating_sub(1);
        !had
    }

    /// Where the reader will be with these entries too.
    pub(super) fn with(&self, entries: &[LogEntry]) -> Reached {
        entries.iter().fold(self.reached, |reached, entry| {
            let (reached, time) = match (reached, entry.time_ns) {
                (Reached::Untimed, _) | (_, None) => return Reached::Untimed,
                (reached, Some(time)) => (reached, time),
            };
            let mut last = match reached {
                Reached::At(last) if last.time >= time => last,
                _ => Last { time, stdout: 0, stderr: 0 },
            };
            // An earlier one, out of order, is not asked for again.
            if last.time == time {
                *last.of(entry.source) += 1;
            }
            Reached::At(last)
        })
    }

    /// The reader has taken what [`with`](Self::with) told of.
    pub(super) fn advance(&mut self, reached: Reached) {
        self.reached = reached;
    }

    /// What the next session is asked for; none: it cannot go on where this one stopped.
    fn resume(&mut self, options: &LogOptions) -> Option<LogOptions> {
        match self.reached {
            Reached::Untimed => None,
            // Of no earlier lines, nothing came yet: what comes from the beginning of the wait on is new.
            Reached::Nothing if options.tail == Some(0) || self.tail == Tail::Late => {
                self.tail = Tail::First;
                let since_ns = options.since_ns.max(Some(self.began));
                Some(LogOptions { tail: None, since_ns, ..options.clone() })
            }
            Reached::Nothing => {
                if options.follow && options.tail.is_some() {
                    self.tail = Tail::Again;
                }
                Some(options.clone())
            }
            Reached::At(last) => {
                self.skip = Some(last);
                // The limit counts from the log's beginning, and the host cuts there by itself.
                Some(LogOptions { tail: None, since_ns: Some(last.time), limit_bytes: None, ..options.clone() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(time: u64, source: Source) -> LogEntry {
        LogEntry { time_ns: Some(time), source, partial: false, bytes: "x".into() }
    }

    fn progress() -> Progress {
        Progress { began: 100, reached: Reached::Nothing, skip: None, tail: Tail::First }
    }

    fn deliver(progress: &mut Progress, entries: &[LogEntry]) -> usize {
        let new: Vec<LogEntry> = entries.iter().filter(|entry| progress.is_new(entry)).cloned().collect();
        progress.reached = progress.with(&new);
        new.len()
    }

    /// Whatever the first session has delivered of the log, the second one delivers the rest, even if it is told too much.
    #[test]
    fn wherever_it_stops_the_rest_comes_once() {
        use Source::{Stderr, Stdout};
        let log: Vec<LogEntry> =
            [(1, Stdout), (3, Stdout), (3, Stderr), (3, Stdout), (3, Stderr), (4, Stderr), (6, Stdout), (6, Stdout)]
                .into_iter()
                .map(|(time, source)| entry(time, source))
                .collect();
        for first in 0..=log.len() {
            for second in first..=log.len() {
                let mut progress = progress();
                let mut delivered = deliver(&mut progress, &log[..first]);
                for end in [second, log.len()] {
                    let since = progress.resume(&LogOptions::default()).unwrap().since_ns.unwrap_or(0);
                    let again: Vec<_> =
                        log[..end].iter().filter(|entry| entry.time_ns >= Some(since)).cloned().collect();
                    delivered += deliver(&mut progress, &again);
                    assert_eq!(delivered, end, "{first} {second}");
                }
            }
        }
    }

    #[test]
    fn what_the_provider_told_in_spite_of_since_is_skipped() {
        let mut progress = progress();
        let log = [entry(1, Source::Stdout), entry(2, Source::Stdout), entry(2, Source::Stderr)];
        assert_eq!(deliver(&mut progress, &log), 3);
        progress.resume(&LogOptions::default()).unwrap();
        assert_eq!(deliver(&mut progress, &log), 0);
        assert_eq!(deliver(&mut progress, &[entry(2, Source::Stderr), entry(3, Source::Stdout)]), 2);
        // Late, and out of order: the skipping is over.
        assert_eq!(deliver(&mut progress, &[entry(1, Source::Stdout)]), 1);
    }

    #[test]
    fn an_entry_without_a_time_stays_with_its_generation() {
        let mut progress = progress();
        let untimed = LogEntry { time_ns: None, ..entry(0, Source::Stdout) };
        assert_eq!(deliver(&mut progress, &[entry(1, Source::Stdout), untimed]), 2);
        assert_eq!(progress.resume(&LogOptions::default()), None);
    }

    #[test]
    fn tail_and_limit_count_once() {
        let asked = LogOptions { tail: Some(5), limit_bytes: Some(9), follow: true, ..LogOptions::default() };
        let mut progress = progress();
        assert_eq!(progress.resume(&asked).unwrap(), asked, "nothing came: all is asked again");
        deliver(&mut progress, &[entry(7, Source::Stdout)]);
        let rest = progress.resume(&asked).unwrap();
        assert_eq!(rest, LogOptions { since_ns: Some(7), follow: true, ..LogOptions::default() });
    }

    #[test]
    fn a_tail_that_is_asked_for_again_leaves_out_nothing_new() {
        let asked = LogOptions { tail: Some(2), follow: true, ..LogOptions::default() };
        // What the reader would have seen is among it.
        let mut before = progress();
        assert_eq!(before.resume(&asked).unwrap(), asked);
        assert!(!before.is_late(None) && !before.is_late(Some(&entry(99, Source::Stdout))));
        assert!(!before.is_late(Some(&entry(101, Source::Stdout))), "the first one has decided");
        // It may not be.
        let mut late = progress();
        late.resume(&asked).unwrap();
        assert!(late.is_late(Some(&entry(100, Source::Stdout))));
        assert!(late.is_late(Some(&entry(101, Source::Stdout))), "nothing of this session is taken");
        let rest = late.resume(&asked).unwrap();
        assert_eq!(rest, LogOptions { tail: None, since_ns: Some(100), ..asked.clone() });
        assert!(!late.is_late(Some(&entry(100, Source::Stdout))));
        // The first session has the tail that was meant.
        assert!(!progress().is_late(Some(&entry(100, Source::Stdout))));
    }

    #[test]
    fn who_asked_for_nothing_but_news_gets_all_news() {
        let asked = LogOptions { tail: Some(0), follow: true, ..LogOptions::default() };
        let rest = progress().resume(&asked).unwrap();
        assert_eq!(rest, LogOptions { since_ns: Some(100), follow: true, ..LogOptions::default() });
    }
}
