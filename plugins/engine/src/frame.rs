//! Output of a container without a terminal: stdout and stderr in one stream, in frames of eight bytes and a payload.
//!
//! ```text
//! ┌──────────┬─────────┬──────────────────┬─────────┐
//! │ stream 1 │ 0  0  0 │ length, 4 bytes  │ payload │   (docs.docker.com/reference/api/engine, "Stream format")
//! └──────────┴─────────┴──────────────────┴─────────┘
//! ```
//!
//! With a terminal there are no frames and there is no stderr.

/// Bytes of a frame's header.
const HEADER: usize = 8;

/// Whose bytes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output. The API also has a number for stdin, which is only echoed.
    Stdout,
    /// Standard error, and what the engine itself has to say.
    Stderr,
}

/// Some of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Whose.
    pub stream: Stream,
    /// As many as were there.
    pub bytes: &'a [u8],
    /// The frame ends here.
    pub last: bool,
}

/// What is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine's stream has no frame where one should begin: {0:02x?}")]
pub struct NoFrame([u8; HEADER]);

/// Takes frames apart as their bytes come in.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    header: Vec<u8>,
    /// Of the frame that is under way: whose it is, and how much of its payload is still to come.
    current: Option<(Stream, u32)>,
}

impl Frames {
    /// At the start of a stream.
    pub const fn new() -> Self {
        Self { header: Vec::new(), current: None }
    }

    /// Reads on, and gives each piece away. An empty frame is one empty piece.
    ///
    /// # Errors
    /// [`NoFrame`]: what comes is something else.
    pub fn feed<'a>(&mut self, mut bytes: &'a [u8], mut each: impl FnMut(Piece<'a>)) -> Result<(), NoFrame> {
        while !bytes.is_empty() {
            let Some((stream, left)) = self.current else {
                bytes = self.begin(bytes, &mut each)?;
                continue;
            };
            let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (payload, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            let left = left.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
            each(Piece { stream, bytes: payload, last: left == 0 });
            self.current = (left > 0).then_some((stream, left));
            bytes = rest;
        }
        Ok(())
    }

    /// Takes what belongs to a header, and returns the rest.
    fn begin<'a>(&mut self, bytes: &'a [u8], each: &mut impl FnMut(Piece<'a>)) -> Result<&'a [u8], NoFrame> {
        let missing = HEADER.saturating_sub(self.header.len()).min(bytes.len());
        let (start, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.header.extend_from_slice(start);
        let Ok(header) = <[u8; HEADER]>::try_from(self.header.as_slice()) else { return Ok(rest) };
        self.header.clear();
        let (stream, length) = parse(header)?;
        if length == 0 {
            each(Piece { stream, bytes: &[], last: true });
        } else {
            self.current = Some((stream, length));
        }
        Ok(rest)
    }
}

const fn parse(header: [u8; HEADER]) -> Result<(Stream, u32), NoFrame> {
    let [stream, 0, 0, 0, a, b, c, d] = header else { return Err(NoFrame(header)) };
    let length = u32::from_be_bytes([a, b, c, d]);
    match stream {
        0 | 1 => Ok((Stream::Stdout, length)),
        2 | 3 => Ok((Stream::Stderr, length)),
        _ => Err(NoFrame(header)),
    }
}

/// A frame, for tests.
#[cfg(test)]
pub(crate) fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[stream, 0, 0, 0], length.as_slice(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each stream got, and where frames ended, when the bytes come in pieces of some size.
    fn read(bytes: &[u8], size: usize) -> (Vec<u8>, Vec<u8>, usize) {
        let (mut frames, mut out, mut err, mut ends) = (Frames::default(), Vec::new(), Vec::new(), 0);
        for chunk in bytes.chunks(size) {
            let each = |piece: Piece<'_>| {
                if piece.stream == Stream::Stdout { &mut out } else { &mut err }.extend_from_slice(piece.bytes);
                ends += usize::from(piece.last);
            };
            frames.feed(chunk, each).unwrap();
        }
        (out, err, ends)
    }

    #[test]
    fn frames_are_put_together_wherever_they_are_cut() {
        let bytes = [frame(1, b"hello "), frame(2, b"oops\n"), frame(1, b""), frame(1, b"world\n")].concat();
        for size in 1..=bytes.len() {
            assert_eq!(read(&bytes, size), (b"hello world\n".to_vec(), b"oops\n".to_vec(), 4), "by {size}");
        }
    }

    #[test]
    fn a_piece_says_whether_its_frame_goes_on() {
        let (mut frames, mut told) = (Frames::default(), Vec::new());
        let bytes = frame(2, b"hello");
        for part in [&bytes[..6], &bytes[6..10], &bytes[10..]] {
            frames.feed(part, |piece| told.push((piece.stream, piece.bytes, piece.last))).unwrap();
        }
        assert_eq!(told, [(Stream::Stderr, &b"he"[..], false), (Stream::Stderr, b"llo", true)]);
    }

    #[test]
    fn text_without_frames_is_told() {
        let error = Frames::default().feed(b"OCI runtime exec failed", |_| ()).unwrap_err();
        assert_eq!(error, NoFrame(*b"OCI runt"));
        assert!(Frames::default().feed(&[9, 0, 0, 0, 0, 0, 0, 1, 0], |_| ()).is_err());
    }
}
