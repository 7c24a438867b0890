//! Both ends of a connection as the guest has them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use wasmtime_wasi::p2::pipe::AsyncReadStream;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

use crate::defaults::egress::{LINGER, UNSENT};
use crate::plugin::egress::stream::Io;

/// Both directions.
pub(in crate::plugin) struct Duplex {
    pub(in crate::plugin) input: DynInputStream,
    pub(in crate::plugin) output: DynOutputStream,
}

impl Duplex {
    /// `silence`: how long nothing may go in either direction; none: for ever.
    pub(super) fn new(io: impl Io + 'static, silence: Option<Duration>) -> Self {
        let quiet = Quiet { io: Box::new(io), silence, since: Instant::now(), timer: None };
        let (reader, writer) = tokio::io::split(quiet);
        let (held, dropped) = oneshot::channel();
        let held = Arc::new(held);
        let input = Input { stream: AsyncReadStream::new(reader), _held: held.clone() };
        Self { input: Box::new(input), output: Box::new(Output::new(writer, held, dropped)) }
    }
}

/// A connection that fails a reader when it has been silent for too long.
struct Quiet {
    io: Box<dyn Io>,
    silence: Option<Duration>,
    /// Something went last.
    since: Instant,
    /// Runs while somebody reads.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Quiet {
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(silence) = self.silence else { return Poll::Pending };
        loop {
            let end = self.since + silence;
            ready!(self.timer.get_or_insert_with(|| Box::pin(sleep_until(end))).as_mut().poll(context));
            // Something may have been written meanwhile.
            self.timer = None;
            if end <= Instant::now() {
                let message = format!("nothing went over the connection for {silence:?}");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
        }
    }
}

impl AsyncRead for Quiet {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_read(context, to) {
            Poll::Ready(result) => {
                (self.since, self.timer) = (Instant::now(), None);
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_silence(context),
        }
    }
}

impl AsyncWrite for Quiet {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(context, from));
        self.since = Instant::now();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Lives as long as the guest has one of the two ends.
type Held = Arc<oneshot::Sender<()>>;

/// The guest's end of the receiving half.
struct Input {
    stream: AsyncReadStream,
    _held: Held,
}

#[async_trait::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

#[async_trait::async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.stream.read(size)
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

/// The guest's end of the sending half.
struct Output {
    accepted: mpsc::UnboundedSender<Bytes>,
    state: Arc<watch::Sender<State>>,
    /// The guest wants to know when all of it is sent.
    flushing: bool,
    /// It knows of a failure.
    told: bool,
    _held: Held,
}

/// What both sides of it look at.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Accepted and not sent, in bytes.
    unsent: usize,
    /// Why nothing more is sent.
    failure: Option<io::ErrorKind>,
}

impl Output {
    /// `dropped`: of `held`.
    fn new(writer: WriteHalf<Quiet>, held: Held, dropped: oneshot::Receiver<()>) -> Self {
        // Bounded by `room`.
        let (accepted, waiting) = mpsc::unbounded_channel();
        let state = Arc::new(watch::Sender::new(State::default()));
        let sending = send(writer, waiting, Arc::clone(&state));
        tokio::spawn(async move {
            tokio::select! {
                () = sending => {}
                // The other side does not take it, and the guest does not wait for what comes of it either.
                () = linger(dropped) => {}
            }
        });
        Self { accepted, state, flushing: false, told: false, _held: held }
    }

    /// In bytes. A failure is told once; after that it is closed.
    fn room(&mut self) -> StreamResult<usize> {
        let State { unsent, failure } = *self.state.borrow();
        if let Some(kind) = failure {
            let told = std::mem::replace(&mut self.told, true);
            let error = io::Error::from(kind);
            return Err(if told { StreamError::Closed } else { StreamError::LastOperationFailed(error.into()) });
        }
        self.flushing &= unsent > 0;
        Ok(if self.flushing { 0 } else { UNSENT.saturating_sub(unsent) })
    }
}

/// Sends what was accepted, and the end after it.
async fn send(mut to: WriteHalf<Quiet>, mut waiting: mpsc::UnboundedReceiver<Bytes>, state: Arc<watch::Sender<State>>) {
    while let Some(bytes) = waiting.recv().await {
        let sent = match to.write_all(&bytes).await {
            // TLS may hold some of it back, and nobody would come for that.
            Ok(()) => to.flush().await,
            failed => failed,
        };
        state.send_modify(|state| {
            state.unsent = state.unsent.saturating_sub(bytes.len());
            state.failure = sent.as_ref().err().map(io::Error::kind);
        });
        if sent.is_err() {
            return;
        }
    }
    // There is nobody left to tell.
    let _ = to.shutdown().await;
}

async fn linger(dropped: oneshot::Receiver<()>) {
    let _ = dropped.await;
    sleep(LINGER).await;
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        let flushing = self.flushing;
        let ready = |state: &State| state.failure.is_some() || state.unsent < if flushing { 1 } else { UNSENT };
        // The sender is ours.
        let _ = self.state.subscribe().wait_for(ready).await;
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.room()? {
            return Err(StreamError::trap("more is written than there is room for"));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.state.send_modify(|state| state.unsent += bytes.len());
        self.accepted.send(bytes).map_err(|_| StreamError::Closed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.room()?;
        self.flushing = true;
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.room()
    }
}
