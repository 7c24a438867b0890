//! Entries into text, with what the reader asked for: which of the streams, since when, how many of the last lines, times before
//! lines, and so many bytes.

use bytes::{BufMut as _, Bytes, BytesMut};
use jiff::Timestamp;

use super::options::Wanted;
use super::tail::Tail;
use crate::provider::{LogEntry, Source};

/// The text of one reader, in pieces.
pub(super) struct Text {
    stream: Option<Source>,
    since_ns: Option<u64>,
    /// none: all lines, or those that a log that goes on will have, of which nobody knows which are the last.
    tail: Option<Tail>,
    timestamps: bool,
    /// Bytes that may still be written.
    left: Option<u64>,
    /// The next entry of stdout, of stderr, begins a line.
    line_start: [bool; 2],
}

impl Text {
    pub(super) fn new(Wanted { options, timestamps, stream }: &Wanted) -> Self {
        Self {
            stream: *stream,
            since_ns: options.since_ns,
            tail: options.tail.filter(|_| !options.follow).map(Tail::new),
            timestamps: *timestamps,
            left: options.limit_bytes,
            line_start: [true, true],
        }
    }

    /// Nothing more fits.
    pub(super) fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// The text of more entries.
    pub(super) fn of(&mut self, mut batch: Vec<LogEntry>) -> Bytes {
        batch.retain(|entry| self.wants(entry));
        let batch = match &mut self.tail {
            Some(tail) => {
                let mut out = Vec::new();
                batch.into_iter().for_each(|entry| tail.take(entry, &mut out));
                out
            }
            None => batch,
        };
        self.write(&batch)
    }

    /// The text of what was held back until the log's end.
    pub(super) fn end(&mut self) -> Bytes {
        let held = self.tail.take().map(Tail::end).unwrap_or_default();
        self.write(&held)
    }

    /// The text of a log that breaks off: what was held back, and the reason in a line of its own.
    pub(super) fn broken(&mut self, reason: &str) -> Bytes {
        let held = self.end();
        let lead = if self.line_start == [true, true] { "" } else { "\n" };
        let mut out = BytesMut::from(&*held);
        out.put_slice(self.cut(BytesMut::from(format!("{lead}{reason}\n").as_bytes())).as_ref());
        out.freeze()
    }

    fn wants(&self, entry: &LogEntry) -> bool {
        let old = matches!((entry.time_ns, self.since_ns), (Some(time), Some(since)) if time < since);
        !old && self.stream.is_none_or(|stream| stream == entry.source)
    }

    fn write(&mut self, entries: &[LogEntry]) -> Bytes {
        let mut out = BytesMut::new();
        for entry in entries {
            let [stdout, stderr] = &mut self.line_start;
            let line_start = if entry.source == Source::Stdout { stdout } else { stderr };
            let time = entry.time_ns.and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok());
            if let Some(time) = time.filter(|_| self.timestamps && *line_start) {
                // Nine digits always, as the kubelet prints them.
                out.put_slice(format!("{time:.9} ").as_bytes());
            }
            out.put_slice(&entry.bytes);
            if !entry.partial {
                out.put_u8(b'\n');
            }
            *line_start = !entry.partial;
        }
        self.cut(out).freeze()
    }

    /// As much of it as may still be written.
    fn cut(&mut self, mut out: BytesMut) -> BytesMut {
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::LogOptions;

    const SECOND: u64 = 1_767_225_601_000_000_000;

    fn entry(time_ns: u64, source: Source, text: &str, partial: bool) -> LogEntry {
        LogEntry { time_ns: Some(time_ns), source, partial, bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }

    fn out(time_ns: u64, text: &str, partial: bool) -> LogEntry {
        entry(time_ns, Source::Stdout, text, partial)
    }

    fn text(options: LogOptions) -> Text {
        Text::new(&Wanted { options, timestamps: false, stream: None })
    }

    #[test]
    fn lines_are_filtered_stamped_and_joined() {
        let options = LogOptions { since_ns: Some(SECOND), ..LogOptions::default() };
        let mut text = Text::new(&Wanted { options, timestamps: true, stream: None });
        let lines = text.of(vec![
            out(1, "old", false),
            out(SECOND, "a", true),
            entry(SECOND + 1, Source::Stderr, "x", false),
            out(SECOND, "b", false),
        ]);
        let expected = "2026-01-01T00:00:01.000000000Z a2026-01-01T00:00:01.000000001Z x\nb\n";
        assert_eq!(lines, expected, "as they were written: a piece of one stream within another's");
    }

    #[test]
    fn a_stream_of_its_own_has_nothing_of_the_other() {
        let mut text =
            Text::new(&Wanted { options: LogOptions::default(), timestamps: false, stream: Some(Source::Stderr) });
        assert_eq!(text.of(vec![out(1, "a", false), entry(2, Source::Stderr, "b", false)]), "b\n");
    }

    #[test]
    fn the_limit_cuts_in_the_middle() {
        let mut text = text(LogOptions { limit_bytes: Some(4), ..LogOptions::default() });
        assert_eq!(text.of(vec![out(1, "abc", false), out(1, "d", false)]), "abc\n");
        assert!(text.is_full());
    }

    #[test]
    fn a_log_that_breaks_off_says_why_in_a_line_of_its_own() {
        let mut read = text(LogOptions { tail: Some(1), ..LogOptions::default() });
        assert_eq!(read.of(vec![out(1, "a", false), out(2, "b", false)]), "");
        assert_eq!(read.broken("so"), "b\nso\n");
        let mut read = text(LogOptions { limit_bytes: Some(5), ..LogOptions::default() });
        assert_eq!(read.of(vec![out(1, "a", true)]), "a");
        assert_eq!(read.broken("because"), "\nbec");
    }

    #[test]
    fn the_last_lines_come_at_the_end_and_a_log_that_goes_on_at_once() {
        let tail = |follow| text(LogOptions { tail: Some(1), follow, ..LogOptions::default() });
        let lines = || vec![out(1, "a", false), out(2, "b", false)];
        let mut read = tail(false);
        assert_eq!((read.of(lines()), read.end()), (Bytes::new(), Bytes::from("b\n")));
        let mut followed = tail(true);
        assert_eq!((followed.of(lines()), followed.end()), (Bytes::from("a\nb\n"), Bytes::new()));
    }
}
