//! `kubectl logs`: the engine's log of one attempt, as entries.

use vk_engine::container::Details;
use vk_engine::logs::{Decoder, Lines, LogOptions};
use vk_provider::container_logs::{Entry, Options, Sink};
use vk_provider::http::{Cause, Failure};
use vk_provider::{Error, PodRef, Result};

use crate::context::Context;

/// Writes the log of an attempt into the sink.
///
/// # Errors
/// There is no such pod, container or attempt, in the kubelet's words; or the engine is not to be reached.
pub(crate) fn write(context: &Context, id: &PodRef, container: &str, options: Options, to: &Sink) -> Result<()> {
    let details = attempt(context, id, container, options)?;
    if details.state.started_at.is_none() {
        return Err(waiting(id, container));
    }
    let Options { tail, since, follow, .. } = options;
    let (mut asked, mut kept) = (LogOptions { tail, since, follow }, Kept::ALL);
    if let Some(tail) = tail.filter(|_| !context.engine.dialect().has_last_messages()) {
        asked.tail = None;
        kept = last_lines(context, &details, asked, tail)?;
    }
    let left = options.limit_bytes.unwrap_or(u64::MAX);
    let mut writer = Writer { to, left, lines: Lines::default(), kept, seen: 0, told: 0 };
    let is_whole = read(context, &details, asked, |entries| writer.write(entries))?;
    if is_whole && follow && !context.engine.dialect().follows_to_the_end() {
        writer.begin_again();
        read(context, &details, LogOptions { follow: false, ..asked }, |entries| writer.write(entries))?;
    }
    Ok(())
}

/// Reads a log until its end, or until somebody wants no more of it: the host, as it goes on elsewhere, or who takes the entries.
/// Returns whether it came to its end.
fn read(
    context: &Context,
    details: &Details,
    options: LogOptions,
    mut take: impl FnMut(Vec<Entry>) -> bool,
) -> Result<bool> {
    let mut body = context.engine.container_logs(&details.id, options)?;
    let mut decoder = Decoder::new(details.config.tty);
    loop {
        match body.chunk() {
            Ok(Some(bytes)) => {
                let entries =
                    decoder.feed(&bytes).map_err(|error| Error::unknown("LogUnreadable", error.to_string()))?;
                if !take(entries) {
                    return Ok(false);
                }
            }
            Ok(None) => break,
            Err(Failure { cause: Cause::Cancelled, .. }) => return Ok(false),
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(take(decoder.finish()))
}

/// Lines of a log that are wanted, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    after: u64,
    until: u64,
}

impl Kept {
    const ALL: Self = Self { after: 0, until: u64::MAX };
}

/// The last lines of a log, for an engine that does not tell them: it is read twice, as what it may hold is too much to remember.
fn last_lines(context: &Context, details: &Details, options: LogOptions, tail: u32) -> Result<Kept> {
    let mut lines = Lines::default();
    read(context, details, LogOptions { follow: false, ..options }, |entries| {
        for entry in &entries {
            lines.number_of(entry);
        }
        true
    })?;
    let until = if options.follow { u64::MAX } else { lines.count() };
    Ok(Kept { after: lines.count().saturating_sub(tail.into()), until })
}

struct Writer<'a> {
    to: &'a Sink,
    /// Bytes that the reader still takes.
    left: u64,
    lines: Lines,
    kept: Kept,
    /// Entries that have come.
    seen: u64,
    /// So many of the first are told already.
    told: u64,
}

impl Writer<'_> {
    /// The same log comes from its beginning.
    fn begin_again(&mut self) {
        (self.told, self.seen, self.lines) = (self.seen, 0, Lines::default());
    }

    /// false: nobody reads any more.
    fn write(&mut self, mut entries: Vec<Entry>) -> bool {
        entries.retain(|entry| {
            self.seen = self.seen.saturating_add(1);
            let line = self.lines.number_of(entry);
            self.seen > self.told && line > self.kept.after && line <= self.kept.until
        });
        let mut taken = 0;
        for entry in &entries {
            if self.left == 0 {
                break;
            }
            let newline = u64::from(!entry.partial);
            self.left =
                self.left.saturating_sub(u64::try_from(entry.bytes.len()).unwrap_or(u64::MAX).saturating_add(newline));
            taken += 1;
        }
        entries.truncate(taken);
        (entries.is_empty() || self.to.write(entries)) && self.left > 0
    }
}

/// The container of the attempt that was asked for. The host of a pod machine always says which.
fn attempt(context: &Context, id: &PodRef, container: &str, options: Options) -> Result<Details> {
    let number = match options.attempt {
        Some(number) => Some(number),
        None => context.pod(id)?.newest(container).and_then(|newest| newest.checked_sub(u32::from(options.previous))),
    };
    let there = match number {
        Some(number) => context.attempt(id, container, number)?,
        None => None,
    };
    there.map_or_else(|| Err(missing(context, id, container)?), Ok)
}

/// Why there is no such attempt.
fn missing(context: &Context, id: &PodRef, container: &str) -> Result<Error> {
    let seen = context.pod(id)?;
    let name = &id.name;
    Ok(if seen.is_empty() {
        Error::not_found("PodNotFound", format!("pod {name:?} not found"))
    } else if seen.newest(container).is_some() {
        let message = format!("previous terminated container {container:?} in pod {name:?} not found");
        Error::invalid_argument("AttemptNotFound", message)
    } else {
        waiting(id, container)
    })
}

fn waiting(id: &PodRef, container: &str) -> Error {
    let message = format!("container {container:?} in pod {:?} is waiting to start: ContainerCreating", id.name);
    Error::invalid_argument("ContainerCreating", message)
}
