//! What leaves the host for a plugin, and what does not: the policy's only place.
//!
//! ```text
//! wasi:http ──────┐                     ┌ budgets ▶ client (pools) ─┐
//! upgrade.open ───┼▶ granted? ▶ where to ┼ budgets ▶ switch ─────────┼▶ dial: names, addresses, TLS
//! upgrade.connect ┘        └ no: told    └ switch ──────────────────┘
//! ```
//!
//! No redirect is followed, and the request's head is the guest's own, `Host` with it: a server that sends somewhere else is asked
//! about that by the guest, and the guest's next request is looked at like any other. All times and sizes are bounded by the class of
//! the call (`bounds`).

pub mod address;
mod bounds;
pub(super) mod budget;
mod client;
mod denied;
mod dial;
mod error_code;
mod failure;
pub mod origin;
mod proxy;
mod stream;
mod surroundings;
mod switch;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use self::bounds::{Bounded, Bounds};
use self::budget::{Budgets, Missed, NoTurn, Ticket};
use self::dial::Destination;
use self::origin::{Origin, OriginError, Scheme, bare, base, host};
use self::switch::ATTEMPTS;
use super::grants::{Access, Allowed, Granted, endpoint_name};
use super::services::Services;

pub use self::bounds::Limits;
pub(super) use self::bounds::Patience;
pub(super) use self::client::Clients;
pub(super) use self::denied::Denied;
pub(super) use self::error_code::add_to_linker;
pub(super) use self::failure::Failure;
pub use self::surroundings::{Resolve, Surroundings};
pub(super) use self::switch::{Attempt, Duplex, Outcome};

/// What the authorities of named endpoints end in.
const ENDPOINTS: &str = ".endpoint.internal";

/// Requests of one call at once; those beyond wait. A provider that asks for more at a time is a bad neighbour, and all calls share
/// the plugin's connections.
const REQUESTS: usize = 64;
/// Of a request's body, in bytes.
const BODY_CHUNK: usize = 64 << 10;

type Exchange = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Exchange), Error>> + Send>;

/// What the calls of one build may have of the world outside.
#[derive(Clone)]
pub(super) struct Rights {
    pub(super) granted: Arc<Granted>,
    pub(super) budgets: Arc<Budgets>,
}

impl Rights {
    /// Of a build that is asked who it is: nothing.
    pub(super) fn none() -> Self {
        Self { granted: Arc::default(), budgets: Arc::new(Budgets::none()) }
    }
}

/// The egress of one call.
#[derive(Clone)]
pub(super) struct Egress {
    services: Arc<Services>,
    rights: Rights,
    bounds: Bounds,
    /// The call's own end.
    deadline: Option<Instant>,
    missed: Missed,
    /// For connections of the guest's own that are in the making.
    attempts: Arc<Semaphore>,
    /// For requests whose answers are not read to the end.
    requests: Arc<Semaphore>,
}

impl Egress {
    pub(super) fn new(services: Arc<Services>, rights: Rights, patience: Patience, deadline: Option<Instant>) -> Self {
        let bounds = Bounds::new(patience, &services.limits.egress);
        let (attempts, requests) = (Arc::new(Semaphore::new(ATTEMPTS)), Arc::new(Semaphore::new(REQUESTS)));
        Self { services, rights, bounds, deadline, missed: Missed::default(), attempts, requests }
    }

    /// What budgets have kept the call from.
    pub(super) fn missed(&self) -> Missed {
        self.missed.clone()
    }

    async fn turn(&self, request: &Parts) -> Result<Ticket, NoTurn> {
        let turn = self.rights.budgets.turn(request, self.deadline).await;
        turn.inspect_err(|missed| self.missed.note(*missed))
    }

    /// Where a granted target leads. `target`: scheme and authority.
    fn admit(&self, access: Access, target: &str) -> Result<Destination, Failure> {
        let (scheme, host) = host(target)?;
        let plain = matches!(scheme, Scheme::Tcp | Scheme::Tls);
        if plain != (access == Access::Connect) {
            return Err(Failure::Request(format!("{:?} is nothing that {} reaches", bare(target), access.word())));
        }
        let host = host.to_ascii_lowercase();
        if let Some(name) = host.strip_suffix(ENDPOINTS).filter(|name| endpoint_name(name).is_ok()) {
            let granted = self.rights.granted.endpoint(&host).map(str::to_owned);
            return granted.map(Destination::Endpoint).ok_or_else(|| Failure::EndpointNotGranted(name.to_owned()));
        }
        let origin = Origin::parse(target)?;
        match self.rights.granted.allows(access, &origin) {
            Some(allowed) => Ok(Destination::Origin { origin, literal: allowed == Allowed::Literal }),
            None => Err(Failure::NotGranted { access, target: origin.to_string() }),
        }
    }

    async fn exchange(
        self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Response<Bounded<Incoming>>, Failure> {
        let bounds = self.bounds.shortened(options);
        let (parts, body) = request.into_parts();
        // A proxy would take it for the wish to be a tunnel to anywhere.
        if parts.method == Method::CONNECT {
            return Err(Failure::Request("CONNECT is no request: upgrade.connect opens connections".into()));
        }
        let target = base(&parts.uri).ok_or_else(|| OriginError::Scheme(bare(&parts.uri.to_string())))?;
        let to = self.admit(Access::Http, &target)?;
        let ticket = self.turn(&parts).await?;
        let answer = self.services.clients.send(&to, Request::from_parts(parts, body), &bounds).await?;
        let (head, body) = answer.into_parts();
        ticket.heed(&head);
        Ok(Response::from_parts(head, Bounded::response(body, &bounds)?))
    }

    /// Who tells what comes of a request to this target.
    fn told(&self, target: &str) -> Told {
        Told { services: Arc::clone(&self.services), target: bare(target) }
    }
}

/// Tells and counts what comes of one request.
#[derive(Clone)]
struct Told {
    services: Arc<Services>,
    target: String,
}

impl Told {
    fn answered(&self) {
        self.services.denied.answered();
    }

    fn failed(&self, failure: &Failure) {
        self.services.denied.failed(&self.services.name(), &self.target, failure);
    }

    /// A body whose failures are told too, and that has its request's place until it is dropped.
    fn body<B>(self, body: Bounded<B>, place: Option<OwnedSemaphorePermit>) -> WasiBody
    where
        B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Failure>,
    {
        let failed = move |failure: Failure| {
            let _ = &place;
            self.failed(&failure);
            Error::from(failure)
        };
        body.map_err(failed).boxed_unsync()
    }
}

impl WasiHttpHooks for Egress {
    fn send_request(&mut self, request: Request<WasiBody>, options: Option<RequestOptions>, _done: Exchange) -> Sent {
        let told = self.told(&base(request.uri()).unwrap_or_default());
        let (exchange, requests) = (self.clone().exchange(request, options), Arc::clone(&self.requests));
        let sent = async move {
            // Closed it never is.
            let place = requests.acquire_owned().await.ok();
            match exchange.await {
                Ok(answer) => {
                    told.answered();
                    let idle: Exchange = Box::new(ready(Ok(())));
                    Ok((answer.map(|body| told.body(body, place)), idle))
                }
                Err(failure) => {
                    told.failed(&failure);
                    Err(failure.into())
                }
            }
        };
        // It runs beside the call, and its lines of the log are the call's.
        Box::new(sent.instrument(Span::current()))
    }

    /// Of a request's body twice as much waits in the host.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }
}
