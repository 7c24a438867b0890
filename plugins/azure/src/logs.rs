//! `kubectl logs`. Azure gives all that it keeps of the present attempt, or the last lines of it, with times, both streams in
//! one, and knows neither `since` nor `follow`: the first is cut here, the second is asking again.
//!
//! What was told last is looked for in each answer, and told on from there. If it is not there any more, Azure has dropped
//! what came between (it keeps 4 MB, and 16 KB or 1000 lines of what has stopped), and the reader is told so.

mod text;

use std::time::Duration;

use vk_aci::group::{ContainerView, RunState};
use vk_aci::{Class, Failure, Group};
use vk_provider::container_logs::{Entry, Options, Sink};
use vk_provider::status::ContainerState;
use vk_provider::{Error, PodRef, Result, call, clock};

use crate::context::Context;
use crate::{look, names, observe};
use text::{Line, Place};

/// The first pause of a reader who follows; it doubles while nothing comes.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Lines that are asked for at first when following: far more than are written in a pause, as a rule.
const RECENT: u32 = 1000;
/// Entries in one write.
const CHUNK: usize = 500;
/// Told in the place of lines that are gone.
const LOST: &str =
    "[lines are missing here: Azure keeps 4 MB of a log, and 16 KB or 1000 lines of one that has stopped]";

/// Writes the log of a container into the sink.
///
/// # Errors
/// There is no such pod, container or attempt, in the kubelet's words; or there was no answer.
pub(crate) fn write(context: &Context, id: &PodRef, container: &str, options: Options, to: &Sink) -> Result<()> {
    let name = &id.name;
    let found = look::find(context, id)?;
    let Some((group, _)) = found else {
        return Err(Error::not_found("PodNotFound", format!("pod {name:?} not found")));
    };
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
    let log = Log { context, group: names::group(&context.node, id), container };
    let writer = Writer { to, left: options.limit_bytes.unwrap_or(u64::MAX), since: options };
    if options.follow { follow(&log, id, attempt.number, writer) } else { once(&log, writer) }
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

/// The attempt that a log is of.
struct Attempt {
    number: i32,
    is_over: bool,
    /// It has not begun: why.
    waits: Option<String>,
}

impl Attempt {
    /// The present one; none: there is no such container.
    fn of(group: &Group, container: &str) -> Option<Self> {
        let properties = &group.properties;
        let init = properties.init_containers.iter().map(|it| (&it.name, &it.properties.instance_view));
        let ordinary = properties.containers.iter().map(|it| (&it.name, &it.properties.instance_view));
        let (_, view) = init.chain(ordinary).find(|(name, _)| *name == container)?;
        let number = view.as_ref().map_or(0, |view| view.restart_count);
        let state = |view: &ContainerView| view.current_state.as_ref().map(|state| state.state.clone());
        let state = view.as_ref().and_then(state);
        let has_begun = number > 0
            || matches!(state, Some(RunState::Running | RunState::Terminated | RunState::Other(_)))
            || view.as_ref().is_some_and(|view| view.previous_state.is_some());
        let waits = (!has_begun).then(|| waiting(group, container));
        Some(Self { number, is_over: matches!(state, Some(RunState::Terminated)), waits })
    }
}

/// Why a container waits, as its status says.
fn waiting(group: &Group, container: &str) -> String {
    let status = observe::pending(group);
    let mut all = status.init_container_statuses.into_iter().chain(status.container_statuses);
    let state = all.find(|status| status.name == container).and_then(|status| status.state);
    match state {
        Some(ContainerState::Waiting(waiting)) => waiting.reason.map_or_else(String::new, |reason| reason.into_owned()),
        _ => "ContainerCreating".to_owned(),
    }
}

/// A log in Azure.
struct Log<'a> {
    context: &'a Context,
    group: String,
    container: &'a str,
}

impl Log<'_> {
    /// `tail`: the last lines of it; none: all.
    fn read(&self, tail: Option<u32>) -> vk_aci::Result<String> {
        self.context.client.logs(&self.group, self.container, tail, true)
    }
}

/// What there is now.
fn once(log: &Log<'_>, mut writer: Writer<'_>) -> Result<()> {
    let Options { tail, since, .. } = writer.since;
    if tail == Some(0) {
        return Ok(());
    }
    // Azure's tail is of all lines, the reader's of those that are not too old.
    let text = log.read(tail.filter(|_| since.is_none()))?;
    writer.write(&writer.first(&text::lines(&text)));
    Ok(())
}

/// What there is, and what comes until the attempt ends.
fn follow(log: &Log<'_>, id: &PodRef, attempt: i32, mut writer: Writer<'_>) -> Result<()> {
    let mut place: Option<Place> = None;
    let mut pause = PAUSE;
    let mut is_over = false;
    loop {
        match step(log, &mut place, &mut writer, is_over) {
            Ok(Told::Nothing) if is_over => return Ok(()),
            Ok(Told::Nothing) => {
                pause = (pause * 2).min(LONGEST_PAUSE);
                is_over = has_ended(log, id, attempt)?;
                // What it said last is still to be read.
                if is_over {
                    continue;
                }
            }
            Ok(Told::Something) if is_over => return Ok(()),
            Ok(Told::Something) => pause = PAUSE,
            Ok(Told::Enough) => return Ok(()),
            // It went with all that it said, or has not said anything as yet.
            Err(failure) if failure.refusal().is_some_and(|refusal| refusal.status == 404) => {
                if is_over || has_ended(log, id, attempt)? {
                    return Ok(());
                }
            }
            Err(failure) => pause = passes(failure)?.unwrap_or(LONGEST_PAUSE),
        }
        if call::cancelled() || clock::sleep(pause).is_err() {
            // The host goes on elsewhere, or nobody reads any more.
            return Ok(());
        }
    }
}

/// What came of one answer.
enum Told {
    Something,
    Nothing,
    /// The reader takes no more.
    Enough,
}

/// Asks once, and tells what is new.
fn step(log: &Log<'_>, place: &mut Option<Place>, writer: &mut Writer<'_>, is_over: bool) -> vk_aci::Result<Told> {
    let (lines, held) = match place {
        None => {
            let Options { tail, since, .. } = writer.since;
            let text = log.read(tail.filter(|_| since.is_none()).map(|tail| tail.max(RECENT)))?;
            let (lines, held) = text::whole_lines(&text, is_over, None);
            let first = writer.first(&lines);
            *place = Some(Place::after(&lines, held));
            (first, false)
        }
        Some(place) => {
            let mut text = log.read(Some(RECENT))?;
            let mut found = place.find(&text, is_over);
            if found.is_none() && !place.is_start() {
                text = log.read(None)?;
                found = place.find(&text, is_over);
            }
            match found {
                Some(lines) => (lines, false),
                None => (place.begin_anew(&text, is_over), true),
            }
        }
    };
    if lines.is_empty() {
        return Ok(Told::Nothing);
    }
    let lines = if held { text::with_gap(LOST, lines) } else { lines };
    Ok(if writer.write(&lines) { Told::Something } else { Told::Enough })
}

/// Whether the attempt is over: another one has a log of its own.
fn has_ended(log: &Log<'_>, id: &PodRef, attempt: i32) -> Result<bool> {
    match look::find(log.context, id) {
        Ok(None) => Ok(true),
        Ok(Some((group, _))) => {
            let now = Attempt::of(&group, log.container);
            Ok(now.is_none_or(|now| now.is_over || now.number != attempt))
        }
        Err(error) if call::cancelled() || is_transient(error.code) => Ok(false),
        Err(error) => Err(error),
    }
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
    fn first(&self, lines: &[Line]) -> Vec<Line> {
        let Options { tail, since, .. } = self.since;
        let is_late = |line: &&Line| since.is_none_or(|since| line.time.is_none_or(|time| time >= since));
        let lines: Vec<Line> = lines.iter().filter(is_late).cloned().collect();
        let tail = tail.map_or(usize::MAX, |tail| usize::try_from(tail).unwrap_or(usize::MAX));
        let skipped = lines.len().saturating_sub(tail);
        lines.into_iter().skip(skipped).collect()
    }

    /// false: nobody reads any more.
    fn write(&mut self, lines: &[Line]) -> bool {
        for chunk in lines.chunks(CHUNK) {
            let mut entries = Vec::with_capacity(chunk.len());
            for line in chunk {
                if self.left == 0 {
                    break;
                }
                let bytes = u64::try_from(line.text.len()).unwrap_or(u64::MAX);
                self.left = self.left.saturating_sub(bytes.saturating_add(1));
                entries.push(Entry::from(line));
            }
            if !self.to.write(entries) || self.left == 0 {
                return false;
            }
        }
        true
    }
}
