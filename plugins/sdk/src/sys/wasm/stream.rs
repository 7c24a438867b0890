//! Streams of `wasi:io`, and the changes of a window's size.

use super::Pollable;
use crate::bindings::imports::virtual_kubelet::provider::terminal;
use crate::bindings::imports::wasi::http::types;
use crate::bindings::imports::wasi::io::streams::{InputStream, OutputStream, StreamError};
use crate::http::ErrorCode;
use crate::stream::Broken;

pub(crate) type Output = OutputStream;
pub(crate) type Resizes = terminal::Resizes;

/// A stream, and the body that it is of. The stream has to go first, which the fields' order sees to.
#[derive(Debug)]
pub(crate) struct Input {
    stream: InputStream,
    _body: Option<types::IncomingBody>,
}

impl Input {
    pub(super) const fn of_body(stream: InputStream, body: types::IncomingBody) -> Self {
        Self { stream, _body: Some(body) }
    }
}

impl From<InputStream> for Input {
    fn from(stream: InputStream) -> Self {
        Self { stream, _body: None }
    }
}

/// What is there, at most so much; nothing: not now.
pub(crate) fn input_read(input: &Input, most: usize) -> Result<Vec<u8>, Broken> {
    input.stream.read(u64::try_from(most).unwrap_or(u64::MAX)).map_err(broken)
}

pub(crate) fn input_subscribe(input: &Input) -> Pollable {
    input.stream.subscribe()
}

/// So many bytes may be written now.
pub(crate) fn output_room(output: &Output) -> Result<usize, Broken> {
    output.check_write().map(|room| usize::try_from(room).unwrap_or(usize::MAX)).map_err(broken)
}

/// Writes no more than there is room.
pub(crate) fn output_write(output: &Output, bytes: &[u8]) -> Result<(), Broken> {
    output.write(bytes).map_err(broken)
}

/// There is no room until it is over.
pub(crate) fn output_flush(output: &Output) -> Result<(), Broken> {
    output.flush().map_err(broken)
}

pub(crate) fn output_subscribe(output: &Output) -> Pollable {
    output.subscribe()
}

fn broken(error: StreamError) -> Broken {
    match error {
        StreamError::Closed => Broken::Closed,
        StreamError::LastOperationFailed(error) => {
            Broken::Failed(types::http_error_code(&error).unwrap_or_else(|| {
                // A host may add where it happened, which says nothing to the plugin's readers.
                let text = error.to_debug_string();
                ErrorCode::InternalError(text.lines().next().map(str::to_owned))
            }))
        }
    }
}

pub(crate) fn resizes_next(resizes: &Resizes) -> Option<terminal::Size> {
    resizes.next()
}

pub(crate) fn resizes_subscribe(resizes: &Resizes) -> Pollable {
    resizes.subscribe()
}
