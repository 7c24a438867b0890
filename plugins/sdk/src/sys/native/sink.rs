//! A log sink, and its reader.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Pollable, START, ahead, poll};
use crate::container_logs::Entry as LogEntry;
use crate::time::Time;

/// What a sink takes without delay.
const ROOM: u32 = 1 << 16;

/// Where a test's log entries go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sink(pub(crate) Rc<RefCell<Reader>>);

#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) entries: Vec<LogEntry>,
    /// Stops reading after so many.
    pub(crate) takes: usize,
    /// How long it is busy with what it was given. There is no room meanwhile.
    pub(crate) pause: Duration,
    busy_until: Time,
}

impl Default for Reader {
    fn default() -> Self {
        Self { entries: Vec::new(), takes: usize::MAX, pause: Duration::ZERO, busy_until: START }
    }
}

impl Reader {
    fn has_left(&self) -> bool {
        self.entries.len() >= self.takes
    }
}

pub(crate) fn sink_room(sink: &Sink) -> u32 {
    let reader = sink.0.borrow();
    if reader.has_left() {
        // Who writes has to learn that nobody reads.
        1
    } else if reader.busy_until > ahead(Duration::ZERO) {
        0
    } else {
        ROOM
    }
}

pub(crate) fn sink_subscribe(sink: &Sink) -> Pollable {
    let reader = sink.0.borrow();
    if reader.has_left() { Pollable::Always } else { Pollable::At(reader.busy_until) }
}

pub(crate) fn sink_write(sink: &Sink, entries: Vec<LogEntry>) -> bool {
    if sink_room(sink) == 0 && !poll(&[&sink_subscribe(sink), &Pollable::Cancelled]).contains(&0) {
        return false;
    }
    let mut reader = sink.0.borrow_mut();
    let room = reader.takes.saturating_sub(reader.entries.len());
    reader.entries.extend(entries.into_iter().take(room));
    reader.busy_until = ahead(reader.pause);
    !reader.has_left()
}
