//! Where a command in a container writes to when the host runs it: the beginning is kept, the rest is taken and thrown away, so that
//! a command that says much ends as one that says little.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wasmtime_wasi::p2::{DynOutputStream, OutputStream, Pollable, StreamResult};

/// What a guest may write at once, in bytes: what WASI's own streams take.
const AT_ONCE: usize = 64 << 10;

/// The beginning of what was written to any of its streams, in the order in which it came.
#[derive(Clone, Debug)]
pub(super) struct Captured {
    limit: usize,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Captured {
    /// Keeps so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, bytes: Arc::default() }
    }

    /// A stream into it.
    pub(super) fn stream(&self) -> DynOutputStream {
        Box::new(self.clone())
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was kept.
    pub(super) fn take(&self) -> Bytes {
        std::mem::take(&mut *self.bytes()).into()
    }
}

#[async_trait::async_trait]
impl Pollable for Captured {
    async fn ready(&mut self) {}
}

#[async_trait::async_trait]
impl OutputStream for Captured {
    fn write(&mut self, written: Bytes) -> StreamResult<()> {
        let mut bytes = self.bytes();
        let room = self.limit.saturating_sub(bytes.len());
        bytes.extend(written.iter().take(room));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_kept_and_the_rest_is_taken() {
        let captured = Captured::new(5);
        let (mut out, mut err) = (captured.stream(), captured.stream());
        out.write(Bytes::from_static(b"abc")).unwrap();
        err.write(Bytes::from_static(b"def")).unwrap();
        out.write(Bytes::from_static(b"ghi")).unwrap();
        assert_eq!(out.check_write().unwrap(), AT_ONCE);
        assert_eq!(captured.take(), "abcde");
    }
}
