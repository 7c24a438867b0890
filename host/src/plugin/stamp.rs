//! What tells one content of a file from another without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use jiff::Timestamp;

/// Of the file that a path leads to, through all its links: where a ConfigMap volume swaps one, the stamp is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// When the file was touched last.
    pub(super) fn written(&self) -> Timestamp {
        let (seconds, nanoseconds) = self.changed.max(self.modified);
        Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or_default()).unwrap_or(Timestamp::MAX)
    }
}
