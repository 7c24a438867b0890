//! The text of `--provider-config`, as it is now: the file may be a ConfigMap's or Secret's and change at any time.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};

use super::stamp::Stamp;
use super::whole_file;

/// A file that is older than this when it is read is told from its next state by its stamp.
const SETTLED: SignedDuration = SignedDuration::from_secs(1);

/// Reads the file when it changed; a look costs one `stat`.
pub(super) struct ConfigText {
    file: Option<PathBuf>,
    limit: u64,
    last: ArcSwapOption<(Stamp, Arc<str>)>,
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
    let (metadata, bytes) = whole_file::read(file, limit)?;
    let text = String::from_utf8(bytes).map_err(|error| std::io::Error::other(format!("it is not UTF-8: {error}")))?;
    Ok((Stamp::of(&metadata), text))
}
