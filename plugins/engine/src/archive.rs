//! Files of a container, in and out, as tar.
//!
//! They go into a container that was made and does not run as well as into one that runs, volumes that it mounts among
//! them. Podman makes a path that is missing, Docker refuses it. An archive that breaks off leaves what had come.

mod pack;

use std::io::Read;

use data_encoding::{BASE64, BASE64_NOPAD};
use serde::Deserialize;

use crate::client::{Engine, of};
use crate::failure::{Failure, Result, absent};

pub use pack::{Owner, Pack};

/// Before an entry's content: its header, and what long names and the like add.
const OVERHEAD: usize = 16 << 10;

/// What the engine tells of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PathStat {
    /// Go's: what it is in the upper bits, who may what in the lower ones.
    pub mode: u32,
    /// Where a link leads, as the engine resolves it; empty: it is none.
    pub link_target: String,
}

/// Go's bit of a directory's mode.
const DIRECTORY: u32 = 1 << 31;

impl PathStat {
    /// It is a directory.
    pub const fn is_directory(&self) -> bool {
        self.mode & DIRECTORY != 0
    }
}

impl Engine {
    /// Unpacks an archive below a directory of a container.
    ///
    /// # Errors
    /// The directory is not there (Docker alone says so), there was no answer, or the engine said no. Some may have
    /// been unpacked.
    pub fn put_archive(&self, id: &str, path: &str, archive: Vec<u8>) -> Result<()> {
        let request = self.put(&of("containers", id, "/archive")).query("path", path);
        self.send(&request.header("content-type", "application/x-tar").body(archive)).map(drop)
    }

    /// The first bytes of one file; none: it is not there, or no file. A link comes as a link from Docker, while Podman
    /// follows it.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn read_file(&self, id: &str, path: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let request = self.get(&of("containers", id, "/archive")).query("path", path);
        let Some(mut response) = absent(self.send(&request))? else { return Ok(None) };
        let mut archive = Vec::new();
        // The rest, of whatever length, is not asked for.
        while archive.len() < OVERHEAD + most
            && let Some(chunk) = response.body.chunk()?
        {
            archive.extend_from_slice(&chunk);
        }
        first_file(&archive, most).map_err(|error| broken("GET archive", error.to_string()))
    }

    /// What a path is, without following it; none: it is not there.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn stat_path(&self, id: &str, path: &str) -> Result<Option<PathStat>> {
        let request = self.head(&of("containers", id, "/archive")).query("path", path);
        let Some(response) = absent(self.send(&request))? else { return Ok(None) };
        let header = response.headers.get("x-docker-container-path-stat").unwrap_or_default();
        stat(header).map(Some).map_err(|why| broken("HEAD archive", why))
    }
}

const fn broken(request: &'static str, why: String) -> Failure {
    Failure::Broken { request, why }
}

/// The content of the first entry if it is a file.
fn first_file(archive: &[u8], most: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut archive = tar::Archive::new(archive);
    let Some(entry) = archive.entries()?.next() else { return Ok(None) };
    let entry = entry?;
    if !entry.header().entry_type().is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    entry.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// The header is base64 of JSON; not every engine pads it.
fn stat(header: &str) -> Result<PathStat, String> {
    let json = BASE64.decode(header.as_bytes()).or_else(|_| BASE64_NOPAD.decode(header.as_bytes()));
    serde_json::from_slice(&json.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vk_provider::time::Time;

    fn archive() -> Pack {
        Pack::new(Time::from_millis(1_795_514_400_000))
    }

    #[test]
    fn the_first_file_of_an_archive_is_read_up_to_a_bound() {
        let mut pack = archive();
        pack.file("message", 0o644, Owner::default(), b"it went wrong").unwrap();
        let bytes = pack.finish().unwrap();
        assert_eq!(first_file(&bytes, 4096).unwrap().as_deref(), Some(&b"it went wrong"[..]));
        assert_eq!(first_file(&bytes, 5).unwrap().as_deref(), Some(&b"it we"[..]));
        assert_eq!(
            first_file(&bytes[..700], 4096).unwrap().as_deref(),
            Some(&b"it went wrong"[..]),
            "what was cut off is not needed"
        );
    }

    #[test]
    fn a_link_and_a_directory_are_no_file() {
        let mut pack = archive();
        pack.link("message", "/etc/passwd", Owner::default()).unwrap();
        assert_eq!(first_file(&pack.finish().unwrap(), 4096).unwrap(), None);
        let mut pack = archive();
        pack.directory("message", 0o755, Owner::default()).unwrap();
        assert_eq!(first_file(&pack.finish().unwrap(), 4096).unwrap(), None);
        assert_eq!(first_file(&archive().finish().unwrap(), 4096).unwrap(), None, "nothing at all");
    }

    #[test]
    fn what_a_path_is_stands_in_a_header() {
        let read = |json: &str| stat(&BASE64.encode(json.as_bytes())).unwrap();
        let link = read(r#"{"name":"..data","size":4,"mode":134218239,"linkTarget":"/vols/v/..1-a"}"#);
        assert_eq!(link.link_target, "/vols/v/..1-a");
        let directory = read(r#"{"name":"v","mode":2147484141,"linkTarget":""}"#);
        assert!(directory.is_directory() && directory.link_target.is_empty() && !link.is_directory());
        assert!(!read(r#"{"name":"f","mode":420,"linkTarget":""}"#).is_directory());
        assert!(stat("e30").is_ok(), "without padding");
        assert!(stat("?").is_err() && stat("").is_err());
    }
}
