//! `GET /containerLogs/NAMESPACE/POD/CONTAINER`: what `kubectl logs` reads.
//!
//! Typed entries come from the provider and lines of text go out; the host filters and cuts again what a provider may only do
//! roughly. An error before the first entry is a status code, as the kubelet answers; after it the text just ends.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Api;
use crate::provider::{Call, Canceller, Code, Error, LogEntry, LogOptions, Why};

/// Batches of entries between provider and reader; more hold the provider up.
const BATCHES: usize = 16;

/// The query of the request, as the API server sends it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Params {
    follow: Option<bool>,
    previous: Option<bool>,
    timestamps: Option<bool>,
    since_seconds: Option<i64>,
    since_time: Option<String>,
    tail_lines: Option<i64>,
    limit_bytes: Option<i64>,
}

/// What the reader wants, checked.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    options: LogOptions,
    timestamps: bool,
}

impl Params {
    /// Checks the query; an error is the kubelet's 422.
    fn check(&self, now: Timestamp) -> Result<Wanted, String> {
        let at_least = |name: &str, value: Option<i64>, least: i64| match value {
            Some(value) if value < least => Err(format!("{name} is {value}, but must be at least {least}")),
            value => Ok(value.and_then(|value| u64::try_from(value).ok())),
        };
        let tail = at_least("tailLines", self.tail_lines, 0)?;
        let limit_bytes = at_least("limitBytes", self.limit_bytes, 1)?;
        let since_seconds = at_least("sinceSeconds", self.since_seconds, 1)?;
        let since = match (since_seconds, &self.since_time) {
            (Some(_), Some(_)) => return Err("sinceSeconds and sinceTime exclude each other".into()),
            (Some(seconds), None) => {
                now.checked_sub(SignedDuration::from_secs(seconds.try_into().unwrap_or(i64::MAX))).ok()
            }
            (None, Some(time)) => Some(time.parse().map_err(|_| format!("sinceTime {time:?} is no RFC 3339 time"))?),
            (None, None) => None,
        };
        Ok(Wanted {
            options: LogOptions {
                tail: tail.map(|tail| u32::try_from(tail).unwrap_or(u32::MAX)),
                since_ns: since.map(|since: Timestamp| u64::try_from(since.as_nanosecond()).unwrap_or(0)),
                limit_bytes,
                previous: self.previous.unwrap_or(false),
                follow: self.follow.unwrap_or(false),
            },
            timestamps: self.timestamps.unwrap_or(false),
        })
    }
}

/// Serves one reader.
pub(super) async fn serve(
    State(api): State<Api>,
    Path((namespace, name, container)): Path<(String, String, String)>,
    Query(params): Query<Params>,
) -> Response {
    let wanted = match params.check(Timestamp::now()) {
        Ok(wanted) => wanted,
        Err(message) => return (StatusCode::UNPROCESSABLE_ENTITY, message).into_response(),
    };
    if !api.provider.capabilities().container_logs {
        let message = format!("provider {} has no logs", api.provider.identity().name);
        return (StatusCode::NOT_IMPLEMENTED, message).into_response();
    }
    let Some(pod) = api.pods.get(&namespace, &name) else {
        return (StatusCode::NOT_FOUND, format!("pod {namespace}/{name} is not on this node")).into_response();
    };
    let spec = &pod.spec;
    let mut names = spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|c| &c.name);
    let ephemeral = spec.ephemeral_containers.iter().flatten().any(|c| c.name == container);
    if !ephemeral && !names.any(|known| *known == container) {
        return (StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {name:?}")).into_response();
    }
    let (sink, mut entries) = mpsc::channel(BATCHES);
    let (canceller, call) = Call::new();
    let canceller = CancelOnDrop(canceller);
    let format = Format::new(&wanted);
    let (provider, id, shutdown) = (api.provider.clone(), pod.id(), api.shutdown.clone());
    let session =
        tokio::spawn(async move { provider.get_container_logs(call, &id, &container, wanted.options, sink).await });
    // The status line is due with the first entry, or with the end; a sink that closes without one comes just before the end.
    let first = tokio::select! {
        first = entries.recv() => first,
        () = api.shutdown.cancelled() => {
            return (StatusCode::SERVICE_UNAVAILABLE, "the node is shutting down").into_response();
        }
    };
    if first.is_none() {
        match session.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return refuse(&error),
            Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
    let reader = Reader { _canceller: canceller, entries, format };
    Body::from_stream(reader.stream(first, shutdown)).into_response()
}

fn refuse(error: &Error) -> Response {
    let status = match error.code {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable | Code::ResourceExhausted => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.message.clone()).into_response()
}

/// Asks the session to end when its reader goes.
struct CancelOnDrop(Canceller);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel(Why::ClientGone);
    }
}

struct Reader {
    _canceller: CancelOnDrop,
    entries: mpsc::Receiver<Vec<LogEntry>>,
    format: Format,
}

impl Reader {
    /// The body: it ends with the log, with the limit, or with the host.
    fn stream(
        self,
        first: Option<Vec<LogEntry>>,
        shutdown: tokio_util::sync::CancellationToken,
    ) -> impl futures::Stream<Item = Result<Bytes, std::convert::Infallible>> {
        futures::stream::unfold((self, first, shutdown), |(mut reader, first, shutdown)| async move {
            if reader.format.is_full() {
                return None;
            }
            let batch = match first {
                Some(batch) => batch,
                None => tokio::select! {
                    batch = reader.entries.recv() => batch?,
                    () = shutdown.cancelled() => return None,
                },
            };
            let bytes = reader.format.lines(&batch);
            Some((Ok(bytes), (reader, None, shutdown)))
        })
    }
}

/// Turns entries into text.
struct Format {
    timestamps: bool,
    since_ns: Option<u64>,
    /// Bytes that may still be written.
    left: Option<u64>,
    /// The next entry of stdout, of stderr, begins a line.
    line_start: [bool; 2],
}

impl Format {
    fn new(wanted: &Wanted) -> Self {
        let LogOptions { since_ns, limit_bytes, .. } = wanted.options;
        Self { timestamps: wanted.timestamps, since_ns, left: limit_bytes, line_start: [true, true] }
    }

    fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    fn lines(&mut self, batch: &[LogEntry]) -> Bytes {
        let mut out = BytesMut::new();
        for entry in batch {
            if matches!((entry.time_ns, self.since_ns), (Some(time), Some(since)) if time < since) {
                continue;
            }
            let [stdout, stderr] = &mut self.line_start;
            let line_start = if entry.source == crate::provider::Source::Stdout { stdout } else { stderr };
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
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        out.freeze()
    }
}

/// How long connections may take to end after their sessions were told to.
pub(super) const DRAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Source;

    fn entry(time_ns: u64, text: &str, partial: bool) -> LogEntry {
        LogEntry {
            time_ns: Some(time_ns),
            source: Source::Stdout,
            partial,
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    fn wanted(params: Params) -> Wanted {
        params.check("2026-01-01T00:01:00Z".parse().unwrap()).unwrap()
    }

    #[test]
    fn bad_options_are_named() {
        let table = [
            (Params { tail_lines: Some(-1), ..Params::default() }, "tailLines"),
            (Params { limit_bytes: Some(0), ..Params::default() }, "limitBytes"),
            (Params { since_seconds: Some(0), ..Params::default() }, "sinceSeconds"),
            (Params { since_time: Some("yesterday".into()), ..Params::default() }, "sinceTime"),
            (
                Params { since_time: Some("2026-01-01T00:00:00Z".into()), since_seconds: Some(1), ..Params::default() },
                "exclude",
            ),
        ];
        for (params, says) in table {
            let error = params.check(Timestamp::now()).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(wanted(Params { tail_lines: Some(0), ..Params::default() }).options.tail, Some(0));
    }

    #[test]
    fn lines_are_filtered_stamped_joined_and_cut() {
        let mut format =
            Format::new(&wanted(Params { since_seconds: Some(59), timestamps: Some(true), ..Params::default() }));
        let second = 1_767_225_601_000_000_000;
        let text = format.lines(&[
            entry(1, "old", false),
            entry(second, "a", true),
            entry(second, "b", false),
            entry(second + 5, "c", false),
        ]);
        assert_eq!(text, "2026-01-01T00:00:01.000000000Z ab\n2026-01-01T00:00:01.000000005Z c\n");
        let mut format = Format::new(&wanted(Params { limit_bytes: Some(4), ..Params::default() }));
        assert_eq!(format.lines(&[entry(1, "abc", false), entry(1, "d", false)]), "abc\n");
        assert!(format.is_full());
    }
}
