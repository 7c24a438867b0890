//! TLS towards a pod whose certificate nobody checks: what a probe asks is whether something answers, not who. So its signature is
//! not checked either, which would need a certificate of a version, a key and an algorithm that are known here.

use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What servers may sign with: all that there is, the best first.
const SCHEMES: [SignatureScheme; 13] = [
    SignatureScheme::ED25519,
    SignatureScheme::ED448,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::ECDSA_SHA1_Legacy,
    SignatureScheme::RSA_PKCS1_SHA1,
];

/// Takes any certificate, as the kubelet's probes do.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

/// Made once; an error is one of the build of this program.
static CONNECTOR: LazyLock<Result<TlsConnector, Error>> = LazyLock::new(|| {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
});

/// Speaks TLS on a connection to `host`.
pub(super) async fn connect(host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
    let connector = CONNECTOR.as_ref().map_err(ToString::to_string)?;
    let name = ServerName::try_from(host.to_string()).map_err(|error| error.to_string())?;
    connector.connect(name, stream).await.map_err(|error| format!("tls: {error}"))
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::crypto::ring::sign::any_supported_type;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// As `openssl x509 -req` of OpenSSL 3.0 and before makes it: of version 1, which no browser takes.
    const VERSION_1: &[u8] = b"-----BEGIN CERTIFICATE-----
MIIBFTCBvQIUTl5LJIgwgxFM4ud5WXXZZhsbxr0wCgYIKoZIzj0EAwIwDTELMAkG
A1UEAwwCdjEwIBcNMjYxMTI5MjEwODE3WhgPMjEyNjExMDUyMTA4MTdaMA0xCzAJ
BgNVBAMMAnYxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEec71/SlcX728A2zi
QJc/jfnSV83MvMomyDVQPalqqMsOXe+o2kVZvLWgmM89NH4Zn60aXY74knVJm0pB
OaS8yTAKBggqhkjOPQQDAgNHADBEAiArq5l/pq5gVnB+MoCA2rnAar86oRlD0HwY
Eds9IGxTGQIgFe2yBaqxZRAAGgwZ6kel2Bs8BYCDD56pbM/NUdg9Z3w=
-----END CERTIFICATE-----
";

    /// With another key than the certificate's, too: nothing of it is looked at.
    #[tokio::test]
    async fn any_certificate_will_do() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_der();
        let key = any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key))).unwrap();
        let certificate = CertificateDer::from_pem_slice(VERSION_1).unwrap();
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let certified = CertifiedKey::new(vec![certificate.clone()], key.clone());
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                TlsAcceptor::from(Arc::new(config)).accept(stream).await.map(drop).map_err(|error| error.to_string())
            });
            let stream = TcpStream::connect(at).await.unwrap();
            let connected = connect("127.0.0.1", stream).await;
            assert!(connected.is_ok(), "{version:?}: {:?}", connected.err());
            assert_eq!(server.await.unwrap(), Ok(()), "{version:?}");
        }
    }
}
