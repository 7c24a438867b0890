//! Connections that are the guest's own: opened as bytes, or upgraded from HTTP/1.1.
//!
//! An attempt runs beside the call until it is dropped. What it opened has two ends: the guest reads one and writes the other, and
//! dropping the latter ends the sending half once what was accepted is sent.

mod duplex;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::Instrument as _;
use wasmtime_wasi::p2::{DynInputStream, Pollable};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS;
use wasmtime_wasi_http::p2::body::HostIncomingBody;

pub(in crate::plugin) use self::duplex::Duplex;
use super::bounds::Bounded;
use super::dial::{Destination, Purpose};
use super::failure::Failure;
use super::origin::{OriginError, bare, base};
use super::stream::Stream;
use super::{Access, Egress};
use crate::defaults::egress::{HEAD, HEADERS};

/// Attempts of one call at once: the host keeps what each of them is to send, and a guest needs a few connections at most.
pub(super) const ATTEMPTS: usize = 16;

/// How an attempt ended well.
pub(in crate::plugin) enum Outcome {
    /// The server upgraded.
    Switched(http::response::Parts, Duplex),
    /// The server answered and did not upgrade; with the answer's body.
    Refused(http::response::Parts, DynInputStream),
    /// There is a connection.
    Connected(Duplex),
}

type Ending = Result<Outcome, Failure>;

/// A connection in the making. Dropping it gives it up.
pub(in crate::plugin) struct Attempt {
    outcome: Arc<Mutex<Option<Ending>>>,
    ended: watch::Receiver<bool>,
    _task: AbortOnDropJoinHandle<()>,
}

/// Ready once an attempt has ended.
pub(in crate::plugin) struct Ended(watch::Receiver<bool>);

#[async_trait::async_trait]
impl Pollable for Ended {
    async fn ready(&mut self) {
        // An attempt that was given up has nothing more to wait for.
        let _ = self.0.wait_for(|ended| *ended).await;
    }
}

impl Attempt {
    fn new(work: impl Future<Output = Ending> + Send + 'static) -> Self {
        let outcome = Arc::new(Mutex::new(None));
        let (end, ended) = watch::channel(false);
        let slot = Arc::clone(&outcome);
        let run = async move {
            let ending = work.await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(ending);
            end.send_replace(true);
        };
        Self { outcome, ended, _task: spawn(run.in_current_span()) }
    }

    pub(in crate::plugin) fn ended(&self) -> Ended {
        Ended(self.ended.clone())
    }

    /// none: not yet, or taken already.
    pub(in crate::plugin) fn take(&self) -> Option<Ending> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Egress {
    /// Sends a request that asks for an upgrade to `protocol`. One that is none fails as one that was sent does.
    pub(in crate::plugin) fn open(&self, request: Result<Request<Bytes>, Failure>, protocol: String) -> Attempt {
        let target = request.as_ref().ok().and_then(|request| base(request.uri())).unwrap_or_default();
        self.attempt(&target, self.clone().upgrade(request, protocol))
    }

    /// Opens a connection of bytes.
    pub(in crate::plugin) fn connect(&self, origin: String) -> Attempt {
        self.attempt(&origin.clone(), self.clone().connection(origin))
    }

    fn attempt(&self, target: &str, work: impl Future<Output = Ending> + Send + 'static) -> Attempt {
        let (told, place) = (self.told(target), Arc::clone(&self.attempts).try_acquire_owned());
        Attempt::new(async move {
            let ending = match place {
                Ok(_place) => work.await,
                Err(_) => Err(Failure::Attempts(ATTEMPTS)),
            };
            match &ending {
                Ok(_) => told.answered(),
                Err(failure) => told.failed(failure),
            }
            ending
        })
    }

    async fn connection(self, origin: String) -> Ending {
        let to = self.admit(Access::Connect, &origin)?;
        let stream = self.dial(&to, Purpose::Bytes).await?;
        Ok(Outcome::Connected(Duplex::new(stream, self.bounds.between_bytes)))
    }

    async fn upgrade(self, request: Result<Request<Bytes>, Failure>, protocol: String) -> Ending {
        let (mut parts, body) = request?.into_parts();
        let target = base(&parts.uri).ok_or_else(|| OriginError::Scheme(bare(&parts.uri.to_string())))?;
        let to = self.admit(Access::Upgrade, &target)?;
        let ticket = self.turn(&parts).await?;
        make_ours(&mut parts, &protocol)?;
        let stream = self.dial(&to, Purpose::Upgrade).await?;
        let first_byte = self.bounds.first_byte;
        let sent = timeout(first_byte, send(stream, Request::from_parts(parts, Full::new(body)))).await;
        let mut answer = sent.map_err(|_| Failure::ResponseTimeout(first_byte))??;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let io = hyper::upgrade::on(&mut answer).await?;
            let io = Duplex::new(TokioIo::new(io), self.bounds.between_bytes);
            return Ok(Outcome::Switched(answer.into_parts().0, io));
        }
        let (head, body) = answer.into_parts();
        ticket.heed(&head);
        let body = self.told(&target).body(Bounded::response(body, &self.bounds)?, None);
        let stream = HostIncomingBody::new(body).take_stream();
        let stream = stream.ok_or_else(|| Failure::Protocol("its body was read already".into()))?;
        Ok(Outcome::Refused(head, Box::new(stream)))
    }

    async fn dial(&self, to: &Destination, purpose: Purpose) -> Result<Stream, Failure> {
        let dialler = self.services.clients.dialler();
        let tls = dialler.tls(to).await?;
        dialler.dial(to, tls.as_ref(), purpose).await
    }
}

/// Sends one request over a connection of its own.
async fn send(stream: Stream, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD).max_headers(HEADERS);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // It ends by itself: when nobody waits for the answer any more, when its body is read or dropped, when it is handed over.
    tokio::spawn(async move {
        // Whoever waits for something of it hears the same error.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender.send_request(request).await?)
}

/// The headers of the connection itself, which are none of the guest's, and the request's line as a server takes it.
fn make_ours(parts: &mut Parts, protocol: &str) -> Result<(), Failure> {
    let odd = |message: &str| Failure::Request(format!("{message} of the request to upgrade"));
    let theirs =
        DEFAULT_FORBIDDEN_HEADERS.into_iter().chain([CONTENT_LENGTH]).find(|name| parts.headers.contains_key(name));
    if let Some(name) = theirs {
        return Err(odd(&format!("the header {name} is the host's")));
    }
    let authority = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let protocol = HeaderValue::from_str(protocol).ok().filter(|protocol| !protocol.is_empty());
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::try_from(path).map_err(|_| odd("a server cannot take the path"))?;
    parts.headers.insert(HOST, authority.ok_or_else(|| odd("no header can have the authority"))?);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    parts.headers.insert(UPGRADE, protocol.ok_or_else(|| odd("there is no such protocol as that"))?);
    parts.uri = uri;
    Ok(())
}
