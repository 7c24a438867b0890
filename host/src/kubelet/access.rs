//! The door: who asks, and whether they may, before a request is looked at.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use kube::Client;
use rustls::pki_types::CertificateDer;
use tokio::sync::SetOnce;

use super::authentication::{self, Authenticator, User};
use super::authorization::{self, Attributes, Authorizer};
use super::tls::Tls;

/// How people are told apart, and how long answers about them are kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who asks.
    pub authentication: authentication::Config,
    /// Whether they may.
    pub authorization: authorization::Config,
}

/// How a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody is known: 401.
    Unauthenticated,
    /// The user may not: 403.
    Forbidden(String),
    /// It could not be found out: 500.
    Unknown(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "Unauthorized").into_response(),
            Self::Forbidden(message) => (StatusCode::FORBIDDEN, message).into_response(),
            Self::Unknown(message) => (StatusCode::INTERNAL_SERVER_ERROR, message).into_response(),
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(super) struct Peer {
    /// The chain that it showed, and who that is.
    certificate: Option<Arc<(Vec<CertificateDer<'static>>, Arc<User>)>>,
    /// Set when a request of it was let through.
    admitted: Arc<SetOnce<()>>,
}

impl Peer {
    /// One that showed this chain in the handshake.
    pub(super) fn new(chain: Option<&[CertificateDer<'static>]>) -> Self {
        let certificate = chain.and_then(|chain| {
            let user = User::of(chain.first()?)?;
            Some(Arc::new((chain.to_vec(), Arc::new(user))))
        });
        Self { certificate, admitted: Arc::new(SetOnce::new()) }
    }

    /// Whether a certificate names it.
    pub(super) fn is_named(&self) -> bool {
        self.certificate.is_some()
    }

    /// Waits until a request of it was let through.
    pub(super) async fn admitted(&self) {
        self.admitted.wait().await;
    }
}

/// Decides about requests.
pub(super) struct Access {
    tls: Arc<Tls>,
    authenticator: Authenticator,
    authorizer: Authorizer,
}

impl Config {
    /// One for the node of this name, which asks the API server with this client.
    pub(super) fn build(self, tls: Arc<Tls>, client: Client, node: &str) -> Access {
        let Self { authentication, authorization } = self;
        Access {
            tls,
            authenticator: authentication.build(client.clone()),
            authorizer: authorization.build(client, node),
        }
    }
}

impl Access {
    async fn check(&self, peer: &Peer, headers: &HeaderMap, attributes: Attributes) -> Result<(), Refusal> {
        // A connection may outlive its certificate, or the trust in who signed it: each request is judged by what holds now.
        let holds = |certificate: &&Arc<(Vec<_>, _)>| self.tls.verify_client(&certificate.0);
        let certificate = peer.certificate.as_ref().filter(holds).map(|certificate| certificate.1.clone());
        let user = self.authenticator.user(certificate, headers).await.ok_or(Refusal::Unauthenticated)?;
        self.authorizer.check(&user, attributes).await
    }
}

/// Lets through who may.
pub(super) async fn admit(
    State(access): State<Arc<Access>>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let attributes = Attributes::of(request.method(), request.uri().path());
    if let Err(refusal) = access.check(&peer, request.headers(), attributes).await {
        return refusal.into_response();
    }
    // Only the first one counts.
    let _ = peer.admitted.set(());
    // Nobody behind this door has a use for somebody else's token.
    request.headers_mut().remove(AUTHORIZATION);
    next.run(request).await
}
