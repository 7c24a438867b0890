//! Bytes that come and bytes that go: bodies of HTTP, connections, the ends of a terminal.
//!
//! Each is used in one of two ways. [`Input::read`] and [`Output::write`] wait, and end when the host wants the call to
//! end. Who waits for several things at once calls `poll`, which never waits, and then waits for `subscribe` in a
//! [`Wait`]. A session that carries bytes both ways is a [`Pump`](crate::pump::Pump), which does that by itself.

use std::fmt;
use std::task::Poll;

use crate::clock::Cancelled;
use crate::http::ErrorCode;
use crate::wait::{Pollable, Wait};
use crate::{Error, call, sys};

/// Bytes in one piece: large enough to be quick, small enough that a session holds little.
pub(crate) const PIECE: usize = 64 << 10;

/// Why bytes do not come, or do not go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The other side takes nothing any more. Of an [`Output`] alone: an [`Input`] that is closed has come to its end.
    Closed,
    /// The connection failed, in the words of `wasi:http`.
    Failed(ErrorCode),
    /// The host wanted the call to end.
    Cancelled,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other side takes nothing any more"),
            Self::Failed(code) => write!(f, "the connection failed: {}", code.told()),
            Self::Cancelled => Cancelled.fmt(f),
        }
    }
}

impl std::error::Error for Broken {}

impl From<Broken> for Error {
    /// Of unknown effect: bytes were carried.
    fn from(broken: Broken) -> Self {
        let message = broken.to_string();
        let error = match broken {
            Broken::Closed => Self::unavailable("ConnectionClosed", message),
            Broken::Failed(code) => Self::new(code.class(), code.reason(), message),
            Broken::Cancelled => Cancelled.into(),
        };
        error.effect_unknown()
    }
}

/// Bytes that come.
#[derive(Debug)]
pub struct Input(sys::Input);

impl Input {
    pub(crate) const fn new(inner: sys::Input) -> Self {
        Self(inner)
    }

    /// The next bytes, at most 64 KiB of them, if they are there; none: the end. Pending: wait for
    /// [`Input::subscribe`].
    ///
    /// Ready with an error if the connection failed. Afterwards it is at its end.
    pub fn poll(&mut self) -> Poll<Result<Option<Vec<u8>>, Broken>> {
        match sys::input_read(&self.0, PIECE) {
            Ok(bytes) if bytes.is_empty() => Poll::Pending,
            Ok(bytes) => Poll::Ready(Ok(Some(bytes))),
            Err(Broken::Closed) => Poll::Ready(Ok(None)),
            Err(broken) => Poll::Ready(Err(broken)),
        }
    }

    /// Ready when `poll` is. At the end it is always ready: do not wait for it then.
    pub fn subscribe(&self) -> Pollable<'_> {
        Pollable::new(sys::input_subscribe(&self.0))
    }

    /// The next bytes, at most 64 KiB of them; none: the end. Waits for them.
    ///
    /// # Errors
    /// The connection failed, or the host wants the call to end.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        loop {
            // Also of one that never lets anybody wait.
            if call::cancelled() {
                return Err(Broken::Cancelled);
            }
            if let Poll::Ready(read) = self.poll() {
                return read;
            }
            if Wait::new().on((), self.subscribe()).first().cancelled() {
                return Err(Broken::Cancelled);
            }
        }
    }
}

/// Bytes that go. Dropping it ends them, and may lose what was not taken yet: [`Output::finish`] does not.
#[derive(Debug)]
pub struct Output {
    inner: sys::Output,
    /// What is still to be written, from `written` on.
    held: Vec<u8>,
    written: usize,
    flush: Flush,
}

/// Whether what was written is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    Done,
    Owed,
    UnderWay,
}

impl Output {
    pub(crate) const fn new(inner: sys::Output) -> Self {
        Self { inner, held: Vec::new(), written: 0, flush: Flush::Done }
    }

    /// Takes bytes, without waiting. [`Output::poll`] moves them on; put more when that is ready.
    pub fn put(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Moves on what was put. Ready when all of it is gone, or when the other side takes nothing any more. Pending:
    /// wait for [`Output::subscribe`] and poll again.
    pub fn poll(&mut self) -> Poll<Result<(), Broken>> {
        match self.advance() {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(broken) => Poll::Ready(Err(broken)),
        }
    }

    /// true: there is nothing left to do.
    fn advance(&mut self) -> Result<bool, Broken> {
        while let Some(rest) = self.held.get(self.written..).filter(|rest| !rest.is_empty()) {
            let room = sys::output_room(&self.inner)?;
            let piece = rest.get(..room.min(PIECE)).unwrap_or(rest);
            if piece.is_empty() {
                return Ok(false);
            }
            sys::output_write(&self.inner, piece)?;
            self.written += piece.len();
            self.flush = Flush::Owed;
        }
        self.held.clear();
        self.written = 0;
        if self.flush == Flush::Owed {
            sys::output_flush(&self.inner)?;
            self.flush = Flush::UnderWay;
        }
        // There is no room until the flush is over.
        if self.flush == Flush::UnderWay && sys::output_room(&self.inner)? > 0 {
            self.flush = Flush::Done;
        }
        Ok(self.flush == Flush::Done)
    }

    /// Something that was put is not gone yet.
    pub(crate) const fn is_busy(&self) -> bool {
        !self.held.is_empty() || !matches!(self.flush, Flush::Done)
    }

    /// Ready when `poll` can move something.
    pub fn subscribe(&self) -> Pollable<'_> {
        Pollable::new(sys::output_subscribe(&self.inner))
    }

    /// Writes all of it, waiting until it is taken.
    ///
    /// # Errors
    /// The other side takes nothing any more, the connection failed, or the host wants the call to end.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        for piece in bytes.chunks(PIECE) {
            self.put(piece);
            self.drain()?;
        }
        Ok(())
    }

    /// Ends it after all that was put is taken.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn finish(mut self) -> Result<(), Broken> {
        self.drain()
    }

    fn drain(&mut self) -> Result<(), Broken> {
        loop {
            if let Poll::Ready(moved) = self.poll() {
                return moved;
            }
            if Wait::new().on((), self.subscribe()).first().cancelled() {
                return Err(Broken::Cancelled);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::Why;
    use crate::testing;

    #[test]
    fn an_input_gives_what_comes_and_then_its_end() {
        testing::reset();
        let (mut input, feed) = testing::input();
        feed.send_after(Duration::from_secs(2), "late").end();
        assert!(input.poll().is_pending());
        assert_eq!(input.read(), Ok(Some(b"late".to_vec())));
        assert_eq!((input.read(), input.read()), (Ok(None), Ok(None)));
    }

    #[test]
    fn an_input_that_fails_is_at_its_end_afterwards() {
        testing::reset();
        let (mut input, feed) = testing::input();
        feed.fail(ErrorCode::ConnectionTerminated);
        assert_eq!(input.read(), Err(Broken::Failed(ErrorCode::ConnectionTerminated)));
        assert_eq!(input.read(), Ok(None));
    }

    #[test]
    fn a_call_that_is_cancelled_neither_reads_nor_writes_on() {
        testing::reset();
        let (mut input, _feed) = testing::input();
        let (mut output, taken) = testing::output();
        taken.pause(Duration::from_secs(60));
        output.put(b"first");
        assert!(output.poll().is_pending());
        testing::cancel_after(Duration::from_secs(1), Why::ClientGone);
        assert_eq!(input.read(), Err(Broken::Cancelled));
        assert_eq!(output.write(b"second"), Err(Broken::Cancelled));
    }

    #[test]
    fn an_output_waits_for_who_takes_his_time() {
        testing::reset();
        let (mut output, taken) = testing::output();
        let start = testing::now();
        taken.pause(Duration::from_secs(1));
        let bytes = vec![7; PIECE * 2 + 1];
        output.write(&bytes).unwrap();
        output.finish().unwrap();
        assert_eq!((taken.bytes(), taken.is_ended()), (bytes, true));
        assert_eq!(testing::now().since(start), Duration::from_secs(3));
    }

    #[test]
    fn an_output_that_nobody_takes_from_is_closed() {
        testing::reset();
        let (mut output, taken) = testing::output();
        taken.hang_up();
        assert_eq!(output.write(b"x"), Err(Broken::Closed));
    }
}
