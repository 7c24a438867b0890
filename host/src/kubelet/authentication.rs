//! Who asks: a client certificate says so, else a bearer token, else, where that is allowed, nobody in particular.
//!
//! As the kubelet does it (<https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>): a certificate wins over
//! a token, a token is looked at where the certificate is not known, and neither of them is taken for none if it is no good.

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

/// How long a token stays refused: long enough that one who tries again and again costs the API server little, short enough for one
/// whose token was just made.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Tokens reviewed at once: anybody who reaches the port can ask for a review.
const REVIEWS: usize = 32;
/// Type of the part of a certificate's subject that is the user's UID (`X509UID` of k8s.io/apimachinery/pkg/apis/asn1).
const UID: &str = "1.3.6.1.4.1.57683.2";
/// What of [`User::extra`] names the certificate (`CredentialIDKey` of k8s.io/apiserver/pkg/authentication/user).
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// Group of all who are somebody.
const AUTHENTICATED: &str = "system:authenticated";

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// A certificate's common name; a token's user.
    pub name: String,
    /// A token's, and a certificate's that has one.
    pub uid: Option<String>,
    /// A certificate's organizations, a token's groups, and `system:authenticated`.
    pub groups: Vec<String>,
    /// What else the API server knows of a token's user; a certificate's digest.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The user of a verified certificate, as the API server reads it (`CommonNameUserConversion` of
    /// k8s.io/apiserver/pkg/authentication/request/x509); none: it names nobody.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let id = format!("X509SHA256={}", data_encoding::HEXLOWER.encode(&Sha256::digest(certificate)));
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        // Of several, Go has the last one.
        let name = subject.iter_common_name().filter_map(|name| name.as_str().ok()).last()?;
        let mut uids = subject.iter_attributes().filter(|attribute| attribute.attr_type().to_id_string() == UID);
        let uid = uids.next().map(|uid| uid.as_str().ok().filter(|uid| !uid.is_empty()));
        if name.is_empty() || uid == Some(None) || uids.next().is_some() {
            return None;
        }
        let organizations = subject.iter_organization().filter_map(|group| group.as_str().ok());
        let user = Self {
            name: name.to_string(),
            uid: uid.flatten().map(str::to_string),
            groups: organizations.map(str::to_string).collect(),
            extra: BTreeMap::from([(CREDENTIAL_ID.to_string(), vec![id])]),
        };
        Some(user.authenticated())
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

/// What the certificate of a connection says.
pub(super) enum Certificate {
    /// There is none, or it names nobody.
    None,
    /// It is not of those that are known, or not any more.
    Unknown,
    /// It is this user's.
    Of(Arc<User>),
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
    pub(super) async fn user(&self, certificate: Certificate, headers: &HeaderMap) -> Option<Arc<User>> {
        if let Certificate::Of(user) = certificate {
            return Some(user);
        }
        match (self.tokens.as_ref().zip(bearer(headers)), certificate) {
            (Some((tokens, token)), _) => tokens.user(token).await,
            (None, Certificate::None) => self.anonymous.clone(),
            (None, _) => None,
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
        let asked = reviews::ask(|| async {
            let _place = self.places.acquire().await;
            self.reviews.create(&params, &review).await
        });
        let status = asked.await?.status.unwrap_or_default();
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
        use rcgen::DnType::{CommonName, CustomDnType, OrganizationName};
        let uid = || CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]);
        let shown = certificate(&[
            (CommonName, "kube-apiserver-kubelet-client"),
            (OrganizationName, "system:masters"),
            (uid(), "7"),
        ]);
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&shown));
        let expected = User {
            name: "kube-apiserver-kubelet-client".into(),
            uid: Some("7".into()),
            groups: vec!["system:masters".into(), "system:authenticated".into()],
            extra: BTreeMap::from([(CREDENTIAL_ID.into(), vec![format!("X509SHA256={digest}")])]),
        };
        assert_eq!(User::of(&shown), Some(expected));
        for nobody in
            [&[(OrganizationName, "system:masters")][..], &[(CommonName, "")], &[(CommonName, "a"), (uid(), "")]]
        {
            assert_eq!(User::of(&certificate(nobody)), None);
        }
    }

    #[tokio::test]
    async fn a_certificate_that_is_not_known_is_not_taken_for_none() {
        let client = Client::new(
            tower::service_fn(async |_| Err::<http::Response<kube::client::Body>, _>("no API server")),
            "a",
        );
        let config = Config { anonymous: true, tokens: false, token_ttl: Duration::ZERO };
        let authenticator = config.build(client);
        let user =
            async |certificate| authenticator.user(certificate, &HeaderMap::new()).await.map(|user| user.name.clone());
        let somebody = Arc::new(User { name: "a".into(), ..User::default() });
        assert_eq!(user(Certificate::Of(somebody)).await.as_deref(), Some("a"));
        assert_eq!(user(Certificate::None).await.as_deref(), Some("system:anonymous"));
        assert_eq!(user(Certificate::Unknown).await, None);
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
