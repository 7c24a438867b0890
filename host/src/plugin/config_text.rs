//! The text of `--provider-config`, as it is now: the file may be a ConfigMap's or Secret's and change at any time.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};

/// A file that is older than this when it is read is told from its next state by its stamp.
const SETTLED: SignedDuration = SignedDuration::from_secs(1);

/// Reads the file when it changed; a look costs one `stat`.
pub(super) struct ConfigText {
    file: Option<PathBuf>,
    limit: u64,
    last: ArcSwapOption<(Stamp, Arc<str>)>,
}

/// What tells one content of the file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl ConfigText {
    pub(super) fn new(file: Option<PathBuf>, limit: u64) -> Self {
        Self { file, limit, last: ArcSwapOption::empty() }
    }

    /// none: no file was given. An error is one sentence.
    pub(super) async fn read(&self) -> Result<Option<Arc<str>>, String> {
        let Some(file) = &self.file else { return Ok(None) };
        let say =
            |e: &dyn std::fmt::Display| format!("cannot read the provider's configuration {}: {e}", file.display());
        let stamp = std::fs::metadata(file).map(|metadata| Stamp::of(&metadata)).map_err(|e| say(&e))?;
        if let Some(last) = &*self.last.load()
            && last.0 == stamp
        {
            return Ok(Some(Arc::clone(&last.1)));
        }
        let (path, limit) = (file.clone(), self.limit);
        let read = tokio::task::spawn_blocking(move || read(&path, limit)).await.map_err(|e| say(&e))?;
        let (stamp, text) = read.map_err(|e| say(&e))?;
        let text: Arc<str> = text.into();
        // What was written a moment ago may be written again within the same tick of the file system's clock.
        let age = Timestamp::now().duration_since(stamp.written());
        self.last.store((age > SETTLED).then(|| Arc::new((stamp, Arc::clone(&text)))));
        Ok(Some(text))
    }
}

/// The stamp is the opened file's, taken before reading: a change while reading makes the next look read again.
fn read(file: &std::path::Path, limit: u64) -> std::io::Result<(Stamp, String)> {
    let mut opened = std::fs::File::open(file)?;
    let stamp = Stamp::of(&opened.metadata()?);
    let mut text = Vec::new();
    opened.by_ref().take(limit.saturating_add(1)).read_to_end(&mut text)?;
    if text.len() as u64 > limit {
        return Err(std::io::Error::other(format!("it has more than {limit} bytes")));
    }
    let text = String::from_utf8(text).map_err(|error| std::io::Error::other(format!("it is not UTF-8: {error}")))?;
    Ok((stamp, text))
}

impl Stamp {
    fn written(&self) -> Timestamp {
        let (seconds, nanoseconds) = self.changed.max(self.modified);
        Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or_default()).unwrap_or(Timestamp::MAX)
    }

    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
