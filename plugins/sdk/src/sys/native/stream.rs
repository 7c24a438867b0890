//! Streams whose other ends a test has in its hands.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::{Due, Pollable, ahead};
use crate::bindings::imports::virtual_kubelet::provider::terminal::Size;
use crate::http::ErrorCode;
use crate::stream::Broken;
use crate::time::Time;

/// What an output takes without delay.
const ROOM: usize = 1 << 16;

/// What comes on a stream.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Bytes(Vec<u8>),
    End,
    Break(ErrorCode),
}

/// What will come, and when.
#[derive(Debug, Default)]
pub(crate) struct Source(VecDeque<(Time, Event)>);

impl Source {
    /// Not before what comes already.
    pub(crate) fn push(&mut self, at: Time, event: Event) {
        let at = self.0.back().map_or(at, |(last, _)| at.max(*last));
        self.0.push_back((at, event));
    }
}

impl Due for RefCell<Source> {
    fn due(&self) -> Option<Time> {
        self.borrow().0.front().map(|(at, _)| *at)
    }
}

/// The provider's end of a stream that comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input(pub(crate) Rc<RefCell<Source>>);

pub(crate) fn input_read(input: &Input, most: usize) -> Result<Vec<u8>, Broken> {
    let now = ahead(Duration::ZERO);
    let queue = &mut input.0.borrow_mut().0;
    let Some((_, event)) = queue.front_mut().filter(|(at, _)| *at <= now) else { return Ok(Vec::new()) };
    match event {
        Event::Bytes(bytes) => {
            let rest = bytes.split_off(bytes.len().min(most));
            let piece = std::mem::replace(bytes, rest);
            if bytes.is_empty() {
                queue.pop_front();
            }
            Ok(piece)
        }
        Event::End => Err(Broken::Closed),
        Event::Break(code) => {
            let code = code.clone();
            queue.clear();
            queue.push_back((now, Event::End));
            Err(Broken::Failed(code))
        }
    }
}

pub(crate) fn input_subscribe(input: &Input) -> Pollable {
    Pollable::Of(input.0.clone())
}

/// What a provider wrote.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    pub(crate) bytes: Vec<u8>,
    /// The provider has ended it.
    pub(crate) ended: bool,
    /// Nobody takes anything any more.
    pub(crate) closed: bool,
    /// How long each write takes. There is no room meanwhile.
    pub(crate) pause: Duration,
    busy_until: Time,
}

impl Due for RefCell<Drain> {
    fn due(&self) -> Option<Time> {
        let drain = self.borrow();
        Some(if drain.closed { Time::default() } else { drain.busy_until })
    }
}

/// The provider's end of a stream that goes.
#[derive(Debug, Default)]
pub(crate) struct Output(pub(crate) Rc<RefCell<Drain>>);

impl Drop for Output {
    fn drop(&mut self) {
        self.0.borrow_mut().ended = true;
    }
}

pub(crate) fn output_room(output: &Output) -> Result<usize, Broken> {
    let drain = output.0.borrow();
    if drain.closed {
        return Err(Broken::Closed);
    }
    Ok(if drain.busy_until > ahead(Duration::ZERO) { 0 } else { ROOM })
}

pub(crate) fn output_write(output: &Output, bytes: &[u8]) -> Result<(), Broken> {
    assert!(bytes.len() <= output_room(output)?, "a write of more than there is room traps");
    let mut drain = output.0.borrow_mut();
    drain.bytes.extend_from_slice(bytes);
    drain.busy_until = ahead(drain.pause);
    Ok(())
}

pub(crate) fn output_flush(output: &Output) -> Result<(), Broken> {
    output_room(output).map(drop)
}

pub(crate) fn output_subscribe(output: &Output) -> Pollable {
    Pollable::Of(output.0.clone())
}

/// Sizes of a window, and when it has them.
#[derive(Debug, Default)]
pub(crate) struct Sizes(pub(crate) VecDeque<(Time, Size)>);

impl Due for RefCell<Sizes> {
    fn due(&self) -> Option<Time> {
        self.borrow().0.front().map(|(at, _)| *at)
    }
}

pub(crate) type Resizes = Rc<RefCell<Sizes>>;

pub(crate) fn resizes_next(resizes: &Resizes) -> Option<Size> {
    let now = ahead(Duration::ZERO);
    let sizes = &mut resizes.borrow_mut().0;
    let mut latest = None;
    while sizes.front().is_some_and(|(at, _)| *at <= now) {
        latest = sizes.pop_front().map(|(_, size)| size);
    }
    latest
}

pub(crate) fn resizes_subscribe(resizes: &Resizes) -> Pollable {
    Pollable::Of(resizes.clone())
}
