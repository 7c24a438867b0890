//! The kubelet API's certificates: the server's own, and whose clients it knows.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

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

/// Where the serving certificate comes from.
#[derive(Clone, Debug)]
pub enum Serving {
    /// PEM files: chain and key.
    Files {
        /// `--tls-cert-file`.
        certificate: PathBuf,
        /// `--tls-private-key-file`.
        key: PathBuf,
    },
    /// Made anew at each start, for these names.
    SelfSigned {
        /// The node's name.
        name: String,
        /// The address that the API server dials.
        address: IpAddr,
    },
}

/// The certificates of a PEM file.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |message: String| Error::File { what: "certificate file", path: path.to_path_buf(), message };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match certificates {
        Ok(list) if list.is_empty() => Err(failed("it holds no PEM certificate".into())),
        Ok(list) => Ok(list),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A server configuration that knows clients of these authorities. A client without certificate gets in too, and is told
/// 401 by whoever asks who it is; one with a foreign certificate does not get through the handshake.
pub fn server_config(serving: &Serving, client_authorities: &[Vec<u8>]) -> Result<Arc<ServerConfig>, Error> {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(client_authorities.iter().map(|der| CertificateDer::from(der.clone())));
    if added == 0 {
        return Err(Error::NoClientCa);
    }
    let verifier = WebPkiClientVerifier::builder(roots.into())
        .allow_unauthenticated()
        .build()
        .map_err(|error| Error::Unusable(error.to_string()))?;
    let (chain, key) = match serving {
        Serving::Files { certificate, key } => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| Error::File {
                what: "private key file",
                path: key.clone(),
                message: error.to_string(),
            })?;
            (read_certificates(certificate)?, private)
        }
        Serving::SelfSigned { name, address } => self_signed(name, *address)?,
    };
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| Error::Unusable(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn self_signed(name: &str, address: IpAddr) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let failed = |error: rcgen::Error| Error::Unusable(error.to_string());
    let made = rcgen::generate_simple_self_signed([name.to_string(), address.to_string()]).map_err(failed)?;
    tracing::warn!(
        "the kubelet API has a self-signed certificate; the API server cannot verify it (--tls-cert-file, --tls-private-key-file)"
    );
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}
