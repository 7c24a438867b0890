//! `log-sink`: where a guest's log entries go.

use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable};

use super::pollable;
use super::wit::log_sink::{Entry, Host, HostSink};
use crate::plugin::logs::Shared;
use crate::plugin::state::State;
use crate::provider::{Call, Canceller, LogEntry, LogSink, Why};

/// Bytes of one message to the reader, and of one entry in it. A message waits for a place in the channel, so this and the
/// channel's length bound what a slow reader holds in memory.
const CHUNK: usize = 64 << 10;
/// What an entry takes besides its text.
const OVERHEAD: usize = size_of::<LogEntry>();

/// One reader.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Sink {
    to: LogSink,
    progress: Shared,
    /// Ends the session.
    end: Arc<Canceller>,
}

impl Sink {
    /// A session's end of a reader who may have had some of the log from earlier ones.
    pub(in crate::plugin) fn new(to: LogSink, progress: &Shared, end: &Arc<Canceller>) -> Self {
        Self { to, progress: progress.clone(), end: Arc::clone(end) }
    }

    /// Hands on what is taken all or not at all.
    async fn send(&self, call: &mut Call, chunk: Vec<LogEntry>) -> bool {
        let reached = self.progress.lock().with(&chunk);
        let sent = send(&self.to, call, chunk).await;
        if sent {
            self.progress.lock().advance(reached);
        }
        sent
    }
}

struct Room(LogSink);

#[async_trait::async_trait]
impl Pollable for Room {
    async fn ready(&mut self) {
        // Ends with an error when nobody reads any more, which is ready too.
        let _ = self.0.reserve().await;
    }
}

impl Host for State {}

impl HostSink for State {
    fn room(&mut self, sink: Resource<Sink>) -> wasmtime::Result<u32> {
        let sink = &self.table.get(&sink)?.to;
        // A closed one has room as well: the guest has to write to learn that nobody reads.
        let free = if sink.is_closed() { 1 } else { sink.capacity() };
        Ok(u32::try_from(free.saturating_mul(CHUNK)).unwrap_or(u32::MAX))
    }

    fn subscribe(&mut self, sink: Resource<Sink>) -> wasmtime::Result<Resource<DynPollable>> {
        let room = Room(self.table.get(&sink)?.to.clone());
        pollable(&mut self.table, room)
    }

    async fn write(&mut self, sink: Resource<Sink>, entries: Vec<Entry>) -> wasmtime::Result<bool> {
        let sink = self.table.get(&sink)?;
        let mut call = self.call.clone();
        let mut chunk = Vec::new();
        let mut bytes = 0_usize;
        let mut entries = entries.into_iter().map(LogEntry::from).flat_map(pieces).peekable();
        if sink.progress.lock().is_late(entries.peek()) {
            sink.end.cancel(Why::Replaced);
            return Ok(false);
        }
        for entry in entries {
            if !sink.progress.lock().is_new(&entry) {
                continue;
            }
            bytes = bytes.saturating_add(entry.bytes.len()).saturating_add(OVERHEAD);
            chunk.push(entry);
            if bytes >= CHUNK {
                bytes = 0;
                if !sink.send(&mut call, std::mem::take(&mut chunk)).await {
                    return Ok(false);
                }
            }
        }
        let open = if chunk.is_empty() { !sink.to.is_closed() } else { sink.send(&mut call, chunk).await };
        // A reader that keeps up must not keep a guest writing that was asked to end.
        Ok(open && call.reason().is_none())
    }

    fn drop(&mut self, sink: Resource<Sink>) -> wasmtime::Result<()> {
        self.table.delete(sink)?;
        Ok(())
    }
}

/// An entry of gigabytes is handed on in parts, as a line that comes in parts is.
fn pieces(entry: LogEntry) -> impl Iterator<Item = LogEntry> {
    let mut rest = Some(entry);
    std::iter::from_fn(move || {
        let mut piece = rest.take()?;
        if piece.bytes.len() > CHUNK {
            let mut after = piece.clone();
            after.bytes = piece.bytes.split_off(CHUNK);
            piece.partial = true;
            rest = Some(after);
        }
        Some(piece)
    })
}

/// A guest that waits for room cannot wait for `cancelled`, so that this does it.
async fn send(sink: &LogSink, call: &mut Call, chunk: Vec<LogEntry>) -> bool {
    tokio::select! {
        biased;
        sent = sink.send(chunk) => sent.is_ok(),
        _ = call.cancelled() => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::provider::Source;

    #[test]
    fn a_long_entry_goes_in_parts_and_ends_as_it_ended() {
        let entry = |partial| LogEntry {
            time_ns: Some(7),
            source: Source::Stderr,
            partial,
            bytes: Bytes::from(vec![b'x'; 2 * CHUNK + 1]),
        };
        for partial in [false, true] {
            let parts: Vec<LogEntry> = pieces(entry(partial)).collect();
            let lengths: Vec<usize> = parts.iter().map(|part| part.bytes.len()).collect();
            assert_eq!(lengths, [CHUNK, CHUNK, 1]);
            let ends: Vec<bool> = parts.iter().map(|part| part.partial).collect();
            assert_eq!(ends, [true, true, partial]);
            assert!(parts.iter().all(|part| part.time_ns == Some(7) && part.source == Source::Stderr));
        }
    }
}
