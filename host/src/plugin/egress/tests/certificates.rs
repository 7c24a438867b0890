//! TLS: whom the host trusts, what it shows, and what is spoken within.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::servers::Server;
use super::*;
use crate::plugin::grants::{Endpoint, Grants};

pub(super) struct Authority(pub(super) CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for this name and its key, in PEM and DER.
    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// A server for this name, which asks for a certificate of `clients`' authority.
    pub(super) fn server(&self, name: &str, clients: Option<&Self>) -> TlsAcceptor {
        let (certificate, key) = self.issue(name);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

pub(super) struct Files(TempDir);

impl Files {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// `https://a.example` at this port, where these authorities are trusted beside the system's.
pub(super) fn trusting(port: u16, authorities: Vec<PathBuf>) -> (Egress, String) {
    let origin = format!("https://a.example:{port}");
    let names = Names::default();
    names.set("a.example", &["127.0.0.1"]);
    let granted = grants(&[format!("http={origin}"), "addresses=127.0.0.1".into()]);
    let granted = Grants { certificate_authorities: authorities, ..granted };
    (egress(granted, &[format!("http {origin}")], &names, Limits::default()), origin)
}

#[tokio::test]
async fn a_server_of_the_operators_authority_is_trusted_and_speaks_http_2() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let server = Server::with_tls(authority.server("a.example", None)).await;
    let (egress, origin) = trusting(server.port, vec![files.write("ca.pem", &authority.0.pem())]);
    for _ in 0..2 {
        assert_eq!(ask(&egress, &format!("{origin}/x")).await.unwrap().0, 200);
    }
    let asked = server.asked.lock().unwrap();
    let (version, uri, _) = &asked[0];
    assert_eq!((*version, uri.as_str()), (http::Version::HTTP_2, format!("{origin}/x").as_str()));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_of_another_authority_or_name_is_not_trusted() {
    let (files, authority, other) = (Files::new(), Authority::new("one"), Authority::new("two"));
    let ca = files.write("ca.pem", &authority.0.pem());
    for server in [other.server("a.example", None), authority.server("b.example", None)] {
        let server = Server::with_tls(server).await;
        let (egress, origin) = trusting(server.port, vec![ca.clone()]);
        assert_eq!(reason(&egress, &format!("{origin}/")).await, "CertificateRefused");
        assert!(server.asked.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told() {
    let server = Server::new().await;
    let (egress, origin) = trusting(server.port, vec![]);
    assert_eq!(reason(&egress, &format!("{origin}/")).await, "TlsFailed");
}

/// The endpoint `engine` at this server.
fn endpoint(server: &Server, authority: PathBuf, client: Option<(PathBuf, PathBuf)>) -> Egress {
    let names = Names::default();
    names.set("engine.corp.example", &["127.0.0.1"]);
    let (certificate, key) = client.unzip();
    let url = format!("https://engine.corp.example:{}", server.port).parse().unwrap();
    let (certificate_authority, client_certificate, client_key) = (Some(authority), certificate, key);
    let endpoint = Endpoint { url, certificate_authority, client_certificate, client_key };
    let granted = Grants { endpoints: [("engine".to_owned(), endpoint)].into(), ..Grants::default() };
    egress(granted, &[], &names, Limits::default())
}

#[tokio::test]
async fn an_endpoint_is_shown_its_clients_certificate() {
    let (files, authority, clients) = (Files::new(), Authority::new("one"), Authority::new("two"));
    let server = Server::with_tls(authority.server("engine.corp.example", Some(&clients))).await;
    let ca = files.write("ca.pem", &authority.0.pem());
    let client = |of: &Authority| {
        let (certificate, key) = of.issue("client");
        (files.write("cert.pem", &certificate.pem()), files.write("key.pem", &key.serialize_pem()))
    };
    // However the guest writes it: the operator says how it is spoken to.
    const URI: &str = "http://engine.endpoint.internal/version";
    assert_eq!(reason(&endpoint(&server, ca.clone(), None), URI).await, "CertificateRefused");
    let egress = endpoint(&server, ca, Some(client(&authority)));
    assert_eq!(reason(&egress, URI).await, "CertificateRefused", "one of another authority");
    // Files that changed count at the next request.
    client(&clients);
    assert_eq!(ask(&egress, URI).await.unwrap().0, 200);
    let (_, uri, _) = server.asked.lock().unwrap()[0].clone();
    assert_eq!(uri, "https://engine.endpoint.internal/version");
}

#[tokio::test]
async fn no_connection_outlives_the_authority_that_it_was_made_with() {
    let (files, authority, other) = (Files::new(), Authority::new("one"), Authority::new("two"));
    let server = Server::with_tls(authority.server("engine.corp.example", None)).await;
    let egress = endpoint(&server, files.write("ca.pem", &authority.0.pem()), None);
    const URI: &str = "https://engine.endpoint.internal/";
    for _ in 0..2 {
        assert_eq!(reason(&egress, URI).await, "Answered");
    }
    assert_eq!(server.connections(), 1);
    files.write("ca.pem", &other.0.pem());
    assert_eq!(reason(&egress, URI).await, "CertificateRefused");
}
