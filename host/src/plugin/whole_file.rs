//! A small file that somebody else may change at any time, read whole.

use std::fs::{Metadata, OpenOptions};
use std::io::{Error, Read, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads at most `limit` bytes. The metadata are the opened file's, from before reading. Blocks.
pub(super) fn read(path: &Path, limit: u64) -> Result<(Metadata, Vec<u8>)> {
    // Whoever opens a pipe waits for its other end, and the thread would be gone.
    let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    let metadata = opened.metadata()?;
    if !metadata.is_file() {
        return Err(Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    opened.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        Err(Error::other(format!("it has more than {limit} bytes")))
    } else {
        Ok((metadata, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_within_the_limit_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "0123456789").unwrap();
        assert_eq!(read(&path("file"), 10).unwrap().1, b"0123456789");
        let says = |name: &str, limit| read(&path(name), limit).unwrap_err().to_string();
        assert!(says("file", 9).contains("more than 9 bytes"));
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["pipe", "."] {
            assert!(says(name, 10).contains("no regular file"), "{name}");
        }
        assert_eq!(read(&path("none"), 10).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
}
