//! `GET /containerLogs/NAMESPACE/POD/CONTAINER`: what `kubectl logs` reads.
//!
//! Typed entries come from the provider and lines of text go out; the host filters and cuts again what a provider may only do
//! roughly ([`text`]). An error before the first entry is a status code, as the kubelet answers; after it the text just ends.

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
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Api, refusal, router};
use crate::provider::{Call, Canceller, LogEntry, Why};
use options::Wanted;
use text::Text;

/// Batches of entries between provider and reader; more hold the provider up.
const BATCHES: usize = 16;
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
    let session = tokio::spawn(session.instrument(about));
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
            Ok(Err(error)) => return refusal::answer(&error),
            Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
    let reader = Reader { _canceller: canceller, first, entries: Some(entries), text, shutdown };
    Body::from_stream(futures::stream::unfold(reader, Reader::next)).into_response()
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
    /// none: the log has ended.
    entries: Option<mpsc::Receiver<Vec<LogEntry>>>,
    text: Text,
    shutdown: CancellationToken,
}

impl Reader {
    /// The next piece of the body, which ends with the log, with the limit, or with the host.
    async fn next(mut self) -> Option<(Result<Bytes, std::convert::Infallible>, Self)> {
        while !self.text.is_full() {
            let batch = match (self.first.take(), &mut self.entries) {
                (Some(batch), _) => Some(batch),
                (None, Some(entries)) => tokio::select! {
                    batch = entries.recv() => batch,
                    () = self.shutdown.cancelled() => return None,
                },
                (None, None) => return None,
            };
            let bytes = match batch {
                Some(batch) => self.text.of(batch),
                None => {
                    self.entries = None;
                    self.text.end()
                }
            };
            if !bytes.is_empty() {
                return Some((Ok(bytes), self));
            }
        }
        None
    }
}
