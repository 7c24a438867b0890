//! `kubectl logs`. A session: one instance for as long as it follows.

pub use crate::bindings::imports::virtual_kubelet::provider::log_sink::Source;

use crate::bindings::container_logs::exports::virtual_kubelet::provider::container_logs as wit;
use crate::bindings::imports::virtual_kubelet::provider::{log_sink, types};
use crate::pod::PodRef;
use crate::time::Time;
use crate::wait::Pollable;
use crate::{Result, sys};

/// What the reader asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only so many of the last lines. The provider must honour it.
    pub tail: Option<u32>,
    /// Nothing before this; an entry of exactly this time is among them. The host filters again.
    pub since: Option<Time>,
    /// About so many bytes. The host cuts again.
    pub limit_bytes: Option<u64>,
    /// The attempt before the present one.
    pub previous: bool,
    /// Exactly this attempt.
    pub attempt: Option<u32>,
    /// Go on until the attempt ends.
    pub follow: bool,
}

/// A line, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was written, if the backend keeps it.
    pub time: Option<Time>,
    /// Which of the two the container wrote to.
    pub source: Source,
    /// The line goes on in the next entry of the same source.
    pub partial: bool,
    /// Without the newline.
    pub bytes: Vec<u8>,
}

impl Entry {
    /// A whole line of stdout.
    pub fn stdout(time: Time, line: impl Into<Vec<u8>>) -> Self {
        Self { time: Some(time), source: Source::Stdout, partial: false, bytes: line.into() }
    }

    /// A whole line of stderr.
    pub fn stderr(time: Time, line: impl Into<Vec<u8>>) -> Self {
        Self { source: Source::Stderr, ..Self::stdout(time, line) }
    }
}

impl From<Entry> for log_sink::Entry {
    fn from(entry: Entry) -> Self {
        let Entry { time, source, partial, bytes } = entry;
        Self { time_ns: time.map(Time::as_nanos), source, partial, bytes }
    }
}

/// One reader.
pub struct Sink(sys::Sink);

impl Sink {
    pub(crate) const fn new(inner: sys::Sink) -> Self {
        Self(inner)
    }

    /// Bytes that the host takes without delay; 0: wait for [`Sink::subscribe`].
    pub fn room(&self) -> u32 {
        sys::sink_room(&self.0)
    }

    /// Ready when there is room, or when nobody reads any more.
    pub fn subscribe(&self) -> Pollable<'_> {
        Pollable::new(sys::sink_subscribe(&self.0))
    }

    /// Hands entries over, waiting for room if it must. false: nobody reads any more, or the host wants the call to end: stop.
    #[must_use]
    pub fn write(&self, entries: Vec<Entry>) -> bool {
        sys::sink_write(&self.0, entries)
    }
}

/// `kubectl logs`.
pub trait ContainerLogs {
    /// Oldest first. Returns at the end of the log, or when the sink says stop. Returning because the host wants the call to end is
    /// not the end of the log: the host goes on with another version of the plugin where this one stopped.
    ///
    /// # Errors
    /// With the kubelet's words, as the reader sees them: `not-found` for a container that the pod does not have, `invalid-argument`
    /// for one that waits or has no such attempt.
    fn get_container_logs(id: PodRef, container: String, options: Options, to: Sink) -> Result<()>;
}

impl<T: ContainerLogs> wit::Guest for T {
    #[cfg(target_family = "wasm")]
    fn get_container_logs(
        id: PodRef,
        container: String,
        options: wit::Options,
        to: log_sink::Sink,
    ) -> Result<(), types::Error> {
        let wit::Options { tail, since_ns, limit_bytes, previous, attempt, follow } = options;
        let options = Options { tail, since: since_ns.map(Time::from_nanos), limit_bytes, previous, attempt, follow };
        Ok(<T as ContainerLogs>::get_container_logs(id, container, options, Sink::new(to))?)
    }

    /// A sink of the contract's exists in a component only.
    #[cfg(not(target_family = "wasm"))]
    fn get_container_logs(_: PodRef, _: String, _: wit::Options, _: log_sink::Sink) -> Result<(), types::Error> {
        Err(crate::Error::internal("NotAComponent", "call ContainerLogs::get_container_logs").into())
    }
}
