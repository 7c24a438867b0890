//! A guest's stdout and stderr, line by line into the log: target `plugin`, within the call's span.
//!
//! Written as it comes, so that what a guest said before it trapped is there.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::defaults::call::{OUTPUT, OUTPUT_LINE};

/// Lines of stderr that an error may quote.
const TAIL: usize = 8;

/// Both streams of one call.
#[derive(Clone, Debug)]
pub(super) struct Output {
    plugin: Arc<str>,
    stdout: Arc<Mutex<Lines>>,
    stderr: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    /// Bytes of the present line that did not fit.
    cut: usize,
    /// Bytes so far.
    total: usize,
    tail: VecDeque<String>,
}

impl Output {
    pub(super) fn new(plugin: Arc<str>) -> Self {
        Self { plugin, stdout: Arc::default(), stderr: Arc::default() }
    }

    pub(super) fn stdout(&self) -> Stream {
        Stream { plugin: Arc::clone(&self.plugin), lines: Arc::clone(&self.stdout), name: "stdout" }
    }

    pub(super) fn stderr(&self) -> Stream {
        Stream { plugin: Arc::clone(&self.plugin), lines: Arc::clone(&self.stderr), name: "stderr" }
    }

    /// Writes what has no newline yet when it is dropped, which belongs after the last word of the guest, however it ended.
    pub(super) fn until_the_end(&self) -> LastWord<'_> {
        LastWord(self)
    }

    fn finish(&self) {
        for stream in [self.stdout(), self.stderr()] {
            let mut lines = stream.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if !lines.line.is_empty() {
                stream.end_line(&mut lines);
            }
        }
    }

    /// The last lines of stderr in one; empty if there are none.
    pub(super) fn tail(&self) -> String {
        let lines = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        lines.tail.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

/// See [`Output::until_the_end`].
pub(super) struct LastWord<'a>(&'a Output);

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// One of the two.
#[derive(Clone)]
pub(super) struct Stream {
    plugin: Arc<str>,
    lines: Arc<Mutex<Lines>>,
    name: &'static str,
}

impl Stream {
    fn take(&self, bytes: &[u8]) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = &mut *lines;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let (fits, rest) =
                text.split_at_checked(OUTPUT_LINE.saturating_sub(lines.line.len())).unwrap_or((text, &[]));
            lines.line.extend_from_slice(fits);
            lines.cut = lines.cut.saturating_add(rest.len());
            if ends {
                self.end_line(lines);
            }
        }
    }

    fn end_line(&self, lines: &mut Lines) {
        let mut text = String::from_utf8_lossy(&lines.line).trim_end().to_owned();
        if lines.cut > 0 {
            text.push_str(&format!(" … {} bytes more", lines.cut));
        }
        lines.total = lines.total.saturating_add(lines.line.len().max(1));
        let before = lines.total.saturating_sub(lines.line.len().max(1));
        lines.line.clear();
        lines.cut = 0;
        let (plugin, stream) = (&self.plugin, self.name);
        if lines.total <= OUTPUT {
            tracing::info!(target: "plugin", %plugin, stream, "{text}");
        } else if before <= OUTPUT {
            tracing::warn!(target: "plugin", %plugin, stream, "more than {OUTPUT} bytes; the rest of this call is left out");
        }
        if text.is_empty() {
            return;
        }
        if lines.tail.len() == TAIL {
            lines.tail.pop_front();
        }
        lines.tail.push_back(text);
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pieces: &[&str]) -> String {
        let output = Output::new("mock".into());
        for piece in pieces {
            output.stderr().take(piece.as_bytes());
        }
        output.finish();
        output.tail()
    }

    #[test]
    fn pieces_become_lines_and_the_last_needs_no_newline() {
        assert_eq!(said(&["pan", "icked\n\nat ", "lib.rs\r\nbo", "om"]), "panicked | at lib.rs | boom");
    }

    #[test]
    fn a_long_line_is_cut_whatever_pieces_it_comes_in() {
        let piece = "x".repeat(OUTPUT_LINE - 1);
        let text = said(&[&piece, &piece, "\nnext"]);
        let (first, next) = text.split_once(" | ").unwrap();
        assert!(first.ends_with(&format!("x … {} bytes more", OUTPUT_LINE - 2)), "{}", &first[OUTPUT_LINE - 10..]);
        assert_eq!(next, "next");
    }

    #[test]
    fn only_the_last_lines_are_quoted() {
        let all: Vec<String> = (0..20).map(|n| format!("{n}\n")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(said(&all), "12 | 13 | 14 | 15 | 16 | 17 | 18 | 19");
    }
}
