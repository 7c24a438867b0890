//! An open connection, whatever it goes over.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::failure::{Failure, of_tls};

/// What a connection goes over: a socket, TLS, a tunnel.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// It counts among the plugin's connections until it is dropped.
pub(super) struct Stream {
    io: Box<dyn Io>,
    is_http2: bool,
    is_proxied: bool,
    refusal: Refusal,
    _place: OwnedSemaphorePermit,
}

/// Why the server ended a connection that was thought to be open: with TLS 1.3 it looks at the host's certificate only then, and
/// HTTP/2 tells those who wait for an answer no more than that it ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusal(pub(super) Arc<OnceLock<Failure>>);

/// A connection that does not count yet.
pub(super) struct Opened {
    pub(super) io: Box<dyn Io>,
    /// The server chose HTTP/2.
    pub(super) is_http2: bool,
    /// A proxy reads the requests and passes them on.
    pub(super) is_proxied: bool,
}

impl Opened {
    /// Of the simplest kind.
    pub(super) fn plain(io: Box<dyn Io>) -> Self {
        Self { io, is_http2: false, is_proxied: false }
    }

    pub(super) fn at(self, place: OwnedSemaphorePermit) -> Stream {
        let Self { io, is_http2, is_proxied } = self;
        Stream { io, is_http2, is_proxied, refusal: Refusal::default(), _place: place }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.is_proxied).extra(self.refusal.clone());
        if self.is_http2 { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(context, to);
        if let Poll::Ready(Err(error)) = &read
            && let Some(failure) = of_tls(error)
        {
            // The first one stands.
            let _ = self.refusal.0.set(failure);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
