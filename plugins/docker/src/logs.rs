//! `kubectl logs`: the engine's log of one attempt, as entries.

use vk_engine::container::Details;
use vk_engine::logs::{Decoder, LogOptions};
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
    let mut body = context.engine.container_logs(&details.id, LogOptions { tail, since, follow })?;
    let mut writer = Writer { to, left: options.limit_bytes.unwrap_or(u64::MAX) };
    let mut decoder = Decoder::new(details.config.tty);
    loop {
        match body.chunk() {
            Ok(Some(bytes)) => {
                let entries =
                    decoder.feed(&bytes).map_err(|error| Error::unknown("LogUnreadable", error.to_string()))?;
                if !writer.write(entries) {
                    return Ok(());
                }
            }
            Ok(None) => break,
            // The host goes on elsewhere, or nobody reads any more.
            Err(Failure { cause: Cause::Cancelled, .. }) => return Ok(()),
            Err(failure) => return Err(failure.into()),
        }
    }
    writer.write(decoder.finish());
    Ok(())
}

struct Writer<'a> {
    to: &'a Sink,
    /// Bytes that the reader still takes.
    left: u64,
}

impl Writer<'_> {
    /// false: nobody reads any more.
    fn write(&mut self, mut entries: Vec<Entry>) -> bool {
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
