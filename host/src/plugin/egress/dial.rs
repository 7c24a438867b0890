//! The only way out: from where a connection may lead to the connection.
//!
//! ```text
//! an origin ─▶ its name resolved ▶ addresses vetted ▶ TCP to one of those ──┐
//!     └─ where the host has a proxy for it: vetted all the same, unless its ─┤
//!        operator has named it ▶ TCP to the proxy ▶ a tunnel through ────────┴▶ TLS ▶ Stream
//! an endpoint ▶ its socket, or TCP to wherever its name leads ───────────────┘
//! ```
//!
//! What the policy allowed comes in as a [`Destination`]; nothing else is looked at.

use std::convert::Infallible;
use std::fmt;
use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::proxy::matcher::Intercept;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt as _;

use super::address::is_vetted;
use super::bounds::Limits;
use super::failure::{Failure, of_connect};
use super::origin::{Host, Origin};
use super::proxy;
use super::stream::{Io, Opened, Stream};
use super::surroundings::Surroundings;
use super::tls::{Loaded, Material, Protocols, Tls};
use crate::defaults::egress::KEEP_ALIVE;
use crate::plugin::grants::{Access, Endpoint, EndpointUrl, Grants};

/// Time between two questions after the first one that was not answered, and how many are asked: a server that has gone is noticed
/// half a minute after its last word, where Linux would take twelve minutes.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// See [`KEEP_ALIVE_INTERVAL`].
const KEEP_ALIVE_RETRIES: u32 = 3;

/// Where a connection may lead. `Display` is what people know it by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Destination {
    /// One that was granted.
    Origin {
        /// Which.
        origin: Origin,
        /// The operator granted this very address, whatever it is.
        literal: bool,
    },
    /// By its name.
    Endpoint(String),
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// HTTP requests, one after the other or, where the server speaks HTTP/2, many at once.
    Requests,
    /// HTTP requests whose answers last, one after the other.
    LongRequests,
    /// One HTTP/1.1 request, and then whatever the server upgrades to.
    Upgrade,
    /// Bytes.
    Bytes,
}

/// Opens connections.
pub(super) struct Dialler {
    surroundings: Surroundings,
    grants: Grants,
    tls: Tls,
    places: Arc<Semaphore>,
    limits: Limits,
}

/// Where TCP goes.
#[derive(Clone, Copy)]
struct Server<'a> {
    host: &'a Host,
    port: u16,
    /// Any address will do: the operator named it.
    trusted: bool,
    /// For messages.
    target: &'a (dyn fmt::Display + Sync),
}

/// One connection in the making.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    /// none: TLS is not spoken.
    tls: Option<&'a Loaded>,
    purpose: Purpose,
    until: Instant,
}

impl Purpose {
    /// What has to be granted for it.
    const fn access(self) -> Access {
        match self {
            Self::Requests | Self::LongRequests => Access::Http,
            Self::Upgrade => Access::Upgrade,
            Self::Bytes => Access::Connect,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin { origin, .. } => origin.fmt(f),
            Self::Endpoint(name) => write!(f, "the endpoint {name}"),
        }
    }
}

impl Dialler {
    pub(super) fn new(grants: &Grants, surroundings: Surroundings, limits: Limits) -> Self {
        Self {
            surroundings,
            grants: grants.clone(),
            tls: Tls::new(grants.certificate_authorities.clone()),
            places: Arc::new(Semaphore::new(limits.connections)),
            limits,
        }
    }

    fn endpoint(&self, name: &str) -> Result<&Endpoint, Failure> {
        self.grants.endpoints.get(name).ok_or_else(|| Failure::EndpointNotGranted(name.to_owned()))
    }

    /// What TLS with it is made with now; none: it is not spoken.
    pub(super) async fn tls(&self, to: &Destination) -> Result<Option<Loaded>, Failure> {
        let material = match to {
            Destination::Origin { origin, .. } => origin.scheme.is_secure().then(Material::default),
            Destination::Endpoint(name) => {
                let endpoint = self.endpoint(name)?;
                endpoint.url.is_tls().then(|| endpoint.into())
            }
        };
        match material {
            Some(material) => self.tls.load(&material).await.map(Some),
            None => Ok(None),
        }
    }

    /// What a proxy wants to see in a request that it passes on; none: nothing, or no proxy does.
    pub(super) fn proxy_authorization(&self, to: &Destination) -> Option<HeaderValue> {
        let Destination::Origin { origin, .. } = to else { return None };
        let proxy = self.surroundings.proxy(origin).filter(|proxy| proxy::passes_on(proxy, origin))?;
        proxy.basic_auth().cloned()
    }

    /// Opens a connection within the time that this may take. `tls`: see [`Self::tls`].
    pub(super) async fn dial(
        &self,
        to: &Destination,
        tls: Option<&Loaded>,
        purpose: Purpose,
    ) -> Result<Stream, Failure> {
        let Limits { connect: limit, connections, .. } = self.limits;
        let until = Instant::now() + limit;
        let place = timeout_at(until, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or(Failure::Connections(connections))?;
        let late = |_| Failure::ConnectTimeout { target: to.to_string(), limit };
        let opened = timeout_at(until, self.open(to, Attempt { tls, purpose, until })).await.map_err(late)??;
        Ok(opened.at(place))
    }

    async fn open(&self, to: &Destination, attempt: Attempt<'_>) -> Result<Opened, Failure> {
        match to {
            Destination::Origin { origin, literal } => {
                let server = Server { host: &origin.host, port: origin.port, trusted: *literal, target: origin };
                match self.surroundings.proxy(origin) {
                    Some(proxy) => self.by_proxy(&proxy, origin, server, attempt).await,
                    None => self.by_tcp(server, attempt).await,
                }
            }
            Destination::Endpoint(name) => match &self.endpoint(name)?.url {
                EndpointUrl::Unix(path) => {
                    let socket = UnixStream::connect(path).await.map_err(|error| of_connect(to, &error))?;
                    Ok(Opened::plain(Box::new(socket)))
                }
                EndpointUrl::Http { host, port } | EndpointUrl::Https { host, port } => {
                    self.by_tcp(Server { host, port: *port, trusted: true, target: to }, attempt).await
                }
            },
        }
    }

    async fn by_tcp(&self, server: Server<'_>, attempt: Attempt<'_>) -> Result<Opened, Failure> {
        let io = self.tcp(server, attempt.until).await?;
        secured(io, server.host, attempt).await
    }

    /// The proxy resolves names, and so decides where a connection leads. That is the operator's to allow; where the operator has not
    /// named the origin, it is vetted here as it would be without a proxy.
    async fn by_proxy(
        &self,
        proxy: &Intercept,
        origin: &Origin,
        server: Server<'_>,
        attempt: Attempt<'_>,
    ) -> Result<Opened, Failure> {
        let access = attempt.purpose.access();
        match server.host {
            Host::Name(_) if self.grants.names(access, origin) => {}
            Host::Name(_) | Host::Ip(_) => {
                let vetted = self.addresses(server, attempt.until).await;
                vetted.map_err(|failure| failure.behind_proxy(access, origin))?;
            }
        }
        let io = self.to_proxy(proxy, attempt.until).await?;
        if access == Access::Http && proxy::passes_on(proxy, origin) {
            return Ok(Opened { is_proxied: true, ..Opened::plain(io) });
        }
        let io = proxy::tunnel(proxy, origin, io).await?;
        secured(io, server.host, attempt).await
    }

    async fn to_proxy(&self, proxy: &Intercept, until: Instant) -> Result<Box<dyn Io>, Failure> {
        let target = format!("the proxy {}", proxy.uri());
        let unusable = || Failure::Unreachable { target: target.clone(), message: "its URL has no host".into() };
        let (host, port, secure) = proxy::server(proxy).ok_or_else(unusable)?;
        let io = self.tcp(Server { host: &host, port, trusted: true, target: &target }, until).await?;
        if !secure {
            return Ok(io);
        }
        let tls = self.tls.load(&Material::default()).await?;
        Ok(Box::new(tls.connect(&host, Protocols::Http1, io).await?))
    }

    /// TCP to the first of its addresses that takes it.
    async fn tcp(&self, server: Server<'_>, until: Instant) -> Result<Box<dyn Io>, Failure> {
        let addresses = self.addresses(server, until).await?;
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, server.port)).collect();
        Ok(Box::new(connect(addresses, &server.target).await?))
    }

    /// All that it may be reached at; never none.
    async fn addresses(&self, server: Server<'_>, until: Instant) -> Result<Vec<IpAddr>, Failure> {
        let Server { host, trusted, target, .. } = server;
        let all = match host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => self.resolve(name, until).await?,
        };
        let Some(first) = all.first().copied() else {
            return Err(Failure::Name { name: host.to_string(), message: "it has no address".into() });
        };
        let vetted: Vec<IpAddr> =
            all.into_iter().filter(|ip| trusted || is_vetted(*ip, &self.grants.addresses)).collect();
        if vetted.is_empty() {
            return Err(Failure::Address { target: target.to_string(), address: first.to_canonical() });
        }
        Ok(vetted)
    }

    async fn resolve(&self, name: &str, until: Instant) -> Result<Vec<IpAddr>, Failure> {
        match timeout_at(until, self.surroundings.resolver.resolve(name)).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(Failure::Name { name: name.to_owned(), message: error.to_string() }),
            Err(_) => Err(Failure::NameTimeout(name.to_owned())),
        }
    }
}

async fn connect(addresses: Vec<SocketAddr>, target: &(impl fmt::Display + Sync)) -> Result<TcpStream, Failure> {
    // The library tries IPv6 and IPv4 side by side (RFC 8305). It is given addresses, and never a name to resolve.
    let vetted = tower::service_fn(move |_: Name| ready(Ok::<_, Infallible>(addresses.clone().into_iter())));
    let mut connector = HttpConnector::new_with_resolver(vetted);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEP_ALIVE));
    connector.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEP_ALIVE_RETRIES));
    let connected = connector.oneshot(Uri::from_static("http://vetted")).await;
    Ok(connected.map_err(|error| of_connect(target, &error))?.into_inner())
}

async fn secured(io: Box<dyn Io>, host: &Host, attempt: Attempt<'_>) -> Result<Opened, Failure> {
    let Some(tls) = attempt.tls else { return Ok(Opened::plain(io)) };
    let protocols = match attempt.purpose {
        Purpose::Requests => Protocols::Http,
        Purpose::LongRequests | Purpose::Upgrade => Protocols::Http1,
        Purpose::Bytes => Protocols::Bytes,
    };
    let io = tls.connect(host, protocols, io).await?;
    let is_http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Opened { is_http2, ..Opened::plain(Box::new(io)) })
}

#[cfg(test)]
mod tests;
