//! The kubelet API's certificates as they are now: the server's own, and whose clients it knows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

/// What is wrong with the certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or holds something else.
    #[error("cannot use {flag} {}: {message}", path.display())]
    File {
        /// Which of them.
        flag: &'static str,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A certificate and a key that are not each other's.
    #[error("cannot use --tls-cert-file {} with --tls-private-key-file {}: {source}", certificate.display(), key.display())]
    Pair {
        /// The one.
        certificate: PathBuf,
        /// The other.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// Nothing says whose clients are trusted.
    #[error(
        "no client CA: the kubeconfig has none, so give --client-ca-file (what the API server's --kubelet-client-certificate is signed by)"
    )]
    NoClientCa,
    /// An authority that cannot be one.
    #[error("cannot use certificate {number} of {origin} as a client CA: {message}")]
    Authority {
        /// Where it is from.
        origin: String,
        /// Which one, from 1.
        number: usize,
        /// What is wrong.
        message: String,
    },
    /// A certificate that comes from no file of the command line.
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
            .with_client_cert_verifier(Arc::new(Owned(clients.clone())))
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

    /// For one new connection. A client without certificate gets in too, and so does one with a foreign certificate: it has to say
    /// otherwise who it is. Whether the certificate is worth anything [`verify_client`](Self::verify_client) tells, at each request.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load().config.clone())
    }

    /// An error unless a client that shows this chain is known now.
    pub(super) fn verify_client(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let (end, intermediates) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        self.0.load().clients.verify_client_cert(end, intermediates, UnixTime::now()).map(drop)
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

/// What a client has to prove in the handshake: that it owns the certificate that it shows, whoever signed that. As the kubelet does it
/// (`tls.RequestClientCert`), so that a wrong certificate is answered with 401 and not with an alert that nobody understands.
#[derive(Debug)]
struct Owned(Clients);

impl ClientCertVerifier for Owned {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// A PEM file of the command line as it was at one look: what is compared is what is used.
pub(super) struct PemFile<'a> {
    flag: &'static str,
    path: &'a Path,
    content: std::io::Result<Vec<u8>>,
}

impl<'a> PemFile<'a> {
    /// Reads it, once.
    pub(super) fn read(flag: &'static str, path: &'a Path) -> Self {
        Self { flag, path, content: std::fs::read(path) }
    }

    /// Tells one content from another; that it is not there is one more content.
    pub(super) fn digest(&self) -> [u8; 32] {
        match &self.content {
            Ok(content) => Sha256::digest(content).into(),
            Err(error) => Sha256::digest(error.to_string()).into(),
        }
    }

    fn content(&self) -> Result<&[u8], Error> {
        self.content.as_deref().map_err(|error| self.error(error))
    }

    fn error(&self, message: &dyn ToString) -> Error {
        Error::File { flag: self.flag, path: self.path.to_path_buf(), message: message.to_string() }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.content()?).collect();
        match certificates {
            Ok(list) if list.is_empty() => Err(self.error(&"it holds no PEM certificate")),
            Ok(list) => Ok(list),
            Err(error) => Err(self.error(&error)),
        }
    }

    /// Clients of the authorities that it holds.
    pub(super) fn clients(&self) -> Result<Clients, Error> {
        clients(&format!("{} {}", self.flag, self.path.display()), self.certificates()?)
    }

    /// The serving certificate with its chain that it holds, and its key of another file, or of the same one.
    pub(super) fn own(&self, key: &PemFile<'_>) -> Result<CertifiedKey, Error> {
        let private = PrivateKeyDer::from_pem_slice(key.content()?).map_err(|error| key.error(&error))?;
        certified(self.certificates()?, private).map_err(|source| Error::Pair {
            certificate: self.path.to_path_buf(),
            key: key.path.to_path_buf(),
            source,
        })
    }
}

/// They fit together, or it is an error.
pub(super) fn own(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, Error> {
    certified(chain, key).map_err(|error| Error::Unusable(error.to_string()))
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
}

/// Clients of these authorities, DER encoded; `origin` says where they are from. One that cannot be used is an error, as it is of
/// client-go: its clients would be refused without a word.
pub(super) fn clients(
    origin: &str,
    authorities: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<Clients, Error> {
    let mut roots = RootCertStore::empty();
    for (number, authority) in (1..).zip(authorities) {
        roots.add(authority).map_err(|error| Error::Authority {
            origin: origin.into(),
            number,
            message: error.to_string(),
        })?;
    }
    if roots.is_empty() {
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
