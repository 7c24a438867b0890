//! What TLS connections are made with: whom the host trusts and what it shows, as the files are now.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, OnceCell};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::{Failure, of_handshake};
use super::origin::Host;
use crate::plugin::grants::Endpoint;
use crate::plugin::stamp::Stamp;
use crate::plugin::whole_file;

/// Largest PEM file, in bytes: a system's own bundle has a quarter of that.
const FILE: u64 = 1 << 20;
/// A file that is older than this when it is read is told from its next state by its stamp.
const SETTLED: SignedDuration = SignedDuration::from_secs(1);

/// Files that a connection is made with. The default: what all origins have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Material {
    /// Trusted alone; none: the system's authorities and the operator's.
    authority: Option<PathBuf>,
    /// A certificate with its chain, and its key.
    client: Option<(PathBuf, PathBuf)>,
}

/// What is spoken within TLS, for the server to choose from (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocols {
    /// HTTP/2 if the server has it.
    Http,
    /// HTTP/1.1, which alone can be upgraded.
    Http1,
    /// Nothing that TLS would have to know of.
    Bytes,
}

/// A configuration made of files as they were.
#[derive(Clone)]
pub(super) struct Loaded {
    config: Arc<ClientConfig>,
    /// Another one for each content.
    pub(super) digest: [u8; 32],
}

/// What was loaded last.
struct Kept {
    /// Of all its files; none: one of them was too young to be told from its next state.
    stamps: Option<Vec<Stamp>>,
    loaded: Loaded,
}

/// See the module.
pub(super) struct Tls {
    authorities: Vec<PathBuf>,
    system: OnceCell<Vec<CertificateDer<'static>>>,
    kept: Mutex<HashMap<Material, Kept>>,
}

impl From<&Endpoint> for Material {
    fn from(endpoint: &Endpoint) -> Self {
        let Endpoint { url: _, certificate_authority, client_certificate, client_key } = endpoint;
        Self { authority: certificate_authority.clone(), client: client_certificate.clone().zip(client_key.clone()) }
    }
}

impl Tls {
    /// `authorities`: PEM files of those that are trusted beside the system's.
    pub(super) fn new(authorities: Vec<PathBuf>) -> Self {
        Self { authorities, system: OnceCell::new(), kept: Mutex::default() }
    }

    /// As the files are now, which costs one `stat` each while they do not change.
    pub(super) async fn load(&self, material: &Material) -> Result<Loaded, Failure> {
        let files = self.files(material);
        let mut kept = self.kept.lock().await;
        let last = kept.get(material);
        if let Some(Kept { stamps: Some(stamps), loaded }) = last
            && stamps.iter().copied().map(Some).eq(files.iter().map(|file| stamp(file)))
        {
            return Ok(loaded.clone());
        }
        let system: &[_] = if material.authority.is_none() { self.system().await } else { &[] };
        let read = tokio::task::spawn_blocking(move || files.iter().map(|file| Pem::read(file)).collect());
        let read: Result<Vec<Pem>, Failure> = read.await.map_err(|error| unusable(Path::new(""), &error))?;
        let read = read?;
        let digest = digest(&read);
        let loaded = match last {
            // Its sessions and connections are still good.
            Some(Kept { loaded, .. }) if loaded.digest == digest => loaded.clone(),
            _ => Loaded { config: Arc::new(config(material, system, &read)?), digest },
        };
        let stamps = read.iter().map(Pem::settled).collect();
        kept.insert(material.clone(), Kept { stamps, loaded: loaded.clone() });
        Ok(loaded)
    }

    /// Authorities first.
    fn files(&self, material: &Material) -> Vec<PathBuf> {
        let authorities = match &material.authority {
            Some(authority) => std::slice::from_ref(authority),
            None => &self.authorities,
        };
        let client = material.client.iter().flat_map(|(certificate, key)| [certificate, key]);
        authorities.iter().chain(client).cloned().collect()
    }

    /// Read once: hundreds of them, which change with the system's packages.
    async fn system(&self) -> &[CertificateDer<'static>] {
        let load = async || {
            let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await.unwrap_or_default();
            if loaded.certs.is_empty() {
                let errors: Vec<String> = loaded.errors.iter().map(ToString::to_string).collect();
                tracing::warn!(
                    ?errors,
                    "the system has no certificate authorities: only those of [tls] in --config are trusted"
                );
            }
            loaded.certs
        };
        self.system.get_or_init(load).await
    }
}

impl Loaded {
    /// Speaks TLS with a server over a connection to it, or to a proxy that brings it there.
    pub(super) async fn connect<S>(&self, host: &Host, protocols: Protocols, io: S) -> Result<TlsStream<S>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.names();
        let name = match host {
            Host::Ip(ip) => ServerName::IpAddress((*ip).into()),
            Host::Name(name) => ServerName::try_from(name.clone())
                .map_err(|error| Failure::Tls { target: name.clone(), message: error.to_string() })?,
        };
        TlsConnector::from(Arc::new(config)).connect(name, io).await.map_err(|error| of_handshake(host, &error))
    }
}

impl Protocols {
    fn names(self) -> Vec<Vec<u8>> {
        let names: &[&str] = match self {
            Self::Http => &["h2", "http/1.1"],
            Self::Http1 => &["http/1.1"],
            Self::Bytes => &[],
        };
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }
}

/// A file's content and its stamp from before it was read.
struct Pem {
    path: PathBuf,
    stamp: Stamp,
    bytes: Vec<u8>,
}

impl Pem {
    fn read(path: &Path) -> Result<Self, Failure> {
        let (metadata, bytes) = whole_file::read(path, FILE).map_err(|error| unusable(path, &error))?;
        Ok(Self { path: path.to_owned(), stamp: Stamp::of(&metadata), bytes })
    }

    fn settled(&self) -> Option<Stamp> {
        let age = Timestamp::now().duration_since(self.stamp.written());
        (age > SETTLED).then_some(self.stamp)
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Failure> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match certificates {
            Ok(list) if list.is_empty() => Err(unusable(&self.path, &"it holds no PEM certificate")),
            Ok(list) => Ok(list),
            Err(error) => Err(unusable(&self.path, &error)),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, Failure> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| unusable(&self.path, &error))
    }
}

fn unusable(file: &Path, message: &dyn ToString) -> Failure {
    Failure::TlsFile { file: file.to_owned(), message: message.to_string() }
}

fn stamp(file: &Path) -> Option<Stamp> {
    std::fs::metadata(file).ok().map(|metadata| Stamp::of(&metadata))
}

fn digest(files: &[Pem]) -> [u8; 32] {
    let each = files.iter().map(|file| Sha256::digest(&file.bytes));
    each.fold(Sha256::new(), |all, one| all.chain_update(one)).finalize().into()
}

/// `files` are those of [`Tls::files`].
fn config(material: &Material, system: &[CertificateDer<'static>], files: &[Pem]) -> Result<ClientConfig, Failure> {
    let own = if material.client.is_some() { 2 } else { 0 };
    let (authorities, client) = files.split_at_checked(files.len().saturating_sub(own)).unwrap_or((files, &[]));
    let mut roots = RootCertStore::empty();
    // Some systems keep what no library takes.
    roots.add_parsable_certificates(system.iter().cloned());
    for file in authorities {
        for authority in file.certificates()? {
            roots.add(authority).map_err(|error| unusable(&file.path, &error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Tls { target: "every server".into(), message: error.to_string() })?
        .with_root_certificates(roots);
    match client {
        [certificate, key] => builder
            .with_client_auth_cert(certificate.certificates()?, key.key()?)
            .map_err(|error| unusable(&certificate.path, &error)),
        _ => Ok(builder.with_no_client_auth()),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    struct Files(TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// Writes a new certificate and its key.
        fn write(&self, certificate: &str, key: &str) {
            let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
            std::fs::write(self.path(certificate), made.cert.pem()).unwrap();
            std::fs::write(self.path(key), made.signing_key.serialize_pem()).unwrap();
        }
    }

    fn material(files: &Files) -> Material {
        Material { authority: Some(files.path("ca")), client: Some((files.path("cert"), files.path("key"))) }
    }

    #[tokio::test]
    async fn files_that_changed_make_another_configuration() {
        let files = Files::new();
        files.write("ca", "other");
        files.write("cert", "key");
        let (tls, material) = (Tls::new(vec![]), material(&files));
        let first = tls.load(&material).await.unwrap();
        let again = tls.load(&material).await.unwrap();
        assert!(Arc::ptr_eq(&first.config, &again.config), "the same content");
        files.write("cert", "key");
        let second = tls.load(&material).await.unwrap();
        assert!(second.digest != first.digest && !Arc::ptr_eq(&first.config, &second.config));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_is_named_and_used_when_it_can() {
        let files = Files::new();
        files.write("cert", "key");
        let (tls, material) = (Tls::new(vec![]), material(&files));
        let says = async || tls.load(&material).await.err().map(|failure| failure.to_string());
        assert!(says().await.is_some_and(|text| text.contains("/ca ")), "it is not there");
        std::fs::write(files.path("ca"), "hello").unwrap();
        assert!(says().await.is_some_and(|text| text.contains("no PEM certificate")));
        files.write("ca", "other");
        assert_eq!(says().await, None);
        // A key of another certificate.
        files.write("other", "key");
        assert!(says().await.is_some_and(|text| text.contains("/cert ")));
    }

    #[tokio::test]
    async fn an_authority_of_its_own_is_trusted_alone() {
        let files = Files::new();
        files.write("ca", "other");
        let tls = Tls::new(vec![files.path("missing")]);
        let own = Material { authority: Some(files.path("ca")), client: None };
        assert!(tls.load(&own).await.is_ok(), "the operator's other ones are not looked at");
        let failure = tls.load(&Material::default()).await.err().unwrap();
        assert!(failure.to_string().contains("missing"), "{failure}");
    }
}
