//! Who asks: a client certificate says so, else a bearer token, else, where that is allowed, nobody in particular.
//!
//! As the kubelet does it (<https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>): a certificate wins over
//! a token, and a token that is no good is not taken for no token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::api::PostParams;
use kube::{Api, Client};
use moka::future::Cache;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::reviews::{self, Kept};
use crate::apiserver::timed;

/// How long a token stays refused: long enough that one who tries again and again costs the API server little, short enough for one
/// whose token was just made.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Tokens reviewed at once: anybody who reaches the port can ask for a review.
const REVIEWS: usize = 32;
/// Group of all who are somebody.
const AUTHENTICATED: &str = "system:authenticated";

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// A certificate's common name; a token's user.
    pub name: String,
    /// Known of tokens only.
    pub uid: Option<String>,
    /// A certificate's organizations, a token's groups, and `system:authenticated`.
    pub groups: Vec<String>,
    /// What else the API server knows of a token's user.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The user of a verified certificate; none: it names nobody.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok().filter(|name| !name.is_empty())?.to_string();
        let organizations = subject.iter_organization().filter_map(|group| group.as_str().ok());
        let groups = organizations.map(str::to_string).collect();
        Some(Self { name, groups, ..Self::default() }.authenticated())
    }

    /// Who asks without a name.
    fn anonymous() -> Self {
        Self { name: "system:anonymous".into(), groups: vec!["system:unauthenticated".into()], ..Self::default() }
    }

    fn authenticated(mut self) -> Self {
        if !self.groups.iter().any(|group| group == AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.into());
        }
        self
    }
}

impl From<UserInfo> for User {
    fn from(info: UserInfo) -> Self {
        let UserInfo { username, uid, groups, extra } = info;
        let user = Self {
            name: username.unwrap_or_default(),
            uid: uid.filter(|uid| !uid.is_empty()),
            groups: groups.unwrap_or_default(),
            extra: extra.unwrap_or_default(),
        };
        user.authenticated()
    }
}

/// Which ways to be somebody there are, beside client certificates.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--anonymous-auth`: nobody in particular is a user too.
    pub anonymous: bool,
    /// `--authentication-token-webhook`: bearer tokens are reviewed by the API server.
    pub tokens: bool,
    /// `--authentication-token-webhook-cache-ttl`: how long a good token is not reviewed again.
    pub token_ttl: Duration,
}

/// Finds out who asks.
pub(super) struct Authenticator {
    anonymous: Option<Arc<User>>,
    tokens: Option<Tokens>,
}

impl Config {
    /// One that reviews tokens with this client.
    pub(super) fn build(self, client: Client) -> Authenticator {
        let Self { anonymous, tokens, token_ttl } = self;
        let kept = Kept { yes: token_ttl, no: REFUSED_FOR.min(token_ttl) };
        let tokens =
            tokens.then(|| Tokens { reviews: Api::all(client), places: Semaphore::new(REVIEWS), known: kept.cache() });
        Authenticator { anonymous: anonymous.then(|| Arc::new(User::anonymous())), tokens }
    }
}

impl Authenticator {
    /// The user of a request over a connection with this certificate; none: it is told 401.
    pub(super) async fn user(&self, certificate: Option<Arc<User>>, headers: &HeaderMap) -> Option<Arc<User>> {
        if certificate.is_some() {
            return certificate;
        }
        match self.tokens.as_ref().zip(bearer(headers)) {
            Some((tokens, token)) => tokens.user(token).await,
            None => self.anonymous.clone(),
        }
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut parts = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split(' ');
    let scheme = parts.next()?;
    parts.next().filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// Bearer tokens, by the API server's word.
struct Tokens {
    reviews: Api<TokenReview>,
    places: Semaphore,
    /// By the token's digest: the tokens themselves are not kept.
    known: Cache<[u8; 32], Option<Arc<User>>>,
}

impl Tokens {
    async fn user(&self, token: &str) -> Option<Arc<User>> {
        let user = self.known.try_get_with(Sha256::digest(token).into(), self.review(token)).await;
        user.unwrap_or_else(|error| {
            tracing::warn!(%error, "a bearer token could not be reviewed");
            None
        })
    }

    async fn review(&self, token: &str) -> kube::Result<Option<Arc<User>>> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: token.into(), ..TokenReviewSpec::default() },
            ..TokenReview::default()
        };
        let params = PostParams::default();
        let asked = async {
            let _place = self.places.acquire().await;
            self.reviews.create(&params, &review).await
        };
        let status = timed(reviews::TIMEOUT, asked).await?.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true)).map(User::from);
        Ok(user.filter(|user| !user.name.is_empty()).map(Arc::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[(rcgen::DnType, &str)]) -> CertificateDer<'static> {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            parameters.distinguished_name.push(kind.clone(), *name);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn a_certificate_names_user_and_groups() {
        let user = User::of(&certificate(&[
            (rcgen::DnType::CommonName, "kube-apiserver-kubelet-client"),
            (rcgen::DnType::OrganizationName, "system:masters"),
        ]));
        let expected = User {
            name: "kube-apiserver-kubelet-client".into(),
            groups: vec!["system:masters".into(), "system:authenticated".into()],
            ..User::default()
        };
        assert_eq!(user, Some(expected));
        assert_eq!(User::of(&certificate(&[(rcgen::DnType::OrganizationName, "system:masters")])), None);
        assert_eq!(User::of(&certificate(&[(rcgen::DnType::CommonName, "")])), None);
    }

    #[test]
    fn a_token_is_what_follows_bearer() {
        let table = [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            (" Bearer abc ", Some("abc")),
            ("Bearer abc def", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearer  abc", None),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ];
        for (header, token) in table {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
            assert_eq!(bearer(&headers), token, "{header:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn a_reviewed_user_is_authenticated_once() {
        let groups = |groups: &[&str]| groups.iter().map(ToString::to_string).collect::<Vec<_>>();
        let info = |given: &[&str]| UserInfo { groups: Some(groups(given)), ..UserInfo::default() };
        assert_eq!(User::from(info(&["a"])).groups, groups(&["a", AUTHENTICATED]));
        assert_eq!(User::from(info(&[AUTHENTICATED])).groups, groups(&[AUTHENTICATED]));
    }
}
