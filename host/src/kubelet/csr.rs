//! A serving certificate of the cluster's own authority: asked for, approved by somebody, kept on disk, renewed in time.
//!
//! ```text
//! key ─▸ CertificateSigningRequest ─▸ approved by whoever may ─▸ certificate ─▸ kept ─▸ at about 80 % of its life: again
//! ```
//!
//! Signer `kubernetes.io/kubelet-serving`, as the kubelet's `serverTLSBootstrap`. No cluster approves these by itself, because only its
//! operator knows which names and addresses a node may claim. So a request waits for as long as it takes, over restarts too: its key is
//! kept, and its name follows from key and names. What served before serves on meanwhile.
//! (<https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/#certificate-rotation>)

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Client};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::tls::{self, Tls};
use crate::apiserver::timed;
use crate::defaults::node::REQUEST_TIMEOUT;
use crate::node::identity;
use crate::pods::Backoff;
use crate::pods::events::Events;
use crate::pods::resolve;
use crate::provider::Address;

/// Who signs.
const SIGNER: &str = "kubernetes.io/kubelet-serving";
/// What the signer wants beside it: an elliptic key encrypts no keys.
const USAGES: [&str; 2] = ["digital signature", "server auth"];
/// In the state directory: key and chain of the certificate that serves, under the kubelet's own name for it.
const CURRENT: &str = "kubelet-server-current.pem";
/// In the state directory: the key that a certificate was asked for with.
const PENDING: &str = "kubelet-server-pending.pem";
/// How often it is looked whether a certificate is due, and whether the node has another address.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often it is said that a request waits: events live for an hour.
const REMIND_EVERY: Duration = Duration::from_secs(3600);
/// First and longest pause after a request that came to nothing.
const RETRY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// Why there is no certificate yet.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// It does not fit its key, or is none.
    #[error(transparent)]
    Certificate(#[from] tls::Error),
    /// No key or request can be made.
    #[error("cannot make a request for a serving certificate: {0}")]
    Request(#[from] rcgen::Error),
    /// The state directory does not take it.
    #[error(transparent)]
    Keep(#[from] identity::Error),
    /// The API server does not take it.
    #[error("cannot create CertificateSigningRequest {name}: {source}")]
    Refused {
        /// Its name.
        name: String,
        /// What was said.
        source: Box<kube::Error>,
    },
    /// It may be made, and not be looked at.
    #[error(
        "cannot see what becomes of CertificateSigningRequest {name}, for which verbs list and watch are needed: {message}"
    )]
    Unseen {
        /// Its name.
        name: String,
        /// What was said.
        message: String,
    },
    /// Somebody said no.
    #[error("CertificateSigningRequest {name} was denied: {message}")]
    Denied {
        /// Its name.
        name: String,
        /// Why.
        message: String,
    },
    /// The signer cannot.
    #[error("CertificateSigningRequest {name} failed: {message}")]
    Failed {
        /// Its name.
        name: String,
        /// Why.
        message: String,
    },
    /// It was deleted, as the controller manager does with old ones.
    #[error("CertificateSigningRequest {0} was deleted before it was answered")]
    Gone(String),
    /// The signer left names out.
    #[error("the certificate from CertificateSigningRequest {0} has not all the names that were asked for")]
    Unfit(String),
}

impl Error {
    /// The event's reason.
    fn reason(&self) -> &'static str {
        match self {
            Self::Request(_) | Self::Keep(_) | Self::Refused { .. } => "ServingCertificateNotRequested",
            Self::Unseen { .. } => "ServingCertificateNotSeen",
            Self::Denied { .. } => "ServingCertificateDenied",
            Self::Certificate(_) | Self::Failed { .. } | Self::Gone(_) | Self::Unfit(_) => "ServingCertificateFailed",
        }
    }
}

/// A certificate of the cluster, and what must be known to renew it.
pub(super) struct Issued {
    /// With its key.
    pub own: CertifiedKey,
    term: Term,
}

/// For whom a certificate is, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    /// DNS names and addresses.
    names: BTreeSet<String>,
    /// Seconds of Unix time.
    not_before: i64,
    /// Seconds of Unix time.
    not_after: i64,
    /// Where between 70 % and 90 % of its life it is renewed: nodes that were made together shall not ask together.
    jitter: u8,
}

impl Issued {
    /// What is kept in the state directory; none: nothing, or nothing that can be used.
    pub(super) fn kept(state_dir: &Path) -> Option<Self> {
        let path = state_dir.join(CURRENT);
        let issued = match identity::read(&path) {
            Ok(None) => return None,
            Ok(Some(text)) => Self::parse(&text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        issued
            .inspect_err(
                |error| tracing::warn!(path = %path.display(), error, "the kept serving certificate is not used"),
            )
            .ok()
    }

    /// From PEM text of key and chain.
    fn parse(text: &str) -> Result<Self, tls::Error> {
        let failed = |error: &dyn std::fmt::Display| tls::Error::Unusable(error.to_string());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let chain = chain.map_err(|error| failed(&error))?;
        let end = chain.first().ok_or_else(|| failed(&"it holds no PEM certificate"))?;
        let term = Term::of(end)?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| failed(&error))?;
        Ok(Self { own: tls::own(chain, key)?, term })
    }

    /// Whether its life is over.
    pub(super) fn is_over(&self) -> bool {
        self.term.not_after <= Timestamp::now().as_second()
    }
}

impl Term {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, tls::Error> {
        let failed = |error: &dyn std::fmt::Display| tls::Error::Unusable(error.to_string());
        let jitter = Sha256::digest(certificate).first().copied().unwrap_or_default();
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| failed(&error))?;
        let validity = certificate.validity();
        let names = certificate.subject_alternative_name().map_err(|error| failed(&error))?;
        let names = names.iter().flat_map(|extension| &extension.value.general_names).filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
            _ => None,
        });
        Ok(Self {
            names: names.collect(),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            jitter,
        })
    }

    /// Whether another one is wanted at this second of Unix time.
    fn is_due(&self, names: &BTreeSet<String>, now: i64) -> bool {
        let life = self.not_after.saturating_sub(self.not_before);
        let share = 700 + i64::from(self.jitter) * 200 / 255;
        !names.is_subset(&self.names) || now >= self.not_before.saturating_add(life.saturating_mul(share) / 1000)
    }
}

/// An address of the node as a name in a certificate, as the kubelet has them (`addressesToHostnamesAndIPs` of its certificate package).
fn name(Address { kind, address }: &Address) -> Option<String> {
    let ip = || address.parse::<IpAddr>().ok().map(|ip| ip.to_string());
    let dns = || Some(address.to_ascii_lowercase()).filter(|name| !name.is_empty());
    match kind.as_str() {
        "Hostname" => ip().or_else(dns),
        "InternalIP" | "ExternalIP" => ip(),
        "InternalDNS" | "ExternalDNS" => dns(),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// What a certificate is asked for with.
pub(super) struct Requester {
    pub client: Client,
    pub node: String,
    pub state_dir: PathBuf,
    /// Knows the addresses that the node has.
    pub told: Arc<ArcSwap<resolve::Node>>,
    pub events: Events,
    pub tls: Arc<Tls>,
}

impl Requester {
    /// Sees to it that the node has a certificate of the cluster, until shutdown.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = self.keep() => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn keep(&self) {
        let mut term = Issued::kept(&self.state_dir).map(|issued| issued.term);
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            let (names, now) = (self.names(), Timestamp::now().as_second());
            let mut pause = LOOK_EVERY;
            if term.as_ref().is_none_or(|term| term.is_due(&names, now)) {
                match self.obtain(&names).await {
                    Ok(Some(new)) => {
                        term = Some(new);
                        backoff.reset();
                    }
                    // The node has other names by now.
                    Ok(None) => pause = Duration::ZERO,
                    Err(error) => {
                        pause = backoff.pause();
                        tracing::warn!(%error, "no new serving certificate; asking again in {pause:?}");
                        self.events.node_warning(error.reason(), error.to_string());
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// What the API server may call the node: all its addresses, of which it chooses.
    fn names(&self) -> BTreeSet<String> {
        let told = self.told.load();
        let names: BTreeSet<String> = told.addresses.iter().filter_map(name).collect();
        // No request is made without a name.
        if names.is_empty() { BTreeSet::from([self.node.clone(), told.internal_ip.clone()]) } else { names }
    }

    /// Asks for a certificate, waits for it, keeps it and serves with it; none: the names are out of date.
    async fn obtain(&self, names: &BTreeSet<String>) -> Result<Option<Term>, Error> {
        let key = self.pending_key()?;
        let name = request_name(&key, names);
        self.request(&name, &key, names).await?;
        let answer = match self.answer(&name, names).await {
            // The next request is another one: this one is answered for good.
            Err(error @ (Error::Denied { .. } | Error::Failed { .. })) => {
                self.forget_pending();
                return Err(error);
            }
            answer => answer?,
        };
        let Some(chain) = answer else { return Ok(None) };
        let text = key.serialize_pem() + &chain;
        let Issued { own, term } = match Issued::parse(&text) {
            Ok(issued) if names.is_subset(&issued.term.names) => issued,
            unfit => {
                self.forget_pending();
                return Err(unfit.map_or_else(Error::from, |_| Error::Unfit(name)));
            }
        };
        // In this order: an approval is not to be lost by a crash or a full disk.
        identity::write(&self.state_dir.join(CURRENT), &text)?;
        self.forget_pending();
        self.tls.set_own(own);
        let until = Timestamp::from_second(term.not_after).unwrap_or(Timestamp::MAX);
        tracing::info!(request = name, %until, "the kubelet API has a serving certificate of the cluster");
        self.events
            .node("ServingCertificateIssued", format!("Serving certificate issued by {name}, valid until {until}"));
        Ok(Some(term))
    }

    /// The key of the request that waits, else a new one.
    fn pending_key(&self) -> Result<KeyPair, Error> {
        let path = self.state_dir.join(PENDING);
        if let Some(key) = identity::read(&path)?.and_then(|text| KeyPair::from_pem(&text).ok()) {
            return Ok(key);
        }
        let key = KeyPair::generate()?;
        identity::write(&path, &key.serialize_pem())?;
        Ok(key)
    }

    fn forget_pending(&self) {
        if let Err(error) = std::fs::remove_file(self.state_dir.join(PENDING)) {
            tracing::warn!(%error, "the key of an answered request for a serving certificate is not removed");
        }
    }

    fn requests(&self) -> Api<CertificateSigningRequest> {
        Api::all(self.client.clone())
    }

    /// Creates the request, unless it is there from before.
    async fn request(&self, name: &str, key: &KeyPair, names: &BTreeSet<String>) -> Result<(), Error> {
        let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{}", self.node));
        let request = CertificateSigningRequest {
            metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
            spec: CertificateSigningRequestSpec {
                request: ByteString(params.serialize_request(key)?.pem()?.into_bytes()),
                signer_name: SIGNER.into(),
                usages: Some(USAGES.map(String::from).into()),
                ..CertificateSigningRequestSpec::default()
            },
            ..CertificateSigningRequest::default()
        };
        match timed(REQUEST_TIMEOUT, self.requests().create(&PostParams::default(), &request)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(source) => Err(Error::Refused { name: name.into(), source: Box::new(source) }),
        }
    }

    /// The chain that the request is answered with, as PEM; none: the node has other names meanwhile.
    async fn answer(&self, name: &str, names: &BTreeSet<String>) -> Result<Option<String>, Error> {
        let mut watch = std::pin::pin!(watch_object(self.requests(), name).default_backoff());
        let (mut look, mut remind) = (interval(LOOK_EVERY), interval(REMIND_EVERY));
        loop {
            tokio::select! {
                _ = look.tick() => {
                    if self.names() != *names {
                        return Ok(None);
                    }
                }
                _ = remind.tick() => self.remind(name),
                Some(seen) = watch.next() => match seen {
                    Ok(Some(request)) => {
                        if let Some(chain) = outcome(name, &request)? {
                            return Ok(Some(chain));
                        }
                    }
                    Ok(None) => return Err(Error::Gone(name.into())),
                    Err(error) => {
                        if let Some(message) = refusal(&error) {
                            return Err(Error::Unseen { name: name.into(), message });
                        }
                        tracing::debug!(%error, "watch of the CertificateSigningRequest interrupted");
                    }
                },
            }
        }
    }

    fn remind(&self, name: &str) {
        let message = format!(
            "CertificateSigningRequest {name} for the kubelet API's serving certificate waits to be approved; no cluster does that by itself: \
             kubectl certificate approve {name}"
        );
        tracing::info!("{message}");
        self.events.node("ServingCertificateRequested", message);
    }
}

/// What the API server said, if it does not let this host look.
fn refusal(error: &watcher::Error) -> Option<String> {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        _ => return None,
    };
    matches!(status.code, 401 | 403).then(|| status.message.clone())
}

/// One name for one key and one set of names, so that a restart finds its request again.
fn request_name(key: &KeyPair, names: &BTreeSet<String>) -> String {
    let mut hash = Sha256::new_with_prefix(key.public_key_raw());
    for name in names {
        hash.update([0]);
        hash.update(name);
    }
    let digest = data_encoding::HEXLOWER.encode(&hash.finalize());
    format!("csr-{}", digest.get(..32).unwrap_or(&digest))
}

/// The chain, if there is one; an error if there is never going to be one.
fn outcome(name: &str, request: &CertificateSigningRequest) -> Result<Option<String>, Error> {
    let Some(status) = &request.status else { return Ok(None) };
    for condition in status.conditions.iter().flatten().filter(|condition| condition.status == "True") {
        let message = condition.message.clone().or_else(|| condition.reason.clone()).unwrap_or_default();
        match condition.type_.as_str() {
            "Denied" => return Err(Error::Denied { name: name.into(), message }),
            "Failed" => return Err(Error::Failed { name: name.into(), message }),
            _ => {}
        }
    }
    let chain = status.certificate.as_ref().filter(|certificate| !certificate.0.is_empty());
    Ok(chain.map(|certificate| String::from_utf8_lossy(&certificate.0).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn request(status: serde_json::Value) -> CertificateSigningRequest {
        let spec = serde_json::json!({"request": "", "signerName": SIGNER});
        serde_json::from_value(serde_json::json!({"metadata": {}, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn a_certificate_is_due_late_in_its_life_and_when_a_name_is_missing() {
        let term = |jitter| Term { names: names(&["n", "10.0.0.1"]), not_before: 1000, not_after: 2000, jitter };
        let wanted = names(&["n", "10.0.0.1"]);
        for (jitter, due) in [(0, 1700), (128, 1800), (255, 1900)] {
            assert!(!term(jitter).is_due(&wanted, due - 1) && term(jitter).is_due(&wanted, due), "{jitter}");
        }
        assert!(!term(0).is_due(&names(&["n"]), 1000), "one name more than needed");
        assert!(term(0).is_due(&names(&["n", "10.0.0.2"]), 1000), "another address");
    }

    #[test]
    fn all_addresses_of_the_node_are_names_of_it() {
        let table = [
            ("Hostname", "Node-1.Example.COM", Some("node-1.example.com")),
            ("Hostname", "10.0.0.1", Some("10.0.0.1")),
            ("InternalIP", "FD00::0001", Some("fd00::1")),
            ("ExternalIP", "not an address", None),
            ("ExternalDNS", "n.Example.com", Some("n.example.com")),
            ("InternalDNS", "", None),
            ("Something", "n", None),
        ];
        for (kind, address, expected) in table {
            let found = name(&Address { kind: kind.into(), address: address.into() });
            assert_eq!(found.as_deref(), expected, "{kind} {address}");
        }
    }

    #[test]
    fn who_may_not_look_is_told_and_an_interruption_passes() {
        let status = |code| Box::new(kube::core::Status { code, ..kube::core::Status::failure("so", "So") });
        let list = |code| watcher::Error::InitialListFailed(kube::Error::Api(status(code)));
        assert_eq!(refusal(&list(403)).as_deref(), Some("so"));
        assert_eq!(refusal(&watcher::Error::WatchStartFailed(kube::Error::Api(status(401)))).as_deref(), Some("so"));
        assert!(refusal(&list(503)).is_none() && refusal(&watcher::Error::NoResourceVersion).is_none());
    }

    #[test]
    fn what_is_kept_is_what_was_issued() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Issued::kept(directory.path()).is_none());
        let made = rcgen::generate_simple_self_signed(["n".to_string(), "10.0.0.1".into(), "fd00::1".into()]).unwrap();
        let text = made.signing_key.serialize_pem() + &made.cert.pem();
        identity::write(&directory.path().join(CURRENT), &text).unwrap();
        let issued = Issued::kept(directory.path()).unwrap();
        assert_eq!(issued.own.cert, [made.cert.der().clone()]);
        assert_eq!(issued.term.names, names(&["n", "10.0.0.1", "fd00::1"]));
        assert!(!issued.is_over());
        let other = KeyPair::generate().unwrap().serialize_pem() + &made.cert.pem();
        identity::write(&directory.path().join(CURRENT), &other).unwrap();
        assert!(Issued::kept(directory.path()).is_none(), "of another key");
    }

    #[test]
    fn a_request_is_found_again_by_its_name() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let wanted = names(&["n", "10.0.0.1"]);
        let name = request_name(&key, &wanted);
        assert_eq!(name, request_name(&KeyPair::from_pem(&key.serialize_pem()).unwrap(), &wanted));
        assert_ne!(name, request_name(&other, &wanted));
        assert_ne!(name, request_name(&key, &names(&["n", "10.0.0.2"])));
    }

    #[test]
    fn a_request_waits_until_it_is_answered() {
        let condition = |kind: &str| serde_json::json!([{"type": kind, "status": "True", "message": "so"}]);
        for waits in [serde_json::json!({}), serde_json::json!({"conditions": condition("Approved")})] {
            assert!(outcome("r", &request(waits)).unwrap().is_none());
        }
        let issued = serde_json::json!({"conditions": condition("Approved"), "certificate": "UEVN"});
        assert_eq!(outcome("r", &request(issued)).unwrap().as_deref(), Some("PEM"));
        for (kind, reason) in [("Denied", "ServingCertificateDenied"), ("Failed", "ServingCertificateFailed")] {
            let error = outcome("r", &request(serde_json::json!({"conditions": condition(kind)}))).unwrap_err();
            assert_eq!(error.reason(), reason);
            assert!(error.to_string().ends_with(": so"), "{error}");
        }
    }
}
