//! The door: who asks, and whether they may, before a request is looked at.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use kube::Client;
use rustls::pki_types::CertificateDer;
use tokio::sync::SetOnce;

use super::authentication::{self, Authenticator, Certificate, User};
use super::authorization::{self, Attributes, Authorizer};
use super::tls::Tls;

/// How often it is said that a certificate is not known: anybody can show one.
const TELL_EVERY: Duration = Duration::from_secs(60);

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
    shown: Option<Arc<Shown>>,
    /// Set when a request of it was let through.
    admitted: Arc<SetOnce<()>>,
}

/// A chain of certificates that somebody owns; what it is worth is judged at each request.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    /// none: it names nobody.
    user: Option<Arc<User>>,
}

impl Peer {
    /// One that showed this chain in the handshake.
    pub(super) fn new(chain: Option<&[CertificateDer<'static>]>) -> Self {
        let shown = chain.and_then(|chain| {
            let user = User::of(chain.first()?).map(Arc::new);
            Some(Arc::new(Shown { chain: chain.to_vec(), user }))
        });
        Self { shown, admitted: Arc::new(SetOnce::new()) }
    }

    /// A request of it is let through.
    pub(super) fn admit(&self) {
        // Only the first one counts.
        let _ = self.admitted.set(());
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
    /// When it was last said that a certificate is not known.
    told: Mutex<Option<Instant>>,
}

impl Config {
    /// One for the node of this name, which asks the API server with this client.
    pub(super) fn build(self, tls: Arc<Tls>, client: Client, node: &str) -> Access {
        let Self { authentication, authorization } = self;
        Access {
            tls,
            authenticator: authentication.build(client.clone()),
            authorizer: authorization.build(client, node),
            told: Mutex::default(),
        }
    }
}

impl Access {
    async fn check(&self, peer: &Peer, headers: &HeaderMap, attributes: Attributes) -> Result<(), Refusal> {
        let certificate = peer.shown.as_deref().map_or(Certificate::None, |shown| self.judge(shown));
        let user = self.authenticator.user(certificate, headers).await.ok_or(Refusal::Unauthenticated)?;
        self.authorizer.check(&user, attributes).await
    }

    /// What a certificate says. A connection may outlive it, or the trust in who signed it: each request is judged by what holds now.
    fn judge(&self, shown: &Shown) -> Certificate {
        match self.tls.verify_client(&shown.chain) {
            Ok(()) => shown.user.clone().map_or(Certificate::None, Certificate::Of),
            Err(error) => {
                self.tell_unknown(shown, &error);
                Certificate::Unknown
            }
        }
    }

    fn tell_unknown(&self, shown: &Shown, error: &rustls::Error) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        let name = shown.user.as_ref().map(|user| user.name.as_str()).unwrap_or_default();
        tracing::warn!(
            "a client certificate of CN={name:?} is not known by --client-ca-file (by default the kubeconfig's authority): {error}; \
             if it is the API server's, give what its --kubelet-client-certificate is signed by"
        );
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
    peer.admit();
    // Nobody behind this door has a use for somebody else's token.
    request.headers_mut().remove(AUTHORIZATION);
    next.run(request).await
}
