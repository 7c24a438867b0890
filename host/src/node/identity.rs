//! Who this host is: what it keeps in its state directory, and that nobody else uses it meanwhile.
//!
//! - `lock`: held for as long as the process lives;
//! - `holder`: a random id; the lease's holder is `NODE_<id>`, so that the same directory is the same holder and restarts at
//!   once, and another host with the same node name is told apart (R24);
//! - `cluster`: the cluster's id; workloads carry it, so another one later must not go unnoticed.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What is wrong with the state directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be made, read or written.
    #[error("cannot use the state directory {}: {source}; give a writable one with --state-dir", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process uses it.
    #[error("the state directory {} is used by another vk-host; give each its own with --state-dir", .0.display())]
    Locked(PathBuf),
    /// It belongs to another cluster.
    #[error(
        "the state directory {} belongs to cluster {known}, but this is cluster {found}; give another --state-dir, or --cluster-id {known} if it is the same cluster",
        path.display()
    )]
    OtherCluster {
        /// The state directory.
        path: PathBuf,
        /// What it says.
        known: String,
        /// What the cluster says.
        found: String,
    },
}

/// The locked state directory.
#[derive(Debug)]
pub struct Identity {
    directory: PathBuf,
    holder: String,
    _lock: File,
}

impl Identity {
    /// Makes the directory if need be and locks it.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::Io { path, source }
        };
        // What is kept there, the provider's store above all, is nobody else's to read.
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io(directory))?;
        let path = directory.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(directory.to_path_buf())),
            Err(TryLockError::Error(source)) => return Err(Error::Io { path, source }),
        }
        let path = directory.join("holder");
        let holder = match read(&path)? {
            Some(id) => id,
            None => {
                let id = uuid::Uuid::new_v4().to_string();
                write(&path, &id)?;
                id
            }
        };
        Ok(Self { directory: directory.to_path_buf(), holder, _lock: lock })
    }

    /// The lease's holderIdentity.
    pub fn holder(&self, node_name: &str) -> String {
        format!("{node_name}_{}", self.holder)
    }

    /// The cluster's id, kept from the first time on.
    pub fn cluster(&self, found: &str) -> Result<String, Error> {
        let path = self.directory.join("cluster");
        match read(&path)? {
            Some(known) if known != found => {
                Err(Error::OtherCluster { path: self.directory.clone(), known, found: found.into() })
            }
            Some(known) => Ok(known),
            None => write(&path, found).map(|()| found.to_string()),
        }
    }
}

/// A file of the state directory; none: it is not there, or empty.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_string()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path: path.to_path_buf(), source }),
    }
}

/// Writes a file of the state directory whole or not at all, also after a power cut, for nobody else to read.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::Io { path: path.to_path_buf(), source };
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    // The new name is on disk once its directory is.
    path.parent().map_or(Ok(()), |directory| File::open(directory).and_then(|d| d.sync_all())).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_directory_is_the_same_holder_and_another_is_not() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Identity::open(one.path()).unwrap().holder("n");
        assert!(first.starts_with("n_"));
        assert_eq!(Identity::open(one.path()).unwrap().holder("n"), first);
        assert_ne!(Identity::open(two.path()).unwrap().holder("n"), first);
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let _held = Identity::open(directory.path()).unwrap();
        let error = Identity::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("--state-dir"), "{error}");
    }

    #[test]
    fn another_cluster_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::open(directory.path()).unwrap();
        assert_eq!(identity.cluster("a").unwrap(), "a");
        assert_eq!(identity.cluster("a").unwrap(), "a");
        let error = identity.cluster("b").unwrap_err().to_string();
        assert!(error.contains("cluster a") && error.contains("cluster b"), "{error}");
    }
}
