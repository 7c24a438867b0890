//! `kubectl logs`. Azure gives all that it keeps of the present attempt, or the last lines of it, with times, both streams in
//! one, and knows neither `since` nor `follow`: the first is cut here, the second is asking again.
//!
//! What was told last is looked for in each answer, and told on from there. If it is not there any more, Azure has dropped
//! what came between (it keeps 4 MB, and 16 KB or 1000 lines of what has stopped), and the reader is told so.

mod attempt;
mod text;

use std::time::Duration;

use vk_aci::{Class, Failure};
use vk_provider::container_logs::{Entry, Options, Sink};
use vk_provider::{Error, PodRef, Result, call, clock};

use crate::context::Context;
use crate::{find, ledger, names};
use attempt::Attempt;
use text::{Line, Place};

/// The first pause of a reader who follows; it doubles while nothing comes, whatever the reason. Also the shortest: an answer
/// that asks for none at all must not make a reader ask without end.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Lines that are asked for at first when following: far more than are written in a pause, as a rule.
const RECENT: u32 = 1000;
/// Entries in one write.
const CHUNK: usize = 500;
/// What Azure says of a container that has not written anything yet.
const NO_LOG: &str = "ContainerLogNotAvailable";
/// Told in the place of lines that are gone.
const LOST: &str =
    "[lines are missing here: Azure keeps 4 MB of a log, and 16 KB or 1000 lines of one that has stopped]";

/// Writes the log of a container into the sink.
///
/// # Errors
/// There is no such pod, container or attempt, in the kubelet's words; or there was no answer.
pub(crate) fn write(context: &Context, id: &PodRef, container: &str, options: Options, to: &Sink) -> Result<()> {
    let name = &id.name;
    let Some((group, _)) = find::own(context, id)? else { return Err(absent(id, container)?) };
    let attempt = Attempt::of(&group, container).ok_or_else(|| {
        Error::not_found("ContainerNotFound", format!("container {container:?} in pod {name:?} not found"))
    })?;
    if options.previous {
        return Err(previous(&attempt, container, name));
    }
    if let Some(reason) = attempt.waits {
        let message = format!("container {container:?} in pod {name:?} is waiting to start: {reason}");
        return Err(Error::invalid_argument(reason, message));
    }
    let log = Log { context, id, group: names::group(&context.node, id), container, attempt: attempt.number };
    let writer = Writer { to, left: options.limit_bytes.unwrap_or(u64::MAX), since: options };
    if options.follow { follow(&log, writer) } else { once(&log, writer) }
}

/// There is no group.
fn absent(id: &PodRef, container: &str) -> Result<Error> {
    let pod = &id.name;
    if !ledger::work(id)?.given_up {
        return Ok(Error::not_found("PodNotFound", format!("pod {pod:?} not found")));
    }
    let message =
        format!("container {container:?} in pod {pod:?} is not available: its container group came to nothing");
    Ok(Error::invalid_argument("ContainerNotAvailable", message))
}

/// Azure keeps the log of the present attempt alone.
fn previous(attempt: &Attempt, container: &str, pod: &str) -> Error {
    if attempt.number == 0 {
        let message = format!("previous terminated container {container:?} in pod {pod:?} not found");
        return Error::invalid_argument("AttemptNotFound", message);
    }
    let message = format!(
        "the log of the previous container {container:?} in pod {pod:?} is gone: Azure Container Instances keep that of the present one"
    );
    Error::unimplemented("PreviousLogNotKept", message)
}

/// The log of an attempt.
struct Log<'a> {
    context: &'a Context,
    id: &'a PodRef,
    group: String,
    container: &'a str,
    attempt: i32,
}

/// How an attempt is.
enum Stands {
    On,
    /// It has ended, and its log is still there.
    Over,
    /// There is another one, which has a log of its own.
    Replaced,
    /// Nobody tells now.
    Unknown,
}

/// What came of one answer.
enum Answer {
    New(Vec<Entry>),
    /// It may be of another attempt: what was told is not in it, or nothing was told.
    Doubtful(String),
}

/// What there is to tell.
enum Came {
    New(Vec<Entry>),
    /// Nobody tells now: to be asked again, perhaps after another pause.
    Later(Option<Duration>),
    /// Nothing more comes of this attempt.
    End,
}

impl Log<'_> {
    /// `tail`: the last lines of it; none: all.
    fn read(&self, tail: Option<u32>) -> vk_aci::Result<String> {
        self.context.client.logs(&self.group, self.container, tail, true)
    }

    /// Asks once.
    fn step(&self, place: &mut Option<Place>, writer: &Writer<'_>, is_over: bool) -> vk_aci::Result<Answer> {
        let Some(place) = place else {
            let Options { tail, since, .. } = writer.since;
            let text = self.read(tail.filter(|_| since.is_none()).map(|tail| tail.max(RECENT)))?;
            let (start, lines) = Place::after(&text, is_over);
            *place = Some(start);
            return Ok(Answer::New(writer.first(&lines)));
        };
        if place.is_start() {
            let text = self.read(None)?;
            return Ok(if text.is_empty() { Answer::New(Vec::new()) } else { Answer::Doubtful(text) });
        }
        if let Some(new) = place.find(&self.read(Some(RECENT))?, is_over) {
            return Ok(Answer::New(new));
        }
        let text = self.read(None)?;
        Ok(place.find(&text, is_over).map_or(Answer::Doubtful(text), Answer::New))
    }

    /// Asks once, and where an answer may be another attempt's, whose it is.
    fn next(&self, place: &mut Option<Place>, writer: &Writer<'_>, is_over: bool) -> Result<Came> {
        match self.step(place, writer, is_over) {
            Ok(Answer::New(new)) => Ok(Came::New(new)),
            Ok(Answer::Doubtful(text)) => Ok(match (self.stands()?, place) {
                (Stands::On | Stands::Over, Some(place)) => Came::New(place.go_on(&text, is_over, LOST)),
                (Stands::Unknown, _) => Came::Later(None),
                _ => Came::End,
            }),
            // It went with all that it said, or has not said anything as yet.
            Err(failure) if failure.refusal().is_some_and(|refusal| refusal.status == 404) => {
                let ends = is_over || matches!(self.stands()?, Stands::Over | Stands::Replaced);
                Ok(if ends { Came::End } else { Came::Later(None) })
            }
            Err(failure) => Ok(Came::Later(Some(passes(failure)?.unwrap_or(LONGEST_PAUSE)))),
        }
    }

    fn stands(&self) -> Result<Stands> {
        match find::own(self.context, self.id).map_err(Error::from) {
            Ok(None) => Ok(Stands::Over),
            Ok(Some((group, _))) => Ok(match Attempt::of(&group, self.container) {
                Some(now) if now.number == self.attempt && now.is_over => Stands::Over,
                Some(now) if now.number == self.attempt => Stands::On,
                _ => Stands::Replaced,
            }),
            Err(error) if call::cancelled() || is_transient(error.code) => Ok(Stands::Unknown),
            Err(error) => Err(error),
        }
    }
}

/// What there is now.
fn once(log: &Log<'_>, mut writer: Writer<'_>) -> Result<()> {
    let Options { tail, since, .. } = writer.since;
    if tail == Some(0) {
        return Ok(());
    }
    // Azure's tail is of all lines, the reader's of those that are not too old.
    match log.read(tail.filter(|_| since.is_none())) {
        Ok(text) => {
            writer.write(&writer.first(&text::lines(&text)));
            Ok(())
        }
        Err(failure) if failure.refusal().is_some_and(|refusal| refusal.code == NO_LOG) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// What there is, and what comes until the attempt ends.
fn follow(log: &Log<'_>, mut writer: Writer<'_>) -> Result<()> {
    let mut place: Option<Place> = None;
    let mut pause = PAUSE;
    let mut is_over = false;
    loop {
        // What Azure asks for holds for once.
        let mut least = Duration::ZERO;
        match log.next(&mut place, &writer, is_over)? {
            Came::End => return Ok(()),
            Came::Later(asked) => {
                pause = longer(pause);
                least = asked.unwrap_or_default();
            }
            Came::New(new) if new.is_empty() && !is_over => {
                pause = longer(pause);
                match log.stands()? {
                    Stands::Replaced => return Ok(()),
                    Stands::Over => {
                        // What it said last is still to be read.
                        is_over = true;
                        continue;
                    }
                    Stands::On | Stands::Unknown => {}
                }
            }
            Came::New(new) => {
                if !writer.write(&new) || is_over {
                    return Ok(());
                }
                pause = PAUSE;
            }
        }
        if call::cancelled() || clock::sleep(pause.max(least)).is_err() {
            // The host goes on elsewhere, or nobody reads any more.
            return Ok(());
        }
    }
}

/// The pause after one in which nothing came.
fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

/// The pause that a failure asks for, if it passes by itself; none: the usual one.
fn passes(failure: Failure) -> Result<Option<Duration>> {
    let class = failure.refusal().map(|refusal| (refusal.class(), refusal.retry_after));
    match class {
        Some((Class::Throttled | Class::Unavailable | Class::TimedOut | Class::Busy, retry_after)) => Ok(retry_after),
        Some(_) => Err(failure.into()),
        None => {
            let error = Error::from(failure);
            if call::cancelled() || is_transient(error.code) { Ok(None) } else { Err(error) }
        }
    }
}

const fn is_transient(code: vk_provider::Code) -> bool {
    use vk_provider::Code;
    matches!(
        code,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted | Code::Cancelled
    )
}

struct Writer<'a> {
    to: &'a Sink,
    /// Bytes that the reader still takes.
    left: u64,
    since: Options,
}

impl Writer<'_> {
    /// Of the first answer what the reader asked for.
    fn first(&self, lines: &[Line]) -> Vec<Entry> {
        let Options { tail, since, .. } = self.since;
        let is_late = |line: &&Line| since.is_none_or(|since| line.time.is_none_or(|time| time >= since));
        let lines: Vec<&Line> = lines.iter().filter(is_late).collect();
        let tail = tail.map_or(usize::MAX, |tail| usize::try_from(tail).unwrap_or(usize::MAX));
        let skipped = lines.len().saturating_sub(tail);
        lines.into_iter().skip(skipped).map(Entry::from).collect()
    }

    /// false: nobody reads any more.
    fn write(&mut self, new: &[Entry]) -> bool {
        for chunk in new.chunks(CHUNK) {
            let mut entries = Vec::with_capacity(chunk.len());
            for entry in chunk {
                if self.left == 0 {
                    break;
                }
                let bytes = u64::try_from(entry.bytes.len()).unwrap_or(u64::MAX);
                self.left = self.left.saturating_sub(bytes.saturating_add(1));
                entries.push(entry.clone());
            }
            if !self.to.write(entries) || self.left == 0 {
                return false;
            }
        }
        true
    }
}
