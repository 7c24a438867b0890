//! The engine's log as entries of the contract.
//!
//! Asked for with `timestamps`, each message begins with its time and a blank. Docker cuts a line of more than 16 KiB
//! into messages, of which only the last ends the line:
//!
//! ```text
//! 2026-11-24T10:00:00.000000001Z first line⏎
//! 2026-11-24T10:00:00.000000002Z 16 KiB of a long line2026-11-24T10:00:00.000000003Z the rest of it⏎
//! ```
//!
//! Without a terminal a message is a frame. With one there are no frames, and what follows 16 KiB without a line end is
//! looked at: a time, or the line goes on.

use vk_provider::container_logs::{Entry, Source};
use vk_provider::time::Time;

use crate::frame::{Frames, NoFrame, Piece, Stream};

/// Docker's longest message, in bytes without its time: the buffer of its copier.
const MESSAGE: usize = 16 << 10;
/// So many bytes a time may have: `2026-11-24T10:00:00.000000000+01:00`.
const TIME: usize = 35;

/// Takes a log apart as its bytes come in.
#[derive(Debug)]
pub struct Decoder(Form);

#[derive(Debug)]
enum Form {
    Frames { frames: Frames, message: Vec<u8> },
    Text { line: Vec<u8>, goes_on: Option<Time> },
}

impl Decoder {
    /// Of a container with or without a terminal.
    pub const fn new(terminal: bool) -> Self {
        if terminal {
            Self(Form::Text { line: Vec::new(), goes_on: None })
        } else {
            Self(Form::Frames { frames: Frames::new(), message: Vec::new() })
        }
    }

    /// Reads on, and returns what is complete.
    ///
    /// # Errors
    /// [`NoFrame`]: of a container without a terminal something else came.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Entry>, NoFrame> {
        let mut entries = Vec::new();
        match &mut self.0 {
            Form::Frames { frames, message } => {
                frames.feed(bytes, |Piece { stream, bytes, last }| {
                    message.extend_from_slice(bytes);
                    if last {
                        whole(stream, message, &mut entries);
                        message.clear();
                    }
                })?;
            }
            Form::Text { line, goes_on } => {
                line.extend_from_slice(bytes);
                text(line, goes_on, TIME, &mut entries);
            }
        }
        Ok(entries)
    }

    /// What is left at the end: the start of a line that was never ended.
    pub fn finish(self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if let Form::Text { mut line, mut goes_on } = self.0 {
            text(&mut line, &mut goes_on, 0, &mut entries);
            if !line.is_empty() {
                entries.push(entry(Source::Stdout, &line, goes_on, true));
            }
        }
        entries
    }
}

/// A whole frame, which ends its line or does not. One that has several lines has one time.
fn whole(stream: Stream, message: &[u8], entries: &mut Vec<Entry>) {
    let source = match stream {
        Stream::Stdout => Source::Stdout,
        Stream::Stderr => Source::Stderr,
    };
    let mut time = None;
    for piece in message.split_inclusive(|byte| *byte == b'\n') {
        let (line, partial) = match piece.strip_suffix(b"\n") {
            Some(line) => (line, false),
            None => (piece, true),
        };
        let next = entry(source, line, time, partial);
        time = next.time;
        entries.push(next);
    }
}

/// All that is complete in a stream without frames. A message that ends no line is complete once so many bytes follow
/// it: what follows must be there as far as a time could reach, or it might be taken for text.
fn text(line: &mut Vec<u8>, goes_on: &mut Option<Time>, follow: usize, entries: &mut Vec<Entry>) {
    while let Some((length, ends)) = message(line, *goes_on, follow) {
        let piece = line.get(..length).unwrap_or_default();
        let next = entry(Source::Stdout, piece, *goes_on, !ends);
        *goes_on = next.time.filter(|_| next.partial);
        entries.push(next);
        line.drain(..(length + usize::from(ends)).min(line.len()));
    }
}

/// How long the first message is, and whether it ends its line; none: it is not complete.
fn message(text: &[u8], goes_on: Option<Time>, follow: usize) -> Option<(usize, bool)> {
    let (_, payload) = split_time(text, goes_on);
    let longest = text.len() - payload.len() + MESSAGE;
    let end = text.iter().take(longest + 1).position(|byte| *byte == b'\n');
    end.map(|end| (end, true)).or_else(|| (text.len() > longest + follow).then_some((longest, false)))
}

/// One entry. What has no time of its own has that of the message before it.
fn entry(source: Source, text: &[u8], before: Option<Time>, partial: bool) -> Entry {
    let (time, bytes) = split_time(text, before);
    Entry { time, source, partial, bytes: bytes.to_vec() }
}

/// Takes the time off the start, if there is one.
fn split_time(text: &[u8], before: Option<Time>) -> (Option<Time>, &[u8]) {
    let blank = text.iter().take(TIME + 1).position(|byte| *byte == b' ');
    let split = blank.and_then(|blank| {
        let time = std::str::from_utf8(text.get(..blank)?).ok()?.parse().ok()?;
        Some((time, text.get(blank + 1..)?))
    });
    match split {
        Some((time, rest)) => (Some(time), rest),
        None => (before, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::frame;

    const FIRST: &str = "2026-11-24T10:00:00.000000001Z";
    const SECOND: &str = "2026-11-24T10:00:00.000000002Z";

    /// Source, nanoseconds after ten, text with `…` if the line goes on.
    fn told(entries: &[Entry]) -> Vec<String> {
        let start: Time = "2026-11-24T10:00:00Z".parse().unwrap();
        let tell = |entry: &Entry| {
            let source = if entry.source == Source::Stdout { "out" } else { "err" };
            let time = entry.time.map_or("-".to_owned(), |time| time.since(start).as_nanos().to_string());
            let text = match entry.bytes.len() {
                0..=20 => String::from_utf8_lossy(&entry.bytes).into_owned(),
                long => format!("({long})"),
            };
            format!("{source} {time} {text}{}", if entry.partial { "…" } else { "" })
        };
        entries.iter().map(tell).collect()
    }

    fn decode(terminal: bool, bytes: &[u8], size: usize) -> Vec<String> {
        let mut decoder = Decoder::new(terminal);
        let mut entries: Vec<Entry> = bytes.chunks(size).flat_map(|chunk| decoder.feed(chunk).unwrap()).collect();
        entries.extend(decoder.finish());
        told(&entries)
    }

    #[test]
    fn frames_are_lines_or_pieces_of_them() {
        let long = "x".repeat(MESSAGE);
        let bytes = [
            frame(1, format!("{FIRST} a line\n").as_bytes()),
            frame(2, format!("{SECOND} {long}").as_bytes()),
            frame(2, format!("{SECOND} rest\n").as_bytes()),
            frame(1, format!("{SECOND} \n").as_bytes()),
            frame(1, format!("{FIRST} two\nlines\n").as_bytes()),
            frame(1, b"no time\n"),
        ]
        .concat();
        let expected =
            ["out 1 a line", "err 2 (16384)…", "err 2 rest", "out 2 ", "out 1 two", "out 1 lines", "out - no time"];
        for size in [1, 7, 4096, bytes.len()] {
            assert_eq!(decode(false, &bytes, size), expected, "by {size}");
        }
    }

    #[test]
    fn podman_tells_whole_seconds() {
        let bytes = frame(1, b"2026-11-24T10:00:01Z hello\n");
        assert_eq!(decode(false, &bytes, 64), ["out 1000000000 hello"]);
        let bytes = frame(1, b"2026-11-24T11:00:01+01:00 hello\n");
        assert_eq!(decode(false, &bytes, 64), ["out 1000000000 hello"]);
    }

    #[test]
    fn a_terminal_has_lines_without_frames() {
        let long = "x".repeat(MESSAGE);
        let text = format!("{FIRST} a line\r\n{FIRST} {long}{SECOND} rest\n{SECOND} unended");
        let expected = ["out 1 a line\r", "out 1 (16384)…", "out 2 rest", "out 2 unended…"];
        for size in [1, 7, 4096, text.len()] {
            assert_eq!(decode(true, text.as_bytes(), size), expected, "by {size}");
        }
    }

    #[test]
    fn a_line_of_just_a_message_of_a_terminal_is_no_piece() {
        let long = "x".repeat(MESSAGE);
        let text = format!("{FIRST} {long}\n{SECOND} next\n");
        assert_eq!(decode(true, text.as_bytes(), 4096), ["out 1 (16384)", "out 2 next"]);
    }

    #[test]
    fn a_terminal_that_writes_no_line_end_is_told_in_pieces() {
        let text = format!("{FIRST} {}", "x".repeat(MESSAGE * 2 + 100));
        assert_eq!(decode(true, text.as_bytes(), 999), ["out 1 (16384)…", "out 1 (16384)…", "out 1 (100)…"]);
    }

    #[test]
    fn a_terminal_that_ends_in_the_middle_of_a_line_is_told_whole() {
        let text = format!("{FIRST} {}{SECOND} x", "x".repeat(MESSAGE));
        assert_eq!(decode(true, text.as_bytes(), 999), ["out 1 (16384)…", "out 2 x…"]);
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let bytes = [frame(1, &[FIRST.as_bytes(), b" \xff\x00\xfe\n"].concat())].concat();
        let entries = Decoder::new(false).feed(&bytes).unwrap();
        assert_eq!(entries[0].bytes, b"\xff\x00\xfe");
    }
}
