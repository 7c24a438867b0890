//! `GET /containerLogs/NAMESPACE/POD/CONTAINER`: what `kubectl logs` reads.
//!
//! Typed entries come from the provider and lines of text go out; the host filters and cuts again what a provider may only do
//! roughly ([`text`]). An error before the first entry is a status code, as the kubelet answers. After it there is none to be had: the
//! API server takes a reset for an end, so the error is the last line of the text, as it is of the kubelet.

mod options;
mod tail;
mod text;

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::{Api, refusal, router};
use crate::provider::{Call, Canceller, Code, Error, LogEntry, Why};
use options::Wanted;
use text::Text;

/// Batches of entries between provider and reader; more hold the provider up.
const BATCHES: usize = 16;
/// What a reader is told whose log goes on when the host does not.
const SHUTDOWN: &str = "the log breaks off: the node is shutting down";
/// How long connections may take to end after their sessions were told to.
pub(super) const DRAIN: Duration = Duration::from_secs(5);

/// Serves one reader.
pub(super) async fn serve(
    State(api): State<Api>,
    Path((namespace, name, container)): Path<(String, String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let wanted = match Wanted::read(&query, Timestamp::now()) {
        Ok(wanted) => wanted,
        Err(error) => return error.into_response(),
    };
    if !api.provider.capabilities().container_logs {
        return router::not_implemented(format!("provider {} has no logs", api.provider.identity().name));
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
    let text = Text::new(&wanted);
    let (provider, id, shutdown) = (api.provider.clone(), pod.id(), api.shutdown.clone());
    let about = id.span();
    let session = async move { provider.get_container_logs(call, &id, &container, wanted.options, sink).await };
    let mut session = Session { task: tokio::spawn(session.instrument(about.clone())), about };
    // The status line is due with the first entry, or with the end; a sink that closes without one comes just before the end.
    let first = tokio::select! {
        first = entries.recv() => first,
        () = api.shutdown.cancelled() => return (StatusCode::INTERNAL_SERVER_ERROR, SHUTDOWN).into_response(),
    };
    let Some(first) = first else {
        return match session.end().await {
            Ok(()) => Body::empty().into_response(),
            Err(error) => refusal::answer_reader(&error),
        };
    };
    let reader = Reader { _canceller: canceller, first: Some(first), entries, session: Some(session), text, shutdown };
    Body::from_stream(futures::stream::unfold(reader, Reader::next)).into_response()
}

/// The call that reads the log.
struct Session {
    task: JoinHandle<Result<(), Error>>,
    about: Span,
}

impl Session {
    /// How it ends.
    async fn end(&mut self) -> Result<(), Error> {
        let panicked = |error: tokio::task::JoinError| Error::new(Code::Internal, "SessionFailed", error.to_string());
        (&mut self.task).await.unwrap_or_else(|error| Err(panicked(error)))
    }

    /// Why it ends before the log does, if so.
    async fn broken(&mut self, shutdown: &CancellationToken) -> Option<String> {
        let ended = tokio::select! {
            biased;
            // Asked to end, the provider may well say that it did.
            () = shutdown.cancelled() => return Some(SHUTDOWN.into()),
            ended = self.end() => ended,
        };
        let error = ended.err()?;
        self.about.in_scope(|| tracing::warn!(%error, "a log broke off"));
        Some(error.message)
    }
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
    first: Option<Vec<LogEntry>>,
    entries: mpsc::Receiver<Vec<LogEntry>>,
    /// none: the text has come to its end.
    session: Option<Session>,
    text: Text,
    shutdown: CancellationToken,
}

impl Reader {
    /// The next piece of the body, which ends with the log, with the limit, or with the host.
    async fn next(mut self) -> Option<(Result<Bytes, std::convert::Infallible>, Self)> {
        while !self.text.is_full() {
            let session = self.session.as_mut()?;
            let batch = match self.first.take() {
                Some(batch) => Some(batch),
                None => tokio::select! {
                    batch = self.entries.recv() => batch,
                    () = self.shutdown.cancelled() => None,
                },
            };
            let bytes = match batch {
                Some(batch) => self.text.of(batch),
                None => {
                    let broken = session.broken(&self.shutdown).await;
                    self.session = None;
                    match broken {
                        Some(reason) => self.text.broken(&reason),
                        None => self.text.end(),
                    }
                }
            };
            if !bytes.is_empty() {
                return Some((Ok(bytes), self));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{LogOptions, Source};

    /// The body of a log of one line whose session ends like this.
    async fn read(
        shutdown: CancellationToken,
        session: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> String {
        let line = LogEntry { time_ns: None, source: Source::Stdout, partial: false, bytes: "a".into() };
        let (sink, entries) = mpsc::channel(1);
        let session = async move {
            let result = session.await;
            drop(sink);
            result
        };
        let reader = Reader {
            _canceller: CancelOnDrop(Call::new().0),
            first: Some(vec![line]),
            entries,
            session: Some(Session { task: tokio::spawn(session), about: Span::none() }),
            text: Text::new(&Wanted { options: LogOptions::default(), timestamps: false, stream: None }),
            shutdown,
        };
        let body = Body::from_stream(futures::stream::unfold(reader, Reader::next));
        String::from_utf8(axum::body::to_bytes(body, usize::MAX).await.unwrap().into()).unwrap()
    }

    #[tokio::test]
    async fn a_log_ends_with_what_ended_it() {
        let running = CancellationToken::new;
        assert_eq!(read(running(), async { Ok(()) }).await, "a\n");
        let lost = async { Err(Error::new(Code::Unavailable, "Lost", "the backend is gone")) };
        assert_eq!(read(running(), lost).await, "a\nthe backend is gone\n");
        let text = read(running(), async { panic!("so") }).await;
        assert!(text.starts_with("a\n") && text.contains("panic"), "{text}");
        let stopping = running();
        stopping.cancel();
        assert_eq!(read(stopping, std::future::pending()).await, format!("a\n{SHUTDOWN}\n"));
    }
}
