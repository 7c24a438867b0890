//! Streams for a provider's sessions, with their other ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::http::ErrorCode;
use crate::sessions::{Resizes, Size};
use crate::stream::{Input, Output};
use crate::sys::native::{self, Event, Sizes};

/// A stream that comes, and who sends on it. It stays open until it is told to end.
pub fn input() -> (Input, Feed) {
    let inner = native::Input::default();
    (Input::new(inner.clone()), Feed(inner))
}

/// The other end of an [`Input`]. Clones are the same end.
#[derive(Clone, Debug, Default)]
pub struct Feed(pub(crate) native::Input);

impl Feed {
    /// Sends at once, after what is sent already.
    pub fn send(&self, bytes: impl Into<Vec<u8>>) -> &Self {
        self.send_after(Duration::ZERO, bytes)
    }

    /// Sends after a time from now, and after what is sent already.
    pub fn send_after(&self, time: Duration, bytes: impl Into<Vec<u8>>) -> &Self {
        self.push(time, Event::Bytes(bytes.into()))
    }

    /// Ends it after what is sent already.
    pub fn end(&self) -> &Self {
        self.push(Duration::ZERO, Event::End)
    }

    /// Breaks it after what is sent already.
    pub fn fail(&self, code: ErrorCode) -> &Self {
        self.push(Duration::ZERO, Event::Break(code))
    }

    fn push(&self, time: Duration, event: Event) -> &Self {
        self.0.0.borrow_mut().push(native::ahead(time), event);
        self
    }
}

/// A stream that goes, and who takes it.
pub fn output() -> (Output, Taken) {
    let taken = Taken::default();
    (Output::new(native::Output(taken.0.clone())), taken)
}

/// The other end of an [`Output`]. Clones are the same end.
#[derive(Clone, Debug, Default)]
pub struct Taken(pub(crate) Rc<RefCell<native::Drain>>);

impl Taken {
    /// All that was taken so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.borrow().bytes.clone()
    }

    /// The provider has ended it.
    pub fn is_ended(&self) -> bool {
        self.0.borrow().ended
    }

    /// From now on each write takes so long, and there is no room meanwhile.
    pub fn pause(&self, time: Duration) {
        self.0.borrow_mut().pause = time;
    }

    /// Takes nothing any more.
    pub fn hang_up(&self) {
        self.0.borrow_mut().closed = true;
    }
}

/// A window that has these sizes, each after a time from now.
pub fn resizes(sizes: &[(Duration, Size)]) -> Resizes {
    let sizes = sizes.iter().map(|(time, size)| (native::ahead(*time), *size)).collect();
    Resizes::new(Rc::new(RefCell::new(Sizes(sizes))))
}
