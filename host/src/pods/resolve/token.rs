//! Service account tokens that are bound to a pod: asked for by TokenRequest, kept until most of their life is over.
//!
//! Times are counted from when a token was asked for, by this machine's clock: it need not agree with the API server's.
//! (kubernetes/pkg/kubelet/token/token_manager.go)

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::core::Status;
use kube::{Api, Client};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::objects::{is_lag, patient};
use crate::apiserver::innermost;
use crate::defaults::pods::{TOKEN_JITTER, TOKEN_LONGEST_USE, TOKEN_RETRY};
use crate::pods::object::PodObject;

/// What a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Wanted {
    /// Empty: the API server itself.
    pub(super) audience: String,
    /// How long it shall be good for, in seconds.
    pub(super) seconds: i64,
}

/// What the API server gave. No `Debug`: it is a secret.
struct Issued {
    text: Bytes,
    /// Unix time in milliseconds.
    expires_ms: u64,
    /// How long it is good for, which may be less than was asked for.
    life: Duration,
}

/// A token in use.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) text: Bytes,
    /// Unix time in milliseconds.
    pub(super) expires_ms: u64,
    /// When it should be another.
    pub(super) renew_at: Instant,
    /// When it is good no more.
    ends_at: Instant,
}

#[cfg(test)]
impl Token {
    /// One that is good for long.
    pub(super) fn new(text: Bytes, expires_ms: u64, renew_at: Instant) -> Self {
        Self { text, expires_ms, renew_at, ends_at: renew_at + Duration::from_secs(3600) }
    }
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The API server gives none.
    Refused(String),
    /// It could not be asked.
    Unreached(String),
}

/// A place for one token, and whoever renews it.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// The tokens of one pod.
#[derive(Default)]
pub(in crate::pods) struct Tokens(Mutex<HashMap<Wanted, Slot>>);

impl Tokens {
    /// The pod's token, renewed if it is time. A renewal that fails leaves the old one in use for as long as it is good.
    pub(super) async fn get(&self, client: &Client, pod: &PodObject, wanted: &Wanted) -> Result<Token, Failure> {
        self.obtain(wanted, jitter(pod.uid()), || request(client, pod, wanted)).await
    }

    async fn obtain<F: Future<Output = Result<Issued, Failure>>>(
        &self,
        wanted: &Wanted,
        jitter: Duration,
        request: impl FnOnce() -> F,
    ) -> Result<Token, Failure> {
        let slot = self.slot(wanted);
        // Who else asks meanwhile gets the same.
        let mut kept = slot.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.clone());
        }
        let asked = Instant::now();
        let failure = match request().await {
            Ok(Issued { text, expires_ms, life }) => {
                let renew_at = asked + renew_after(life, jitter);
                let token = Token { text, expires_ms, renew_at, ends_at: asked + life };
                *kept = Some(token.clone());
                return Ok(token);
            }
            Err(failure) => failure,
        };
        match kept.as_mut().filter(|old| Instant::now() < old.ends_at) {
            Some(old) => {
                tracing::warn!(audience = %wanted.audience, ?failure, "token not renewed; the old one is still good");
                old.renew_at = Instant::now() + TOKEN_RETRY;
                Ok(old.clone())
            }
            None => Err(failure),
        }
    }

    fn slot(&self, wanted: &Wanted) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(wanted.clone()).or_default().clone()
    }
}

/// After how much of its life a token is renewed: four parts of five, or a day, a little earlier.
fn renew_after(life: Duration, jitter: Duration) -> Duration {
    (life * 4 / 5).min(TOKEN_LONGEST_USE).saturating_sub(jitter)
}

/// Pods that were made together do not renew together. The same for a pod each time.
fn jitter(uid: &str) -> Duration {
    let digest = Sha256::digest(uid.as_bytes());
    let part = digest.first().copied().unwrap_or_default();
    TOKEN_JITTER * u32::from(part) / 256
}

async fn request(client: &Client, pod: &PodObject, wanted: &Wanted) -> Result<Issued, Failure> {
    let id = pod.id();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &id.namespace);
    let account = pod.spec.service_account_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("default");
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(wanted.audience.clone()).filter(|audience| !audience.is_empty()).map(|one| vec![one]),
            expiration_seconds: Some(wanted.seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(id.name),
                uid: Some(id.uid),
            }),
        }),
        ..TokenRequest::default()
    };
    let params = PostParams::default();
    let answer = patient(knows_no_pod, || accounts.create_token_request(account, &params, &request)).await;
    issued(answer.map_err(failure)?, wanted)
}

/// Beside the authorizer, admission looks for the pod in a cache that may lag behind.
fn knows_no_pod(status: &Status) -> bool {
    let absent = || status.details.as_ref().is_some_and(|details| details.kind == "pods");
    is_lag(status) || status.code == 404 && absent()
}

fn issued(answer: TokenRequest, wanted: &Wanted) -> Result<Issued, Failure> {
    let seconds = answer.spec.and_then(|spec| spec.expiration_seconds).unwrap_or(wanted.seconds);
    let status = answer.status.unwrap_or_default();
    let expires = status.expiration_timestamp.and_then(|time| u64::try_from(time.0.as_millisecond()).ok());
    match (status.token, expires, u64::try_from(seconds)) {
        (Some(token), Some(expires_ms), Ok(seconds)) => {
            Ok(Issued { text: token.into(), expires_ms, life: Duration::from_secs(seconds) })
        }
        _ => Err(Failure::Unreached("the API server answered with half a token".into())),
    }
}

fn failure(error: kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
            Failure::Refused(status.message)
        }
        kube::Error::Api(status) => Failure::Unreached(status.message),
        error => Failure::Unreached(innermost(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// An API server that counts what it gives, for as long as it gives anything.
    #[derive(Default)]
    struct Issuer {
        given: AtomicU64,
        silent: bool,
    }

    impl Issuer {
        async fn issue(&self, life: Duration) -> Result<Issued, Failure> {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if self.silent {
                return Err(Failure::Unreached("no answer".into()));
            }
            let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
            Ok(Issued { text: format!("token {number}").into(), expires_ms: number, life })
        }
    }

    async fn obtain(tokens: &Tokens, issuer: &Issuer, audience: &str, life: Duration) -> Result<Bytes, Failure> {
        let seconds = i64::try_from(life.as_secs()).unwrap();
        let wanted = Wanted { audience: audience.into(), seconds };
        tokens.obtain(&wanted, Duration::ZERO, || issuer.issue(life)).await.map(|token| token.text)
    }

    #[test]
    fn a_token_is_renewed_after_four_parts_of_five_of_its_life_or_a_day() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let table = [
            (minutes(10), Duration::ZERO, minutes(8)),
            (minutes(10), Duration::from_secs(10), minutes(8) - Duration::from_secs(10)),
            (minutes(60), Duration::ZERO, minutes(48)),
            (30 * HOUR, Duration::ZERO, 24 * HOUR),
            (1000 * HOUR, Duration::ZERO, 24 * HOUR),
            (1000 * HOUR, Duration::from_secs(5), 24 * HOUR - Duration::from_secs(5)),
            (Duration::from_secs(5), Duration::from_secs(10), Duration::ZERO),
        ];
        for (life, jitter, expected) in table {
            assert_eq!(renew_after(life, jitter), expected, "{life:?} {jitter:?}");
        }
    }

    #[test]
    fn pods_do_not_renew_together() {
        let all: std::collections::BTreeSet<Duration> = (0..100).map(|pod| jitter(&format!("u-{pod}"))).collect();
        assert!(all.len() > 50 && all.iter().all(|jitter| *jitter < TOKEN_JITTER), "{all:?}");
        assert_eq!(jitter("u-1"), jitter("u-1"));
    }

    #[tokio::test(start_paused = true)]
    async fn one_token_serves_all_of_a_pod_until_it_is_time() {
        let (tokens, issuer) = (Tokens::default(), Issuer::default());
        let together = futures::future::join_all((0..3).map(|_| obtain(&tokens, &issuer, "", HOUR))).await;
        assert!(together.iter().all(|token| token.as_ref().unwrap() == "token 1"), "{together:?}");
        // Just before 48 minutes, and just after.
        tokio::time::sleep(Duration::from_secs(48 * 60 - 1)).await;
        assert_eq!(obtain(&tokens, &issuer, "", HOUR).await.unwrap(), "token 1");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(obtain(&tokens, &issuer, "", HOUR).await.unwrap(), "token 2");
        assert_eq!(obtain(&tokens, &issuer, "", HOUR).await.unwrap(), "token 2");
    }

    #[tokio::test(start_paused = true)]
    async fn another_audience_or_life_is_another_token() {
        let (tokens, issuer) = (Tokens::default(), Issuer::default());
        assert_eq!(obtain(&tokens, &issuer, "", HOUR).await.unwrap(), "token 1");
        assert_eq!(obtain(&tokens, &issuer, "vault", HOUR).await.unwrap(), "token 2");
        assert_eq!(obtain(&tokens, &issuer, "", 2 * HOUR).await.unwrap(), "token 3");
        assert_eq!(obtain(&tokens, &issuer, "vault", HOUR).await.unwrap(), "token 2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_fails_leaves_the_old_token_for_as_long_as_it_is_good() {
        let tokens = Tokens::default();
        let (issuer, silent) = (Issuer::default(), Issuer { silent: true, ..Issuer::default() });
        obtain(&tokens, &issuer, "", HOUR).await.unwrap();
        tokio::time::sleep(Duration::from_secs(50 * 60)).await;
        assert_eq!(obtain(&tokens, &silent, "", HOUR).await.unwrap(), "token 1");
        tokio::time::sleep(TOKEN_RETRY + Duration::from_secs(1)).await;
        assert_eq!(obtain(&tokens, &issuer, "", HOUR).await.unwrap(), "token 2", "tried again soon");
        tokio::time::sleep(HOUR + Duration::from_secs(1)).await;
        assert!(obtain(&tokens, &silent, "", HOUR).await.is_err(), "one that has expired is given to nobody");
    }

    #[test]
    fn what_the_api_server_gives_counts_rather_than_what_was_asked_for() {
        let answer = |value: serde_json::Value| serde_json::from_value::<TokenRequest>(value).unwrap();
        let wanted = Wanted { audience: String::new(), seconds: 7200 };
        let status = serde_json::json!({"token": "t", "expirationTimestamp": "1970-01-01T00:00:02Z"});
        let shorter = serde_json::json!({"spec": {"audiences": [], "expirationSeconds": 600}, "status": status});
        let given = issued(answer(shorter), &wanted).ok().unwrap();
        assert_eq!((given.life, given.expires_ms), (Duration::from_secs(600), 2000));
        assert!(issued(answer(serde_json::json!({"spec": {"audiences": []}})), &wanted).is_err());
    }

    #[test]
    fn a_pod_that_the_api_server_does_not_know_yet_is_asked_for_again() {
        let status = |value: serde_json::Value| serde_json::from_value::<Status>(value).unwrap();
        assert!(knows_no_pod(&status(serde_json::json!({"code": 403}))));
        assert!(knows_no_pod(&status(serde_json::json!({"code": 404, "details": {"kind": "pods"}}))));
        let account = serde_json::json!({"code": 404, "details": {"kind": "serviceaccounts"}});
        assert!(!knows_no_pod(&status(account)));
    }
}
