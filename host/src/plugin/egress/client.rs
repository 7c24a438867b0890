//! The HTTP client of one plugin: its connections outlive calls and builds.
//!
//! Each destination has a pool of its own, so that no connection to one is ever used for another, and one for each content of the
//! files that its TLS is made with, so that none outlives a certificate. Short calls share connections where the server speaks
//! HTTP/2; calls that last have one each, so that whoever reads a log page by page, or too many logs, takes neither the places nor
//! the flow of those who want an answer now.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::PROXY_AUTHORIZATION;
use http::uri::{Scheme, Uri};
use http::{Extensions, Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use moka::sync::Cache;
use tokio::time::{sleep, timeout};

use super::bounds::{Bounded, Bounds, Limits};
use super::dial::{Destination, Dialler, Purpose};
use super::failure::Failure;
use super::stream::{Refusal, Stream};
use super::surroundings::Surroundings;
use super::tls::Loaded;
use crate::defaults::egress::{HEAD, HEADERS, IDLE, IDLE_HOSTS, IDLE_PER_HOST, KEEP_ALIVE};
use crate::plugin::grants::Grants;

/// How long a server may take for a sign of life. Requests give up later than that.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What may be under way of one answer, in bytes: four megabytes a second from a server that is 60 ms away.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same of all answers on one connection.
const CONNECTION_WINDOW: u32 = 1 << 20;

type Requests = UnsyncBoxBody<Bytes, Failure>;
type Pool = Client<Connector, Requests>;

/// See the module.
pub(in crate::plugin) struct Clients {
    dialler: Arc<Dialler>,
    pools: Cache<Key, Pool>,
}

/// What the connections of one pool have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    to: Destination,
    /// Of what TLS is made with.
    digest: [u8; 32],
    purpose: Purpose,
}

/// Opens the connections of one pool.
#[derive(Clone)]
struct Connector {
    dialler: Arc<Dialler>,
    to: Destination,
    tls: Option<Loaded>,
    purpose: Purpose,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<TokioIo<Stream>, Failure>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let Self { dialler, to, tls, purpose } = self.clone();
        async move { dialler.dial(&to, tls.as_ref(), purpose).await.map(TokioIo::new) }.boxed()
    }
}

impl Clients {
    /// Reaches what `grants` says, and nothing but what the policy lets through.
    pub(in crate::plugin) fn new(grants: &Grants, surroundings: Surroundings, limits: Limits) -> Self {
        let pools = Cache::builder().max_capacity(IDLE_HOSTS).time_to_idle(IDLE * 2).build();
        Self { dialler: Arc::new(Dialler::new(grants, surroundings, limits)), pools }
    }

    pub(super) fn dialler(&self) -> &Arc<Dialler> {
        &self.dialler
    }

    /// Sends a request and returns the head of the answer, whose body is not bounded yet.
    pub(super) async fn send<B>(
        &self,
        to: &Destination,
        request: Request<B>,
        bounds: &Bounds,
    ) -> Result<Response<Incoming>, Failure>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Failure>,
    {
        let tls = self.dialler.tls(to).await?;
        let (mut parts, body) = request.into_parts();
        // HTTP/2 tells it to the server; an endpoint's is what its operator says.
        let scheme = if tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        parts.uri = with_scheme(parts.uri, scheme)?;
        if let Some(authorization) = self.dialler.proxy_authorization(to) {
            parts.headers.insert(PROXY_AUTHORIZATION, authorization);
        }
        // HTTP/2 does not hand on why a body broke off.
        let blame = Arc::new(OnceLock::new());
        let blamed = Arc::clone(&blame);
        let body = Bounded::request(body, bounds).map_err(move |failure| blamed.get_or_init(|| failure).clone());
        let request = Request::from_parts(parts, body.boxed_unsync());
        let answered = self.exchange(self.pool(to, tls, bounds), request, bounds).await;
        let answer = answered.map_err(|failure| blame.get().cloned().unwrap_or(failure))?;
        // HTTP/1.1 bounds their number itself.
        if answer.headers().len() > HEADERS {
            return Err(Failure::Head { bytes: HEAD, count: HEADERS });
        }
        Ok(answer)
    }

    async fn exchange(
        &self,
        pool: Pool,
        mut request: Request<Requests>,
        bounds: &Bounds,
    ) -> Result<Response<Incoming>, Failure> {
        let target = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let mut connection = capture_connection(&mut request);
        let mut answer = pin!(pool.request(request).map(|result| result.map_err(|error| Failure::of(&error))));
        let connected = async { drop(connection.wait_for_connection_metadata().await) };
        let answered = tokio::select! {
            biased;
            answered = &mut answer => Some(answered),
            () = connected => None,
            () = sleep(bounds.connect) => return Err(Failure::ConnectTimeout { target, limit: bounds.connect }),
        };
        let late = |_| Failure::ResponseTimeout(bounds.first_byte);
        let answered = match answered {
            Some(answered) => answered,
            None => timeout(bounds.first_byte, answer).await.map_err(late)?,
        };
        answered.map_err(|failure| refusal(&connection).unwrap_or(failure))
    }

    fn pool(&self, to: &Destination, tls: Option<Loaded>, bounds: &Bounds) -> Pool {
        let digest = tls.as_ref().map_or([0; 32], |tls| tls.digest);
        let purpose = if bounds.is_short { Purpose::Requests } else { Purpose::LongRequests };
        let connector = || Connector { dialler: Arc::clone(&self.dialler), to: to.clone(), tls: tls.clone(), purpose };
        self.pools.get_with(Key { to: to.clone(), digest, purpose }, || pool(connector()))
    }
}

fn pool(connector: Connector) -> Pool {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        // The guest's own authority is there already, as it was written.
        .set_host(false)
        .http1_max_buf_size(HEAD)
        .http1_max_headers(HEADERS)
        // Nothing else tells a connection that is cut without a word from one that is idle: what waits for an answer is in the way
        // of TCP's own signs of life.
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        // The host keeps what the guest has not read.
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX))
        .build(connector)
}

/// What the server did not like of a connection.
fn refusal(connection: &CaptureConnection) -> Option<Failure> {
    let mut extras = Extensions::new();
    connection.connection_metadata().as_ref()?.get_extras(&mut extras);
    extras.get::<Refusal>()?.0.get().cloned()
}

fn with_scheme(uri: Uri, scheme: Scheme) -> Result<Uri, Failure> {
    let mut parts = uri.into_parts();
    parts.scheme = Some(scheme);
    Uri::from_parts(parts).map_err(|error| Failure::Request(error.to_string()))
}
