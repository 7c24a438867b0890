//! A container's log.

mod decode;
mod lines;

use vk_provider::http::Body;
use vk_provider::time::Time;

use crate::client::{Engine, of};
use crate::failure::Result;
use crate::time::parameter;

pub use decode::Decoder;
pub use lines::Lines;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Only so many of the last messages, of an engine that
    /// [can tell them](crate::dialect::Dialect::has_last_messages); none: all.
    pub tail: Option<u32>,
    /// Nothing before this, which is among it; none: from the start.
    pub since: Option<Time>,
    /// Go on until the container ends.
    pub follow: bool,
}

impl Engine {
    /// Both streams of a container's log, each message with its time, for a [`Decoder`].
    ///
    /// # Errors
    /// It is not there, there was no answer, or the engine said no.
    pub fn container_logs(&self, id: &str, options: LogOptions) -> Result<Body> {
        let LogOptions { tail, since, follow } = options;
        let mut request = self.get(&of("containers", id, "/logs")).query("stdout", "1").query("stderr", "1");
        request = request.query("timestamps", "1").query("follow", if follow { "1" } else { "0" });
        if let Some(tail) = tail {
            request = request.query("tail", tail.to_string());
        }
        if let Some(since) = since {
            request = request.query("since", parameter(since));
        }
        Ok(self.send(&request)?.body)
    }
}
