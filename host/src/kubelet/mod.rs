//! The kubelet API: HTTPS on the node's port, for the API server.
//!
//! Every request is authenticated by client certificate and authorized by the API server before it is looked at ([`auth`]).

pub mod auth;
mod logs;
pub mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{Method, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use kube::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pods::index::Index;
use crate::provider::Provider;
use auth::{Authorizer, Refusal, User};
use tls::Serving;

/// A handshake that takes longer is given up, so that silent clients hold nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no kubelet API.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken, or may not be taken.
    #[error("cannot listen on {address}: {source}; give another --port or --address")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

/// What the kubelet API needs.
#[derive(Debug)]
pub struct Config {
    /// Where it listens; port 0 takes any.
    pub listen: SocketAddr,
    /// Its own certificate.
    pub serving: Serving,
    /// PEM file of those whose clients are known; none: the cluster's own authorities.
    pub client_ca: Option<PathBuf>,
    /// DER certificates of the cluster's own authorities.
    pub cluster_ca: Vec<Vec<u8>>,
}

/// The kubelet API, listening and not answering yet.
pub struct Listening {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    address: SocketAddr,
}

/// What handlers share.
#[derive(Clone)]
struct Api {
    provider: Arc<dyn Provider>,
    pods: Arc<Index>,
    authorizer: Authorizer,
    shutdown: CancellationToken,
}

impl Config {
    /// Reads the certificates and takes the port.
    pub async fn bind(self) -> Result<Listening, Error> {
        let authorities = match &self.client_ca {
            Some(path) => tls::read_certificates(path)?.iter().map(|certificate| certificate.to_vec()).collect(),
            None => self.cluster_ca,
        };
        let tls = tls::server_config(&self.serving, &authorities)?;
        let failed = |source| Error::Bind { address: self.listen, source };
        let listener = TcpListener::bind(self.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Listening { listener, acceptor: TlsAcceptor::from(tls), address })
    }
}

impl Listening {
    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers until shutdown, then lets what runs end, for a moment.
    pub async fn run(
        self,
        provider: Arc<dyn Provider>,
        pods: Arc<Index>,
        client: Client,
        node: &str,
        shutdown: CancellationToken,
    ) {
        let api = Api { provider, pods, authorizer: Authorizer::new(client, node), shutdown: shutdown.clone() };
        let router = Router::new()
            .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::serve))
            .layer(axum::middleware::from_fn_with_state(api.clone(), authorize))
            .with_state(api);
        tracing::info!(address = %self.address, "kubelet API listens");
        let connections = TaskTracker::new();
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of file descriptors, most likely: they come back.
                        tracing::warn!(%error, "connection not accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                () = shutdown.cancelled() => break,
            };
            let connection = connect(self.acceptor.clone(), stream, router.clone(), shutdown.clone());
            connections.spawn(connection);
        }
        connections.close();
        if tokio::time::timeout(logs::DRAIN, connections.wait()).await.is_err() {
            tracing::warn!("connections of the kubelet API were cut");
        }
    }
}

async fn connect(acceptor: TlsAcceptor, stream: TcpStream, router: Router, shutdown: CancellationToken) {
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let user = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).and_then(User::of);
    let router = router.layer(axum::Extension(user));
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection of the kubelet API ended badly");
    }
}

/// Lets through who may.
async fn authorize(
    State(api): State<Api>,
    axum::Extension(user): axum::Extension<Option<User>>,
    request: Request,
    next: Next,
) -> Response {
    let verb = match *request.method() {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    };
    match api.authorizer.check(user.as_ref(), verb).await {
        Ok(()) => next.run(request).await,
        Err(Refusal::Unauthenticated) => (StatusCode::UNAUTHORIZED, "Unauthorized").into_response(),
        Err(Refusal::Forbidden(message)) => (StatusCode::FORBIDDEN, message).into_response(),
        Err(Refusal::Unknown(message)) => (StatusCode::INTERNAL_SERVER_ERROR, message).into_response(),
    }
}
