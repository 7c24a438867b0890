//! The kubelet API's certificates as they are now: the server's own, and whose clients it knows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// What is wrong with the certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or holds something else.
    #[error("cannot use {what} {}: {message}", path.display())]
    File {
        /// Which of them.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Nothing says whose clients are trusted.
    #[error(
        "no client CA: the kubeconfig has none, so give --client-ca-file (what the API server's --kubelet-client-certificate is signed by)"
    )]
    NoClientCa,
    /// They do not fit together.
    #[error("cannot use the serving certificate: {0}")]
    Unusable(String),
}

/// Whose clients are known.
pub(super) type Clients = Arc<dyn ClientCertVerifier>;

/// The certificates of new connections. Each connection keeps those that it began with.
pub(super) struct Tls(ArcSwap<Current>);

struct Current {
    own: Arc<CertifiedKey>,
    clients: Clients,
    config: Arc<ServerConfig>,
}

impl Current {
    fn new(own: Arc<CertifiedKey>, clients: Clients) -> Self {
        // A configuration of its own, with sessions of its own: none is resumed under a certificate or an authority of before.
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(clients.clone())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own.clone())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { own, clients, config: Arc::new(config) }
    }
}

impl Tls {
    /// With this certificate and these clients.
    pub(super) fn new(own: CertifiedKey, clients: Clients) -> Self {
        Self(ArcSwap::from_pointee(Current::new(Arc::new(own), clients)))
    }

    /// What serves now.
    #[cfg(test)]
    pub(super) fn own(&self) -> Arc<CertifiedKey> {
        self.0.load().own.clone()
    }

    /// For one new connection. A client without certificate gets in too, and has to say otherwise who it is; one with a foreign
    /// certificate does not get through the handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load().config.clone())
    }

    /// Whether a client that shows this chain would be known now.
    pub(super) fn verify_client(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((end, intermediates)) = chain.split_first() else { return false };
        self.0.load().clients.verify_client_cert(end, intermediates, UnixTime::now()).is_ok()
    }

    /// Has another certificate from now on.
    pub(super) fn set_own(&self, own: CertifiedKey) {
        let own = Arc::new(own);
        self.0.rcu(|now| Current::new(own.clone(), now.clients.clone()));
    }

    /// Knows other clients from now on.
    pub(super) fn set_clients(&self, clients: Clients) {
        self.0.rcu(|now| Current::new(now.own.clone(), clients.clone()));
    }
}

/// The certificates of a PEM file.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |message: String| Error::File { what: "certificate file", path: path.to_path_buf(), message };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match certificates {
        Ok(list) if list.is_empty() => Err(failed("it holds no PEM certificate".into())),
        Ok(list) => Ok(list),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A serving certificate with its chain, and its key; both may be in one file.
pub(super) fn read_own(certificate: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| Error::File {
        what: "private key file",
        path: key.to_path_buf(),
        message: error.to_string(),
    })?;
    own(read_certificates(certificate)?, private)
}

/// They fit together, or it is an error.
pub(super) fn own(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, Error> {
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map_err(|error| Error::Unusable(error.to_string()))
}

/// Clients of these authorities, DER encoded.
pub(super) fn clients(authorities: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<Clients, Error> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(authorities);
    if added == 0 {
        return Err(Error::NoClientCa);
    }
    let verifier = WebPkiClientVerifier::builder(roots.into()).allow_unauthenticated().build();
    verifier.map_err(|error| Error::Unusable(error.to_string()))
}

/// One that nobody can verify, for these names.
pub(super) fn self_signed(names: impl Into<Vec<String>>) -> Result<CertifiedKey, Error> {
    let failed = |error: rcgen::Error| Error::Unusable(error.to_string());
    let made = rcgen::generate_simple_self_signed(names).map_err(failed)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    own(vec![made.cert.der().clone()], key.into())
}
