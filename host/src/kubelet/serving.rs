//! Where the certificates come from, and keeping them up to date while connections go on.
//!
//! Files are read again when they hold something else: a mounted Secret changes by the swap of a link, and people copy files over
//! files. What a file holds is compared, not its times, so that neither way is missed, and what was compared is what is used. Something broken is refused, and what was there
//! before stays; a certificate that is newer than its key waits for the key by the same rule.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::csr::Issued;
use super::tls::{self, Error, PemFile, Tls};
use crate::pods::events::Events;

/// How often files are looked at. A mounted Secret itself follows within a minute or two; this adds little to it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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
    /// From the cluster, by a CertificateSigningRequest (`--rotate-server-certificates`); self-signed until there is one.
    Requested,
    /// Made anew at each start.
    SelfSigned,
}

/// Where the certificates come from at the start.
pub(super) struct Sources<'a> {
    pub serving: &'a Serving,
    /// Where a requested certificate is kept.
    pub state_dir: &'a Path,
    /// The node's name and the address that the API server dials.
    pub names: (&'a str, IpAddr),
    /// PEM file of those whose clients are known; none: the cluster's own authorities.
    pub client_ca: Option<&'a Path>,
    /// DER certificates of the cluster's own authorities.
    pub cluster_ca: &'a [Vec<u8>],
}

impl Sources<'_> {
    /// Reads them, and says what is to be read again.
    pub(super) fn read(self) -> Result<(Tls, Vec<Watched>), Error> {
        let mut watched = Vec::new();
        let clients = match self.client_ca {
            Some(path) => {
                let file = read_clients(path);
                watched.push(Watched { source: Source::Clients(path.to_path_buf()), stamp: stamp([&file]) });
                file.clients()?
            }
            None => {
                let authorities = self.cluster_ca.iter().map(|der| CertificateDer::from(der.clone()));
                tls::clients("the kubeconfig's certificate authority", authorities)?
            }
        };
        let own = match self.serving {
            Serving::Files { certificate, key } => {
                let source = Source::Own { certificate: certificate.clone(), key: key.clone() };
                let (certificate, key) = read_own(certificate, key);
                watched.push(Watched { source, stamp: stamp([&certificate, &key]) });
                certificate.own(&key)?
            }
            Serving::Requested => match Issued::kept(self.state_dir) {
                Some(issued) if !issued.is_over() => issued.own,
                _ => self.self_signed("until a CertificateSigningRequest of this node is approved")?,
            },
            Serving::SelfSigned => {
                self.self_signed("--tls-cert-file and --tls-private-key-file, or --rotate-server-certificates")?
            }
        };
        Ok((Tls::new(own, clients), watched))
    }

    fn self_signed(&self, remedy: &str) -> Result<CertifiedKey, Error> {
        tracing::warn!("the kubelet API has a self-signed certificate, which the API server cannot verify ({remedy})");
        let (name, address) = self.names;
        tls::self_signed([name.to_string(), address.to_string()])
    }
}

fn read_clients(path: &Path) -> PemFile<'_> {
    PemFile::read("--client-ca-file", path)
}

fn read_own<'a>(certificate: &'a Path, key: &'a Path) -> (PemFile<'a>, PemFile<'a>) {
    (PemFile::read("--tls-cert-file", certificate), PemFile::read("--tls-private-key-file", key))
}

/// Tells one content of files from another.
fn stamp<const N: usize>(files: [&PemFile<'_>; N]) -> [u8; 32] {
    let mut stamp = Sha256::new();
    files.iter().for_each(|file| stamp.update(file.digest()));
    stamp.finalize().into()
}

enum Source {
    Own { certificate: PathBuf, key: PathBuf },
    Clients(PathBuf),
}

/// Files, and what they held when they were looked at last.
pub(super) struct Watched {
    source: Source,
    stamp: [u8; 32],
}

impl Watched {
    /// Uses what the files hold, if it is something else than before; `None` otherwise. Something broken is told once.
    fn look(&mut self, tls: &Tls) -> Option<Result<&'static str, Error>> {
        let Self { source, stamp: before } = self;
        let mut changed = |now: [u8; 32]| std::mem::replace(before, now) != now;
        match source {
            Source::Own { certificate, key } => {
                let (certificate, key) = read_own(certificate, key);
                changed(stamp([&certificate, &key]))
                    .then(|| certificate.own(&key).map(|own| tls.set_own(own)).map(|()| "serving certificate"))
            }
            Source::Clients(path) => {
                let file = read_clients(path);
                changed(stamp([&file]))
                    .then(|| file.clients().map(|clients| tls.set_clients(clients)).map(|()| "client CA"))
            }
        }
    }
}

/// Looks at the files until shutdown.
pub(super) async fn watch(mut files: Vec<Watched>, tls: Arc<Tls>, events: Events, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.cancelled() => return,
        }
        for looked in files.iter_mut().filter_map(|file| file.look(&tls)) {
            match looked {
                Ok(what) => tracing::info!("new connections of the kubelet API have the new {what}"),
                Err(error) => {
                    tracing::warn!(%error, "a changed certificate file is not used; what was there before stays");
                    events.node_warning("CertificateRefused", error.to_string());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Writes a pair as a mounted Secret has it, and returns its certificate.
    fn write(directory: &Path, name: &str) -> CertificateDer<'static> {
        std::fs::create_dir(directory).unwrap();
        let made = rcgen::generate_simple_self_signed([name.to_string()]).unwrap();
        std::fs::write(directory.join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(directory.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    fn swap(link: &Path, target: &Path) {
        let new = link.with_file_name("new");
        symlink(target, &new).unwrap();
        std::fs::rename(new, link).unwrap();
    }

    #[test]
    fn files_are_used_when_they_change_and_refused_once_when_they_are_broken() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("..data");
        let first = write(&root.path().join("1"), "one");
        let second = write(&root.path().join("2"), "two");
        swap(&data, &root.path().join("1"));
        let serving = Serving::Files { certificate: data.join("tls.crt"), key: data.join("tls.key") };
        let authority = rcgen::generate_simple_self_signed(["ca".to_string()]).unwrap();
        let sources = Sources {
            serving: &serving,
            state_dir: root.path(),
            names: ("node", IpAddr::from([127, 0, 0, 1])),
            client_ca: None,
            cluster_ca: &[authority.cert.der().to_vec()],
        };
        let (tls, mut watched) = sources.read().unwrap();
        let [files] = watched.as_mut_slice() else { panic!("one source") };
        assert_eq!(tls.own().cert, std::slice::from_ref(&first));
        assert!(files.look(&tls).is_none(), "nothing has changed");

        swap(&data, &root.path().join("2"));
        assert!(files.look(&tls).unwrap().is_ok());
        assert_eq!(tls.own().cert, std::slice::from_ref(&second));

        // The certificate is replaced before its key is.
        std::fs::copy(root.path().join("1/tls.crt"), root.path().join("2/tls.crt")).unwrap();
        let error = files.look(&tls).unwrap().unwrap_err();
        assert!(matches!(error, Error::Pair { .. }), "{error}");
        assert_eq!(tls.own().cert, std::slice::from_ref(&second), "the old one serves on");
        assert!(files.look(&tls).is_none(), "it is told once");
        std::fs::copy(root.path().join("1/tls.key"), root.path().join("2/tls.key")).unwrap();
        assert!(files.look(&tls).unwrap().is_ok());
        assert_eq!(tls.own().cert, [first]);

        std::fs::remove_file(&data).unwrap();
        let error = files.look(&tls).unwrap().unwrap_err().to_string();
        assert!(error.contains("--tls-private-key-file") && error.contains("tls.key"), "{error}");
    }

    #[test]
    fn clients_of_an_authority_are_known_for_as_long_as_it_is() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let issuer = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            rcgen::CertifiedIssuer::self_signed(params, key).unwrap()
        };
        let (one, two) = (issuer(), issuer());
        let client = |issuer: &rcgen::CertifiedIssuer<'_, rcgen::KeyPair>| {
            let mut params = rcgen::CertificateParams::default();
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            let key = rcgen::KeyPair::generate().unwrap();
            vec![params.signed_by(&key, issuer).unwrap().der().clone()]
        };
        let (of_one, of_two) = (client(&one), client(&two));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, one.pem()).unwrap();
        let sources = Sources {
            serving: &Serving::SelfSigned,
            state_dir: file.path(),
            names: ("node", IpAddr::from([127, 0, 0, 1])),
            client_ca: Some(file.path()),
            cluster_ca: &[],
        };
        let (tls, mut watched) = sources.read().unwrap();
        let [files] = watched.as_mut_slice() else { panic!("one source") };
        let knows = |chain: &[CertificateDer<'_>]| tls.verify_client(chain).is_ok();
        assert!(knows(&of_one) && !knows(&of_two) && !knows(&[]));
        std::fs::write(&file, "no certificate").unwrap();
        assert!(files.look(&tls).unwrap().is_err());
        assert!(knows(&of_one), "the old one stays");
        // Its second certificate is none.
        std::fs::write(&file, two.pem() + "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n")
            .unwrap();
        let error = files.look(&tls).unwrap().unwrap_err().to_string();
        assert!(error.contains("certificate 2 of --client-ca-file "), "{error}");
        assert!(knows(&of_one) && !knows(&of_two), "not a half of it");
        std::fs::write(&file, two.pem()).unwrap();
        assert!(files.look(&tls).unwrap().is_ok());
        assert!(!knows(&of_one) && knows(&of_two));
    }
}
